"""Text of the report's page: figures as a person reads them, and strings from strangers made harmless.

Names and reasons come from operators who would gain by a page that reads otherwise than its record does. Markup is
escaped by the template engine; what remains is text that is valid and still deceives: controls, directions of
writing, invisible characters, stacked accents, and mere length. :func:`clean` makes each of them visible.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from weighbridge.units import format_bytes, format_flop, format_flop_rate, format_quantity, format_seconds

__all__ = [
    "LONGEST_TEXT",
    "byte_size",
    "clean",
    "duration",
    "flop",
    "flop_rate",
    "measure",
    "moment",
    "number",
    "percent",
    "plain",
    "sentence",
    "short",
    "times",
]

LONGEST_TEXT = 600
"""Characters of one string that the page shows; the whole is in the raw record."""

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_MOST_MARKS = 2
_NARROW = "\N{NO-BREAK SPACE}"
_POWER = re.compile(r"(?<![\w.])(\d[\d.]*)e\+?(-?\d+)")
_DIGEST = re.compile(r"\b[0-9a-f]{32,}\b")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(text: str) -> str:
    """Returns text in which every character shows: others as ``‹U+202E›``; clipped at :data:`LONGEST_TEXT`."""
    shown, marks = [], 0
    for character in text[:LONGEST_TEXT]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        visible = character.isprintable() and marks <= _MOST_MARKS
        shown.append(character if visible else f"‹U+{ord(character):04X}›")
    rest = f"… ({len(text):,} characters; the raw record has all)" if len(text) > LONGEST_TEXT else ""
    return "".join(shown) + rest


def clean(data: Any) -> Any:
    """Returns JSON data with every string in it, keys included, made plain."""
    if isinstance(data, str):
        return plain(data)
    if isinstance(data, Mapping):
        return {plain(str(key)): clean(value) for key, value in data.items()}
    return [clean(value) for value in data] if isinstance(data, Sequence) else data


def _powers(text: str) -> str:
    """Writes ``9.81e+12`` as 9.81 × 10¹²."""

    def written(match: re.Match[str]) -> str:
        power = "10" + str(int(match[2])).translate(_SUPERSCRIPTS)
        return power if match[1] == "1" else f"{match[1]}{_NARROW}×{_NARROW}{power}"

    return _POWER.sub(written, text)


def _figure(text: str) -> str:
    return _powers(text).replace(" ", _NARROW)


def number(value: float | None, unit: str | None = None) -> str:
    """Returns a figure with its unit, or a dash."""
    return "–" if value is None else _figure(format_quantity(value, unit=unit or ""))


def measure(value: float | None, unit: str | None) -> str:
    """Returns a finding's figure in the unit that it names."""
    if value is None:
        return "–"
    if unit == "byte":
        return byte_size(value)
    return percent(value) if unit == "share" else number(value, "(ratio)" if unit == "ratio" else unit)


def flop(value: float | str | None) -> str:
    """Returns operations; ``unbounded`` stays a word."""
    return value if isinstance(value, str) else "–" if value is None else _figure(format_flop(value))


def flop_rate(value: float) -> str:
    """Returns operations a second."""
    return _figure(format_flop_rate(value))


def byte_size(value: float) -> str:
    """Returns bytes in powers of 1024."""
    return _figure(format_bytes(round(value)))


def duration(seconds: float) -> str:
    """Returns a length of time: ``12.5 s``, ``3 min 2 s``, ``5 h 12 min``, ``30 days``."""
    for unit, part, below, names in ((60, 1, 7200, "min s"), (3600, 60, 172_800, "h min")):
        if 2 * unit <= seconds < below:
            whole, rest = divmod(round(seconds / part), unit // part)
            first, second = names.split()
            return _figure(f"{whole} {first} {rest} {second}" if rest else f"{whole} {first}")
    return _figure(format_seconds(seconds))


def percent(share: float | None) -> str:
    """Returns a share as per cent, never rounded up to all or down to nothing."""
    if share is None:
        return "–"
    if 0 < share < 0.001:
        return f"<{_NARROW}0.1{_NARROW}%"
    if 0.999 < share < 1:
        return f">{_NARROW}99.9{_NARROW}%"
    return _figure(format_quantity(100 * share, unit="%", digits=3))


def times(value: float, threshold: float) -> str:
    """Returns a figure as a multiple of the rule's threshold."""
    return _figure(f"{format_quantity(value / threshold, digits=3)} times") if threshold > 0 else "–"


def moment(seconds: float) -> str:
    """Returns a time of the log, to the second, in UTC; the same in every locale."""
    if not math.isfinite(seconds) or not 0 <= seconds < 253_402_300_799:
        return number(seconds, "s")
    at = datetime.fromtimestamp(round(seconds), UTC)
    return f"{at.day}{_NARROW}{_MONTHS[at.month - 1]}{_NARROW}{at.year}, {at:%H:%M:%S}{_NARROW}UTC"


def short(identifier: str) -> str:
    """Returns the beginning of a digest, and a record's number after it; other text as it is."""
    return _DIGEST.sub(lambda match: match[0][:8] + "…", identifier)


def sentence(text: str) -> str:
    """Returns the signed sentence with powers, times and days written for a reader; no figure changes."""
    text = re.sub(r"(\d{9,11}) \(Unix seconds\)", lambda m: moment(float(m[1])), text)
    text = re.sub(r"(?<![\w.])(\d[\d.]*e-\d+|0\.0\d+) days", lambda m: duration(86_400 * float(m[1])), text)
    return _powers(text)
