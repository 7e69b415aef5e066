"""Exact bounds that several rooms need: what a clean, or nearly clean, sample proves.

Sources: Clopper and Pearson 1934; Garwood 1936 (Poisson limits by chi-square quantiles); the form against a
Prover that concentrates its work on few chips is derived in :func:`concentrated_chip_time`. SciPy is imported
only where a quantile is needed (0.4 s); with nothing unexplained every bound here has a closed form.
"""

import math
from typing import Final

from weighbridge.errors import InputError

__all__ = [
    "clopper_pearson_upper",
    "concentrated_chip_time",
    "hypergeometric_log_miss",
    "hypergeometric_miss",
    "poisson_upper",
    "share_upper_all_explained",
]

# Terms summed at once: bounds memory, changes no result beyond the last digits.
_TERMS_AT_ONCE: Final = 1 << 20
# So few are added up before NumPy would be imported (0.1 s).
_FEW_TERMS: Final = 2_000
# Whole numbers are exact in double precision up to here.
_LARGEST_POPULATION: Final = 1 << 53


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:  # also false for NaN
        raise InputError(f"{alpha} does not lie strictly between 0 and 1", field="alpha")


def _check_whole(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise InputError(f"{count!r} is not a whole number of at least 0", field=name)


def poisson_upper(k: int, alpha: float) -> float:
    """Upper limit of a Poisson mean after ``k`` events: chi-square quantile(1 - alpha; 2(k + 1)) / 2.

    Divided by a rate f of audited snapshots it bounds hidden chip-time: 3.00 / f at k = 0, 4.74 / f at k = 1
    (alpha = 0.05).

    Args:
        k: events seen (unexplained snapshots).
        alpha: one-sided error; the limit is exceeded by the true mean with at most this probability.

    Returns:
        The limit, in events.

    Raises:
        InputError: if k is no count or alpha lies outside (0, 1).
    """
    _check_whole(k=k)
    _check_alpha(alpha)
    if k == 0:
        return -math.log(alpha)
    from scipy.special import gammainccinv

    return float(gammainccinv(k + 1, alpha))


def clopper_pearson_upper(k: int, n: int, alpha: float) -> float:
    """Upper limit of a share after ``k`` of ``n`` draws: beta quantile(1 - alpha; k + 1, n - k).

    Args:
        k: draws with the property (unexplained snapshots).
        n: draws; with none the limit is 1.
        alpha: one-sided error.

    Returns:
        The limit, a share in (0, 1].

    Raises:
        InputError: if k exceeds n, either is no count, or alpha lies outside (0, 1).
    """
    _check_whole(k=k, n=n)
    _check_alpha(alpha)
    if k > n:
        raise InputError(f"{k} of {n} draws is impossible", field="k")
    if k == n:
        return 1.0
    if k == 0:
        return share_upper_all_explained(n, alpha)
    from scipy.special import betainccinv

    return float(betainccinv(k + 1, n - k, alpha))


def share_upper_all_explained(n: int, alpha: float) -> float:
    """Upper limit of the unexplained share when all ``n`` audited snapshots hold: 1 - alpha**(1/n).

    Args:
        n: snapshots audited; with none the limit is 1: nothing is shown.
        alpha: one-sided error.

    Returns:
        The limit, a share in (0, 1].
    """
    _check_whole(n=n)
    _check_alpha(alpha)
    return 1.0 if n == 0 else -math.expm1(math.log(alpha) / n)


def concentrated_chip_time(phi: float, f: float, period: float, alpha: float) -> float:
    """Hidden chip-time bound when only a share of the chips is read, against work packed onto few chips.

    Snapshots of one chip are not independent draws: with each chip read with probability phi and hidden work
    u_i on chip i, ln P(miss) = sum ln(1 - phi(1 - e^(-f u_i))) is convex in u_i, so hidden work is safest on
    as few chips as possible, each for the whole period: U <= T ln(alpha) / ln(1 - phi(1 - e^(-f T))).
    The naive -ln(alpha) / (f phi) is 3 to 36 times too small.

    Args:
        phi: probability that a chip's log is read, in (0, 1].
        f: audited snapshots per chip and unit of time.
        period: length T of the period, in that unit of time.
        alpha: one-sided error.

    Returns:
        The bound, in chips times that unit of time.

    Raises:
        InputError: if an argument is meaningless.
    """
    _check_alpha(alpha)
    if not 0 < phi <= 1:
        raise InputError(f"{phi} does not lie in (0, 1]", field="phi")
    for name, value in (("f", f), ("period", period)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{value} is not a positive number", field=name)
    seen = -math.expm1(-f * period)
    # At phi = 1 the logarithm is -f T exactly; the general form would lose it once e^(-f T) underflows.
    log_miss = -f * period if phi == 1 else math.log1p(-phi * seen)
    return period * math.log(alpha) / log_miss


def hypergeometric_log_miss(population: int, defective: int, drawn: int) -> float:
    """Logarithm of the probability that a draw without replacement meets no defective item.

    C(N - D, n) / C(N, n) is a product of min(n, D) ratios; their logarithms are summed, which keeps a
    relative error of about 1e-15 where differences of log-gamma lose eight digits at N = 1e7.

    Args:
        population: items N.
        defective: defective items D.
        drawn: items drawn n.

    Returns:
        The natural logarithm, minus infinity if a miss is impossible.

    Raises:
        InputError: if the numbers do not fit together.
    """
    _check_whole(population=population, defective=defective, drawn=drawn)
    for name, count in (("defective", defective), ("drawn", drawn)):
        if count > population:
            raise InputError(f"{count} of {population} items is impossible", field=name)
    if population > _LARGEST_POPULATION:
        raise InputError(f"{population:.3g} items are too many to count exactly", field="population")
    if defective + drawn > population:
        return -math.inf
    terms, other = min(defective, drawn), max(defective, drawn)
    if terms <= _FEW_TERMS:
        return math.fsum(_log_ratio(other, population - i) for i in range(terms))
    import numpy as np

    total = 0.0
    for start in range(0, terms, _TERMS_AT_ONCE):
        left = population - np.arange(start, min(terms, start + _TERMS_AT_ONCE), dtype=np.float64)
        share = other / left
        # log1p is exact for small shares, the quotient for large ones.
        small = share < 0.5
        total += float(np.sum(np.log1p(-share[small])))
        total += float(np.sum(np.log((left[~small] - other) / left[~small])))
    return total


def _log_ratio(other: int, left: int) -> float:
    # log1p is exact for small shares, the quotient for large ones.
    return math.log1p(-other / left) if 2 * other < left else math.log((left - other) / left)


def hypergeometric_miss(population: int, defective: int, drawn: int) -> float:
    """Probability C(N - D, n) / C(N, n) that a draw without replacement meets no defective item.

    Args:
        population: items N.
        defective: defective items D.
        drawn: items drawn n.

    Returns:
        The probability, in [0, 1].
    """
    return math.exp(hypergeometric_log_miss(population, defective, drawn))
