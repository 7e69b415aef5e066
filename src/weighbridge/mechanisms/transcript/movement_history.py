"""What is odd in the history of a run's weights between anchors: jumps, and straight lines that begin or end at once.

Between anchors i and i+1 the weights moved by ``d_i = |W_(i+1) - W_i|``. Training of n steps at learning rate r moves
them by something between ``r sqrt(n)`` (noise) and ``r n`` (drift); a stretch's excess is ``ln(d_i / g_i)`` above that
of its neighbours, with g the yardstick, of the two, that makes it smaller. A schedule or a warm-up, which neighbours
share, is none. Two stretches in a row turn by ``t_i = 1 - cos``; noise turns by about 1, a smooth descent (full
batches, or a run that converges) by little and by less and less, interpolated states at once by nothing.

Both are held against the run's own deviations, the robust ones (1.4826 times the median absolute difference between
neighbours), by a bound for all tests together: with m of them the limit is what Student's t with six degrees of freedom
exceeds with chance ``ERROR / m``. So an honest run is doubted with chance at most ``ERROR`` *if* what its stretches
differ by from their neighbours has tails no heavier than those; spikes of an unstable training are heavier.

A stretch that moved less than :data:`GRAINS` roundings of its weights has neither length nor direction to speak of: a
converged run moves by single last digits, and so along exact lines.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["ERROR", "Stretch", "excesses", "jumps"]

ERROR: Final = 0.01
"""Chance at most that an honest run is doubted, under the assumption above; half for jumps, half for lines."""

JUMP: Final = math.log(4.0)
FIRST_JUMP: Final = math.log(20.0)
STRAIGHT: Final = 0.999
"""Cosine between two stretches' movements from which on they count as one line."""

BEND: Final = math.log(100.0)
"""Least by which turning has to become smaller, from one stretch to the next, for a line to have begun at once."""

EXACT: Final = 1e-8
"""Turns below which a run that does nothing else follows no descent, however smooth."""

GRAINS: Final = 32.0

_OF_NORMAL: Final = 1.4826
_LEAST_TURN: Final = 1e-12


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
        grain: Euclidean length of one rounding of each weight.
    """

    start: int
    until: int
    moved: float
    parts: Mapping[str, float]
    rate: float
    turn: float
    grain: float = 0.0

    @property
    def coarse(self) -> bool:
        """Whether it moved by so few roundings that neither length nor direction says anything."""
        return self.moved < GRAINS * self.grain


def jumps(stretches: Sequence[Stretch]) -> list[tuple[Stretch, str, float]]:
    """Returns the stretches that stand out, what is odd about each, and by which factor it exceeds its neighbours."""
    odd: list[tuple[Stretch, str, float]] = []
    shared = sorted(set.intersection(*(set(s.parts) for s in stretches))) if stretches else []
    deviations = _deviations(ERROR / 2 / max(1, len(stretches)))
    whole = excesses(stretches)
    limits = _limits(stretches, [s.moved for s in stretches], deviations)
    for stretch, excess, limit in zip(stretches, whole, limits, strict=True):
        if excess > limit and not stretch.coarse:
            factor = math.exp(min(excess, 700.0))
            odd.append((stretch, f"moved {factor:.3g} times as far as in the stretches beside it", factor))
    for name in shared:
        lengths = [s.parts[name] for s in stretches]
        pairs = zip(stretches, _excesses(stretches, lengths), _limits(stretches, lengths, deviations), strict=True)
        for stretch, excess, limit in pairs:
            share = stretch.parts[name] / stretch.moved if stretch.moved else 0.0
            known = stretch.coarse or any(found is stretch for found, _, _ in odd)
            if excess > 2 * limit and share > 0.05 and not known:
                factor = math.exp(min(excess, 700.0))
                odd.append(
                    (stretch, f"of {name} moved {factor:.3g} times as far as in the stretches beside it", factor)
                )
    odd += [
        (stretch, f"moved on along one line at once (cosine {stretch.turn:.6f} with the stretch before)", 1.0)
        for stretch in _lines(stretches)
    ]
    return odd


def _lines(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Returns the stretches of lines that begin or end at once; of a run that is nothing but one exact line, all."""
    blocks: list[list[int]] = []
    turns = [math.nan if s.coarse or not math.isfinite(s.turn) else max(1.0 - s.turn, _LEAST_TURN) for s in stretches]
    for place, turn in enumerate(turns):
        if turn < 1.0 - STRAIGHT:
            if blocks and blocks[-1][-1] == place - 1:
                blocks[-1].append(place)
            else:
                blocks.append([place])
    known = [turn for turn in turns if not math.isnan(turn)]
    if len(blocks) == 1 and len(blocks[0]) == len(known):
        return [stretches[place] for place in blocks[0]] if max(known) < EXACT else []
    bends = sorted(abs(math.log(b / a)) for a, b in pairwise(turns) if not math.isnan(a) and not math.isnan(b))
    spread = _OF_NORMAL * bends[len(bends) // 2] if bends else 0.0
    limit = max(BEND, _deviations(ERROR / 2 / max(1, len(known))) * spread)
    found = []
    for block in blocks:
        edges = [(block[0] - 1, block[0]), (block[-1] + 1, block[-1])]
        inside = [(turns[beside], turns[edge]) for beside, edge in edges if 0 <= beside < len(turns)]
        if any(math.log(beside / edge) > limit for beside, edge in inside if not math.isnan(beside)):
            found += [stretches[place] for place in block]
    return found


def _deviations(chance: float) -> float:
    """Returns what Student's t with six degrees of freedom exceeds with a chance."""
    low, high = 0.0, 1e6
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _beyond(middle) > chance else (low, middle)
    return high


def _beyond(t: float) -> float:
    """Returns the chance that Student's t with six degrees of freedom exceeds t."""
    rest = 6.0 / (6.0 + t * t)
    return 0.5 * (1.0 - math.sqrt(1.0 - rest) * (1.0 + rest / 2.0 + 3.0 * rest * rest / 8.0))


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


def _limits(stretches: Sequence[Stretch], lengths: Sequence[float], deviations: float) -> list[float]:
    spread = math.inf  # of the yardstick that fits better
    for logs in _logs(stretches, lengths):
        steps = sorted(abs(b - a) for a, b in pairwise(logs) if math.isfinite(a) and math.isfinite(b))
        if steps:
            spread = min(spread, _OF_NORMAL * steps[len(steps) // 2])
    usual = max(JUMP, deviations * spread) if spread < math.inf else JUMP
    return [max(FIRST_JUMP, usual) if place == 0 else usual for place in range(len(stretches))]
