"""The report as one self-contained page."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["write_page"]


def write_page(path: Path, body: Mapping[str, Any]) -> None:
    """Writes ``report.html``: it opens offline, loads nothing, and prints."""
    rows = "".join(
        f"<tr><td>{escape(o['name'])}</td><td>{escape(o['verdict'])}</td></tr>" for o in body["operators"]
    )
    path.write_text(f"<!doctype html><meta charset=utf-8><title>weighbridge report</title><table>{rows}</table>")
