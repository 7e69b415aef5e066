"""Whether the journal's digests and losses make sense by themselves.

Each digest is keyed with a salt of its step, and covers the step: two steps cannot share one, however the training
went. Losses are floating-point numbers with some fifty bits each: an honest run repeats a loss now and then, a whole
row of different ones never, unless it is trained again without having moved. A journal whose losses were copied from
another stretch, or made up by a short formula, shows there.

Where weights have converged, losses do come again, alone and in rows: there each comes in other places too. So a row
counts as copied only if its losses are all different, and come nowhere but where the whole row does.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.light import LightChecks, segment_at
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["check_traces", "repeated_row"]

ROW: Final = 6
"""Losses in a row, all different, that count as copied when they come together twice and never apart."""


def check_traces(transcript: Transcript, segments: Sequence[Leg]) -> LightChecks:
    """Looks for one digest at two steps, losses that are no numbers, and rows of losses that come twice."""
    shared = _shared_digest(transcript)
    if shared is not None:
        reason = f"one digest is claimed for the states at steps {shared[0]} and {shared[1]}, whose salts differ"
        return LightChecks(findings=(transcript_finding(transcript, "losses", Outcome.FAIL, reason),))
    repeated = _shared_batch(transcript)
    if repeated is not None:
        reason = f"one salted digest is claimed for the batches of steps {repeated[0]} and {repeated[1]}"
        return LightChecks(findings=(transcript_finding(transcript, "losses", Outcome.FAIL, reason),))
    steps = sorted(transcript.steps)
    told = [tuple(transcript.steps[step]["loss"]) for step in steps]
    scaled = any(segment.events[0].data.get("scaled") for segment in transcript.segments)
    nameless = [
        step
        for step, losses in zip(steps, told, strict=True)
        if not all(_finite(loss, scaled=scaled) for loss in losses)
    ]
    twice = repeated_row(told)
    suspicion: dict[int, float] = {}
    if twice is not None:
        first, second = steps[twice[0]], steps[twice[1]]
        for step in (first, second):
            suspicion[segment_at(segments, step)] = 1.0
        reason = (
            f"the losses from step {second} on are those from step {first} on, {ROW} different ones in a row that come"
            " nowhere else, to the last bit"
        )
        finding = transcript_finding(
            transcript, "losses", Outcome.INCONCLUSIVE, reason, figure=float(ROW), unit="losses"
        )
        return LightChecks(findings=(finding,), suspicion=suspicion)
    if nameless:
        suspicion[segment_at(segments, nameless[0])] = 1.0
        finding = transcript_finding(
            transcript,
            "losses",
            Outcome.INCONCLUSIVE,
            f"the losses of {len(nameless)} steps are no finite numbers, first at step {nameless[0]}",
            figure=float(len(nameless)),
            unit="steps",
        )
        return LightChecks(findings=(finding,), suspicion=suspicion)
    seen = sum(bool(losses) for losses in told)
    if not seen:
        reason = "no loss of any step was recorded"
        return LightChecks(findings=(transcript_finding(transcript, "losses", Outcome.INCONCLUSIVE, reason),))
    finding = transcript_finding(
        transcript,
        "losses",
        Outcome.PASS,
        f"no digest is claimed twice, {seen} steps' losses{' (as scaled)' if scaled else ''} are finite, and no row of"
        f" {ROW} different ones comes twice and never apart",
        figure=float(seen),
        unit="steps",
    )
    return LightChecks(findings=(finding,))


def _finite(loss: str, *, scaled: bool) -> bool:
    """Returns whether a loss is a number; where a gradient scaler multiplied it, infinity is one too large for it."""
    value = float.fromhex(loss)
    return math.isfinite(value) or (scaled and math.isinf(value))


def _shared_digest(transcript: Transcript) -> tuple[int, int] | None:
    first: dict[str, int] = {}
    for step, digest in sorted(transcript.digests.items()):
        if first.setdefault(digest, step) != step:
            return first[digest], step
    return None


def _shared_batch(transcript: Transcript) -> tuple[int, int] | None:
    first: dict[str, int] = {}
    for step, data in sorted(transcript.steps.items()):
        if first.setdefault(str(data["batch"]), step) != step:
            return first[str(data["batch"])], step
    return None


def repeated_row(told: Sequence[tuple[str, ...]]) -> tuple[int, int] | None:
    """Returns where a row of losses begins the first and the second time, if its losses come nowhere else."""
    times = Counter(told)
    places: dict[tuple[tuple[str, ...], ...], list[int]] = {}
    for place in range(len(told) - ROW + 1):
        row = tuple(told[place : place + ROW])
        if all(row) and len(set(row)) == ROW:
            places.setdefault(row, []).append(place)
    for row, found in places.items():
        if len(found) > 1 and all(times[loss] == len(found) for loss in row):
            return found[0], found[1]
    return None
