"""Chip-active time: the wall clock of the running command, stops left out."""

import time

__all__ = ["ActiveClock"]


class ActiveClock:
    """Counts nanoseconds of CLOCK_MONOTONIC while the command may run.

    Args:
        base_ns: chip-active time counted before, over all boots.
    """

    def __init__(self, base_ns: int) -> None:
        self._counted = base_ns
        self._since: int | None = None

    def start(self, at_ns: int) -> None:
        """Lets time count from ``at_ns`` on; the caller reads the clock before it lets the command go."""
        if self._since is not None:
            raise ValueError("the clock is running")
        self._since = at_ns

    def stop(self, at_ns: int) -> None:
        """Stops counting at ``at_ns``, read by the caller after the command is known to be stopped."""
        if self._since is not None:
            self._counted += at_ns - self._since
            self._since = None

    def read(self, at_ns: int | None = None) -> int:
        """Returns chip-active nanoseconds at ``at_ns``, now unless given."""
        if self._since is None:
            return self._counted
        return self._counted + (time.monotonic_ns() if at_ns is None else at_ns) - self._since
