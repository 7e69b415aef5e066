"""Two-stage plans: the table, the frame of known clusters, and a simulation of the draw."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site
from weighbridge.planning.items import detection
from weighbridge.planning.sites import frame_counts, inclusion, plan_sites, two_stage_detection
from weighbridge.planning.timeliness import H100E_FLOPS


@pytest.mark.parametrize(
    ("sites", "visited", "size", "missing", "drawn", "within", "detected"),
    [
        (163, 163, 20_000, 1_000, 100, 0.99416, 0.99416), (163, 40, 20_000, 1_000, 100, 0.99416, 0.24396),
        (560, 40, 2_000, 163, 60, 0.99438, 0.07103), (560, 140, 2_000, 163, 60, 0.99438, 0.24859),
    ],
)  # fmt: skip
def test_two_stages(
    sites: int, visited: int, size: int, missing: int, drawn: int, within: float, detected: float
) -> None:
    assert detection(size, missing=missing, drawn=drawn) == pytest.approx(within, abs=5e-6)
    found = two_stage_detection(sites, visited=visited, site_size=size, missing=missing, drawn=drawn)
    assert found == pytest.approx(detected, abs=5e-6)


def fleet(*sizes: float) -> list[Site]:
    return [
        Site(name=f"site {i}", chips=math.ceil(size), chip_flops=size * H100E_FLOPS / math.ceil(size))
        for i, size in enumerate(sizes)
    ]


def test_census_above_and_draw_below() -> None:
    plan = plan_sites(fleet(5_000, 2_000, 1_000, 600, 300, 100), census_above=1_000, visits=4, missing=100, within=0.9)
    assert [visit.visited for visit in plan.visits] == pytest.approx([1, 1, 1.0, 0.6, 0.3, 0.1])
    assert (plan.census, plan.drawn_sites, plan.too_small) == (2, 2, 0)
    assert plan.census_share == pytest.approx(7 / 9)
    assert plan.worst_site == "site 5"
    assert plan.worst == pytest.approx(0.1)
    assert plan.visits[-1].drawn == 1  # the whole site is the diversion
    assert plan.by_site < plan.by_size
    for visit in plan.visits:
        assert visit.within >= 0.9


def test_sites_that_cannot_hold_the_diversion_are_named_not_counted() -> None:
    plan = plan_sites(fleet(1_000, 50), census_above=500, visits=1, missing=100, within=0.9)
    assert plan.too_small == 1
    assert plan.visits[1].detection is None
    assert plan.worst == plan.by_size == plan.visits[0].detection
    assert plan.visits[1].drawn == 1  # shows a site that is diverted whole


def test_a_diversion_in_parts() -> None:
    # Twenty sites of a hundred chips, all visited: parts of one chip each are what a few drawn chips miss.
    plan = plan_sites(fleet(*[100.0] * 20), census_above=50, visits=20, missing=16, within=0.9)
    drawn = plan.visits[0].drawn
    assert plan.worst >= 0.9
    by_hand = {parts: 1 - (1 - detection(100, missing=16 // parts, drawn=drawn)) ** parts for parts in (1, 2, 4, 8, 16)}
    assert plan.split == pytest.approx(min(by_hand.values()))
    assert plan.split_sites == min(by_hand, key=lambda parts: by_hand[parts])
    # Small sites that nobody visits hide everything that fits into them.
    hidden = plan_sites(fleet(1_000, 60, 60), census_above=500, visits=1, missing=100, within=0.9)
    assert (hidden.split, hidden.split_sites) == (0, 2)
    assert hidden.worst > 0.9


def test_parts_by_simulation() -> None:
    # 20,000 diversions in four parts, visits of a fixed number of sites: at least what is promised.
    plan = plan_sites(fleet(*[100.0] * 8), census_above=1e9, visits=2, missing=40, within=0.9)
    generator = np.random.default_rng(13)
    drawn = plan.visits[0].drawn
    visited = np.argsort(generator.random((20_000, 8)), axis=1)[:, :2]
    met = generator.hypergeometric(10, 90, drawn, size=(20_000, 2))
    caught = float(np.mean(np.any((visited < 4) & (met > 0), axis=1)))
    promised = 1 - (1 - 0.25 * detection(100, missing=10, drawn=drawn)) ** 4
    assert caught >= promised - 0.0145


@given(st.lists(st.floats(0.1, 1e5), min_size=1, max_size=40), st.data())
def test_chances_add_up_to_the_visits(sizes: list[float], data: st.DataObject) -> None:
    visits = data.draw(st.integers(0, len(sizes)))
    chances = inclusion(sizes, visits=visits)
    assert sum(chances) == pytest.approx(visits)
    assert all(0 <= chance <= 1 + 1e-12 for chance in chances)
    for i, one in enumerate(sizes):
        for j, other in enumerate(sizes):
            assert one < other or chances[i] >= chances[j] - 1e-12


def test_by_simulation() -> None:
    # A systematic draw with these chances, then chips within: 20,000 periods, one standard error at most 0.0036.
    sizes = [900.0, 600.0, 400.0, 300.0, 200.0, 100.0]
    plan = plan_sites(fleet(*sizes), census_above=1e9, visits=2, missing=50, within=0.9)
    generator = np.random.default_rng(11)
    chances = np.array([visit.visited for visit in plan.visits])
    hits = np.zeros(len(sizes))
    periods = 20_000
    for _ in range(periods):
        order = generator.permutation(len(sizes))
        ends = np.cumsum(chances[order])
        starts = ends - chances[order]
        first = generator.random()
        taken = np.floor(ends - first) > np.floor(starts - first)
        hits[order[taken]] += 1
    assert hits / periods == pytest.approx(chances, abs=0.018)
    site = plan.visits[2]
    found = generator.hypergeometric(50, int(site.h100e) - 50, site.drawn, size=periods)
    caught = (generator.random(periods) < site.visited) & (found > 0)
    assert float(np.mean(caught)) == pytest.approx(site.detection, abs=0.018)


def test_frame_counts() -> None:
    (first, second) = frame_counts(fleet(10, 20, 70), above=(10, 50))
    assert (first[:2], second[:2]) == ((10, 2), (50, 1))
    assert [first[2], second[2]] == pytest.approx([0.9, 0.7])


def test_meaningless_plans_are_refused() -> None:
    for sites, visits, missing, words in (
        ([], 1, 1, "no sites"), (fleet(100, 100), 1, 1, "too few"), (fleet(100), 1, 1_000, "no site has"),
        (fleet(100), 1, 0, "missing"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            plan_sites(sites, census_above=50, visits=visits, missing=missing, within=0.9)
    with pytest.raises(InputError, match="visits"):
        two_stage_detection(5, visited=6, site_size=10, missing=1, drawn=1)
    with pytest.raises(InputError, match="'x': chip_flops"):
        plan_sites([Site(name="x", chip_flops=0.0, chips=1)], census_above=50, visits=1, missing=1, within=0.9)
    with pytest.raises(InputError, match="too many"):
        inclusion([1.0], visits=2)
