"""The bound that no plan exceeds, and the plans met on the way to it, against enumeration of plans and ways."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from weighbridge.planning.best import BestPlan, plan_best
from weighbridge.planning.best_bound import CLOSE
from weighbridge.planning.best_menu import Budget, Effort
from weighbridge.planning.fleet import Site

DAY = 86_400.0


def best(work: Any, *, flop: float, periods: int = 1, days: Any = None, **limits: Any) -> BestPlan:
    """The best plan for sites that do so much in a day; looks are sure where draws cost nothing."""
    visit_days = np.ones(len(work)) if days is None else days
    sites = [
        Site(name=str(i), chips=10, chip_flops=w / 10 / DAY, visit_days=float(d))
        for i, (w, d) in enumerate(zip(np.array(work) * 1e20, visit_days, strict=True))
    ]
    effort = Effort(replay_per_audit=1.0) if "replay_chip_hours" in limits else Effort()
    return plan_best(sites, flop=flop * 1e20, days=1.0, budget=Budget(**limits), effort=effort, periods=periods)


def enumerated(work: Any, *, flop: float, periods: int, days: Any, visits: float, inspector_days: float) -> float:
    """The best of all plans on a grid against every set of sites and periods that holds the run, with sure looks."""
    grid = np.array(list(itertools.product(np.linspace(0, 1, 21), repeat=len(work))))
    grid = grid[(grid.sum(axis=1) <= visits + 1e-9) & (grid @ days <= inspector_days + 1e-9)]
    losses = -np.log1p(-np.minimum(grid, 1 - 1e-12))
    least = np.full(len(grid), np.inf)
    for times in itertools.product(range(periods + 1), repeat=len(work)):
        if np.dot(times, work) >= flop - 1e-9:
            least = np.minimum(least, losses @ np.array(times))
    return -math.expm1(-float(least.max()))


@pytest.mark.parametrize("seed", range(16))
def test_no_enumerated_plan_exceeds_the_bound_nor_beats_the_plan(seed: int) -> None:
    random = np.random.default_rng(seed)
    sites, periods = int(random.integers(3, 5)), 1 + seed % 2
    work = np.round(random.choice([1, 2, 3, 4, 5, 6], sites) + random.choice([0, 0.2, 0.4], sites), 3)
    flop = float(random.uniform(0.3, 0.95) * work.sum() * periods)
    days = random.integers(1, 5, sites).astype(float)
    limits: dict[str, Any] = {
        "visits": random.uniform(0.3, sites * 0.8),
        "inspector_days": random.uniform(0.2, 0.8) * days.sum(),
    }
    found = best(work, flop=flop, periods=periods, days=days, **limits)
    expected = enumerated(work, flop=flop, periods=periods, days=days, **limits)
    assert found.detection_bound == pytest.approx(found.detection, abs=1e-6)
    assert found.most >= max(expected - 1e-6, found.detection)
    assert found.detection >= expected - 3e-3  # the deepest look of the menu may miss a small remainder


def test_blocking_two_of_three_sites_beats_equal_chances() -> None:
    """Two of three sites are needed: 1.9 visits as (0.95, 0.95, 0) catch 0.95, as equal chances 1 - (1.1/3)^2."""
    found = best([2.0, 2.0, 2.0], flop=4.0, visits=1.9)
    assert found.detection == pytest.approx(0.95, abs=1e-3)
    assert found.uniform == pytest.approx(1 - (1.1 / 3) ** 2, abs=1e-3)
    assert found.detection <= found.most <= 0.95 + 2 * CLOSE


def test_what_a_climb_from_equal_chances_does_not_see() -> None:
    """Without sites 2 and 3 the others cannot hold the run; 2.027 visits bar it for certain."""
    found = best([2.0, 3.0, 3.0, 4.0], flop=5.797, visits=2.027, inspector_days=9.6, days=[3, 3, 4, 4])
    assert found.detection > 0.999


def test_periods_are_met_one_by_one() -> None:
    """Both periods of both sites are needed: chances q and 1 - q twice each."""
    found = best([1.0, 1.0], flop=4.0, periods=2, visits=0.8)
    # One site for certain would take one visit: 0.8 on one site catch 1 - 0.2^2; split, 1 - 0.6^4 = 0.8704.
    assert found.detection == pytest.approx(0.96, abs=1e-3)
    assert found.most <= 0.96 + 2 * CLOSE


@pytest.mark.parametrize("seed", range(6))
def test_random_plans_stay_below_the_bound_where_looks_are_mixed(seed: int) -> None:
    from weighbridge.planning.best_game import Game
    from weighbridge.planning.best_menu import build_menu

    random = np.random.default_rng(seed)
    work = random.uniform(1, 6, 3)
    flop = float(random.uniform(0.2, 0.8) * work.sum())
    limits: dict[str, Any] = {"visits": 1.5, "replay_chip_hours": 20.0}
    found = best(work, flop=flop, **limits)
    fleet = [Site(name=str(i), chips=10, chip_flops=w * 1e20 / 10 / DAY) for i, w in enumerate(work)]
    menu = build_menu(
        fleet,
        days=1.0,
        flop=flop * 1e20,
        effort=Effort(replay_per_audit=1.0),
        depths=np.unique(random.integers(1, 200, 16)).astype(float),
        limits=limits,
    )
    game = Game(menu=menu, capacity=work * 1e20, flop=flop * 1e20, periods=1, limits=limits)
    for _ in range(300):
        chances = random.dirichlet(np.full(menu.worth.size, 0.1)).reshape(menu.worth.shape) * menu.worth
        used = max(float((menu.costs[name] * chances).sum()) / limit for name, limit in limits.items())
        chances = chances / max(used, float(chances.sum(axis=1).max()), 1e-9)
        assert -math.expm1(-game.loss(chances)) <= found.most + 1e-9


def test_a_price_is_for_more_where_less_costs_more() -> None:
    """Three equal sites, two needed, two visits: certain. More brings nothing; less would lose 1/2 a visit."""
    found = best([2.0, 2.0, 2.0], flop=4.0, visits=2.0)
    assert found.detection > 0.999
    assert found.prices["visits"] == pytest.approx(0.0, abs=1e-3)
    less = best([2.0, 2.0, 2.0], flop=4.0, visits=1.98)
    assert (found.detection - less.detection) / 0.02 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_prices_lie_between_what_more_brings_and_what_less_loses(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    work, days = random.uniform(1, 6, 3), random.integers(1, 4, 3)
    flop = float(random.uniform(0.2, 0.7) * work.sum())
    limits: dict[str, Any] = {"visits": 1.0 + 0.2 * seed, "inspector_days": 0.4 * float(days.sum())}
    found = best(work, flop=flop, days=days, **limits)
    for name, limit in limits.items():
        step = limit / 100
        more, less = (best(work, flop=flop, days=days, **limits | {name: limit + s}) for s in (step, -step))
        brings, loses = (more.detection - found.detection) / step, (found.detection - less.detection) / step
        slack = 0.03 * max(brings, loses) + 2e-3
        assert min(brings, loses) - slack <= found.prices[name] <= max(brings, loses) + slack
