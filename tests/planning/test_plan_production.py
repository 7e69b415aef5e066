"""Yield at the source: dies of a wafer, packages of many, and what the spread of the yield hides."""

import math

import pytest

from weighbridge.errors import InputError
from weighbridge.planning.balance import measured_balance
from weighbridge.planning.production import gross_dies, units_by_yield, unseen_by_yield


@pytest.mark.parametrize(("area", "dies"), [(814, 63.48), (826, 62.39), (858, 59.63)])
def test_gross_dies(area: float, dies: float) -> None:
    assert gross_dies(area) == pytest.approx(dies, abs=0.005)


def test_units_of_wafers() -> None:
    # "55 good dies a wafer at 85 %" is loose: whole dies give 53.6, and 55 come from 64.7.
    whole = math.floor(gross_dies(814))
    assert units_by_yield(1, per_wafer=whole, yield_share=0.85) == pytest.approx(53.6, abs=0.06)
    assert 55 / 0.85 == pytest.approx(64.7, abs=0.01) != whole
    assert units_by_yield(100, per_wafer=63, yield_share=0.5, dies=2) == pytest.approx(100 * 63 / 4)


def test_packaging_lines() -> None:
    # 140,000 wafers reserved for 2024; 3.64 million H100 and H20 are 89.6 % of what they hold at 29 a wafer.
    reserved = units_by_yield(140_000, per_wafer=29)
    assert reserved == pytest.approx(4.06e6)
    assert 3.64e6 / reserved == pytest.approx(0.896, abs=1e-3)
    assert measured_balance(reserved, declared=3.64e6, sigma=0.02 * reserved).alarm
    # Year-end capacity is no mean of a year: it would give far more than was made.
    assert units_by_yield(12 * 37_500, per_wafer=29) == pytest.approx(13.1e6, rel=5e-3)


@pytest.mark.parametrize(("sigma", "hidden"), [(0.02, 263_200), (0.005, 65_800)])
def test_yields_cannot_replace_serial_numbers(sigma: float, hidden: float) -> None:
    assert unseen_by_yield(4e6, sigma=sigma) == pytest.approx(hidden, rel=2e-4)
    # Kept back just so many, the balance raises the alarm 95 times in 100: its limit lies 1.645 sigma below.
    found = measured_balance(4e6, declared=4e6 - hidden, sigma=4e6 * sigma)
    assert found.detectable == pytest.approx(hidden, rel=2e-4)
    assert (found.unaccounted - found.alarm_at) / found.sigma == pytest.approx(1.645, abs=5e-3)


@pytest.mark.parametrize("area", [0.0, -1.0, math.nan, 1e5, 1e-320])
def test_dies_that_do_not_fit_are_refused(area: float) -> None:
    with pytest.raises(InputError):
        gross_dies(area)


def test_meaningless_yields_are_refused() -> None:
    for share in (0.0, 1.1, math.inf):
        with pytest.raises(InputError, match="yield"):
            units_by_yield(1, per_wafer=63, yield_share=share)
    with pytest.raises(InputError, match="dies"):
        units_by_yield(1, per_wafer=63, dies=0)
    with pytest.raises(InputError, match="per-wafer"):
        units_by_yield(1, per_wafer=0)
    for units, sigma in ((0.0, 0.1), (1.0, 0.0)):
        with pytest.raises(InputError):
            unseen_by_yield(units, sigma=sigma)
