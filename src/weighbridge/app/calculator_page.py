"""The calculator as one self-contained page: sliders, figures and pictures, computed in the browser."""

import base64
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from weighbridge.app.page import template_environment
from weighbridge.planning.calculator import ASSUMPTIONS, SLIDERS

__all__ = ["ROWS", "write_calculator"]

_TEMPLATES = Path(__file__).parent / "templates"

ROWS = (
    ("threshold_then", "Threshold that matters by then", "FLOP"),
    ("breakout_days", "The whole fleet reaches it in", "days"),
    ("share", "Share of the fleet that the run needs", "%"),
    ("chips_in_run", "Chips that the run needs", "chips"),
    ("snapshot_probability", "A chip of the run incriminates when read", "%"),
    ("samples_per_year", "Chips read a year", "chips"),
    ("detection_most", "Chance to meet the run with every chip read each period: the most there is", "%"),
    ("detection", "The run is met with chance", "%"),
    ("detection_worst", "The run is met with chance, if stretched (worst case)", "%"),
    ("needed_per_year", "Chips to read a year for the confidence", "chips"),
    ("needed_per_year_worst", "Chips to read a year, worst case", "chips"),
    ("inspectors_needed", "Inspectors needed, worst case", "people"),
    ("cost", "Cost of the inspectors", "USD a year"),
    ("cost_needed", "Cost of those needed", "USD a year"),
    ("hidden_all", "X: could stay hidden over the run's days, all records read", "FLOP"),
    ("hidden_read", "X: could stay hidden over the run's days, only chips read", "FLOP"),
    ("snapshots_due", "Freezes of the fleet over the run's days", "freezes"),
    ("snapshots_needed", "Audited snapshots over the run's days that keep X below the threshold", "snapshots"),
    ("stall", "The run loses to freezes", "%"),
)
"""Field of the outcome, words, and unit; shares are shown in per cent."""


def write_calculator(path: Path) -> None:
    """Writes the page: it opens offline, loads nothing, and the same version of weighbridge writes the same bytes.

    Args:
        path: where to write; an old page is replaced.

    Raises:
        MissingToolError: jinja2 is not installed.
    """
    path.write_text(_page(), encoding="utf-8", newline="\n")


def _page() -> str:
    environment = template_environment()
    from markupsafe import Markup

    style = "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "calculator.css"))
    script = (_TEMPLATES / "calculator.js").read_text(encoding="utf-8")
    rows = [{"name": name, "label": label, "unit": unit} for name, label, unit in ROWS]
    data = {"sliders": [asdict(slider) for slider in SLIDERS], "rows": rows, "assumptions": ASSUMPTIONS}
    return environment.get_template("calculator.html.j2").render(
        sliders=SLIDERS,
        rows=rows,
        assumptions=ASSUMPTIONS,
        style=Markup(style),  # noqa: S704 - the package's own files
        script=Markup(script),  # noqa: S704
        data=Markup(json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")),  # noqa: S704
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
