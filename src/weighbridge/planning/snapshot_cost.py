"""What snapshots cost: chip-hours lost while chips stand still, bytes of anchors, steps replayed; and who reads them.

A freeze of t_f seconds of one chip stalls every chip that waits for it. With N synchronised chips and f stops per
chip and day the share of time lost is rho = N f t_f / 86,400 to first order, and 1 - e^(-rho) when stops may overlap.
So f must fall with N, or one trigger must stop many chips at once: it is then one observation, not many.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.units import SECONDS_PER_DAY, check_count, check_fraction, check_quantity

__all__ = [
    "SnapshotCost",
    "concentrated_rate",
    "count_limits",
    "count_test",
    "record_bytes",
    "snapshot_cost",
    "stall_share",
]

_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True)
class SnapshotCost:
    """What a plan's freezes and audits cost over its period.

    Attributes:
        triggers: freezes that count, each one observation however many chips it stops.
        audits: triggers whose snapshots are audited.
        chip_freezes: chips stopped, over all triggers.
        rate_per_chip: freezes per chip and day.
        stall: rho, share of the time lost to first order.
        share_lost: 1 - e^(-rho), share of the time lost when stops may overlap.
        chip_hours_lost: that share of all chip-hours of the period.
        anchor_bytes: bytes of the anchors, one a trigger; none if their size was not given.
        replayed_steps: steps replayed at most, twice the stride an audit; none if the stride was not given.
    """

    triggers: int
    audits: int
    chip_freezes: int
    rate_per_chip: float
    stall: float
    share_lost: float
    chip_hours_lost: float
    anchor_bytes: int | None
    replayed_steps: int | None


def snapshot_cost(
    triggers: int,
    *,
    chips: int,
    days: float,
    freeze_seconds: float,
    together: int = 1,
    per_trigger: int = 1,
    anchor_bytes: int | None = None,
    stride: int | None = None,
    audits: int | None = None,
) -> SnapshotCost:
    """Returns what so many triggers cost.

    Args:
        triggers: freezes that count over the period.
        chips: chips of the fleet.
        days: length of the period.
        freeze_seconds: t_f, how long a stop lasts.
        together: N, chips that wait for each other: the size of one synchronised job.
        per_trigger: chips that one trigger stops at once.
        anchor_bytes: bytes of one anchor: weights, optimizer and the rest of the state.
        stride: steps between committed digests; an audit replays at most twice as many.
        audits: triggers whose snapshots are audited; all if not given.

    Raises:
        InputError: if an argument is meaningless.
    """
    check_count(triggers, name="triggers")
    check_count(chips, name="chips", least=1)
    check_quantity(days, name="days")
    for name, count in (("together", together), ("per-trigger", per_trigger)):
        if check_count(count, name=name, least=1) > chips:
            raise InputError(f"{count:,} is more than all {chips:,} chips", field=name)
    audited = triggers if audits is None else check_count(audits, name="audits")
    if audited > triggers:
        raise InputError(f"{audited:,} of {triggers:,} snapshots is impossible", field="audits")
    trigger_rate = triggers / (chips * days)
    # The dearer case: a trigger's chips lie in as many jobs as they can, and each of those jobs waits once.
    waiting = min(chips, together * min(per_trigger, math.ceil(chips / together)))
    stall = stall_share(waiting, rate=trigger_rate, freeze_seconds=freeze_seconds)
    lost = -math.expm1(-stall)
    return SnapshotCost(
        triggers=triggers,
        audits=audited,
        chip_freezes=triggers * per_trigger,
        rate_per_chip=trigger_rate * per_trigger,
        stall=stall,
        share_lost=lost,
        chip_hours_lost=lost * chips * days * 24,
        anchor_bytes=None if anchor_bytes is None else triggers * check_count(anchor_bytes, name="anchor-bytes"),
        replayed_steps=None if stride is None else 2 * audited * check_count(stride, name="stride", least=1),
    )


def stall_share(together: int, *, rate: float, freeze_seconds: float) -> float:
    """Share of time that ``together`` synchronised chips stand still, to first order: rho = N f t_f / 86,400.

    Args:
        together: N, chips that wait for each other.
        rate: f, stops per chip and day; a trigger that stops many chips is one stop.
        freeze_seconds: t_f, length of a stop.

    Returns:
        rho; above 1 the chips do little but stand still.
    """
    check_count(together, name="together", least=1)
    check_quantity(rate, name="rate", positive=False)
    return together * rate * check_quantity(freeze_seconds, name="freeze-seconds", positive=False) / SECONDS_PER_DAY


def record_bytes(rate: float, *, days: float = 365.0, digest_bytes: int = _DIGEST_BYTES) -> float:
    """Bytes of digests that a chip must keep: rate x days x 32; 1,168 a year at 0.1 a day."""
    check_quantity(rate, name="rate", positive=False)
    return rate * check_quantity(days, name="days") * check_count(digest_bytes, name="digest-bytes", least=1)


def concentrated_rate(phi: float, *, chip_days: float, period: float, confidence: float | Fraction = 0.95) -> float:
    """Audited snapshots per chip and day needed when only a share of the chips is read.

    Solves U = T ln(alpha) / ln(1 - phi (1 - e^(-f T))) for f (``weighbridge.statistics.concentrated_chip_time``): a
    Prover then packs hidden work onto few chips, each for the whole period.

    Args:
        phi: share of the chips whose logs are read, in (0, 1].
        chip_days: U, hidden chip-days that are still tolerable.
        period: T, days.
        confidence: 1 - alpha.

    Returns:
        f, per chip and day.

    Raises:
        InputError: if no rate is enough: then more chips must be read.
    """
    if not 0 < phi <= 1:
        raise InputError(f"{phi} does not lie in (0, 1]", field="share-read", mend="for 10 % write 0.1")
    check_quantity(chip_days, name="chip-days")
    check_quantity(period, name="period")
    alpha = float(1 - check_fraction(confidence, name="confidence"))
    needed = -math.expm1(period * math.log(alpha) / chip_days)
    if needed >= phi and phi < 1:
        raise InputError(
            f"reading {phi:.4g} of the chips cannot bound hidden work so far, however often they freeze",
            field="share-read",
            mend=f"read more than {needed:.4g} of them" if needed < 1 else "read all of them",
        )
    if phi == 1:
        return -math.log(alpha) / chip_days
    return -math.log1p(-needed / phi) / period


def count_test(expected: float, *, seen: int) -> tuple[float, float]:
    """How likely so few, and so many, records are where f X were expected.

    A claim of X chip-days at rate f must show Poisson(f X) records: far fewer, and snapshots were suppressed or time
    was invented; far more, and chips ran that nobody declared.

    Returns:
        P(N <= seen) and P(N >= seen).

    Raises:
        InputError: if a figure is meaningless.
    """
    from scipy.special import pdtr, pdtrc

    check_quantity(expected, name="expected")
    check_count(seen, name="seen")
    return float(pdtr(seen, expected)), 1.0 if seen == 0 else float(pdtrc(seen - 1, expected))


def count_limits(expected: float, *, alpha: float | Fraction = 0.05) -> tuple[int | None, int]:
    """Returns the most records that are too few, and the fewest that are too many, each with at most alpha / 2.

    Records are too few for nobody, which is None, where even none at all would not be rare.

    Raises:
        InputError: if a figure is meaningless.
    """
    half = float(check_fraction(alpha, name="alpha")) / 2
    middle = math.ceil(check_quantity(expected, name="expected"))
    # Both tails fall away from the middle: step out in doubling strides, then bisect.
    few = None
    if count_test(expected, seen=0)[0] <= half:
        few = _last(0, middle, lambda seen: count_test(expected, seen=seen)[0] <= half)
    high = middle + 1
    while count_test(expected, seen=high)[1] > half:
        high *= 2
    return few, _last(0, high, lambda seen: count_test(expected, seen=seen)[1] > half) + 1


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Returns the last number from ``low`` on, where it holds, below ``high``, where it does not."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
