"""``weighbridge transcript``: what a run recorded, and whether it holds."""

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app import (
    transcript_bisect_commands,
    transcript_diff_commands,
    transcript_export_commands,
    transcript_list_commands,
    transcript_query_commands,
    transcript_verify_commands,
)
from weighbridge.app.console import print_json, print_pairs
from weighbridge.evidence.trust import TrustRoots

app = typer.Typer(no_args_is_help=True)
transcript_verify_commands.mount(app)
transcript_list_commands.mount(app)
transcript_query_commands.mount(app)
transcript_diff_commands.mount(app)
transcript_export_commands.mount(app)
transcript_bisect_commands.mount(app)

Run = Annotated[Path, typer.Argument(help="The run's folder.")]
Roots = Annotated[Path | None, typer.Option(help="Trust roots; without them no signature is checked.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def show(run: Run, roots: Roots = None, as_json: AsJson = False) -> None:
    """Shows what a transcript holds.

    Example: weighbridge transcript show runs/3f2a90b1c4d5e6f7 --roots roots
    """
    from weighbridge.mechanisms.transcript.transcript import Transcript

    transcript = Transcript.open(run, TrustRoots.load(roots) if roots is not None else None)
    summary = {
        "run": transcript.run,
        "segments": len(transcript.segments),
        "steps": transcript.steps_taken,
        "reached": transcript.reached,
        "finished": transcript.segments[-1].complete,
        "stride": transcript.stride,
        "digests": len(transcript.digests),
        "freezes": [
            {"chip": f.chip, "first": f.first, "last": f.last, "step": f.step, "updating": f.updating}
            for f in transcript.freezes
        ],
        "config": transcript.contents["config"],
        "environment": transcript.contents["environment"],
        "losses": {step: event.get("loss", []) for step, event in sorted(transcript.steps.items())},
    }
    if as_json:
        print_json(summary)
        return
    rows = [
        (key, str(value) if not isinstance(value, (dict, list)) else f"{len(value)} entries")
        for key, value in summary.items()
    ]
    print_pairs(f"transcript {run}", pairs=rows)
