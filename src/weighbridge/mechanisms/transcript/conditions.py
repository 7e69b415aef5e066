"""A filter over named columns: comparisons joined by ``and`` and ``or``. Parsed here, never evaluated as code.

::

    filter     = all *( "or" all )
    all        = comparison *( "and" comparison )
    comparison = column ( "<" / "<=" / ">" / ">=" / "=" / "==" / "!=" ) value

``and`` binds tighter. A value is a number (decimal, hexadecimal float, ``nan``, ``inf``) or, for a column of text, a
word. A column may hold several values in a row (the losses of a step): a comparison holds if one of them does. Where a
row has none, no comparison holds.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from weighbridge.errors import InputError

__all__ = ["Comparison", "Filter", "Value", "parse_filter"]

Value = int | float | str

_LONGEST = 1_000
_COMPARISON = re.compile(r"\s*([A-Za-z_]{1,40})\s*(<=|>=|==|!=|<|>|=)\s*([^\s<>=!,;()&|]{1,200})\s*")
_JOIN = re.compile(r"(and|or)(?:\s|$)")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_FORMS = "'loss<2.5', 'step>=100 and updates=0', 'loss=nan or loss>9'"


def _equal(left: Value, right: Value) -> bool:
    """Returns whether two values are equal; unlike a float's own rule, NaN is found by its name."""
    both = isinstance(left, float) and isinstance(right, float)
    return left == right or (both and math.isnan(left) and math.isnan(right))  # type: ignore[arg-type]


_OPERATORS: dict[str, Callable[[Value, Value], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": _equal,
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
}


@dataclass(frozen=True)
class Comparison:
    """One column against one value."""

    column: str
    sign: str
    value: Value

    def holds(self, row: Mapping[str, Sequence[Value]]) -> bool:
        """Returns whether one of the row's values in the column stands so to the value."""
        compare = _OPERATORS[self.sign]
        return any(compare(found, self.value) for found in row.get(self.column, ()))


@dataclass(frozen=True)
class Filter:
    """Alternatives, each a list of comparisons that must all hold. Without alternatives it takes every row."""

    alternatives: tuple[tuple[Comparison, ...], ...] = ()

    def takes(self, row: Mapping[str, Sequence[Value]]) -> bool:
        """Returns whether a row passes."""
        return not self.alternatives or any(all(c.holds(row) for c in group) for group in self.alternatives)


def parse_filter(text: str, *, columns: Mapping[str, type], where: str = "--where") -> Filter:
    """Reads a filter.

    Args:
        text: as typed.
        columns: the columns there are, each ``float`` (numbers) or ``str`` (text).
        where: what to call it in errors.

    Raises:
        InputError: it is no filter, or compares a column that is not there or not of that kind.
    """
    if len(text) > _LONGEST:
        raise InputError(f"is longer than {_LONGEST} characters", where=where)
    groups: list[tuple[Comparison, ...]] = []
    group: list[Comparison] = []
    place = 0
    while True:
        found = _COMPARISON.match(text, place)
        if found is None:
            raise InputError(_no_comparison(text, place), where=where, mend=f"write it like {_FORMS}")
        group.append(_comparison(*found.groups(), columns=columns, where=where))
        place = found.end()
        if place == len(text):
            return Filter((*groups, tuple(group)))
        join = _JOIN.match(text, place)
        if join is None:
            raise InputError(_no_join(text, place), where=where, mend=f"write it like {_FORMS}")
        if join[1] == "or":
            groups.append(tuple(group))
            group = []
        place = join.end()


def _no_comparison(text: str, place: int) -> str:
    if text[place:].strip():
        return f"has no comparison at {text[place : place + 40]!r}"
    if not text.strip():
        return "is empty"
    return f"ends after {text.split()[-1]!r}, where a comparison has to follow"


def _no_join(text: str, place: int) -> str:
    return f"has {text[place : place + 40]!r} after a comparison, where only 'and' or 'or' can follow"


def _comparison(column: str, sign: str, written: str, *, columns: Mapping[str, type], where: str) -> Comparison:
    kind = columns.get(column)
    if kind is None:
        raise InputError(f"{column} is no column", where=where, mend=f"choose from {', '.join(columns)}")
    if kind is str:
        if sign not in ("=", "==", "!="):
            raise InputError(f"{column} is text, which has no order", where=where, mend="compare it with = or !=")
        return Comparison(column, sign, written)
    try:
        return Comparison(column, sign, _number(written))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{column} is a number, and {written!r} is none", where=where) from error


def _number(written: str) -> int | float:
    if _WHOLE.fullmatch(written):
        return int(written)
    return float.fromhex(written) if "0x" in written.lower() else float(written)
