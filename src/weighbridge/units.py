"""Quantities with their meaning: parsed from what people type, checked, and printed with their unit.

Numbers are read by one small grammar (decimal digits, optional exponent, optional decimal prefix K M G T P E
Z Y, for bytes also Ki Mi Gi Ti Pi), exactly, in decimal arithmetic: ``1e23`` is 10**23 and not its nearest
double. NaN, infinities, foreign digits, negative and absurdly long numbers are refused in words.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Final, NewType

from weighbridge.errors import InputError

__all__ = [
    "SECONDS_PER_DAY",
    "Bytes",
    "BytesPerSecond",
    "Days",
    "Flop",
    "FlopPerSecond",
    "H100Equivalents",
    "Seconds",
    "check_count",
    "check_fraction",
    "check_quantity",
    "format_bytes",
    "format_flop",
    "format_flop_rate",
    "format_quantity",
    "format_seconds",
    "parse_bytes",
    "parse_count",
    "parse_days",
    "parse_flop",
    "parse_flop_rate",
    "parse_fraction",
    "parse_quantity",
    "parse_seconds",
]

Flop = NewType("Flop", float)
"""Floating-point (or, where a policy says so, integer) operations; a multiply-add is two."""
FlopPerSecond = NewType("FlopPerSecond", float)
Seconds = NewType("Seconds", float)
Days = NewType("Days", float)
Bytes = NewType("Bytes", int)
BytesPerSecond = NewType("BytesPerSecond", float)
H100Equivalents = NewType("H100Equivalents", float)
"""Chips in H100 equivalents; meaningless without the definition used (``weighbridge.rules.chips``)."""

SECONDS_PER_DAY: Final = 86_400

# Longest number that anybody types in earnest, and the magnitude above which a figure is a slip:
# all chips ever made could not do 1e60 FLOP. Both keep `1e999999999` from costing memory or time.
_LONGEST_NUMBER: Final = 64
_LARGEST_EXPONENT: Final = 60

_DECIMAL_PREFIXES: Final = {
    "": 0, "K": 3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "Z": 21, "Y": 24,
}  # fmt: skip
_BINARY_PREFIXES: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50}
_NUMBER: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]{1,9}))?)"
    r" ?(?P<suffix>[A-Za-z/]*)"
)
_TIME_UNITS: Final = {"": 1, "s": 1, "min": 60, "h": 3600, "d": SECONDS_PER_DAY}


def _read(text: str, *, name: str, units: Mapping[str, Fraction | int]) -> Fraction:
    """Reads one non-negative number times one of ``units`` (suffix to factor), exactly."""
    stripped = text.strip()
    shown = stripped if len(stripped) <= _LONGEST_NUMBER else stripped[:20] + "…"
    match = _NUMBER.fullmatch(stripped) if len(stripped) <= _LONGEST_NUMBER else None
    if match is None:
        raise InputError(
            f"{shown!r} is not a number", field=name, mend="write digits, such as 100000, 1e5 or 2500000.0"
        )
    if abs(int(match["exponent"] or 0)) > _LARGEST_EXPONENT:
        raise InputError(f"{shown!r} lies outside 1e-{_LARGEST_EXPONENT} to 1e{_LARGEST_EXPONENT}", field=name)
    suffix = match["suffix"]
    if suffix not in units:
        known = ", ".join(unit for unit in units if unit) or "none"
        raise InputError(f"unit {suffix!r} is not known", field=name, mend=f"known units: {known}")
    value = Fraction(Decimal(match["number"])) * units[suffix]
    if value < 0:
        raise InputError(f"{shown!r} is negative", field=name, mend="give a number of at least 0")
    return value


def _decimal_units(*endings: str) -> dict[str, Fraction | int]:
    return {prefix + ending: 10**power for ending in ("", *endings) for prefix, power in _DECIMAL_PREFIXES.items()}


_PLAIN_UNITS: Final = _decimal_units()
_FLOP_UNITS: Final = _decimal_units("FLOP", "FLOPs", "OP")
_FLOP_RATE_UNITS: Final = _decimal_units("FLOP/s", "FLOPS", "OP/s", "OPS")
_BYTE_UNITS: Final = _decimal_units("B") | {
    prefix + ending: 2**power for ending in ("", "B") for prefix, power in _BINARY_PREFIXES.items()
}


def parse_quantity(text: str, *, name: str = "value", positive: bool = True) -> float:
    """Reads a plain number such as ``0.1``, ``1e5`` or ``2.5M``.

    Args:
        text: what was typed.
        name: the argument's name, for the error.
        positive: refuse zero.

    Raises:
        InputError: if it is no number, negative, or zero where that is meaningless.
    """
    return check_quantity(float(_read(text, name=name, units=_PLAIN_UNITS)), name=name, positive=positive)


def parse_count(text: str, *, name: str = "count", least: int = 0) -> int:
    """Reads a whole number; ``1e5``, ``2500000.0`` and ``2.5M`` are whole, ``1.5`` is refused.

    Args:
        text: what was typed.
        name: the argument's name, for the error.
        least: smallest value allowed.

    Returns:
        The exact integer, also above 2**53.

    Raises:
        InputError: if it is no whole number of at least ``least``.
    """
    value = _read(text, name=name, units=_PLAIN_UNITS)
    if value.denominator != 1:
        raise InputError(f"{text.strip()!r} is not a whole number", field=name, mend="give a whole number")
    return check_count(int(value), name=name, least=least)


def parse_fraction(text: str, *, name: str = "fraction") -> Fraction:
    """Reads a probability strictly between 0 and 1, exactly (``0.9`` is nine tenths, ``90%`` is refused)."""
    return check_fraction(_read(text, name=name, units={"": 1}), name=name)


def parse_flop(text: str, *, name: str = "flop") -> Flop:
    """Reads operations: ``5.76e23``, ``576 ZFLOP``."""
    return Flop(check_quantity(float(_read(text, name=name, units=_FLOP_UNITS)), name=name))


def parse_flop_rate(text: str, *, name: str = "rate") -> FlopPerSecond:
    """Reads operations per second: ``1e15``, ``989 TFLOP/s``."""
    return FlopPerSecond(check_quantity(float(_read(text, name=name, units=_FLOP_RATE_UNITS)), name=name))


def parse_seconds(text: str, *, name: str = "time", positive: bool = True) -> Seconds:
    """Reads a length of time in seconds, or with unit s, min, h or d: ``90``, ``1.5h``."""
    value = float(_read(text, name=name, units=_TIME_UNITS))
    return Seconds(check_quantity(value, name=name, positive=positive))


def parse_days(text: str, *, name: str = "days") -> Days:
    """Reads a length of time in days: ``30``."""
    return Days(parse_quantity(text, name=name))


def parse_bytes(text: str, *, name: str = "size") -> Bytes:
    """Reads bytes; ``K M G T P`` are powers of 1000, ``Ki Mi Gi Ti Pi`` of 1024: ``64Ki``, ``1.5 GB``."""
    value = _read(text, name=name, units=_BYTE_UNITS)
    if value.denominator != 1:
        raise InputError(f"{text.strip()!r} is not a whole number of bytes", field=name)
    return Bytes(int(value))


def check_quantity(value: float, *, name: str, positive: bool = True) -> float:
    """Returns ``value`` if it is finite and positive (or not negative, if ``positive`` is false).

    Raises:
        InputError: otherwise, naming the argument.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{value!r} is not a number", field=name)
    if not math.isfinite(value):
        raise InputError(f"{value} is not a finite number", field=name)
    if value < 0:
        raise InputError(f"{value:g} is negative", field=name, mend="give a number of at least 0")
    if positive and value == 0:
        raise InputError("0 is meaningless here", field=name, mend="give a number above 0")
    return float(value) + 0.0  # -0.0 becomes 0.0


def check_count(value: int, *, name: str, least: int = 0) -> int:
    """Returns ``value`` if it is a whole number of at least ``least``.

    Raises:
        InputError: otherwise, naming the argument.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{value!r} is not a whole number", field=name, mend="give a whole number")
    if value < least:
        raise InputError(f"{value} is below {least}", field=name, mend=f"give at least {least}")
    return value


def check_fraction(value: float | Fraction, *, name: str) -> Fraction:
    """Returns a probability strictly between 0 and 1 as the exact decimal that a person would read.

    A double stands for its shortest decimal form: 0.9 is nine tenths, so that 1 - 0.9 is exactly one tenth.

    Raises:
        InputError: if it is 0, 1, outside, or no number.
    """
    exact = value if isinstance(value, Fraction) else Fraction(repr(check_quantity(value, name=name, positive=False)))
    if not 0 < exact < 1:
        raise InputError(
            f"{float(exact):g} does not lie strictly between 0 and 1", field=name, mend="for 90 % write 0.9"
        )
    return exact


def format_quantity(value: float, *, unit: str = "", digits: int = 4) -> str:
    """Prints a figure with its unit: plain with thousands separators up to a million, then as ``5.76e23``."""
    if not math.isfinite(value):
        text = "unbounded" if value > 0 else str(value)
    elif value == 0:
        text = "0"
    elif 1e-3 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{text} {unit}" if unit else text


def format_flop(value: float) -> str:
    """Prints operations: ``5.76e23 FLOP``; an infinite bound is ``unbounded``."""
    return "unbounded" if value == math.inf else format_quantity(value, unit="FLOP")


def format_flop_rate(value: float) -> str:
    """Prints operations per second: ``1e15 FLOP/s``."""
    return format_quantity(value, unit="FLOP/s")


def format_bytes(value: int) -> str:
    """Prints bytes in powers of 1024, exactly below one KiB: ``64 KiB``, ``1.46 GiB``."""
    scaled, name = float(value), "B"
    for name in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(scaled) < 1024 or name == "PiB":
            break
        scaled /= 1024
    return f"{scaled:.4g} {name}" if abs(scaled) < 1000 else f"{scaled:.0f} {name}"


def format_seconds(value: float) -> str:
    """Prints a length of time in the unit a person would choose: ``0.35 s``, ``12.5 min``, ``30 days``."""
    for factor, unit in ((SECONDS_PER_DAY, "days"), (3600, "h"), (60, "min")):
        if abs(value) >= 2 * factor:
            return format_quantity(value / factor, unit=unit, digits=3)
    return format_quantity(value, unit="s", digits=3)
