"""The linear programmes behind the best plan: chances of looks, against an adversary in one of two forms.

``Ways``: a list of known ways to hide the run; max z such that each is missed with at most e^-z. Exact against the
ways listed. ``Chords``: every way at once. -ln(1 - D_i) is concave in what is hidden at site i, so its chord up to
c_i, the smaller of capacity and run, never promises too much; against chords the adversary solves a fractional
knapsack, whose dual max H y - P sum w_i, c_i y - w_i <= -ln(1 - D_i(c_i)), is linear in the plan. It is exact for a
run that fits one site, and loses at most what one partly used site gives away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from weighbridge.errors import WeighbridgeError
from weighbridge.planning.adversary import Array
from weighbridge.planning.best_menu import Menu

__all__ = ["Chords", "Rows", "Solution", "Ways", "levels", "solve_programme", "try_programme"]

# Tangents to -ln(1 - D) are taken no steeper than this: beyond it a programme loses its digits.
_SUREST_TANGENT: Final = 1 - 1e-6
_INFEASIBLE: Final = 2
_METHODS: Final = ("highs", "highs-ds", "highs-ipm")
"""One after the other: of a programme that one leaves undecided, another finds the solution."""
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Ways:
    """Known ways to hide a run of ``flop`` FLOP: FLOP at each site over all periods, one array a way."""

    flop: float
    hidden: Sequence[Array]


@dataclass(frozen=True, kw_only=True)
class Chords:
    """All ways to hide ``flop`` FLOP over ``periods`` periods, underestimated by chords."""

    flop: float
    periods: int


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Any other linear rows: theirs @ y <= gain @ q + least, with variables y >= 0 of which goal @ y is maximised.

    Attributes:
        gain: one row for each row, one column for each look worth having.
        least: the constant part.
        theirs: coefficients of y.
        goal: what is maximised.
    """

    gain: Any
    least: Array
    theirs: Array
    goal: Array


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A plan.

    Attributes:
        chances: of each look, (sites, modes).
        prices: by limited resource, gain in -ln(miss) for one unit more: the duals.
        promise: -ln(miss) against the adversary's form, with tangents in place of logarithms.
    """

    chances: Array
    prices: dict[str, float]
    promise: float


def solve_programme(
    menu: Menu, *, capacity: Array, limits: dict[str, float], against: Ways | Chords, at: Array
) -> Solution:
    """Returns the plan within the limits that is missed least.

    Args:
        menu: looks that may be bought.
        capacity: FLOP of each site in a period.
        limits: limited resources; freezes, if among them, are relaxed: paid in proportion to the chance of a look.
        against: the adversary.
        at: plan at which the tangents of -ln(1 - D) are taken.
    """
    found = try_programme(menu, capacity=capacity, limits=limits, against=against, at=at)
    if found is None:
        raise WeighbridgeError("the plan's linear programme has no solution")
    return found


def try_programme(
    menu: Menu,
    *,
    capacity: Array,
    limits: dict[str, float],
    against: Ways | Chords | Rows,
    at: Array,
    paid: NDArray[np.bool_] | None = None,
) -> Solution | None:
    """Returns the same, against rows too, with the freezes of the looks ``paid`` paid in full; None if nothing fits."""
    from scipy.optimize import linprog
    from scipy.sparse import diags_array

    form = _form(menu, capacity=capacity, limits=limits, against=against, at=at)
    bounds = form.bounds
    if paid is not None and "freezes" in limits:
        looks = len(form.cells[0])
        bounds[looks : 2 * looks] = [(float(whole), 1.0) for whole in paid[form.cells]]
    # Freezes count in thousands where chances count in shares: each row is brought to the same size.
    sizes = np.asarray(abs(form.matrix).max(axis=1).todense(), dtype=np.float64).reshape(-1)
    scale = 1.0 / np.where(sizes > 0, sizes, 1.0)
    matrix, most = diags_array(scale) @ form.matrix, scale * form.most
    for method in _METHODS:
        result = linprog(-form.goal, A_ub=matrix, b_ub=most, bounds=bounds, method=method)
        if result.status == _INFEASIBLE:
            return None
        if result.status == 0 and result.x is not None:
            break
    else:
        raise WeighbridgeError(f"the plan's linear programme was not solved: {result.message}")
    prices = -np.asarray(result.ineqlin.marginals) * scale
    return Solution(
        chances=form.chances(result.x),
        prices={n: max(0.0, float(price)) for n, price in zip(form.names, prices, strict=False)},
        promise=float(form.goal @ result.x),
    )


@dataclass(frozen=True, kw_only=True)
class _Form:
    """Variables: the chance of each look worth having; with freezes, also whether it is possible; the adversary's."""

    goal: Array
    matrix: Any
    most: Array
    bounds: list[tuple[float, float]]
    names: tuple[str, ...]
    cells: tuple[NDArray[np.intp], NDArray[np.intp]]
    shape: tuple[int, ...]

    def chances(self, solution: Array) -> Array:
        found = np.zeros(self.shape)
        found[self.cells] = np.clip(solution[: len(self.cells[0])], 0.0, 1.0)
        return found


def _form(menu: Menu, *, capacity: Array, limits: dict[str, float], against: Ways | Chords | Rows, at: Array) -> _Form:
    from scipy.sparse import block_array, coo_array, eye_array

    rows, columns = np.nonzero(menu.worth)
    looks = len(rows)
    names = tuple(name for name in menu.costs if name in limits)
    costs = coo_array(np.array([menu.costs[name][rows, columns] for name in names]).reshape(len(names), looks))
    once = coo_array((np.ones(looks), (rows, np.arange(looks))), shape=(len(capacity), looks))
    gain, least, theirs, goal = _adversary(menu, capacity=capacity, against=against, at=at)
    blocks = [[costs, None, None], [once, None, None], [-gain, None, theirs]]
    most = [np.array([limits[name] for name in names]), np.ones(len(capacity)), least]
    possible = 0
    if "freezes" in limits:
        # A look needs the freezes of its depth: the chances of looks as deep or deeper stay below `possible`.
        possible, names = looks, ("freezes", *names)
        same = np.concatenate([[False], rows[1:] == rows[:-1]])
        before = np.where(same, np.roll(menu.freezes[rows, columns], 1), 0.0)
        further = coo_array((menu.freezes[rows, columns] - before)[None, :])
        deeper = _same_site_and_deeper(rows, depths=menu.worth.shape[1])
        blocks = [[None, further, None], *blocks, [deeper, -eye_array(looks), None]]
        most = [np.array([limits["freezes"]]), *most, np.zeros(looks)]
    else:
        blocks = [[row[0], row[2]] for row in blocks]
    return _Form(
        goal=np.concatenate([np.zeros(looks + possible), goal]),
        matrix=block_array(blocks, format="csr"),
        most=np.concatenate(most),
        bounds=[(0.0, 1.0)] * (looks + possible) + [(0.0, np.inf)] * len(goal),
        names=names,
        cells=(rows, columns),
        shape=menu.worth.shape,
    )


def _same_site_and_deeper(rows: NDArray[np.intp], *, depths: int) -> Any:
    """Returns ones where the column's look is at the row's site and at least as deep; looks are in that order."""
    from scipy.sparse import coo_array

    looks = np.arange(len(rows))
    pairs = [(looks[: len(looks) - d], looks[d:]) for d in range(min(depths, len(looks)))]
    kept = [(look[rows[look] == rows[other]], other[rows[look] == rows[other]]) for look, other in pairs]
    cells = np.concatenate([look for look, _ in kept]), np.concatenate([other for _, other in kept])
    return coo_array((np.ones(len(cells[0])), cells), shape=(len(rows), len(rows)))


def _adversary(
    menu: Menu, *, capacity: Array, against: Ways | Chords | Rows, at: Array
) -> tuple[Any, Array, Any, Array]:
    """Returns the adversary's rows: what chances gain, the constant part, its own variables, and their goal."""
    from scipy.sparse import coo_array, eye_array, hstack

    rows, columns = np.nonzero(menu.worth)
    if isinstance(against, Rows):
        return coo_array(against.gain), against.least, coo_array(against.theirs), against.goal
    if isinstance(against, Ways):
        full, times, rest = levels(against, capacity=capacity)
        one, constant = _tangents(menu.reach, share=(full / capacity)[None], at=at)
        gain, least = _tangents(menu.reach, share=rest / capacity, at=at)
        gain, least = gain + times[:, :, None] * one, least + times * constant
        return coo_array(gain[:, rows, columns]), least.sum(axis=1), coo_array(np.ones((len(gain), 1))), np.ones(1)
    most = np.minimum(capacity, against.flop)
    gain, least = _tangents(menu.reach, share=(most / capacity)[None], at=at)
    own = coo_array((gain[0, rows, columns], (rows, np.arange(len(rows)))), shape=(len(capacity), len(rows)))
    theirs = hstack([coo_array((most / against.flop)[:, None]), -eye_array(len(capacity))])
    return own, least[0], theirs, np.concatenate([[1.0], np.full(len(capacity), -float(against.periods))])


def levels(ways: Ways, *, capacity: Array) -> tuple[Array, Array, Array]:
    """Returns the most FLOP of the run that one period of each site takes; by way, periods so filled, and the rest.

    -ln(1 - D) is concave in what is hidden, so a site's periods are filled one after the other.
    """
    full = np.minimum(capacity, ways.flop)
    hidden = np.array(ways.hidden)
    times = np.floor(hidden / full + _ROUNDING)
    rest = hidden - times * full
    return full, times, np.where(rest > _ROUNDING * full, rest, 0.0)


def _tangents(reach: Array, *, share: Array, at: Array) -> tuple[Array, Array]:
    """Returns slopes and constants of the tangents at ``at`` to each site's -ln(1 - D), for each row of shares."""
    met = -np.expm1(-reach[None] * share[:, :, None])
    seen = np.minimum(np.sum(at[None] * met, axis=2), _SUREST_TANGENT)
    steep = 1 / (1 - seen)
    return met * steep[:, :, None], -np.log1p(-seen) - seen * steep
