"""Chips that are said to be broken, lost or retired: how many a year are more than machines lose by themselves.

Faults of an honest site fall as Poisson(chips x yearly share x days / 365). The alarm is the first count whose chance
is below the wanted one. "More than twice the baseline" is a rule for large sites only: at small ones chance alone does
that. Faults that come in batches (a hot room, a bad delivery) are no Poisson counts, and may raise the alarm honestly.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.planning.snapshot_cost import count_test
from weighbridge.units import check_count, check_fraction, check_quantity

__all__ = ["LLAMA_3", "FaultRecord", "LossAlarm", "loss_alarm"]

_DAYS_PER_YEAR: Final = 365
_MOST_EXPECTED: Final = 1e9


@dataclass(frozen=True, kw_only=True)
class FaultRecord:
    """What a large fleet lost in a while.

    Attributes:
        chips: chips that ran.
        days: for so long.
        chip: faults of the chip itself.
        memory: faults of its memory.
        attributed: all faults that were put down to the chip.
    """

    chips: int
    days: int
    chip: int
    memory: int
    attributed: int

    def yearly(self, faults: int) -> float:
        """Returns so many of its faults as a share of the chips in a year."""
        return faults / self.chips * _DAYS_PER_YEAR / self.days


LLAMA_3: Final = FaultRecord(chips=16_384, days=54, chip=148, memory=72, attributed=268)
"""Llama 3's training, arXiv 2407.21783, table 5: interruptions, so more than would be retired."""


@dataclass(frozen=True, kw_only=True)
class LossAlarm:
    """When losses are too many.

    Attributes:
        expected: losses that an honest site has in the time.
        alarm: first count whose chance at an honest site is below ``chance``.
        chance: wanted chance of a false alarm.
        false_alarm: chance that an honest site reaches the alarm.
        detectable: chips diverted as losses, beside the true ones, that raise it with ``power``.
        power: the wanted chance of that.
        twice: chance that an honest site loses more than twice what is expected.
    """

    expected: float
    alarm: int
    chance: float
    false_alarm: float
    detectable: int
    power: float
    twice: float


def loss_alarm(
    chips: int,
    *,
    yearly: float,
    days: float = 365.0,
    chance: float | Fraction = Fraction(1, 1000),
    power: float | Fraction = Fraction(95, 100),
) -> LossAlarm:
    """Returns the first number of losses that chance does not explain.

    Args:
        chips: chips of the site.
        yearly: share of them that an honest site loses in a year.
        days: length of the time looked at.
        chance: chance of a false alarm; the alarm's is below it.
        power: chance of the alarm at ``detectable``.

    Raises:
        InputError: if a figure is meaningless, or more than all chips would break.
    """
    check_count(chips, name="chips", least=1)
    check_quantity(yearly, name="yearly")
    check_quantity(days, name="days")
    rare, sure = float(check_fraction(chance, name="chance")), float(check_fraction(power, name="power"))
    expected = chips * yearly * days / _DAYS_PER_YEAR
    if not 0 < expected <= _MOST_EXPECTED:
        raise InputError(f"{expected:.3g} losses expected are beyond arithmetic", field="yearly")
    if expected > chips:
        raise InputError(
            f"{expected:,.0f} losses expected among {chips:,} chips", field="yearly", mend="for 9 % a year write 0.09"
        )
    alarm = _first(expected, below=rare)
    # Chips that are diverted come on top for certain: what is left for chance is the alarm less them.
    needed = _first(expected, below=sure) - 1
    return LossAlarm(
        expected=expected,
        alarm=alarm,
        chance=rare,
        false_alarm=count_test(expected, seen=alarm)[1],
        detectable=max(0, alarm - needed),
        power=sure,
        twice=count_test(expected, seen=int(2 * expected) + 1)[1],
    )


def _first(expected: float, *, below: float) -> int:
    """Returns the first count that is reached with a chance below the given one."""
    low, high = 0, 1
    while count_test(expected, seen=high)[1] >= below:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count_test(expected, seen=middle)[1] >= below else (low, middle)
    return high
