"""Whether a stretch of training remembers the rows that it claims, more than rows that it has not seen.

``M(d, W) = E_{d' in D_v}[L(d', W)] - L(d, W)`` is how much better weights W know row d than held-out rows, and
``Delta_M(d, i) = M(d, W_i) - M(d, W_(i-1))`` how much of it stretch i brought (Choi, Shavit and Duvenaud 2023, arXiv
2307.00682). Up to a constant of the stretch, Delta_M is the fall of the row's own loss, so rows are ranked by that.

If a stretch was not trained on its rows, then they and rows of the same epoch that come after it are one population:
the seed puts every epoch in an order of its own. The rank-sum test (Mann and Whitney 1947) then holds, so a small
chance of the ranks is evidence that the rows were trained on. The reverse is none: large data, small steps, strong
regularisation and a loss near its floor remember little. What looks odd is a stretch that remembers less than the
others of its own run; with training that spread evenly its score would lie among theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from weighbridge.mechanisms.transcript.subtraction import SubtractionBound, fraction_below, subtraction_bound
from weighbridge.statistics import clopper_pearson_upper

__all__ = ["Memory", "memory_of", "odd_ones", "share_left_out"]

QUANTILE: Final = 0.2
DEVIATIONS: Final = 4.0
SPREAD: Final = 1.0
"""Least deviation of scores between honest stretches: their sampling error is 1 by construction."""

_OF_NORMAL: Final = 1.4826
_MOST_EXACT: Final = 10_000
"""Pairs of rows up to which chances of ranks are counted out; beyond, or with ties, they are the normal limit's."""


@dataclass(frozen=True)
class Memory:
    """What one stretch remembers.

    Attributes:
        start: its first step.
        points: rows sampled of it.
        held_out: rows sampled of those that it has not seen.
        p_value: chance of ranks this high if it was not trained on its rows.
        score: standardised rank sum; positive where its rows are remembered.
        gain: mean Delta_M, in the loss's unit.
        bound: share of its rows that may have been left out.
    """

    start: int
    points: int
    held_out: int
    p_value: float
    score: float
    gain: float
    bound: SubtractionBound


def memory_of(start: int, points: Sequence[float], held_out: Sequence[float], *, alpha: float = 0.05) -> Memory:
    """Compares falls of loss over a stretch: those of its rows with those of rows that it has not seen.

    Args:
        start: the stretch's first step.
        points: loss before less loss after, of its rows.
        held_out: the same of the others.
        alpha: error of the bound on rows left out.
    """
    from scipy.stats import mannwhitneyu

    n, m = len(points), len(held_out)
    untied = len({*points, *held_out}) == n + m
    method: Literal["exact", "asymptotic"] = "exact" if untied and n * m <= _MOST_EXACT else "asymptotic"
    ranks = mannwhitneyu(points, held_out, alternative="greater", method=method)
    score = (float(ranks.statistic) - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    below, _ = fraction_below(points, held_out, QUANTILE)
    bound = subtraction_bound(below, n, quantile=QUANTILE, alpha=alpha, held_out=m)
    gain = math.fsum(points) / n - math.fsum(held_out) / m
    return Memory(start, n, m, float(ranks.pvalue), score, gain, bound)


def odd_ones(memories: Sequence[Memory]) -> list[Memory]:
    """Returns the stretches that remember less than the run's others: their scores lie far below the median."""
    scores = sorted(memory.score for memory in memories)
    if len(scores) < 4:
        return []
    middle = scores[len(scores) // 2]
    distances = sorted(abs(score - middle) for score in scores)
    deviation = max(SPREAD, _OF_NORMAL * distances[len(distances) // 2])
    return [memory for memory in memories if memory.score < middle - DEVIATIONS * deviation]


def pooled(memories: Sequence[Memory]) -> float:
    """Returns the chance of ranks this high over all stretches, if none was trained on its rows (Fisher 1932)."""
    from scipy.special import gammaincc

    if not memories:
        return 1.0
    total = -math.fsum(math.log(max(memory.p_value, 1e-300)) for memory in memories)
    return float(gammaincc(len(memories), total))


def share_left_out(memories: Sequence[Memory], *, alpha: float = 0.05) -> float:
    """Bounds the share of rows left out in all the stretches together, if each left out the same share.

    Counts add up. The mass below each threshold is Beta(j, n - j + 1), independent of the others, so by Cantelli's
    inequality their mean, weighted by points, lies below its expectation less ``s sqrt(1/a - 1)`` with chance <= a.

    Returns:
        The upper limit, at most 1; 1 without stretches.
    """
    points = sum(memory.points for memory in memories)
    if not points:
        return 1.0
    mean = variance = 0.0
    for memory in memories:
        place, weight = max(1, math.ceil(QUANTILE * memory.held_out)), memory.points / points
        share = place / (memory.held_out + 1)
        mean += weight * share
        variance += weight**2 * share * (1 - share) / (memory.held_out + 2)
    low = mean - math.sqrt(variance * (2 / alpha - 1))
    limit = clopper_pearson_upper(sum(memory.bound.below for memory in memories), points, alpha / 2)
    return min(1.0, limit / low) if low > 0 else 1.0
