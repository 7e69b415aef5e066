"""The ceiling of every chip plan: a run leaves Poisson(f H / (a mu)) snapshots in all, and no sample reads more."""

import math
from typing import Any

import numpy as np
import pytest

from weighbridge.planning.chip_forms import every_form, in_form
from weighbridge.planning.chip_run import ChipRun

A_DAY = 1e15 * 86_400


def run(**change: Any) -> ChipRun:
    """Ten and a half chip-periods on 200 chips."""
    given: dict[str, Any] = {
        "chips": 200, "flop": 105 * A_DAY, "chip_flops": 1e15, "days": 40.0, "period": 10.0, "rate": 0.1,
    }  # fmt: skip
    return ChipRun(**(given | change))


def simulated(which: ChipRun, used: list[list[float]], *, samples: int, histories: int = 40_000) -> float:
    """Share of histories caught: ``used`` has each period's chip-days by chip; so many different chips are drawn."""
    generator = np.random.default_rng(11)
    caught = np.zeros(histories, dtype=bool)
    for days in used:
        left = generator.poisson(which.rate * np.array(days), size=(histories, len(days))) > 0
        drawn = np.argsort(generator.random((histories, which.chips)), axis=1)[:, : len(days)] < samples
        caught |= (left & drawn).any(axis=1)
    return float(np.mean(caught))


WAYS = {
    "as planned": [[10.0, 10.0, 6.25]] * 4,
    "on one chip for long": [[10.0]] * 10 + [[5.0]],
    "spread": [[105 / 150] * 150],
    "in two halves": [[5.0] * 11, [5.0] * 10],
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_census_catches_with_the_ceiling_whatever_the_run_does(way: str) -> None:
    # One standard error is 0.0024 at most.
    assert sum(map(sum, WAYS[way])) == pytest.approx(105)
    assert run().census_detection == pytest.approx(-math.expm1(-10.5))
    rare = run(rate=0.01)
    assert simulated(rare, WAYS[way], samples=200) == pytest.approx(rare.census_detection, abs=0.01)


@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize(("confidence", "rate"), [(0.6, 0.1), (0.9, 0.1), (0.6, 0.01)])
def test_the_plan_catches_each_way_with_what_it_promises(way: str, confidence: float, rate: float) -> None:
    which = run(rate=rate)
    samples = math.ceil(every_form(which, confidence=confidence).worst.samples_per_period)
    assert samples <= 200
    assert simulated(which, WAYS[way], samples=samples) >= confidence - 0.01


def test_more_draws_than_chips_are_the_chips() -> None:
    which = run(rate=0.01)
    plan = in_form("stretched", which, confidence=0.64)
    assert plan.samples_per_period == 200
    assert any("a census" in note for note in plan.notes)
    assert in_form("paper", which, confidence=0.64).samples_per_period > 200
    assert every_form(which, confidence=0.64).worst.samples_per_period == 200


def test_the_ceiling_with_logs_off_or_short() -> None:
    whole = run()
    assert run(tamper_seen=0.3).census_detection == pytest.approx(1 - 0.7**10.5)
    assert run(tampered=0.0, tamper_seen=0.3).census_detection == whole.census_detection
    assert run(tampered=1.0).census_detection == 1
    half = 0.5 * math.exp(-1) + 0.5 * 0.7
    assert run(tampered=0.5, tamper_seen=0.3).census_detection == pytest.approx(1 - half**10.5)
    assert run(log_days=4.0).census_detection == pytest.approx(-math.expm1(-4.2))
    # One tampered chip for an hour is one chip that is looked at.
    assert run(flop=A_DAY / 24, tamper_seen=0.3, rate=100.0).census_detection == pytest.approx(0.3)
