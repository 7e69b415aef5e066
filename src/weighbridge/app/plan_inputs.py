"""What several plan commands read: shares, lists of numbers."""

from fractions import Fraction

from weighbridge.errors import InputError
from weighbridge.units import parse_fraction, parse_quantity

__all__ = ["parse_list", "parse_share"]


def parse_share(text: str, *, name: str) -> Fraction:
    """Reads a share in (0, 1], exactly.

    Raises:
        InputError: if it is none.
    """
    return Fraction(1) if parse_quantity(text, name=name) == 1 else parse_fraction(text, name=name)


def parse_list(text: str, *, name: str) -> list[str]:
    """Splits what was typed at its commas.

    Raises:
        InputError: if a part is empty.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"{text!r} has an empty part", field=name, mend="write 16,100,1000")
    return parts
