"""How many items of the whole list may be faulty, when some of the drawn ones are or were not looked at."""

import math

from weighbridge.errors import InputError

__all__ = ["most_defective"]


def most_defective(population: int, *, drawn: int, found: int, alpha: float) -> int:
    """Returns the upper limit of the faulty items in a list, exact (hypergeometric, without replacement).

    The greatest D for which ``found`` or fewer faulty ones among ``drawn`` still have a chance above ``alpha``. Items
    that could not be looked at belong into ``found``: whoever hides them may choose which.

    Args:
        population: items in the list.
        drawn: items drawn.
        found: drawn items that are faulty or were not verified.
        alpha: one-sided error.

    Raises:
        InputError: counts that cannot be, or alpha outside (0, 1).
    """
    if not 0 <= found <= drawn <= population or population < 1 or not 0 < alpha < 1:
        raise InputError(f"{found} of {drawn} of {population} at {alpha} cannot be", where="sample")
    low, high = found, population - (drawn - found)
    while low < high:
        middle = (low + high + 1) // 2
        if _at_most(found, population, middle, drawn) > alpha:
            low = middle
        else:
            high = middle - 1
    return low


def _at_most(k: int, population: int, faulty: int, drawn: int) -> float:
    """Returns P(X <= k) for X faulty ones among the drawn."""
    whole = _log_choose(population, drawn)
    terms = [
        _log_choose(faulty, i) + _log_choose(population - faulty, drawn - i) - whole
        for i in range(max(0, drawn - (population - faulty)), min(k, faulty) + 1)
    ]
    return math.fsum(math.exp(term) for term in terms)


def _log_choose(n: int, k: int) -> float:
    if not 0 <= k <= n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
