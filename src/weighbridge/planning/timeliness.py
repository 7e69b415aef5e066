"""How soon a site of a given size could cross a threshold, and so how closely it must be watched.

Rates, classes of size and registration days: Scher et al., arXiv 2511.10783, appendix D and Article V(3). An H100
equivalent does 990 TFLOP/s there (FP8 at 50 % utilisation). The regimes by size follow from the times.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.units import SECONDS_PER_DAY, check_quantity

__all__ = [
    "H100E_FLOPS",
    "REGIMES",
    "REGISTRATION",
    "Regime",
    "Timeliness",
    "days_to",
    "plan_timeliness",
    "regime_of",
    "registration_day",
    "significant_quantity",
]

H100E_FLOPS: Final = 990e12
"""FLOP/s of one H100 equivalent, FP8 at 50 % utilisation (arXiv 2511.10783, appendix D)."""

REGISTRATION: Final = ((10_000.0, 1), (1_000.0, 10), (100.0, 100), (16.0, 730))
"""Above so many H100 equivalents a cluster is registered by that day (appendix D). Article V(3) says 120 for all."""


@dataclass(frozen=True, kw_only=True)
class Regime:
    """How sites of a size are watched.

    Attributes:
        least: smallest size in H100 equivalents.
        name: continuous, monthly, yearly or purchases.
        what: the same in words.
    """

    least: float
    name: str
    what: str


REGIMES: Final = (
    Regime(least=1_000, name="continuous", what="continuous monitoring"),
    Regime(least=100, name="monthly", what="monthly random inspection at short notice"),
    Regime(least=16, name="yearly", what="yearly inspection, and tips"),
    Regime(least=0, name="purchases", what="purchase graph only"),
)


@dataclass(frozen=True, kw_only=True)
class Timeliness:
    """How soon a site crosses a threshold.

    Attributes:
        h100e: size in H100 equivalents.
        days: days to the threshold with the whole site, never less than zero; the longest useful gap between looks.
        regime: name of the regime for that size.
        registered_by: day of registration by appendix D; none below its classes.
        warning_days: days left after a look every ``period`` days has seen the start at the latest; none without a
            period. Negative: the threshold can be crossed between two looks.
    """

    h100e: float
    days: float
    regime: str
    registered_by: int | None
    warning_days: float | None


def plan_timeliness(
    h100e: float, *, flop: float, chip_flops: float = H100E_FLOPS, period: float | None = None
) -> Timeliness:
    """Returns how soon ``h100e`` H100 equivalents do ``flop``, and the regime for that size.

    Args:
        h100e: size of the site.
        flop: threshold.
        chip_flops: effective FLOP/s of one H100 equivalent.
        period: days between two looks, if there are any.

    Raises:
        InputError: if a figure is meaningless.
    """
    days = days_to(flop, h100e=h100e, chip_flops=chip_flops)
    return Timeliness(
        h100e=h100e,
        days=days,
        regime=regime_of(h100e).name,
        registered_by=registration_day(h100e),
        warning_days=None if period is None else days - check_quantity(period, name="period"),
    )


def days_to(flop: float, *, h100e: float, chip_flops: float = H100E_FLOPS) -> float:
    """Days that ``h100e`` chips of ``chip_flops`` FLOP/s (effective) need for ``flop``."""
    check_quantity(flop, name="flop")
    rate = check_quantity(h100e, name="h100e") * check_quantity(chip_flops, name="chip-flops")
    days = flop / (rate * SECONDS_PER_DAY)
    if not math.isfinite(days):
        raise InputError("the figures are too far apart to compute with", field="flop")
    return days


def regime_of(h100e: float) -> Regime:
    """Returns the regime for a size."""
    check_quantity(h100e, name="h100e", positive=False)
    return next(regime for regime in REGIMES if h100e >= regime.least)


def registration_day(h100e: float, *, schedule: tuple[tuple[float, int], ...] = REGISTRATION) -> int | None:
    """Returns the day by which a cluster of that size is registered; none if it is in no class.

    Args:
        h100e: size.
        schedule: (above so many H100 equivalents, day), largest first; the agreement's texts differ, so it can be
            given.
    """
    check_quantity(h100e, name="h100e", positive=False)
    return next((day for above, day in schedule if h100e > above), None)


def significant_quantity(flop: float, *, days: float, peak: float, utilisation: float) -> int:
    """Chips with which ``flop`` can be done in time: ceil(F / (peak U T 86,400)), exact in the decimals given.

    Args:
        flop: FLOP that matter.
        days: time allowed.
        peak: FLOP/s of one chip at full use.
        utilisation: share of that which a run gets, in (0, 1].

    Raises:
        InputError: if a figure is meaningless.
    """
    for name, value in (("flop", flop), ("days", days), ("peak", peak), ("utilisation", utilisation)):
        check_quantity(value, name=name)
    if utilisation > 1:
        raise InputError(f"{utilisation:g} is above 1", field="utilisation", mend="for 40 % write 0.4")
    per_chip = _decimal(peak) * _decimal(utilisation) * _decimal(days) * SECONDS_PER_DAY
    return math.ceil(_decimal(flop) / per_chip)


def _decimal(value: float) -> Fraction:
    return Fraction(repr(float(value)))
