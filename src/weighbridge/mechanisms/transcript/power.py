"""What a draw of replays catches: each kind of forgery, the check that meets it, and its least chance per verification.

The forger knows the design, the budget and this table, and puts what he forges where the chance is least; only the
seed he does not know. So each chance is that of the worst place, and 0 where a place lies out of reach. What a met
forgery comes to is said beside it: after a walk (:mod:`.walk`) a difference is a doubt, no failure.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.drawn_segments import Population
from weighbridge.mechanisms.transcript.merging import group_of
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.planning.replay_design import ReplayDesign

__all__ = ["Power", "Standing", "powers", "smallest_budget"]

_SHARES = (0.01, 0.1, 0.5)
_REPLAY, _INITIAL = "transcript.replay", "transcript.initial-state"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What replay can show of a run, by how the run was recorded and how it is to be replayed.

    Attributes:
        start: how the state before step 1 is rebuilt from a seed that others chose; None where nothing binds it.
        unbuilt: why its first state is not rebuilt, where it is not.
        walks: whether the program walks, without training, to where a stretch begins: what differs there is a doubt.
        apart: why the run is not replayed by itself; None if it is.
    """

    start: str | None = "always rebuilt from the seed"
    unbuilt: str = "nothing binds the start of this run"
    walks: bool = False
    apart: str | None = None

    @classmethod
    def of(cls, transcript: Transcript, *, from_the_beginning: bool = False, rebuilt: bool = True) -> "Standing":
        """Returns that of a run.

        Args:
            transcript: the opened run.
            from_the_beginning: whether all steps up to the last one drawn are trained again.
            rebuilt: whether its first state was rebuilt; no where a budget did not reach so far.
        """
        start, unbuilt = None, "nothing binds the start of this run"
        if not rebuilt:
            unbuilt = "the budget leaves nothing to rebuild it with"
        elif transcript.bound:
            whose = "the seed" if transcript.nonce is not None else "a seed that nobody else is known to have given"
            start = f"always rebuilt from {whose}" + (", and the committed data" if transcript.observed else "")
        apart = None
        if group_of(transcript) is not None:
            apart = "one rank of several is not replayed by itself: verify the merged run"
        elif "spawner" in transcript.contents["config"]:
            apart = "nothing starts this process in a replay"
        return cls(start=start, unbuilt=unbuilt, walks=transcript.observed and not from_the_beginning, apart=apart)


@dataclass(frozen=True, kw_only=True)
class Power:
    """One kind of forgery.

    Attributes:
        forgery: what is forged.
        check: what catches it.
        chance: least chance to catch it, wherever it lies.
        placed: chance where it lies at a place drawn at random; None where it has no place, or no closed form.
        form: how ``chance`` was computed.
        outcome: what the check says at the worst place if it meets the forgery: fails, or doubts.
    """

    forgery: str
    check: str
    chance: float
    placed: float | None
    form: str
    outcome: Outcome = Outcome.FAIL

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return asdict(self) | {"outcome": self.outcome.value}


def powers(people: Population, design: ReplayDesign, *, standing: Standing) -> list[Power]:
    """Returns the table.

    Args:
        people: what can be drawn.
        design: how.
        standing: what replay can show of the run.
    """
    met = [*_everywhere(people, design), *_somewhere(people, design)]
    return [*_first_boundary(standing), *(_as_it_stands(power, people, standing) for power in met)]


def _first_boundary(standing: Standing) -> Iterator[Power]:
    form = standing.start or standing.unbuilt
    for forgery in (
        "stolen weights, or a splice, at the first boundary",
        "initial weights from another seed than the bound one",
    ):
        chance = float(standing.start is not None)
        yield Power(forgery=forgery, check=_INITIAL, chance=chance, placed=None, form=form)


def _as_it_stands(power: Power, people: Population, standing: Standing) -> Power:
    """Returns what a chance is worth for this run: nothing where nothing is replayed, a doubt after a walk."""
    if standing.apart is not None:
        placed = None if power.placed is None else 0.0
        return replace(power, chance=0.0, placed=placed, form=standing.apart)
    if standing.walks and any(leg.start > 0 for leg in people.every):
        return replace(power, outcome=Outcome.INCONCLUSIVE)
    return power


def _everywhere(people: Population, design: ReplayDesign) -> Iterator[Power]:
    chance = design.detection(len(people.stretches))
    form = "any replay meets it" if chance == 1 else f"all stretches forged; {design.form}"
    for forgery in ("another data order than the seed's, all along", "other data or hyperparameters in every step"):
        yield Power(forgery=forgery, check=_REPLAY, chance=chance, placed=None, form=form)


def _somewhere(people: Population, design: ReplayDesign) -> Iterator[Power]:
    inclusion, reach, open_ended = design.inclusion, people.reach, len(people.beyond)
    worst = 0.0 if open_ended else inclusion
    one = f"{design.form}, and 0 for the steps out of reach" if open_ended else design.form
    for forgery in ("one forged step", "one forged digest interval"):
        yield Power(forgery=forgery, check=_REPLAY, chance=worst, placed=inclusion * reach, form=one)
    joints = len(people.every) - 1
    if joints > 0:
        # A joint shows at the end of the segment before it: the last segment ends in none.
        whole = sum(
            people.stretches[i].until == people.every[n].until for i, n in enumerate(people.segments) if n < joints
        )
        chance = inclusion if whole == joints else 0.0
        form = f"the segment before it is replayed to its end: {design.form}"
        if whole < joints:
            form += f"; {joints - whole} of {joints} joints are out of reach"
        forgery = "one glued joint, or a splice at a later anchor"
        yield Power(forgery=forgery, check=_REPLAY, chance=chance, placed=inclusion * whole / joints, form=form)
    count = len(people.every)
    for forged in sorted({2, 5, -(-count // 10), -(-count // 2)}):
        if 1 < forged <= count:
            yield _several(people, design, forged)
    for share in _SHARES:
        yield _share(people, design, share)


def _several(people: Population, design: ReplayDesign, forged: int) -> Power:
    hidden = min(forged, len(people.beyond))  # each in a part that is out of reach
    chance = design.detection(forged - hidden)
    exact = design.drawn is not None
    form = ("hypergeometric" if exact else "at least, if the packing were known") + f": {design.form}"
    if hidden:
        form = f"{hidden} hide out of reach; {form}"
    placed = chance if exact and not people.beyond else None
    return Power(
        forgery=f"{forged} forged segments of {len(people.every)}",
        check=_REPLAY,
        chance=chance,
        placed=placed,
        form=form,
    )


def _share(people: Population, design: ReplayDesign, share: float) -> Power:
    hidden = people.steps * (1 - people.reach)
    within = max(0.0, share * people.steps - hidden)
    chance = design.detection_of_steps(within, overheads=[people.beside(leg) for leg in people.stretches])
    form = f"in as few segments as hold so many: {design.form}"
    if hidden:
        form = f"{min(share, 1 - people.reach):.1%} hide out of reach; {form}"
    return Power(
        forgery=f"{share:.0%} of all steps forged, or data added in them",
        check=_REPLAY,
        chance=chance,
        placed=None,
        form=form,
    )


def smallest_budget(people: Population, digests: list[int]) -> tuple[int, int]:
    """Returns the fewest steps with which a draw can replay anything, and with which nothing lies out of reach.

    Both are what one draw must be able to cost, a start included; the rest of a verification comes on top.
    """
    shortest, longest = [], [0]
    for leg in people.every:
        longest.append(leg.until - leg.start + people.beside(leg))
        first = min((step for step in (*digests, leg.until) if leg.start < step <= leg.until), default=None)
        if first is not None:
            shortest.append(first - leg.start + people.beside(leg))
    return min(shortest, default=0), max(longest)
