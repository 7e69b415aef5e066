"""Finds the modules, optimizers and schedulers that a program builds, without asking the program.

Everything built between ``start`` and the loop is seen through PyTorch's registration hooks and the constructors of
the base classes. Weak references only: what the program drops is not kept alive.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim.lr_scheduler import LRScheduler

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.state import Subjects

__all__ = ["Discovery"]


class Discovery:
    """Notes objects as they are built; :meth:`close` names them and stops looking."""

    def __init__(self) -> None:
        self._modules: list[weakref.ref[nn.Module]] = []
        self._known: set[int] = set()
        self._built: list[weakref.ref[Any]] = []
        self._undo: list[Callable[[], None]] = []
        handles = [
            module_hooks.register_module_parameter_registration_hook(self._registered),
            module_hooks.register_module_buffer_registration_hook(self._registered),
            module_hooks.register_module_module_registration_hook(self._registered),
        ]
        self._undo += [handle.remove for handle in handles]
        scalers = [torch.amp.grad_scaler.GradScaler]
        for kind in (torch.optim.Optimizer, LRScheduler, *scalers):
            self._undo.append(self._note_constructions(kind))

    def _registered(self, module: nn.Module, name: str, value: Any) -> None:
        if id(module) not in self._known:
            self._known.add(id(module))
            self._modules.append(weakref.ref(module))

    def _note_constructions(self, kind: Any) -> Callable[[], None]:
        original = kind.__init__

        def noting(instance: Any, *arguments: Any, **keywords: Any) -> None:
            if not any(ref() is instance for ref in self._built):
                self._built.append(weakref.ref(instance))
            original(instance, *arguments, **keywords)

        noting.__wrapped__ = original  # type: ignore[attr-defined]
        kind.__init__ = noting

        def undo() -> None:
            kind.__init__ = original

        return undo

    def close(self) -> Subjects:
        """Returns what was built and is still alive, by names that depend only on the order of construction.

        Raises:
            InputError: no module with parameters was built since ``start``.
        """
        for undo in self._undo:
            undo()
        self._undo.clear()
        alive = [module for ref in self._modules if (module := ref()) is not None]
        inner = {id(child) for module in alive for child in module.modules() if child is not module}
        roots = [module for module in alive if id(module) not in inner and any(True for _ in module.parameters())]
        if not roots:
            raise InputError(
                "no model was built between start and the loop",
                where="weighbridge.start",
                mend="call start before the model is built, and keep the model alive",
            )
        built = [instance for ref in self._built if (instance := ref()) is not None]
        optimizers = [i for i in built if isinstance(i, torch.optim.Optimizer)]
        others = [i for i in built if not isinstance(i, torch.optim.Optimizer)]
        return Subjects(
            modules=_named("model", roots),
            optimizers=_named("optimizer", optimizers),
            plain=_named("schedule", others),
        )


def _named(word: str, objects: list[Any]) -> dict[str, Any]:
    return {word if not index else f"{word}{index}": item for index, item in enumerate(objects)}
