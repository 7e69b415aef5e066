"""What differs between two transcripts: commitments, then steps, then states down to the first tensor that parts.

Digests of batches and states are salted with a key of the run. Those of two runs can be compared in one case only: one
side has the state itself (an anchor), which is then digested under the other's salt. Everything else that is salted is
said not to be comparable, never passed over.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.committed import Difference, changed, commitments
from weighbridge.mechanisms.transcript.raw_anchor import RawAnchor, first_difference
from weighbridge.mechanisms.transcript.telling import Step, Telling

__all__ = ["Compared", "Difference", "compare"]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The result.

    Attributes:
        differences: in the order: commitment, steps, states.
        unknown: what could not be compared, and why.
        steps: steps that both tell.
        alike_until: the last state that was shown to be the same, by its number of completed steps.
    """

    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    steps: int
    alike_until: int | None

    @property
    def same(self) -> bool:
        """Whether nothing differs in all that could be compared."""
        return not self.differences

    @property
    def parts_at(self) -> int | None:
        """The first step at which the two differ."""
        return min((d.step for d in self.differences if d.step is not None), default=None)


def compare(one: Telling, other: Telling) -> Compared:
    """Compares two runs, or segments.

    Raises:
        EvidenceError: a journal, opening or anchor is damaged.
    """
    unknown: list[str] = []
    found = [*commitments(one, other, unknown)]
    salted_alike = _salted_alike(one, other)
    walk = _Walk(salted_alike)
    for left, right in _joined(one.steps(), other.steps()):
        walk.take(left, right)
    found += walk.differences(one, other)
    if not salted_alike:
        unknown.append(
            "batches: their digests are salted with another key in each run; which rows they hold follows from data and"
            " seed"
        )
    states, alike, missing = _states(one, other, salted_alike, walk.alike)
    found += states
    unknown += missing
    return Compared(differences=tuple(found), unknown=tuple(unknown), steps=walk.both, alike_until=alike)


def _salted_alike(one: Telling, other: Telling) -> bool:
    if one.opening is not None and other.opening is not None:
        return one.opening.key == other.opening.key
    return one.run == other.run


# --- the steps


def _joined(one: Iterator[Step], other: Iterator[Step]) -> Iterator[tuple[Step | None, Step | None]]:
    """Yields the steps of two ascending tellings side by side."""
    left, right = next(one, None), next(other, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.number < right.number):
            yield left, None
            left = next(one, None)
        elif left is None or right.number < left.number:
            yield None, right
            right = next(other, None)
        else:
            yield left, right
            left, right = next(one, None), next(other, None)


class _Walk:
    """Keeps, of a walk along two tellings, the first difference of each kind and how many there were."""

    def __init__(self, salted_alike: bool) -> None:
        self._salted_alike = salted_alike
        self._firsts: dict[str, tuple[int, str]] = {}
        self._counts: dict[str, int] = {}
        self._alone = {"first": 0, "second": 0}
        self._alone_at: dict[str, int] = {}
        self.both = 0
        self.alike: int | None = None

    def take(self, left: Step | None, right: Step | None) -> None:
        if left is None or right is None:
            side, number = ("first", left.number) if left is not None else ("second", right.number if right else 0)
            self._alone[side] += 1
            self._alone_at.setdefault(side, number)
            return
        self.both += 1
        for part in ("loss", "updates", "hyperparameters", "seen"):
            if getattr(left, part) != getattr(right, part):
                self._note(part, left.number, _said(part, left, right))
        if not self._salted_alike:
            return
        if left.batch != right.batch:
            self._note("batch", left.number, "the model was given something else")
        if left.state is not None and right.state is not None:
            if left.state != right.state:
                self._note("state", left.number, f"the state after it (number {left.number + 1}) differs")
            elif "state" not in self._counts:
                self.alike = left.number + 1

    def _note(self, part: str, step: int, what: str) -> None:
        self._firsts.setdefault(part, (step, what))
        self._counts[part] = self._counts.get(part, 0) + 1

    def differences(self, one: Telling, other: Telling) -> Iterator[Difference]:
        order = sorted(self._firsts.items(), key=lambda item: item[1][0])
        for part, (step, what) in order:
            yield Difference(part, what, step, self._counts[part])
        if not (one.whole and other.whole):
            return  # segments overlap, or do not
        for side, count in self._alone.items():
            if count:
                what = f"{count} steps are told by the {side} only"
                yield Difference("length", what, self._alone_at[side], count)
        if one.ended != other.ended:
            yield Difference("length", f"the first {_ending(one.ended)}, the second {_ending(other.ended)}")


def _said(part: str, left: Step, right: Step) -> str:
    if part == "loss":
        sides = (" ".join(f"{float.fromhex(loss):.9g}" for loss in step.loss) or "none" for step in (left, right))
        return " against ".join(sides)
    if part == "hyperparameters":
        before, after = (json.loads(step.hyperparameters or b"null") for step in (left, right))
        return next(changed(before, after, "hyperparameters"), "differ")
    return f"{getattr(left, part)} against {getattr(right, part)}"


def _ending(ended: tuple[int, bool | None]) -> str:
    how = {True: "finished", False: "was ended early", None: "has no end"}[ended[1]]
    return f"{how} at step {ended[0]}"


# --- the states


def _states(
    one: Telling, other: Telling, salted_alike: bool, alike: int | None
) -> tuple[list[Difference], int | None, list[str]]:
    """Compares kept states in order, to the first that differs, and says which could not be read."""
    digests = _digests(one, other)
    unknown: list[str] = []
    opened = 0
    for step in sorted((set(one.anchors) & set(other.anchors)) | set(digests)):
        try:
            difference = _at(one, other, step, digests.get(step), salted_alike)
        except EvidenceError as error:
            unknown.append(f"the state at step {step}: {error}")
            continue
        opened += 1
        if difference is not None:
            return [difference], alike, unknown
        alike = max(alike or 0, step)
    if not salted_alike and not opened:
        unknown.append(
            "states: their digests are salted with another key in each run, and no state was handed over that opens one"
        )
    return [], alike, unknown


def _digests(one: Telling, other: Telling) -> dict[int, tuple[str, str]]:
    """Returns what both sides claim of a state, by step, where not both of them have its file."""
    wanted = (set(one.claims) | set(other.claims)) - (set(one.anchors) & set(other.anchors))
    found: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for telling, digests in zip((one, other), found, strict=True):
        if wanted - set(telling.claims):
            told = ((step.number + 1, step.state) for step in telling.steps())
            digests.update({number: state for number, state in told if state is not None and number in wanted})
        digests.update({number: claim.state for number, claim in telling.claims.items()})
    return {step: (found[0][step], found[1][step]) for step in wanted if step in found[0] and step in found[1]}


def _at(
    one: Telling, other: Telling, step: int, digests: tuple[str, str] | None, salted_alike: bool
) -> Difference | None:
    """Returns how the two states at ``step`` differ, if they do.

    Raises:
        EvidenceError: a file is no anchor, or nothing opens the digests.
    """
    left, right = one.anchors.get(step), other.anchors.get(step)
    for telling, anchored, side in ((one, left, "first"), (other, right, "second")):
        salt = telling.salt(step)
        if anchored is not None and salt is not None and RawAnchor.read(anchored.path).digest(salt) != anchored.state:
            what = f"the {side}'s anchor {anchored.path.name} is not the state that its own journal claims"
            return Difference("state", what, step)
    if left is not None and right is not None:
        parted = first_difference(RawAnchor.read(left.path), RawAnchor.read(right.path))
        if parted is None:
            return None
        more = f" ({parted.others} more differ)" if parted.others else ""
        return Difference("tensor", f"{parted.name}: {parted.what}{more}", step)
    assert digests is not None
    if salted_alike:
        return None if digests[0] == digests[1] else Difference("state", "the committed digests differ", step)
    anchored, telling, digest = (left, other, digests[1]) if left is not None else (right, one, digests[0])
    salt = telling.salt(step)
    if anchored is None or salt is None:
        raise EvidenceError("neither side has a file of it, or an opening is missing, and salts differ")
    if RawAnchor.read(anchored.path).digest(salt) == digest:
        return None
    return Difference("state", "the state that one side handed over is not the one that the other committed to", step)
