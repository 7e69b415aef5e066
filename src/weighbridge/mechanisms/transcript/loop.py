"""What recording and replay share: the loop that a program runs over, and the hooks inside it."""

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor, nn

from weighbridge.mechanisms.transcript.encoding import canonical, framed
from weighbridge.mechanisms.transcript.free_tensors import roots_of
from weighbridge.mechanisms.transcript.state import (
    Subjects,
    TrainingState,
    capture,
    digest_tensor,
    generator_states,
)
from weighbridge.mechanisms.transcript.untraced import untraced

__all__ = ["InputHook", "Iteration", "LoopHooks"]


class Iteration:
    """What was seen in one iteration of the loop, and what the state before it needs to be told later.

    Args:
        subjects: what is recorded.
        gradients: those carried over from the step before, live.
    """

    def __init__(self, subjects: Subjects, gradients: Mapping[str, Tensor]) -> None:
        self._subjects = subjects
        self._versions = _versions(subjects)
        self.generators = generator_states()
        # Normalisation layers move their buffers in the forward pass, and backward passes add to gradients in place,
        # both before the update: keep the start's values.
        self._kept = {name: tensor.detach().clone() for name, tensor in subjects.buffers()}
        self._gradients = {name: tensor.detach().clone() for name, tensor in gradients.items()}
        self.losses: list[Tensor] = []
        self.inputs: list[bytes] = []
        self.entry: int | None = None
        """Id of the module whose inputs are noted, where no model is called as a whole."""
        self.early: tuple[Any, ...] = ()
        """What a model was given when watching began with its call, whose own hook may still come."""
        self.given: set[int] = set()
        """Ids of what models were given that requires gradients: inputs, and not what is trained."""
        self.updates = 0
        self.updated: set[int] = set()
        self._updated_versions = self._versions

    def state_before(self, step: int) -> TrainingState:
        """Returns the state at the iteration's start; call it before the first update."""
        state = capture(self._subjects, step=step, gradients=self._gradients, generators=self.generators)
        return TrainingState({**state.tensors, **self._kept}, state.plain)

    @property
    def weights_changed(self) -> bool:
        """Whether any weight was written to since the start, by an optimizer or not."""
        return self.updates > 0 or _versions(self._subjects) != self._versions

    def note_update(self) -> None:
        """Remembers how the weights stand after an optimizer's update."""
        self._updated_versions = _versions(self._subjects)

    @property
    def changed_since_update(self) -> bool:
        """Whether any weight was written to after the last update noted (an average of weights, a projection)."""
        return _versions(self._subjects) != self._updated_versions

    def batch_digest(self, fallback: Any, salt: bytes) -> tuple[str, str]:
        """Returns the salted digest of what the model was given, and ``forward`` or ``yielded``: where it was seen."""
        seen, where = (self.inputs, "forward") if self.inputs else (_digests(fallback), "yielded")
        return blake3(b"".join(map(framed, seen)), key=salt).hexdigest(), where

    def loss_values(self) -> list[str]:
        """Returns the losses exactly, as hexadecimal floats, in the order of the backward passes."""
        return [float(loss).hex() for loss in self.losses if loss.numel() == 1 and not loss.is_complex()]


def _versions(subjects: Subjects) -> int:
    """Returns a count that grows with every write to a weight that autograd sees."""
    return sum(
        parameter._version
        for module in subjects.modules.values()
        for parameter in module.parameters()
        if not parameter.is_inference()
    )


def _digests(value: Any) -> list[bytes]:
    """Returns the digest of every tensor and plain value in a batch or call, in order."""
    if isinstance(value, Tensor):
        try:
            return [digest_tensor(value)]
        except (NotImplementedError, RuntimeError, TypeError):
            return [canonical(["unreadable", str(value.dtype), list(value.shape)])]
    if isinstance(value, (np.ndarray, np.generic)):
        return _digests(torch.from_numpy(np.array(value))) if value.dtype.kind in "biufc" else []
    if isinstance(value, Mapping):
        return [d for key in sorted(value, key=str) for d in (canonical(str(key)), *_digests(value[key]))]
    if isinstance(value, (list, tuple)):
        return [digest for item in value for digest in _digests(item)]
    if isinstance(value, (bool, int, float, str, type(None))):
        return [canonical(value)]
    return []


class InputHook:
    """A forward hook on a model. Copied or pickled with its model, it becomes one that does nothing."""

    def __init__(self, note: Callable[[nn.Module, Any, Any], None]) -> None:
        self._note = note

    def __call__(self, module: nn.Module, arguments: Any, keywords: Any) -> None:
        """Notes a call; nothing of it goes into what a compiler traces."""
        if not torch.compiler.is_compiling():
            self._note(module, arguments, keywords)

    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return functools.partial(sys.audit, "weighbridge.copied")

    def __reduce__(self) -> tuple[Any, ...]:
        # Of the standard library alone, so that a saved model loads where weighbridge is not installed.
        return functools.partial, (sys.audit, "weighbridge.copied")


class LoopHooks:
    """Hooks on the models' inputs, the backward pass and the optimizers, for as long as the loop runs.

    They read and never write: no bit of the training changes.

    Args:
        subjects: what is recorded.
        before_update: told that the first optimizer of a step is about to update.
        after_update: told that an optimizer has updated.
        before_pass: told what each backward pass begins from that does not lie in another.
    """

    def __init__(
        self,
        subjects: Subjects,
        *,
        before_update: Callable[[], None],
        after_update: Callable[[], None],
        before_pass: Callable[[tuple[Tensor, ...]], None] = lambda roots: None,
    ) -> None:
        self._subjects = subjects
        self._before, self._after, self._before_pass = before_update, after_update, before_pass
        self._passing = False
        self._place = os.getpid(), threading.get_ident()  # a fork holds a copy, and other threads' passes are not ours
        self._undo: list[Callable[[], Any]] = []
        self.iteration: Iteration | None = None
        self._fresh = True
        self.reading_s = 0.0
        """Seconds spent on digests of what the models were given."""
        self.updating = 0
        """Optimizers at work at this moment: their closures may run the model (L-BFGS)."""

    @property
    def updated(self) -> bool:
        """Whether the step under way changed the weights; by hand, a backward pass is the sign of it."""
        step = self.iteration
        return step is not None and (step.updates > 0 or (not self._subjects.optimizers and bool(step.losses)))

    def install(self) -> None:
        """Installs the hooks."""
        for module in self._subjects.modules.values():
            handle = module.register_forward_pre_hook(InputHook(self._forward), with_kwargs=True)
            self._undo.append(handle.remove)
        for optimizer in self._subjects.optimizers.values():
            self._undo.append(optimizer.register_step_pre_hook(untraced(self._pre_step)).remove)
            self._undo.append(optimizer.register_step_post_hook(untraced(self._post_step)).remove)
        # Where optimizers train, gradients that are only asked for are a part of some loss (a penalty).
        self._undo.append(self._watch_passes("backward", losses=True))
        self._undo.append(self._watch_passes("grad", losses=not self._subjects.optimizers))

    def _watch_passes(self, name: str, *, losses: bool) -> Callable[[], None]:
        original = getattr(torch.autograd, name)

        @untraced
        @functools.wraps(original)
        def noting(*arguments: Any, **keywords: Any) -> Any:
            if self.iteration is None or self._passing or (os.getpid(), threading.get_ident()) != self._place:
                return original(*arguments, **keywords)
            roots, arguments, keywords = roots_of(arguments, keywords)
            self._before_pass(roots)
            if losses:
                self.iteration.losses += [root.detach() for root in roots]
            self._passing = True
            try:
                return original(*arguments, **keywords)
            finally:
                self._passing = False

        setattr(torch.autograd, name, noting)

        def undo() -> None:
            # Somebody may have wrapped it again since: then ours stays below theirs and passes everything through.
            if getattr(torch.autograd, name) is noting:
                setattr(torch.autograd, name, original)

        return undo

    def remove(self) -> None:
        """Removes the hooks."""
        self.iteration = None
        while self._undo:
            self._undo.pop()()

    def note_inputs(self, arguments: Any, keywords: Any) -> None:
        """Notes what a compiled function was given, if the step has seen no module's inputs yet."""
        if self.iteration is not None and not self.iteration.inputs:
            self.iteration.inputs += _digests([list(arguments), keywords])

    def note_entry(self, module: nn.Module, *, late: bool, given: Callable[[], tuple[Any, Any]]) -> None:
        """Notes what the first module called in a step was given, where that is no model with a hook of its own.

        A framework may call a model's parts and never the model; and the call with which watching begins came before
        the hooks.

        Args:
            module: what is called.
            late: whether a hook that was put on the module during this call is not called any more.
            given: returns what it is called with, by position and by name.
        """
        step, fresh, self._fresh = self.iteration, self._fresh, False
        if step is None:
            return
        if any(module is model for model in self._subjects.modules.values()):
            if not (late and fresh):
                return
            arguments, keywords = given()
            step.early = (module, *arguments, *keywords.values())
        if not step.inputs:
            step.entry = id(module)
        if step.entry == id(module):
            step.inputs += _digests([list(part) if isinstance(part, tuple) else part for part in given()])

    def _forward(self, module: nn.Module, arguments: Any, keywords: Any) -> None:
        if self.iteration is not None and module.training:
            for value in (*arguments, *keywords.values()):
                if isinstance(value, Tensor) and value.requires_grad:
                    self.iteration.given.add(id(value))
            early, self.iteration.early = self.iteration.early, ()
            now = (module, *arguments, *keywords.values())
            if early and len(early) == len(now) and all(one is other for one, other in zip(early, now, strict=True)):
                return  # the very call with which watching began
            began = time.perf_counter()
            self.iteration.inputs += _digests([list(arguments), keywords])
            self.reading_s += time.perf_counter() - began

    def _pre_step(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        self.updating += 1
        if self.iteration is not None:
            if self.iteration.updates == 0:
                self._before()
            self.iteration.updates += 1
            self.iteration.updated.add(id(optimizer))

    def _post_step(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        self.updating -= 1
        if self.iteration is not None:
            self._after()
