import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.snapshots import plan_snapshots, replay_share
from weighbridge.statistics import clopper_pearson_upper, share_upper_all_explained

FLEET: dict[str, Any] = {"chip_flops": 1e15, "days": 30.0}


@pytest.mark.parametrize(("limit", "snapshots"), [(1e24, 30), (1e23, 310), (1e22, 3105)])
def test_protocol_section_2(limit: float, snapshots: int) -> None:
    plan = plan_snapshots(4000, **FLEET, limit=limit)
    assert plan.snapshots == snapshots
    assert plan.rate == pytest.approx(snapshots / 120_000)
    assert plan.capacity == pytest.approx(1.0368e25)
    assert share_upper_all_explained(plan.snapshots, 0.05) * plan.capacity <= limit
    assert share_upper_all_explained(plan.snapshots - 1, 0.05) * plan.capacity > limit
    assert plan.rate < plan.rate_exposure < plan.rate_sure


@pytest.mark.parametrize(("snapshots", "percent"), [(30, 0.24), (310, 2.4), (3105, 24)])
def test_replays_at_most(snapshots: int, percent: float) -> None:
    share = replay_share(snapshots, stride=10, step_seconds=10, days=30)
    assert share * 100 <= percent
    assert share * 100 == pytest.approx(percent, rel=0.04)


@pytest.mark.parametrize(("limit", "rate"), [(1e22, 0.0256), (1e24, 2.56e-4)])
def test_rate_by_exposure(limit: float, rate: float) -> None:
    plan = plan_snapshots(4000, chip_flops=989e12, days=30, limit=limit)
    assert plan.rate_exposure == pytest.approx(rate, rel=2e-3)


def test_declared_work_takes_from_the_room() -> None:
    plan = plan_snapshots(4000, **FLEET, limit=1e24, declared=9e23)
    assert plan.snapshots == plan_snapshots(4000, **FLEET, limit=1e23).snapshots
    with pytest.raises(InputError, match="leaves no room"):
        plan_snapshots(4000, **FLEET, limit=1e24, declared=1e24)


def test_a_fleet_that_cannot_reach_the_threshold_needs_none() -> None:
    plan = plan_snapshots(4000, **FLEET, limit=1e26)
    assert (plan.snapshots, plan.rate, plan.rate_sure, plan.rate_exposure) == (0, 0, 0, 0)
    exactly = plan_snapshots(4000, **FLEET, limit=1.0368e25)
    assert exactly.snapshots == 0
    assert plan_snapshots(4000, **FLEET, limit=1.0368e25, strictly_below=True).snapshots == 1


@settings(deadline=None)  # the first call imports SciPy
@given(st.integers(0, 5), st.floats(0.001, 0.9))
def test_smallest_number_that_is_enough(unexplained: int, share: float) -> None:
    plan = plan_snapshots(4000, **FLEET, limit=share * 1.0368e25, unexplained=unexplained)
    assert clopper_pearson_upper(unexplained, plan.snapshots, 0.05) <= plan.share
    assert clopper_pearson_upper(unexplained, plan.snapshots - 1, 0.05) > plan.share


def test_expected_losses_cost_more_snapshots() -> None:
    needed = [plan_snapshots(4000, **FLEET, limit=1e24, unexplained=k).snapshots for k in (0, 1, 3)]
    assert needed == sorted(needed)
    assert needed[1] > needed[0]


def test_rate_sure_brings_enough() -> None:
    from scipy.stats import poisson

    plan = plan_snapshots(4000, **FLEET, limit=1e24)
    assert float(poisson.sf(plan.snapshots - 1, plan.rate_sure * 120_000)) == pytest.approx(0.95)


@pytest.mark.parametrize(
    "change",
    [
        {"chip_flops": 0.0}, {"chip_flops": math.nan}, {"days": -1.0}, {"limit": 0.0}, {"limit": math.inf},
        {"confidence": 1.0}, {"confidence": 0.0}, {"declared": -1.0}, {"declared": math.nan},
        {"unexplained": -1}, {"limit": 1e-300}, {"chip_flops": 1e308, "days": 1e308},
    ],
)  # fmt: skip
def test_meaningless_arguments_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        plan_snapshots(4000, **(FLEET | {"limit": 1e24} | change))
    with pytest.raises(InputError):
        plan_snapshots(0, **FLEET, limit=1e24)


def test_a_share_read_is_enough_by_simulation() -> None:
    # The room's work packed onto the fewest chips for all 30 days; 40,000 histories: one standard error is 0.0011.
    plan = plan_snapshots(4000, **FLEET, limit=1e24, share_read=0.1)
    generator, used = np.random.default_rng(23), round(plan.share * 4000)
    left = generator.poisson(plan.rate * 30, size=(40_000, used)) > 0
    read = generator.random((40_000, used)) < 0.1
    assert float(np.mean((left & read).any(axis=1))) == pytest.approx(0.95, abs=0.005)
    # The plan for logs that are all read would not do.
    rare = generator.poisson(plan_snapshots(4000, **FLEET, limit=1e24).rate * 30, size=(40_000, used)) > 0
    assert float(np.mean((rare & read).any(axis=1))) < 0.4
    with pytest.raises(InputError, match="all explained"):
        plan_snapshots(4000, **FLEET, limit=1e24, share_read=0.1, unexplained=1)
