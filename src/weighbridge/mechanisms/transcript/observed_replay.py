"""A program that knows nothing of us, replayed by what an observer sees of its steps.

Where a stretch begins in the middle, the steps before are walked as ghosts (:mod:`.ghost`).
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.draws import UPDATE, Points, digest_generators
from weighbridge.mechanisms.transcript.free_tensors import leaves_of
from weighbridge.mechanisms.transcript.ghost import Ghost, Hints
from weighbridge.mechanisms.transcript.group_host import MEETING, meet
from weighbridge.mechanisms.transcript.group_notes import rank_note
from weighbridge.mechanisms.transcript.loop import Iteration
from weighbridge.mechanisms.transcript.ranks import Group
from weighbridge.mechanisms.transcript.replay_plan import ReplayPlan
from weighbridge.mechanisms.transcript.replayer import Replayer
from weighbridge.mechanisms.transcript.restoring import restore
from weighbridge.mechanisms.transcript.state import TrainingState, generator_states

__all__ = ["ObservedReplay"]


class ObservedReplay(Replayer):
    """Replays a program by what is seen of it, leg by leg; it walks to where a leg begins, and ends with the last."""

    def __init__(self, plan: ReplayPlan, *, discovery: Discovery, asked: Callable[[], str] | None = None) -> None:
        super().__init__(plan, discovery=discovery)
        self._asked = asked
        self.step = self._leg = 0
        self._points = Points(self._met)
        self._drawn: list[list[str]] = []
        self._ghost: Ghost
        self._counter: Any = None

    def follow(self, roots: Sequence[Tensor]) -> None:
        """Gradients are about to be taken, in a program whose steps are told by that alone."""
        if self.discovery.follows is not None:
            self.discovery.follows.follow(leaves_of(roots))

    def miss(self, words: str) -> None:
        """Something is trained that nothing watches: recording has said so."""

    @classmethod
    def from_plan(cls, path: Path, *, asked: Callable[[], str] | None = None) -> "ObservedReplay":
        """Opens the plan.

        Args:
            path: its file.
            asked: tells a digest of the seeds that the program asked for; None where they are not bound.

        Raises:
            EvidenceError: it is no plan.
        """
        return cls(ReplayPlan.read(path), discovery=Discovery(), asked=asked)

    def begin(self) -> None:
        """Names what was built, and writes out the state before the first step, or begins to walk."""
        self._ghost = Ghost(self.discovery.close(), Hints.of(self._plan.walked))
        self._ghost.install()
        super().begin()
        self._points.install()
        self._take_up()

    def end_step(self, batch: Any) -> None:
        """Writes out the step, and goes on as the plan has it: further, to another leg, or no more."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._say({"type": "flop", "per_step": float(self._counter.get_total_flops())})
            self.end()
        if not self._ghost.active:
            super().end_step(batch)
            self._points.step = self.step
            self._go_on()
            return
        self._iteration = None
        self.step += 1
        self._ghost.step = self._points.step = self.step
        leg = self._plan.legs[self._leg]
        if self.step == leg.start and leg.anchor is not None:
            self._ghost.leave()
            restore(self._subjects, read_anchor(Path(leg.anchor)))
            self._gradients = self._subjects.carried(())
            self.boundary()
            self._go_on()

    def note_optimizer(self, optimizer: Any) -> None:
        """An optimizer is about to step: nothing to write out."""

    def _about_the_start(self) -> dict[str, Any]:
        return {"asked": self._asked()} if self._asked is not None else {}

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        group = Group.of(self._plan.config, where="plan")
        return rank_note(group, self._subjects, iteration, state, begins=False)

    def end(self) -> None:
        """Ends the process; one rank of several waits for the others to be done, who may still need it."""
        if (meeting := os.environ.get(MEETING)) is not None:
            self._say({"type": "end"})
            group = Group.of(self._plan.config, where="plan")
            if group is not None:
                meet(Path(meeting), group.rank, group.world)
            sys.stdout.flush()
            os._exit(0)
        super().end()

    def _take_up(self) -> None:
        if self._plan.legs[self._leg].start > self.step:
            self._ghost.enter(self.step)
        else:
            self.boundary()
            self._go_on()

    def _go_on(self) -> None:
        if self.step >= self._plan.legs[self._leg].until:
            self._leg += 1
            if self._leg < len(self._plan.legs):
                self._take_up()
            elif self._plan.count_flop:  # of the step that follows, whose result is compared with nothing
                from torch.utils.flop_counter import FlopCounterMode

                self._counter = FlopCounterMode(display=False)
                self._counter.__enter__()
            else:
                self.end()

    def _met(self, point: str) -> None:
        if self._ghost.active:
            self._ghost.met(point)
        else:
            self._drawn.append([point, digest_generators(generator_states())])

    def _after_update(self) -> None:
        self._met(UPDATE)

    def _about_the_step(self, step: int) -> dict[str, Any]:
        drawn, self._drawn = self._drawn, []
        return {"draws": drawn}
