"""Bringing a program that is recorded again to the place where its recording broke off, without training."""

import sys
from collections.abc import Callable
from typing import Any

import torch

from weighbridge.mechanisms.transcript.draws import UPDATE
from weighbridge.mechanisms.transcript.ghost import Ghost, Hints
from weighbridge.mechanisms.transcript.loop import Iteration, LoopHooks
from weighbridge.mechanisms.transcript.state import Subjects

__all__ = ["Walk"]


class Walk:
    """Counts the steps of a program that walks through them as a ghost.

    What it saves meanwhile would be weights that nobody trained, in the place of some that were: it is not written.

    Attributes:
        step: steps walked.
    """

    def __init__(self, subjects: Subjects, hints: Hints) -> None:
        self.step = 0
        self._subjects = subjects
        self._ghost = Ghost(subjects, hints)
        self._hooks = LoopHooks(subjects, before_update=lambda: None, after_update=lambda: self._ghost.met(UPDATE))
        self._undo: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Begins to walk."""
        self._ghost.install()
        self._hooks.install()
        self._hold_back(torch, "save")
        if "safetensors.torch" in sys.modules:
            for name in ("save_file", "save_model"):
                self._hold_back(sys.modules["safetensors.torch"], name)
        self._ghost.enter(0)

    def begin_step(self) -> None:
        """A step begins."""
        self._hooks.iteration = Iteration(self._subjects, {})

    def end_step(self) -> None:
        """A step ended."""
        self.step += 1
        self._ghost.step = self.step

    def met(self, point: str) -> None:
        """The program is about to draw what outlives a step."""
        self._ghost.met(point)

    @property
    def updated(self) -> bool:
        """Whether the step under way has taken an update."""
        return self._hooks.updated

    @property
    def updating(self) -> bool:
        """Whether an optimizer is at work."""
        return self._hooks.updating > 0

    def close(self) -> None:
        """Ends the walk: from here on the program trains."""
        self._hooks.remove()
        self._ghost.leave()
        self._ghost.remove()
        while self._undo:
            self._undo.pop()()

    def _hold_back(self, module: Any, name: str) -> None:
        original = getattr(module, name)
        said = False

        def nothing(*arguments: Any, **keywords: Any) -> None:
            nonlocal said
            if not said:
                print(f"weighbridge: {module.__name__}.{name} writes nothing until training goes on", file=sys.stderr)
            said = True

        setattr(module, name, nothing)
        self._undo.append(lambda: setattr(module, name, original))
