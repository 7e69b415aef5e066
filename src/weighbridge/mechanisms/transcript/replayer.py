"""Replay, seen from inside the sandbox: the same program, its states written out for comparison.

Nothing here judges. The program is the operator's and may lie about what it did; what it writes out is compared
outside with digests that were logged before, which this side is never given.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

import torch

from weighbridge.mechanisms.transcript.anchors import write_anchor
from weighbridge.mechanisms.transcript.beside import Beside
from weighbridge.mechanisms.transcript.commitment import salt_for
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.loop import Iteration, LoopHooks
from weighbridge.mechanisms.transcript.replay_plan import ReplayPlan
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState, capture, hyperparameters

__all__ = ["Replayer"]


class Replayer:
    """Writes out what a replayed program does, step by step, whoever drives its loop.

    Attributes:
        step: steps completed so far.
        discovery: what finds what the program builds and trains.
    """

    def __init__(self, plan: ReplayPlan, *, discovery: Discovery) -> None:
        self.step = plan.legs[0].start
        self._plan, self.discovery = plan, discovery
        self._used: Any = None
        self._gradients: dict[str, torch.Tensor] = {}
        self._hooks: LoopHooks
        self._subjects: Subjects
        self._iteration: Iteration | None = None
        self._beside = Beside(always=True)
        self._log: IO[str] = (plan.out / "replay.jsonl").open("w", buffering=1)

    def begin(self) -> None:
        """Names what was built and begins to watch."""
        self._subjects = self.discovery.close()
        self._hooks = LoopHooks(
            self._subjects,
            before_update=self._before_update,
            after_update=self._after_update,
            before_pass=self._look_beside,
        )
        self._gradients = self._subjects.carried(())
        self._say({"type": "start", "threads": torch.get_num_threads(), **self._about_the_start()})
        self._hooks.install()

    def begin_step(self) -> None:
        """Marks the start of a step: the state is at rest."""
        self._hooks.iteration = self._iteration = Iteration(self._subjects, self._gradients)

    def end_step(self, batch: Any) -> None:
        """Marks the end of a step, writes out what it did, and the state where the plan asks for it."""
        iteration, self._iteration = self._iteration, None
        assert iteration is not None
        used = self._used if iteration.updates else hyperparameters(self._subjects)
        digest, where = iteration.batch_digest(batch, salt_for(self._plan.key, f"batch/{self.step}"))
        self.step += 1
        self._gradients = self._subjects.carried(iteration.updated)
        wanted = self.step in self._plan.digests
        state = capture(self._subjects, step=self.step, gradients=self._gradients) if wanted else None
        self._say(
            {
                **self._about_the_step(self.step - 1),
                "type": "step",
                "step": self.step - 1,
                "batch": digest,
                "seen": where,
                "loss": iteration.loss_values(),
                "updates": iteration.updates,
                "hyperparameters": used,
                **({"unwatched": self._beside.found} if self._beside.found else {}),
                **self._about_the_group(iteration, state),
            }
        )
        self.boundary()

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

    def _about_the_start(self) -> dict[str, Any]:
        """Returns what the first line says besides."""
        return {}

    def _about_the_step(self, step: int) -> dict[str, Any]:
        """Returns what a step's line says besides."""
        return {}

    def boundary(self) -> None:
        """Writes the digest or the whole state at a step that the plan names."""
        step = self.step
        state = capture(self._subjects, step=step, gradients=self._gradients)
        event: dict[str, Any] = {"type": "state", "step": step}
        if step in self._plan.digests:
            event["digest"] = state.digest(salt_for(self._plan.key, f"state/{step}")).hex()
        if step in self._plan.captures:
            write_anchor(self._plan.out / f"state-{step:07d}.safetensors", state)
        self._say(event)

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        """Returns what a rank says for its group, to be compared with the other ranks'."""
        return {}

    def end(self) -> None:
        """Ends the process: what the program does after the plan is walked is no part of the run."""
        self._say({"type": "end"})
        self._log.close()
        sys.stdout.flush()
        os._exit(0)

    def _after_update(self) -> None:
        """An optimizer has stepped."""

    def _before_update(self) -> None:
        self._used = hyperparameters(self._subjects)

    def _look_beside(self, roots: tuple[torch.Tensor, ...]) -> None:
        if self._iteration is not None and self.discovery.follows is None and self._beside.due:
            given = self._iteration.given
            self._beside.look(roots, recorded=self._subjects.recorded(), inputs=given, step=self.step)

    def _say(self, event: Mapping[str, Any]) -> None:
        """Writes one line, with the CPU time so far: outside, the lines are watched as they appear."""
        self._log.write(json.dumps({**event, "cpu_ns": time.process_time_ns()}) + "\n")
