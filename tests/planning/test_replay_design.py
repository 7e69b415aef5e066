"""Designs of replays: chances against independent counts, and against what no design can exceed."""

import itertools
import math
import random

import pytest

from weighbridge.errors import InputError
from weighbridge.planning.replay_design import design_replays, first_fit


def test_stretches_alike_are_a_simple_sample() -> None:
    design = design_replays([10] * 20, capacity=57)
    assert (design.drawn, design.inclusion, design.bound) == (5, 0.25, 57 / 200)
    # Independently: all samples of five that miss three given stretches, over all samples of five.
    missed = sum(1 for sample in itertools.combinations(range(20), 5) if not {0, 1, 2} & set(sample))
    assert design.detection(3) == pytest.approx(1 - missed / math.comb(20, 5))
    assert design.detection(0) == 0 and design.detection(16) == 1
    assert design.form == "5 of 20 without replacement"


def test_unequal_stretches_are_packed_to_the_best_chance_that_there_is() -> None:
    # A draw holds the long one or all ten short ones, never both: no design gives every one more than a half.
    design = design_replays([100] + [10] * 10, capacity=100)
    assert design.drawn is None and design.inclusion == 0.5 == design.bound
    # Six of 60 and one to fill each: what first-fit alone wastes, copies win back.
    assert design_replays([60] * 3 + [40] * 3, capacity=100).inclusion == pytest.approx(1 / 3)
    thirds = design_replays([50, 50, 50, 49], capacity=100)
    assert thirds.inclusion == pytest.approx(0.5)


def test_no_design_beats_the_bound_and_packing_is_near_it() -> None:
    lots = random.Random(5)
    for _ in range(60):
        costs = [1 + int(lots.expovariate(1 / 40)) for _ in range(lots.randint(2, 80))]
        capacity = max(costs) + int(lots.random() * sum(costs))
        design = design_replays(costs, capacity=capacity)
        assert 0 < design.inclusion <= design.bound + 1e-12
        if capacity >= 2 * max(costs):  # first-fit leaves no two budgets less than half full
            assert design.inclusion > design.bound / 2
        if design.drawn is not None:
            assert sum(sorted(costs, reverse=True)[: design.drawn]) <= capacity


def test_packing_holds_every_copy_once_within_the_capacity() -> None:
    lots = random.Random(6)
    for copies, most in itertools.product((1, 3, 7), (None, 4)):
        costs = [lots.randint(1, 50) for _ in range(60)]
        packed = first_fit(costs, range(60), capacity=120, most=most, copies=copies)
        assert all(sum(costs[i] for i in budget) <= 120 and len(set(budget)) == len(budget) for budget in packed)
        assert most is None or max(map(len, packed)) <= most
        counts = [sum(i in budget for budget in packed) for i in range(60)]
        assert counts == [copies] * 60
        assert first_fit(costs, range(60), capacity=120, most=most, copies=copies, budgets=len(packed) - 1) == []


def test_the_least_chance_of_several_holds_for_every_choice_of_theirs() -> None:
    """By brute force: for every set of forged stretches and every packing, at least the stated share of budgets."""
    lots = random.Random(7)
    for _ in range(30):
        costs = [lots.randint(1, 30) for _ in range(8)]
        design = design_replays(costs, capacity=max(40, *costs))
        if design.drawn is not None:
            continue
        order = sorted(range(8), key=lambda i: -costs[i])
        packed = first_fit(costs, order, capacity=design.capacity, copies=design.copies)
        for size in range(1, 9):
            for forged in itertools.combinations(range(8), size):
                met = sum(bool(set(forged) & set(budget)) for budget in packed) / design.budgets
                assert met >= design.detection(size) - 1e-12
                steps = sum(costs[i] for i in forged)
                assert met >= design.detection_of_steps(steps) - 1e-12


def test_a_share_of_steps_sits_in_the_fewest_stretches_that_hold_it() -> None:
    design = design_replays([10] * 20, capacity=50)
    assert design.detection_of_steps(21) == design.detection(3)
    assert design.detection_of_steps(0) == 0
    started = design_replays([15] * 20, capacity=75)  # five of fifteen are the start
    assert started.detection_of_steps(21, overheads=[5] * 20) == started.detection(3)


def test_limits_of_number_and_none() -> None:
    assert design_replays([3, 5, 9], most=2).inclusion == pytest.approx(2 / 3)
    assert design_replays([3, 5, 9]).inclusion == 1
    assert design_replays([3, 5, 9], capacity=17).inclusion == 1
    assert design_replays([3, 5, 9], capacity=9, most=0).inclusion == 0
    assert design_replays([]).inclusion == 0
    with pytest.raises(InputError, match="costs nothing, or more"):
        design_replays([3, 5], capacity=4)
    with pytest.raises(InputError, match="cannot be forged"):
        design_replays([3, 5]).detection(3)
