"""What several plan commands read: shares, lists of numbers."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

from weighbridge.errors import InputError
from weighbridge.units import parse_count, parse_fraction, parse_quantity

__all__ = ["check_idle", "check_once", "parse_list", "parse_part", "parse_share", "parse_signed"]


def check_idle(given: Mapping[str, bool], *, needs: str) -> None:
    """Refuses options that would be passed over in silence.

    Args:
        given: each option, and whether it was typed.
        needs: what they go with, in words.

    Raises:
        InputError: if one was typed.
    """
    for name, typed in given.items():
        if typed:
            raise InputError("would have no effect", field=name, mend=f"it goes with {needs}")


def check_once(names: Iterable[str], *, where: Path, what: str) -> None:
    """Refuses a table in which something is counted twice.

    Raises:
        InputError: if a name is there twice.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(
                f"{name[:60]!r} is there twice", where=where, field=what, mend="give each a name of its own"
            )
        seen.add(name)


def parse_part(text: str, *, name: str, whole: int, what: str, least: int = 0) -> int:
    """Reads how many of a ``whole`` are meant.

    Args:
        text: what was typed.
        name: the option.
        whole: how many there are.
        what: of what, in words.
        least: fewest that make sense.

    Raises:
        InputError: if it is no count, or more than there are.
    """
    count = parse_count(text, name=name, least=least)
    if count > whole:
        raise InputError(f"{count:,} of {whole:,} {what} is impossible", field=name, mend=f"give {whole:,} at most")
    return count


def parse_share(text: str, *, name: str) -> Fraction:
    """Reads a share in (0, 1], exactly.

    Raises:
        InputError: if it is none.
    """
    return Fraction(1) if parse_quantity(text, name=name) == 1 else parse_fraction(text, name=name)


def parse_signed(text: str, *, name: str) -> float:
    """Reads a plain number that may be negative, such as a correlation.

    Raises:
        InputError: if it is no number.
    """
    stripped = text.strip()
    size = parse_quantity(stripped.removeprefix("-"), name=name, positive=False)
    return -size if stripped.startswith("-") else size


def parse_list(text: str, *, name: str) -> list[str]:
    """Splits what was typed at its commas.

    Raises:
        InputError: if a part is empty.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"{text!r} has an empty part", field=name, mend="write 16,100,1000")
    return parts
