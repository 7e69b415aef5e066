"""How many items to inspect so that at least one defective item is met: exact attribute sampling.

P(miss) = C(N - D, n) / C(N, n). The boundary is decided in floating point only where its error cannot matter,
otherwise in exact integers: in double precision log-gamma misplaces N = 1e7, D = 2, beta = 0.1 by one.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.statistics import hypergeometric_log_miss, hypergeometric_miss
from weighbridge.units import check_count, check_fraction

__all__ = ["ItemPlan", "exact_sample", "plan_items"]

# The summed logarithms carry a relative error of a few 1e-15; within this margin exact integers decide.
_DOUBT: Final = 1e-12
# Time grows with the square root of the population: about a second here. There are not that many chips.
_LARGEST_POPULATION: Final = 10**12


@dataclass(frozen=True, kw_only=True)
class ItemPlan:
    """Sample sizes for one question, exact and by the approximations in use.

    Attributes:
        sample: exact sample size (hypergeometric), the default for claims.
        detection: probability of detection at that size.
        iaea: ceil(N (1 - beta^(1/D))), never too small.
        jaech: ceil((N - (D - 1)/2)(1 - beta^(1/D))).
        with_replacement: ceil(ln beta / ln(1 - D/N)).
        rule_of_thumb: ceil(N ln(1/beta) / D).
    """

    sample: int
    detection: float
    iaea: int
    jaech: int
    with_replacement: int
    rule_of_thumb: int


def plan_items(population: int, *, missing: int, confidence: float | Fraction) -> ItemPlan:
    """Returns how many of ``population`` items to draw, without replacement, to meet one of ``missing``.

    Args:
        population: items N in the frame.
        missing: defective, diverted or falsified items D that must not go unseen.
        confidence: wanted probability of detection, 1 - beta.

    Raises:
        InputError: if the numbers are meaningless.
    """
    sample = exact_sample(population, missing=missing, confidence=confidence)
    missed = 1 - check_fraction(confidence, name="confidence")
    with localcontext() as context:
        context.prec = 60
        n, d = Decimal(population), Decimal(missing)
        log_missed = (Decimal(missed.numerator) / Decimal(missed.denominator)).ln()
        caught = 1 - (log_missed / d).exp()
        return ItemPlan(
            sample=sample,
            detection=1 - hypergeometric_miss(population, missing, sample),
            iaea=_ceil(n * caught),
            jaech=_ceil((n - (d - 1) / 2) * caught),
            with_replacement=1 if missing == population else _ceil(log_missed / (1 - d / n).ln()),
            rule_of_thumb=_ceil(-n * log_missed / d),
        )


def exact_sample(population: int, *, missing: int, confidence: float | Fraction) -> int:
    """Returns the smallest draw that meets a defective item with probability ``confidence``, exactly.

    Raises:
        InputError: if the numbers are meaningless.
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
        raise InputError(f"{population:.3g} items are more than 1e12", field="population")
    sure = check_fraction(confidence, name="confidence")
    missed = 1 - sure
    log_missed = math.log1p(-float(sure)) if sure < Fraction(1, 2) else math.log(missed)

    def enough(drawn: int) -> bool:
        if drawn + missing > population:
            return True
        log_miss = hypergeometric_log_miss(population, missing, drawn)
        if abs(log_miss - log_missed) > _DOUBT * abs(log_missed):
            return log_miss < log_missed
        few, many = sorted((missing, drawn))
        none_met, all_ways = math.perm(population - many, few), math.perm(population, few)
        return none_met * missed.denominator <= missed.numerator * all_ways

    # Jaech's approximation is within one of the answer almost everywhere: gallop from there, then bisect.
    most = population - missing + 1
    guess = math.ceil((population - (missing - 1) / 2) * -math.expm1(log_missed / missing))
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


def _ceil(value: Decimal) -> int:
    # 60 digits are carried: what lies within 1e-30 of a whole number is that number.
    return int(value.quantize(Decimal("1e-30")).to_integral_value(rounding=ROUND_CEILING))
