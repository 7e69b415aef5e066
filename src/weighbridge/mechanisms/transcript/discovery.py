"""Finds the modules, optimizers and schedulers that a program builds, without asking the program.

Everything built between ``start`` and the loop is seen through PyTorch's registration hooks and the constructors of
the base classes. Weak references only: what the program drops is not kept alive.

What belongs to no module is found under the optimizers, or where gradients are first taken (:mod:`.free_tensors`).
"""

import functools
import gc
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.nn.parameter import is_lazy
from torch.optim import lr_scheduler

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.free_tensors import FreeTensors
from weighbridge.mechanisms.transcript.state import Subjects

__all__ = ["Discovery"]

_BUILD_AFTER = "call start before the model is built, and keep the model alive"
_SCHEDULERS = (
    lr_scheduler.LRScheduler,
    # These three do not call their base class.
    lr_scheduler.SequentialLR,
    lr_scheduler.ChainedScheduler,
    lr_scheduler.ReduceLROnPlateau,
)


class Discovery:
    """Notes objects as they are built; :meth:`close` names them and stops looking.

    Attributes:
        follows: what holds the tensors of a program that has neither modules nor optimizers that train; else None.
    """

    def __init__(self) -> None:
        self._modules: list[weakref.ref[nn.Module]] = []
        # Keyed by id, and compared with what lives there now: an id is given again when an object is gone.
        self._known: dict[int, weakref.ref[nn.Module]] = {}
        self._built: list[weakref.ref[Any]] = []
        self._undo: list[Callable[[], None]] = []
        self._open = True
        self._leaves: Sequence[Tensor] | None = None
        self.follows: FreeTensors | None = None
        self._subjects: Subjects | None = None
        handles = [
            module_hooks.register_module_parameter_registration_hook(self._registered),
            module_hooks.register_module_buffer_registration_hook(self._registered),
            module_hooks.register_module_module_registration_hook(self._registered),
        ]
        self._undo += [handle.remove for handle in handles]
        for kind in (torch.optim.Optimizer, *_SCHEDULERS, torch.amp.grad_scaler.GradScaler):
            self._undo.append(self._watch(kind, "__init__", self._note_built))
        # A deep copy registers nothing: it is filled through __setstate__.
        self._undo.append(self._watch(nn.Module, "__setstate__", self._note_module))

    def _registered(self, module: nn.Module, name: str, value: Any) -> None:
        self._note_module(module)

    def _note_module(self, module: nn.Module) -> None:
        known = self._known.get(id(module))
        if known is None or known() is not module:
            reference = weakref.ref(module)
            self._known[id(module)] = reference
            self._modules.append(reference)

    def _note_built(self, instance: Any) -> None:
        if not any(ref() is instance for ref in self._built):
            self._built.append(weakref.ref(instance))

    def _watch(self, kind: Any, method: str, note: Callable[[Any], None]) -> Callable[[], None]:
        original = getattr(kind, method)

        @functools.wraps(original)
        def noting(instance: Any, *arguments: Any, **keywords: Any) -> Any:
            if self._open:
                note(instance)
            return original(instance, *arguments, **keywords)

        setattr(kind, method, noting)

        def undo() -> None:
            # Somebody may have wrapped it again since: then ours stays below theirs and passes everything through.
            if kind.__dict__.get(method) is noting:
                setattr(kind, method, original)

        return undo

    def know(self, instances: Iterable[Any]) -> None:
        """Notes models, optimizers, schedules and scalers that were built before; what is none of them is left out."""
        for instance in instances:
            if isinstance(instance, nn.Module):
                self._note_module(instance)
            elif isinstance(instance, (torch.optim.Optimizer, *_SCHEDULERS, torch.amp.grad_scaler.GradScaler)):
                self._note_built(instance)

    @property
    def by_passes(self) -> bool:
        """Whether a program's steps are told by backward passes alone, since no module is trained; known once closed.

        Such a program has computed the next loss before its step is seen to end.
        """
        if self._subjects is None:
            return False
        return self.follows is not None or all(isinstance(m, FreeTensors) for m in self._subjects.modules.values())

    def first_pass(self, leaves: Sequence[Tensor]) -> None:
        """Notes what the first backward pass takes gradients for, in a program that has come to it."""
        self._leaves = leaves

    @property
    def has_optimizer(self) -> bool:
        """Whether an optimizer was built that is still alive."""
        return any(isinstance(ref(), torch.optim.Optimizer) for ref in self._built)

    def stop(self) -> None:
        """Stops looking."""
        self._open = False
        while self._undo:
            self._undo.pop()()

    def close(self) -> Subjects:
        """Stops looking and returns what was built and is still alive, named by the order of construction.

        Asked again, it returns the same.

        Raises:
            InputError: nothing was built since ``start`` that could be trained, or what was built cannot be recorded.
        """
        if self._subjects is not None:
            return self._subjects
        self.stop()
        alive = [module for ref in self._modules if (module := ref()) is not None]
        inner = {id(child) for module in alive for child in module.modules() if child is not module}
        models = [module for module in alive if id(module) not in inner and _holds_tensors(module)]
        built = [instance for ref in self._built if (instance := ref()) is not None]
        optimizers = _named("optimizer", [i for i in built if isinstance(i, torch.optim.Optimizer)])
        others = [i for i in built if not isinstance(i, torch.optim.Optimizer)]
        if free := self._free(Subjects(modules=_named("model", models), optimizers=optimizers)):
            holder = FreeTensors(free)
            models.append(holder)  # and named as they are, so that each check of weights sees it
            if not optimizers:
                self.follows = holder
        modules = _named("model", models)
        if not any(True for module in modules.values() for _ in module.parameters()):
            raise self._nothing()
        subjects = Subjects(modules=modules, optimizers=optimizers, plain=_named("schedule", others))
        _check(subjects)
        self._subjects, self._leaves = subjects, None
        return subjects

    def _free(self, subjects: Subjects) -> list[Tensor]:
        """Returns what is trained and belongs to no module.

        Raises:
            InputError: some of it belongs to a module that was built before anybody looked.
        """
        recorded = {id(tensor) for _, tensor in subjects.parameters()}
        if subjects.optimizers:
            free, where = subjects.strangers(), " and ".join(subjects.optimizers)
        elif any(id(leaf) in recorded for leaf in self._leaves or ()):
            return []
        else:
            free, where = list(self._leaves or ()), "the first backward pass"
        if free and _owned(free):
            raise InputError(
                f"trains {len(free)} tensors that belong to no model built since start",
                where=where,
                mend=_BUILD_AFTER,
            )
        return free

    def _nothing(self) -> InputError:
        if self._leaves is None:
            return InputError(
                "no model was built between start and the loop", where="weighbridge.start", mend=_BUILD_AFTER
            )
        return InputError(
            "takes gradients, and for nothing that lasts: no module, no tensor under an optimizer, no tensor of its own"
            " was found",
            where="the first backward pass",
            mend="keep what is trained in tensors that require gradients, better in a torch.nn.Module",
        )


def _owned(tensors: Iterable[Tensor]) -> bool:
    """Returns whether a tensor is a module's parameter: that of one built before, and so seen by nobody."""
    wanted = {id(tensor) for tensor in tensors}
    return any(
        id(parameter) in wanted
        for module in gc.get_objects()
        if issubclass(type(module), nn.Module) and not isinstance(module, FreeTensors)
        for parameter in vars(module).get("_parameters", {}).values()
    )


def _holds_tensors(module: nn.Module) -> bool:
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _named(word: str, objects: list[Any]) -> dict[str, Any]:
    return {word if not index else f"{word}{index}": item for index, item in enumerate(objects)}


def _check(subjects: Subjects) -> None:
    tensors = dict(subjects.parameters())
    for name, tensor in tensors.items():
        if is_lazy(tensor):
            raise InputError("has no shape yet", where=name, mend="run a lazy module once between start and the loop")
