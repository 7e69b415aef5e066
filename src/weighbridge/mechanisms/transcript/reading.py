"""Judging one transcript by reading alone: its statements against its journal, the log, and itself."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.receipt import verify_receipt
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.trust import LogKey
from weighbridge.mechanisms.transcript.anchor_plan import anchor_due
from weighbridge.mechanisms.transcript.commitment import PROGRESS
from weighbridge.mechanisms.transcript.journal import Segment
from weighbridge.mechanisms.transcript.transcript import Transcript, state_step

__all__ = ["check_journal", "check_log", "check_receipts", "transcript_finding"]


def transcript_finding(transcript: Transcript, check: str, outcome: Outcome, reason: str, **figures: Any) -> Finding:
    """Returns a finding about a run, with the command that redoes it."""
    evidence = (transcript.commitment.id,) if transcript.commitment else ()
    return Finding(
        check=f"transcript.{check}",
        subject=transcript.run,
        outcome=outcome,
        reason=reason,
        evidence=evidence,
        redo=f"weighbridge transcript verify runs/{transcript.folder.name} --roots ROOTS",
        **figures,
    )


def check_journal(transcript: Transcript) -> list[Finding]:
    """Checks the journal against what was signed while training ran, and against itself.

    1. The run was committed, and an inspector answered (``binding``).
    2. Every signed statement names a head that the journal has, and says what the journal says there; every state
       that the journal claims was signed, but for the last before a crash (``journal``).
    3. Segments continue one another from anchored states (``segments``).
    4. Steps follow each other without a gap, with a digest at every stride; what was trained twice came out the
       same; every anchor of the plan is there, and no other; no record is claimed twice (``steps``).
    5. The last segment says that it ended (``complete``).
    """
    return [
        *_check_binding(transcript),
        _check_signed(transcript),
        *_check_segments(transcript),
        _check_steps(transcript),
        *_check_complete(transcript),
    ]


def _check_binding(transcript: Transcript) -> list[Finding]:
    if transcript.commitment is not None and transcript.nonce is not None:
        return []
    return [
        transcript_finding(
            transcript,
            "binding",
            Outcome.FAIL if transcript.commitment else Outcome.INCONCLUSIVE,
            "the run was not committed to a log that an inspector answered, so its seed is bound to nothing",
        )
    ]


def _check_signed(transcript: Transcript) -> Finding:
    heads = {event.head.hex(): event for event in transcript.events}
    signed: set[str] = set()
    for statement in transcript.progress:
        head = str(statement.payload.get("journal"))
        event = heads.get(head)
        step = statement.payload.get("step")
        if event is None:
            return transcript_finding(
                transcript,
                "journal",
                Outcome.FAIL,
                "statements signed during training name journal heads that the journal does not have: it was"
                f" rewritten or cut at step {step}",
            )
        if (step, statement.payload.get("state")) != (state_step(event), event.data.get("state")):
            return transcript_finding(
                transcript,
                "journal",
                Outcome.FAIL,
                f"a statement signed during training speaks of step {step} where the journal has another state",
            )
        signed.add(head)
    if transcript.commitment is None:
        return transcript_finding(
            transcript, "journal", Outcome.INCONCLUSIVE, "nothing vouches for the journal: no statement was verified"
        )
    for segment in transcript.segments:
        unsigned = [e for e in segment.events if "state" in e.data and e.head.hex() not in signed]
        states = [e for e in segment.events if "state" in e.data]
        # A kill may fall between a line and its statement, which is then the last of its segment.
        if unsigned and unsigned != states[-1:]:
            return transcript_finding(
                transcript,
                "journal",
                Outcome.FAIL,
                f"the journal claims a state at step {state_step(unsigned[0])} that was never signed while training"
                " ran",
            )
    return transcript_finding(
        transcript,
        "journal",
        Outcome.PASS,
        f"{len(transcript.progress)} statements signed while training ran agree with the journal",
    )


def _check_segments(transcript: Transcript) -> list[Finding]:
    findings = []
    loop = transcript.contents["loop"]
    anchored: set[tuple[int, Any]] = set()
    for number, segment in enumerate(transcript.segments):
        first = segment.events[0].data
        if [e.type for e in segment.events].count("segment") != 1 or first.get("type") != "segment":
            fault: str | None = f"{segment.path.name} does not begin as a segment"
        elif (first["segment"], first["run"]) != (number, transcript.run):
            fault = f"{segment.path.name} is a segment of another run or place"
        elif (first["steps"], first["stride"]) != (loop["steps"], loop["stride"]):
            fault = f"{segment.path.name} has another length or stride than was committed"
        else:
            fault = _parentage(transcript, number, first, anchored)
        if fault is not None:
            findings.append(transcript_finding(transcript, "segments", Outcome.FAIL, fault))
        elif number > 0:
            before = max(state_step(e) for e in transcript.segments[number - 1].events)
            findings.append(
                transcript_finding(
                    transcript,
                    "segments",
                    Outcome.PASS,
                    f"segment {number} continues segment {number - 1} at step {first['step']} after an interruption;"
                    f" {max(0, before - first['step'])} steps were trained again",
                )
            )
        anchored |= {(int(e.data["step"]), e.data["state"]) for e in segment.events if "anchor" in e.data}
    return findings


def _parentage(
    transcript: Transcript, number: int, first: Mapping[str, Any], anchored: set[tuple[int, Any]]
) -> str | None:
    """Returns what is wrong with a segment's beginning, if anything."""
    parent = first["parent"]
    if number == 0:
        return None if parent is None and first["step"] == 0 else "the first segment does not begin at step 0"
    if parent is None or parent["head"] != transcript.segments[number - 1].head.hex():
        return f"segment {number} does not continue from the end of the one before it"
    if (first["step"], first["state"]) not in anchored:
        return f"segment {number} does not continue from an anchored state of the segments before it"
    return None


def _check_steps(transcript: Transcript) -> Finding:
    fault = next(
        (f for number, segment in enumerate(transcript.segments) for f in _sequence(transcript, number, segment)), None
    )
    fault = fault or _repeated(transcript) or _claimed_twice(transcript)
    if fault is not None:
        return transcript_finding(transcript, "steps", Outcome.FAIL, fault)
    return transcript_finding(
        transcript,
        "steps",
        Outcome.PASS,
        f"{transcript.steps_taken} steps without a gap, a digest every {transcript.stride}",
        figure=float(transcript.steps_taken),
        unit="steps",
    )


def _sequence(transcript: Transcript, number: int, segment: Segment) -> Iterator[str]:
    """Yields what is wrong with the order of a segment's events."""
    planned = transcript.planned
    if segment.events[0].data.get("by_passes") and not transcript.observed:
        yield "its steps are said to be told by backward passes, and it has a loop of ours"
    step = int(segment.events[0].data.get("step", 0))
    due = False
    for event in segment.events[1:]:
        if due != (event.type == "anchor"):
            yield f"the state at step {step} is anchored where the plan has none, or not anchored where it has one"
        due = event.type == "step" and anchor_due(step + 1, every=transcript.anchor_every, steps=planned)
        if event.data["step"] != step:
            yield f"segment {number} speaks of step {event.data['step']} where step {step} is due"
            return
        if event.type == "step":
            step += 1
            if ("state" in event.data) != (step % transcript.stride == 0):
                yield f"the state at step {step} is committed where none is due, or missing where one is"
    if planned is not None and step > planned:
        yield f"segment {number} has more steps than were committed"
    if any(event.type == "end" for event in segment.events[:-1]):
        yield f"segment {number} goes on after its end"
    if planned is not None and segment.complete and segment.events[-1].data["finished"] != (step >= planned):
        yield f"segment {number} says wrongly whether it finished"


def _repeated(transcript: Transcript) -> str | None:
    """Returns where two tellings of the same step or state differ; training is repeatable to the bit."""
    states: dict[int, Any] = {}
    steps: dict[int, tuple[Any, ...]] = {}
    for segment in transcript.segments:
        used: Any = None
        for event in segment.events:
            if (
                "state" in event.data
                and states.setdefault(state_step(event), event.data["state"]) != event.data["state"]
            ):
                return f"two different states are claimed for step {state_step(event)}"
            if event.type == "step":
                used = event.data.get("hyperparameters", used)
                told = (*(event.data[name] for name in ("batch", "seen", "loss", "updates")), used)
                if steps.setdefault(int(event.data["step"]), told) != told:
                    return f"step {event.data['step']} was trained again after an interruption and came out otherwise"
    return None


def _claimed_twice(transcript: Transcript) -> str | None:
    last: dict[str, int] = {}
    for freeze in transcript.freezes:
        if freeze.first <= last.get(freeze.chip, -1):
            return f"record {freeze.first} of chip {freeze.chip[:16]} is claimed twice"
        last[freeze.chip] = freeze.last
    return None


def _check_complete(transcript: Transcript) -> list[Finding]:
    last = transcript.segments[-1]
    steps = "" if transcript.planned is None else f" of {transcript.planned}"
    if not last.complete:
        how = "ends without its end" + (" inside a line" if last.torn else "")
    elif "left_inside_step" in last.events[-1].data:
        how = "ends inside a step, whose update is not recorded"
    elif "state" not in last.events[-1].data:
        how = "commits to no state at its end"
    elif missed := max((int(event.data.get("unwatched", 0)) for event in transcript.events), default=0):
        how = f"leaves {missed} optimizers or tensors out that the program trained and no recorded state holds"
    elif transcript.observed and not last.events[-1].data["finished"]:
        how = "ends with a program that did not come to its own end (an exception, or an exit status other than 0)"
    elif not last.events[-1].data["finished"]:
        return [
            transcript_finding(
                transcript,
                "complete",
                Outcome.PASS,
                f"the run was ended early, after step {transcript.reached}{steps}",
            )
        ]
    else:
        return []
    reason = f"the transcript {how}, after step {transcript.reached}{steps}"
    return [transcript_finding(transcript, "complete", Outcome.INCONCLUSIVE, reason)]


def check_log(transcript: Transcript, logged: Iterable[Statement]) -> Finding:
    """Checks that the transcript shows every statement that the log holds of this run, and no other.

    A journal that was cut together with its statements is consistent in itself; only the log knows the rest.

    Args:
        transcript: the opened run.
        logged: statements of the log, verified; those of other runs and kinds are passed over.
    """
    held = {s.id: s for s in logged if s.kind == PROGRESS and s.payload.get("run") == transcript.run}
    shown = {statement.id for statement in transcript.progress}
    hidden = [statement for identifier, statement in held.items() if identifier not in shown]
    if hidden:
        furthest = max((s.payload["step"] for s in hidden if isinstance(s.payload.get("step"), int)), default="?")
        return transcript_finding(
            transcript,
            "log",
            Outcome.FAIL,
            f"the log holds {len(hidden)} statements of this run that the transcript does not show, up to step"
            f" {furthest}: it was cut",
        )
    if not shown <= set(held):
        return transcript_finding(
            transcript,
            "log",
            Outcome.INCONCLUSIVE,
            f"{len(shown - set(held))} statements of the transcript are not in the log",
        )
    return transcript_finding(
        transcript, "log", Outcome.PASS, f"the log holds the {len(shown)} statements shown, and no other of this run"
    )


def check_receipts(transcript: Transcript, log_key: LogKey) -> Finding:
    """Checks the stored receipts: commitment, then the inspector's answer, then everything about steps."""
    if transcript.commitment is None or transcript.nonce is None:
        return transcript_finding(transcript, "receipts", Outcome.INCONCLUSIVE, "there is no committed run to have any")
    commitment, answer = transcript.folder / "commitment.receipt", transcript.folder / "nonce.receipt"
    stored = [(transcript.commitment, commitment), (transcript.nonce, answer)]
    paths = sorted((transcript.folder / "progress").glob("*.cose"))
    stored += [(s, path.with_suffix(".receipt")) for path, s in zip(paths, transcript.progress, strict=True)]
    places: list[int] = []
    missing = 0
    try:
        for statement, path in stored:
            if not path.exists():
                missing += 1
                continue
            receipt = read_plain(path, limit_bytes=LIMITS.receipt_bytes)
            places.append(verify_receipt(statement.raw, receipt, log_key).index)
    except EvidenceError as error:
        return transcript_finding(transcript, "receipts", Outcome.FAIL, f"a receipt does not hold: {error}")
    if not missing and (places[:2] != sorted(places[:2]) or any(place < places[1] for place in places[2:])):
        return transcript_finding(
            transcript, "receipts", Outcome.FAIL, "the log took a step's statement before the run's seed existed"
        )
    if missing:
        return transcript_finding(
            transcript, "receipts", Outcome.INCONCLUSIVE, f"{missing} of {len(stored)} statements have no receipt"
        )
    return transcript_finding(
        transcript,
        "receipts",
        Outcome.PASS,
        f"the log took the commitment, then the inspector's answer, then {len(places) - 2} statements of the training",
    )
