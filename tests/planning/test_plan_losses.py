"""Losses beyond what machines do: the published counts, and a simulation of honest and of cheating sites."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.losses import LLAMA_3, loss_alarm

FAULTY = LLAMA_3.yearly(LLAMA_3.chip + LLAMA_3.memory)


@pytest.mark.parametrize(("faults", "percent"), [(148, 6.106), (148 + 72, 9.076), (268, 11.06)])
def test_yearly_faults_of_a_large_run(faults: int, percent: float) -> None:
    assert 100 * LLAMA_3.yearly(faults) == pytest.approx(percent, rel=5e-4)
    assert faults in (LLAMA_3.chip, LLAMA_3.chip + LLAMA_3.memory, LLAMA_3.attributed)


def test_faults_of_all_chips_of_one_maker() -> None:
    yearly = [10.81e6 * LLAMA_3.yearly(faults) for faults in (LLAMA_3.chip, LLAMA_3.chip + LLAMA_3.memory)]
    assert yearly == pytest.approx([0.660e6, 0.982e6], rel=1e-3)


@pytest.mark.parametrize(
    ("chips", "days", "expected", "alarm"),
    [(1_000, 365, 90.8, 123), (1_000, 365 / 12, 7.56, 18), (10_000, 365, 908, 1_003), (10_000, 365 / 12, 75.6, 105)],
)
def test_first_count_that_chance_does_not_explain(chips: int, days: float, expected: float, alarm: int) -> None:
    found = loss_alarm(chips, yearly=FAULTY, days=days)
    assert found.expected == pytest.approx(expected, rel=1e-3)
    assert found.alarm == alarm
    assert found.false_alarm < 1e-3


def poisson_tail(mean: float, count: int) -> float:
    return 1 - math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count))


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 3_000), st.floats(0.01, 0.9), st.sampled_from([0.2, 0.05, 0.001]), st.sampled_from([0.5, 0.95]))
def test_alarm_and_power_are_the_smallest(chips: int, yearly: float, chance: float, power: float) -> None:
    found = loss_alarm(chips, yearly=yearly, chance=chance, power=power)
    assert poisson_tail(found.expected, found.alarm) < chance + 1e-9
    assert poisson_tail(found.expected, found.alarm - 1) >= chance - 1e-9
    assert poisson_tail(found.expected, found.alarm - found.detectable) >= power - 1e-9
    if found.detectable:
        assert poisson_tail(found.expected, found.alarm - found.detectable + 1) < power + 1e-9
    assert found.twice == pytest.approx(poisson_tail(found.expected, math.floor(2 * found.expected) + 1), abs=1e-9)


def test_by_simulation() -> None:
    # 200,000 years of a site: one standard error of the false alarms is 0.00007, of the power 0.0005.
    found = loss_alarm(1_000, yearly=FAULTY)
    honest = np.random.default_rng(29).binomial(365_000, FAULTY / 365, size=200_000)
    assert float(np.mean(honest >= found.alarm)) == pytest.approx(found.false_alarm, abs=0.0003)
    assert float(np.mean(honest + found.detectable >= found.alarm)) >= 0.95 - 0.002
    assert float(np.mean(honest + found.detectable - 1 >= found.alarm)) < 0.95 + 0.002


def test_twice_the_baseline_is_no_rule_for_small_sites() -> None:
    assert loss_alarm(20, yearly=FAULTY).twice > 0.1
    assert loss_alarm(1_000, yearly=FAULTY).twice < 1e-15
    # 15 % a year declared lost is anomalous: among 1,000 chips that are 150.
    assert loss_alarm(1_000, yearly=FAULTY).alarm < 150


@pytest.mark.parametrize(
    "change",
    [
        {"chips": 0}, {"yearly": 0.0}, {"yearly": math.nan}, {"days": -1.0}, {"chance": 1.0}, {"power": 0.0},
        {"yearly": 1.5}, {"yearly": 1e-323, "days": 1e-3}, {"chips": 10**12, "yearly": 0.5},
    ],
)  # fmt: skip
def test_meaningless_losses_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        loss_alarm(**({"chips": 1_000, "yearly": 0.09} | change))
