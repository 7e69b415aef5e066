"""Localising a divergence of one run: replays of the verifier's own, the journal, and the operator's answers."""

import bisect as ordered
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.bisection import (
    Answers,
    Parting,
    bisect,
    first_leaf,
    first_parting,
    is_the_state,
)
from weighbridge.mechanisms.transcript.leaves import leaves_at
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["Divergence", "localise"]


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Where the replay leaves the run.

    Attributes:
        agreed: the last committed digest that the replay has.
        parted: the first that it has not.
        step: the one step: its state before is the same on both sides, the state after is not; None if unknown.
        journal: the first step in between of which the journal tells something else, and what; None if all is alike.
        shown_by: how the step is known.
        parting: the first tensor after that step, by the leaves of a committed digest; and its first element, where the
            operator's state is at hand.
        answers: digests and states that the operator was asked for.
        refuted: what the operator said that his own state shows to be false; None if nothing is.
    """

    agreed: int
    parted: int
    step: int | None
    journal: tuple[int, str] | None
    shown_by: str
    parting: Parting | None
    answers: int
    refuted: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "agreed": self.agreed,
            "parted": self.parted,
            "step": self.step,
            "journal": None if self.journal is None else {"step": self.journal[0], "what": self.journal[1]},
            "shown_by": self.shown_by,
            "parting": None if self.parting is None else self.parting.as_dict(),
            "answers": self.answers,
            "refuted": self.refuted,
        }


class _Asked:
    """Counts what the operator is asked for."""

    def __init__(self, answers: Answers, tell: Callable[[str], None]) -> None:
        self._answers, self._tell = answers, tell
        self.count = 0
        self.digests: dict[int, str] = {}

    def digest(self, step: int) -> str:
        self.count += 1
        self.digests[step] = self._answers.digest(step)
        return self.digests[step]

    def state(self, step: int) -> TrainingState:
        self.count += 1
        return self._answers.state(step)

    def told(self, step: int, same: bool) -> None:
        self._tell(f"the operator's state {step} is {'the same' if same else 'another'}")


def localise(
    transcript: Transcript,
    *,
    answers: Answers | None = None,
    start: int = 0,
    until: int | None = None,
    data: Path | None = None,
    parent: Path | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Divergence | None:
    """Replays a run, or the segments that hold some of its steps, and finds where it parts from what was committed.

    Args:
        transcript: the opened run.
        answers: the operator, if he can be asked.
        start: first step to look at.
        until: last one; None for the end.
        data: as :func:`~.replay.replay`.
        parent: as there.
        tell: told what takes long, and each answer.

    Returns:
        Where; None if every committed digest is met.

    Raises:
        EvidenceError: the run cannot be replayed, or the operator does not answer.
        InputError: no such steps, or what a replay needs is not at hand.
    """
    last = transcript.reached if until is None else until
    every = [leg for leg in segments_of(transcript) if leg.until > start and leg.start < last]
    if not every:
        raise InputError(f"the run has no steps from {start} to {last}", where=transcript.folder)

    def walk(leg: Leg, digests: set[int], captures: set[int]) -> AbstractContextManager[Replay]:
        return replay(transcript, legs=[leg], digests=digests, captures=captures, data=data, parent=parent)

    for leg in every:
        committed = sorted(step for step in transcript.digests if leg.start <= step <= leg.until)
        tell(f"replaying steps {leg.start} to {leg.until} …")
        with walk(leg, set(committed), set()) as outcome:
            wrong = next((s for s in committed if outcome.digests[s] != transcript.digests[s]), None)
            journal = _told(transcript, outcome)
        if wrong is not None:
            place = ordered.bisect_left(committed, wrong)
            if place == 0:
                raise EvidenceError(f"the replay does not begin in the committed state {wrong}", where="replay")
            return _within(transcript, leg, committed[place - 1], wrong, journal, answers, walk, tell)
        if journal is not None:  # all states are met, and something else is told of them
            step, _ = journal
            return Divergence(
                agreed=step,
                parted=step + 1,
                step=step,
                journal=journal,
                shown_by="the journal alone",
                parting=None,
                answers=0,
                refuted=None,
            )
    return None


def _told(transcript: Transcript, outcome: Replay) -> tuple[int, str] | None:
    """Returns the first replayed step of which the journal tells something else."""
    for step, seen in sorted(outcome.steps.items()):
        recorded = transcript.steps.get(step)
        if recorded is None:
            return step, "the journal has no such step"
        for name in ("batch", "seen", "updates", "loss"):
            if seen.get(name) != recorded.get(name):
                return step, f"another {name}"
        if seen.get("hyperparameters") != transcript.hyperparameters_at(step):
            return step, "other hyperparameters"
    return None


def _within(
    transcript: Transcript,
    leg: Leg,
    agreed: int,
    parted: int,
    journal: tuple[int, str] | None,
    answers: Answers | None,
    walk: Callable[[Leg, set[int], set[int]], AbstractContextManager[Replay]],
    tell: Callable[[str], None],
) -> Divergence:
    step, shown_by, parting = None, "two committed digests", None
    asked = _Asked(answers, tell) if answers is not None else None
    if parted - agreed == 1:
        step, shown_by = agreed, "committed digests of every step"
    elif asked is not None:
        tell(f"replaying again, with digests of every step from {agreed} to {parted} …")
        with walk(Leg(leg.start, parted, leg.anchor), set(range(agreed, parted + 1)), set()) as outcome:
            ours = outcome.digests
        step = bisect(ours, agreed=agreed, parted=parted, ask=asked.digest, told=asked.told)
        shown_by = "the operator's answers between committed digests"
    after = parted if step is None else step + 1
    shown = _theirs(transcript, after, asked)
    refuted = shown if isinstance(shown, str) else None
    leaves = _leaves(transcript, after) if not isinstance(shown, TrainingState) else None
    if isinstance(shown, TrainingState) or leaves is not None:
        tell(f"replaying once more, for the state at step {after} …")
        with walk(Leg(leg.start, after, leg.anchor), {after}, {after}) as outcome:
            reached = outcome.captured(after)
        if isinstance(shown, TrainingState):
            parting = first_parting(reached, shown)
        elif leaves is not None:
            parting = first_leaf(reached.leaves(), leaves)
        if parting is None:
            raise EvidenceError(
                f"the replay reaches the operator's state of step {after} now, and did not before: it does not repeat",
                where="replay",
            )
    return Divergence(
        agreed=agreed,
        parted=parted,
        step=step,
        journal=journal,
        shown_by=shown_by,
        parting=parting,
        answers=0 if asked is None else asked.count,
        refuted=refuted,
    )


def _leaves(transcript: Transcript, step: int) -> Mapping[str, bytes] | None:
    """Returns the digests of tensors behind a committed digest, if they were handed over."""
    try:
        return leaves_at(transcript, step)
    except EvidenceError:
        return None


def _theirs(transcript: Transcript, step: int, asked: _Asked | None) -> TrainingState | str | None:
    """Returns the operator's state at a step, from an anchor or by asking; in words, how it belies his digest."""
    committed = transcript.digests.get(step)
    digest = committed or (asked.digests.get(step) if asked is not None else None)
    if digest is None:
        return None
    for event in transcript.events:
        name = event.data.get("anchor")
        if name is not None and event.data.get("step") == step and event.data.get("state") == digest:
            path = transcript.folder / "anchors" / str(name)
            if path.is_file():
                state = transcript.state(str(name))
                if is_the_state(state, digest=digest, salt=transcript.salt(step), step=step):
                    return state
                return f"the anchor that the operator handed over for step {step} is not the state that he committed to"
    if asked is None:
        return None
    state = asked.state(step)
    if is_the_state(state, digest=digest, salt=transcript.salt(step), step=step):
        return state
    gave = "committed to" if committed is not None else "gave when asked"
    return f"the state that the operator shows of step {step} does not have the digest that he {gave}"
