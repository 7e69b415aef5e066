"""Which stretches of a run to replay within a budget, so that the least covered one has the largest possible chance.

A stretch begins at a state that was kept and ends at a committed digest; replaying it costs its steps. The budget C
holds in every draw, not on average. Let q be the least covered stretch's chance of being replayed. Over the draws of
any design the mean cost is at least q·T for T steps in all, so

    q ≤ C / T,

and a replay that stops early gains nothing: a stretch's k-th interval is replayed with the chance that the replay gets
that far, which falls with k, and the forger takes the last. With those chances q_1 ≥ q_2 ≥ … and lengths w_k the mean
cost is Σ q_k·w_k, least for a given last chance where all are equal. So whole stretches are drawn, all with one chance.

Two designs reach it, and the better one is used:

- *Simple sample*: n of the m stretches without replacement, n as large as the n longest fit C. Each has n / m; of g
  forged ones the sample meets one with 1 − C(m−g, n) / C(m, n). Optimal where all cost the same.
- *Packing*: r copies of every stretch are packed into K budgets, no two copies in one; one budget is drawn. Each
  stretch has r / K, exactly, however they were packed. A distribution over the sets that fit, which covers each with q,
  is a fractional packing of size 1 / q, so the best q of all is 1 / (fractional bin-packing number of the costs by C);
  first-fit-decreasing packs one copy into at most 11/9 of the fewest budgets and one more (Dósa 2007).

g forged stretches that cost F together lie, r copies of each, in at least max(r, ⌈r·F / C⌉) budgets, and all but
r·(m − g) budgets hold one, since none is empty: packing meets one of them with at least that many out of K, even if the
forger knew the packing. He does not: it is drawn too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weighbridge.errors import InputError
from weighbridge.planning.segments import segment_detection

__all__ = ["ReplayDesign", "design_replays", "first_fit"]

_MOST_COPIES = 8
_MOST_PLACINGS = 4_000_000
"""Comparisons of a stretch with a budget that packing may cost; beyond, fewer copies are tried."""


@dataclass(frozen=True, kw_only=True)
class ReplayDesign:
    """How stretches are drawn.

    Attributes:
        costs: what replaying each stretch costs, in steps.
        capacity: what one draw may cost; None for no limit.
        most: most stretches of one draw; None for no limit.
        drawn: stretches of a simple sample; None where stretches are packed.
        copies: r, copies of each stretch that are packed.
        budgets: K, budgets that they are packed into.
    """

    costs: tuple[int, ...]
    capacity: int | None
    most: int | None
    drawn: int | None
    copies: int
    budgets: int

    @property
    def inclusion(self) -> float:
        """Chance of each stretch to be replayed."""
        if not self.costs:
            return 0.0
        return self.copies / self.budgets if self.drawn is None else self.drawn / len(self.costs)

    @property
    def bound(self) -> float:
        """What no design within the same budget can exceed: C / T, and n / m where stretches are counted."""
        total = sum(self.costs)
        if not total:
            return 0.0
        by_cost = 1.0 if self.capacity is None else self.capacity / total
        by_count = 1.0 if self.most is None else self.most / len(self.costs)
        return min(1.0, by_cost, by_count)

    @property
    def form(self) -> str:
        """The chance of one stretch, as it was computed."""
        if not self.costs:
            return "nothing can be drawn"
        if self.drawn is None:
            return f"{self.copies} of {self.budgets} packed budgets"
        return f"{self.drawn} of {len(self.costs)} without replacement"

    def detection(self, forged: int) -> float:
        """Least chance to meet one of ``forged`` stretches, wherever they are.

        Exact for a simple sample (hypergeometric); for a packing a lower bound, against a forger who knew it.

        Raises:
            InputError: there are fewer stretches.
        """
        if not 0 <= forged <= len(self.costs):
            raise InputError(f"{forged} of {len(self.costs)} stretches cannot be forged", field="forged")
        if forged == 0:
            return 0.0
        if self.drawn is not None:
            return segment_detection(len(self.costs), forged=forged, drawn=self.drawn)
        return self._packed(sum(sorted(self.costs)[:forged]), forged)

    def detection_of_steps(self, steps: float, *, overheads: Sequence[int] = ()) -> float:
        """Least chance to meet a forged stretch if so many steps lie in forged ones, wherever those are.

        Args:
            steps: steps in forged stretches, as they were cut.
            overheads: what each stretch costs beside its own steps (a start, a walk); none if left out.
        """
        beside = overheads or [0] * len(self.costs)
        forged, covered = 0, 0
        lengths = [cost - other for cost, other in zip(self.costs, beside, strict=True)]
        for length in sorted(lengths, reverse=True):  # the fewest that hold so many
            if covered >= steps - 1e-9:
                break
            forged, covered = forged + 1, covered + length
        if self.drawn is not None or not forged:
            return self.detection(forged)
        return self._packed(steps + sum(sorted(beside)[:forged]), forged)

    def _packed(self, cost: float, forged: int) -> float:
        budgets = self.copies
        if self.capacity is not None:
            budgets = max(budgets, math.ceil(self.copies * cost / self.capacity - 1e-9))
        if self.most is not None:
            budgets = max(budgets, -(-self.copies * forged // self.most))
        budgets = max(budgets, self.budgets - self.copies * (len(self.costs) - forged))
        return min(1.0, budgets / self.budgets)


def design_replays(costs: Sequence[int], *, capacity: int | None = None, most: int | None = None) -> ReplayDesign:
    """Returns the design under which the least covered stretch has the largest chance.

    Args:
        costs: steps of each stretch, at least 1.
        capacity: steps that any draw may cost; no stretch costs more.
        most: stretches that any draw may hold.

    Raises:
        InputError: a stretch costs nothing, or more than the capacity.
    """
    if any(cost < 1 or (capacity is not None and cost > capacity) for cost in costs):
        raise InputError("a stretch costs nothing, or more than a draw may", field="costs")
    drawn = _simple(costs, capacity, most)
    simple = ReplayDesign(costs=tuple(costs), capacity=capacity, most=most, drawn=drawn, copies=0, budgets=0)
    if drawn == len(costs) or capacity is None or len(set(costs)) == 1 or most == 0:
        return simple  # all of them, or alike: nothing is better
    best = simple
    order = sorted(range(len(costs)), key=lambda index: -costs[index])
    for copies in range(1, _MOST_COPIES + 1):
        if copies > 1 and (copies * len(costs)) ** 2 // 4 > _MOST_PLACINGS:
            break
        budgets = len(first_fit(costs, order, capacity=capacity, most=most, copies=copies))
        packed = ReplayDesign(
            costs=tuple(costs), capacity=capacity, most=most, drawn=None, copies=copies, budgets=budgets
        )
        if packed.inclusion > best.inclusion + 1e-12:
            best = packed
    return best


def _simple(costs: Sequence[int], capacity: int | None, most: int | None) -> int:
    """Returns how many stretches fit even if they are the longest."""
    longest = sorted(costs, reverse=True)[: len(costs) if most is None else most]
    spent = 0
    for number, cost in enumerate(longest):
        spent += cost
        if capacity is not None and spent > capacity:
            return number
    return len(longest)


def first_fit(
    costs: Sequence[int],
    order: Sequence[int],
    *,
    capacity: int | None,
    most: int | None = None,
    copies: int = 1,
    budgets: int | None = None,
) -> list[list[int]]:
    """Packs copies of stretches, in the order given, each into the first budgets with room that lack it.

    Args:
        costs: by number of the stretch.
        order: numbers of all stretches.
        capacity: steps that a budget holds.
        most: stretches that a budget holds.
        copies: copies of each.
        budgets: give up when more are needed.

    Returns:
        The stretches in each budget; none at all if they did not fit in ``budgets``.
    """
    packed: list[list[int]] = []
    left: list[int] = []
    first = 0  # budgets before it are full
    for index in order:
        wanted, place = copies, first
        while wanted:
            if place == len(packed):
                if budgets is not None and len(packed) == budgets:
                    return []
                packed.append([])
                left.append(capacity if capacity is not None else sum(costs))
            if costs[index] <= left[place] and (most is None or len(packed[place]) < most):
                packed[place].append(index)
                left[place] -= costs[index]
                wanted -= 1
            place += 1
        while first < len(packed) and (left[first] == 0 or (most is not None and len(packed[first]) >= most)):
            first += 1
    return packed
