"""What no plan exceeds: a global bound on worst-case detection, by branch and bound, and the better plans met there.

A plan's chance of meeting a run hidden in way w is 1 - prod (1 - D_i), D_i linear in the plan q. Why the figure holds:

1. Against some ways only, the adversary does no better than against all: max over q of min over *known* ways is at
   least max over q of min over all ways. Ways are added where they cut, never taken away.
2. Let q lie in a box low_i <= D_i(c_i) <= high_i, c_i the most of the run that fits site i in a period. -ln(1 - D) is
   convex, so it lies below its chord over the box; detection 1 - e^(-z) is concave in z and lies below its tangents.
   Also prod (1 - x_i) >= 1 - sum x_i (Weierstrass), with x_i = (D_i - low_i) / (1 - low_i), bounds detection linearly.
   Both are rows of one linear programme over q.
3. D_i of a part of c_i lies between the least and the greatest ratio of the modes' chances times D_i(c_i); boxes may
   limit it too.
4. Where logarithms are, chances above 1 - e^-14 are taken as that, which costs no detection more than e^-14; that is
   added to the result.
5. Of sites alike in everything, plans may be sorted: exchanging their rows changes no detection and no cost.
6. Freezes relaxed cost no more than in full; a branch pays a look's freezes in full, or forbids it.
7. Boxes are cut in two at the plan of their programme. Together they stay all plans, so the largest programme of those
   still open bounds every plan (Falk and Soland, Management Science 15, 1969).
"""

import heapq
import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from weighbridge.planning.adversary import Array
from weighbridge.planning.best_boxes import SUREST, Box, Relaxation, Terms
from weighbridge.planning.best_game import Game
from weighbridge.planning.best_programme import Solution, try_programme

__all__ = ["CLOSE", "Bracket", "bracket"]

CLOSE: Final = 1e-3
"""Gap in detection at which the search stops."""
_MOST_BOXES: Final = 250
# Looks of all boxes together, for small fleets; large ones get one box, and a looser bound.
_MOST_WORK: Final = 10_000
_MOST_ROUNDS: Final = 20
_ROUNDING: Final = 1e-9
_CLIPPED: Final = math.exp(-14.0)


@dataclass(frozen=True, kw_only=True)
class Bracket:
    """What the search proved and found.

    Attributes:
        most: detection that no plan exceeds.
        best: best plan known: the one given, or a better one met.
        better: whether it is a better one.
    """

    most: float
    best: Array
    better: bool


def bracket(game: Game, *, start: Array) -> Bracket:
    """Returns a detection that no plan exceeds, and a better plan than ``start`` if the search meets one."""
    search = _Search(game, start=start)
    most = search.run()
    return Bracket(most=most, best=search.best, better=search.best is not start)


class _Search:
    """Best bound first. Keeps the ways met, and the best plan."""

    def __init__(self, game: Game, *, start: Array) -> None:
        self.game, self.relaxed, self.best = game, Relaxation.of(game), start
        answer = game.answer(start)
        self.found = -math.expm1(-answer.loss)
        self.ways = [answer.hidden]

    def run(self) -> float:
        waiting, queue, order, closed = [self.relaxed.whole()], list[tuple[float, int, Box, Solution]](), 0, 0.0
        looks = max(1, int(self.game.menu.worth.sum()))
        most = max(1, min(_MOST_BOXES, _MOST_WORK // looks)) if self.game.small else 1
        while True:
            for box in waiting:
                plan = self._solve(box)
                if plan is not None:
                    heapq.heappush(queue, (-plan.promise, order, box, plan))
                    order += 1
            if not queue or -queue[0][0] <= self.found + CLOSE or order >= most:
                break
            _, _, box, plan = heapq.heappop(queue)
            waiting = self._cut(box, plan)
            if not waiting:
                closed = max(closed, plan.promise)
        return min(1.0, max([self.found, closed, *(-entry[0] for entry in queue)]) + _CLIPPED)

    def _solve(self, box: Box) -> Solution | None:
        """Returns the programme of the box against the ways known and those that its plans call up."""
        plan = None
        for _ in range(_MOST_ROUNDS):
            known = len(self.ways)
            plan = try_programme(
                replace(self.game.menu, worth=box.worth),
                capacity=self.game.capacity,
                limits=self.game.limits,
                against=self.relaxed.rows(box, self.ways),
                at=self.best,
                paid=box.paid,
            )
            if plan is None or plan.promise <= self.found + CLOSE or not self._learn(plan):
                break
            if self._above(box, plan, way=known) >= plan.promise - CLOSE / 4:
                break
        return plan

    def _learn(self, plan: Solution) -> bool:
        """Takes the plan if it is better, and the adversary's answer to it; returns whether the answer is new."""
        answer = self.game.answer(plan.chances)
        detection = -math.expm1(-answer.loss)
        if detection > self.found and self.game.affords(plan.chances):
            self.best, self.found = plan.chances, detection
        if any(np.allclose(answer.hidden, way, rtol=_ROUNDING, atol=0.0) for way in self.ways):
            return False
        self.ways.append(answer.hidden)
        if not self.game.small:
            # One box must do: ways on other sites at once, in fewer rounds.
            promise = -math.log1p(-min(plan.promise, SUREST))
            self.ways[-1:] = self.game.surprises(replace(plan, promise=promise), answer) or [answer.hidden]
        return True

    def _cut(self, box: Box, plan: Solution) -> list[Box]:
        """Returns the box in two parts: at freezes that were not paid in full, else where a chord is worst.

        Empty if the programme is exact at its plan, which then bounds the box as it is.
        """
        unpaid = self._unpaid(box, plan)
        if unpaid is not None:
            site, mode = unpaid
            worth, paid = box.worth.copy(), box.paid.copy()
            worth[site, mode:] = False
            paid[site, : mode + 1] = True
            return [replace(box, worth=worth), replace(box, paid=paid)]
        terms = self.relaxed.terms(box, self.ways)
        (full, part), (true, above) = self._losses(terms, plan.chances)
        way = int(np.argmin((true[0] + true[1]).sum(axis=1)))
        error, error_part = (high[way] - low[way] for high, low in zip(above, true, strict=True))
        site = int(np.argmax(np.maximum(error, error_part)))
        if max(error[site], error_part[site]) <= _ROUNDING:
            cut_off = -math.expm1(-float((above[0] + above[1]).sum(axis=1).min())) < plan.promise - CLOSE / 4
            return [box] if cut_off else []
        if error[site] >= error_part[site] or terms.fixed[way, site]:
            below, over = box.high.copy(), box.low.copy()
            below[site] = over[site] = _between(full[site], box.low[site], box.high[site])
            return [self.relaxed.sorted(replace(box, high=below)), self.relaxed.sorted(replace(box, low=over))]
        low, high = float(terms.part_line[2][way, site]), float(terms.highest[way, site])
        middle, hidden = _between(part[way, site], low, high), float(terms.rest[way, site])
        return [replace(box, parts=(*box.parts, (site, hidden, *ends))) for ends in ((low, middle), (middle, high))]

    def _above(self, box: Box, plan: Solution, *, way: int) -> float:
        """Returns what the box's chords make of the plan's detection in one way."""
        _, (_, above) = self._losses(self.relaxed.terms(box, [self.ways[way]]), plan.chances)
        return -math.expm1(-float((above[0] + above[1]).sum()))

    def _losses(
        self, terms: Terms, chances: Array
    ) -> tuple[tuple[Array, Array], tuple[tuple[Array, Array], tuple[Array, Array]]]:
        """Returns D of filled periods and of rests; their -ln(1 - D) by way and site; and what chords make of those."""
        full = np.sum(chances * self.relaxed.met, axis=1)
        part = np.sum(chances[None] * terms.part, axis=2)
        true = tuple(
            -times * np.log1p(-np.minimum(chance, SUREST))
            for times, chance in ((terms.times, full), (terms.used, part))
        )
        (slope, base, _), (slopes, bases, _) = terms.full_line, terms.part_line
        above = terms.times * (base + slope * full), terms.used * (bases + slopes * part)
        return (full, part), ((true[0], true[1]), above)

    def _unpaid(self, box: Box, plan: Solution) -> tuple[int, int] | None:
        """Returns the look whose freezes the programme paid least of, if it overspends freezes."""
        used = (plan.chances > _ROUNDING) & ~box.paid
        if self.game.affords(plan.chances) or not used.any():
            return None
        as_deep = np.cumsum(plan.chances[:, ::-1], axis=1)[:, ::-1]
        short = np.where(used, self.game.menu.freezes * (1 - as_deep), -np.inf)
        site, mode = np.unravel_index(int(np.argmax(short)), short.shape)
        return int(site), int(mode)


def _between(at: float, low: float, high: float) -> float:
    """Returns a point to cut at: where the plan is, but for a twentieth at either end."""
    return float(np.clip(at, low + (high - low) / 20, high - (high - low) / 20))
