"""``weighbridge transcript bisect | answer``: where a replay leaves a run, and the operator's side of it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.output import print_findings
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.trust import TrustRoots

__all__ = ["mount"]

Run = Annotated[Path, typer.Argument(help="The run's folder.")]
Roots = Annotated[Path | None, typer.Option(help="Trust roots; without them no signature is checked.")]
Data = Annotated[Path | None, typer.Option(help="Training data, if not at its committed path.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def mount(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command()(bisect)
    app.command()(answer)


def bisect(
    run: Run,
    roots: Roots = None,
    steps: Annotated[
        str | None, typer.Option(help="Look only at segments with these steps, like 100:200.", metavar="STEPS")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="Fresh folder in which the operator is asked for what lies between digests.")
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for each answer.")] = 600.0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Finds where a replay leaves a run: between two committed digests, then one step, then one tensor and element.

    Without the operator's answers the step is known only where every step was committed, the tensor only where a digest
    was committed whose leaves he handed over, its element only where he handed over an anchor. A state that he shows
    and that belies his own digest is a finding (transcript.answer). Exits with 0 if the replay meets every committed
    digest, 1 if it does not.

    Example: weighbridge transcript bisect runs/3f2a90b1c4d5e6f7 --roots roots --questions asked
    """
    from weighbridge.mechanisms.transcript.divergence import localise
    from weighbridge.mechanisms.transcript.questions import FolderAnswers
    from weighbridge.mechanisms.transcript.reading import transcript_finding
    from weighbridge.mechanisms.transcript.rows import Span, parse_span
    from weighbridge.mechanisms.transcript.transcript import Transcript

    span = Span() if steps is None else parse_span(steps)
    transcript = Transcript.open(run, TrustRoots.load(roots) if roots is not None else None)
    answers = None if questions is None else FolderAnswers(questions, run=transcript.run, wait=wait)
    try:
        found = localise(transcript, answers=answers, start=span.start, until=span.stop, data=data, tell=_tell)
    finally:
        if answers is not None:
            answers.close()
    findings = []
    if found is not None and found.refuted is not None:
        findings = [transcript_finding(transcript, "answer", Outcome.FAIL, f"{found.refuted}: his word is false")]
    if as_json:
        told = {"findings": [finding.as_dict() for finding in findings]}
        print_json({"run": transcript.run, "parts": found is not None, **(found.as_dict() if found else {}), **told})
    elif found is None:
        typer.echo("the replay meets every committed digest")
    else:
        pairs = [("last committed digest that agrees", str(found.agreed)), ("first that differs", str(found.parted))]
        pairs.append(("step", "between them" if found.step is None else f"{found.step}, by {found.shown_by}"))
        if found.journal is not None:
            pairs.append(("the journal differs first at", f"step {found.journal[0]}: {found.journal[1]}"))
        if (parting := found.parting) is not None:
            element = "" if parting.element is None else f", element {parting.element}"
            count = "" if parting.differing is None else f" ({parting.differing} of its elements differ)"
            pairs += [("tensor", f"{parting.name}{element}{count}"), ("replayed there", parting.ours)]
            pairs += [("the operator's there", parting.theirs), ("more that differ", str(parting.others))]
        pairs.append(("asked of the operator", str(found.answers)))
        print_pairs(f"transcript {run}", pairs=pairs)
        if findings:
            print_findings(f"answers about {run}", findings)
    raise typer.Exit(0 if found is None else 1)


def answer(
    run: Run,
    questions: Annotated[Path, typer.Option(help="Folder in which the verifier asks.")],
    roots: Roots = None,
    wait: Annotated[float, typer.Option(help="Stop when nothing was asked for so many seconds.")] = 600.0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Answers, for the operator, what a verifier asks about a run: digests and states from a replay of his own.

    Run it where the run was trained. A state holds weights in the clear: use a folder in the sealed room.

    Example: weighbridge transcript answer runs/3f2a90b1c4d5e6f7 --questions asked --roots roots
    """
    from weighbridge.mechanisms.transcript.questions import Operator, answer_questions
    from weighbridge.mechanisms.transcript.transcript import Transcript

    transcript = Transcript.open(run, TrustRoots.load(roots) if roots is not None else None)
    operator = Operator(transcript, data=data)
    count = answer_questions(questions, operator, run=transcript.run, wait=wait, tell=_tell)
    if as_json:
        print_json({"run": transcript.run, "answered": count})
    else:
        typer.echo(f"{count} questions answered")


def _tell(sentence: str) -> None:
    print(f"weighbridge: {sentence}", file=sys.stderr)
