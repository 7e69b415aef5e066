"""How many audited snapshots a rule, a fleet and a confidence need, and at which rate chips must be frozen.

If all n audited snapshots are explained, at most u = 1 - alpha^(1/n) of the fleet's chip-time was hidden.
So n is the smallest number whose u, at full capacity, leaves the declared work below the rule's threshold.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.statistics import clopper_pearson_upper, poisson_upper
from weighbridge.units import SECONDS_PER_DAY, check_count, check_fraction, check_quantity

__all__ = ["SnapshotPlan", "plan_snapshots", "replay_share"]

_MOST_SNAPSHOTS: Final = 10**15


@dataclass(frozen=True, kw_only=True)
class SnapshotPlan:
    """How many snapshots to audit over the period, and how often to freeze.

    Attributes:
        snapshots: n, audited snapshots drawn from the union of all logs.
        rate: f = n / (chips x days), audited snapshots per chip and day: expects n, may bring fewer.
        rate_sure: rate at which at least n fall due with probability ``confidence``.
        rate_exposure: rate at which the exposure form of the bound (all records read) is enough.
        share: hidden share of the fleet's chip-time that is still tolerable.
        capacity: FLOP of the whole fleet over the period.
        room: FLOP between declared work and threshold.
        confidence: 1 - alpha.
        unexplained: snapshots that may stay unexplained without breaking the plan.
    """

    snapshots: int
    rate: float
    rate_sure: float
    rate_exposure: float
    share: float
    capacity: float
    room: float
    confidence: float
    unexplained: int


def plan_snapshots(
    chips: int,
    *,
    chip_flops: float,
    days: float,
    limit: float,
    declared: float = 0.0,
    confidence: float | Fraction = 0.95,
    unexplained: int = 0,
    strictly_below: bool = False,
) -> SnapshotPlan:
    """Returns the snapshots needed so that declared work plus what could be hidden stays within ``limit``.

    Args:
        chips: chips of the fleet.
        chip_flops: FLOP/s of one chip, in the FLOP that the rule's counting policy counts.
        days: length of the period.
        limit: Y, the rule's threshold in FLOP.
        declared: FLOP declared and shown, already counted by the policy.
        confidence: 1 - alpha, with alpha the chance that more was hidden than the bound says.
        unexplained: snapshots that are expected to stay unexplained (lost logs count as such).
        strictly_below: the total must stay below ``limit`` (a rule with ``>=``), not only not exceed it.

    Returns:
        The plan; no snapshots at all if the whole fleet cannot reach the threshold.

    Raises:
        InputError: if an argument is meaningless, or declared work alone uses up the limit.
    """
    check_count(chips, name="chips", least=1)
    check_count(unexplained, name="unexplained")
    for name, value in (("chip-flops", chip_flops), ("days", days), ("limit", limit)):
        check_quantity(value, name=name)
    check_quantity(declared, name="declared", positive=False)
    sure = check_fraction(confidence, name="confidence")
    alpha = float(1 - sure)
    room = limit - declared
    if room <= 0:
        raise InputError(
            f"declared work of {declared:.4g} FLOP leaves no room below {limit:.4g}",
            field="declared",
            mend="no number of snapshots can help",
        )
    capacity = chips * chip_flops * SECONDS_PER_DAY * days
    share = room / capacity
    if not 0 < share < math.inf:
        raise InputError("the figures are too far apart to compute with", field="limit")

    def enough(number: int) -> bool:
        hidden = clopper_pearson_upper(unexplained, number, alpha)
        return hidden < share if strictly_below else hidden <= share

    needed = 0 if enough(unexplained) and share >= 1 else _smallest(enough, above=unexplained)
    chip_days = chips * days
    return SnapshotPlan(
        snapshots=needed,
        rate=needed / chip_days,
        rate_sure=_rate_sure(needed, chip_days=chip_days, alpha=alpha),
        rate_exposure=0.0 if needed == 0 else poisson_upper(unexplained, alpha) / (share * chip_days),
        share=share,
        capacity=capacity,
        room=room,
        confidence=float(sure),
        unexplained=unexplained,
    )


def replay_share(snapshots: int, *, stride: int, step_seconds: float, days: float) -> float:
    """Share of one synchronous run that auditing replays at most: twice the stride for every snapshot.

    Args:
        snapshots: audited snapshots.
        stride: steps between committed digests.
        step_seconds: length of a step.
        days: length of the run.

    Returns:
        The share; above 1 it costs more than the run did.
    """
    check_count(snapshots, name="snapshots")
    check_count(stride, name="stride", least=1)
    replayed = snapshots * 2 * stride * check_quantity(step_seconds, name="step-seconds")
    return replayed / (SECONDS_PER_DAY * check_quantity(days, name="days"))


def _smallest(enough: Callable[[int], bool], *, above: int) -> int:
    low, high = above, above + 1
    while not enough(high):
        low, high = high, high * 2
        if high > _MOST_SNAPSHOTS:
            raise InputError(
                f"more than {_MOST_SNAPSHOTS:.0e} audited snapshots would be needed",
                field="limit",
                mend="the threshold is out of reach of sampling on this fleet",
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _rate_sure(needed: int, *, chip_days: float, alpha: float) -> float:
    if needed == 0:
        return 0.0
    from scipy.special import gammainccinv

    # P(Poisson(m) < n) is the regularised upper incomplete gamma function Q(n, m); near 1 only that is exact.
    return float(gammainccinv(needed, alpha)) / chip_days
