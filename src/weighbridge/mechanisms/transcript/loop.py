"""What recording and replay share: the loop that a program runs over, and the hooks inside it."""

from collections.abc import Callable
from typing import Any

import torch
from blake3 import blake3
from torch import Tensor, nn
from torch.optim import optimizer as optimizer_hooks

from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.state import Subjects, digest_tensor, generator_states

__all__ = ["Iteration", "LoopHooks"]


class Iteration:
    """What was seen in one iteration of the loop."""

    def __init__(self, subjects: Subjects) -> None:
        self.generators = generator_states()
        # Normalisation layers move their buffers in the forward pass, before the update: keep the start's values.
        self.buffers = {
            name: tensor.detach().clone()
            for name, tensor in subjects.parameters()
            if "/buffer/" in name and not _constant(tensor)
        }
        self.losses: list[Tensor] = []
        self.inputs: list[bytes] = []
        self.updates = 0

    def batch_digest(self, fallback: Any, salt: bytes) -> tuple[str, str]:
        """Returns the salted digest of what the model was given, and ``forward`` or ``yielded``: where it was seen."""
        seen, where = (self.inputs, "forward") if self.inputs else (_digests(fallback), "yielded")
        return blake3(b"".join(seen), key=salt).hexdigest(), where

    def loss_values(self) -> list[str]:
        """Returns the losses exactly, as hexadecimal floats, in the order of the backward passes."""
        return [float(loss).hex() for loss in self.losses if loss.numel() == 1]


def _constant(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.dtype in (torch.int64, torch.int32)) or tensor.numel() > 1 << 24


def _digests(value: Any) -> list[bytes]:
    """Returns the digest of every tensor and plain value in a batch or call, in order."""
    if isinstance(value, Tensor):
        return [digest_tensor(value)]
    if isinstance(value, dict):
        return [d for key in sorted(value, key=str) for d in (canonical(str(key)), *_digests(value[key]))]
    if isinstance(value, (list, tuple)):
        return [digest for item in value for digest in _digests(item)]
    if isinstance(value, (bool, int, float, str, type(None))):
        return [canonical(value)]
    return []


class LoopHooks:
    """Hooks on the models' inputs, the backward pass and the optimizers, for as long as the loop runs.

    They read and never write: no bit of the training changes.
    """

    def __init__(
        self, subjects: Subjects, *, before_update: Callable[[], None], after_update: Callable[[], None]
    ) -> None:
        self._subjects = subjects
        self._before, self._after = before_update, after_update
        self._own = {id(optimizer) for optimizer in subjects.optimizers.values()}
        self._undo: list[Callable[[], Any]] = []
        self.iteration: Iteration | None = None

    def install(self) -> None:
        """Installs the hooks."""
        for module in self._subjects.modules.values():
            handle = module.register_forward_pre_hook(self._forward, with_kwargs=True)
            self._undo.append(handle.remove)
        self._undo.append(optimizer_hooks.register_optimizer_step_pre_hook(self._pre_step).remove)
        self._undo.append(optimizer_hooks.register_optimizer_step_post_hook(self._post_step).remove)
        original = torch.autograd.backward

        def noting(tensors: Any, *arguments: Any, **keywords: Any) -> None:
            if self.iteration is not None:
                found = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
                self.iteration.losses += [t.detach() for t in found if isinstance(t, Tensor)]
            original(tensors, *arguments, **keywords)

        torch.autograd.backward = noting

        def undo() -> None:
            torch.autograd.backward = original

        self._undo.append(undo)

    def remove(self) -> None:
        """Removes the hooks."""
        while self._undo:
            self._undo.pop()()

    def _forward(self, module: nn.Module, arguments: Any, keywords: Any) -> None:
        if self.iteration is not None and module.training:
            self.iteration.inputs += _digests([list(arguments), keywords])

    def _pre_step(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        if self.iteration is not None and id(optimizer) in self._own:
            if self.iteration.updates == 0:
                self._before()
            self.iteration.updates += 1

    def _post_step(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        if self.iteration is not None and id(optimizer) in self._own:
            self._after()
