"""``weighbridge redteam``: published attacks and honest controls, run for real, and the table of what came of them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighbridge.app.console import print_json, print_table
from weighbridge.errors import InputError

if TYPE_CHECKING:
    from weighbridge.attacks.summary import Row

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(redteam)


def redteam(
    *,
    attack: Annotated[
        list[str] | None, typer.Option(help="Only this attack or honest control; may be repeated.", metavar="NAME")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trials of each; 0 runs nothing and prints the table.")] = 1,
    table: Annotated[
        Path, typer.Option(help="Table of trials, JSON lines: read, gone on with, appended to.", metavar="FILE")
    ] = Path("redteam.jsonl"),
    page: Annotated[Path | None, typer.Option(help="Also write the table as Markdown.", metavar="FILE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Attack training transcripts as published, and say what was caught, at what cost to both sides.

    Each attack first reproduces its success against what it was made for. Trials that the table has are not run again:
    an interrupted run goes on. Exits with 1 if an attack was not caught by the check that should, was a weak copy, an
    honest control was accused, or a trial ended in an error.

    Example: weighbridge redteam --attack dataset-hash-pixel --seeds 3
    """
    from weighbridge.attacks.page import page_text
    from weighbridge.attacks.registry import every_attack, every_control
    from weighbridge.attacks.running import code_digest, run_trials
    from weighbridge.attacks.summary import summarise

    attacks, controls = every_attack(), every_control()
    named = set(attack or ())
    if unknown := sorted(named - {*attacks, *controls}):
        known = ", ".join([*attacks, *controls])
        raise InputError(f"there is no attack or control {unknown[0]!r}", where="--attack", mend=f"name one of {known}")
    if seeds < 0:
        raise InputError("must not be negative", where="--seeds")
    chosen_attacks = [entry for name, entry in attacks.items() if not named or name in named]
    chosen_controls = [entry for name, entry in controls.items() if not named or name in named]
    lines = run_trials([*chosen_attacks, *chosen_controls], seeds=seeds, table=table, tell=_tell)
    code = code_digest()
    tried = summarise(chosen_attacks, lines, code=code)
    honest = summarise(chosen_controls, lines, code=code)
    if page is not None:
        page.write_text(page_text(tried, honest), encoding="utf-8", newline="\n")
    if as_json:
        rows = {"attacks": [row.as_dict() for row in tried], "controls": [row.as_dict() for row in honest]}
        print_json({"table": str(table), "code": code, **rows})
    else:
        _print("Attacks", tried)
        _print("Honest controls", honest)
    wrong = [row for row in [*tried, *honest] if row.wrong]
    for row in wrong:
        typer.echo(f"WRONG: {row.name}: {row.wrong}", err=as_json)
    raise typer.Exit(1 if wrong else 0)


def _tell(sentence: str) -> None:
    print(f"weighbridge: {sentence}", file=sys.stderr)


def _print(title: str, rows: "list[Row]") -> None:
    from weighbridge.attacks.page import COLUMNS, CONTROL_COLUMNS, cells

    if rows:
        columns = COLUMNS if rows[0].source else CONTROL_COLUMNS
        print_table(title, columns=columns, rows=[cells(row) for row in rows])
