"""Recording by a line in other people's frameworks: a callback, or a tracker."""
