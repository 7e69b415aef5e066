"""Judging one transcript: its statements, its journal, its initial state, its replay."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.environment import describe_environment, differences
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.replaying import Leg
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["check_environment", "check_initial_state", "check_journal", "compare_replay", "same_weights"]


def _finding(transcript: Transcript, check: str, outcome: Outcome, reason: str, **figures: Any) -> Finding:
    evidence = (transcript.commitment.id,) if transcript.commitment else ()
    return Finding(
        check=f"transcript.{check}",
        subject=transcript.run,
        outcome=outcome,
        reason=reason,
        evidence=evidence,
        redo=f"weighbridge transcript verify {transcript.folder.name}",
        **figures,
    )


def check_journal(transcript: Transcript) -> list[Finding]:
    """Checks the journal against what was signed while training ran, and its segments against each other."""
    findings: list[Finding] = []
    heads = {event.head.hex() for event in transcript.events}
    if transcript.commitment is None or transcript.nonce is None:
        findings.append(
            _finding(
                transcript,
                "binding",
                Outcome.FAIL if transcript.commitment else Outcome.INCONCLUSIVE,
                "the run was not committed to a log that an inspector answered, so its seed is bound to nothing",
            )
        )
    unknown = [s for s in transcript.progress if s.payload.get("journal") not in heads]
    signed = {(s.payload.get("step"), s.payload.get("state")) for s in transcript.progress}
    unsigned = [s for s in transcript.digests.items() if s not in signed] if transcript.commitment else []
    if unknown:
        findings.append(
            _finding(
                transcript,
                "journal",
                Outcome.FAIL,
                f"{len(unknown)} statements signed during training name journal heads that the journal does not"
                f" have: it was rewritten or cut after step {unknown[0].payload.get('step')}",
            )
        )
    elif unsigned:
        findings.append(
            _finding(
                transcript,
                "journal",
                Outcome.FAIL,
                f"the journal claims a digest at step {unsigned[0][0]} that was never signed while training ran",
            )
        )
    else:
        findings.append(
            _finding(
                transcript,
                "journal",
                Outcome.PASS,
                f"{len(transcript.progress)} statements signed while training ran agree with the journal",
            )
        )
    findings += _check_segments(transcript)
    return findings


def _check_segments(transcript: Transcript) -> list[Finding]:
    findings = []
    for number, segment in enumerate(transcript.segments):
        first = segment.events[0].data if segment.events else {}
        if first.get("type") != "segment" or first.get("segment") != number:
            findings.append(
                _finding(transcript, "segments", Outcome.FAIL, f"{segment.path.name} does not begin as a segment")
            )
            continue
        if number == 0:
            if first.get("parent") is not None or first.get("step") != 0:
                findings.append(
                    _finding(transcript, "segments", Outcome.FAIL, "the first segment does not begin at step 0")
                )
            continue
        before = transcript.segments[number - 1]
        parent: Mapping[str, Any] = first.get("parent") or {}
        earlier = {(int(e.data["step"]), e.data["state"]) for e in before.events if "anchor" in e.data} | {
            (int(e.data["step"]), e.data["state"])
            for s in transcript.segments[:number]
            for e in s.events
            if "anchor" in e.data
        }
        holds = parent.get("head") == before.head.hex() and (first.get("step"), first.get("state")) in earlier
        findings.append(
            _finding(
                transcript,
                "segments",
                Outcome.PASS if holds else Outcome.FAIL,
                f"segment {number} continues segment {number - 1} at step {first.get('step')} after an interruption;"
                f" {parent.get('lost_steps', '?')} steps were trained again"
                if holds
                else f"segment {number} does not continue from an anchored state of the segments before it",
            )
        )
    last = transcript.segments[-1]
    if not last.complete:
        findings.append(
            _finding(
                transcript,
                "complete",
                Outcome.INCONCLUSIVE,
                f"the transcript ends without its end at step {transcript.reached}"
                + (" inside a line" if last.torn else ""),
            )
        )
    return findings


def check_environment(transcript: Transcript) -> Finding:
    """Compares the committed environment with the verifier's own; what differs can explain a failed replay."""
    here = describe_environment()
    recorded = dict(transcript.contents["environment"])
    for name in ("threads", "variables", "deterministic", "matmul_precision", "default_dtype"):
        here[name] = recorded.get(name)  # the program sets these itself, or replay sets them again
    found = differences(recorded, here)
    if not found:
        return _finding(
            transcript, "environment", Outcome.PASS, "the verifier's environment has the committed versions"
        )
    return _finding(
        transcript,
        "environment",
        Outcome.INCONCLUSIVE,
        f"the verifier's environment differs, so a mismatch in replay may be honest: {'; '.join(found)}",
    )


def check_initial_state(transcript: Transcript, *, core: int | None = None, scratch: Path | None = None) -> Finding:
    """Recomputes the state before step 1 from the seed and the code tree alone (protocol sections 4.5 and 4.7).

    The sandbox sees no data and no anchor, and the code tree is at most 1 MiB, so no weights can be smuggled in.
    The optimizer's state is derived with the rest: a forged one could carry honest steps to stolen weights.
    """
    committed = transcript.digests.get(0)
    if committed is None:
        return _finding(transcript, "initial-state", Outcome.FAIL, "no digest of the initial state was committed")
    try:
        with replay(
            transcript,
            legs=[Leg(0, 0)],
            captures=[0],
            without_data=True,
            core=core,
            scratch=scratch,
            seconds=120,
        ) as outcome:
            derived = outcome.captured(0)
    except WeighbridgeError as error:
        return _finding(
            transcript,
            "initial-state",
            Outcome.FAIL,
            f"the program does not build its initial state: {error}",
        )
    if derived.digest(transcript.salt(0)).hex() == committed:
        return _finding(
            transcript,
            "initial-state",
            Outcome.PASS,
            "weights, buffers, optimizer and generators before step 1 follow from the seed and the code alone",
        )
    return _finding(transcript, "initial-state", Outcome.FAIL, _what_differs(transcript, derived))


def _what_differs(transcript: Transcript, derived: TrainingState) -> str:
    """Names the part of the initial state that the seed does not give, from the operator's own anchor."""
    try:
        claimed = transcript.state(str(transcript.events[0].data["anchor"]))
    except (EvidenceError, KeyError) as error:
        return f"the state before step 1 is not the one that the seed gives, and its anchor cannot be read ({error})"
    parts = []
    if claimed.digest(transcript.salt(0)).hex() != transcript.digests[0]:
        parts.append("the anchor handed over is not the committed one")
    words = {
        "model": "weights",
        "optimizer": "optimizer state",
        "schedule": "schedule",
        "generator": "generators",
    }
    for prefix, word in words.items():
        if _part(claimed, prefix) != _part(derived, prefix) or not _equal_tensors(claimed, derived, prefix):
            parts.append(f"its {word} {'is' if word.endswith(('state', 'schedule')) else 'are'} not derived")
    return f"the state before step 1 is not the one that the seed gives: {', and '.join(parts) or 'it differs'}"


def _part(state: TrainingState, prefix: str) -> tuple[list[str], dict[str, Any]]:
    names = sorted(name for name in state.tensors if name.startswith(prefix))
    return names, {name: value for name, value in state.plain.items() if name.startswith(prefix)}


def _equal_tensors(one: TrainingState, other: TrainingState, prefix: str) -> bool:
    return all(
        other.tensors[name].dtype == tensor.dtype
        and other.tensors[name].shape == tensor.shape
        and torch.equal(tensor, other.tensors[name])
        for name, tensor in one.tensors.items()
        if name.startswith(prefix)
    )


def same_weights(one: TrainingState, other: TrainingState) -> bool:
    """Returns whether two states hold the same weights, whatever else differs."""
    return _part(one, "model")[0] == _part(other, "model")[0] and _equal_tensors(one, other, "model")


def compare_replay(transcript: Transcript, outcome: Replay) -> list[Finding]:
    """Compares a replay with what was committed: full state, batches, losses and hyperparameters, bit for bit."""
    compared, wrong = 0, []
    for step, digest in sorted(outcome.digests.items()):
        if step in transcript.digests:
            compared += 1
            if digest != transcript.digests[step]:
                wrong.append(step)
    mismatches = _compare_steps(transcript, outcome)
    replayed = len(outcome.steps)
    if wrong:
        before = max((s for s in outcome.digests if s < wrong[0] and s not in wrong), default=None)
        since = f"after step {before}" if before is not None else "from its start"
        reason = f"replay leaves the committed run {since}: the state at step {wrong[0]} differs"
        detail = "; ".join(mismatches[:1])
        return [
            _finding(
                transcript,
                "replay",
                Outcome.FAIL,
                reason + (f" ({detail})" if detail else ""),
                figure=float(wrong[0]),
                unit="step",
            )
        ]
    if mismatches:
        return [_finding(transcript, "replay", Outcome.FAIL, mismatches[0])]
    if not compared:
        return [_finding(transcript, "replay", Outcome.INCONCLUSIVE, "no committed digest lay in the replayed steps")]
    return [
        _finding(
            transcript,
            "replay",
            Outcome.PASS,
            f"{replayed} steps replayed bit for bit: {compared} full states, every batch, loss and hyperparameter",
            figure=float(replayed),
            unit="steps",
        )
    ]


def _compare_steps(transcript: Transcript, outcome: Replay) -> list[str]:
    mismatches: list[str] = []
    for step, seen in sorted(outcome.steps.items()):
        recorded = transcript.steps.get(step)
        if recorded is None:
            mismatches.append(f"the journal has no step {step}")
            continue
        names: Sequence[tuple[str, str]] = (
            ("batch", "data"),
            ("loss", "loss"),
            ("updates", "number of updates"),
        )
        for key, word in names:
            if seen.get(key) != recorded.get(key):
                mismatches.append(f"the {word} of step {step} is not the recorded one")
        if seen.get("hyperparameters") != transcript.hyperparameters_at(step):
            mismatches.append(f"step {step} used other hyperparameters than the program sets")
    return mismatches
