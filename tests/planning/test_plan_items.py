import csv
import math
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.items import exact_sample, plan_items, repeat_draws
from weighbridge.planning.segments import grinding, segment_detection, segments_needed
from weighbridge.statistics import hypergeometric_log_miss, hypergeometric_miss

VECTORS = Path(__file__).parent.parent / "data" / "sample_size_vectors.csv"


def vectors() -> list[dict[str, str]]:
    with VECTORS.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_vector() -> None:
    rows = vectors()
    assert len(rows) == 330
    for row in rows:
        plan = plan_items(int(row["N"]), missing=int(row["D"]), confidence=float(row["detection_probability"]))
        assert plan.sample == int(row["n_exact"]), row
        assert plan.iaea == int(row["n_iaea"]), row
        assert plan.jaech == int(row["n_jaech"]), row
        assert plan.with_replacement == int(row["n_binomial_with_replacement"]), row
        assert plan.rule_of_thumb == int(row["n_rule_of_thumb"]), row
        assert plan.detection == pytest.approx(float(row["p_detect_at_n"]), abs=1e-6), row
        assert plan.sample <= plan.iaea <= plan.sample + 3, row
        assert plan.jaech is not None
        assert plan.sample <= plan.jaech <= plan.sample + 1, row
    worst = plan_items(10**7, missing=10**4, confidence=0.99)
    assert worst.iaea == worst.sample + 3


def test_the_hard_boundary() -> None:
    assert exact_sample(10_000_000, missing=2, confidence=0.9) == 6_837_722


@pytest.mark.parametrize(
    ("population", "missing", "confidence", "sample", "iaea", "jaech", "replaced", "rule"),
    [
        (100, 5, 0.9, 37, 37, 37, 45, 47), (1000, 8, 0.95, 312, 313, 312, 373, 375),
        (10_000, 100, 0.9, 227, 228, 227, 230, 231), (100_000, 100, 0.95, 2950, 2952, 2950, 2995, 2996),
        (1_000_000, 1000, 0.99, 4593, 4595, 4593, 4603, 4606),
        (3_000_000, 16, 0.9, 402_107, 402_108, 402_107, None, None),
        (3_000_000, 100, 0.95, 88_538, 88_540, 88_538, None, None),
        (3_000_000, 1000, 0.9, 6899, 6900, 6899, None, None),
        (3_000_000, 10_000, 0.99, 1379, 1382, 1379, None, None),
    ],
)  # fmt: skip
def test_detection_table(
    population: int, missing: int, confidence: float, sample: int, iaea: int, jaech: int,
    replaced: int | None, rule: int | None,
) -> None:  # fmt: skip
    plan = plan_items(population, missing=missing, confidence=confidence)
    assert (plan.sample, plan.iaea, plan.jaech) == (sample, iaea, jaech)
    if replaced is not None:
        assert (plan.with_replacement, plan.rule_of_thumb) == (replaced, rule)


def test_boundary_pair() -> None:
    assert 1 - hypergeometric_miss(3_000_000, 1000, 6899) == pytest.approx(0.9000114, abs=5e-8)
    assert 1 - hypergeometric_miss(3_000_000, 1000, 6898) == pytest.approx(0.8999780, abs=5e-8)


@pytest.mark.parametrize(
    ("missing", "drawn", "monthly", "months", "yearly"),
    [
        (1000, 575, 0.17446, 5.73, 0.8998), (1000, 200, 0.06451, 15.5, 0.5507), (10_000, 100, 0.28387, 3.52, 0.9818),
        (10_000, 20, 0.06460, 15.5, 0.5513), (100, 5757, 0.17477, 5.72, 0.9002),
    ],
)  # fmt: skip
def test_monthly_draws(missing: int, drawn: int, monthly: float, months: float, yearly: float) -> None:
    found = repeat_draws(3_000_000, missing=missing, drawn=drawn)
    assert found.draws == 12
    assert found.detection == pytest.approx(monthly, abs=5e-6)
    assert found.expected_draws == pytest.approx(months, abs=0.05 if months > 10 else 0.005)
    assert found.detection_over_draws == pytest.approx(yearly, abs=5e-5)


def test_draws_that_find_nothing_and_all() -> None:
    assert repeat_draws(10, missing=0, drawn=5).expected_draws is None
    assert repeat_draws(10, missing=6, drawn=5, draws=3).detection_over_draws == 1


def test_every_answer_takes_milliseconds() -> None:
    plan_items(100, missing=5, confidence=0.9)  # imports
    for population, missing in ((10**7, 1), (10**7, 2), (10**7, 3_700), (10**7, 10**6), (10**7, 10**7)):
        # The least of three: the machine is shared.
        taken = []
        for seen in (1, 0.5, 0.01):
            if missing * seen < 10 and seen < 1:
                continue  # no sample is enough
            for _ in range(3):
                started = time.perf_counter()
                plan_items(population, missing=missing, confidence=0.99, seen=seen)
                taken.append(time.perf_counter() - started)
            assert min(taken[-3:]) < 0.05


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_exact_against_brute_force(data: st.DataObject) -> None:
    population = data.draw(st.integers(1, 400))
    missing = data.draw(st.integers(1, population))
    confidence = data.draw(st.fractions(Fraction(1, 1000), Fraction(999, 1000), max_denominator=1000))
    found = exact_sample(population, missing=missing, confidence=confidence)

    def caught(drawn: int) -> Fraction:
        return 1 - Fraction(math.comb(population - missing, drawn), math.comb(population, drawn))

    assert caught(found) >= confidence
    assert caught(found - 1) < confidence


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 10**6), st.floats(0.001, 0.999999))
def test_exact_is_the_boundary_at_scale(population: int, missing: int, confidence: float) -> None:
    missing = min(missing, population)
    found = exact_sample(population, missing=missing, confidence=confidence)
    assert 1 <= found <= population - missing + 1
    assert hypergeometric_miss(population, missing, found) <= (1 - confidence) * (1 + 1e-9)
    assert hypergeometric_miss(population, missing, found - 1) >= (1 - confidence) * (1 - 1e-9)


def test_ties_are_decided_exactly() -> None:
    # 1 - 20/100 is exactly 0.8: a double's 1 - 0.8 = 0.19999999999999996 would ask for one more.
    assert exact_sample(100, missing=1, confidence=0.8) == 80
    assert exact_sample(10_000_000, missing=1, confidence=0.9) == 9_000_000
    assert exact_sample(3, missing=3, confidence=0.999) == 1


@pytest.mark.parametrize(
    ("population", "missing", "confidence"),
    [
        (0, 1, 0.9), (10, 0, 0.9), (10, 11, 0.9), (10, 1, 0.0), (10, 1, 1.0), (10, 1, math.nan), (-1, 1, 0.9),
        (10**13, 1, 0.9), (True, 1, 0.9), (10, 1.0, 0.9),
    ],
)  # fmt: skip
def test_meaningless_questions_are_refused(population: int, missing: int, confidence: float) -> None:
    with pytest.raises(InputError):
        plan_items(population, missing=missing, confidence=confidence)


@pytest.mark.parametrize(
    ("segments", "forged", "drawn", "detected"),
    [
        (100, 1, 5, 0.05), (100, 2, 5, 0.09798), (100, 5, 5, 0.23041), (1000, 10, 100, 0.65307),
        (1000, 10, 259, 0.95088), (1000, 50, 58, 0.95337),
    ],
)  # fmt: skip
def test_segments(segments: int, forged: int, drawn: int, detected: float) -> None:
    assert segment_detection(segments, forged=forged, drawn=drawn) == pytest.approx(detected, abs=5e-6)


@pytest.mark.parametrize(("share", "at_95", "at_99"), [(0.01, 299, 459), (0.05, 59, 90), (0.1, 29, 44)])
def test_segments_of_a_long_run(share: float, at_95: int, at_99: int) -> None:
    many = 10**9
    assert segments_needed(many, forged=round(share * many), confidence=0.95) == at_95
    assert segments_needed(many, forged=round(share * many), confidence=0.99) == at_99


def test_segments_that_do_not_fit_are_refused() -> None:
    for forged, drawn in ((11, 1), (1, 11), (-1, 1)):
        with pytest.raises(InputError):
            segment_detection(10, forged=forged, drawn=drawn)


def test_grinding() -> None:
    assert grinding(1e-6, tries=1000) == pytest.approx(9.995e-4, rel=1e-4)
    assert grinding(1e-6, tries=10**6) == pytest.approx(0.63212, abs=5e-6)
    assert (grinding(0.3, tries=0), grinding(1.0, tries=0), grinding(1.0, tries=1)) == (0.0, 0.0, 1.0)
    with pytest.raises(InputError):
        grinding(1.1, tries=1)


def test_a_first_answer_needs_no_heavy_import() -> None:
    program = (
        "import sys; from weighbridge.planning.items import plan_items; "
        "print(plan_items(10**7, missing=1000, confidence=0.9).sample, 'numpy' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(plan_items(10**7, missing=1000, confidence=0.9).sample), "False"]


@pytest.mark.parametrize("terms", [1_999, 2_000, 2_001, 2_500])
def test_few_and_many_terms_add_up_to_the_same(terms: int) -> None:
    by_hand = math.fsum(math.log((9_000 - 5_000 - i) / (9_000 - i)) for i in range(terms))
    assert hypergeometric_log_miss(9_000, 5_000, terms) == pytest.approx(by_hand, rel=1e-13)
