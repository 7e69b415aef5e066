"""Tolerance, measured by the verifier on the workload itself, and a replay judged within it.

1. A replay that is bit for bit what was recorded needs none of this.
2. Where it is not, and the recorded configuration differs from the verifier's (processor, library versions, threads),
   segments that were not drawn are replayed as usual and again in other configurations: other thread counts, other
   instruction sets. Never the segment under test: whoever trained it may have made it to be noisy.
3. The distances give a bound (:mod:`.tolerance`), and are kept in the verifier's folder.
4. The end of each replayed stretch is held against the operator's anchor there, whose digest was committed. A digest
   alone cannot be compared within anything: without the anchor there is no verdict.

Batches, hyperparameters and numbers of updates must be the recorded ones in any arithmetic. Weights in bfloat16 or
float16 have no tolerance: there a thread count alone hides a learning rate that is wrong by 0.1 %.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.data import order_of_epoch
from weighbridge.mechanisms.transcript.environment import describe_environment
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.tolerance import (
    CONFIDENCE,
    COVERAGE,
    GROUPS,
    WIDE,
    Repeat,
    Tolerance,
    distances,
    length_of_update,
)
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["Calibration", "Configuration", "calibrate", "configurations", "evidence_file", "judge_within"]

LOSSES_APART: Final = 1e-3
"""Relative difference of losses that is no pass. They have no bound of their own: their last digit is too coarse."""

SEGMENTS: Final = 2
"""Undrawn segments that are calibrated on."""

_EXACT: Final = (
    ("batch", "data"),
    ("seen", "place where the data was seen"),
    ("updates", "number of updates"),
)


@dataclass(frozen=True)
class Configuration:
    """One way to run a replay: threads, and variables that choose instructions."""

    threads: int
    variables: Mapping[str, str]

    def __str__(self) -> str:
        words = [f"{self.threads} threads", *(f"{name}={value}" for name, value in sorted(self.variables.items()))]
        return ", ".join(words)


@dataclass(frozen=True)
class Calibration:
    """Tolerances by group, and the repeats that they come from."""

    tolerances: Mapping[str, Tolerance]
    repeats: tuple[Repeat, ...]


def configurations(threads: int) -> list[Configuration]:
    """Returns configurations other than the usual one of so many threads: counts from 1 up, and older instructions."""
    counts = [count for count in (1, 2, 3, 4) if count != threads]
    older = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    plainest = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    return [
        *(Configuration(count, {}) for count in counts),
        Configuration(threads, older),
        Configuration(threads, plainest),
    ]


def calibrate(
    transcript: Transcript,
    segments: Sequence[Leg],
    tested: Sequence[Leg],
    *,
    threads: int,
    seed: bytes,
    evidence: Path,
    data: Path | None = None,
    parent: Path | None = None,
    core: int | None = None,
) -> Calibration:
    """Replays segments that are not under test in several configurations, and keeps what came out.

    Args:
        transcript: the opened run.
        segments: the run cut at its anchors.
        tested: stretches under test.
        threads: the verifier's usual number.
        seed: draws the segments to calibrate on.
        evidence: folder to keep the distances in, as ``calibration-RUN.json``.
        data: training data as handed over, if not at its committed path.
        parent: file of the parent's final state, if the run has a parent.
        core: processor to replay on.

    Raises:
        InputError: no segment is left to calibrate on, too few repeats differ, or the evidence is there already.
        EvidenceError: the program cannot be replayed.
    """
    free = [leg for leg in segments if not any(t.start < leg.until and leg.start < t.until for t in tested)]
    if not free:
        mend = "leave a segment undrawn (--segments)"
        raise InputError("has no segment outside those under test", where="calibration", mend=mend)
    path = evidence_file(evidence, transcript)
    turn = hashlib.sha256(b"weighbridge/calibration/1" + seed).digest()
    legs = sorted((free[i] for i in order_of_epoch(turn, 0, len(free))[:SEGMENTS]), key=lambda leg: leg.start)
    repeats: list[Repeat] = []
    digests: dict[str, dict[str, str]] = {}
    for leg in legs:
        options: dict[str, Any] = {
            "legs": [leg],
            "captures": _lengths(leg),
            "data": data,
            "parent": parent,
            "core": core,
        }
        with replay(transcript, threads=threads, **options) as usual:
            own = {step: usual.captured(step) for step in sorted({leg.start, *_lengths(leg)})}
            digests[f"{threads} threads, step {leg.start}"] = _digests(own)
            for other in configurations(threads):
                with replay(transcript, threads=other.threads, variables=other.variables, **options) as outcome:
                    theirs = {step: outcome.captured(step) for step in own}
                    digests[f"{other}, step {leg.start}"] = _digests(theirs)
                    repeats += _repeats(leg, str(other), own, theirs)
    tolerances = {group: Tolerance.of(group, repeats) for group in GROUPS if any(group in r.distances for r in repeats)}
    kept = {
        "run": transcript.run,
        "environment": describe_environment(),
        "usual": f"{threads} threads",
        "repeats": [repeat.as_dict() for repeat in repeats],
        "states": digests,
        "tolerances": [tolerance.as_dict() for tolerance in tolerances.values()],
    }
    evidence.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
        json.dump(kept, file, indent=1)
    return Calibration(tolerances, tuple(repeats))


def evidence_file(folder: Path, transcript: Transcript) -> Path:
    """Returns where a run's repeats are kept.

    Raises:
        InputError: there are some already.
    """
    path = folder / f"calibration-{transcript.run[:16]}.json"
    if path.exists():
        raise InputError("is there already", where=path, mend="name another folder for --calibrate")
    return path


def _lengths(leg: Leg) -> list[int]:
    """Returns a quarter, a half and the whole of a stretch: what growth with length is seen at."""
    steps = leg.until - leg.start
    return sorted({leg.start + max(1, steps // 4), leg.start + max(1, steps // 2), leg.until, leg.start})


def _digests(states: Mapping[int, TrainingState]) -> dict[str, str]:
    return {str(step): state.digest(bytes(32)).hex() for step, state in states.items()}


def _repeats(
    leg: Leg,
    configuration: str,
    own: Mapping[int, TrainingState],
    theirs: Mapping[int, TrainingState],
) -> list[Repeat]:
    found = []
    for step in sorted(own):
        if step == leg.start:
            continue
        apart = distances(own[leg.start], own[step], theirs[step])
        found.append(Repeat(configuration, leg.start, step - leg.start, apart))
    return found


def _losses_apart(one: Mapping[int, Mapping[str, Any]], other: Mapping[int, Mapping[str, Any]], steps: range) -> float:
    """Returns the largest relative difference of two replays' losses; infinite where their number differs."""
    largest = 0.0
    for step in steps:
        pairs = [[float.fromhex(loss) for loss in side[step]["loss"]] for side in (one, other)]
        if len(pairs[0]) != len(pairs[1]):
            return math.inf
        for a, b in zip(*pairs, strict=True):
            if a != b and not (math.isnan(a) and math.isnan(b)):
                scale = max(abs(a), abs(b))
                largest = max(largest, abs(a - b) / scale if math.isfinite(scale) else math.inf)
    return largest


def judge_within(
    transcript: Transcript, outcome: Replay, walked: Sequence[Leg], calibration: Calibration
) -> list[Finding]:
    """Compares a replay with what was committed, within the tolerance; every stretch that it walked gets a finding."""
    wrong = _exact(transcript, outcome)
    if wrong is not None:
        return [transcript_finding(transcript, "replay", Outcome.FAIL, wrong)]
    return [_judge_leg(transcript, outcome, leg, calibration) for leg in walked]


def _exact(transcript: Transcript, outcome: Replay) -> str | None:
    for step, seen in sorted(outcome.steps.items()):
        recorded = transcript.steps.get(step)
        if recorded is None:
            return f"the journal has no step {step}"
        for key, word in _EXACT:
            if seen.get(key) != recorded.get(key):
                return f"the {word} of step {step} is not the recorded one"
        if seen.get("hyperparameters") != transcript.hyperparameters_at(step):
            return f"step {step} used other hyperparameters than the program sets"
    return None


def _judge_leg(transcript: Transcript, outcome: Replay, leg: Leg, calibration: Calibration) -> Finding:
    steps = leg.until - leg.start
    try:
        start = _committed(transcript, leg.start)
        end = _committed(transcript, leg.until)
    except EvidenceError as error:
        reason = (
            f"steps {leg.start} to {leg.until} differ in some digits, and a digest alone cannot be compared: {error}"
        )
        return transcript_finding(transcript, "replay", Outcome.INCONCLUSIVE, reason)
    if any(t.dtype in (torch.bfloat16, torch.float16) for n, t in end.tensors.items() if "/parameter/" in n):
        reason = f"steps {leg.start} to {leg.until} differ, and weights of 16 bits are compared bit for bit"
        return transcript_finding(transcript, "replay", Outcome.INCONCLUSIVE, reason)
    apart = distances(start, end, outcome.captured(leg.until))
    losses = _losses_apart(transcript.steps, outcome.steps, range(leg.start, leg.until))
    bounds = {group: tolerance.bound(steps) for group, tolerance in calibration.tolerances.items()}
    beyond = sorted(group for group, distance in apart.items() if distance > bounds.get(group, 0.0))
    weights, allowed = apart.get("weights", math.inf), bounds.get("weights", 0.0)
    update = length_of_update(start, end)
    stretches = math.ceil(transcript.reached / max(1, steps))
    where = f"from step {leg.start} to {leg.until}"
    tolerance = calibration.tolerances.get("weights")
    measured = (
        f"{tolerance.repeats} of the verifier's own repeats; of honest replays {COVERAGE:.1%} lie below it, at"
        f" {CONFIDENCE:.0%} confidence, if logarithms of distances are normal"
        if tolerance is not None
        else "no repeat"
    )
    if beyond:
        group = beyond[0]
        reason = (
            f"{where} {group} lie {apart[group]:.2g} of their update from the replay's, beyond the"
            f" {bounds.get(group, 0.0):.2g} that rounding explains ({measured})"
        )
        outcome_of = Outcome.FAIL
    else:
        reason = (
            f"{where} the weights lie {weights:.2g} of their update from the replay's, within {allowed:.2g}"
            f" ({measured}); inside it an adversary could move them by {allowed * update:.2g} (update {update:.3g})"
            f" here, and by {allowed * update * stretches:.2g} over the run's {transcript.reached} steps, all in one"
            " direction"
        )
        outcome_of = Outcome.PASS if allowed <= WIDE and losses <= LOSSES_APART else Outcome.INCONCLUSIVE
        if losses > LOSSES_APART:
            reason += f"; losses that were recorded are {losses:.2g} apart from the replay's, relatively"
        if allowed > WIDE:
            reason += f"; that is wider than {WIDE:g} of the update, and a learning rate wrong by 0.1 % may hide there"
    return transcript_finding(
        transcript,
        "replay",
        outcome_of,
        reason,
        figure=weights if math.isfinite(weights) else None,
        unit="of the update",
        confidence=CONFIDENCE,
    )


def _committed(transcript: Transcript, step: int) -> TrainingState:
    """Returns the operator's anchor at a step.

    Raises:
        EvidenceError: there is none at hand, or it is not the committed state.
    """
    for event in transcript.events:
        if "anchor" in event.data and int(event.data["step"]) == step and event.type != "step":
            name = str(event.data["anchor"])
            if not (transcript.folder / "anchors" / name).is_file():
                continue
            state = transcript.state(name)
            if state.plain["step"] == step and state.digest(transcript.salt(step)).hex() == transcript.digests.get(
                step
            ):
                return state
    raise EvidenceError(f"no anchor of step {step} was handed over", where="anchors")
