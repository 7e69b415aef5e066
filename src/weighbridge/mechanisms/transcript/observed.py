"""A program that knows nothing of us, recorded by what an observer sees of its steps.

Its data order and its loop are its own; steps and batches are not known before. Unless it was bound
(:mod:`.asked_seeds`), so are its seeds: they bind nothing, since whoever ran it may have tried others. What was
committed before the first step (before the program began, if bound) are its files, data, arguments and environment.

Resumption walks the steps before as ghosts (:mod:`.ghost`); :mod:`.observed_replay` is the other side.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.committing import signer_and_spool
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.draws import Points
from weighbridge.mechanisms.transcript.elsewhere import Marker
from weighbridge.mechanisms.transcript.environment import describe_environment, packages_of
from weighbridge.mechanisms.transcript.observed_commitment import (
    MUST_STAND,
    commit_observed,
    observed_contents,
    same_beginning,
)
from weighbridge.mechanisms.transcript.observed_recorder import ObservedRecorder
from weighbridge.mechanisms.transcript.ranks import Group
from weighbridge.mechanisms.transcript.recorder_parts import Committed, Resumption
from weighbridge.mechanisms.transcript.resuming import find_resumption
from weighbridge.mechanisms.transcript.state import capture
from weighbridge.mechanisms.transcript.walk import Walk
from weighbridge.mechanisms.transcript.walked import hints_of
from weighbridge.mechanisms.transcript.watched import Program, RecordingStoppedError, Watch

__all__ = ["ObservedRecording"]


class ObservedRecording:
    """Records a program by what is seen of it.

    Args:
        program: the program.
        watch: how it is to be recorded.
        committed: its commitment, if that was made before the program began; else it is made at the first step.
        resumed: folder of the interrupted run to go on with.
        system_random: tells how often the program's own code asked the system for randomness.
        asked: tells a digest of the seeds that the program asked for; None where they are not bound.
        marker: where one has told processes of it before.

    Attributes:
        discovery: what finds what the program builds and trains.
        marker: the file that a process leaves which the program started and which trains unwatched.
    """

    def __init__(
        self,
        program: Program,
        watch: Watch,
        *,
        committed: Callable[[], Committed] | None = None,
        resumed: Path | None = None,
        system_random: Callable[[], int] = lambda: 0,
        asked: Callable[[], str] | None = None,
        marker: Marker | None = None,
    ) -> None:
        self._program, self._watch = program, watch
        self._prepared, self._resumed, self._system_random = committed, resumed, system_random
        self._asked = asked
        self.marker = Marker() if marker is None else marker
        self.discovery = Discovery()
        self._points = Points(self._met)
        self._recorder: ObservedRecorder | None = None
        self._walk: Walk | None = None

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
            self.discovery.close()  # what cannot be recorded leaves no folder behind
            group = Group.here(self._program.group)
            committed = (
                self._prepared() if self._prepared is not None else commit_observed(self._program, self._watch, group)
            )
        self._recorder = ObservedRecorder(
            committed,
            discovery=self.discovery,
            resumption=resumption,
            # Committed before the program began, and so before it imported anything.
            packages=describe_environment(packages_of(list(sys.modules)))["packages"] if early else {},
            system_random=self._system_random,
            asked=self._asked,
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
        subjects = self.discovery.close()
        if self.discovery.by_passes:
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
    def _engine(self) -> "Walk | ObservedRecorder":
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

    def follow(self, roots: Sequence[Tensor]) -> None:
        """Gradients are about to be taken, in a program whose steps are told by that alone."""
        if self._recorder is not None:
            self._recorder.follow(roots)

    def miss(self, words: str) -> None:
        """Says that something is trained which is in no recorded state, as soon as there is a transcript to say it."""
        if self._recorder is not None:
            self._recorder.miss_one(words)

    @property
    def missed(self) -> int:
        """How many things are known to be trained and in no recorded state."""
        return self._recorder.unwatched if self._recorder is not None else 0

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
        self.discovery.stop()
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
            if self.marker.take():
                try:
                    self._recorder.miss_one("processes that the program started train, and nothing watches them")
                except RecordingStoppedError as error:  # there is no training left to end
                    print(f"weighbridge: {error}", file=sys.stderr)
            self._recorder.ended_well = well
            self._recorder.finish()
