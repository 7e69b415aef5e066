"""Inputs that nobody knows exactly: a range, carried through every formula by its two ends."""

import math
from dataclasses import dataclass

from weighbridge.errors import InputError
from weighbridge.units import check_quantity, parse_quantity

__all__ = ["Interval", "parse_interval"]


@dataclass(frozen=True)
class Interval:
    """A range of a quantity of at least 0; both ends belong to it.

    Raises:
        InputError: if an end is no quantity, or the ends are the wrong way round.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_quantity(self.low, name="range", positive=False)
        check_quantity(self.high, name="range", positive=False)
        if self.low > self.high:
            raise InputError(
                f"{self.low:g} to {self.high:g} is no range", field="range", mend="put the lower end first"
            )

    def within(self, least: float, most: float, *, name: str) -> "Interval":
        """Returns the range if it lies between two figures.

        Raises:
            InputError: otherwise, naming it.
        """
        if self.low < least or self.high > most:
            shown = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
            ends = f"at least {least:g}" if math.isinf(most) else f"between {least:g} and {most:g}"
            raise InputError(f"{shown} is not {ends}", field=name, mend="give a figure, or both ends of a range, there")
        return self


def parse_interval(text: str, *, name: str) -> Interval:
    """Reads ``0.1:0.4``, or one figure for a range without width.

    Raises:
        InputError: if it is neither.
    """
    parts = text.split(":")
    if len(parts) not in (1, 2):
        raise InputError(f"{text[:40]!r} is no range", field=name, mend="write LOW:HIGH, such as 0.1:0.4")
    low, high = (parse_quantity(part, name=name, positive=False) for part in (parts[0], parts[-1]))
    if low > high:
        raise InputError(f"{low:g} to {high:g} is no range", field=name, mend="put the lower end first")
    return Interval(low, high)
