"""What a person sees: the command line, the HTML report, the demo."""
