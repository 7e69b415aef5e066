"""Which stretches of a run are replayed: a uniform draw that carries the claim, and suspicion beside it.

The design (:mod:`weighbridge.planning.replay_design`) fixes each stretch's chance before the seed is known. A segment
that costs more than the whole budget is cut at the last committed digest that the budget reaches; what lies behind is
out of reach, has no chance at all, and is said. Then, in order:

1. *Uniform*: one draw of the design, over all stretches alike.
2. *Suspicion*: what is left, in an order drawn with chances in proportion to suspicion. Where anything is suspected,
   the uniform part gets half of the budget, or as much as the longest stretch needs. Suspicion can be steered by the
   operator, so it raises no stated chance.
3. *Remainder*: what is left then, in random order, as far as it fits.

All of it follows from the seed, the costs and the suspicions.
"""

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from weighbridge.errors import InputError
from weighbridge.evidence.draws import draw_order
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.planning.replay_design import ReplayDesign, design_replays, first_fit

__all__ = ["Draw", "Population", "draw_replays", "population"]

_COARSENESS = (math.inf, 4.0, 2.0, 1.5, 1.25, 1.1, 1.0)
"""Stretches whose costs are within this factor are packed in random order; the first that packs tightly is used."""


@dataclass(frozen=True, kw_only=True)
class Population:
    """What can be drawn, and what it costs.

    Attributes:
        stretches: segments, or their beginnings where the whole costs more than the budget.
        segments: number of each one's segment.
        every: the run's segments.
        capacity: steps that a draw may cost; None for no limit.
        most: stretches of a draw; None for no limit.
        overhead: steps that starting each replay costs.
        suspicion: weight by the first step of a segment; none below 0.
        walk: what walking one step without training costs, in steps; 0 where replay begins at an anchor at once.
    """

    stretches: tuple[Leg, ...]
    segments: tuple[int, ...]
    every: tuple[Leg, ...]
    capacity: int | None
    most: int | None
    overhead: int
    suspicion: Mapping[int, float]
    walk: float = 0.0

    def beside(self, leg: Leg) -> int:
        """Returns what a stretch costs beside its own steps: its start, and the walk to it."""
        return self.overhead + math.ceil(self.walk * leg.start)

    @property
    def costs(self) -> tuple[int, ...]:
        """Steps that each stretch costs, its start and the walk to it included."""
        return tuple(leg.until - leg.start + self.beside(leg) for leg in self.stretches)

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return sum(leg.until - leg.start for leg in self.every)

    @property
    def beyond(self) -> tuple[Leg, ...]:
        """Steps that no draw of this budget reaches."""
        reached = dict(zip(self.segments, self.stretches, strict=True))
        return tuple(
            Leg(reached[number].until if number in reached else leg.start, leg.until)
            for number, leg in enumerate(self.every)
            if number not in reached or reached[number].until < leg.until
        )

    @property
    def reach(self) -> float:
        """Share of the run's steps that a draw of this budget can reach."""
        lost = sum(leg.until - leg.start for leg in self.beyond)
        return 1 - lost / self.steps if self.steps else 0.0

    @property
    def design(self) -> ReplayDesign:
        """The design of the uniform part."""
        costs, suspected = self.costs, any(self.suspicion.get(leg.start, 0.0) > 0 for leg in self.stretches)
        capacity, most = self.capacity, self.most
        if suspected and capacity is not None and costs:
            capacity = max(-(-capacity // 2), max(costs))
        if suspected and most is not None:
            most = -(-most // 2)
        return design_replays(costs, capacity=capacity, most=most)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw.

    Attributes:
        population: what it was drawn from.
        design: how the uniform part was drawn.
        uniform, suspected, remainder: numbers of stretches, by the part that drew them.
    """

    population: Population
    design: ReplayDesign
    uniform: tuple[int, ...]
    suspected: tuple[int, ...]
    remainder: tuple[int, ...]

    @property
    def legs(self) -> list[Leg]:
        """What to replay, in the run's order."""
        numbers = (*self.uniform, *self.suspected, *self.remainder)
        return sorted((self.population.stretches[number] for number in numbers), key=lambda leg: leg.start)

    @property
    def cost(self) -> int:
        """Steps that it costs, starts included."""
        return sum(leg.until - leg.start + self.population.beside(leg) for leg in self.legs)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data: with the seed, enough to draw again."""
        people = self.population
        parts: dict[int, str] = {}
        for name in ("uniform", "suspected", "remainder"):
            parts |= dict.fromkeys(getattr(self, name), name)
        return {
            "capacity": people.capacity,
            "most": people.most,
            "overhead": people.overhead,
            "walk": people.walk,
            "design": self.design.form,
            "inclusion": self.design.inclusion,
            "inclusion_bound": self.design.bound,
            "reach": people.reach,
            "out_of_reach": [[leg.start, leg.until] for leg in people.beyond],
            "stretches": [
                {
                    "start": leg.start,
                    "until": leg.until,
                    "segment_until": people.every[people.segments[number]].until,
                    "suspicion": people.suspicion.get(leg.start, 0.0),
                    "inclusion": self.design.inclusion,
                    "drawn": parts.get(number),
                }
                for number, leg in enumerate(people.stretches)
            ],
        }


def population(
    every: Sequence[Leg],
    *,
    digests: Collection[int],
    capacity: int | None = None,
    most: int | None = None,
    overhead: int = 0,
    suspicion: Mapping[int, float] | None = None,
    walk: float = 0.0,
) -> Population:
    """Returns what can be drawn of a run's segments.

    Args:
        every: the segments, in order.
        digests: steps whose states were committed: where a replay may stop.
        capacity: steps that a draw may cost.
        most: stretches that it may hold.
        overhead: steps that the start of each replay costs.
        suspicion: by the first step of a segment.
        walk: what walking one step without training costs, in steps.

    Raises:
        InputError: a suspicion is no finite number of at least 0.
    """
    suspected = dict(suspicion or {})
    if not all(math.isfinite(weight) and weight >= 0 for weight in suspected.values()):
        raise InputError("must be finite and not negative", where="suspicion")
    ends = sorted(digests)
    stretches, segments = [], []
    for number, leg in enumerate(every):
        if leg.until == leg.start:
            continue
        until: int | None = leg.until
        extra = overhead + math.ceil(walk * leg.start)
        if capacity is not None and leg.until - leg.start + extra > capacity:
            until = max((step for step in ends if leg.start < step <= leg.start + capacity - extra), default=None)
        if until is not None:
            stretches.append(replace(leg, until=until))
            segments.append(number)
    return Population(
        stretches=tuple(stretches),
        segments=tuple(segments),
        every=tuple(every),
        capacity=capacity,
        most=most,
        overhead=overhead,
        suspicion=suspected,
        walk=walk,
    )


def draw_replays(people: Population, *, seed: bytes, design: ReplayDesign | None = None) -> Draw:
    """Draws what to replay.

    Args:
        people: what can be drawn.
        seed: known to nobody before the transcript was handed over.
        design: ``people.design``, where it is at hand already.
    """
    design = people.design if design is None else design
    uniform = _uniform(design, seed)
    costs, taken = people.costs, set(uniform)
    left = None if people.capacity is None else people.capacity - sum(costs[number] for number in uniform)
    room = None if people.most is None else people.most - len(uniform)

    def fitting(order: Iterator[int]) -> tuple[int, ...]:
        nonlocal left, room
        found = []
        for number in order:
            if number in taken or room == 0 or (left is not None and costs[number] > left):
                continue
            found.append(number)
            taken.add(number)
            left = None if left is None else left - costs[number]
            room = None if room is None else room - 1
        return tuple(sorted(found))

    suspected = fitting(_suspects(people, seed))
    remainder = fitting(iter(_order(len(costs), _turn(seed, "remainder"))))
    return Draw(population=people, design=design, uniform=uniform, suspected=suspected, remainder=remainder)


def _uniform(design: ReplayDesign, seed: bytes) -> tuple[int, ...]:
    count = len(design.costs)
    if design.drawn is not None:
        return tuple(sorted(_order(count, _turn(seed, "uniform"))[: design.drawn]))
    chosen = _order(design.budgets, _turn(seed, "budget"))[0]
    for attempt, coarseness in enumerate(_COARSENESS):
        order = _order(count, _turn(seed, f"packing/{attempt}"))
        order.sort(key=lambda number: -_coarse(design.costs[number], coarseness))
        packed = first_fit(
            design.costs,
            order,
            capacity=design.capacity,
            most=design.most,
            copies=design.copies,
            budgets=design.budgets,
        )
        if len(packed) == design.budgets:
            return tuple(sorted(packed[chosen]))
    raise AssertionError("sorted by cost they pack as the design did")


def _coarse(cost: int, factor: float) -> float:
    return cost if factor == 1 else 0.0 if factor == math.inf else math.floor(math.log(cost) / math.log(factor))


def _suspects(people: Population, seed: bytes) -> Iterator[int]:
    """Yields suspected stretches in an order drawn in proportion to suspicion (exponential clocks)."""
    clocks = []
    for number, leg in enumerate(people.stretches):
        weight = people.suspicion.get(leg.start, 0.0)
        if weight > 0:
            lot = int.from_bytes(_turn(seed, f"suspicion/{leg.start}")[:8], "big")
            clocks.append((-math.log((lot + 1) / 2**64) / weight, number))
    return (number for _, number in sorted(clocks))


def _order(count: int, seed: bytes) -> list[int]:
    return [int(name) for name in draw_order([f"{number:09d}" for number in range(count)], count, seed=seed)]


def _turn(seed: bytes, what: str) -> bytes:
    return hashlib.sha256(b"weighbridge/replays/1/" + what.encode() + b"\0" + seed).digest()
