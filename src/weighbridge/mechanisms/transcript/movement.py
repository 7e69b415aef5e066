"""How far the weights moved between anchors, held against the run's own history: jumps, and straight lines.

A run that is glued from two has one stretch in which its weights move further than training moves them; a joint that
is smoothed by interpolated states has several in which they move along one line (Baker et al., arXiv 2507.15916,
table 12: no abrupt jump in the norm of weight changes). Between anchors i and i+1 the weights moved by
``d_i = |W_(i+1) - W_i|``. Training of n steps at learning rate r moves them by something between ``r sqrt(n)`` (noise)
and ``r n`` (drift); a stretch's excess is ``ln(d_i / g_i)`` above that of its neighbours, with g the yardstick, of the
two, that makes it smaller. It is a jump above ``max(ln 4, 6 deviations)``, the deviation being 1.4826 times the median
absolute difference between neighbouring stretches by the yardstick that fits better. A schedule or a warm-up, which
neighbours share, is none.

The first stretch, in which honest runs move furthest, is held against the second alone, by the larger limit of
``ln 20``. An adversary who knows the limits stays below them: one who spreads a joint over m stretches moves m times
less in each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.light import LightChecks
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["Stretch", "check_movement", "jumps", "stretches_of"]

JUMP: Final = math.log(4.0)
FIRST_JUMP: Final = math.log(20.0)
DEVIATIONS: Final = 6.0
STRAIGHT: Final = 0.999
"""Cosine between two stretches' movements from which on they count as one line."""

FEWEST: Final = 4
"""Stretches below which a run has no history to hold one against."""

_OF_NORMAL: Final = 1.4826


@dataclass(frozen=True)
class Stretch:
    """One stretch between two anchors.

    Attributes:
        start: its first step.
        until: steps completed at its end.
        moved: Euclidean length of the weights' change.
        parts: the same for each tensor.
        rate: mean learning rate over its steps; 1 where none is known.
        turn: cosine between its movement and that of the stretch before; NaN at the first.
    """

    start: int
    until: int
    moved: float
    parts: Mapping[str, float]
    rate: float
    turn: float


def check_movement(transcript: Transcript, segments: Sequence[Leg]) -> LightChecks:
    """Holds every stretch between two anchors against the run's others."""
    if transcript.observed or len(segments) < FEWEST:
        reason = f"{len(segments)} stretches between anchors: no history to hold a jump of the weights against"
        if transcript.observed:
            reason = "a program that drives its own loop leaves no anchors to compare between its start and its end"
        return LightChecks(unreplayed=(transcript_finding(transcript, "movement", Outcome.INCONCLUSIVE, reason),))
    try:
        stretches = stretches_of(transcript, segments)
    except EvidenceError as error:
        reason = f"how far the weights moved cannot be measured: {error}"
        return LightChecks(unreplayed=(transcript_finding(transcript, "movement", Outcome.INCONCLUSIVE, reason),))
    odd = jumps(stretches)
    if not odd:
        largest = max((excess for excess in excesses(stretches)), default=0.0)
        finding = transcript_finding(
            transcript,
            "movement",
            Outcome.PASS,
            f"over {len(stretches)} stretches between anchors the weights move without a jump and never along one line",
            figure=math.exp(largest),
            unit="times its neighbours' movement",
        )
        return LightChecks(findings=(finding,))
    stretch, what, figure = max(odd, key=lambda found: found[2])
    finding = transcript_finding(
        transcript,
        "movement",
        Outcome.INCONCLUSIVE,
        f"between steps {stretch.start} and {stretch.until} the weights {what}"
        + (f"; {len(odd) - 1} more stretches look odd" if len(odd) > 1 else ""),
        figure=figure,
        unit="times its neighbours' movement",
    )
    suspicion: dict[int, float] = {}
    for found, _, size in odd:
        suspicion[found.start] = max(suspicion.get(found.start, 0.0), 1.0 + math.log(max(size, 1.0)))
    return LightChecks(findings=(finding,), suspicion=suspicion)


def stretches_of(transcript: Transcript, segments: Sequence[Leg]) -> list[Stretch]:
    """Measures each segment from its anchors, two states in memory at a time and one movement kept.

    Raises:
        EvidenceError: an anchor cannot be read, or is not the committed state.
    """
    names = {0: str(transcript.events[0].data["anchor"])}
    names |= {leg.start: leg.anchor for leg in segments if leg.anchor}
    last = transcript.events[-1].data
    if "anchor" in last:
        names[int(last["step"])] = str(last["anchor"])
    found: list[Stretch] = []
    before: dict[str, torch.Tensor] | None = None
    state = _anchored(transcript, names[segments[0].start], segments[0].start)
    for leg in segments:
        if leg.until not in names:
            break
        after = _anchored(transcript, names[leg.until], leg.until)
        movement = _difference(after, state)
        parts = {name: float(torch.linalg.vector_norm(tensor)) for name, tensor in movement.items()}
        moved = math.hypot(*parts.values())
        found.append(
            Stretch(leg.start, leg.until, moved, parts, mean_rate(transcript, leg), _cosine(before, movement, moved))
        )
        before, state = movement, after
    return found


def _anchored(transcript: Transcript, name: str, step: int) -> TrainingState:
    state = transcript.state(name)
    if state.digest(transcript.salt(step)).hex() != transcript.digests.get(step):
        raise EvidenceError("is not the state that was committed", where=name)
    return state


def _difference(after: TrainingState, before: TrainingState) -> dict[str, torch.Tensor]:
    """Returns the weights' change; running statistics, which no learning rate moves, are left out."""
    return {
        name: tensor.float() - before.tensors[name].float()
        for name, tensor in after.tensors.items()
        if "/parameter/" in name and tensor.is_floating_point() and name in before.tensors
        if before.tensors[name].shape == tensor.shape
    }


def _cosine(before: Mapping[str, torch.Tensor] | None, after: Mapping[str, torch.Tensor], moved: float) -> float:
    if before is None or before.keys() != after.keys():
        return math.nan
    product = sum(float(torch.sum(before[name].double() * tensor.double())) for name, tensor in after.items())
    length = math.sqrt(sum(float(torch.sum(tensor.double() ** 2)) for tensor in before.values()))
    return product / (length * moved) if length > 0 and moved > 0 else math.nan


def mean_rate(transcript: Transcript, leg: Leg) -> float:
    """Returns the mean learning rate over a stretch, by the journal; 1 where it names none."""
    total, used = 0.0, transcript.hyperparameters_at(leg.start)
    for step in range(leg.start, min(leg.until, transcript.reached)):
        used = transcript.steps.get(step, {}).get("hyperparameters", used)
        total += _rate(used)
    mean = total / max(1, leg.until - leg.start)
    return mean if math.isfinite(mean) and mean > 0 else 1.0


def _rate(hyperparameters: Any) -> float:
    groups = hyperparameters.values() if isinstance(hyperparameters, dict) else ()
    rates = [group.get("lr") for groups_of_one in groups for group in groups_of_one if isinstance(group, dict)]
    numbers = [float(rate) for rate in rates if isinstance(rate, (int, float)) and math.isfinite(rate)]
    return max(numbers, default=0.0)


def jumps(stretches: Sequence[Stretch]) -> list[tuple[Stretch, str, float]]:
    """Returns the stretches that stand out, what is odd about each, and by which factor it exceeds its neighbours."""
    odd: list[tuple[Stretch, str, float]] = []
    whole = excesses(stretches)
    limits = _limits(stretches, [s.moved for s in stretches])
    for stretch, excess, limit in zip(stretches, whole, limits, strict=True):
        if excess > limit:
            factor = math.exp(min(excess, 700.0))
            odd.append((stretch, f"moved {factor:.3g} times as far as in the stretches beside it", factor))
    shared = set.intersection(*(set(s.parts) for s in stretches)) if stretches else set()
    for name in sorted(shared):
        lengths = [s.parts[name] for s in stretches]
        pairs = zip(stretches, _excesses(stretches, lengths), _limits(stretches, lengths), strict=True)
        for stretch, excess, limit in pairs:
            share = stretch.parts[name] / stretch.moved if stretch.moved else 0.0
            if excess > 2 * limit and share > 0.05 and not any(found is stretch for found, _, _ in odd):
                factor = math.exp(min(excess, 700.0))
                odd.append(
                    (stretch, f"of {name} moved {factor:.3g} times as far as in the stretches beside it", factor)
                )
    odd += [
        (stretch, f"moved on along one line (cosine {stretch.turn:.6f} with the stretch before)", 1.0)
        for stretch in stretches
        if stretch.turn > STRAIGHT
    ]
    return odd


def excesses(stretches: Sequence[Stretch]) -> list[float]:
    """Returns by how much, as a logarithm, each stretch moved further than its neighbours; negative if less far."""
    return _excesses(stretches, [s.moved for s in stretches])


def _excesses(stretches: Sequence[Stretch], lengths: Sequence[float]) -> list[float]:
    smaller = [math.inf] * len(stretches)
    for logs in _logs(stretches, lengths):
        for place, log in enumerate(logs):
            beside = [logs[place - 1]] if place > 0 else []
            beside += [logs[place + 1]] if place + 1 < len(logs) else []
            if place == len(logs) - 1 and place > 1:
                beside.append(logs[place - 2])
            known = max((other for other in beside if other > -math.inf), default=log)
            smaller[place] = min(smaller[place], log - known if log > -math.inf else -math.inf)
    return smaller


def _logs(stretches: Sequence[Stretch], lengths: Sequence[float]) -> list[list[float]]:
    """Returns the logarithm of each stretch's movement over both yardsticks, noise's and drift's."""
    return [
        [
            math.log(length / (s.rate * (s.until - s.start) ** power)) if 0 < length < math.inf else _end(length)
            for s, length in zip(stretches, lengths, strict=True)
        ]
        for power in (0.5, 1.0)
    ]


def _end(length: float) -> float:
    return -math.inf if length == 0 else math.inf


def _limits(stretches: Sequence[Stretch], lengths: Sequence[float]) -> list[float]:
    spread = math.inf  # of the yardstick that fits better
    for logs in _logs(stretches, lengths):
        steps = sorted(abs(b - a) for a, b in pairwise(logs) if math.isfinite(a) and math.isfinite(b))
        if steps:
            spread = min(spread, _OF_NORMAL * steps[len(steps) // 2])
    usual = max(JUMP, DEVIATIONS * spread) if spread < math.inf else JUMP
    return [max(FIRST_JUMP, usual) if place == 0 else usual for place in range(len(stretches))]
