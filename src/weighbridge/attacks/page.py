"""The table of attacks in words: cells for the terminal, and a page of Markdown."""

from collections.abc import Sequence
from typing import Final

from weighbridge.attacks.summary import Row

__all__ = ["COLUMNS", "CONTROL_COLUMNS", "cells", "page_text"]

COLUMNS: Final = ("attack", "cost to adversary", "caught by", "caught", "95 % interval", "verifier's cost", "original")
CONTROL_COLUMNS: Final = ("control", "accused by", "accused", "95 % interval", "verifier's cost")

_NONE: Final = "–"
_HEAD: Final = """\
# The table of attacks

Written by `weighbridge redteam` from the trials in [redteam.jsonl](redteam.jsonl); [redteam.md](redteam.md) says how to
read it, and how the figures stand to the published ones.
"""


def cells(row: Row) -> list[str]:
    """Returns one row's cells, under ``COLUMNS`` for an attack and ``CONTROL_COLUMNS`` for a control."""
    if not row.seeds:
        what = "ended in an error" if row.errors else "not run"
        return [row.name, *[_NONE] * (len(COLUMNS if row.source else CONTROL_COLUMNS) - 2), what]
    caught = [
        ", ".join(row.caught_by) or (f"{_NONE}" if not row.source or row.expected else "nothing, as is known"),
        f"{row.detected} of {row.seeds}",
        f"{row.low:.0%} to {row.high:.0%}" if row.low is not None else _NONE,
        _share(row.verifier_cost),
    ]
    if not row.source:
        return [row.name, *caught]
    original = "none" if row.reproduced is None else f"succeeded {row.reproduced} of {row.seeds}: {row.original}"
    return [row.name, _share(row.adversary_cost), *caught, original]


def page_text(attacks: Sequence[Row], controls: Sequence[Row]) -> str:
    """Returns the page, in Markdown."""
    parts = [_HEAD]
    for title, columns, rows in (("Attacks", COLUMNS, attacks), ("Honest controls", CONTROL_COLUMNS, controls)):
        if rows:
            parts.append(f"\n## {title}\n" + _table(columns, [cells(row) for row in rows]))
    if wrong := [row for row in [*attacks, *controls] if row.wrong]:
        parts.append("\n## Not as it should be\n" + "".join(f"- {row.name}: {row.wrong}\n" for row in wrong))
    parts.append("\n## What they do\n")
    parts += [f"- **{row.name}** ({row.source}): {row.what}\n" for row in attacks]
    parts += [f"- **{row.name}** (honest): {row.what}\n" for row in controls]
    parts.append("\n## Where\n" + "".join(f"- {place}\n" for place in _places([*attacks, *controls])))
    return "".join(parts)


def _places(rows: Sequence[Row]) -> list[str]:
    commits = sorted({commit or "no repository" for row in rows for commit in row.commits})
    machines = sorted({machine for row in rows for machine in row.machines})
    trials = sum(row.seeds for row in rows)
    where = f"machines: {'; '.join(machines) or 'none'}"
    return [f"{trials} trials", where, f"commits: {', '.join(commits) or 'none'}"]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _share(value: float | None) -> str:
    if value is None:
        return _NONE
    if 0 < value < 5e-5:
        return "< 0.01%"
    return f"{value:.2g} ×" if value >= 2 else f"{value:.2%}" if 0 < value < 0.1 else f"{value:.0%}"
