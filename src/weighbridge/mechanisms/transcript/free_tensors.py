"""Tensors that a program trains and that belong to no module: found where gradients are taken for them.

PyTorch asks nobody to put what is trained into a module or under an optimizer. A backward pass knows nonetheless for
which tensors it takes gradients: the leaves of its graph.
"""

import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weighbridge.mechanisms.transcript.shards import local_of

__all__ = ["FreeTensors", "alike", "graph_of", "leaves_of", "roots_of", "sample_of", "transforming"]

_FIRST_PASSES = 16
"""Passes in which tensors may still be met for the first time, where a program's losses take turns."""
_SAMPLE = 4096
_ALIKE = 0.9


def roots_of(
    arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Tensor, ...], tuple[Any, ...], dict[str, Any]]:
    """Returns what a call of ``torch.autograd.backward`` or ``grad`` begins from, and the call as it can still be made.

    An iterator can be read only once.
    """
    name = "" if arguments else next((name for name in ("tensors", "outputs") if name in keywords), "")
    first = arguments[0] if arguments else keywords.get(name, ())
    if isinstance(first, Iterator):
        first = tuple(first)
    found = (first,) if isinstance(first, Tensor) else first
    roots = tuple(root for root in found if isinstance(root, Tensor)) if isinstance(found, Iterable) else ()
    if arguments:
        return roots, (first, *arguments[1:]), keywords
    return roots, (), keywords | ({name: first} if name else {})


def transforming() -> bool:
    """Returns whether gradients are being taken by ``torch.func``, whose tensors are not the program's own."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def leaves_of(roots: Iterable[Tensor]) -> list[Tensor]:
    """Returns the leaves of :func:`graph_of`."""
    return graph_of(roots)[0]


def graph_of(roots: Iterable[Tensor]) -> tuple[list[Tensor], list[Any]]:
    """Returns the tensors that a backward pass from these roots takes gradients for, and the nodes on its way.

    Both in an order that repeats. Below the transforms of ``torch.func``, which show wrappers and not the tensors,
    there are none.
    """
    leaves: list[Tensor] = []
    nodes: list[Any] = []
    if transforming():
        return leaves, nodes
    seen: set[Any] = set()
    waiting: list[Any] = [root.grad_fn for root in reversed(list(roots))]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(leaf := getattr(node, "variable", None), Tensor):
            leaves.append(leaf)
        else:
            nodes.append(node)
            waiting += [before for before, _ in reversed(node.next_functions)]
    return leaves, nodes


class FreeTensors(nn.Module):
    """Holds tensors that belong to no module, as a module would hold its parameters.

    Args:
        tensors: what is trained, in an order that repeats.

    Attributes:
        moved: whether the program made a tensor anew in the place of one like it, which it trained; the last of them is
            not seen. An input that takes gradients, another each time, is made anew and is not like the one before.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self.moved = False
        self._passes = 0
        self._samples: dict[str, Tensor] = {}
        for tensor in tensors:
            self._hold(str(len(self._parameters)), tensor)

    def _hold(self, name: str, tensor: Tensor) -> None:
        # Past the registration, which takes nothing but ``nn.Parameter``, and tells those who look for modules.
        self._parameters[name] = tensor  # type: ignore[assignment]
        self._samples.setdefault(name, sample_of(tensor))

    def follow(self, leaves: Sequence[Tensor]) -> int:
        """Takes up tensors that the program made in the place of those it trained, and returns how many it could not.

        A new tensor takes the place of the first of its shape and format that the program has let go. In the first
        passes tensors are also met for the first time.

        Args:
            leaves: the leaves of a pass that is about to be made.
        """
        self._passes += 1
        left = 0
        now = {id(leaf) for leaf in leaves}
        known = {id(held) for held in self._parameters.values()}
        for leaf in leaves:
            if id(leaf) in known:
                continue
            name = self._let_go(leaf, now)
            if name is None and self._passes <= _FIRST_PASSES:
                name = str(len(self._parameters))
            if name is None:
                left += 1
            else:
                self._hold(name, leaf)
        return left

    def _let_go(self, like: Tensor, now: Collection[int]) -> str | None:
        """Returns the first place of this shape and format whose tensor nobody but this holds any more."""
        for name in self._parameters:
            held: Any = self._parameters[name]
            if id(held) in now or (held.shape, held.dtype) != (like.shape, like.dtype):
                continue
            reference = weakref.ref(held)
            del held
            self._hold(name, like)  # lets go of what was there
            if (still := reference()) is None:
                last, self._samples[name] = self._samples[name], sample_of(like)
                self.moved = self.moved or not bool(last.any()) or alike(last, self._samples[name])
                return name
            self._hold(name, still)
        return None


def sample_of(tensor: Tensor) -> Tensor:
    """Returns some of a tensor's elements, the same of each tensor of its size, as a copy on the CPU."""
    flat = local_of(tensor).detach().reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLE)].to("cpu", torch.float64, copy=True)


def alike(one: Tensor, other: Tensor) -> bool:
    """Returns whether two samples are as near as weights are before and after a step."""
    return bool(torch.nn.functional.cosine_similarity(one, other, dim=0) > _ALIKE)
