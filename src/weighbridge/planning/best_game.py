"""Cutting planes for the best plan: the programme proposes, the adversary answers, until neither is surprised."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weighbridge.planning.adversary import Array, Looks, Response, best_response
from weighbridge.planning.best_menu import Menu
from weighbridge.planning.best_programme import Chords, Solution, Ways, solve_programme

__all__ = ["Game"]

_MOST_ROUNDS: Final = 60
_ROWS_A_ROUND: Final = 12
_MOST_CLIMBS: Final = 12
_CLOSE: Final = 1e-7
_RISE: Final = 1e-5
_NOTHING: Final = 1e-8
_MORE: Final = 1e-3
"""Share of a resource by which it is raised to see what more of it brings."""
_SMALL_FLEET: Final = 40
"""Sites times periods up to which the adversary's answers are enumerated one by one."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """The plan's side and the adversary's, for one fleet and budget.

    Attributes:
        menu: what may be bought.
        capacity: FLOP of each site in a period.
        flop: FLOP to be hidden.
        periods: periods over which the run may be stretched.
        limits: limited resources by name.
    """

    menu: Menu
    capacity: Array
    flop: float
    periods: int
    limits: dict[str, float]

    def looks(self, chances: Array) -> Looks:
        """Returns the plan as the adversary sees it."""
        return Looks(capacity=self.capacity, reach=self.menu.reach, chances=chances)

    def answer(self, chances: Array, *, without: NDArray[np.bool_] | None = None) -> Response:
        """Returns the safest way to hide the run under a plan."""
        return best_response(self.looks(chances), flop=self.flop, periods=self.periods, without=without)

    def freezes(self, chances: Array) -> Array:
        """Returns the freezes that each site must have had, for the deepest look it may get."""
        return np.asarray(np.max(np.where(chances > _CLOSE, self.menu.freezes, 0.0), axis=1), dtype=np.float64)

    def affords(self, chances: Array) -> bool:
        """Returns whether the freezes that the plan needs, paid in full, are within the limit."""
        return float(self.freezes(chances).sum()) <= self.limits.get("freezes", np.inf) * (1 + _CLOSE)

    def solve(self, start: Array, *, depths: Sequence[Array] = ()) -> Solution:
        """Returns a good plan: ``start`` or better.

        Args:
            start: a plan that can be afforded.
            depths: where freezes are limited, freezes at each site that are worth trying: as many as there are.
        """
        if "freezes" not in self.limits:
            return self._improve(start)
        plans = [self._known(start)]
        holdings = [self._holding(self._paid(start))]
        holdings += [self._holding(self.menu.worth & (self.menu.freezes <= most[:, None])) for most in depths]
        starts = [start, *(held.alike() for held in holdings[1:])]
        ranked = sorted(zip(holdings, starts, strict=True), key=lambda pair: -self.loss(pair[1]))
        for held, at in ranked if self.small else ranked[:2]:
            if held.menu.worth.any():
                plans.append(held._improve(at))
        return max(plans, key=lambda plan: self.loss(plan.chances))

    def alike(self) -> Array:
        """Returns the plan of equal chances of the deepest look, at the sites where there is any."""
        looked = np.array(self.menu.worth.any(axis=1), dtype=np.float64)
        return self.in_proportion(looked, deepest_only=True) if looked.any() else self._none()

    def _none(self) -> Array:
        return np.zeros_like(self.menu.draws)

    def polished(self, chances: Array) -> Solution:
        """Returns the plan, or a better one from the same depths; looks no deeper than they need be; with prices."""
        held = self._holding(self._paid(chances))
        plan = held._climbed(chances) if held.menu.worth.any() else self._known(chances)
        plan = replace(plan, prices={name: self._upward(plan, name) for name in plan.prices})
        return replace(plan, chances=self._no_deeper(plan.chances))

    def _upward(self, plan: Solution, name: str) -> float:
        """Returns what a little more of a resource brings: at a corner the dual may hold for less of it only."""
        if not self.small or self.limits[name] == 0:
            return plan.prices[name]
        game = self._holding(self._paid(plan.chances))
        if not game.menu.worth.any():
            return 0.0
        more = _MORE * self.limits[name]
        gained = replace(game, limits={**game.limits, name: self.limits[name] + more})._climbed(plan.chances)
        # Detection's own difference, in units of -ln(miss) at the plan as all prices are: exact where it is linear.
        return max(0.0, -math.expm1(self.loss(plan.chances) - self.loss(gained.chances))) / more

    def _holding(self, depths: NDArray[np.bool_]) -> "Game":
        """Returns the game with looks of these depths, whose freezes are paid."""
        if "freezes" not in self.limits:
            return self
        others = {name: limit for name, limit in self.limits.items() if name != "freezes"}
        return replace(self, menu=replace(self.menu, worth=depths), limits=others)

    def _paid(self, chances: Array) -> NDArray[np.bool_]:
        """Returns the looks whose freezes the plan pays anyway."""
        return np.asarray(self.menu.worth & (self.menu.freezes <= self.freezes(chances)[:, None]), dtype=np.bool_)

    def _known(self, chances: Array) -> Solution:
        return Solution(chances=chances, prices={}, promise=self.loss(chances))

    def _no_deeper(self, chances: Array) -> Array:
        """Returns the plan with all looks cut to the smallest depth of the menu that detects as much."""
        loss = self.loss(chances)
        for depth in range(chances.shape[1]):
            cut = np.where(np.arange(chances.shape[1]) < depth, chances, 0.0)
            cut[:, depth] = chances[:, depth:].sum(axis=1)
            if self.loss(cut) >= loss - _NOTHING:
                return cut
        return chances

    def in_proportion(self, weights: Array, *, deepest_only: bool = False) -> Array:
        """Returns the best plan whose chances are in proportion to ``weights``, with one mode where it makes sense."""
        sites, modes = np.arange(len(self.capacity)), self.menu.worth.shape[1]
        deepest = modes - 1 - np.argmax(self.menu.worth[:, ::-1], axis=1)
        best = self._none()
        for mode in range(modes - 1 if deepest_only else 0, modes):
            cells = sites, np.minimum(mode, deepest)
            if self.menu.freezes[cells].sum() > self.limits.get("freezes", np.inf) * (1 + _CLOSE):
                continue
            costs = {name: cost[cells] for name, cost in self.menu.costs.items()}
            chances = self._none()
            chances[cells] = np.minimum(1.0, self._scale(weights, costs=costs) * weights)
            best = max(best, chances, key=self.loss)
        return best

    def loss(self, chances: Array) -> float:
        """Returns -ln(chance of no catch) against the adversary's best answer."""
        return self.answer(chances).loss

    def _scale(self, weights: Array, *, costs: dict[str, Array]) -> float:
        def within(scale: float) -> bool:
            chances = np.minimum(1.0, scale * weights)
            return all(float(cost @ chances) <= self.limits.get(name, np.inf) for name, cost in costs.items())

        low, high = 0.0, 1.0 / float(weights[weights > 0].min())
        if within(high):
            return high
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if within(middle) else (low, middle)
        return low

    def _improve(self, start: Array) -> Solution:
        """Climbs from a plan: first against chords, then, for small fleets, against the adversary's own answers."""
        plans = [self._known(start)]
        for at in (np.zeros_like(start), start):
            plans.extend(self._climb(at))
        best = max(plans, key=lambda plan: self.loss(plan.chances))
        return self._best([*plans, *self._surprised(best.chances)]) if self.small else self._best(plans)

    def _climbed(self, start: Array) -> Solution:
        """Climbs from a plan alone, and prices what it reaches, by the programme at it if it came from none."""
        plans = self._surprised(start) if self.small else self._climb(start)
        best = self._best([self._known(start), *plans])
        return best if best.prices else replace(best, prices=plans[-1].prices)

    def _best(self, plans: Sequence[Solution]) -> Solution:
        losses = [self.loss(plan.chances) for plan in plans]
        # Of equal plans the last: its duals were taken at itself.
        return [plan for plan, loss in zip(plans, losses, strict=True) if loss >= max(losses) - _CLOSE][-1]

    @property
    def small(self) -> bool:
        """Whether the fleet is small enough for the adversary's answers one by one, and for branch and bound."""
        return len(self.capacity) * self.periods <= _SMALL_FLEET

    def _climb(self, at: Array) -> list[Solution]:
        """Tangents at the last plan, over and over: what they promise is kept, so that it only rises."""
        plans, promise = list[Solution](), -1.0
        for _ in range(_MOST_CLIMBS):
            found = self._programme(Chords(flop=self.flop, periods=self.periods), at=at)
            plans.append(found)
            if found.promise <= promise + _RISE:
                break
            at, promise = found.chances, found.promise
        return plans

    def _surprised(self, at: Array) -> list[Solution]:
        """Adds the adversary's answers to the ways known until none surprises: the double oracle."""
        plans, ways = list[Solution](), [self.answer(at).hidden]
        for _ in range(_MOST_ROUNDS):
            found = self._programme(Ways(flop=self.flop, hidden=ways), at=at)
            plans.append(found)
            answer = self.answer(found.chances)
            news = self.surprises(found, answer)
            ways.extend(news)
            if news:
                continue
            # Only now do tangents move: they promise no more than the truth, so that each move is a rise.
            if np.abs(found.chances - at).max() < _CLOSE:
                break
            at = found.chances
        return plans

    def _programme(self, against: Ways | Chords, *, at: Array) -> Solution:
        return solve_programme(self.menu, capacity=self.capacity, limits=self.limits, against=against, at=at)

    def surprises(self, found: Solution, answer: Response) -> list[Array]:
        """Returns the best answer, and further ones on other sites, as far as they beat what was promised."""
        ways, used = list[Array](), np.zeros(len(self.capacity), dtype=bool)
        while answer.loss < found.promise - _CLOSE and len(ways) < _ROWS_A_ROUND:
            ways.append(answer.hidden)
            used |= answer.hidden > 0
            if self.capacity[~used].sum() * self.periods < self.flop:
                break
            answer = self.answer(found.chances, without=used)
        return ways
