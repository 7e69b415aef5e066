"""``weighbridge transcript``: what a run recorded, and whether it holds."""

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.output import exit_status, print_findings
from weighbridge.errors import InputError, WeighbridgeError
from weighbridge.evidence.draws import draw
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.trust import TrustRoots

if TYPE_CHECKING:
    from weighbridge.mechanisms.transcript.replaying import Leg
    from weighbridge.mechanisms.transcript.transcript import Transcript

app = typer.Typer(no_args_is_help=True)

Run = Annotated[Path, typer.Argument(help="The run's folder.")]
Roots = Annotated[Path | None, typer.Option(help="Trust roots; without them no signature is checked.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _open(run: Path, roots: Path | None) -> "Transcript":
    from weighbridge.mechanisms.transcript.transcript import Transcript

    return Transcript.open(run, TrustRoots.load(roots) if roots is not None else None)


@app.command()
def show(run: Run, roots: Roots = None, as_json: AsJson = False) -> None:
    """Shows what a transcript holds.

    Example: weighbridge transcript show runs/3f2a90b1c4d5e6f7 --roots roots
    """
    transcript = _open(run, roots)
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


@app.command()
def verify(
    run: Run,
    roots: Roots = None,
    segments: Annotated[int | None, typer.Option(help="Replay this many segments, drawn; default all.")] = None,
    budget: Annotated[int | None, typer.Option(help="Replay at most this many steps.")] = None,
    seed: Annotated[str | None, typer.Option(help="Seed of the draw, hex; default fresh from the system.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training data, if not at its committed path.")] = None,
    core: Annotated[int | None, typer.Option(help="Processor to replay on.")] = None,
    as_json: AsJson = False,
) -> None:
    """Verifies a transcript: statements, journal, initial state, and replay of drawn segments in a sandbox.

    Segments lie between anchored states; the first boundary is always rebuilt from the seed. Exits with 0 if all
    holds, 1 if a check failed, 3 if one could not be made.

    Example: weighbridge transcript verify runs/3f2a90b1c4d5e6f7 --roots roots --segments 5
    """
    from weighbridge.mechanisms.transcript.plans import segments_of
    from weighbridge.mechanisms.transcript.verify import check_environment, check_initial_state, check_journal

    transcript = _open(run, roots)
    findings = [*check_journal(transcript), check_environment(transcript)]
    print("weighbridge: rebuilding the initial state from the seed …", file=sys.stderr)
    findings.append(check_initial_state(transcript, core=core))
    every = segments_of(transcript)
    chosen = _draw_segments(every, segments, budget, seed)
    if chosen:
        findings += _replay(transcript, chosen, data=data, core=core)
    if len(chosen) < len(every):
        findings.append(_not_replayed(transcript, len(chosen), len(every)))
    if as_json:
        print_json({"run": transcript.run, "findings": [finding.as_dict() for finding in findings]})
    else:
        print_findings(f"transcript {run}", findings)
    raise typer.Exit(exit_status(findings))


def _draw_segments(every: "list[Leg]", count: int | None, budget: int | None, seed: str | None) -> "list[Leg]":
    if count is not None and count < 0:
        raise InputError("must not be negative", where="--segments")
    try:
        drawn_by = bytes.fromhex(seed) if seed is not None else secrets.token_bytes(32)
    except ValueError as error:
        raise InputError("is not hexadecimal", where="--seed") from error
    names = {f"{leg.start:09d}": leg for leg in every}
    order = draw(list(names), min(count if count is not None else len(every), len(every)), seed=drawn_by)
    chosen, spent = [], 0
    for name in order:
        leg = names[name]
        if budget is None or spent + leg.until - leg.start <= budget:
            chosen.append(leg)
            spent += leg.until - leg.start
    return chosen


def _replay(transcript: "Transcript", legs: "list[Leg]", *, data: Path | None, core: int | None) -> list[Finding]:
    from weighbridge.mechanisms.transcript.plans import plan_segments
    from weighbridge.mechanisms.transcript.replay import replay
    from weighbridge.mechanisms.transcript.verify import compare_replay

    plan = plan_segments(transcript, legs)
    print(f"weighbridge: replaying {plan.steps} steps in a sandbox …", file=sys.stderr)
    try:
        with replay(
            transcript, legs=plan.legs, captures=plan.captures, digests=plan.digests, data=data, core=core
        ) as outcome:
            return compare_replay(transcript, outcome)
    except WeighbridgeError as error:
        return [
            Finding(
                check="transcript.replay",
                subject=transcript.run,
                outcome=Outcome.FAIL,
                reason=f"the run could not be replayed: {error}",
            )
        ]


def _not_replayed(transcript: "Transcript", done: int, of: int) -> Finding:
    return Finding(
        check="transcript.replay-share",
        subject=transcript.run,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"{done} of {of} segments were replayed; one forged segment is missed with chance {1 - done / of:.1%}",
        figure=done / of,
        unit="share",
    )
