"""The report as one self-contained page: words first, then why, then how to check it. It runs no script."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.app import page_text, page_view
from weighbridge.errors import MissingToolError

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["template_environment", "write_page"]

_TEMPLATES = Path(__file__).parent / "templates"
_FILTERS = (
    "byte_size",
    "duration",
    "flop",
    "flop_rate",
    "measure",
    "moment",
    "number",
    "percent",
    "sentence",
    "short",
    "times",
)
_LARGEST_RAW_CHARACTERS = 4 << 20
"""A raw record beyond this stays in report.json, so that the page still opens on a phone."""


def write_page(path: Path, body: Mapping[str, Any]) -> None:
    """Writes ``report.html``: it opens offline, loads nothing, runs nothing, and prints.

    The same body gives the same bytes: no clock is read.

    Args:
        path: where to write; an old page is replaced.
        body: the report, as :func:`weighbridge.ledger.assess.assess` returns it.

    Raises:
        MissingToolError: jinja2 is not installed.
    """
    path.write_text(_page(body), encoding="utf-8", newline="\n")


def _page(body: Mapping[str, Any]) -> str:
    from markupsafe import Markup

    environment = template_environment()
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    raw = json.dumps(body, indent=1, sort_keys=True, ensure_ascii=True)
    shown: dict[str, Any] = page_text.clean(body)
    operators = [page_view.operator_view(o, n, shown["window"]) for n, o in enumerate(shown["operators"], 1)]
    return environment.get_template("report.html.j2").render(
        body=shown,
        operators=operators,
        inspection=page_view.groups(shown["findings"]),
        levels=page_view.verdicts_by_level(shown),
        limits=page_view.known_limits(shown["operators"]),
        counting=page_view.counting_policy(body["counting"]),
        digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        style=Markup(style),  # noqa: S704 - the package's own style sheet
        raw=Markup(html.escape(raw, quote=False)) if len(raw) <= _LARGEST_RAW_CHARACTERS else "",  # noqa: S704
    )


def template_environment() -> "Environment":
    """Returns the template engine: everything is escaped, a name that is missing is an error."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise MissingToolError(
            "the page needs jinja2", where="report.html", mend="install it with: pip install 'weighbridge[report]'"
        ) from error
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({name: getattr(page_text, name) for name in _FILTERS})
    return environment
