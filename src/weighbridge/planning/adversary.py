"""Where hidden work is safest: the best response of an adversary who knows the plan but not the draw.

Site i, with capacity C_i, is looked at in mode k with chance q_ik, drawn for itself; a look of reach m misses
hidden work that fills the share s of the site's chip-time with probability e^(-m s). So hidden work of u_i FLOP
escapes everywhere with probability prod_i (1 - D_i(u_i)), D_i(u) = sum_k q_ik (1 - e^(-m_ik u / C_i)).

-ln(1 - D_i) is concave in u (a sum of log-convex functions is log-convex), so spreading over more sites, or over
more periods, than the work needs never helps, and the least-watched way to place H FLOP is a minimum of a separable
concave function over a knapsack. It is found by branch and bound on chords (Falk and Soland, Management Science 15,
1969): each chord underestimates, so what is returned is never above the adversary's true optimum by more than
``TOLERANCE``, and a lower bound is returned beside it where the search had to stop early.
"""

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weighbridge.errors import InputError

__all__ = ["TOLERANCE", "Looks", "Response", "best_response"]

Array = NDArray[np.float64]

TOLERANCE: Final = 1e-9
"""Accepted gap, in the logarithm of the chance of a miss."""
_MOST_NODES: Final = 400
# Cells of all nodes together, so that large fleets, whose gap is small anyway, do not take minutes.
_MOST_WORK: Final = 200_000
# A look that cannot miss would make the logarithm infinite; nothing sampled is that sure.
_SUREST: Final = 1 - 1e-15
# Sums of capacities carry rounding; a run that needs precisely all of them is possible.
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What may be seen at each site.

    Attributes:
        capacity: FLOP each site can do in one period, shape (sites,).
        reach: expected incriminating records of a look if all of the site's time were hidden, (sites, modes).
        chances: probability of each look in a period, (sites, modes); rows sum to at most 1.
    """

    capacity: Array
    reach: Array
    chances: Array

    def seen(self, hidden: Array) -> Array:
        """Returns the chance that each site's look meets something if ``hidden`` FLOP ran there."""
        share = hidden / self.capacity
        met = -np.expm1(-self.reach * share[:, None])
        return np.asarray(np.sum(self.chances * met, axis=1), dtype=np.float64)

    def loss(self, hidden: Array) -> Array:
        """Returns -ln(chance of no catch) site by site."""
        return -np.log1p(-np.minimum(self.seen(hidden), _SUREST))


@dataclass(frozen=True, kw_only=True)
class Response:
    """The safest way found to hide a run.

    Attributes:
        hidden: FLOP at each site, all periods together.
        loss: -ln of the chance that nobody notices, for that way.
        bound: no way has a smaller one.
    """

    hidden: Array
    loss: float
    bound: float


def best_response(looks: Looks, *, flop: float, periods: int = 1, without: NDArray[np.bool_] | None = None) -> Response:
    """Returns the safest way to hide ``flop`` FLOP.

    Args:
        looks: the plan, known to the adversary; the draw is not.
        flop: FLOP to be hidden.
        periods: periods over which the run may be stretched, each looked at alike and for itself.
        without: sites that may not be used.

    Raises:
        InputError: if all sites together cannot do it in that time.
    """
    sites = np.arange(len(looks.capacity)) if without is None else np.flatnonzero(~without)
    cells = np.repeat(sites, periods)
    inside = Looks(capacity=looks.capacity[cells], reach=looks.reach[cells], chances=looks.chances[cells])
    low, high = np.zeros(len(cells)), np.minimum(inside.capacity, flop)
    if high.sum() < flop * (1 - _ROUNDING):
        raise InputError(
            f"all sites together can do {high.sum():.4g} FLOP, less than {flop:.4g}",
            field="flop",
            mend="nothing needs inspecting; or give more periods, or a smaller run",
        )
    bound, filled = _relaxed(inside, low=low, high=high, flop=flop)
    best, best_loss = _better_rest(inside, filled, flop=flop)
    queue = [(bound, 0, low, high, filled)]
    order, most = 1, max(10, min(_MOST_NODES, _MOST_WORK // len(cells)))
    while queue and queue[0][0] < best_loss - TOLERANCE and order < most:
        _, _, low, high, filled = heapq.heappop(queue)
        split = int(np.argmax(np.minimum(filled - low, high - filled)))
        left, right = high.copy(), low.copy()
        left[split] = right[split] = filled[split]
        for floor, ceiling in ((low, left), (right, high)):
            if ceiling.sum() < flop * (1 - _ROUNDING) or floor.sum() > flop:
                continue
            bound, way = _relaxed(inside, low=floor, high=ceiling, flop=flop)
            mended, loss = _better_rest(inside, way, flop=flop)
            if loss < best_loss:
                best, best_loss = mended, loss
            heapq.heappush(queue, (bound, order, floor, ceiling, way))
            order += 1
    hidden = np.zeros(len(looks.capacity))
    np.add.at(hidden, cells, best)
    least = min([best_loss, *(entry[0] for entry in queue)])
    return Response(hidden=hidden, loss=best_loss, bound=max(least, 0.0))


def _relaxed(looks: Looks, *, low: Array, high: Array, flop: float) -> tuple[float, Array]:
    """Returns the optimum over chords of the box, and the way that reaches it: a fractional knapsack."""
    at_low, at_high = looks.loss(low), looks.loss(high)
    width = high - low
    slope = np.divide(at_high - at_low, width, out=np.full_like(width, np.inf), where=width > 0)
    # Equal slopes: the larger room first, so that one site is preferred to many.
    cheapest = np.lexsort((-width, slope))
    before = np.cumsum(width[cheapest]) - width[cheapest]
    taken = np.clip(flop - low.sum() - before, 0.0, width[cheapest])
    way = low.copy()
    way[cheapest] += taken
    taking = taken > 0
    return float(at_low.sum() + np.sum(slope[cheapest][taking] * taken[taking])), way


def _better_rest(looks: Looks, way: Array, *, flop: float) -> tuple[Array, float]:
    """Returns the way, or the same full sites with what is left over in the one place where it is safest; its loss."""
    most = np.minimum(looks.capacity, flop)
    at_way = looks.loss(way)
    whole = np.where(way >= most, way, 0.0)
    rest = flop - whole.sum()
    room = (whole == 0) & (most >= rest)
    if rest <= 0 or not room.any():
        return way, float(at_way.sum())
    alone = np.where(room, looks.loss(np.where(room, rest, 0.0)), np.inf)
    safest = int(np.argmin(alone))
    mended = float(at_way[whole > 0].sum() + alone[safest])
    if mended >= at_way.sum():
        return way, float(at_way.sum())
    whole[safest] = rest
    return whole, mended
