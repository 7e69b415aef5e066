"""The search for the best plan: even plans over all depths, depths refined around the best plan, and the bounds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from weighbridge.planning.adversary import Array
from weighbridge.planning.best_bound import CLOSE, bracket
from weighbridge.planning.best_depths import COARSE, finer, first_depths, share_out, table_of, whole
from weighbridge.planning.best_game import Game
from weighbridge.planning.best_menu import Effort, build_menu
from weighbridge.planning.best_programme import Solution
from weighbridge.planning.fleet import Site

__all__ = ["Found", "Setting"]

_MOST_ROUNDS: Final = 4
_BOUND_ROUNDS: Final = 6
_LINEAR_ROUNDS: Final = 25
_ENOUGH: Final = 1e-5
_UNUSED: Final = 1e-7
_BETWEEN: Final = 8
_MOST_COVERS: Final = 12


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the search found.

    Attributes:
        game: the game with the depths that the search ended with.
        plan: the best plan met, with prices of all limited resources but freezes.
        loss: its -ln(chance of no catch).
        uniform: the same of the best plan with equal chances and depth everywhere,
        by_capacity: and of the best with chances in proportion to capacity.
    """

    game: Game
    plan: Solution
    loss: float
    uniform: float
    by_capacity: float


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked.

    Attributes:
        fleet: the sites.
        flop: FLOP of the run.
        days: length of a period.
        periods: periods over which the run may be stretched.
        effort: what a look consists of and costs.
        limits: limited resources by name.
    """

    fleet: Sequence[Site]
    flop: float
    days: float
    periods: int
    effort: Effort
    limits: dict[str, float]

    @property
    def capacity(self) -> Array:
        """FLOP of each site in a period."""
        return np.array([site.capacity(self.days) for site in self.fleet])

    @property
    def freezes(self) -> float | None:
        """Freezes, where they limit depths: of records; whole chips are frozen at a rate, however many are drawn."""
        return self.limits.get("freezes") if self.effort.reading == "records" else None

    def game(self, depths: Array, *, all_depths: bool = False) -> Game:
        """Returns the game with looks of these depths."""
        menu = build_menu(
            self.fleet,
            days=self.days,
            flop=self.flop,
            effort=self.effort,
            depths=depths,
            limits=self.limits,
            all_depths=all_depths,
        )
        return Game(menu=menu, capacity=self.capacity, flop=self.flop, periods=self.periods, limits=self.limits)

    def search(self) -> Found:
        """Returns a plan at least as good as the best even ones; depths are refined until it no longer helps."""
        capacity, sites = self.capacity, range(len(self.fleet))
        first = first_depths(len(self.fleet), freezes=self.freezes)
        evens = [self._even(weights, first) for weights in (np.ones(len(capacity)), capacity / capacity.max())]
        depths = self._freezes_worth_trying()
        rows = [{*first, *(depth for _, depth, _ in evens), *(most[i] for most in depths)} for i in sites]
        game = self.game(table_of(rows))
        best, start = max((game.loss(chances), n) for n, chances in enumerate(_placed(game, d, q) for _, d, q in evens))
        plan = game.solve(_placed(game, *evens[start][1:]), depths=depths)
        for round_ in range(_MOST_ROUNDS if game.small else 2):
            if game.small and round_ == 0 and not (capacity >= self.flop).all():
                plan = replace(plan, chances=bracket(game, start=plan.chances).best)
            best = game.loss(plan.chances)
            used = [game.menu.draws[i][plan.chances[i] > _UNUSED] for i in sites]
            wider = [row | finer(map(float, used[i])) for i, row in enumerate(rows)]
            if self.freezes is not None:
                wider = [{n for n in row if n <= self.freezes} for row in wider]
            if wider == rows:
                break
            rows, looks = wider, _looks(game, plan.chances)
            held = game.freezes(plan.chances)
            game = self.game(table_of(rows))
            plan = game.solve(_moved(game, looks), depths=[held])
            if game.loss(plan.chances) < best + _ENOUGH:
                break
        plan = game.polished(plan.chances)
        return Found(game=game, plan=plan, loss=game.loss(plan.chances), uniform=evens[0][0], by_capacity=evens[1][0])

    def loss_from(self, found: Found) -> float:
        """Returns -ln(chance of no catch) of the best plan met: searched anew, on large fleets from a plan known."""
        if found.game.small:
            return self.search().loss
        splits = self._freezes_worth_trying()
        game = self.game(
            table_of([{*map(float, row), *(one[i] for one in splits)} for i, row in enumerate(found.game.menu.draws)])
        )
        start = _moved(game, _looks(found.game, found.plan.chances))
        return game.loss(game.solve(start, depths=splits).chances)

    def most(self, found: Found) -> float:
        """Returns a detection that no plan exceeds, of any depths: the least of the bounds that are proved."""
        enough = -math.expm1(-found.loss) + CLOSE
        most = self._most_by_freezes()
        # Linear where each site holds the run: then even large fleets take seconds.
        linear = bool((self.capacity >= self.flop).all())
        rounds = _LINEAR_ROUNDS if linear else _BOUND_ROUNDS if found.game.small else 1
        for setting in [self] if self.freezes is None else [self, self._without_freezes()]:
            rows = setting._bounding_rows(found)
            for _ in range(rounds):
                if most <= enough:
                    return most
                game = setting.game(table_of(rows), all_depths=True)
                bound = bracket(game, start=_moved(game, _looks(found.game, found.plan.chances)))
                most = min(most, bound.most)
                split = [row | _within(game.menu.draws[i], bound.best[i]) for i, row in enumerate(rows)]
                if split == rows:
                    break
                rows = split
        return most

    def _most_by_freezes(self) -> float:
        """Returns what visits and freezes allow at the sites that hold all of the run, whatever is done elsewhere."""
        capacity = self.capacity
        alone = capacity >= self.flop
        if self.freezes is None or not alone.any():
            return 1.0
        sites = [site for site, holds in zip(self.fleet, alone, strict=True) if holds]
        return min(
            bound for bound, _ in self._shared_out(sites, share=self.flop / capacity[alone], freezes=self.freezes)
        )

    def _shared_out(self, sites: Sequence[Site], *, share: Array, freezes: float) -> Iterator[tuple[float, Array]]:
        """Yields bound and freezes for each resource that limits visits."""
        for name, weights, draw in (
            ("visits", np.ones(len(sites)), 0.0),
            ("inspector_days", np.array([site.visit_days for site in sites]), self.effort.days_per_draw),
        ):
            if name in self.limits:
                draws = np.full(len(sites), draw)
                yield share_out(share, weights=weights, draws=draws, limit=self.limits[name], freezes=freezes)

    def _without_freezes(self) -> "Setting":
        return replace(self, limits={name: limit for name, limit in self.limits.items() if name != "freezes"})

    def _bounding_rows(self, found: Found) -> list[set[float]]:
        """Returns the depths that the bound begins with: few, so that there may be many boxes, and those used."""
        if self.freezes is None and "freezes" not in found.game.limits:
            return [set(map(float, row)) for row in found.game.menu.draws]
        first = [n for n in first_depths(len(self.fleet), freezes=self.freezes) if n < 1 or n in COARSE]
        return [{*first, *look} for look in _looks(found.game, found.plan.chances)]

    def _even(self, weights: Array, first: Sequence[float]) -> tuple[float, float, Array]:
        """Returns the best plan with chances in proportion to weights and one depth: loss, depth, chances of a look.

        Depths are those of the first round, then the integers between the neighbours of the best, finer and finer.
        """
        tried = dict[float, tuple[float, Array]]()

        def attempt(depth: float) -> None:
            if depth not in tried:
                game = self.game(np.array([depth]))
                chances = game.in_proportion(weights)
                tried[depth] = game.loss(chances), chances[:, 0]

        limit = math.inf if self.freezes is None else self.freezes / len(self.fleet)
        upto = math.floor(limit) if 1 <= limit < math.inf else limit
        for depth in [n for n in first if n <= limit] + ([upto] if 0 < upto < math.inf else []) or [1.0]:
            attempt(depth)
        while True:
            best = max(tried, key=lambda depth: tried[depth][0])
            below = max((d for d in tried if d < best), default=best)
            above = min((d for d in tried if d > best), default=best)
            between = [n for n in np.unique(np.round(np.linspace(below, above, _BETWEEN))) if n >= 1]
            new = [float(n) for n in between if float(n) not in tried and n <= limit]
            if not new:
                return tried[best][0], best, tried[best][1]
            for depth in new:
                attempt(depth)

    def _freezes_worth_trying(self) -> list[Array]:
        """Returns splits of the freezes: for a run hidden at one site; and evenly, over all or the largest."""
        if not self.freezes:
            return []
        sites, freezes, capacity = len(self.fleet), self.freezes, self.capacity
        share = np.minimum(1.0, self.flop / capacity)
        shared = self._shared_out(self.fleet, share=share, freezes=freezes)
        found = [whole(given, share, freezes=freezes) for _, given in shared]
        largest = np.argsort(-capacity, kind="stable")
        counts = range(1, sites + 1) if sites <= _MOST_COVERS else np.unique(np.geomspace(1, sites, 5).astype(int))
        for count in counts:
            given = np.zeros(sites)
            given[largest[:count]] = freezes / count if freezes < count else math.floor(freezes / count)
            if freezes >= count:
                given[largest[: int(freezes - given.sum())]] += 1
            found.append(given)
        return found


def _placed(game: Game, depth: float, chances: Array) -> Array:
    return _moved(game, [{depth: float(chance)} for chance in chances])


def _moved(game: Game, looks: Sequence[dict[float, float]]) -> Array:
    """Returns the plan in the game's columns; looks deeper than a site's deepest become that."""
    found = np.zeros_like(game.menu.draws)
    for site, row in enumerate(looks):
        for depth, chance in row.items():
            if chance > 0:
                column = np.searchsorted(game.menu.draws[site], depth * (1 - 1e-12))
                found[site, min(int(column), found.shape[1] - 1)] += chance
    return found


def _looks(game: Game, chances: Array) -> list[dict[float, float]]:
    """Returns the chance of each depth used, site by site."""
    return [
        {float(depth): float(chance) for depth, chance in zip(*row, strict=True) if chance > _UNUSED}
        for row in zip(game.menu.draws, chances, strict=True)
    ]


def _within(draws: Array, chances: Array) -> set[float]:
    """Returns integers inside the intervals that a bounding plan uses."""
    found = set[float]()
    for column in np.flatnonzero(chances > _UNUSED):
        low = float(draws[column - 1]) if column else 0.0
        found |= {float(n) for n in np.round(np.linspace(low, draws[column], _BETWEEN)) if n >= 1}
    return found
