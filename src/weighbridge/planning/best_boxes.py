"""Linear rows that no plan in a box breaks: the relaxation with which :mod:`weighbridge.planning.best_bound` proves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from weighbridge.planning.adversary import Array
from weighbridge.planning.best_game import Game
from weighbridge.planning.best_programme import Rows, Ways, levels

__all__ = ["SUREST", "Box", "Relaxation", "Terms"]

SUREST: Final = -math.expm1(-14.0)
_TANGENTS: Final = np.concatenate([np.linspace(0.0, 3.0, 16), np.linspace(3.5, 14.0, 8)])
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Box:
    """A set of plans.

    Attributes:
        low: least D at each site, for as much of the run as fits one period there.
        high: greatest D.
        worth: looks that are not forbidden.
        paid: looks whose freezes are paid in full.
        parts: further limits: site, FLOP of a part of the run there, least and greatest D of that part.
    """

    low: Array
    high: Array
    worth: NDArray[np.bool_]
    paid: NDArray[np.bool_]
    parts: tuple[tuple[int, float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What -ln(miss) of each way is a sum of, with lines above each term in a box; arrays by way and site.

    Attributes:
        times: periods filled.
        rest: FLOP in one more period, and
        used: whether there are any.
        part: chance that each look meets the rest, (ways, sites, modes).
        fixed: the rest's D follows from that of a filled period, whatever the plan.
        full_line: slope, constant and least D of filled periods, by site.
        part_line: the same of the rest.
        highest: greatest D of the rest.
    """

    times: Array
    rest: Array
    used: Array
    part: Array
    fixed: NDArray[np.bool_]
    full_line: tuple[Array, Array, Array]
    part_line: tuple[Array, Array, Array]
    highest: Array


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """The relaxation of one game.

    Attributes:
        game: the game.
        met: chance that each look meets as much of the run as fits one period, (sites, modes).
        alike: groups of sites that differ in nothing but their names.
    """

    game: Game
    met: Array
    alike: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, game: Game) -> "Relaxation":
        """Returns the game's relaxation."""
        most = np.minimum(game.capacity, game.flop)
        groups = dict[bytes, list[int]]()
        looks = [game.menu.reach, game.menu.worth, game.menu.freezes, *game.menu.costs.values()]
        for site, capacity in enumerate(game.capacity):
            groups.setdefault(b"".join([capacity.tobytes(), *(look[site].tobytes() for look in looks)]), []).append(
                site
            )
        return cls(
            game=game,
            met=-np.expm1(-game.menu.reach * (most / game.capacity)[:, None]),
            alike=tuple(tuple(group) for group in groups.values() if len(group) > 1),
        )

    def whole(self) -> Box:
        """Returns the box of all plans."""
        worth = self.game.menu.worth
        high = np.max(np.where(worth, self.met, 0.0), axis=1)
        return Box(low=np.zeros(len(worth)), high=high, worth=worth, paid=np.zeros_like(worth))

    def sorted(self, box: Box) -> Box:
        """Returns the box without plans that break the order among sites alike."""
        low, high = box.low.copy(), box.high.copy()
        for group in map(list, self.alike):
            high[group] = np.minimum.accumulate(high[group])
            low[group] = np.maximum.accumulate(low[group][::-1])[::-1]
        return replace(box, low=low, high=high)

    def terms(self, box: Box, ways: Sequence[Array]) -> Terms:
        """Returns the terms of the ways, and lines above them in the box."""
        game = self.game
        _, times, rest = levels(Ways(flop=game.flop, hidden=ways), capacity=game.capacity)
        part = -np.expm1(-game.menu.reach[None] * (rest / game.capacity)[:, :, None])
        ratio = part / self.met
        least = np.min(np.where(box.worth, ratio, 1.0), axis=2)
        most = np.max(np.where(box.worth, ratio, 0.0), axis=2)
        lowest, highest = box.low * least, box.high * most
        for site, hidden, low, high in box.parts:
            same = np.isclose(rest[:, site], hidden, rtol=_ROUNDING, atol=0.0)
            lowest[same, site] = np.maximum(lowest[same, site], low)
            highest[same, site] = np.minimum(highest[same, site], high)
        return Terms(
            times=times,
            rest=rest,
            used=(rest > 0).astype(np.float64),
            part=part,
            fixed=most - least <= _ROUNDING,
            full_line=_chords(box.low, box.high),
            part_line=_chords(lowest, highest),
            highest=highest,
        )

    def rows(self, box: Box, ways: Sequence[Array]) -> Rows:
        """Returns rows with two variables, -ln(miss) and the detection, which is maximised."""
        from scipy.sparse import coo_array, vstack

        terms = self.terms(box, ways)
        (slope, base, low), (slopes, bases, lows) = terms.full_line, terms.part_line
        missed = np.exp((terms.times * np.log1p(-low) + terms.used * np.log1p(-lows)).sum(axis=1))
        one, two = missed[:, None] * terms.times / (1 - low), missed[:, None] * terms.used / (1 - lows)
        rows, columns = np.nonzero(box.worth)
        full, part = self.met[rows, columns], terms.part[:, rows, columns]
        met = coo_array((full, (rows, np.arange(len(rows)))), shape=(len(self.met), len(rows))).tocsr()
        # The run in one period of one site: a way that needs no search, and detection is linear in the plan.
        alone = np.flatnonzero(self.game.capacity >= self.game.flop)
        limits, most = self._limits(box, met, rows, columns)
        steep = np.exp(-_TANGENTS)
        caps = np.concatenate([np.stack([-steep, np.ones_like(steep)], axis=1), [[0.0, 1.0]]])
        return Rows(
            gain=vstack(
                [
                    met[alone],
                    coo_array((terms.times * slope)[:, rows] * full + (terms.used * slopes)[:, rows] * part),
                    coo_array(one[:, rows] * full + two[:, rows] * part),
                    limits,
                    coo_array((len(caps), len(rows))),
                ]
            ),
            least=np.concatenate(
                [
                    np.zeros(len(alone)),
                    (terms.times * base + terms.used * bases).sum(axis=1),
                    1 - missed - (one * low + two * lows).sum(axis=1),
                    most,
                    1 - steep - _TANGENTS * steep,
                    [1.0],
                ]
            ),
            theirs=np.concatenate(
                [
                    np.tile([0.0, 1.0], (len(alone), 1)),
                    np.repeat([[1.0, 0.0], [0.0, 1.0]], len(missed), axis=0),
                    np.zeros((len(most), 2)),
                    caps,
                ]
            ),
            goal=np.array([0.0, 1.0]),
        )

    def _limits(self, box: Box, met: Any, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[Any, Array]:
        """Returns the box's own rows, 0 <= gain @ q + least: only those that say more than the box of all plans."""
        from scipy.sparse import coo_array, vstack

        below = np.flatnonzero(box.high < self.whole().high)
        over = np.flatnonzero(box.low > 0)
        order = [pair for group in self.alike for pair in pairwise(group)]
        first, second = [list(side) for side in zip(*order, strict=True)] if order else ([], [])
        reach, capacity = self.game.menu.reach, self.game.capacity
        parts = [
            np.where(rows == site, -np.expm1(-reach[site, columns] * hidden / capacity[site]), 0.0)
            for site, hidden, *_ in box.parts
        ]
        few = coo_array(np.array(parts).reshape(len(parts), len(rows)))
        least, highest = np.array([part[2:] for part in box.parts]).reshape(len(parts), 2).T
        most = [box.high[below], -box.low[over], highest, -least]
        return (
            vstack([-met[below], met[over], -few, few, met[first] - met[second]]),
            np.concatenate([np.concatenate(most) + _ROUNDING, np.zeros(len(order))]),
        )


def _chords(low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Returns slopes and constants of lines above -ln(1 - D) between two chances, and the lower chance."""
    top = np.minimum(high, SUREST)
    low = np.minimum(low, top)
    at_low, at_top, width = -np.log1p(-low), -np.log1p(-top), top - low
    wide = width > _ROUNDING
    slope = np.divide(at_top - at_low, width, out=np.zeros_like(width), where=wide)
    return slope, np.where(wide, at_low - slope * low, at_top), low
