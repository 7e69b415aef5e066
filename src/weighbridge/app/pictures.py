"""Writes charts as a picture: SVG or a self-contained page made by hand, PNG by matplotlib (the extra ``plots``)."""

import html
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighbridge.app.charts import COLOURS, DASHES, Axis, Bars, Calendar, Chart, label_below, number, scale, svg, ticks
from weighbridge.errors import InputError, MissingToolError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Picture", "draw", "write_picture"]

Picture = Annotated[
    Path | None, typer.Option(help="Also draw the plan: a new .svg, .html or .png file.", metavar="FILE")
]
"""The option of every plan that can be drawn."""

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:82rem;margin:1rem auto;padding:0 1rem;color:#111;background:#fff}"
    "svg{max-width:100%;height:auto}table{border-collapse:collapse}td,th{padding:.1rem .8rem;text-align:right}"
)
_INCH = 100
_LEGEND_LINE = 13.5
_NEAR_THE_EDGE = 0.75
_BAR, _FEW_BARS = 36, 10


def draw(
    path: Path | None, panels: Callable[..., tuple[str, Sequence[Chart | Calendar | Bars]]], *plan: object, **typed: Any
) -> None:
    """Writes a plan's picture if one was asked for.

    Args:
        path: where to; None draws nothing.
        panels: makes the title and the charts from the plan and from what was typed.
        plan: handed on to ``panels``.
        typed: handed on to ``panels``.
    """
    if path is not None:
        title, charts = panels(*plan, **typed)
        write_picture(path, charts, title=title)


def write_picture(path: Path, panels: Sequence[Chart | Calendar | Bars], *, title: str) -> None:
    """Writes a new file in the format that its suffix names: ``.svg``, ``.html`` or ``.png``.

    The same panels give the same bytes (PNG: with the same matplotlib).

    Raises:
        InputError: the suffix is another, or the file exists or cannot be written.
        MissingToolError: PNG without matplotlib.
    """
    suffix = path.suffix.lower()
    if suffix == ".svg":
        content = svg(panels, title=title, columns=2).encode()
    elif suffix == ".html":
        content = _page(panels, title=title).encode()
    elif suffix == ".png":
        content = _png(panels, title=title)
    else:
        raise InputError(
            f"{path.name!r} names no format", field="--picture", mend="end the name in .svg, .html or .png"
        )
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise InputError("exists", where=path, field="--picture", mend="choose another name or remove it") from error
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=path, field="--picture") from error


def _page(panels: Sequence[Chart | Calendar | Bars], *, title: str) -> str:
    tables = "\n".join(line for panel in panels for line in _data(panel))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head>
<body><h1>{html.escape(title)}</h1>
{svg(panels, title=title, columns=2)}{tables}
</body></html>
"""


def _data(panel: Chart | Calendar | Bars) -> Iterator[str]:
    """Yields a panel's numbers as folded tables, so that they can be copied and heard."""
    yield f"<details><summary>Numbers: {html.escape(panel.title)}</summary>"
    if isinstance(panel, Calendar):
        for name, days in panel.rows:
            yield f"<p>{html.escape(name)}: day {', '.join(number(round(day, 2)) for day in days)}</p>"
    elif isinstance(panel, Bars):
        yield from (f"<p>{html.escape(name)}: {number(low)} to {number(high)}</p>" for name, low, high in panel.rows)
    else:
        for one in panel.series:
            yield f"<table><caption>{html.escape(one.name)}</caption>"
            yield f"<tr><th>{html.escape(panel.x.label)}</th><th>{html.escape(panel.y.label)}</th></tr>"
            yield from (f"<tr><td>{x:.6g}</td><td>{y:.6g}</td></tr>" for x, y in one.points)
            yield "</table>"
    yield "</details>"


def _png(panels: Sequence[Chart | Calendar | Bars], *, title: str) -> bytes:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingToolError(
            "a PNG picture needs matplotlib",
            field="--picture",
            mend="install it with: pip install 'weighbridge[plots]', or name an .svg or .html file",
        ) from error
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    # Never pyplot, which keeps figures and settings of its own.
    most = max([_FEW_BARS, *(len(panel.rows) for panel in panels if isinstance(panel, Bars))])
    height = 440 + _BAR * (most - _FEW_BARS)
    figure = Figure(figsize=(640 * columns / _INCH, height * rows / _INCH), dpi=_INCH, layout="constrained")
    figure.suptitle(title)
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        legend = len(panel.series) if isinstance(panel, Chart) else 1 if isinstance(panel, Bars) and panel.line else 0
        axes.set_title(panel.title, fontsize=10, loc="left", fontweight="bold", pad=8 + _LEGEND_LINE * legend)
        if isinstance(panel, Chart):
            _chart(axes, panel)
        else:
            _calendar(axes, panel) if isinstance(panel, Calendar) else _bars(axes, panel)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _chart(axes: "Axes", chart: Chart) -> None:
    from matplotlib.patheffects import withStroke

    (x_low, x_high), (y_low, y_high) = chart.span()
    for index, one in enumerate(chart.series):
        xs, ys = zip(*one.points, strict=True)
        colour = COLOURS[index % len(COLOURS)]
        if one.dots:
            ring: dict[str, Any] = {"markerfacecolor": "none", "markersize": 9, "markeredgewidth": 2}
            axes.plot(xs, ys, "o", color=colour, label=one.name, clip_on=False, **(ring if index % 2 else {}))
        else:
            dash = [float(step) for step in DASHES[index % len(DASHES)].split()]
            axes.plot(xs, ys, color=colour, label=one.name, linestyle=(0, dash) if dash else "solid")
    for mark in chart.marks:
        axes.plot([mark.x], [mark.y], "o", markerfacecolor="white", markeredgecolor="black", clip_on=False)
        left = scale(mark.x, x_low, x_high, log=chart.x.log) > _NEAR_THE_EDGE
        below = label_below(mark, scale(mark.y, y_low, y_high, log=chart.y.log), left=left)
        axes.annotate(
            mark.label,
            (mark.x, mark.y),
            xytext=(-8 if left else 8, -14 if below else 6),
            textcoords="offset points",
            fontsize=9,
            horizontalalignment="right" if left else "left",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    _axis(axes, "x", chart.x, x_low, x_high)
    _axis(axes, "y", chart.y, y_low, y_high)
    axes.grid(visible=True, color="#dddddd")
    axes.set_axisbelow(True)
    # Above the curves, never on them.
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, labelspacing=0.3)


def _bars(axes: "Axes", bars: Bars) -> None:
    from matplotlib.patheffects import withStroke

    low, high = bars.span()
    count = len(bars.rows)
    for index, (name, start, end) in enumerate(bars.rows):
        axes.barh(
            count - index, end - start, left=start, height=0.35, color=COLOURS[0], edgecolor=COLOURS[0], linewidth=3
        )
        axes.annotate(
            name,
            (0, count - index + 0.22),
            xycoords=("axes fraction", "data"),
            xytext=(3, 4),
            textcoords="offset points",
            fontsize=9,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    if bars.line:
        axes.axvline(bars.line[1], color="black", linestyle="dashed", label=bars.line[0])
        axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    _axis(axes, "x", bars.axis, low, high)
    axes.set_ylim(0.5, count + 0.9)
    axes.set_yticks([])
    axes.grid(visible=True, axis="x", color="#dddddd")
    axes.set_axisbelow(True)


def _axis(axes: "Axes", name: str, axis: Axis, low: float, high: float) -> None:
    """Scales and labels one axis as the SVG picture does."""
    places = [place for place in ticks(low, high, log=axis.log) if low <= place <= high]
    axes.set(**{f"{name}scale": "log" if axis.log else "linear", f"{name}lim": (low, high), f"{name}label": axis.label})
    one = axes.xaxis if name == "x" else axes.yaxis
    one.set_ticks(places, labels=[number(place) for place in places])
    one.set_ticks([], minor=True)


def _calendar(axes: "Axes", calendar: Calendar) -> None:
    for index, (name, days) in enumerate(calendar.rows):
        height = len(calendar.rows) - index
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(
            days, [height] * len(days), "|", color=colour, markersize=14, markeredgewidth=2.5, clip_on=False, zorder=5
        )
        axes.annotate(name, (0, height), xytext=(4, 12), textcoords="offset points", fontsize=9)
    axes.set_xlim(0, calendar.days)
    axes.set_ylim(0.5, len(calendar.rows) + 0.8)
    axes.set_yticks([])
    axes.set_xlabel("days from the start")
