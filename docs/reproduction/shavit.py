"""Shavit 2023, arXiv 2303.11341, from its own formulas: Table 1, footnote 5, appendices B and C."""

import math
from decimal import ROUND_HALF_EVEN, Context

__all__ = [
    "A_DAY",
    "CHIPS",
    "MODELS",
    "SEEN",
    "YEAR",
    "eq_1",
    "linear",
    "print_rule",
    "share",
    "shorter",
    "stretched",
]

A_DAY = 1e15 * 86_400
"""FLOP of a chip and day (section 3.2)."""
RATE, PERIOD, WANTED, YEAR = 0.1, 30.0, 0.9, 365
"""f, T_m = T in days, p; values a year are for 365 days."""
SEEN = 1 - math.exp(-RATE * PERIOD)
"""p_w: a drawn chip of the run holds a snapshot of it."""
CHIPS = (10**3, 10**5, 10**7)

# Model, H, and the printed cells: H100-days, chips for one year, samples a year for each fleet.
MODELS = (
    ("GPT-3", 3.14e23, "3.64e3", "10", ("243", "2.43e4", "2.43e6")),
    ("Chinchilla", 5.76e23, "6.67e3", "19", ("132", "1.33e4", "1.33e6")),
    ("PaLM", 2.56e24, "2.96e4", "82", ("29", "2.98e3", "2.99e5")),
    ("Chinchilla-280B", 9.9e24, "1.15e5", "314", ("7", "771", "7.72e4")),
    ("Chinchilla-1T", 1.27e26, "1.47e6", "4.03e3", ("-", "60", "6.02e3")),
    ("Chinchilla-10T", 1.3e28, "1.5e8", "4.12e5", ("-", "-", "58")),
)


def share(flop: float, chips: float, *, a_day: float = A_DAY, days: float = PERIOD) -> float:
    """Returns b = H / (a T C); above 1 the run is impossible."""
    return flop / (a_day * days * chips)


def linear(b: float, *, wanted: float = WANTED) -> float:
    """Returns samples a year in the linear form behind Table 1: -ln(1 - p) / (b p_w) x 365 / T_m."""
    return -math.log(1 - wanted) / (b * SEEN) * YEAR / PERIOD


def eq_1(b: float, *, wanted: float = WANTED) -> float | None:
    """Returns samples a year by Eq. 1, ln(1 - p) / ln(1 - b p_w) x 365 / T_m; None for an impossible run."""
    if b > 1 or b * SEEN >= 1:
        return None
    return math.log(1 - wanted) / math.log1p(-b * SEEN) * YEAR / PERIOD


def print_rule(value: float) -> str:
    """Returns a value as the table prints it: its floor; from 1,000 on three figures, ties to even; a dash for 0."""
    whole = math.floor(value)
    if whole == 0:
        return "-"
    if whole < 1000:
        return str(whole)
    rounded = Context(prec=3, rounding=ROUND_HALF_EVEN).create_decimal(whole)
    return f"{rounded.scaleb(-rounded.adjusted()).normalize()}e{rounded.adjusted()}"


def stretched(b: float, *, times: float, wanted: float = WANTED) -> float:
    """Returns C.1's detection of a run on 1/k of its chips for k times as long: 1 - (1 - b/k)^(k s).

    The sample s is the one that catches the run on all its chips with probability ``wanted`` (f large).
    """
    sample = math.log(1 - wanted) / math.log1p(-b)
    if math.isinf(times):
        return -math.expm1(-b * sample)
    return -math.expm1(times * sample * math.log1p(-b / times))


def shorter(flop: float, *, chips: float, sample: int, days: float) -> float:
    """Returns Theorem 1's detection of the same run on more chips for less time t: 1 - (1 - b(t)(1 - e^(-f t)))^s."""
    b = share(flop, chips, days=days)
    return -math.expm1(sample * math.log1p(-b * -math.expm1(-RATE * days)))
