"""``weighbridge transcript``: what a run recorded, and whether it holds."""

import hashlib
import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighbridge.app import (
    transcript_diff_commands,
    transcript_export_commands,
    transcript_list_commands,
    transcript_query_commands,
)
from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.output import exit_status, print_findings
from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.evidence.draws import draw
from weighbridge.evidence.export import ExportedLog
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from weighbridge.mechanisms.transcript.replay_plan import Leg
    from weighbridge.mechanisms.transcript.transcript import Transcript

app = typer.Typer(no_args_is_help=True)
transcript_list_commands.mount(app)
transcript_query_commands.mount(app)
transcript_diff_commands.mount(app)
transcript_export_commands.mount(app)

Run = Annotated[Path, typer.Argument(help="The run's folder.")]
Roots = Annotated[Path | None, typer.Option(help="Trust roots; without them no signature is checked.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _open(run: Path, roots: TrustRoots | None) -> "Transcript":
    from weighbridge.mechanisms.transcript.transcript import Transcript

    return Transcript.open(run, roots)


@app.command()
def show(run: Run, roots: Roots = None, as_json: AsJson = False) -> None:
    """Shows what a transcript holds.

    Example: weighbridge transcript show runs/3f2a90b1c4d5e6f7 --roots roots
    """
    transcript = _open(run, TrustRoots.load(roots) if roots is not None else None)
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
    log: Annotated[Path | None, typer.Option(help="Exported log: it must hold no statement that is not shown.")] = None,
    segments: Annotated[int | None, typer.Option(help="Replay this many segments, drawn; default all.")] = None,
    budget: Annotated[int | None, typer.Option(help="Replay at most this many steps.")] = None,
    seed: Annotated[str | None, typer.Option(help="Seed of the draw, hex; default fresh from the system.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Training data, if not at its committed path: a file, or a folder with NAME.npy of each array."
        ),
    ] = None,
    parent: Annotated[
        Path | None, typer.Option(help="Transcript of the run with whose final weights this one began.")
    ] = None,
    core: Annotated[int | None, typer.Option(help="Processor to replay on.")] = None,
    as_json: AsJson = False,
) -> None:
    """Verifies a transcript: statements, journal, initial state, and replay of drawn segments in a sandbox.

    Segments lie between anchored states; the first boundary is always rebuilt from the seed. Exits with 0 if all
    holds, 1 if a check failed, 3 if one could not be made, 2 if the command itself cannot be followed.

    Example: weighbridge transcript verify runs/3f2a90b1c4d5e6f7 --roots roots --segments 5
    """
    drawn_by = _seed(segments, budget, seed)
    trusted = TrustRoots.load(roots) if roots is not None else None
    logged = _logged(log, trusted) if log is not None else None
    result: dict[str, Any] = {"run": run.name, "seed": drawn_by.hex(), "segments": 0, "drawn": [], "steps": 0}
    findings: list[Finding] = []
    try:
        transcript = _open(run, trusted)
        result["run"] = transcript.run
        findings += _read_checks(transcript, trusted, logged)
        begins = _parent(transcript, parent, trusted, findings)
        findings += _replays(transcript, segments, budget, drawn_by, data=data, parent=begins, core=core, result=result)
    except EvidenceError as error:
        findings.append(_fault("open", result["run"], Outcome.FAIL, f"the transcript cannot be opened: {error}"))
    if as_json:
        print_json({**result, "findings": [finding.as_dict() for finding in findings]})
    else:
        print_findings(f"transcript {run}", findings)
    raise typer.Exit(exit_status(findings))


def _seed(count: int | None, budget: int | None, seed: str | None) -> bytes:
    for name, value in (("--segments", count), ("--budget", budget)):
        if value is not None and value < 0:
            raise InputError("must not be negative", where=name)
    try:
        return bytes.fromhex(seed) if seed is not None else secrets.token_bytes(32)
    except ValueError as error:
        raise InputError("is not hexadecimal", where="--seed") from error


def _fault(check: str, subject: str, outcome: Outcome, reason: str) -> Finding:
    return Finding(check=f"transcript.{check}", subject=subject, outcome=outcome, reason=reason)


def _logged(log: Path, roots: TrustRoots | None) -> list[Statement]:
    """Returns what an exported log holds, verified; its faults are not the transcript's."""
    if roots is None or roots.log_key is None:
        raise InputError("needs trust roots that name the log's key", where="--log", mend="name them with --roots")
    exported = ExportedLog.open(log, roots.log_key)
    return [verify_statement(raw, roots) for _, raw in exported.entries()]


def _read_checks(
    transcript: "Transcript", roots: TrustRoots | None, logged: "Sequence[Statement] | None"
) -> list[Finding]:
    """Makes the checks that need no replay."""
    from weighbridge.mechanisms.transcript.verify import check_environment, check_journal, check_log, check_receipts

    findings = [*check_journal(transcript), check_environment(transcript)]
    if roots is not None and roots.log_key is not None:
        findings.append(check_receipts(transcript, roots.log_key))
    if logged is not None:
        findings.append(check_log(transcript, logged))
    return findings


def _replays(
    transcript: "Transcript",
    count: int | None,
    budget: int | None,
    drawn_by: bytes,
    *,
    data: Path | None,
    parent: Path | None,
    core: int | None,
    result: dict[str, Any],
) -> list[Finding]:
    """Rebuilds the initial state and replays the drawn segments."""
    from weighbridge.mechanisms.transcript.plans import segments_of
    from weighbridge.mechanisms.transcript.verify import check_initial_state

    every = segments_of(transcript)
    result["segments"] = len(every)
    if not transcript.observed:  # its replay begins at the beginning, and compares the initial state too
        print("weighbridge: rebuilding the initial state from the seed …", file=sys.stderr)
    findings = [check_initial_state(transcript, core=core, parent=parent)]
    chosen = draw_segments(every, count, budget, drawn_by, digests=transcript.digests)
    result["drawn"] = [[leg.start, leg.until] for leg in chosen]
    result["steps"] = sum(leg.until - leg.start for leg in chosen)
    if chosen:
        findings += _replay(transcript, chosen, data=data, parent=parent, core=core)
    if not all(leg in chosen for leg in every):
        findings.append(_not_replayed(transcript, chosen, every))
    return findings


def draw_segments(
    every: "Sequence[Leg]", count: int | None, budget: int | None, seed: bytes, *, digests: "Collection[int]" = ()
) -> "list[Leg]":
    """Draws segments one after the other, until there are ``count`` or their steps reach the budget.

    The last one drawn is cut short at a committed digest if it does not fit: passing it over for a shorter one would
    let long segments hide.

    Args:
        every: the run's segments.
        count: how many; None for all.
        budget: steps, or None.
        seed: seed of the draw.
        digests: steps whose states were committed.

    Returns:
        What to replay, in the run's order.
    """
    waiting = {f"{leg.start:020d}": leg for leg in every}
    chosen: list[Leg] = []
    spent = 0
    while waiting and (count is None or len(chosen) < count):
        turn = hashlib.sha256(b"weighbridge/segment/1" + len(chosen).to_bytes(8, "big") + seed).digest()
        leg = waiting.pop(draw(list(waiting), 1, seed=turn)[0])
        if budget is not None and spent + leg.until - leg.start > budget:
            ends = [step for step in digests if leg.start < step <= leg.start + budget - spent]
            if ends:
                chosen.append(replace(leg, until=max(ends)))
            break
        spent += leg.until - leg.start
        chosen.append(leg)
    return sorted(chosen, key=lambda leg: leg.start)


def _parent(
    transcript: "Transcript", folder: Path | None, roots: TrustRoots | None, findings: list[Finding]
) -> Path | None:
    """Returns the file of the parent's final state, and notes that the parent itself was not verified here."""
    from weighbridge.mechanisms.transcript.parents import parent_anchor

    if not transcript.contents.get("parent"):
        return None
    run = transcript.contents["parent"]["run"]
    if folder is None:
        reason = f"it begins with the weights of run {run[:16]}, which was not shown: name it with --parent"
        findings.append(_fault("parent", transcript.run, Outcome.INCONCLUSIVE, reason))
        return None
    anchor = parent_anchor(transcript, _open(folder, roots))
    reason = f"it begins with the final state of run {run[:16]}, as both committed; that run has to be verified too"
    findings.append(_fault("parent", transcript.run, Outcome.PASS, reason))
    return anchor


def _replay(
    transcript: "Transcript", legs: "list[Leg]", *, data: Path | None, parent: Path | None, core: int | None
) -> list[Finding]:
    from weighbridge.mechanisms.transcript.plans import plan_segments
    from weighbridge.mechanisms.transcript.replay import replay
    from weighbridge.mechanisms.transcript.verify import compare_replay

    plan = plan_segments(transcript, legs)
    print(f"weighbridge: replaying {plan.steps} steps in a sandbox …", file=sys.stderr)
    try:
        with replay(
            transcript,
            legs=plan.legs,
            captures=plan.captures,
            digests=plan.digests,
            data=data,
            parent=parent,
            core=core,
        ) as outcome:
            return compare_replay(transcript, outcome)
    except EvidenceError as error:
        return [_fault("replay", transcript.run, Outcome.FAIL, f"the run could not be replayed: {error}")]
    except WeighbridgeError as error:
        return [_fault("replay", transcript.run, Outcome.INCONCLUSIVE, f"the run cannot be replayed here: {error}")]


def _not_replayed(transcript: "Transcript", chosen: "Sequence[Leg]", every: "Sequence[Leg]") -> Finding:
    whole = sum(leg in every for leg in chosen)
    steps = sum(leg.until - leg.start for leg in chosen)
    return Finding(
        check="transcript.replay-share",
        subject=transcript.run,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"{whole} of {len(every)} segments ({steps} of {transcript.reached} steps) were replayed; one forged"
        f" segment is missed with chance {1 - whole / len(every):.1%}",
        figure=whole / len(every),
        unit="share",
    )
