"""Where doubles end: tiny and huge figures against whole numbers, fractions and sixty digits."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.balance import detectable, measured_balance
from weighbridge.planning.chip_run import log_missed
from weighbridge.planning.chips import plan_chips
from weighbridge.planning.cusum import alarm_level
from weighbridge.planning.interviews import refusal_chance
from weighbridge.planning.items import exact_sample
from weighbridge.planning.segments import clone_detection, segments_needed
from weighbridge.planning.sequential import fixed_plan, group_sequential
from weighbridge.planning.snapshots import plan_snapshots

NEAR_ONE = [Fraction(1) - Fraction(1, 10**power) for power in (1, 6, 12, 22, 40)]
NEAR_ZERO = [Fraction(1, 10**power) for power in (1, 6, 12, 22, 40)]


def exact_log(value: Fraction) -> Decimal:
    with localcontext() as context:
        context.prec = 100
        return (Decimal(value.numerator) / Decimal(value.denominator)).ln()


@pytest.mark.parametrize("confidence", NEAR_ONE + NEAR_ZERO)
def test_logarithm_of_a_miss(confidence: Fraction) -> None:
    assert log_missed(confidence) == pytest.approx(float(exact_log(1 - confidence)), rel=1e-14, abs=0)


@settings(deadline=None)
@given(
    st.sampled_from([10**7, 10**9, 10**12 - 1]),
    st.sampled_from([Fraction(1, 10), Fraction(1, 2), Fraction(1, 3), *NEAR_ZERO, *NEAR_ONE]),
)
def test_two_missing_items_by_whole_numbers(population: int, confidence: Fraction) -> None:
    # (N - n)(N - n - 1) <= beta N (N - 1): a quadratic in whole numbers.
    beta = 1 - confidence

    def enough(drawn: int) -> bool:
        return (population - drawn) * (population - drawn - 1) <= beta * population * (population - 1)

    found = exact_sample(population, missing=2, confidence=confidence)
    assert enough(found) and not enough(found - 1)
    one = exact_sample(population, missing=1, confidence=confidence)
    assert one == math.ceil(confidence * population)


@pytest.mark.parametrize("confidence", NEAR_ONE[:4] + NEAR_ZERO[:4])
@pytest.mark.parametrize(("rate", "chips", "flop"), [(1e-12, 10**5, 5.76e23), (0.1, 10**12, 1e15), (30.0, 10**5, 5e23)])
def test_chips_in_sixty_digits(confidence: Fraction, rate: float, chips: int, flop: float) -> None:
    plan = plan_chips(chips, flop=flop, chip_flops=1e15, days=30, period=30, rate=rate, confidence=confidence)
    with localcontext() as context:
        context.prec = 60
        share = Decimal(repr(flop)) / (Decimal(10) ** 15 * 86_400 * 30 * chips)
        seen = 1 - (-Decimal(repr(rate)) * 30).exp()
        wanted = exact_log(1 - confidence) / (1 - share * seen).ln()
    assert plan.samples_per_period == pytest.approx(float(wanted), rel=1e-11, abs=0)


@pytest.mark.parametrize("tries", [1, 10**3, 10**9])
@pytest.mark.parametrize("confidence", [Fraction(1, 2), *NEAR_ONE[:3]])
def test_segments_against_many_tries(tries: int, confidence: Fraction) -> None:
    found = segments_needed(10**6, forged=1_000, confidence=confidence, tries=tries)

    def escapes(drawn: int) -> Decimal:
        with localcontext() as context:
            context.prec = 60
            miss = Decimal(math.perm(10**6 - drawn, 1_000)) / Decimal(math.perm(10**6, 1_000))
            return 1 - (1 - miss) ** tries

    beta = Decimal((1 - confidence).numerator) / Decimal((1 - confidence).denominator)
    assert escapes(found) <= beta * (1 + Decimal("1e-9"))
    assert escapes(found - 1) > beta * (1 - Decimal("1e-9"))


@pytest.mark.parametrize("chance", [1e-12, 1e-22, 1e-40])
def test_tails_of_the_normal_distribution(chance: float) -> None:
    limit = measured_balance(1.0, declared=1.0, sigma=1.0, alpha=Fraction(repr(chance))).alarm_at
    assert math.erfc(limit / math.sqrt(2)) / 2 == pytest.approx(chance, rel=1e-9, abs=0)
    sure = 1 - Fraction(repr(chance))
    assert detectable(1.0, alpha=Fraction(repr(chance)), power=sure) == pytest.approx(2 * limit)


def test_rate_that_brings_enough_with_next_to_certainty() -> None:
    for confidence in NEAR_ONE:
        plan = plan_snapshots(10, chip_flops=1e15, days=30, limit=1e22, confidence=confidence)
        mean, alpha = plan.rate_sure * 300, float(1 - confidence)
        too_few = math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(plan.snapshots))
        assert too_few == pytest.approx(alpha, rel=1e-8, abs=0)


@pytest.mark.parametrize("alpha", [1e-6, 1e-18, 1e-30])
def test_fixed_plan_keeps_the_rarest_false_alarm(alpha: float) -> None:
    plan = fixed_plan(0.01, hidden=0.3, alpha=Fraction(repr(alpha)), beta=0.05)
    (look,) = plan.looks
    assert look.accept is not None

    def above(count: int) -> Fraction:
        p = Fraction(1, 100)
        n = look.draws
        return sum((math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count + 1, n + 1)), Fraction(0))

    assert above(look.accept) <= Fraction(repr(alpha)) * (1 + Fraction(1, 10**9))
    assert above(look.accept - 1) > Fraction(repr(alpha))


def test_absurd_counts_are_computed_or_refused() -> None:
    assert clone_detection(1, inspected=1e-30, copies=10**60) == 1
    for looks in (10**60, 201):
        with pytest.raises(InputError, match="more than 200"):
            group_sequential(0.01, hidden=0.05, looks=looks)
    for asked in (10**12, 10**60):
        assert refusal_chance(asked, refused=8, base=0.2) == 1
    with pytest.raises(InputError, match="too many"):
        alarm_level(12, histories=10**15)
    with pytest.raises(InputError, match="too many for this confidence"):
        segments_needed(10, forged=1, confidence=1 - Fraction(1, 10**300), tries=10**59)
