"""Accounting by yield at the source: how many chips wafers become, and how many could be missing unseen.

Gross dies of a wafer: pi r^2 / A - pi d / sqrt(2 A). Good dies follow with the yield, whose spread hides 3.29 standard
deviations of all packages (5 % false alarms, seen with 95 %). So it cannot replace serial numbers. The balance itself
is ``weighbridge.planning.balance.measured_balance``; memory stacks and packaging lines give others beside it.
"""

import math
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.planning.balance import detectable
from weighbridge.units import check_count, check_quantity

__all__ = ["gross_dies", "units_by_yield", "unseen_by_yield"]

_WAFER_MM: Final = 300.0


def gross_dies(area: float, *, wafer: float = _WAFER_MM) -> float:
    """Dies that fit on a wafer, on average: 63.48 of 814 mm2 on 300 mm.

    Args:
        area: A, mm2 of one die.
        wafer: d, mm.

    Raises:
        InputError: if no die fits.
    """
    check_quantity(area, name="die-area")
    check_quantity(wafer, name="wafer")
    dies = math.pi * (wafer / 2) ** 2 / area - math.pi * wafer / math.sqrt(2 * area)
    if not 0 < dies < math.inf:
        raise InputError(f"no count of dies of {area:g} mm2 fits on a wafer of {wafer:g} mm", field="die-area")
    return dies


def units_by_yield(wafers: float, *, per_wafer: int, yield_share: float = 1.0, dies: int = 1) -> float:
    """Packages that wafers become: wafers x pieces of one x yield / pieces in a package.

    Args:
        wafers: wafers started, of logic, or of a packaging line.
        per_wafer: whole pieces of one: :func:`gross_dies` rounded down, or what a line is known to place.
        yield_share: share of the pieces that become good packages, in (0, 1].
        dies: pieces in a package.

    Raises:
        InputError: if a figure is meaningless.
    """
    if check_quantity(yield_share, name="yield") > 1:
        raise InputError(f"{yield_share:g} is above 1", field="yield", mend="for 85 % write 0.85")
    pieces = check_quantity(wafers, name="wafers") * check_count(per_wafer, name="per-wafer", least=1)
    return pieces * yield_share / check_count(dies, name="dies", least=1)


def unseen_by_yield(
    units: float, *, sigma: float, alpha: float | Fraction = 0.05, power: float | Fraction = 0.95
) -> float:
    """Chips that accounting by yield may lose without an alarm: 3.29 sigma x units; serial numbers lose none.

    Args:
        units: packages made.
        sigma: standard deviation of the yield, as a share of the units.
        alpha: chance of a false alarm.
        power: chance of the alarm at that loss.
    """
    return detectable(sigma, alpha=alpha, power=power) * check_quantity(units, name="units")
