"""Draws whose test is imperfect: a defective item that is drawn is recognised with probability q only.

The number X of defective items in a draw of n from N is hypergeometric, so P(miss) = E[(1 - q)^X]. The terms are
summed relative to the largest one and divided by the sum of all probabilities, which is 1: no logarithm of a large
factorial is ever taken, and thirteen digits hold at N = 1e7. The usual approximation is
P = 1 - (1 - q n / N)^D (IAEA practice).
"""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.units import check_count

__all__ = ["approximate_detection", "compare_miss", "imperfect_log_miss"]

# Beyond 12 standard deviations and 40 items the terms fall under 1e-30 of the sum.
_DEVIATIONS: Final = 12
_MARGIN: Final = 40
_MOST_TERMS: Final = 10**7
_DIGITS: Final = 60
# What agrees in so many digits is equal: products of short decimals end long before.
_EQUAL: Final = Decimal("1e-45")
_NEGLIGIBLE: Final = Decimal("1e-58")


def imperfect_log_miss(population: int, *, defective: int, drawn: int, seen: float) -> float:
    """Logarithm of the probability that no drawn item is recognised as defective: ln E[(1 - q)^X].

    Args:
        population: items N.
        defective: defective items D.
        drawn: items drawn n, without replacement.
        seen: q, probability that a drawn defective item is recognised, in (0, 1).

    Returns:
        The natural logarithm.

    Raises:
        InputError: if the numbers do not fit together, or the sum has too many terms.
    """
    import numpy as np

    _check(population, defective, drawn)
    if not 0 < seen < 1:
        raise InputError(f"{seen} does not lie strictly between 0 and 1", field="seen")
    least, most = max(0, defective + drawn - population), min(defective, drawn)
    log_tilt = math.log1p(-seen)
    mode = (drawn + 1) * (defective + 1) // (population + 2)
    tilted = _tilted_mode(population, defective, drawn, tilt=1 - seen)
    mode, tilted = (min(max(value, least), most) for value in (mode, tilted))
    width = math.ceil(_DEVIATIONS * math.sqrt(max(mode, 1))) + _MARGIN
    low, high = max(least, min(mode, tilted) - width), min(most, max(mode, tilted) + width)
    if high - low > _MOST_TERMS:
        raise InputError("the test recognises too little to be summed exactly", field="seen")
    x = np.arange(low, high, dtype=np.float64)
    steps = np.log((defective - x) * (drawn - x)) - np.log((x + 1) * (population - defective - drawn + x + 1))
    log_weights = np.concatenate(([0.0], np.cumsum(steps)))
    log_weights -= log_weights.max()
    log_terms = log_weights + (np.arange(low, high + 1) - low) * log_tilt
    largest = float(log_terms.max())
    missed = float(np.sum(np.exp(log_terms - largest))) / float(np.sum(np.exp(log_weights)))
    return min(0.0, low * log_tilt + largest + math.log(missed))


def compare_miss(population: int, *, defective: int, drawn: int, seen: Fraction, missed: Fraction) -> int:
    """Compares P(miss) with ``missed`` in sixty digits, for the boundaries that doubles cannot decide.

    Returns:
        -1, 0 or 1 as P(miss) is below, equal to (in 45 digits) or above ``missed``.
    """
    _check(population, defective, drawn)
    least, most = max(0, defective + drawn - population), min(defective, drawn)
    mode = min(max((drawn + 1) * (defective + 1) // (population + 2), least), most)
    with localcontext() as context:
        context.prec = _DIGITS
        tilt = 1 - _decimal(seen)
        start = tilt**mode
        whole, hit = Decimal(1), start
        weight, term = Decimal(1), start
        for x in range(mode, most):
            ratio = Decimal((defective - x) * (drawn - x)) / ((x + 1) * (population - defective - drawn + x + 1))
            weight, term = weight * ratio, term * ratio * tilt
            whole, hit = whole + weight, hit + term
            if weight < _NEGLIGIBLE * whole and term < _NEGLIGIBLE * hit and ratio < 1:
                break
        weight, term = Decimal(1), start
        for x in range(mode, least, -1):
            ratio = Decimal(x * (population - defective - drawn + x)) / ((defective - x + 1) * (drawn - x + 1))
            weight, term = weight * ratio, term * ratio / tilt
            whole, hit = whole + weight, hit + term
            if weight < _NEGLIGIBLE * whole and term < _NEGLIGIBLE * hit and ratio < tilt:
                break
        wanted = _decimal(missed)
        difference = hit / whole - wanted
        return 0 if abs(difference) <= _EQUAL * wanted else (1 if difference > 0 else -1)


def approximate_detection(population: int, *, defective: int, drawn: int, seen: float = 1.0) -> float:
    """Probability of detection by the usual approximation, 1 - (1 - q n / N)^D.

    It never promises more than the exact form gives: E[(1 - q)^X] is at most (1 - q n / N)^D.
    """
    _check(population, defective, drawn)
    if not 0 < seen <= 1:
        raise InputError(f"{seen} does not lie in (0, 1]", field="seen")
    share = seen * drawn / population
    return 1.0 if share == 1 and defective else -math.expm1(defective * math.log1p(-share))


def _tilted_mode(population: int, defective: int, drawn: int, *, tilt: float) -> int:
    """Mode of the terms P(X = x) (1 - q)^x: Fisher's noncentral hypergeometric distribution."""
    a = tilt - 1
    b = defective + drawn - population - (defective + drawn + 2) * tilt
    c = (defective + 1.0) * (drawn + 1.0) * tilt
    return int(-2 * c / (b - math.sqrt(b * b - 4 * a * c)))


def _check(population: int, defective: int, drawn: int) -> None:
    check_count(population, name="population", least=1)
    for name, count in (("defective", defective), ("drawn", drawn)):
        if check_count(count, name=name) > population:
            raise InputError(f"{count} of {population} items is impossible", field=name)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
