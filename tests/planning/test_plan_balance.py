"""Material balance: counts, FLOP, and the paired statistic."""

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.balance import (
    Consignment,
    chip_balance,
    detectable,
    inventory_report_due,
    listing_due,
    measured_balance,
    paired_statistic,
    sigma_needed,
)


def test_chips_balance_exactly_or_not() -> None:
    fine = chip_balance(1_000, received=200, shipped=50, retired=10, counted=1_140)
    assert (fine.book, fine.unaccounted, fine.balanced) == (1_140, 0, True)
    assert chip_balance(1_000, counted=999).unaccounted == 1
    assert chip_balance(1_000, counted=1_001).unaccounted == -1
    assert not chip_balance(1_000, counted=1_001).balanced


def test_consignments_are_not_netted() -> None:
    found = chip_balance(
        0, received=200, counted=200,
        consignments=[Consignment(name="a", shipped=101, received=100), Consignment(name="b", shipped=99, received=100),
                      Consignment(name="c", shipped=5, received=5)],
    )  # fmt: skip
    assert (found.unaccounted, found.balanced) == (0, False)
    assert [one.difference for one in found.differences] == [1, -1]


@given(*[st.integers(0, 10**6)] * 5)
def test_what_is_taken_away_is_what_is_missing(
    begin: int, received: int, shipped: int, counted: int, more: int
) -> None:
    shipped = min(shipped, begin + received)
    one = chip_balance(begin, received=received, shipped=shipped, counted=counted)
    assert chip_balance(begin, received=received, shipped=shipped, counted=counted + more).unaccounted == (
        one.unaccounted - more
    )


def test_flop() -> None:
    found = measured_balance(1.05e26, declared=1e26, sigma=2e24)
    assert found.unaccounted == pytest.approx(5e24)
    assert found.alarm_at == pytest.approx(1.645 * 2e24, rel=1e-4)
    assert found.alarm
    assert found.detectable == pytest.approx(3.29 * 2e24, rel=1e-4)
    assert found.sigma_share == pytest.approx(0.02)
    assert not measured_balance(1.032e26, declared=1e26, sigma=2e24).alarm
    assert measured_balance(1e24, declared=0, sigma=1e23).sigma_share is None


def test_metering_must_beat_declaration() -> None:
    assert sigma_needed(1e25) / 1e26 == pytest.approx(0.0304, abs=5e-5)
    # A tolerance of 30 % on declarations is about ten times too loose for that.
    assert 0.30 / (sigma_needed(1e25) / 1e26) == pytest.approx(10, rel=0.02)
    assert detectable(sigma_needed(1e25)) == pytest.approx(1e25)


def test_false_alarms_and_power_by_simulation() -> None:
    # 200,000 balances: one standard error is 0.0005.
    noise = np.random.default_rng(23).standard_normal(200_000)
    limit = measured_balance(1.0, declared=1.0, sigma=1.0).alarm_at
    assert float(np.mean(noise > limit)) == pytest.approx(0.05, abs=0.0025)
    assert float(np.mean(noise + detectable(1.0) > limit)) == pytest.approx(0.95, abs=0.0025)


def test_paired_statistic() -> None:
    found = paired_statistic([10.0, 11.0, 12.0], inspector=[9.0, 11.0, 10.0], population=300)
    assert found.difference == pytest.approx(300.0)
    assert found.item_sigma == pytest.approx(1.0)
    assert found.sigma == pytest.approx(300 / math.sqrt(3))
    assert found.z == pytest.approx(math.sqrt(3))
    assert found.alarm


def test_paired_statistic_by_simulation() -> None:
    # 4,000 inspections of 50 items: one standard error of the alarm's share is 0.0034.
    generator = np.random.default_rng(31)
    totals, alarms = [], 0
    for _ in range(4_000):
        noise = generator.normal(0.0, 2.0, size=50)
        one = paired_statistic(list(100 + noise), inspector=[100.0] * 50, population=1_000, item_sigma=2.0)
        totals.append(one.difference)
        alarms += one.alarm
    assert float(np.std(totals)) == pytest.approx(1_000 * 2 / math.sqrt(50), rel=0.05)
    assert alarms / 4_000 == pytest.approx(0.05, abs=0.014)


def test_clocks() -> None:
    assert inventory_report_due(date(2027, 1, 5)) == date(2027, 3, 2)
    assert inventory_report_due(date(2027, 12, 31)) == date(2028, 1, 30)
    assert listing_due(date(2027, 6, 1)) == date(2027, 7, 1)


def test_meaningless_balances_are_refused() -> None:
    for call in (
        lambda: chip_balance(10, shipped=11, counted=0), lambda: chip_balance(-1, counted=0),
        lambda: measured_balance(1.0, declared=1.0, sigma=0.0),
        lambda: measured_balance(math.nan, declared=1.0, sigma=1.0),
        lambda: sigma_needed(0.0),
        lambda: paired_statistic([1.0], inspector=[1.0, 2.0], population=10),
        lambda: paired_statistic([1.0], inspector=[1.0], population=10),
        lambda: paired_statistic([1.0, 2.0], inspector=[1.0, 2.0], population=10),
        lambda: paired_statistic([1.0, 2.0], inspector=[1.0, 1.0], population=1),
        lambda: paired_statistic([1.0, math.inf], inspector=[1.0, 1.0], population=10),
    ):  # fmt: skip
        with pytest.raises(InputError):
            call()
