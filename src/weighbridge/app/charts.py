"""Charts as data, and as hand-made SVG: the same data give the same bytes, and nothing is loaded from elsewhere.

A chart is told from its words and shapes first: series differ in dash and marker as well as in colour.
"""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from weighbridge.errors import InputError

__all__ = [
    "COLOURS",
    "DASHES",
    "Axis",
    "Bars",
    "Calendar",
    "Chart",
    "Mark",
    "Series",
    "label_below",
    "number",
    "scale",
    "svg",
    "ticks",
]

COLOURS: Final = ("#0b5c8f", "#b3470a", "#2f7d32", "#7b3294", "#8a6d00", "#555555")
DASHES: Final = ("", "7 4", "2 3", "10 3 2 3", "4 4", "1 4")
_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 24, 64, 54
_LEGEND_LINE = 15
_ROW = 34
_MOST_TICKS = 8
_LETTER = 6.2
_HIGH = 0.92
_HALO = ' paint-order="stroke" stroke="#ffffff" stroke-width="3"'


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What an axis shows, whether by its logarithm, and a value that it reaches at least."""

    label: str
    log: bool = False
    reach: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve, or one set of dots; points outside a logarithmic axis are refused."""

    name: str
    points: tuple[tuple[float, float], ...]
    dots: bool = False


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point that the chart is about, its label above it or ``below``, or where a ``rising`` curve leaves room."""

    x: float
    y: float
    label: str
    below: bool = False
    rising: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of curves; its title states the finding."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what no axis can show."""
        for axis, values in ((self.x, [p[0] for p in self._points()]), (self.y, [p[1] for p in self._points()])):
            if not values:
                raise InputError("has no points", where=self.title)
            if not all(math.isfinite(value) and (value > 0 or not axis.log) for value in values):
                raise InputError(f"the axis {axis.label!r} cannot show every point", where=self.title)

    def _points(self) -> list[tuple[float, float]]:
        return [p for one in self.series for p in one.points] + [(mark.x, mark.y) for mark in self.marks]

    def span(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Returns the lowest and highest value of x, and of y; a linear axis of y begins at 0."""
        xs = [x for x, _ in self._points()] + ([] if self.x.reach is None else [self.x.reach])
        ys = [y for _, y in self._points()] + ([] if self.y.reach is None else [self.y.reach])
        low_y = min(ys) if self.y.log else min(0.0, *ys)
        return _apart(min(xs), max(xs), log=self.x.log), _apart(low_y, max(ys), log=self.y.log)


def label_below(mark: Mark, up: float, *, left: bool) -> bool:
    """Returns whether a mark's label goes below it, ``up`` the share of the axis under it: never into the legend.

    A rising curve leaves room below on the right of the mark, and above to the ``left`` of it.
    """
    return up > _HIGH or mark.below or (mark.rising and not left)


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Events over the days of a period, a row a kind: each with its days and what they are."""

    title: str
    days: float
    rows: tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One named bar a row, from its lower to its upper end: a range is one mark, and no bar lies on the frame.

    Attributes:
        title: the finding.
        axis: what the bars measure.
        rows: name, lower and upper end of each.
        line: a figure to compare them with, and its name.
    """

    title: str
    axis: Axis
    rows: tuple[tuple[str, float, float], ...]
    line: tuple[str, float] | None = None

    def span(self) -> tuple[float, float]:
        """Returns the ends of the axis: from 0, or, by logarithm, with room on both sides."""
        ends = [end for _, low, high in self.rows for end in (low, high)] + ([self.line[1]] if self.line else [])
        if not ends or not all(math.isfinite(end) and (end > 0 or not self.axis.log) for end in ends):
            raise InputError(f"the axis {self.axis.label!r} cannot show every bar", where=self.title)
        if self.axis.log:
            return min(ends) / 2, max(ends) * 2
        return 0.0, max(1e-12, *ends, self.axis.reach or 0.0)


def _apart(low: float, high: float, *, log: bool) -> tuple[float, float]:
    if low < high:
        return low, high
    return (low / 2, high * 2) if log else (low - 1, high + 1)


def scale(value: float, low: float, high: float, *, log: bool) -> float:
    """Returns where a value lies between low and high: 0 to 1."""
    if log:
        value, low, high = math.log10(value), math.log10(low), math.log10(high)
    return (value - low) / (high - low)


def ticks(low: float, high: float, *, log: bool) -> tuple[float, ...]:
    """Returns round values inside the span: powers of ten, few of them with steps between; or steps of 1, 2 or 5."""
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        if last - first >= 2:
            stride = 1 + (last - first) // _MOST_TICKS
            return tuple(10.0**power for power in range(first, last + 1, stride))
        between = (1, 2, 3, 5) if last < first + 1 else (1, 2, 5)
        steps = [m * 10.0**e for e in range(first - 2, last + 2) for m in between]
        return tuple(step for step in steps if low * (1 - 1e-9) <= step <= high * (1 + 1e-9))
    power = 10.0 ** math.floor(math.log10(high - low))
    step = next(m * power for m in (0.1, 0.2, 0.5, 1, 2, 5) if (high - low) / (m * power) <= _MOST_TICKS)
    return tuple(n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1))


def number(value: float) -> str:
    """Returns a tick's label: 1,000, 0.05, 1e24."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:,.10g}" if value == int(value) else f"{value:.6g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    short = mantissa.rstrip("0").rstrip(".")
    return f"{short}e{int(exponent)}"


def svg(panels: Sequence[Chart | Calendar | Bars], *, title: str, columns: int = 1) -> str:
    """Returns one SVG picture with the panels in a grid; it loads and runs nothing.

    Args:
        panels: what to draw, row by row.
        title: the picture's title, for those who cannot see it.
        columns: panels side by side.
    """
    heights = [_height(panel) for panel in panels]
    rows = [max(heights[start : start + columns]) for start in range(0, len(panels), columns)]
    width, height = _WIDTH * min(columns, len(panels)), sum(rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{html.escape(title)}" font-family="sans-serif" font-size="12">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        lines.append(f'<g transform="translate({column * _WIDTH} {sum(rows[:row])})">')
        if isinstance(panel, Chart):
            lines += _chart(panel)
        else:
            lines += _calendar(panel) if isinstance(panel, Calendar) else _bars(panel)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>"]) + "\n"


def _height(panel: Chart | Calendar | Bars) -> int:
    if not isinstance(panel, Chart):
        return _TOP + _ROW * len(panel.rows) + _BOTTOM
    return _HEIGHT + _LEGEND_LINE * max(0, len(panel.series) - 1)


def _text(x: float, y: float, text: str, *, anchor: str = "start", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{html.escape(text)}</text>'


def _title(text: str) -> str:
    return _text(16, 22, text, extra=' font-size="13" font-weight="bold"')


def _chart(chart: Chart) -> Iterator[str]:
    (x_low, x_high), (y_low, y_high) = chart.span()
    top = _TOP + _LEGEND_LINE * max(0, len(chart.series) - 1)
    right, bottom = _WIDTH - _RIGHT, _height(chart) - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        across = scale(x, x_low, x_high, log=chart.x.log)
        up = scale(y, y_low, y_high, log=chart.y.log)
        return _LEFT + (right - _LEFT) * across, bottom - (bottom - top) * up

    yield _title(chart.title)
    for value in ticks(x_low, x_high, log=chart.x.log):
        x, _ = at(value, y_low)
        yield f'<path d="M{x:.1f} {top}V{bottom}" stroke="#dddddd"/>'
        yield _text(x, bottom + 16, number(value), anchor="middle")
    for value in ticks(y_low, y_high, log=chart.y.log):
        _, y = at(x_low, value)
        yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dddddd"/>'
        yield _text(_LEFT - 6, y + 4, number(value), anchor="end")
    yield f'<path d="M{_LEFT} {top}V{bottom}H{right}" fill="none" stroke="#333333"/>'
    yield _text((_LEFT + right) / 2, bottom + 38, chart.x.label, anchor="middle")
    middle = (top + bottom) / 2
    yield _text(18, middle, chart.y.label, anchor="middle", extra=f' transform="rotate(-90 18 {middle:.1f})"')
    for index, one in enumerate(chart.series):
        yield from _series(one, index, [at(*point) for point in one.points])
    for mark in chart.marks:
        x, y = at(mark.x, mark.y)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#ffffff" stroke="#000000" stroke-width="2"/>'
        fits = x + 10 + _LETTER * len(mark.label) < right
        up = scale(mark.y, y_low, y_high, log=chart.y.log)
        high = y + 18 if label_below(mark, up, left=not fits) else y - 8
        beside = _text(x + 10, high, mark.label) if fits else _text(x - 10, high, mark.label, anchor="end")
        yield beside.replace("<text ", f"<text{_HALO} ")


def _series(one: Series, index: int, places: Sequence[tuple[float, float]]) -> Iterator[str]:
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    y = 42 + _LEGEND_LINE * index
    if one.dots:
        # Every other kind is a ring, wide enough to be seen around a dot.
        shape = f'r="4" fill="{colour}"' if index % 2 == 0 else f'r="6" fill="none" stroke="{colour}" stroke-width="2"'
        yield from (f'<circle cx="{px:.1f}" cy="{py:.1f}" {shape}/>' for px, py in places)
        yield f'<circle cx="{_LEFT + 14}" cy="{y}" {shape}/>'
    else:
        style = f'fill="none" stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")
        yield f'<path d="M{" ".join(f"{px:.1f} {py:.1f}" for px, py in places)}" {style}/>'
        yield f'<path d="M{_LEFT} {y}h28" {style}/>'
    yield _text(_LEFT + 34, y + 4, one.name)


def _calendar(calendar: Calendar) -> Iterator[str]:
    left, right = 16, _WIDTH - _RIGHT
    bottom = _TOP + _ROW * len(calendar.rows)
    yield _title(calendar.title)
    for value in ticks(0.0, calendar.days, log=False):
        x = left + (right - left) * value / calendar.days
        yield f'<path d="M{x:.1f} {_TOP - 24}V{bottom}" stroke="#dddddd"/>'
        yield _text(x, bottom + 16, number(value), anchor="middle" if value else "start")
    yield _text((left + right) / 2, bottom + 38, "days from the start", anchor="middle")
    for index, (name, days) in enumerate(calendar.rows):
        y = _TOP + _ROW * index
        colour = COLOURS[index % len(COLOURS)]
        yield _text(left, y - 6, name)
        yield f'<path d="M{left} {y + 6}H{right}" stroke="#999999"/>'
        for day in days:
            x = left + (right - left) * day / calendar.days
            yield f'<path d="M{x:.1f} {y}v12" stroke="{colour}" stroke-width="3"/>'


def _bars(bars: Bars) -> Iterator[str]:
    low, high = bars.span()
    left, right, bottom = 24, _WIDTH - _RIGHT, _TOP + _ROW * len(bars.rows)

    def at(value: float) -> float:
        return left + (right - left) * scale(value, low, high, log=bars.axis.log)

    yield _title(bars.title)
    for value in ticks(low, high, log=bars.axis.log):
        yield f'<path d="M{at(value):.1f} {_TOP - 20}V{bottom}" stroke="#dddddd"/>'
        yield _text(at(value), bottom + 16, number(value), anchor="middle")
    yield _text((left + right) / 2, bottom + 38, bars.axis.label, anchor="middle")
    for index, (name, start, end) in enumerate(bars.rows):
        y = _TOP + _ROW * index
        # A range without width, and a bar of nothing, are still seen.
        wide = max(3.0, at(end) - at(start))
        yield f'<rect x="{at(start):.1f}" y="{y}" width="{wide:.1f}" height="12" fill="{COLOURS[0]}"/>'
        yield _text(left, y - 5, name, extra=_HALO)
    if bars.line:
        name, value = bars.line
        yield f'<path d="M{at(value):.1f} {_TOP - 20}V{bottom}" stroke="#000000" stroke-dasharray="7 4"/>'
        yield f'<path d="M{left} 36h28" stroke="#000000" stroke-dasharray="7 4"/>' + _text(left + 34, 40, name)
