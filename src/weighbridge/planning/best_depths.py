"""Depths of looks: which ones a search tries, and how to split so many freezes over sites.

Any depth may be bought, so a menu is only where a search looks: a few depths over many sizes, then finer ones around
those that the plan uses (:func:`finer`). Where freezes are few, all integers up to their number are tried.

**A bound on freezes over all depths, integers or not.** Let a plan detect every run of H FLOP with at least t. A site
i that holds all of the run, of share s_i, is looked at with chance q_i and had n_i freezes, so that no look there is
deeper than n_i: t <= D_i <= q_i (1 - e^(-s_i n_i)). So q_i >= t / (1 - e^(-s_i n_i)), and a resource of w_i a visit and
limit W is kept to only if t sum w_i / (1 - e^(-s_i n_i)) <= W, while sum n_i <= F and 1 - e^(-s_i n_i) >= t. Draws of d
each cost d t / s_i more at least, since q (1 - e^(-s n)) <= q s n. 1 / (1 - e^(-s n)) is convex in n, so the sum's
least value over all n is found by one multiplier (Lagrange), and the greatest t by halving: :func:`share_out`. Sites
that do not hold the run only cost more. Nothing else was used, so the bound holds whatever the menu.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from weighbridge.planning.adversary import Array

__all__ = ["COARSE", "finer", "first_depths", "share_out", "table_of", "whole"]

COARSE: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Records or chips drawn at one look in the first round; chances may mix two."""

_ALL_DEPTHS: Final = 150
"""Sites times freezes up to which every integer depth is tried."""
_HALVINGS: Final = 60
_STEPS: Final = (0.03, 0.1, 0.3)


def first_depths(sites: int, *, freezes: float | None) -> tuple[float, ...]:
    """Returns the depths of the first round: all integers where freezes are few, else a coarse menu."""
    if freezes is None:
        return tuple(float(n) for n in COARSE)
    lots = tuple(freezes * step / sites for step in (0.25, 0.5, 0.75, 1.0)) if freezes < sites else ()
    if sites * freezes <= _ALL_DEPTHS:
        return lots + tuple(float(n) for n in range(1, int(freezes) + 1))
    return lots + tuple(float(n) for n in COARSE if n <= freezes)


def finer(used: Iterable[float]) -> set[float]:
    """Returns depths around those used: the next integers, and some further off on both sides."""
    found = set[float]()
    for depth in used:
        if depth < 1:
            continue
        near = {depth, depth - 1, depth + 1, *(depth * (1 + sign * step) for step in _STEPS for sign in (-1, 1))}
        found |= {float(round(n)) for n in near if round(n) >= 1}
    return found


def table_of(depths: Sequence[Iterable[float]]) -> Array:
    """Returns one row of rising depths a site; short rows repeat their last."""
    rows = [sorted({depth for depth in row if depth > 0}) or [1.0] for row in depths]
    width = max(map(len, rows))
    return np.array([row + [row[-1]] * (width - len(row)) for row in rows], dtype=np.float64)


def share_out(share: Array, *, weights: Array, draws: Array, limit: float, freezes: float) -> tuple[float, Array]:
    """Returns the greatest detection that visits and freezes allow at sites that each hold the run, and their freezes.

    Args:
        share: part of each site's chip-time that the run fills.
        weights: what one visit costs.
        draws: what one draw costs.
        limit: how much of that may be spent.
        freezes: freezes over all sites; they may come out as fractions.
    """
    fixed = float(np.sum(draws / share))

    def split(least: Array) -> Array:
        """Returns the freezes that make visits dear nowhere, at least so many at each site."""
        low, high = -60.0, 60.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            steep = np.maximum(weights, 1e-12) * share * math.exp(-middle)
            given = np.maximum(least, np.log1p(steep / 2 + np.sqrt(steep + steep * steep / 4)) / share)
            low, high = (middle, high) if given.sum() > freezes else (low, middle)
        steep = np.maximum(weights, 1e-12) * share * math.exp(-high)
        return np.maximum(least, np.log1p(steep / 2 + np.sqrt(steep + steep * steep / 4)) / share)

    def within(detection: float) -> Array | None:
        least = -math.log1p(-detection) / share
        if least.sum() > freezes:
            return None
        given = split(least)
        met = -np.expm1(-share * given)
        return given if detection * (float(np.sum(weights / met)) + fixed) <= limit else None

    low, high, best = 0.0, 1.0 - 1e-12, split(np.zeros(len(share)))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        given = within(middle)
        if given is None:
            high = middle
        else:
            low, best = middle, given
    return high, best


def whole(given: Array, share: Array, *, freezes: float) -> Array:
    """Returns the same in whole freezes, those left over where they add most.

    With fewer freezes than sites, less than one stays: the chance of a freeze, which is then drawn by lot.
    """
    if freezes < len(given):
        return given
    found = np.maximum(1.0, np.floor(given + 1e-9))

    def gain(of: Array) -> Array:
        return np.asarray(1 / -np.expm1(-share * of) - 1 / -np.expm1(-share * (of + 1)), dtype=np.float64)

    while found.sum() > freezes:
        found[int(np.argmin(np.where(found > 1, gain(np.maximum(found - 1, 1.0)), np.inf)))] -= 1
    while found.sum() + 1 <= freezes:
        found[int(np.argmax(gain(found)))] += 1
    return found
