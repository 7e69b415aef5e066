"""Balances over many periods: a loss too small for any one of them adds up in a cumulative sum.

S_t = max(0, S_(t-1) + MUF_t / sigma_t - k) (Page 1954), alarm when S_t reaches h. k = 0.5 looks for losses of about
one standard deviation a period. h follows by simulation from the chance of a false alarm that is wanted over all
periods; the error that the simulation leaves is stated. Errors are normal; they may be correlated from period to
period, or last (:class:`Errors`): a meter that reads high reads high next month too, and looks like a steady loss.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from weighbridge.errors import InputError
from weighbridge.units import check_count, check_fraction, check_quantity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CusumAlarm",
    "CusumPath",
    "CusumPower",
    "Errors",
    "alarm_level",
    "alarm_power",
    "run_cusum",
    "sum_quantiles",
]

_HISTORIES: Final = 100_000
_MOST_CELLS: Final = 10**8
_TWO_SIDED: Final = 1.959963984540054  # normal quantile at 0.975


@dataclass(frozen=True, kw_only=True)
class Errors:
    """How the errors of honest balances hang together; each one by itself stays normal with sigma 1.

    z_t = lasting x B + sqrt(1 - lasting^2) x e_t, e_t = correlation x e_(t-1) + sqrt(1 - correlation^2) x w_t; B and
    w_t are standard normal, B once for all periods.

    Attributes:
        correlation: between two periods in a row, of what changes, in (-1, 1). A count that ends one period and begins
            the next makes it negative.
        lasting: share of sigma that is one error for all periods, such as a meter's calibration, in [0, 1].

    Raises:
        InputError: if a figure lies outside.
    """

    correlation: float = 0.0
    lasting: float = 0.0

    def __post_init__(self) -> None:
        if not -1 < self.correlation < 1:
            raise InputError(f"{self.correlation} does not lie between -1 and 1", field="correlation")
        if not 0 <= self.lasting <= 1:
            raise InputError(f"{self.lasting} does not lie in [0, 1]", field="lasting")


_INDEPENDENT: Final = Errors()


@dataclass(frozen=True, kw_only=True)
class CusumAlarm:
    """The alarm level found by simulation.

    Attributes:
        level: h.
        low: lower end of its 95 % interval, and
        high: upper end (order statistics of the simulated maxima; no distribution is assumed).
        false_alarm: wanted chance of an alarm in any of the periods if nothing is missing.
        error: standard error of the chance that h really has.
        periods: periods counted.
        k: reference value.
        histories: histories simulated.
        seed: of the generator.
    """

    level: float
    low: float
    high: float
    false_alarm: float
    error: float
    periods: int
    k: float
    histories: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class CusumPath:
    """What the sums of a real series are.

    Attributes:
        sums: S_t after each period.
        alarm: first period (from 1) whose sum reaches the level; none if no one does.
    """

    sums: tuple[float, ...]
    alarm: int | None


@dataclass(frozen=True, kw_only=True)
class CusumPower:
    """How often a steady loss raises the alarm.

    Attributes:
        shift: loss of each period in standard deviations.
        detection: chance of an alarm within the periods.
        error: its standard error.
        mean_periods: periods until the alarm, averaged over the histories that raise it; none if no one does.
    """

    shift: float
    detection: float
    error: float
    mean_periods: float | None


def run_cusum(scores: Sequence[float], *, level: float, k: float = 0.5) -> CusumPath:
    """Returns the cumulative sums of MUF_t / sigma_t and the first alarm.

    Raises:
        InputError: if a score is not finite, or there is none.
    """
    if not scores or not all(math.isfinite(score) for score in scores):
        raise InputError("must be finite numbers, at least one", field="periods")
    check_quantity(level, name="level")
    check_quantity(k, name="k", positive=False)
    total, sums = 0.0, []
    for score in scores:
        total = max(0.0, total + score - k)
        sums.append(total)
    alarm = next((t for t, value in enumerate(sums, 1) if value >= level), None)
    return CusumPath(sums=tuple(sums), alarm=alarm)


def alarm_level(
    periods: int,
    *,
    false_alarm: float | Fraction = 0.05,
    k: float = 0.5,
    errors: Errors = _INDEPENDENT,
    histories: int = _HISTORIES,
    seed: int = 0,
) -> CusumAlarm:
    """Returns h such that honest balances raise any alarm in ``periods`` with the wanted chance.

    Args:
        periods: balances to come.
        false_alarm: chance of at least one alarm if nothing is missing.
        k: reference value, in standard deviations.
        errors: how errors hang together from period to period.
        histories: histories to simulate.
        seed: of the generator, so that anyone finds the same level.

    Raises:
        InputError: if an argument is meaningless, or too few histories could tell.
    """
    import numpy as np

    chance = float(check_fraction(false_alarm, name="false-alarm"))
    check_quantity(k, name="k", positive=False)
    maxima = np.sort(_maxima(periods, shift=0.0, k=k, errors=errors, histories=histories, seed=seed)[0])
    rank = histories * (1 - chance)
    spread = _TWO_SIDED * math.sqrt(histories * chance * (1 - chance))
    if rank + spread >= histories - 1 or rank - spread < 0:
        raise InputError(
            f"{histories:,} histories are too few for a false alarm of {chance:g}", field="histories", mend="take more"
        )
    low, middle, high = (
        float(maxima[min(histories - 1, math.ceil(at))]) for at in (rank - spread, rank, rank + spread)
    )
    if middle <= 0:
        raise InputError(
            f"at {k:g} fewer honest sums than {chance:g} of all ever leave 0", field="k", mend="take a smaller one"
        )
    return CusumAlarm(
        level=middle,
        low=low,
        high=high,
        false_alarm=chance,
        error=math.sqrt(chance * (1 - chance) / histories),
        periods=periods,
        k=k,
        histories=histories,
        seed=seed,
    )


def alarm_power(
    periods: int,
    *,
    shift: float,
    level: float,
    k: float = 0.5,
    errors: Errors = _INDEPENDENT,
    histories: int = _HISTORIES,
    seed: int = 1,
) -> CusumPower:
    """Returns how often, and when, a loss of ``shift`` standard deviations in every period raises the alarm.

    Raises:
        InputError: if an argument is meaningless.
    """
    import numpy as np

    check_quantity(shift, name="shift", positive=False)
    check_quantity(level, name="level")
    check_quantity(k, name="k", positive=False)
    _, first = _maxima(periods, shift=shift, k=k, errors=errors, histories=histories, seed=seed, level=level)
    caught = first > 0
    share = float(np.mean(caught))
    return CusumPower(
        shift=shift,
        detection=share,
        error=math.sqrt(share * (1 - share) / histories),
        mean_periods=float(np.mean(first[caught])) if caught.any() else None,
    )


def sum_quantiles(
    periods: int,
    *,
    quantile: float,
    shift: float = 0.0,
    k: float = 0.5,
    errors: Errors = _INDEPENDENT,
    histories: int = 10_000,
    seed: int = 2,
) -> tuple[float, ...]:
    """Returns, after each period, the sum below which the share ``quantile`` of simulated histories lies.

    Raises:
        InputError: if an argument is meaningless.
    """
    import numpy as np

    share = float(check_fraction(quantile, name="quantile"))
    check_quantity(shift, name="shift", positive=False)
    check_quantity(k, name="k", positive=False)
    return tuple(
        float(np.quantile(sums, share))
        for sums in _sums(periods, shift=shift, k=k, errors=errors, histories=histories, seed=seed)
    )


def _maxima(
    periods: int, *, shift: float, k: float, errors: Errors, histories: int, seed: int, level: float = math.inf
) -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
    """Returns each history's largest sum, and the period in which it first reached the level (0: never)."""
    import numpy as np

    _check_size(periods, histories)
    largest = np.zeros(histories)
    first = np.zeros(histories, dtype=np.int64)
    for period, sums in enumerate(
        _sums(periods, shift=shift, k=k, errors=errors, histories=histories, seed=seed), start=1
    ):
        np.maximum(largest, sums, out=largest)
        first[(first == 0) & (sums >= level)] = period
    return largest, first


def _sums(
    periods: int, *, shift: float, k: float, errors: Errors, histories: int, seed: int
) -> "Iterator[NDArray[np.float64]]":
    """Yields the sums of all histories after each period, always in the same array."""
    import numpy as np

    _check_size(periods, histories)
    generator = np.random.default_rng(check_count(seed, name="seed"))
    drift = np.full(histories, shift - k)
    if errors.lasting:
        drift += errors.lasting * generator.standard_normal(histories)
    changing = math.sqrt(1 - errors.lasting**2)
    fresh = math.sqrt(1 - errors.correlation**2)
    error = np.zeros(histories)
    sums = np.zeros(histories)
    for period in range(periods):
        drawn = generator.standard_normal(histories)
        error = drawn if period == 0 else errors.correlation * error + fresh * drawn
        sums += changing * error + drift
        np.maximum(sums, 0.0, out=sums)
        yield sums


def _check_size(periods: int, histories: int) -> None:
    check_count(periods, name="periods", least=1)
    check_count(histories, name="histories", least=1_000)
    if periods * histories > _MOST_CELLS:
        raise InputError(
            f"{periods:,} periods in {histories:,} histories are too many", field="histories", mend="take fewer"
        )
