"""Recording a run, watched from inside and committed as it goes, whoever drives its loop.

Recording reads and never writes: it draws from no generator of the program, reorders nothing and changes no bit of
the training. What it costs is printed when the loop ends.

It is strict until the first step: what cannot be recorded is refused before anything is trained. From then on it
never stops the training, unless that was asked for: where it fails (a full disk, say) it says so once, loudly, and the
transcript ends there, unfinished, which a verifier sees.
"""

import atexit
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from weighbridge.errors import InputError, WeighbridgeError
from weighbridge.mechanisms.transcript.anchor_plan import anchor_due
from weighbridge.mechanisms.transcript.anchors import layout_of
from weighbridge.mechanisms.transcript.beside import Beside
from weighbridge.mechanisms.transcript.commitment import salt_for
from weighbridge.mechanisms.transcript.costs import Costs, tell
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.loop import Iteration, LoopHooks
from weighbridge.mechanisms.transcript.notices import NoticeBoard
from weighbridge.mechanisms.transcript.recorder_parts import Committed, Resumption
from weighbridge.mechanisms.transcript.restoring import restore
from weighbridge.mechanisms.transcript.segment_writer import SegmentWriter
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState, capture, hyperparameters
from weighbridge.mechanisms.transcript.watched import RecordingStoppedError

__all__ = ["Recorder"]


class Recorder:
    """What records a run, step by step, whoever drives the loop.

    A run that is left early (by ``break`` or an exception) ends the transcript as unfinished; a step that was left
    after its update does not count.

    Attributes:
        step: steps completed so far.
        steps: steps that the run will take; None if nobody knows before.
        folder: where the transcript is written.
        discovery: what finds what the program builds and trains.
        unwatched: how many things are known to be trained and in no recorded state.
    """

    ends_with_process = True
    """Whether it ends by itself when the process does; else whoever watches the program sees to it."""

    def __init__(
        self, committed: Committed, *, steps: int | None, discovery: Discovery, resumption: Resumption | None = None
    ) -> None:
        self.folder, self.run, self.steps = committed.folder, committed.run, steps
        self.step = resumption.step if resumption else 0
        self._key, self._stride = committed.key, committed.stride
        self._anchor_every, self._strict = committed.anchor_every, committed.strict
        self.discovery, self._resumption = discovery, resumption
        self._segment = resumption.segment if resumption else 0
        notice = os.environ.get("WEIGHBRIDGE_CHIP_NOTICE")
        self._board = NoticeBoard(Path(notice) if notice else None)
        self._costs = Costs()
        self._out = SegmentWriter(committed, self._costs)
        self._iteration: Iteration | None = None
        self._gradients: dict[str, torch.Tensor] = {}
        self._updating = False
        self._claimed = -1
        self._hyperparameters: Any = None
        self._used: Any = None
        self._subjects: Subjects
        self._hooks: LoopHooks
        self._process = os.getpid()
        self._state = "new"  # new, open, failed, closed
        self._said_foreign = False
        self._beside = Beside()
        self.unwatched = 0

    # --- the run, as the loop's driver tells it

    def begin(self) -> None:
        """Names what was built, anchors the state before the first step, and begins to watch.

        Raises:
            InputError: nothing was built that could be recorded.
        """
        began = time.perf_counter()
        self._subjects = self.discovery.close()
        self._hooks = LoopHooks(
            self._subjects,
            before_update=self._before_update,
            after_update=self._after_update,
            before_pass=self._look_beside,
        )
        self._open_segment()
        self._costs.watching += time.perf_counter() - began
        self._state = "open"
        self._hooks.install()
        if self.ends_with_process:
            atexit.register(self.finish)

    def begin_step(self) -> None:
        """Marks the start of a step: the state is at rest, and what the step depends on has not been touched."""
        began = time.perf_counter()
        self._hooks.iteration = self._iteration = Iteration(self._subjects, self._gradients)
        self._costs.watching += time.perf_counter() - began

    def end_step(self, batch: Any) -> None:
        """Marks the end of a step: the state is at rest again.

        Args:
            batch: what the loop handed out, for programs whose models are not called as modules.
        """
        iteration, self._iteration = self._iteration, None
        assert iteration is not None
        self.step += 1
        self._guarded(lambda: self._note_step(iteration, batch))

    def note_call(self, module: torch.nn.Module | None, arguments: Any, keywords: Any) -> None:
        """Notes what a compiled function was given, in which no module can be seen; a compiled module has a hook."""
        if module is None and self._iteration is not None:
            self._hooks.note_inputs(arguments, keywords)

    def note_entry(self, module: torch.nn.Module, *, late: bool, given: Callable[[], tuple[Any, Any]]) -> None:
        """Notes what a module was given, where no model is called as a whole."""
        self._hooks.note_entry(module, late=late, given=given)

    @property
    def updated(self) -> bool:
        """Whether the step under way has changed the weights."""
        return self._hooks.updated

    @property
    def updating(self) -> bool:
        """Whether an optimizer is at work at this moment."""
        return self._hooks.updating > 0

    @property
    def finished(self) -> bool:
        """Whether the run is over as planned."""
        return self.steps is not None and self.step >= self.steps

    def _about_the_start(self) -> dict[str, Any]:
        """Returns what a segment's first event says besides."""
        return {}

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        """Returns what a rank says for its group, to be compared with the other ranks'."""
        return {}

    def _about_the_step(self, step: int) -> dict[str, Any]:
        """Returns what a step's event says besides."""
        return {}

    def _places_of_data(self) -> list[list[Any]]:
        """Returns name, address and bytes of the committed data that lies in this process's own memory."""
        return []

    def _guarded(self, work: Callable[[], None]) -> None:
        """Does recording's work in the loop; what fails there must not stop the training."""
        if self._state != "open":
            return
        began = time.perf_counter()
        try:
            work()
        except Exception as error:  # whatever it is: training goes on, unless the user wants it otherwise
            self._state = "failed"
            ours = isinstance(error, WeighbridgeError)
            told = str(error) if ours else f"{type(error).__name__}: {error}"
            words = f"RECORDING STOPPED after step {self.step}: {told}"
            if self._strict:
                words = f"{words}. The training stops too: strict was chosen"
                raise RecordingStoppedError(words, where=self.folder) from (None if ours else error)
            tell(f"{words}. The training goes on; the transcript in {self.folder} ends here, unfinished")
        finally:
            self._costs.watching += time.perf_counter() - began

    @contextlib.contextmanager
    def _hooks_paused(self) -> Iterator[None]:
        """What runs inside is no part of what the step under way shows.

        Raises:
            InputError: no step is under way.
        """
        if self._iteration is None:
            raise InputError("are noted inside the loop", where="rollouts", mend="call rollout in the loop's body")
        self._hooks.iteration = None
        try:
            yield
        finally:
            self._hooks.iteration = self._iteration

    # --- segments

    def _open_segment(self) -> None:
        resumption = self._resumption
        if resumption:
            restore(self._subjects, resumption.state)
        elif self._subjects.follows_losses:
            tell("a schedule follows the losses, so this run can be replayed from its seed only, and not resumed")
        self._gradients = self._subjects.carried(())
        state = self._capture()
        first = f"state-{self._segment:04d}-{self.step:07d}.safetensors"
        self._out.anchor(first, state, in_place=True)
        event = {
            "type": "segment",
            "salt": salt_for(self._key, f"journal/{self._segment}").hex(),
            "segment": self._segment,
            "run": self.run,
            "step": self.step,
            "steps": self.steps,
            "stride": self._stride,
            "state": self._out.digest(state),
            "anchor": first,
            "names": sorted(name for name, _ in self._subjects.parameters()),
            "hyperparameters": hyperparameters(self._subjects),
            "threads": torch.get_num_threads(),
            **({"by_passes": True} if self.discovery.by_passes else {}),
            **({"scaled": True} if self._subjects.scales else {}),
            "environment": list(resumption.environment) if resumption else [],
            "parent": None
            if resumption is None
            else {
                "journal": resumption.parent,
                "head": resumption.parent_head,
                "anchor": resumption.anchor,
                "lost_steps": resumption.lost_steps,
            },
            **self._about_the_start(),
            **self._about_the_group(None, state),
            **self._out.where(),
        }
        notice = self._board.look()
        if notice is not None:
            event["startup_until"] = notice.sequence
            self._claimed = notice.sequence
        self._out.open(self._segment, event)
        self._out.sign({"state": event["state"], "step": self.step})

    def finish(self) -> None:
        """Ends the segment: after the last step, when the loop is left early, or at the program's exit."""
        # A forked child holds a copy of this run, which is not its to end.
        if self._state not in ("open", "failed") or os.getpid() != self._process:
            return
        iteration, self._iteration = self._iteration, None
        self._hooks.remove()
        atexit.unregister(self.finish)
        try:
            self._guarded(lambda: self._close_segment(iteration))
            left_inside = iteration is not None and iteration.weights_changed
            self._guarded(lambda: self._report(left_inside=left_inside))  # its end's own cost is known only now
        finally:
            self._state = "closed"
            self._out.close()

    def _close_segment(self, left: Iteration | None) -> None:
        if left is None:
            state: TrainingState | None = self._capture()
        else:
            state = None if left.weights_changed else left.state_before(self.step)
        notice = self._board.look()
        if notice is not None and state is not None:
            self._claim(notice.sequence, self.step, "still", state)
        event: dict[str, Any] = {
            "type": "end",
            "step": self.step,
            "finished": self.finished,
            "claimed_until": self._claimed,
            **self._not_watched(at_rest=True),
        }
        if state is not None:
            event["anchor"] = f"state-{self._segment:04d}-{self.step:07d}-end.safetensors"
            event["state"] = self._out.digest(state)
            self._out.anchor(event["anchor"], state, in_place=True)
            event |= self._about_the_group(None, state)
        else:
            event["left_inside_step"] = self.step
        self._out.anchors.close()  # a run has not ended before its anchors are there
        self._out.append(event | self._out.where())
        public = {"step": self.step, "finished": event["finished"]}
        self._out.sign(public | ({"state": event["state"]} if state is not None else {}))
        self._out.handover.collect()

    def _report(self, *, left_inside: bool) -> None:
        self._costs.written_bytes = self._out.written_bytes
        for sentence in self._costs.sentences(self._out.anchors, reading=self._hooks.reading_s):
            tell(sentence)
        tell(f"{self.step} steps recorded in {self.folder}")
        if left_inside:
            tell(
                f"the loop was left inside step {self.step}, after its update: that step is no part of the transcript,"
                " and its weights follow from nothing recorded"
            )

    # --- one step

    def _before_update(self) -> None:
        self._guarded(self._note_before_update)

    def _note_before_update(self) -> None:
        self._used = hyperparameters(self._subjects)
        assert self._iteration is not None
        notice = self._board.look()
        if notice is not None:
            self._claim(notice.sequence, self.step, "still", self._iteration.state_before(self.step))

    def _after_update(self) -> None:
        self._guarded(self._note_after_update)

    def _note_after_update(self) -> None:
        if self._board.look() is not None:
            self._updating = True
        if self._board.watched and self._iteration is not None:
            self._iteration.note_update()

    def _note_step(self, iteration: Iteration, batch: Any) -> None:
        digest, where = iteration.batch_digest(batch, salt_for(self._key, f"batch/{self.step - 1}"))
        event: dict[str, Any] = {
            "type": "step",
            "step": self.step - 1,
            "batch": digest,
            "seen": where,
            "loss": iteration.loss_values(),
            "updates": iteration.updates,
            "cpu_ns": time.process_time_ns(),
            "monotonic_ns": time.monotonic_ns(),
            **self._about_the_step(self.step - 1),
            **self._not_watched(at_rest=self.step % self._stride == 0),
        }
        used = self._used if iteration.updates else hyperparameters(self._subjects)
        if used != self._hyperparameters:
            event["hyperparameters"] = self._hyperparameters = used
        self._gradients = self._subjects.carried(iteration.updated)
        strided = self.step % self._stride == 0
        due = anchor_due(self.step, every=self._anchor_every, steps=self.steps)
        state = self._capture() if strided or due else None
        digest = self._out.digest(state) if state is not None else ""
        if strided:
            event["state"] = digest
        event |= self._about_the_group(iteration, state if strided else None)
        self._out.append(event)
        self._costs.steps += 1
        if strided:
            self._out.sign({"state": digest, "step": self.step})
        if due and state is not None:
            name = f"plan-{self._segment:04d}-{self.step:07d}.safetensors"
            self._out.anchor(name, state, in_place=self._board.watched)
            place = {"step": self.step, "state": digest, "anchor": name, **self._out.where()}
            self._out.append({"type": "anchor", **place})
            self._out.sign({"state": digest, "step": self.step})
        self._out.anchors.check()
        foreign = iteration.updates == 0 and iteration.weights_changed
        if foreign:
            self._say_foreign()
        looked = self._board.look()
        newest = self._board.newest
        if newest is not None and (looked is not None or self._updating):
            # Where weights change without a hook, nobody knows on which side of the change the stop fell.
            phase = "updating" if self._updating or iteration.changed_since_update else "still"
            self._updating = False
            self._claim(newest.sequence, self.step, phase, self._capture())

    # --- what is trained and not recorded

    def _look_beside(self, roots: tuple[torch.Tensor, ...]) -> None:
        """Looks whether a backward pass takes gradients for what is trained and not recorded."""
        if self._state == "open" and self.discovery.follows is None and self._beside.due:
            self._guarded(lambda: self._compare_leaves(roots))

    def _compare_leaves(self, roots: tuple[torch.Tensor, ...]) -> None:
        given = self._iteration.given if self._iteration is not None else set()
        found = self._beside.look(roots, recorded=self._subjects.recorded(), inputs=given, step=self.step)
        for words, count in found:
            self.miss(words, count)

    def miss(self, words: str, count: int) -> None:
        """Says that something is trained which is in no recorded state, and has the transcript say it.

        Raises:
            WeighbridgeError: the recording is strict.
        """
        self.unwatched += count
        words = f"PART OF THE TRAINING IS NOT RECORDED: {words}"
        if self._strict:
            raise WeighbridgeError(words)
        tell(words)

    def _not_watched(self, *, at_rest: bool) -> dict[str, Any]:
        missed = self.unwatched + (len(self._subjects.strangers()) if at_rest else 0)
        return {"unwatched": missed} if missed else {}

    def _say_foreign(self) -> None:
        if not self._said_foreign:
            tell(
                "weights change outside any torch optimizer built since start; what such an update keeps between steps"
                " is not recorded, so replay may be possible from the seed only"
            )
        self._said_foreign = True

    # --- freezes

    def _claim(self, sequence: int, step: int, phase: str, state: TrainingState) -> None:
        """Anchors the state in which a freeze found the memory, and names the record."""
        name = f"freeze-{self._segment:04d}-{sequence:06d}.safetensors"
        self._out.anchor(name, state, in_place=True)
        digest = self._out.digest(state)
        notice = self._board.newest
        assert notice is not None
        claim = {
            "chip": notice.chip,
            "boot": notice.boot,
            # Records before the first notice may be another boot's, or another run's: they are not claimed.
            "sequences": [self._claimed + 1 if self._claimed >= 0 else sequence, sequence],
            "step": step,
            "phase": phase,
            "anchor": name,
            "state": digest,
        }
        self._claimed = sequence
        layout = layout_of(self._subjects, state)
        arrays = self._places_of_data()
        self._out.append({"type": "freeze", "layout": layout, "data": arrays, **self._out.where(), **claim})
        self._out.sign({"state": digest, "step": step, "freeze": claim})

    def _capture(self) -> TrainingState:
        return capture(self._subjects, step=self.step, gradients=self._gradients)
