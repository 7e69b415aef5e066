"""Judging one transcript by replay: its environment, its initial state, and what a replay passed through."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from weighbridge.errors import EvidenceError, InputError, MissingToolError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.draws import LOADER_AGAIN, UPDATE
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.environment import CONTENTS_LIMIT_BYTES, describe_environment, differences
from weighbridge.mechanisms.transcript.reading import check_journal, check_log, check_receipts, transcript_finding
from weighbridge.mechanisms.transcript.repeating import (
    ASKS_OTHERWISE,
    asks_otherwise,
    but_for_generators,
    why_it_need_not_repeat,
)
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.rollouts import check_rollouts
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.witness import SHARE_TOLERANCE, TOLERANCE_S

__all__ = [
    "AFTER_A_WALK",
    "check_environment",
    "check_initial_state",
    "check_journal",
    "check_log",
    "check_receipts",
    "compare_replay",
    "same_weights",
]

AFTER_A_WALK = (
    "The program walked there without training, which one whose own variables follow from losses or outputs cannot do:"
    " replay it --from-the-beginning to decide"
)

_finding = transcript_finding
_MOST_PACKAGES = 2000


def check_environment(transcript: Transcript) -> Finding:
    """Compares the committed environment with the verifier's own; what differs can explain a failed replay."""
    recorded = dict(transcript.contents["environment"])
    for segment in transcript.segments:  # a program that was bound before it began imported the rest later
        recorded["packages"] = {**segment.events[0].data.get("packages", {}), **recorded.get("packages", {})}
    here = describe_environment(list(recorded.get("packages", {}))[:_MOST_PACKAGES])
    for name in ("threads", "variables", "deterministic", "matmul_precision", "default_dtype"):
        here[name] = recorded.get(name)  # the program sets these itself, or replay sets them again
    found = differences(recorded, here)
    resumed = [sentence for segment in transcript.segments for sentence in segment.events[0].data["environment"]]
    if resumed:
        found.append(f"a segment was trained elsewhere: {resumed[0]}")
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


def check_initial_state(
    transcript: Transcript,
    *,
    core: int | None = None,
    scratch: Path | None = None,
    seconds: float = 120.0,
    parent: Path | None = None,
    data: Path | None = None,
) -> Finding:
    """Recomputes the state before step 1 from the seed and the code tree alone (protocol sections 4.5 and 4.7).

    The sandbox sees no data and no anchor, the code tree is at most 1 MiB and what was opened besides at most 64 KiB:
    larger weights cannot be smuggled in. The optimizer's state is derived with the rest: a forged one could carry
    honest steps to stolen weights. ``parent`` is the file of the declared parent's final state, already checked.
    A program that was watched is shown its data, from ``data`` if they are not at their committed paths.
    """
    committed = transcript.digests.get(0)
    if committed is None:
        return _finding(transcript, "initial-state", Outcome.FAIL, "no digest of the initial state was committed")
    if not transcript.bound:
        reason = "the program chose its seeds itself, with its data in sight: others may have been tried, and weights"
        reason += " could lie in the data; that it builds this state again is for its replay to show. Such a run covers"
        reason += " no chip-time: record it with --bind"
        return _finding(transcript, "initial-state", Outcome.INCONCLUSIVE, reason)
    opened = len(canonical(transcript.contents))
    if opened > CONTENTS_LIMIT_BYTES:
        return _finding(
            transcript,
            "initial-state",
            Outcome.FAIL,
            f"configuration, arguments and environment take {opened} bytes, more than {CONTENTS_LIMIT_BYTES}: room to"
            " smuggle weights in",
        )
    try:
        with replay(
            transcript,
            legs=[Leg(0, 0)],
            captures=[0],
            without_data=not transcript.observed,
            data=data,
            parent=parent,
            core=core,
            scratch=scratch,
            seconds=seconds,
        ) as outcome:
            derived, asked = outcome.captured(0), outcome.asked
    except (InputError, MissingToolError) as error:
        reason = f"the initial state cannot be rebuilt here: {error}"
        return _finding(transcript, "initial-state", Outcome.INCONCLUSIVE, reason)
    except EvidenceError as error:
        return _finding(
            transcript,
            "initial-state",
            Outcome.FAIL,
            f"the program does not build its initial state: {error}",
        )
    if derived.digest(transcript.salt(0)).hex() == committed:
        source = "the seed and the code alone"
        if transcript.observed:
            source = "the run's seed, the code and the committed data"
        if parent is not None:
            source = f"the seed, the code and the final state of run {transcript.contents['parent']['run'][:16]}"
        reason = f"weights, buffers, optimizer and generators before step 1 follow from {source}"
        return _finding(transcript, "initial-state", Outcome.PASS, reason)
    if asks_otherwise(transcript, asked):
        return _finding(transcript, "initial-state", Outcome.INCONCLUSIVE, f"{ASKS_OTHERWISE}: nothing is shown of it")
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
    """Compares a replay with what was committed: full state, batches, losses and hyperparameters, bit for bit.

    Where a stretch ends, the whole state that the program wrote out is digested here; in between, the program's own
    digests are compared. Its CPU times are held against what was seen from outside.
    """
    return [
        _unsure(_compare_states(transcript, outcome), outcome),
        *_compare_unwatched(transcript, outcome),
        *_compare_threads(transcript, outcome),
        *check_rollouts(transcript, outcome.steps),
        _compare_times(transcript, outcome),
    ]


def _compare_unwatched(transcript: Transcript, outcome: Replay) -> list[Finding]:
    """Returns a finding where something is trained beside what is recorded, and the transcript is silent about it."""
    if any(event.data.get("unwatched") for event in transcript.events):
        return []  # the transcript says it, and is not complete
    seen = [step for step, told in sorted(outcome.steps.items()) if told.get("unwatched")]
    if not seen:
        return []
    reason = (
        f"when replayed, tensors that no recorded state holds change from one backward pass to the next, as of step"
        f" {seen[0]}; the transcript does not say so"
    )
    return [transcript_finding(transcript, "complete", Outcome.INCONCLUSIVE, reason)]


def _unsure(finding: Finding, outcome: Replay) -> Finding:
    """Returns the finding as it counts after a walk: what differs beyond it may follow from the program's variables."""
    if outcome.sure_until is None or finding.outcome is not Outcome.FAIL:
        return finding
    if finding.figure is not None and finding.figure <= outcome.sure_until:
        return finding
    return dataclasses.replace(finding, outcome=Outcome.INCONCLUSIVE, reason=f"{finding.reason}. {AFTER_A_WALK}")


def _compare_states(transcript: Transcript, outcome: Replay) -> Finding:
    said = dict(outcome.digests)
    try:
        for step in outcome.ends:
            digest = outcome.captured(step).digest(transcript.salt(step)).hex()
            if said.get(step, digest) != digest:
                reason = f"the replayed program wrote out another state at step {step} than it claims"
                return _finding(transcript, "replay", Outcome.FAIL, reason)
            said[step] = digest
    except EvidenceError as error:
        reason = f"a state that the replayed program wrote out cannot be read: {error}"
        return _finding(transcript, "replay", Outcome.FAIL, reason)
    compared = sorted(step for step in said if step in transcript.digests)
    wrong = [step for step in compared if said[step] != transcript.digests[step]]
    aside = wrong == [transcript.reached] and but_for_generators(transcript, outcome, wrong[0])
    wrong = [] if aside else wrong
    # What differs after a state that differs follows from it.
    mismatches = _compare_steps(transcript, outcome, before=wrong[0] if wrong else None)
    if wrong:
        before = max((step for step in compared if step < wrong[0]), default=None)
        since = f"after step {before}" if before is not None else "from its start"
        reason = f"replay leaves the committed run {since}: the state at step {wrong[0]} differs"
        if mismatches:
            reason += f" ({mismatches[0][1]})"
        doubt = why_it_need_not_repeat(transcript, outcome) if wrong[0] == 0 else ""
        verdict = Outcome.INCONCLUSIVE if doubt else Outcome.FAIL
        reason += f". {doubt}" if doubt else ""
        return _finding(transcript, "replay", verdict, reason, figure=float(wrong[0]), unit="step")
    if mismatches:
        step, words = mismatches[0]
        return _finding(transcript, "replay", Outcome.FAIL, words, figure=float(step + 1), unit="step")
    if not compared:
        reason = "no committed digest lay in the replayed steps"
        return _finding(transcript, "replay", Outcome.INCONCLUSIVE, reason)
    replayed = len(outcome.steps)
    return _finding(
        transcript,
        "replay",
        Outcome.PASS,
        f"{replayed} steps replayed bit for bit: {len(compared)} full states, every batch, loss and hyperparameter"
        + (" (of the last state all but the generators, from which no step drew)" if aside else ""),
        figure=float(replayed),
        unit="steps",
    )


def _compare_steps(transcript: Transcript, outcome: Replay, *, before: int | None) -> list[tuple[int, str]]:
    mismatches: list[tuple[int, str]] = []
    for step, seen in sorted(outcome.steps.items()):
        if before is not None and step >= before:
            break
        recorded = transcript.steps.get(step)
        if recorded is None:
            mismatches.append((step, f"the journal has no step {step}"))
            continue
        names: Sequence[tuple[str, str]] = (
            ("batch", "data"),
            ("seen", "place where the data was seen"),
            ("loss", "loss"),
            ("updates", "number of updates"),
            ("rollouts", "list of rollouts and their generators"),
        )
        for key, word in names:
            if seen.get(key) != recorded.get(key):
                mismatches.append((step, f"the {word} of step {step} is not the recorded one"))
        if _draws(recorded, recorded) != _draws(seen, recorded):
            mismatches.append((step, f"the generators of step {step} did not stand where they are said to have stood"))
        if seen.get("hyperparameters") != transcript.hyperparameters_at(step):
            mismatches.append((step, f"step {step} used other hyperparameters than the program sets"))
    return mismatches


def _draws(told: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[list[str]]:
    """Returns the points at which a step drew what outlives it; of two kinds only if the recording noted those.

    After updates they are noted near anchors only, and loaders begun again were not noted by earlier recordings.
    """
    noted = {point["point"] for point in recorded.get("draws", ())}
    points = [
        [point["point"], point["digest"]] if isinstance(point, Mapping) else list(point)
        for point in told.get("draws", ())
    ]
    return [point for point in points if point[0] not in (UPDATE, LOADER_AGAIN) or point[0] in noted]


def _compare_threads(transcript: Transcript, outcome: Replay) -> list[Finding]:
    recorded = {int(segment.events[0].data["threads"]) for segment in transcript.segments}
    if recorded == {outcome.threads}:
        return []
    return [
        _finding(
            transcript,
            "replay-threads",
            Outcome.INCONCLUSIVE,
            f"replayed with {outcome.threads} threads, recorded with {' and '.join(map(str, sorted(recorded)))}:"
            " sums are then taken in another order, and last digits may differ",
        )
    ]


def _compare_times(transcript: Transcript, outcome: Replay) -> Finding:
    used = outcome.result.cpu_seconds
    if outcome.overstated_s > 0:
        return _finding(
            transcript,
            "replay-time",
            Outcome.FAIL,
            f"the replayed program claims {outcome.overstated_s:.2f} s of CPU time more for some of its steps than"
            " was seen from outside",
            figure=outcome.overstated_s,
            unit="s",
        )
    return _finding(
        transcript,
        "replay-time",
        Outcome.PASS,
        f"the replayed program's CPU times fit the {used:.1f} s seen from outside, to {TOLERANCE_S} s and"
        f" {SHARE_TOLERANCE:.0%} a stretch",
        figure=used,
        unit="s",
    )
