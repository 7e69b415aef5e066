"""``weighbridge transcript list``: the runs under a folder, a line each."""

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import plain_text, print_json
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.listing import BINDINGS, Entry, list_runs
from weighbridge.units import format_bytes

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("list")(list_)


def list_(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the runs' folders.")],
    roots: Annotated[
        Path | None, typer.Option(help="Trust roots: verify what binds each run; else its folder's word is taken.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Lists every run under a folder, and names what is damaged or is no transcript. Nothing is written.

    Journals are read whole and have to be well-formed. Whether what they say holds is for transcript verify.

    Example: weighbridge transcript list weighbridge-runs --roots roots
    """
    entries = list(list_runs(folder, TrustRoots.load(roots) if roots is not None else None))
    runs = [entry for entry in entries if entry.kind == "run"]
    others = [entry for entry in entries if entry.kind != "run"]
    if as_json:
        print_json(
            {
                "verified": roots is not None,
                "runs": [_as_dict(entry) for entry in runs],
                "others": [{"folder": entry.name, "kind": entry.kind, "fault": entry.fault} for entry in others],
            }
        )
        return
    cells = [_cells(entry) for entry in runs]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not runs:
        typer.echo("no runs")
    for entry in others:
        typer.echo(f"{plain_text(entry.name)}  {entry.kind.upper()}: {plain_text(entry.fault)}")
    if any(entry.binding != "unsigned" for entry in runs) and roots is None:
        typer.echo("- no signature was checked: name trust roots with --roots")
    for word in (word for word in BINDINGS if any(entry.binding == word for entry in runs)):
        typer.echo(f"- {word}: {BINDINGS[word]}")


def _as_dict(entry: Entry) -> dict[str, object]:
    return {
        "folder": entry.name,
        "run": entry.run,
        "rank": entry.rank,
        "begun": entry.begun,
        "begun_utc": entry.begun_at,
        "steps": entry.steps,
        "planned": entry.planned,
        "trained": entry.trained,
        "segments": entry.segments,
        "ended": entry.ended,
        "torn": entry.torn,
        "binding": entry.binding,
        "signed": entry.binding != "unsigned",
        "verified": entry.verified,
        "opened": entry.opened,
        "freezes": entry.freezes,
        "size_bytes": entry.size_bytes,
    }


def _cells(entry: Entry) -> list[str]:
    again, segments = entry.trained - entry.steps, entry.segments
    more = [f"{segments} segments"] * (segments > 1) + [f"{again} steps again"] * (again > 0) + ["torn"] * entry.torn
    more += [entry.rank] * bool(entry.rank)
    cells = [
        entry.name,
        entry.begun_at,
        f"{entry.steps} steps" if entry.planned is None else f"{entry.steps}/{entry.planned} steps",
        ", ".join([entry.ended, *more]),
        entry.binding + (" (verified)" if entry.verified else ""),
        f"{entry.freezes} freezes",
        format_bytes(entry.size_bytes),
    ]
    return [plain_text(cell) for cell in cells]
