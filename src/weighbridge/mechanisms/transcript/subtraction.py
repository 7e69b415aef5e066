"""How much of the declared data a run can have left out: the fraction-below-quantile bound, with its uncertainty.

Choi, Shavit and Duvenaud 2023 (arXiv 2307.00682), as reference implementation is not published: of the points that a
stretch claims to have trained on, ``FBQ`` is the share whose memorisation lies below the p-quantile of points that it
did not train on. Points left out look like the latter, so a share p of them falls below: ``E[FBQ] >= lambda p`` for a
share lambda left out, and ``lambda <= FBQ / p``. The bound holds whatever training does to the points trained on, and
says nothing (1) where it does nothing.

Two samples are behind it. The sampled points' count is binomial: its upper limit is Clopper and Pearson's. The
quantile is the j-th smallest of n held-out points; the share of such points below it is Beta(j, n - j + 1), whose lower
limit stands for p. Each limit errs with half of alpha. Both need what the seed gives: points and held-out points drawn
from one population, by no choice of the operator's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weighbridge.errors import InputError
from weighbridge.statistics import clopper_pearson_upper

__all__ = ["SubtractionBound", "fraction_below", "subtraction_bound"]


@dataclass(frozen=True)
class SubtractionBound:
    """What a sample says of the share of data left out.

    Attributes:
        below: sampled points below the held-out quantile.
        points: points sampled.
        held_out: held-out points.
        quantile: the quantile aimed at.
        quantile_low: share of held-out points below the threshold, at least (equal to ``quantile`` if it is known).
        share: upper bound of the share left out, at most 1.
        alpha: chance that the share is larger.
    """

    below: int
    points: int
    held_out: int
    quantile: float
    quantile_low: float
    share: float
    alpha: float


def fraction_below(points: Sequence[float], held_out: Sequence[float], quantile: float) -> tuple[int, int]:
    """Returns how many points lie below the held-out points' quantile, and which of the sorted ones that is (from 1).

    Raises:
        InputError: there are no held-out points, or the quantile lies outside (0, 1).
    """
    if not 0 < quantile < 1 or not held_out:
        raise InputError("needs held-out points, and a quantile between 0 and 1", field="quantile")
    place = max(1, math.ceil(quantile * len(held_out)))
    threshold = sorted(held_out)[place - 1]
    return sum(value < threshold for value in points), place


def subtraction_bound(
    below: int, points: int, *, quantile: float, alpha: float = 0.05, held_out: int | None = None
) -> SubtractionBound:
    """Bounds the share of declared data that was not trained on.

    Args:
        below: sampled points below the threshold.
        points: points sampled.
        quantile: the held-out quantile p.
        alpha: chance that the true share exceeds the bound; half of it is spent on the quantile if ``held_out``.
        held_out: held-out points from which the quantile was taken; None if the quantile is known exactly.

    Raises:
        InputError: the numbers do not fit together.
    """
    if not 0 < quantile < 1:
        raise InputError(f"{quantile} does not lie between 0 and 1", field="quantile")
    low = quantile if held_out is None else _quantile_low(held_out, quantile, alpha / 2)
    limit = clopper_pearson_upper(below, points, alpha if held_out is None else alpha / 2)
    share = min(1.0, limit / low) if low > 0 else 1.0
    return SubtractionBound(below, points, held_out or 0, quantile, low, share, alpha)


def _quantile_low(held_out: int, quantile: float, alpha: float) -> float:
    """Returns the alpha-quantile of Beta(j, n - j + 1): the mass below the j-th smallest of n is seldom less."""
    from scipy.special import betaincinv

    if held_out < 1:
        return 0.0
    place = max(1, math.ceil(quantile * held_out))
    return float(betaincinv(place, held_out - place + 1, alpha))
