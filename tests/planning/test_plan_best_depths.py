"""Depths of looks: plans and bounds over all integer depths, against enumeration and by hand."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from weighbridge.planning.best import BestPlan, plan_best
from weighbridge.planning.best_depths import share_out
from weighbridge.planning.best_menu import Budget, Effort
from weighbridge.planning.fleet import Site

RUN = 2.592e23
"""A tenth of what 1,000 chips of 1e15 FLOP/s do in 30 days."""


def sites(count: int, *, chips: int = 1000) -> list[Site]:
    return [Site(name=str(i), chips=chips, chip_flops=1e15) for i in range(count)]


def best(fleet: list[Site], *, flop: float = RUN, effort: Effort | None = None, **limits: Any) -> BestPlan:
    return plan_best(fleet, flop=flop, days=30.0, budget=Budget(**limits), effort=effort)


def test_all_freezes_of_one_site_are_read() -> None:
    found = best(sites(1), visits=1.0, freezes=49.0)
    assert found.detection == pytest.approx(-math.expm1(-4.9), abs=1e-9)
    assert found.most == pytest.approx(found.detection, abs=1e-3)


@pytest.mark.parametrize("freezes", [3, 11, 12, 24, 29, 44])
def test_as_good_as_the_best_of_all_splits_of_freezes_and_at_least_uniform(freezes: int) -> None:
    """Three sites that each hold the run, 1.5 visits: chances that catch alike are best for any split."""
    found = best(sites(3), visits=1.5, freezes=float(freezes))
    detections = []
    for split in itertools.product(range(1, freezes + 1), repeat=3):
        if sum(split) <= freezes:
            met = [-math.expm1(-n / 10) for n in split]
            detections.append(min(1.5 / sum(1 / m for m in met), *met))
    uniform = 0.5 * -math.expm1(-(freezes // 3) / 10)
    assert found.uniform == pytest.approx(uniform, abs=1e-6)
    assert found.detection == pytest.approx(max(detections), abs=1e-6)
    assert max(detections) - 1e-9 <= found.most <= max(detections) + 2e-3


@pytest.mark.parametrize("seed", range(6))
def test_no_integer_depths_exceed_the_bound_where_a_run_is_spread(seed: int) -> None:
    """Two or three sites of different size, every split of the freezes, chances on a grid, every way at the corners."""
    random = np.random.default_rng(seed)
    count = 2 + seed % 2
    fleet = [Site(name=str(i), chips=int(n), chip_flops=1e15) for i, n in enumerate(random.integers(300, 3000, count))]
    capacity = np.array([site.capacity(30.0) for site in fleet])
    flop, freezes = float(random.uniform(0.3, 0.8) * capacity.sum()), int(random.integers(count, 9))
    visits = float(random.uniform(0.5, count - 0.3))
    found = best(fleet, flop=flop, visits=visits, freezes=float(freezes))
    grid = np.array([q for q in itertools.product(np.linspace(0, 1, 41), repeat=count) if sum(q) <= visits + 1e-9])
    ways = []
    for full in itertools.product((0, 1), repeat=count):
        rest = flop - float(np.dot(full, capacity))
        for partly in [i for i in range(count) if not full[i]]:
            if 0 <= rest <= capacity[partly]:
                ways += [(np.array(full) * capacity + rest * (np.arange(count) == partly)) / capacity]
    most = 0.0
    for split in itertools.product(range(freezes + 1), repeat=count):
        if sum(split) <= freezes:
            missed = [np.prod(1 - grid * -np.expm1(-np.array(split) * way), axis=1) for way in ways]
            most = max(most, float(np.min(1 - np.array(missed), axis=0).max()))
    assert found.most >= max(most, found.detection) - 1e-9
    assert found.detection >= most - 0.01
    assert found.detection >= max(found.uniform, found.by_capacity) - 1e-7


@pytest.mark.parametrize("seed", range(6))
def test_costly_draws_against_a_programme_over_all_integer_depths(seed: int) -> None:
    """Each site holds the run, so that detection is linear: one programme over depths 1 to 300 is the optimum."""
    random = np.random.default_rng(seed)
    fleet = [
        Site(name=str(i), chips=int(n), chip_flops=1e15, visit_days=float(d))
        for i, (n, d) in enumerate(zip(random.integers(500, 3000, 3), random.integers(1, 5, 3), strict=True))
    ]
    per_draw, days = float(random.uniform(0.02, 0.4)), float(random.uniform(2, 12))
    found = best(fleet, effort=Effort(days_per_draw=per_draw), inspector_days=days)
    depths = np.arange(1, 301)
    met = [-np.expm1(-depths * RUN / site.capacity(30.0)) for site in fleet]
    looks = len(depths)
    rows = np.zeros((7, 3 * looks + 1))
    for i, site in enumerate(fleet):
        cells = slice(i * looks, (i + 1) * looks)
        rows[i, cells], rows[i, -1] = -met[i], 1.0
        rows[3 + i, cells] = 1.0
        rows[6, cells] = site.visit_days + per_draw * depths
    goal = np.zeros(3 * looks + 1)
    goal[-1] = 1.0
    optimum = float(np.asarray(linprog(-goal, A_ub=rows, b_ub=[0, 0, 0, 1, 1, 1, days]).x)[-1])
    assert found.detection == pytest.approx(optimum, abs=1e-4)
    assert optimum - 1e-6 <= found.most <= optimum + 2e-3
    uniform = max(
        min(1.0, days / sum(s.visit_days + per_draw * n for s in fleet)) * min(float(m[n - 1]) for m in met)
        for n in range(1, 301)
    )
    assert found.uniform == pytest.approx(uniform, abs=1e-6)
    assert found.detection >= found.uniform - 1e-7


def test_fewer_freezes_than_sites_are_drawn_by_lot() -> None:
    found = best(sites(3), flop=1e24, visits=1.0, freezes=2.0)
    share = 1e24 / 2.592e24
    assert found.detection == pytest.approx(-math.expm1(-share * 2 / 3) / 3, abs=1e-6)
    assert found.most == pytest.approx(found.detection, abs=1e-3)
    assert sum(site.freezes for site in found.sites) == pytest.approx(2.0)
    # A freeze by lot meets at least what is promised: chance n of one record of share s, against 1 - e^(-n s).
    drawn = np.random.default_rng(3).random((200_000, 3))
    met = np.mean((drawn[:, 0] < 1 / 3) & (drawn[:, 1] < 2 / 3) & (drawn[:, 2] < share))
    assert met >= found.detection - 0.002


def test_freezes_are_left_away_where_a_run_must_be_spread() -> None:
    """Two of three sites are needed: deep looks at two for certain leave no room for both on the third."""
    found = best(sites(3), flop=4e24, visits=1.5, freezes=20.0)
    assert sum(site.freezes > 0 for site in found.sites) == 2
    assert found.detection > found.uniform + 0.005


@pytest.mark.parametrize("freezes", [11.0, 24.0, 29.0])
def test_the_price_of_freezes_is_what_one_more_brings(freezes: float) -> None:
    here, more = (best(sites(3), visits=1.5, freezes=f) for f in (freezes, freezes + 1))
    assert here.prices["freezes"] == pytest.approx(more.detection - here.detection, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_split_of_freezes_is_that_of_a_fine_grid(seed: int) -> None:
    random = np.random.default_rng(seed)
    share, weights = random.uniform(0.02, 1, 2), random.uniform(1, 5, 2)
    limit, freezes = float(random.uniform(0.3, 4)), float(random.uniform(2, 60))
    bound, given = share_out(share, weights=weights, draws=np.zeros(2), limit=limit, freezes=freezes)
    one = np.linspace(0, freezes, 20_001)[1:-1]
    met = -np.expm1(-share[:, None] * np.stack([one, freezes - one]))
    best_met = np.minimum(limit / np.sum(weights[:, None] / met, axis=0), met.min(axis=0))
    assert bound == pytest.approx(float(best_met.max()), abs=1e-5)
    assert given.sum() <= freezes * (1 + 1e-9)
