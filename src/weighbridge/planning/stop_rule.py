"""A stop rule, and what it does: chances of alarm and acceptance and the average length, computed exactly.

The distribution of the count of unexplained snapshots is walked from look to look; what has stopped leaves it.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weighbridge.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Look", "OperatingPoint", "SequentialPlan", "count_after", "operating_point"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """A moment at which the plan may stop.

    Attributes:
        draws: snapshots audited so far.
        accept: stop and accept if at most so many were unexplained; none: not yet.
        alarm: stop with an alarm if at least so many were; none: not yet.
    """

    draws: int
    accept: int | None
    alarm: int | None


@dataclass(frozen=True, kw_only=True)
class SequentialPlan:
    """A plan with its stop rule.

    Attributes:
        kind: wald, group or fixed.
        honest: p0, unexplained share that an honest operator may have.
        hidden: p1, unexplained share that must raise the alarm.
        alpha: wanted chance of a false alarm at p0.
        beta: wanted chance of a miss at p1.
        looks: when it may stop; the last one always decides.
    """

    kind: str
    honest: float
    hidden: float
    alpha: float
    beta: float
    looks: tuple[Look, ...]

    @property
    def most_draws(self) -> int:
        """Draws after which the plan has decided."""
        return self.looks[-1].draws


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a plan does where the true unexplained share is ``share``.

    Attributes:
        share: true share of unexplained snapshots.
        alarm: chance of an alarm.
        accept: chance of acceptance.
        expected_draws: draws until it stops, on average.
    """

    share: float
    alarm: float
    accept: float
    expected_draws: float


def operating_point(plan: SequentialPlan, *, share: float) -> OperatingPoint:
    """Returns what a plan does at a true share, exactly: the count's distribution is walked from look to look."""
    import numpy as np

    if not 0 <= share <= 1:
        raise InputError(f"{share} does not lie in [0, 1]", field="share")
    alarm = accept = draws = 0.0
    counts = np.ones(1)
    before = 0
    for look in plan.looks:
        counts = count_after(counts, look.draws - before, share)
        before = look.draws
        stopped = 0.0
        if look.alarm is not None and look.alarm < len(counts):
            hit = float(counts[look.alarm :].sum())
            alarm, stopped = alarm + hit, stopped + hit
            counts = counts[: look.alarm]
        if look.accept is not None:
            fine = float(counts[: look.accept + 1].sum())
            accept, stopped = accept + fine, stopped + fine
            counts = counts.copy()
            counts[: look.accept + 1] = 0.0
        draws += stopped * look.draws
    return OperatingPoint(share=share, alarm=alarm, accept=accept, expected_draws=draws)


def count_after(counts: "NDArray[np.float64]", draws: int, share: float) -> "NDArray[np.float64]":
    """Returns the distribution of the count after so many more draws."""
    import numpy as np

    if draws == 1:
        longer = np.zeros(len(counts) + 1)
        longer[:-1] = counts * (1 - share)
        longer[1:] += counts * share
        return longer
    return np.convolve(counts, _binomial(draws, share))


def _binomial(draws: int, share: float) -> "NDArray[np.float64]":
    """Returns P(X = 0), ... P(X = draws); scipy.stats would take seconds to import for this."""
    import numpy as np

    if share in (0.0, 1.0):
        certain = np.zeros(draws + 1)
        certain[draws if share else 0] = 1.0
        return certain
    k = np.arange(draws)
    steps = np.log((draws - k) / (k + 1)) + (math.log(share) - math.log1p(-share))
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    weights = np.exp(logs - logs.max())
    chances: NDArray[np.float64] = weights / weights.sum()
    return chances
