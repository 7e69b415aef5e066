"""``weighbridge plan page``: the calculator as a file."""

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.calculator_page import write_calculator
from weighbridge.errors import InputError

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command to ``weighbridge plan``."""
    app.command("page")(page)


def page(
    out: Annotated[Path, typer.Option("--out", help="File to write; an old one is replaced.", metavar="FILE")],
) -> None:
    r"""Writes a calculator as one web page: sliders, figures, pictures; it works offline.

    Example: weighbridge plan page --out plan.html
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError("does not end in .html", where=out, field="--out", mend="browsers go by the name")
    try:
        write_calculator(out)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=out, field="--out") from error
    typer.echo(f"Wrote {out}: open it in any browser.")
