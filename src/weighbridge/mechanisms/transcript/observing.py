"""Steps of a program that knows nothing of us: seen from the modules that it calls and the optimizers that it steps.

A step begins where, after an update, a module is first called to train (in training mode, gradients on) or an
optimizer is first told to step (whose closure may do all the work); there the step before it ends. Between the two
the state is at rest: the optimizer has stepped, and so has whatever comes after it in the loop (schedules, averages of
weights). What happens inside an optimizer's step begins nothing.

A program that updates its weights by hand is watched from the first time on at which it takes gradients, and each call
to train after a backward pass begins a step. If what it trains belongs to no module, each backward pass begins one.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, Protocol

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

from weighbridge.mechanisms.transcript.compiled import CompiledCalls
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.elsewhere import Elsewhere
from weighbridge.mechanisms.transcript.free_tensors import leaves_of, roots_of, transforming
from weighbridge.mechanisms.transcript.loop import InputHook
from weighbridge.mechanisms.transcript.untraced import untraced
from weighbridge.mechanisms.transcript.watched import WATCHED

__all__ = ["Engine", "Observer"]


_THREADS: Final = "another thread than the program's first trains, where nothing is watched"


class Engine(Protocol):
    """What is told of a run's steps: a recorder or a replayer.

    Attributes:
        discovery: what finds what the program builds and trains.
    """

    discovery: Discovery

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

    def follow(self, roots: Sequence[torch.Tensor]) -> None:
        """Gradients are about to be taken, in a program whose steps are told by that alone."""

    def miss(self, words: str) -> None:
        """Something is trained that is in no recorded state."""

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
        forked: told, in a process that was forked from this one, that it trains.
    """

    def __init__(
        self, engine: Engine, *, failed: Callable[[Exception], None], forked: Callable[[], None] = lambda: None
    ) -> None:
        self._engine, self._failed = engine, failed
        self._threads, self._forks = Elsewhere(self._threaded), Elsewhere(forked)
        self._passing = False
        self._place = os.getpid(), threading.get_ident()  # a forked worker holds a copy, and its steps are not ours
        self._state = "waiting"  # waiting, watching, over
        self._begun = self._transformed = False
        self._inside = False
        self._undo: list[Callable[[], None]] = [
            module_hooks.register_module_forward_pre_hook(self._called).remove,
            optimizer_hooks.register_optimizer_step_pre_hook(untraced(self._stepped)).remove,
            self._watch_passes("backward"),
            self._watch_passes("grad"),
            CompiledCalls(self._called_compiled, ours=self._ours).stop,
        ]

    @property
    def began(self) -> bool:
        """Whether a first step was seen."""
        return self._begun

    def _threaded(self) -> None:
        if self._state == "watching":
            self._engine.miss(_THREADS)

    @property
    def _elsewhere(self) -> Elsewhere | None:
        """What counts training in this thread and process; None where it is watched."""
        process, thread = self._place
        if os.getpid() != process:  # a fork, unless somebody watches it for itself
            return self._forks if os.environ.get(WATCHED) != str(os.getpid()) else None
        return self._threads if threading.get_ident() != thread else None

    @property
    def saw(self) -> str:
        """What was seen of training, where no first step was."""
        if self._threads.found:
            return f"{_THREADS}: let its first thread train"
        if self._transformed:
            return (
                "gradients were taken by torch.func alone, of tensors that it makes itself, and no module, optimizer or"
                " tensor was seen that is trained"
            )
        return "no gradient was taken in it and no optimizer stepped, as far as PyTorch shows"

    def _watch_passes(self, name: str) -> Callable[[], None]:
        original = getattr(torch.autograd, name)

        @untraced
        @functools.wraps(original)
        def noting(*arguments: Any, **keywords: Any) -> Any:
            if (elsewhere := self._elsewhere) is not None:
                # The passes of a device's own thread lie in one of the program's (checkpointed layers).
                if name == "backward" and not self._passing and self._state != "over":
                    elsewhere.passed()
                return original(*arguments, **keywords)
            # Gradients that are only asked for may be anything, unless nothing else can train.
            if not self.began and (name == "backward" or not self._engine.discovery.has_optimizer):
                roots, arguments, keywords = roots_of(arguments, keywords)
                if self._first_pass(roots):  # what watches now has wrapped this, and must see this very pass
                    return getattr(torch.autograd, name)(*arguments, **keywords)
            before, self._passing = self._passing, True
            try:
                return original(*arguments, **keywords)
            finally:
                self._passing = before

        return _put_in_place(name, noting, original)

    def _first_pass(self, roots: Sequence[torch.Tensor]) -> bool:
        here = self._state == "waiting" and not self._inside and (os.getpid(), threading.get_ident()) == self._place
        self._transformed = self._transformed or (here and transforming())
        if here and not transforming():
            self._engine.discovery.first_pass(leaves_of(roots))
            self._look(begins=True)
        return here and self.began

    def _follow_passes(self, name: str) -> Callable[[], None]:
        """Has each pass begin a step. It is put above all that watches passes, since it comes before the step's."""
        original = getattr(torch.autograd, name)
        passing = False

        @untraced
        @functools.wraps(original)
        def following(*arguments: Any, **keywords: Any) -> Any:
            nonlocal passing
            if passing or self._inside or (os.getpid(), threading.get_ident()) != self._place:
                return original(*arguments, **keywords)
            roots, arguments, keywords = roots_of(arguments, keywords)
            passing = True
            try:
                if not self._engine.updating:
                    self._engine.follow(roots)
                    self._look(begins=False)
                return original(*arguments, **keywords)
            finally:
                passing = False

        return _put_in_place(name, following, original)

    def _called(self, module: nn.Module, arguments: Any, keywords: Any = None) -> None:
        if torch.compiler.is_compiling():  # a hook in what is traced would change it
            return
        if module.training and torch.is_grad_enabled() and not self._inside:
            self._look(begins=self._engine.discovery.has_optimizer, called=True)
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
            self._look(begins=self._engine.discovery.has_optimizer, called=True)
            if self._state == "watching" and (os.getpid(), threading.get_ident()) == self._place:
                self._engine.note_call(None, arguments, keywords)

    def _stepped(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        if (elsewhere := self._elsewhere) is not None:
            elsewhere.stepped()
            return
        self._look(begins=True)
        if self._state == "watching" and (os.getpid(), threading.get_ident()) == self._place:
            self._engine.note_optimizer(optimizer)

    def _look(self, *, begins: bool, called: bool = False) -> None:
        """Ends a step and begins another if it is time.

        Args:
            begins: whether the very first may begin here.
            called: whether this is the call of a module or of what is compiled.
        """
        if self._inside or self._state == "over" or (os.getpid(), threading.get_ident()) != self._place:
            return
        self._inside = True  # whatever the engine does calls no step into being
        try:
            if self._state == "watching":
                tells = not (called and self._engine.discovery.by_passes)
                if tells and self._engine.updated and not self._engine.updating:
                    self._engine.end_step(None)
                    self._engine.begin_step()
            elif begins:
                self._begin()
        except Exception:  # the training was to end with the recording: nothing more is told
            self.stop()
            raise
        finally:
            self._inside = False

    def _begin(self) -> None:
        try:
            self._engine.begin()
        except Exception as error:  # whatever it is: the program goes on
            self.stop()
            self._failed(error)
            return
        self._state, self._begun = "watching", True
        self._engine.begin_step()
        if self._threads.found:
            self._engine.miss(_THREADS)
        if self._engine.discovery.by_passes:
            self._undo += [self._follow_passes(name) for name in ("backward", "grad")]

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


def _put_in_place(name: str, noting: Callable[..., Any], original: Callable[..., Any]) -> Callable[[], None]:
    """Puts a function in the place of one of ``torch.autograd``'s, and returns what undoes it."""
    setattr(torch.autograd, name, noting)

    def undo() -> None:
        # Somebody may have wrapped it again since: then ours stays below theirs and passes everything through.
        if getattr(torch.autograd, name) is noting:
            setattr(torch.autograd, name, original)

    return undo


def _keywords_of(frame: FrameType) -> Any:
    """Returns the keywords of the call of a module whose global hook runs, which PyTorch does not hand to it."""
    return frame.f_locals.get("kwargs", {})
