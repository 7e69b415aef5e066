"""A journal as rows: its steps, or its claims about freezes. Read line by line and without torch."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.conditions import Filter, Value
from weighbridge.mechanisms.transcript.journal import SegmentReader, segment_paths

__all__ = ["FREEZE_COLUMNS", "LISTED", "STEP_COLUMNS", "Row", "Rows", "Span", "parse_span"]

STEP_COLUMNS: dict[str, type] = {
    "segment": float,
    "step": float,
    "loss": float,
    "lr": float,
    "updates": float,
    "batch": str,
    "seen": str,
    "state": str,
    "cpu_ns": float,
    "monotonic_ns": float,
}
"""Columns of a step. ``loss`` has one value for each backward pass, ``lr`` one for each group of each optimizer."""

FREEZE_COLUMNS: dict[str, type] = {
    "segment": float,
    "step": float,
    "chip": str,
    "boot": float,
    "first": float,
    "last": float,
    "phase": str,
    "anchor": str,
    "state": str,
    "time": float,
}
"""Columns of a claim: records ``first`` to ``last`` of a chip's boot found the program at ``step``."""

LISTED = ("loss", "lr")
"""Columns with any number of values in a row."""

Row = Mapping[str, tuple[Value, ...]]


@dataclass(frozen=True)
class Span:
    """Steps from ``start`` up to, not including, ``stop``."""

    start: int = 0
    stop: int | None = None

    def __contains__(self, step: int) -> bool:
        return step >= self.start and (self.stop is None or step < self.stop)


def parse_span(text: str, *, where: str = "--steps") -> Span:
    """Reads ``100:200``, ``100:``, ``:200`` or ``150``.

    Raises:
        InputError: it is something else.
    """
    first, colon, last = text.partition(":")
    try:
        for part in (first, last):
            if part and not (part.isascii() and part.isdigit() and len(part) < 20):
                raise ValueError(part)
        start = int(first) if first or not colon else 0
        stop = int(last) if last else None if colon else start + 1
    except ValueError as error:
        raise InputError(f"{text[:40]!r} is no range of steps", where=where, mend="write it like 100:200") from error
    if stop is not None and stop <= start:
        raise InputError(f"{text[:40]!r} holds no step", where=where, mend="write it like 100:200")
    return Span(start, stop)


@dataclass
class Rows:
    """What a journal says, row by row; iterate over it once.

    Attributes:
        folder: the run's folder.
        freezes: the claims about freezes instead of the steps.
        span: steps to take.
        condition: rows to take.
        read: rows seen so far.
        torn: segments whose last line lacks its end, known once all were given.
    """

    folder: Path
    freezes: bool = False
    span: Span = field(default_factory=Span)
    condition: Filter = field(default_factory=Filter)
    read: int = 0
    torn: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Row]:
        """Yields the rows that pass, in the journal's order: steps trained again come again, in another segment.

        Raises:
            EvidenceError: the folder holds no journal, or a line is not what a recorder writes.
        """
        if not self.folder.is_dir():
            raise EvidenceError("is not a transcript's folder", where=self.folder)
        for number, path in enumerate(segment_paths(self.folder)):
            reader = SegmentReader(path)
            rates: tuple[Value, ...] = ()
            for event in reader:
                data = event.data
                if "hyperparameters" in data:
                    rates = tuple(_rates(data["hyperparameters"]))
                if event.type != ("freeze" if self.freezes else "step"):
                    continue
                self.read += 1
                if data["step"] not in self.span:
                    continue
                row = _freeze(number, data) if self.freezes else _step(number, data, rates)
                if self.condition.takes(row):
                    yield row
            if reader.torn:
                self.torn.append(path.name)


def _rates(hyperparameters: Mapping[str, Any]) -> Iterator[Value]:
    for _, groups in sorted(hyperparameters.items()):
        for group in groups:
            rate = group.get("lr")
            # NaN and infinities are text, as the recorder spells what JSON cannot hold.
            if type(rate) in (int, float) or rate in ("nan", "inf", "-inf"):
                with contextlib.suppress(OverflowError):
                    yield float(rate)


def _step(segment: int, data: Mapping[str, Any], rates: tuple[Value, ...]) -> Row:
    row: dict[str, tuple[Value, ...]] = {
        "segment": (segment,),
        "loss": tuple(float.fromhex(loss) for loss in data["loss"]),
        "lr": rates,
    }
    for name in ("step", "updates", "batch", "seen", "state", "cpu_ns", "monotonic_ns"):
        if name in data:
            row[name] = (data[name],)
    return row


def _freeze(segment: int, data: Mapping[str, Any]) -> Row:
    first, last = data["sequences"]
    row: dict[str, tuple[Value, ...]] = {"segment": (segment,), "first": (first,), "last": (last,)}
    return row | {name: (data[name],) for name in FREEZE_COLUMNS if name not in row}
