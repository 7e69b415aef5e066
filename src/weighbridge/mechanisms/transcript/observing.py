"""Steps of a program that knows nothing of us: seen from the modules that it calls and the optimizers that it steps.

A step begins where, after an update, a module is first called to train (in training mode, gradients on) or an
optimizer is first told to step (whose closure may do all the work); there the step before it ends. Between the two
the state is at rest: the optimizer has stepped, and so has whatever comes after it in the loop (schedules, averages of
weights). What happens inside an optimizer's step begins nothing.

A program that updates its weights by hand is watched from its first backward pass on, and each call to train after a
backward pass begins a step.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

from weighbridge.mechanisms.transcript.compiled import CompiledCalls
from weighbridge.mechanisms.transcript.loop import InputHook
from weighbridge.mechanisms.transcript.untraced import untraced

__all__ = ["Engine", "Observer"]


class Engine(Protocol):
    """What is told of a run's steps: a recorder or a replayer."""

    def begin(self) -> None:
        """The first step is about to begin."""

    def begin_step(self) -> None:
        """A step begins."""

    def end_step(self, batch: Any) -> None:
        """A step ended."""

    def note_optimizer(self, optimizer: Any) -> None:
        """An optimizer is about to step."""

    def note_call(self, module: nn.Module | None, arguments: Any, keywords: Any) -> None:
        """Something compiled is called: a module, or a function (None), in which no module can be seen."""

    def note_entry(self, module: nn.Module, *, late: bool, given: Callable[[], tuple[Any, Any]]) -> None:
        """A module is called to train; if ``late``, hooks that are put on it now will not be called any more."""

    @property
    def has_optimizer(self) -> bool:
        """Whether the program has built an optimizer."""

    @property
    def updated(self) -> bool:
        """Whether the step under way has changed the weights, as far as can be seen."""

    @property
    def updating(self) -> bool:
        """Whether an optimizer is at work at this moment."""


class Observer:
    """Tells an engine of the steps that a program takes in this thread.

    Args:
        engine: who is told.
        failed: told of what the engine could not do before the first step; the program goes on unwatched.
    """

    def __init__(self, engine: Engine, *, failed: Callable[[Exception], None]) -> None:
        self._engine, self._failed = engine, failed
        self._place = os.getpid(), threading.get_ident()  # a forked worker holds a copy, and its steps are not ours
        self._state = "waiting"  # waiting, watching, over
        self._inside = False
        self._undo: list[Callable[[], None]] = [
            module_hooks.register_module_forward_pre_hook(self._called).remove,
            optimizer_hooks.register_optimizer_step_pre_hook(untraced(self._stepped)).remove,
            self._watch_backward(),
            CompiledCalls(self._called_compiled, ours=self._ours).stop,
        ]

    @property
    def began(self) -> bool:
        """Whether a first step was seen."""
        return self._state == "watching"

    def _watch_backward(self) -> Callable[[], None]:
        original = torch.autograd.backward

        @untraced
        @functools.wraps(original)
        def noting(*arguments: Any, **keywords: Any) -> None:
            if self._state == "waiting":
                self._look(begins=True)
                if self._state == "watching":  # what watches now has wrapped this, and must see this very pass
                    torch.autograd.backward(*arguments, **keywords)
                    return
            original(*arguments, **keywords)

        torch.autograd.backward = noting

        def undo() -> None:
            # Somebody may have wrapped it again since: then ours stays below theirs and passes everything through.
            if torch.autograd.backward is noting:
                torch.autograd.backward = original

        return undo

    def _called(self, module: nn.Module, arguments: Any, keywords: Any = None) -> None:
        if torch.compiler.is_compiling():  # a hook in what is traced would change it
            return
        if module.training and torch.is_grad_enabled() and not self._inside:
            self._look(begins=self._engine.has_optimizer)
            if self._state == "watching" and (os.getpid(), threading.get_ident()) == self._place:
                frame = sys._getframe(1)
                self._engine.note_entry(
                    module,
                    late=keywords is None,  # what is compiled is given to the hooks afterwards
                    given=lambda: (arguments, _keywords_of(frame) if keywords is None else keywords),
                )

    def _ours(self, hook: Any) -> bool:
        return hook == self._called or isinstance(hook, InputHook)

    def _called_compiled(self, module: nn.Module | None, arguments: Any, keywords: Any) -> None:
        if module is not None:
            self._called(module, arguments, keywords)
        elif torch.is_grad_enabled() and not self._inside:
            self._look(begins=self._engine.has_optimizer)
            if self._state == "watching" and (os.getpid(), threading.get_ident()) == self._place:
                self._engine.note_call(None, arguments, keywords)

    def _stepped(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        self._look(begins=True)
        if self._state == "watching" and (os.getpid(), threading.get_ident()) == self._place:
            self._engine.note_optimizer(optimizer)

    def _look(self, *, begins: bool) -> None:
        """Ends a step and begins another if it is time; ``begins`` says whether the very first may begin here."""
        if self._inside or self._state == "over" or (os.getpid(), threading.get_ident()) != self._place:
            return
        self._inside = True  # whatever the engine does calls no step into being
        try:
            if self._state == "watching":
                if self._engine.updated and not self._engine.updating:
                    self._engine.end_step(None)
                    self._engine.begin_step()
            elif begins:
                self._begin()
        finally:
            self._inside = False

    def _begin(self) -> None:
        try:
            self._engine.begin()
        except Exception as error:  # whatever it is: the program goes on
            self.stop()
            self._failed(error)
            return
        self._state = "watching"
        self._engine.begin_step()

    def close(self) -> None:
        """Ends the last step, if it changed the weights, and stops looking."""
        if self._state == "watching" and self._engine.updated and not self._engine.updating:
            self._engine.end_step(None)
        self.stop()

    def stop(self) -> None:
        """Stops looking."""
        self._state = "over"
        while self._undo:
            self._undo.pop()()


def _keywords_of(frame: FrameType) -> Any:
    """Returns the keywords of the call of a module whose global hook runs, which PyTorch does not hand to it."""
    return frame.f_locals.get("kwargs", {})
