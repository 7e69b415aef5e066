"""Geometry of the page's drawings: chips over time, and bars of what adds up. Positions in a drawing 1000 units wide.

Colours and patterns belong to the style sheet; a drawing names only kinds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from weighbridge.app.page_text import byte_size, duration, number, percent, short

__all__ = ["Bar", "Mark", "Row", "Scale", "Timeline", "stack", "timeline"]

LEFT, WIDTH = 112.0, 876.0
"""Where a drawing's time or quantity axis begins, and its length; names stand to its left."""

_ROW_HEIGHT = 58
_MOST_CHIPS = 60
_LETTER = 6.6
_UNITS = ((300.0, 1.0, "seconds"), (18_000.0, 60.0, "minutes"), (432_000.0, 3600.0, "hours"))
_BOOT_KINDS = {"declared run": "declared", "uncovered": "uncovered"}
_MARK_ORDER = ("outside", "matched", "answered", "unmatched")


@dataclass(frozen=True)
class Bar:
    """A stretch of a row: its kind names the pattern; the label is drawn where it fits, the title always tells."""

    x: float
    width: float
    kind: str
    label: str
    title: str


@dataclass(frozen=True)
class Mark:
    """One freeze or answer at a point of a row; the kind names the shape."""

    x: float
    kind: str
    title: str


@dataclass(frozen=True)
class Row:
    """One chip over the window, with what its marks add up to."""

    chip: str
    note: str
    y: float
    bars: tuple[Bar, ...]
    boots: tuple[Bar, ...]
    runs: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Timeline:
    """Rows over one time axis that begins at the plan."""

    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    unit: str
    height: float
    chips_left_out: int
    marks_left_out: int


@dataclass(frozen=True)
class Scale:
    """Maps a quantity to a position."""

    length: float

    def x(self, value: float) -> float:
        """Returns the position, held inside the drawing."""
        share = min(max(value / self.length, 0.0), 1.0) if self.length > 0 else 0.0
        return round(LEFT + WIDTH * share, 1)

    def bar(self, start: float, end: float, kind: str, label: str, title: str) -> Bar:
        """Returns the stretch between two values; its label only if it fits."""
        x, width = self.x(start), round(self.x(end) - self.x(start), 1)
        return Bar(x, width, kind, label if len(label) * _LETTER < width - 8 else "", title)


def stack(parts: Sequence[tuple[str, float, str, str]], scale: Scale) -> tuple[Bar, ...]:
    """Lays (kind, value, label, title) end to end; a part too small to see keeps a hair's breadth."""
    bars, reached = [], 0.0
    for kind, value, label, title in parts:
        if value > 0:
            bar = scale.bar(reached, reached + value, kind, label, title)
            bars.append(replace(bar, width=max(bar.width, 0.8)))
        reached += value
    return tuple(bars)


def timeline(operator: Mapping[str, Any], window: Mapping[str, Any]) -> Timeline:
    """Draws an operator's chips over the window: boots as bars by their use, freezes as marks by their status."""
    began, length = float(window["began"]), float(window["seconds"])
    scale = Scale(length)
    by_chip: dict[str, list[Mapping[str, Any]]] = {chip: [] for chip in operator["chips"]}
    for record in operator["records"]:
        by_chip.setdefault(record["chip"], []).append(record)
    uses = {}
    silent: dict[str, float] = {}
    for coverage in operator["account"]["coverages"]:
        if coverage["use"] == "silent":
            silent[coverage["chip"]] = float(coverage["seconds"])
        elif coverage["use"] != "around the declared steps":
            uses.update(dict.fromkeys(coverage["evidence"], coverage["use"]))
    rows, left_out = [], 0
    for number_, (chip, records) in enumerate(list(by_chip.items())[:_MOST_CHIPS]):
        marks, hidden = _marks(records, scale, began)
        left_out += hidden
        rows.append(
            Row(
                chip=chip,
                note="not in the directory" if chip in operator["unlisted_chips"] else "",
                y=float(number_ * _ROW_HEIGHT),
                bars=_unseen(records, silent.get(chip, 0.0), scale, began),
                boots=_boots(records, uses, scale, began),
                runs=_runs(records, scale, began),
                marks=marks,
                counts={kind: sum(r["status"] == kind for r in records) for kind in _MARK_ORDER},
            )
        )
    ticks, unit = _ticks(scale)
    height = len(rows) * _ROW_HEIGHT + 44.0
    return Timeline(tuple(rows), ticks, unit, height, max(0, len(by_chip) - _MOST_CHIPS), left_out)


def _by_boot(records: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    boots: dict[int, list[Mapping[str, Any]]] = {}
    for record in records:
        if record["reason"] != "challenge":
            boots.setdefault(record["boot"], []).append(record)
    return boots


def _unseen(records: Sequence[Mapping[str, Any]], silent: float, scale: Scale, began: float) -> tuple[Bar, ...]:
    """Returns the row's ground: off over the whole window, and over it the stretches without evidence."""
    window = scale.length
    bars = [scale.bar(0, window, "off", "", "off: assumed between a signed shutdown and the next boot")]
    if silent > 0:
        title = f"{duration(silent)} to the close without evidence of what the chip did: counts at capacity"
        bars.append(scale.bar(window - silent, window, "silent", "no evidence", title))
    boots = _by_boot(records)
    starts = sorted(members[0]["time"] - began for members in boots.values())
    for boot, members in boots.items():
        if members[-1]["reason"] != "shutdown":
            end = members[-1]["time"] - began
            until = min((start for start in starts if start > end), default=window)
            title = f"boot {boot} has no shutdown record: the time after its last record counts at capacity"
            bars.append(scale.bar(end, until, "silent", "no shutdown", title))
    return tuple(bars)


def _boots(
    records: Sequence[Mapping[str, Any]], uses: Mapping[str, str], scale: Scale, began: float
) -> tuple[Bar, ...]:
    """Returns a bar a boot, from its first record to its last, by the use that the account gives it."""
    bars: list[Bar] = []
    edge = LEFT + WIDTH
    for boot, members in sorted(_by_boot(records).items(), reverse=True):
        start, end = members[0]["time"] - began, members[-1]["time"] - began
        use = next((uses[r["statement"]] for r in members if r["statement"] in uses), "uncovered")
        label = f"boot {boot}: {use}"
        title = f"{label}, {number(start)} s to {number(end)} s, {len(members)} records"
        bar = scale.bar(start, end, _BOOT_KINDS.get(use, "other"), "", title)
        # The label stands below the bar, up to where the next boot begins.
        bars.append(replace(bar, label=label if len(label) * _LETTER < edge - bar.x else ""))
        edge = bar.x
    return tuple(bars)


def _runs(records: Sequence[Mapping[str, Any]], scale: Scale, began: float) -> tuple[Bar, ...]:
    """Returns, for each run that audits found in the chip's memory, its first to its last freeze."""
    spans: dict[str, list[float]] = {}
    for record in records:
        if record["run"]:
            spans.setdefault(record["run"], []).append(record["time"] - began)
    found = []
    for run, times in spans.items():
        bar = scale.bar(min(times), max(times), "run", "", f"run {run}: {len(times)} audited freezes")
        found.append(replace(bar, width=max(bar.width, 4.0), label=f"run {short(run)}"))
    return tuple(found)


def _marks(records: Sequence[Mapping[str, Any]], scale: Scale, began: float) -> tuple[tuple[Mark, ...], int]:
    """Returns the marks, unmatched ones on top; of several at one place and of one kind the first is drawn."""
    drawn: dict[tuple[str, int], Mark] = {}
    shown = [r for r in records if r["status"] in _MARK_ORDER]
    for record in shown:
        at = record["time"] - began
        x, kind = scale.x(at), record["status"]
        title = f"record {record['sequence']} at {number(at)} s: {kind}"
        if record["reason"] == "sample":
            title += f"; frozen {duration(record['freeze_s'])}, {byte_size(record['read_bytes'])} read"
        if record["share"] is not None:
            title += f"; {percent(record['share'])} of whole pages under the weights match"
        drawn.setdefault((kind, round(x)), Mark(x, kind, title))
    ordered = sorted(drawn.values(), key=lambda mark: _MARK_ORDER.index(mark.kind))
    return tuple(ordered), len(shown) - len(drawn)


def _ticks(scale: Scale) -> tuple[tuple[tuple[float, str], ...], str]:
    """Returns about eight round times with positions, and their unit."""
    factor, unit = next(((f, u) for limit, f, u in _UNITS if scale.length <= limit), (86_400.0, "days"))
    length = scale.length / factor
    step = next(
        (m * 10.0**e for e in range(-3, 9) for m in (1, 2, 5) if length / (m * 10.0**e) <= 10),
        length or 1.0,
    )
    values = [index * step for index in range(int(length / step) + 1)]
    return tuple((scale.x(value * factor), number(value)) for value in values), unit
