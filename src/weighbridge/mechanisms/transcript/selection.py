"""From a budget to what is replayed of one run, and what that shows: the draw, its power, and its price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.drawn_segments import Draw, draw_replays, population
from weighbridge.mechanisms.transcript.power import Power, Standing, powers, smallest_budget
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.spending import Account, Budget
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["Selection", "select_replays"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was drawn, and what the draw was worth before its seed was known.

    Attributes:
        draw: the draw.
        powers: the chance to catch each kind of forgery.
        smallest: fewest steps that a draw must be able to cost to replay anything; and to reach every step.
        fixed: steps' worth of what was spent before anything could be drawn, where the budget counts it; else 0.
    """

    draw: Draw
    powers: tuple[Power, ...]
    smallest: tuple[int, int]
    fixed: int

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return self.draw.population.steps

    @property
    def whole(self) -> bool:
        """Whether everything is replayed."""
        people = self.draw.population
        return not people.beyond and len(self.draw.legs) == len(people.stretches)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "draw": self.draw.as_dict()
            | {
                "fixed_cost": self.fixed,
                "smallest_budget": self.smallest[0] + self.fixed,
                "full_reach_budget": self.smallest[1] + self.fixed,
            },
            "power": [power.as_dict() for power in self.powers],
        }

    def finding(self, transcript: Transcript) -> Finding:
        """Returns what a draw of a part leaves open."""
        people, legs = self.draw.population, self.draw.legs
        every = [leg for leg in people.every if leg.until > leg.start]
        whole = sum(leg in every for leg in legs)
        steps = sum(leg.until - leg.start for leg in legs)
        reason = f"{whole} of {len(every)} segments ({steps} of {people.steps} steps) were replayed"
        worst = 0.0 if people.beyond else self.draw.design.inclusion
        if people.capacity is not None and not people.stretches:
            reason += (
                f"; the budget leaves {people.capacity} steps to replay, and the first committed digest after any"
                f" anchor costs {self.smallest[0]}: the smallest useful budget is {self._words(self.smallest[0])},"
                f" and {self._words(self.smallest[1])} reach all{self._anchors(transcript.stride)}"
            )
        elif people.beyond:
            reason += (
                f"; {1 - people.reach:.1%} of the steps lie out of this budget's reach, where a forged step is never"
                f" met ({self._words(self.smallest[1])} reach all{self._anchors(transcript.stride)})"
            )
        else:
            reason += f"; one forged step is missed with chance {1 - worst:.1%}, wherever it lies"
        return Finding(
            check="transcript.replay-share",
            subject=transcript.run,
            outcome=Outcome.INCONCLUSIVE,
            reason=reason,
            figure=worst,
            unit="chance to meet one forged step",
        )

    def _anchors(self, stride: int) -> str:
        """Says what distance between anchors would have brought all of the run into the budget's reach."""
        people = self.draw.population
        dearest = max((people.beside(leg) for leg in people.every), default=0)
        every = 0 if people.capacity is None else (people.capacity - dearest) // stride * stride
        return f"; with an anchor every {every} steps (anchor_every) this one would" if every > 0 else ""

    def _words(self, steps: int) -> str:
        total = steps + self.fixed
        share = total / self.draw.population.steps if self.draw.population.steps else 0.0
        return f"{total} steps ({share:.3%} of the run)" if total < 1 << 60 else "unknown: its journal counts no time"


def select_replays(
    transcript: Transcript,
    every: Sequence[Leg],
    *,
    seed: bytes,
    segments: int | None,
    budget: Budget | int | None,
    account: Account,
    suspicion: Mapping[int, float],
    from_the_beginning: bool = False,
    rebuilt: bool = True,
) -> Selection:
    """Draws what to replay of a run.

    Args:
        transcript: the run.
        every: its segments.
        seed: seed of the draw.
        segments: segments to replay at most; None for all that the budget allows.
        budget: steps of replay; or a share of the run's compute, everything counted in that the account holds, and
            the start of each stretch's own process, with the walk to where it begins.
        account: what was spent already.
        suspicion: by the first step of a segment.
        from_the_beginning: whether all steps up to the last one drawn are trained again.
        rebuilt: whether the budget reached as far as to rebuild the first state.

    Raises:
        InputError: a suspicion is no number.
    """
    capacity, overhead, fixed, walk = None, 0, 0, 0.0
    budget = Budget(steps=budget) if isinstance(budget, int) else budget
    if budget is not None and budget.share is not None:
        overhead = account.in_steps(account.starts_s)
        fixed = account.in_steps(account.spent_cpu_s + (0.0 if rebuilt else account.starts_s))
        capacity = account.left_steps(budget.share)
        walk = account.walk
    elif budget is not None:
        capacity = budget.steps
    people = population(
        every,
        digests=transcript.digests,
        capacity=capacity,
        most=segments,
        overhead=overhead,
        suspicion=suspicion,
        walk=walk,
    )
    design = people.design
    draw = draw_replays(people, seed=seed, design=design)
    standing = Standing.of(transcript, from_the_beginning=from_the_beginning, rebuilt=rebuilt)
    table = powers(people, design, standing=standing)
    smallest = smallest_budget(people, sorted(transcript.digests))
    return Selection(draw=draw, powers=tuple(table), smallest=smallest, fixed=fixed)
