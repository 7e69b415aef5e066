"""How many items to inspect so that at least one defective item is met: exact attribute sampling.

P(miss) = C(N - D, n) / C(N, n). The boundary is decided in floating point only where its error cannot matter,
otherwise in exact integers: in double precision log-gamma misplaces N = 1e7, D = 2, beta = 0.1 by one. A test that
recognises a defective item with probability q only makes it E[(1 - q)^X] (``weighbridge.planning.imperfect``).
"""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.planning.chip_run import log_missed
from weighbridge.planning.imperfect import approximate_detection, compare_miss, imperfect_log_miss
from weighbridge.statistics import hypergeometric_log_miss, hypergeometric_miss
from weighbridge.units import check_count, check_fraction

__all__ = ["DrawnItems", "ItemPlan", "detection", "exact_sample", "plan_items", "repeat_draws"]

# The summed logarithms carry a relative error of a few 1e-15; within this margin exact integers decide.
_DOUBT: Final = 1e-12
# Here ten thousand logarithms may be added up before they are compared.
_DOUBT_IMPERFECT: Final = 1e-9
# Time grows with the square root of the population: about a second here. There are not that many chips.
_LARGEST_POPULATION: Final = 10**12


@dataclass(frozen=True, kw_only=True)
class ItemPlan:
    """Sample sizes for one question, exact and by the approximations in use.

    Attributes:
        sample: exact sample size (hypergeometric), the default for claims.
        detection: probability of detection at that size.
        iaea: ceil(N (1 - beta^(1/D))), never too small.
        jaech: ceil((N - (D - 1)/2)(1 - beta^(1/D))); none for an imperfect test, where it asks for too few.
        with_replacement: ceil(ln beta / ln(1 - D/N)).
        rule_of_thumb: ceil(N ln(1/beta) / D).
        seen: q, chance that a drawn defective item is recognised; the approximations divide shares by it.
        approximate_detection: 1 - (1 - q n / N)^D at the exact size.
    """

    sample: int
    detection: float
    iaea: int
    jaech: int | None
    with_replacement: int
    rule_of_thumb: int
    seen: float
    approximate_detection: float


@dataclass(frozen=True, kw_only=True)
class DrawnItems:
    """What drawing the same number of items again and again detects, each draw for itself.

    Attributes:
        detection: probability of detection of one draw (exact).
        expected_draws: draws until the first detection, on average; unbounded where nothing can be detected.
        draws: draws counted for ``detection_over_draws``.
        detection_over_draws: 1 - (1 - detection)^draws.
    """

    detection: float
    expected_draws: float | None
    draws: int
    detection_over_draws: float


def plan_items(population: int, *, missing: int, confidence: float | Fraction, seen: float | Fraction = 1) -> ItemPlan:
    """Returns how many of ``population`` items to draw, without replacement, to recognise one of ``missing``.

    Args:
        population: items N in the frame.
        missing: defective, diverted or falsified items D that must not go unseen.
        confidence: wanted probability of detection, 1 - beta.
        seen: q, probability that a drawn defective item is recognised, in (0, 1].

    Raises:
        InputError: if the numbers are meaningless, or testing every item would not be enough.
    """
    sample = exact_sample(population, missing=missing, confidence=confidence, seen=seen)
    test = _test(seen)
    missed = 1 - check_fraction(confidence, name="confidence")
    with localcontext() as context:
        context.prec = 60
        n, d = Decimal(population), Decimal(missing)
        q = Decimal(test.numerator) / Decimal(test.denominator)
        log_beta = (Decimal(missed.numerator) / Decimal(missed.denominator)).ln()
        caught = 1 - (log_beta / d).exp()
        return ItemPlan(
            sample=sample,
            detection=detection(population, missing=missing, drawn=sample, seen=seen),
            iaea=_ceil(n * caught / q),
            jaech=_ceil((n - (d - 1) / 2) * caught) if test == 1 else None,
            with_replacement=1 if q * d == n else _ceil(log_beta / (1 - q * d / n).ln()),
            rule_of_thumb=_ceil(-n * log_beta / (q * d)),
            seen=float(test),
            approximate_detection=approximate_detection(population, defective=missing, drawn=sample, seen=float(test)),
        )


def detection(population: int, *, missing: int, drawn: int, seen: float | Fraction = 1) -> float:
    """Probability that a draw without replacement recognises at least one defective item.

    Args:
        population: items N.
        missing: defective items D; with none, nothing is detected.
        drawn: items drawn n.
        seen: q, probability that a drawn defective item is recognised, in (0, 1].

    Returns:
        The probability.

    Raises:
        InputError: if the numbers do not fit together.
    """
    test = _test(seen)
    if test == 1:
        return 1 - hypergeometric_miss(population, missing, drawn)
    return -math.expm1(imperfect_log_miss(population, defective=missing, drawn=drawn, seen=float(test)))


def repeat_draws(
    population: int, *, missing: int, drawn: int, draws: int = 12, seen: float | Fraction = 1
) -> DrawnItems:
    """Returns what independent draws of ``drawn`` items, one a period, detect.

    Raises:
        InputError: if the numbers do not fit together.
    """
    one = detection(population, missing=missing, drawn=drawn, seen=seen)
    check_count(draws, name="draws", least=1)
    return DrawnItems(
        detection=one,
        expected_draws=1 / one if one > 0 else None,
        draws=draws,
        detection_over_draws=1.0 if one == 1 else -math.expm1(draws * math.log1p(-one)),
    )


def exact_sample(population: int, *, missing: int, confidence: float | Fraction, seen: float | Fraction = 1) -> int:
    """Returns the smallest draw that recognises a defective item with probability ``confidence``, exactly.

    Raises:
        InputError: if the numbers are meaningless, or testing every item would not be enough.
    """
    check_count(population, name="population", least=1)
    check_count(missing, name="missing", least=1)
    if missing > population:
        raise InputError(
            f"{missing:,} of {population:,} items is impossible",
            field="missing",
            mend="give at most all items",
        )
    if population > _LARGEST_POPULATION:
        raise InputError(f"{population:.3g} items are more than 1e12", field="population", mend="give 1e12 at most")
    sure = check_fraction(confidence, name="confidence")
    missed = 1 - sure
    wanted = log_missed(sure)
    test = _test(seen)
    if test < 1:
        _check_reachable(missing, missed=missed, test=test)

    def enough(drawn: int) -> bool:
        if test < 1:
            log_miss = imperfect_log_miss(population, defective=missing, drawn=drawn, seen=float(test))
            if abs(log_miss - wanted) > _DOUBT_IMPERFECT * max(1.0, abs(wanted)):
                return log_miss < wanted
            return compare_miss(population, defective=missing, drawn=drawn, seen=test, missed=missed) <= 0
        if drawn + missing > population:
            return True
        log_miss = hypergeometric_log_miss(population, missing, drawn)
        if abs(log_miss - wanted) > _DOUBT * abs(wanted):
            return log_miss < wanted
        few, many = sorted((missing, drawn))
        none_met, all_ways = math.perm(population - many, few), math.perm(population, few)
        return none_met * missed.denominator <= missed.numerator * all_ways

    # Jaech's approximation is within one of the answer almost everywhere: gallop from there, then bisect.
    most = population - missing + 1 if test == 1 else population
    guess = math.ceil((population - (missing - 1) / 2) * -math.expm1(wanted / missing) / float(test))
    low = high = min(max(guess, 1), most)
    step = 1
    if enough(high):
        while low > 0 and (low == high or enough(low)):
            high, low, step = low, low - step, step * 2
        low = max(low, 0)
    else:
        while high == low or not enough(high):
            low, high, step = high, min(high + step, most), step * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _test(seen: float | Fraction) -> Fraction:
    return Fraction(1) if seen == 1 else check_fraction(seen, name="seen")


def _check_reachable(missing: int, *, missed: Fraction, test: Fraction) -> None:
    with localcontext() as context:
        context.prec = 60
        left = (Decimal((1 - test).numerator) / Decimal((1 - test).denominator)).ln() * missing
        wanted = (Decimal(missed.numerator) / Decimal(missed.denominator)).ln()
        if left > wanted * (1 - Decimal("1e-45")):
            raise InputError(
                f"testing every item would detect with {-math.expm1(float(left)):.6g} only",
                field="confidence",
                mend="ask for less, or use a better test",
            )


def _ceil(value: Decimal) -> int:
    # 60 digits are carried: what lies within 1e-30 of a whole number is that number.
    return int(value.quantize(Decimal("1e-30")).to_integral_value(rounding=ROUND_CEILING))
