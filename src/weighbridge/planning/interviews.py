"""Interviews: whom to draw is :mod:`weighbridge.planning.items`; here, what refusals and answers show.

A refusal pattern by site is itself a signal, and one that only prioritises: no finding rests on people alone.
"""

from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.statistics import clopper_pearson_upper
from weighbridge.units import check_count, check_fraction

__all__ = ["PATTERN", "agreement_low", "refusal_chance"]

PATTERN: Final = 1e-3
"""Chance below which a site's refusals are a pattern and no longer so many single ones."""


def refusal_chance(asked: int, *, refused: int, base: float) -> float:
    """Chance of so many refusals or more, if each person refuses with the rate of other sites (binomial).

    Args:
        asked: interviews requested at the site.
        refused: those refused, or granted only in another way than asked.
        base: share of refusals at other sites, in [0, 1].

    Raises:
        InputError: if the figures do not fit together.
    """
    from scipy.special import betainc

    check_count(asked, name="asked")
    if check_count(refused, name="refused") > asked:
        raise InputError(f"{refused:,} of {asked:,} is impossible", field="refused")
    if not 0 <= base <= 1:
        raise InputError(f"{base} does not lie in [0, 1]", field="base-rate", mend="for 20 % write 0.2")
    return 1.0 if refused == 0 else float(betainc(float(refused), float(asked - refused + 1), base))


def agreement_low(pairs: int, *, agreeing: int, confidence: float | Fraction = 0.95) -> float:
    """Lower limit of the share of paired answers that agree (Clopper and Pearson, one-sided).

    Args:
        pairs: questions put to two people separately.
        agreeing: those answered alike.
        confidence: of the limit.

    Raises:
        InputError: if the figures do not fit together.
    """
    check_count(pairs, name="pairs")
    if check_count(agreeing, name="agreeing") > pairs:
        raise InputError(f"{agreeing:,} of {pairs:,} is impossible", field="agreeing")
    alpha = float(1 - check_fraction(confidence, name="confidence"))
    return 1 - clopper_pearson_upper(pairs - agreeing, pairs, alpha)
