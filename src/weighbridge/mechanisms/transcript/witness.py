"""CPU time of a replay, seen from outside: what the program says of itself is held against the kernel's count.

The program writes a line whenever it has done a step, with its CPU time so far. Outside, a hundred times a second,
the file's length is noted with the CPU time that the kernel charged to the sandbox. So each line lies between two
readings, and no stretch of steps can have cost more than what lies between the readings around it. A program that
really burns time is not caught by this.
"""

import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from weighbridge.processes import cpu_seconds_of

__all__ = ["SHARE_TOLERANCE", "TOLERANCE_S", "Witness", "most_overstated"]

TOLERANCE_S = 0.1
"""CPU seconds by which a stretch may seem to cost more: the kernel counts whole ticks of 10 ms for each process."""

SHARE_TOLERANCE = 0.02
"""Share of a stretch by which it may seem to cost more."""


class Witness:
    """Notes, while a replay runs, how long its log was at which CPU time."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._sizes: list[int] = []
        self._bounds: list[tuple[float, float]] = []
        self._least = 0.0  # a line not seen yet was not written before this reading
        self._most = 0.0

    def look(self, pid: int) -> None:
        """Takes one reading of the sandbox whose outer process is ``pid``."""
        before = max(self._most, cpu_seconds_of(pid))
        try:
            size = os.stat(self._log, follow_symlinks=False).st_size  # noqa: PTH116 - a hundred times a second
        except OSError:
            size = 0
        if size > (self._sizes[-1] if self._sizes else 0):
            self._most = max(before, cpu_seconds_of(pid))
            self._sizes.append(size)
            self._bounds.append((self._least, self._most))
        self._least, self._most = before, max(self._most, before)

    def close(self, cpu_seconds: float) -> None:
        """Takes the last reading, when the process has ended."""
        self._most = max(self._most, cpu_seconds)

    def bounds(self, end: int) -> tuple[float, float]:
        """Returns the CPU seconds between which the line that ends at byte ``end`` was written."""
        place = bisect_left(self._sizes, end)
        return self._bounds[place] if place < len(self._sizes) else (self._least, self._most)


def most_overstated(said: Sequence[float], bounds: Sequence[tuple[float, float]]) -> float:
    """Returns by how many CPU seconds, at most, a stretch between two lines was overstated beyond the tolerance.

    Args:
        said: CPU seconds so far that each line claims, in order.
        bounds: the readings around each line.

    Returns:
        Seconds; 0 where every stretch fits.
    """
    share = 1 + SHARE_TOLERANCE
    worst = least = 0.0
    for claim, (lower, upper) in zip(said, bounds, strict=True):
        worst = max(worst, claim - share * upper - TOLERANCE_S - least)
        least = min(least, claim - share * lower)
    return worst
