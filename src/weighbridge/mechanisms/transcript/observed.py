"""A program that knows nothing of us, recorded and replayed by what an observer sees of its steps.

Its data order and its loop are its own; steps and batches are not known before. Unless it was bound
(:mod:`.asked_seeds`), so are its seeds: they bind nothing, since whoever ran it may have tried others. What was
committed before the first step (before the program began, if bound) are its files, data, arguments and environment.

Replay and resumption begin in the middle by walking the steps before as ghosts (:mod:`.ghost`).
"""

import os
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.committing import signer_and_spool
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.draws import UPDATE, Points, digest_generators, note_draw
from weighbridge.mechanisms.transcript.environment import describe_environment, packages_of
from weighbridge.mechanisms.transcript.ghost import Ghost, Hints
from weighbridge.mechanisms.transcript.group_host import MEETING, meet
from weighbridge.mechanisms.transcript.group_notes import batch_note, state_note
from weighbridge.mechanisms.transcript.loop import Iteration
from weighbridge.mechanisms.transcript.observed_commitment import (
    MUST_STAND,
    commit_observed,
    observed_contents,
    same_beginning,
)
from weighbridge.mechanisms.transcript.ranks import Group, is_late, wrapped_as
from weighbridge.mechanisms.transcript.recorder import Recorder
from weighbridge.mechanisms.transcript.recorder_parts import Committed, Resumption
from weighbridge.mechanisms.transcript.replay_plan import ReplayPlan
from weighbridge.mechanisms.transcript.replayer import Replayer
from weighbridge.mechanisms.transcript.resuming import find_resumption
from weighbridge.mechanisms.transcript.state import (
    Subjects,
    TrainingState,
    capture,
    generator_states,
    restore,
)
from weighbridge.mechanisms.transcript.walk import Walk
from weighbridge.mechanisms.transcript.walked import hints_of
from weighbridge.mechanisms.transcript.watched import Program, Watch

__all__ = ["ObservedRecording", "ObservedReplay"]


class ObservedRecording:
    """Records a program by what is seen of it.

    Args:
        program: the program.
        watch: how it is to be recorded.
        committed: its commitment, if that was made before the program began; else it is made at the first step.
        resumed: folder of the interrupted run to go on with.
        system_random: tells how often the program's own code asked the system for randomness.
    """

    def __init__(
        self,
        program: Program,
        watch: Watch,
        *,
        committed: Callable[[], Committed] | None = None,
        resumed: Path | None = None,
        system_random: Callable[[], int] = lambda: 0,
    ) -> None:
        self._program, self._watch = program, watch
        self._prepared, self._resumed, self._system_random = committed, resumed, system_random
        self._discovery = Discovery()
        self._points = Points(self._met)
        self._recorder: _Recorder | None = None
        self._walk: Walk | None = None

    def know(self, instances: Iterable[Any]) -> None:
        """Notes what was built before the recording began."""
        self._discovery.know(instances)

    def begin(self) -> None:
        """Commits, unless that was done before, and anchors the state before the first step; or begins to walk.

        Raises:
            InputError: code or data cannot be committed, or nothing was built that could be recorded.
            EvidenceError: the log refused the commitment or did not answer in time.
        """
        resumption: Resumption | None = None
        group: Group | None = None
        early = self._resumed is not None or self._prepared is not None
        if self._resumed is not None:
            committed, resumption = self._take_up(self._resumed)
        else:
            self._discovery.close()  # what cannot be recorded leaves no folder behind
            group = Group.here(self._program.group)
            committed = (
                self._prepared() if self._prepared is not None else commit_observed(self._program, self._watch, group)
            )
        self._recorder = _Recorder(
            committed,
            discovery=self._discovery,
            resumption=resumption,
            # Committed before the program began, and so before it imported anything.
            packages=describe_environment(packages_of(list(sys.modules)))["packages"] if early else {},
            system_random=self._system_random,
            group=group,
        )
        if self._walk is None:
            self._recorder.begin()
        self._points.install()

    def _take_up(self, folder: Path) -> tuple[Committed, Resumption]:
        """Finds where an interrupted run goes on, and begins to walk there unless that is here."""
        contents, tree = observed_contents(self._program, self._watch)
        opening, run, seed, resumption = find_resumption(folder, contents, tree, must_stand=MUST_STAND)
        signer, spool = signer_and_spool()
        committed = Committed(
            folder=folder,
            run=run,
            seed=seed,
            key=opening.key,
            stride=self._watch.stride,
            signer=signer,
            spool=spool,
            anchor_every=self._watch.anchor_every or None,
            strict=self._watch.strict,
        )
        subjects = self._discovery.close()
        if self._discovery.by_passes:
            raise InputError(
                "trains tensors of no module, so nothing tells where one of its steps ends before it computes the next",
                where=folder,
                field="--resume",
                mend="record it from its beginning",
            )
        same_beginning(folder, opening, capture(subjects, step=0, gradients=subjects.carried(())))
        if resumption.step:
            self._walk = Walk(subjects, hints_of(folder, until=resumption.step))
            self._walk.begin()
        print(
            f"weighbridge: going on with run {run[:16]} at step {resumption.step}: steps before are walked through"
            " without training, and what the program prints of them means nothing",
            file=sys.stderr,
        )
        return committed, resumption

    def begin_step(self) -> None:
        """A step begins."""
        self._engine.begin_step()

    def end_step(self, batch: Any) -> None:
        """A step ended."""
        assert self._recorder is not None
        if self._walk is None:
            self._recorder.end_step(batch)
            self._points.step = self._recorder.step
            return
        self._walk.end_step()
        self._points.step = self._walk.step
        if self._walk.step == self._recorder.step:
            self._walk.close()
            self._walk = None
            self._recorder.begin()

    def note_optimizer(self, optimizer: Any) -> None:
        """An optimizer is about to step."""
        if self._walk is None and self._recorder is not None:
            self._recorder.note_optimizer(optimizer)

    def _met(self, point: str) -> None:
        self._engine.met(point)

    @property
    def _engine(self) -> "Walk | _Recorder":
        engine = self._walk if self._walk is not None else self._recorder
        assert engine is not None
        return engine

    def note_call(self, module: Any, arguments: Any, keywords: Any) -> None:
        """Something compiled is called."""
        if self._walk is None and self._recorder is not None:
            self._recorder.note_call(module, arguments, keywords)

    def note_entry(self, module: Any, *, late: bool, given: Callable[[], tuple[Any, Any]]) -> None:
        """A module is called to train."""
        if self._walk is None and self._recorder is not None:
            self._recorder.note_entry(module, late=late, given=given)

    @property
    def has_optimizer(self) -> bool:
        """Whether the program has built an optimizer."""
        return self._discovery.has_optimizer

    def first_pass(self, leaves: Sequence[Tensor]) -> None:
        """Gradients are about to be taken for the first time."""
        self._discovery.first_pass(leaves)

    def follow(self, leaves: Sequence[Tensor]) -> None:
        """Gradients are about to be taken, in a program whose steps are told by that alone."""
        if self._recorder is not None:
            self._recorder.follow(leaves)

    @property
    def by_passes(self) -> bool:
        """Whether steps are told by backward passes alone."""
        return self._discovery.by_passes

    @property
    def updated(self) -> bool:
        """Whether the step under way has changed the weights."""
        return self._recorder is not None and self._engine.updated

    @property
    def updating(self) -> bool:
        """Whether an optimizer is at work."""
        return self._recorder is not None and self._engine.updating

    def close(self, *, well: bool) -> None:
        """Ends the transcript; ``well`` says whether the program came to its own end."""
        self._discovery.stop()
        self._points.remove()
        if self._walk is not None:
            self._walk.close()
            print(
                f"weighbridge: NOTHING IS RECORDED: the program ended after {self._walk.step} steps, before it came to"
                " the place where the run goes on",
                file=sys.stderr,
            )
        elif self._recorder is not None:
            self._recorder.warn_if_late()
            self._recorder.ended_well = well
            self._recorder.finish()


class _Recorder(Recorder):
    """A recorder of what others drive: it ends well if they do, and counts what it could not watch."""

    ended_well = False
    ends_with_process = False

    def __init__(
        self,
        committed: Committed,
        *,
        discovery: Discovery,
        resumption: Resumption | None,
        packages: dict[str, list[str]],
        system_random: Callable[[], int],
        group: Group | None = None,
    ) -> None:
        super().__init__(committed, steps=None, discovery=discovery, resumption=resumption)
        self._group = group
        self._late: list[weakref.ref[Any]] = []
        self._packages, self._system_random = packages, system_random
        self._drawn: list[dict[str, str]] = []
        self._lost = 0

    def note_optimizer(self, optimizer: Any) -> None:
        """Notes an optimizer that was built after the first step: what it does is in no committed state."""
        if any(optimizer is known for known in self._subjects.optimizers.values()):
            return
        if any(optimizer is known() for known in self._late):
            return
        self._late.append(weakref.ref(optimizer))
        self._guarded(
            lambda: self.miss(
                "an optimizer was built after the first step; its state, and the model built for it, are in no"
                " committed state",
                1,
            )
        )

    def follow(self, leaves: Sequence[Tensor]) -> None:
        """Takes up what the program made in the place of what it trained."""
        if self._discovery.follows is not None:
            self._guarded(lambda: self._follow(leaves))

    def _follow(self, leaves: Sequence[Tensor]) -> None:
        held, before = self._discovery.follows, self._lost
        assert held is not None
        moved = held.moved
        self._lost = max(before, held.follow(leaves))
        if self._lost > before:
            words = "gradients are taken for tensors that no state holds, made while it trained"
            self.miss(words, self._lost - before)
        if held.moved and not moved:
            self.miss(
                "what is trained is made anew in each step, so what the last step makes of it will be in no state: keep"
                " the tensors, and change them in place",
                1,
            )

    def met(self, point: str) -> None:
        """The program is about to draw what outlives a step."""
        self._guarded(lambda: self._drawn.append(note_draw(point)))

    def warn_if_late(self) -> None:
        """Says that a run which committed to no group came to train with others."""
        if self._group is None and is_late():
            print(
                "weighbridge: THIS RANK CANNOT BE JOINED TO OTHERS: torch.distributed began after the first step, and"
                " the run had been committed as one on its own before",
                file=sys.stderr,
            )

    @property
    def finished(self) -> bool:
        """Whether the program came to its own end."""
        return self.ended_well

    def _about_the_start(self) -> dict[str, Any]:
        told = {"packages": self._packages, "system_random": self._system_random()}
        return {name: value for name, value in told.items() if value}

    def _about_the_step(self, step: int) -> dict[str, Any]:
        drawn, self._drawn = self._drawn, []
        return {"draws": drawn} if drawn else {}

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        return _noted(self._group, self._subjects, iteration, state, begins=self._state == "new")

    def _after_update(self) -> None:
        super()._after_update()
        # Batches are fetched ahead, by one step at most in the loaders known: from here on as they were.
        every = self._anchor_every
        if every and any((self.step + ahead) % every == 0 for ahead in (1, 2)):
            self.met(UPDATE)


class ObservedReplay(Replayer):
    """Replays a program by what is seen of it, leg by leg; it walks to where a leg begins, and ends with the last."""

    def __init__(self, plan: ReplayPlan, *, discovery: Discovery) -> None:
        super().__init__(plan, discovery=discovery)
        self.step = self._leg = 0
        self._points = Points(self._met)
        self._drawn: list[list[str]] = []
        self._ghost: Ghost
        self._counter: Any = None

    @property
    def has_optimizer(self) -> bool:
        """Whether the program has built an optimizer."""
        return self._discovery.has_optimizer

    def first_pass(self, leaves: Sequence[Tensor]) -> None:
        """Gradients are about to be taken for the first time."""
        self._discovery.first_pass(leaves)

    def follow(self, leaves: Sequence[Tensor]) -> None:
        """Gradients are about to be taken, in a program whose steps are told by that alone."""
        if self._discovery.follows is not None:
            self._discovery.follows.follow(leaves)

    @property
    def by_passes(self) -> bool:
        """Whether steps are told by backward passes alone."""
        return self._discovery.by_passes

    @classmethod
    def from_plan(cls, path: Path) -> "ObservedReplay":
        """Opens the plan.

        Raises:
            EvidenceError: it is no plan.
        """
        return cls(ReplayPlan.read(path), discovery=Discovery())

    def know(self, instances: Iterable[Any]) -> None:
        """Notes what was built before the recording began."""
        self._discovery.know(instances)

    def begin(self) -> None:
        """Names what was built, and writes out the state before the first step, or begins to walk."""
        self._ghost = Ghost(self._discovery.close(), Hints.of(self._plan.walked))
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

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        group = Group.of(self._plan.config, where="plan")
        return _noted(group, self._subjects, iteration, state, begins=False)

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


def _noted(
    group: Group | None,
    subjects: Subjects,
    iteration: Iteration | None,
    state: TrainingState | None,
    *,
    begins: bool,
) -> dict[str, Any]:
    if group is None:
        return {}
    wrapped = wrapped_as(subjects.modules)
    note: dict[str, Any] = batch_note(group, iteration) if iteration is not None else {}
    if state is not None:
        note |= state_note(group, state, wrapped=wrapped)
    if begins and state is not None:
        note |= {"wrapped": wrapped, "pieces": state.plain.get("pieces", {})}
    return {"group": note}
