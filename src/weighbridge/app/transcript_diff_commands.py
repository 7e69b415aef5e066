"""``weighbridge transcript diff``: what differs between two transcripts, and from which step on."""

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_table

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(diff)


def diff(
    run: Annotated[Path, typer.Argument(help="One run's folder.")],
    other: Annotated[Path, typer.Argument(help="Another's; or the same, to compare two of its segments.")],
    segment: Annotated[int | None, typer.Option(help="Of the first, this segment alone; 0 is the start.")] = None,
    other_segment: Annotated[int | None, typer.Option(help="Of the second, this segment alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compares two transcripts: what was committed, then step by step, then the states, down to the first tensor.

    Digests are salted with a key of each run, so those of two runs are compared only where an anchor opens them; what
    cannot be compared is named. Nothing is verified. Exits with 0 if nothing differs, 1 if something does.

    Example: weighbridge transcript diff runs/3f2a90b1c4d5e6f7 runs/77aa01c2d3e4f506
    """
    from weighbridge.mechanisms.transcript.difference import compare
    from weighbridge.mechanisms.transcript.telling import Telling

    result = compare(Telling.of(run, segment=segment), Telling.of(other, segment=other_segment))
    if as_json:
        print_json(
            {
                "same": result.same,
                "parts_at": result.parts_at,
                "alike_until": result.alike_until,
                "steps_compared": result.steps,
                "differences": [
                    {"part": d.part, "step": d.step, "count": d.count, "what": d.what} for d in result.differences
                ],
                "not_compared": list(result.unknown),
            }
        )
    else:
        rows = [
            [d.part, "" if d.step is None else str(d.step), "" if d.count is None else str(d.count), d.what]
            for d in result.differences
        ]
        if rows:
            print_table(f"{run} against {other}", columns=["what", "from step", "steps", "how"], rows=rows)
        else:
            typer.echo(f"no difference in {result.steps} steps")
        if result.alike_until is not None:
            typer.echo(f"- the same state, last at step {result.alike_until}")
        if result.unknown:
            print_table("not compared", columns=["what and why"], rows=[[sentence] for sentence in result.unknown])
    raise typer.Exit(0 if result.same else 1)
