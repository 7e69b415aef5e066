"""How far the weights moved between anchors, held against the run's own history: jumps, and straight lines.

A run that is glued from two has one stretch in which its weights move further than training moves them; a joint that
is smoothed by interpolated states has several in which they move along one line (Baker et al., arXiv 2507.15916,
table 12: no abrupt jump in the norm of weight changes).
What counts as odd, and how seldom an honest run does, stands in :mod:`.movement_history`. An adversary who knows the
limits stays below them: one who spreads a joint over m stretches moves m times less in each.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.light import LightChecks
from weighbridge.mechanisms.transcript.movement_history import ERROR, Stretch, excesses, jumps
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["check_movement", "stretches_of"]

FEWEST: Final = 4
"""Stretches below which a run has no history to hold one against."""

_HONEST: Final = (
    f"an honest run is doubted with chance at most {ERROR:.0%}, if its stretches differ from their neighbours by no"
    " heavier tails than Student's with six degrees of freedom"
)


def check_movement(transcript: Transcript, segments: Sequence[Leg]) -> LightChecks:
    """Holds every stretch between two anchors against the run's others."""
    if len(segments) < FEWEST:
        reason = f"{len(segments)} stretches between anchors: no history to hold a jump of the weights against"
        if transcript.observed and len(segments) == 1:
            reason = "nothing was anchored between its start and its end, since it was recorded without --anchor-every"
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
            f"over {len(stretches)} stretches between anchors the weights move without a jump, and along no line that"
            f" begins or ends at once ({_HONEST})",
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
        + (f"; {len(odd) - 1} more stretches look odd" if len(odd) > 1 else "")
        + f" ({_HONEST})",
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
    rates = _rates_before(transcript)
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
            Stretch(
                leg.start,
                leg.until,
                moved,
                parts,
                _mean_rate(rates, leg),
                _cosine(before, movement, moved),
                _grain(after, movement),
            )
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


def _grain(state: TrainingState, movement: Mapping[str, torch.Tensor]) -> float:
    """Returns the length of one rounding of each weight in its own format."""
    return math.hypot(
        *(
            float(torch.linalg.vector_norm(state.tensors[name].float())) * torch.finfo(state.tensors[name].dtype).eps
            for name in movement
        )
    )


def _cosine(before: Mapping[str, torch.Tensor] | None, after: Mapping[str, torch.Tensor], moved: float) -> float:
    if before is None or before.keys() != after.keys():
        return math.nan
    product = sum(float(torch.sum(before[name].double() * tensor.double())) for name, tensor in after.items())
    length = math.sqrt(sum(float(torch.sum(tensor.double() ** 2)) for tensor in before.values()))
    return product / (length * moved) if length > 0 and moved > 0 else math.nan


def _rates_before(transcript: Transcript) -> list[float]:
    """Returns the sum of the learning rates of all steps before each, by the journal; one pass for all anchors."""
    sums, used = [0.0], transcript.hyperparameters_at(0)
    for step in range(transcript.reached):
        used = transcript.steps.get(step, {}).get("hyperparameters", used)
        sums.append(sums[-1] + _rate(used))
    return sums


def _mean_rate(sums: Sequence[float], leg: Leg) -> float:
    """Returns the mean learning rate over a stretch; 1 where the journal names none."""
    last = len(sums) - 1
    mean = (sums[min(leg.until, last)] - sums[min(leg.start, last)]) / max(1, leg.until - leg.start)
    return mean if math.isfinite(mean) and mean > 0 else 1.0


def _rate(hyperparameters: Any) -> float:
    groups = hyperparameters.values() if isinstance(hyperparameters, dict) else ()
    rates = [group.get("lr") for groups_of_one in groups for group in groups_of_one if isinstance(group, dict)]
    numbers = [float(rate) for rate in rates if isinstance(rate, (int, float)) and math.isfinite(rate)]
    return max(numbers, default=0.0)
