"""Recording a run, watched from inside and committed as it goes, whoever drives its loop.

Recording reads and never writes: it draws from no generator of the program, reorders nothing and changes no bit of
the training. What it costs is printed when the loop ends.

It is strict until the first step: what cannot be recorded is refused before anything is trained. From then on it
never stops the training: where it fails (a full disk, say) it says so once, loudly, and the transcript ends there,
unfinished, which a verifier sees.
"""

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from weighbridge.mechanisms.transcript.anchors import layout_of, write_anchor
from weighbridge.mechanisms.transcript.commitment import salt_for
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.handover import Handover
from weighbridge.mechanisms.transcript.journal import Journal
from weighbridge.mechanisms.transcript.loop import Iteration, LoopHooks
from weighbridge.mechanisms.transcript.notices import NoticeBoard
from weighbridge.mechanisms.transcript.recorder_parts import Committed, Costs, Resumption
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState, capture, hyperparameters, restore

__all__ = ["Recorder"]


class Recorder:
    """What records a run, step by step, whoever drives the loop.

    A run that is left early (by ``break`` or an exception) ends the transcript as unfinished; a step that was left
    after its update does not count.

    Attributes:
        step: steps completed so far.
        steps: steps that the run will take; None if nobody knows before.
        folder: where the transcript is written.
    """

    def __init__(
        self, committed: Committed, *, steps: int | None, discovery: Discovery, resumption: Resumption | None = None
    ) -> None:
        self.folder, self.run, self.steps = committed.folder, committed.run, steps
        self.step = resumption.step if resumption else 0
        self._key, self._stride = committed.key, committed.stride
        self._discovery, self._resumption = discovery, resumption
        self._segment = resumption.segment if resumption else 0
        self._handover = Handover(committed.folder, run=committed.run, signer=committed.signer, spool=committed.spool)
        notice = os.environ.get("WEIGHBRIDGE_CHIP_NOTICE")
        self._board = NoticeBoard(Path(notice) if notice else None)
        self._chip = os.environ.get("WEIGHBRIDGE_CHIP", "")
        self._costs = Costs()
        self._iteration: Iteration | None = None
        self._gradients: dict[str, torch.Tensor] = {}
        self._updating = False
        self._claimed = -1
        self._hyperparameters: Any = None
        self._used: Any = None
        self._subjects: Subjects
        self._journal: Journal
        self._hooks: LoopHooks
        self._process = os.getpid()
        self._state = "new"  # new, open, failed, closed
        self._said_foreign = False

    # --- the run, as the loop's driver tells it

    def begin(self) -> None:
        """Names what was built, anchors the state before the first step, and begins to watch.

        Raises:
            InputError: nothing was built that could be recorded.
        """
        self._subjects = self._discovery.close()
        self._hooks = LoopHooks(self._subjects, before_update=self._before_update, after_update=self._after_update)
        self._open_segment()
        self._state = "open"
        self._hooks.install()
        atexit.register(self.finish)

    def begin_step(self) -> None:
        """Marks the start of a step: the state is at rest, and what the step depends on has not been touched."""
        self._hooks.iteration = self._iteration = Iteration(self._subjects, self._gradients)

    def end_step(self, batch: Any) -> None:
        """Marks the end of a step: the state is at rest again.

        Args:
            batch: what the loop handed out, for programs whose models are not called as modules.
        """
        iteration, self._iteration = self._iteration, None
        assert iteration is not None
        self.step += 1
        self._guarded(lambda: self._note_step(iteration, batch))

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

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        """Returns what a rank says for its group, to be compared with the other ranks'."""
        return {}

    def _about_the_end(self) -> dict[str, Any]:
        """Returns what the last event says besides."""
        return {}

    def _places_of_data(self) -> list[list[Any]]:
        """Returns name, address and bytes of the committed data that lies in this process's own memory."""
        return []

    def _guarded(self, work: Callable[[], None]) -> None:
        """Does recording's work in the loop; what fails there must not stop the training."""
        if self._state != "open":
            return
        try:
            work()
        except Exception as error:  # whatever it is: training goes on
            self._state = "failed"
            print(
                f"weighbridge: RECORDING STOPPED after step {self.step}: {type(error).__name__}: {error}. The training"
                f" goes on; the transcript in {self.folder} ends here, unfinished",
                file=sys.stderr,
            )

    # --- segments

    def _open_segment(self) -> None:
        resumption = self._resumption
        if resumption:
            restore(self._subjects, resumption.state)
        elif self._subjects.follows_losses:
            print(
                "weighbridge: a schedule follows the losses, so this run can be replayed from its seed only, and not"
                " resumed",
                file=sys.stderr,
            )
        self._gradients = self._subjects.carried(())
        state = self._capture()
        first = f"state-{self._segment:04d}-{self.step:07d}.safetensors"
        write_anchor(self.folder / "anchors" / first, state)
        event = {
            "type": "segment",
            "segment": self._segment,
            "run": self.run,
            "step": self.step,
            "steps": self.steps,
            "stride": self._stride,
            "state": self._digest(state),
            "anchor": first,
            "names": sorted(name for name, _ in self._subjects.parameters()),
            "hyperparameters": hyperparameters(self._subjects),
            "threads": torch.get_num_threads(),
            "environment": list(resumption.environment) if resumption else [],
            "parent": None
            if resumption is None
            else {
                "journal": resumption.parent,
                "head": resumption.parent_head,
                "anchor": resumption.anchor,
                "lost_steps": resumption.lost_steps,
            },
            **self._about_the_group(None, state),
            **self._where(),
        }
        notice = self._board.look()
        if notice is not None:
            event["startup_until"] = notice.sequence
            self._claimed = notice.sequence
        self._journal = Journal(self.folder / f"journal-{self._segment:04d}.jsonl", event)
        self._sign({"state": event["state"], "step": self.step})

    def finish(self) -> None:
        """Ends the segment: after the last step, when the loop is left early, or at the program's exit."""
        # A forked child holds a copy of this run, which is not its to end.
        if self._state not in ("open", "failed") or os.getpid() != self._process:
            return
        iteration, self._iteration = self._iteration, None
        self._hooks.remove()
        atexit.unregister(self.finish)
        self._guarded(lambda: self._close_segment(iteration))
        self._state = "closed"
        with contextlib.suppress(OSError):
            self._journal.close()

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
            **self._about_the_end(),
        }
        if state is not None:
            event["anchor"] = f"state-{self._segment:04d}-{self.step:07d}-end.safetensors"
            event["state"] = self._digest(state)
            write_anchor(self.folder / "anchors" / event["anchor"], state)
            event |= self._about_the_group(None, state)
        else:
            event["left_inside_step"] = self.step
        self._journal.append(event | self._where())
        public = {"step": self.step, "finished": event["finished"]}
        self._sign(public | ({"state": event["state"]} if state is not None else {}))
        self._handover.collect()
        self._report(left_inside=state is None)

    def _report(self, *, left_inside: bool) -> None:
        costs, took = self._costs, time.monotonic() - self._costs.began
        spent = costs.hashing + costs.anchoring
        print(
            f"weighbridge: {self.step} steps recorded in {self.folder}; recording took {spent:.2f} s of {took:.1f} s"
            f" ({costs.hashing:.2f} s hashing, {costs.anchors} anchors of"
            f" {costs.anchor_bytes / max(1, costs.anchors) / 1e6:.1f} MB in {costs.anchoring:.2f} s)",
            file=sys.stderr,
        )
        if left_inside:
            print(
                f"weighbridge: the loop was left inside step {self.step}, after its update: that step is no part of the"
                " transcript, and its weights follow from nothing recorded",
                file=sys.stderr,
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
        }
        used = self._used if iteration.updates else hyperparameters(self._subjects)
        if used != self._hyperparameters:
            event["hyperparameters"] = self._hyperparameters = used
        self._gradients = self._subjects.carried(iteration.updated)
        strided = self.step % self._stride == 0
        state = self._capture() if strided else None
        if state is not None:
            event["state"] = self._digest(state)
        event |= self._about_the_group(iteration, state)
        self._journal.append(event)
        if strided:
            self._sign({"state": event["state"], "step": self.step})
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

    def _say_foreign(self) -> None:
        if not self._said_foreign:
            print(
                "weighbridge: weights change outside any torch optimizer built since start; what such an update keeps"
                " between steps is not recorded, so replay may be possible from the seed only",
                file=sys.stderr,
            )
        self._said_foreign = True

    # --- freezes

    def _claim(self, sequence: int, step: int, phase: str, state: TrainingState) -> None:
        """Anchors the state in which a freeze found the memory, and names the record."""
        began = time.monotonic()
        name = f"freeze-{self._segment:04d}-{sequence:06d}.safetensors"
        path = self.folder / "anchors" / name
        write_anchor(path, state)
        self._costs.anchoring += time.monotonic() - began
        self._costs.anchors += 1
        self._costs.anchor_bytes += path.stat().st_size
        digest = self._digest(state)
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
        self._journal.append({"type": "freeze", "layout": layout, "data": arrays, **self._where(), **claim})
        self._sign({"state": digest, "step": step, "freeze": claim})

    # --- commitments

    def _capture(self) -> TrainingState:
        return capture(self._subjects, step=self.step, gradients=self._gradients)

    def _digest(self, state: TrainingState) -> str:
        began = time.monotonic()
        digest = state.digest(salt_for(self._key, f"state/{state.plain['step']}")).hex()
        self._costs.hashing += time.monotonic() - began
        return digest

    def _where(self) -> dict[str, Any]:
        return {
            "chip": self._chip,
            "process": os.getpid(),
            "cpu_ns": time.process_time_ns(),
            "monotonic_ns": time.monotonic_ns(),
            "time": time.time(),
        }

    def _sign(self, public: dict[str, Any]) -> None:
        self._handover.sign(public, head=self._journal.head)
