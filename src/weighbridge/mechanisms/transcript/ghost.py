"""Walking through a program's steps without training: to a step in its middle, at a small share of the cost.

Until the walk ends, the program's loop, its data loading, its schedules and its own counters run as ever, and the dear
parts do not: a module's outermost call returns what it returned when it was first called with inputs of those shapes, a
backward pass leaves gradients of zeros, and an optimizer steps over nothing. So the loop takes the same path as long as
that path does not depend on what was learnt. Weights, optimizers and generators are then put in place from an anchor.

Soundness does not rest on any of this: what follows is compared bit for bit with what was committed. A program whose
own variables follow from losses (early stopping), rollouts or outputs may honestly arrive elsewhere.
"""

import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.utils import _pytree as pytree

from weighbridge.mechanisms.transcript.draws import set_generators, unpack_generators
from weighbridge.mechanisms.transcript.state import Subjects
from weighbridge.mechanisms.transcript.untraced import untraced

__all__ = ["Ghost", "Hints"]


class Hints:
    """What the journal says of the steps that are walked through: states of generators, and backward passes.

    Args:
        draws: points met in each step, in their order, with the states noted there.
        passes: backward passes of each step that had not one.
    """

    def __init__(self, draws: Mapping[int, Sequence[tuple[str, str]]], passes: Mapping[int, int]) -> None:
        self._left = {step: list(points) for step, points in draws.items()}
        self._passes = passes

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Hints":
        """Reads what a plan says of the steps walked through (:func:`.walked.told_of_walked`)."""
        draws = {
            int(step): [(str(point), str(states)) for point, states in points]
            for step, points in told.get("draws", {}).items()
        }
        return cls(draws, {int(step): int(count) for step, count in told.get("passes", {}).items()})

    def take(self, step: int, point: str) -> str | None:
        """Returns the states noted at the next such point of a step, if any were."""
        left = self._left.get(step, [])
        for number, (kind, states) in enumerate(left):
            if kind == point:
                del left[number]
                return states
        return None

    def passes(self, step: int) -> int:
        """Returns how many backward passes a step has; 1 where nothing is said."""
        return self._passes.get(step, 1)


class Ghost:
    """Stands in for modules, backward passes and optimizers while a program walks.

    Args:
        subjects: the program's own.
        hints: what the journal says.

    Attributes:
        active: whether the program walks; it trains when it does not.
        step: the step that is walked through, as whoever leads the walk keeps it.
    """

    def __init__(self, subjects: Subjects, hints: Hints) -> None:
        self.active, self.step = False, 0
        self._subjects, self._hints = subjects, hints
        self._place = os.getpid(), threading.get_ident()
        self._seen: dict[Any, tuple[Any, list[Any]]] = {}
        self._zeros: dict[int, Tensor] = {}
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._inside = False
        self._passed = -1, 0
        self._scales = any(isinstance(held, torch.amp.grad_scaler.GradScaler) for held in subjects.plain.values())
        self._undo: list[Callable[[], None]] = []
        self._uncall: Callable[[], None] = lambda: None
        self._stance: Any = None

    def install(self) -> None:
        """Puts itself below whatever watches backward passes from now on; nothing changes until :meth:`enter`."""
        for name, stands_in in (("backward", self._backward), ("grad", self._grad)):
            original = getattr(torch.autograd, name)
            setattr(torch.autograd, name, self._either(original, stands_in))
        self._undo += [
            optimizer_hooks.register_optimizer_step_pre_hook(untraced(self._before)).remove,
            optimizer_hooks.register_optimizer_step_post_hook(untraced(self._after)).remove,
        ]

    def _watch_calls(self) -> None:
        """Stands in for modules; not for longer than it walks, since a compiler would trace it."""
        call = nn.Module.__call__

        @functools.wraps(call)
        def calling(module: nn.Module, *arguments: Any, **keywords: Any) -> Any:
            if not self.active or self._inside or not self._here():
                return call(module, *arguments, **keywords)
            return self._called(call, module, arguments, keywords)

        nn.Module.__call__ = calling  # type: ignore[method-assign]

        def undo() -> None:
            if nn.Module.__call__ is calling:
                nn.Module.__call__ = call  # type: ignore[method-assign]

        self._uncall = undo

    def enter(self, step: int) -> None:
        """Begins to walk at a step."""
        self.active, self.step = True, step
        self._watch_calls()
        self._stance = torch.compiler.set_stance("force_eager")  # compiled code would train, and call nobody

    def leave(self) -> None:
        """Ends the walk: from here on the program trains."""
        self.active = False
        self._uncall()
        self._compile_again()
        self._seen.clear()
        self._zeros.clear()
        self._kept.clear()
        for _, tensor in self._subjects.parameters():
            if tensor.requires_grad:
                tensor.grad = None

    def remove(self) -> None:
        """Ends it for good. A backward pass keeps passing through where somebody wrapped it since."""
        self.active = False
        self._uncall()
        self._compile_again()
        while self._undo:
            self._undo.pop()()

    def _compile_again(self) -> None:
        stance, self._stance = self._stance, None
        if stance is not None:
            stance.__exit__(None, None, None)

    def met(self, point: str) -> None:
        """Puts the generators where they stood when training met this point."""
        states = self._hints.take(self.step, point)
        if states is not None:
            set_generators(unpack_generators(states))

    def _here(self) -> bool:
        return (os.getpid(), threading.get_ident()) == self._place

    def _either(self, original: Callable[..., Any], stands_in: Callable[..., Any]) -> Callable[..., Any]:
        @untraced
        @functools.wraps(original)
        def choosing(*arguments: Any, **keywords: Any) -> Any:
            walks = self.active and not self._inside and self._here()
            return (stands_in if walks else original)(*arguments, **keywords)

        return choosing

    # --- modules

    def _called(self, call: Callable[..., Any], module: nn.Module, arguments: Any, keywords: Any) -> Any:
        for hook in list(module_hooks._global_forward_pre_hooks.values()):  # by which steps are told apart
            hook(module, arguments)
        if not self.active or next(module.parameters(), None) is None:  # the walk may end at this very call
            return call(module, *arguments, **keywords)
        signature = id(module), module.training, torch.is_grad_enabled(), _shapes((arguments, keywords))
        found = self._seen.get(signature)
        if found is None:
            self._inside = True
            try:
                output = call(module, *arguments, **keywords)
            finally:
                self._inside = False
            leaves, structure = pytree.tree_flatten(output)
            kept = [(leaf.detach(), leaf.requires_grad) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            self._seen[signature] = found = structure, kept
        structure, kept = found
        return pytree.tree_unflatten([_again(leaf) for leaf in kept], structure)

    # --- backward passes

    def _backward(self, tensors: Any, *arguments: Any, **keywords: Any) -> None:
        last, count = self._passed
        self._passed = self.step, count + 1 if last == self.step else 1
        # A scaler that met infinities stepped over the update, and its step had further passes: so does the walk.
        skips = self._scales and self._passed[1] < self._hints.passes(self.step)
        for _, tensor in self._subjects.parameters():
            if tensor.requires_grad:
                if tensor.grad is None:
                    if id(tensor) not in self._zeros:
                        self._zeros[id(tensor)] = torch.zeros_like(tensor)
                    tensor.grad = self._zeros[id(tensor)]
                if self._scales:
                    tensor.grad.fill_(float("inf") if skips else 0.0)

    def _grad(self, outputs: Any, inputs: Any, *arguments: Any, **keywords: Any) -> tuple[Tensor, ...]:
        asked = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        return tuple(torch.zeros_like(tensor) for tensor in asked)

    # --- optimizers

    def _before(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        if self.active:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._kept.append((parameter, parameter.grad))
                        parameter.grad = None

    def _after(self, optimizer: Any, arguments: Any, keywords: Any) -> None:
        if self.active:
            for parameter, gradient in self._kept:
                parameter.grad = gradient
            self._kept.clear()


def _again(leaf: Any) -> Any:
    """Returns an output anew: a tensor that may be written to, and that a loss can be made from."""
    if isinstance(leaf, tuple) and len(leaf) == 2 and isinstance(leaf[0], Tensor):
        tensor, follows = leaf
        return tensor.detach().requires_grad_(follows).clone()
    return leaf


def _shapes(values: Any) -> Any:
    """Returns what a call's outputs have their shapes from: those of its tensors, its structure, its words."""
    leaves, structure = pytree.tree_flatten(values)
    told: list[Any] = []
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            told.append((tuple(leaf.shape), leaf.dtype, leaf.requires_grad))
        elif isinstance(leaf, (bool, str, type(None))):
            told.append(leaf)
    return tuple(told), str(structure)
