"""Imperfect tests: the exact sum against fractions, the usual approximation, and boundaries that are ties."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.imperfect import approximate_detection, compare_miss, imperfect_log_miss
from weighbridge.planning.items import detection, exact_sample, plan_items, repeat_draws


def exact_miss(population: int, defective: int, drawn: int, seen: Fraction) -> Fraction:
    ways = Fraction(0)
    for met in range(max(0, defective + drawn - population), min(defective, drawn) + 1):
        ways += math.comb(defective, met) * math.comb(population - defective, drawn - met) * (1 - seen) ** met
    return ways / math.comb(population, drawn)


@pytest.mark.parametrize(("seen", "detected"), [(1, 0.899356), (0.8, 0.840018), (0.5, 0.680657)])
def test_approximate_form(seen: float, detected: float) -> None:
    assert approximate_detection(10_000, defective=100, drawn=227, seen=seen) == pytest.approx(detected, abs=5e-7)
    assert detection(10_000, missing=100, drawn=227, seen=seen) >= detected - 5e-7


CASES = st.integers(1, 150).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(1, n), st.integers(0, n), st.fractions(
        Fraction(1, 100), Fraction(99, 100), max_denominator=100))
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(CASES)
def test_against_fractions(case: tuple[int, int, int, Fraction]) -> None:
    population, defective, drawn, seen = case
    exact = exact_miss(population, defective, drawn, seen)
    found = math.exp(imperfect_log_miss(population, defective=defective, drawn=drawn, seen=float(seen)))
    assert found == pytest.approx(float(exact), rel=1e-10)
    assert compare_miss(population, defective=defective, drawn=drawn, seen=seen, missed=exact) == 0
    for shift, sign in ((Fraction(999, 1000), 1), (Fraction(1001, 1000), -1)):
        assert compare_miss(population, defective=defective, drawn=drawn, seen=seen, missed=exact * shift) == sign
    # The approximation never promises more than the truth.
    assert approximate_detection(population, defective=defective, drawn=drawn, seen=float(seen)) <= 1 - found + 1e-9


@settings(max_examples=100, deadline=None)
@given(CASES, st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=100))
def test_smallest_sample(case: tuple[int, int, int, Fraction], confidence: Fraction) -> None:
    population, defective, _, seen = case
    if 1 - (1 - seen) ** defective < confidence:
        with pytest.raises(InputError, match="testing every item"):
            exact_sample(population, missing=defective, confidence=confidence, seen=seen)
        return
    plan = plan_items(population, missing=defective, confidence=confidence, seen=seen)
    assert 1 - exact_miss(population, defective, plan.sample, seen) >= confidence
    assert 1 - exact_miss(population, defective, plan.sample - 1, seen) < confidence
    assert plan.sample <= plan.iaea <= population
    assert plan.jaech is None


def test_ties_are_decided_exactly() -> None:
    # One defective item, seen half the time: half the share drawn, so nine tenths of the frame give 0.45.
    assert exact_sample(10_000_000, missing=1, confidence=0.45, seen=0.5) == 9_000_000
    assert exact_sample(10, missing=1, confidence=0.25, seen=0.5) == 5


def test_a_perfect_test_is_the_plain_form() -> None:
    assert plan_items(10**6, missing=1000, confidence=0.99, seen=1).sample == 4593
    assert plan_items(10**6, missing=1000, confidence=0.99, seen=1 - 1e-12).sample in (4593, 4594)


def test_by_simulation() -> None:
    # 200,000 inspections: one standard error of the detected share is at most 0.0011.
    generator = np.random.default_rng(20261122)
    met = generator.hypergeometric(100, 9_900, 227, size=200_000)
    detected = float(np.mean(generator.binomial(met, 0.5) > 0))
    assert detected == pytest.approx(detection(10_000, missing=100, drawn=227, seen=0.5), abs=0.005)


@pytest.mark.parametrize(
    ("defective", "drawn", "seen"),
    [(11, 1, 0.5), (1, 11, 0.5), (-1, 1, 0.5), (1, 1, 0.0), (1, 1, 1.0), (1, 1, math.nan)],
)  # fmt: skip
def test_meaningless_questions_are_refused(defective: int, drawn: int, seen: float) -> None:
    with pytest.raises(InputError):
        imperfect_log_miss(10, defective=defective, drawn=drawn, seen=seen)


def test_a_meaningless_test_is_refused() -> None:
    for seen in (0.0, 1.5, -0.1, math.nan):
        with pytest.raises(InputError, match="seen"):
            plan_items(10, missing=1, confidence=0.5, seen=seen)
    with pytest.raises(InputError, match="seen"):
        approximate_detection(10, defective=1, drawn=1, seen=0.0)
    with pytest.raises(InputError, match="draws"):
        repeat_draws(10, missing=1, drawn=1, draws=0)
