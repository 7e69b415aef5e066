"""Grinding, copied ids, and segments against a Prover that tries many seeds."""

import math
from fractions import Fraction

import numpy as np
import pytest

from weighbridge.errors import InputError
from weighbridge.planning.segments import (
    clone_detection,
    clone_share,
    grinding,
    plan_segments,
    seed_bits_lost,
    segments_needed,
    tolerable_chance,
)


def test_plan() -> None:
    plan = plan_segments(1_000, forged=10, confidence=0.95)
    assert (plan.drawn, plan.tries) == (258, 1)
    assert plan.detection == plan.detection_ground >= 0.95
    assert plan.cost == plan.joint == 0.258
    given = plan_segments(1_000, forged=10, drawn=259)
    assert given.detection == pytest.approx(0.95088, abs=5e-6)
    for wrong in ({}, {"confidence": 0.9, "drawn": 5}):
        with pytest.raises(InputError, match="exactly one"):
            plan_segments(1_000, forged=10, **wrong)  # type: ignore[arg-type]


def test_seeds_tried_cost_segments() -> None:
    alone = segments_needed(1_000, forged=10, confidence=0.95)
    ground = plan_segments(1_000, forged=10, confidence=0.95, tries=1_000)
    assert ground.drawn > 2 * alone
    assert ground.detection_ground >= 0.95
    fewer = plan_segments(1_000, forged=10, drawn=ground.drawn - 1, tries=1_000)
    assert fewer.detection_ground < 0.95


def test_tolerable_chance() -> None:
    for tries in (1, 1_000, 10**6):
        chance = tolerable_chance(0.05, tries=tries)
        assert chance == 0.05 / tries
        assert grinding(chance, tries=tries) <= 0.05
    assert seed_bits_lost(2**20) == 20
    assert seed_bits_lost(1) == 0


@pytest.mark.parametrize(("inspected", "detected"), [(0.01, 0.0952), (0.1, 0.99996), (1.0, 1.0)])
def test_clones(inspected: float, detected: float) -> None:
    found = clone_detection(1_000, inspected=inspected)
    assert found == pytest.approx(detected, abs=5e-5 if inspected < 0.1 else 5e-6)
    assert found == pytest.approx(-math.expm1(-1_000 * inspected**2), abs=2e-5)


@pytest.mark.parametrize(("copies", "pair"), [(2, 0.0100), (3, 0.0280), (5, 0.0815)])
def test_more_copies_show_sooner(copies: int, pair: float) -> None:
    assert clone_detection(1, inspected=0.1, copies=copies) == pytest.approx(pair, abs=5e-5)


@pytest.mark.parametrize("copies", [2, 3, 7])
@pytest.mark.parametrize("clones", [1, 1_000, 10**9])
def test_share_to_inspect_turns_detection_round(clones: int, copies: int) -> None:
    share = clone_share(clones, confidence=0.95, copies=copies)
    assert clone_detection(clones, inspected=share, copies=copies) >= 0.95
    assert clone_detection(clones, inspected=share * (1 - 1e-6), copies=copies) < 0.95
    if copies == 2:
        assert share == pytest.approx(math.sqrt(-math.expm1(math.log(0.05) / clones)), rel=1e-9)


@pytest.mark.parametrize("copies", [3, 5, 40])
@pytest.mark.parametrize("inspected", [1e-9, 1e-4, 0.1, 0.5, 0.999])
def test_pairs_in_small_shares_do_not_cancel(inspected: float, copies: int) -> None:
    q = Fraction(inspected)
    exact = 1 - (1 - q) ** copies - copies * q * (1 - q) ** (copies - 1)
    assert clone_detection(1, inspected=inspected, copies=copies) == pytest.approx(float(exact), rel=1e-9, abs=0)


def test_clones_by_simulation() -> None:
    # 20,000 inspections of 100 ids with two copies each: one standard error is 0.0034.
    generator = np.random.default_rng(9)
    inspected = generator.random((2, 20_000, 100)) < 0.1
    pairs = np.any(inspected[0] & inspected[1], axis=1)
    assert float(np.mean(pairs)) == pytest.approx(clone_detection(100, inspected=0.1), abs=0.015)


def test_meaningless_figures_are_refused() -> None:
    for call in (
        lambda: clone_detection(-1, inspected=0.1), lambda: clone_detection(1, inspected=1.1),
        lambda: clone_detection(1, inspected=0.1, copies=1), lambda: tolerable_chance(0.0, tries=1),
        lambda: seed_bits_lost(0), lambda: segments_needed(10, forged=1, confidence=0.9, tries=0),
    ):  # fmt: skip
        with pytest.raises(InputError):
            call()
