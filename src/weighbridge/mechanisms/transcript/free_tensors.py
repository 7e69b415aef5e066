"""Tensors that a program trains and that belong to no module: found where gradients are taken for them.

PyTorch asks nobody to put what is trained into a module or under an optimizer. A backward pass knows nonetheless for
which tensors it takes gradients: the leaves of its graph.
"""

import os
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from weighbridge.mechanisms.transcript.shards import local_of
from weighbridge.mechanisms.transcript.state import digest_tensor

__all__ = ["CARRIED", "CarriedGraph", "FreeTensors", "LeafWatch", "graph_of", "leaves_of", "roots_of", "transforming"]

CARRIED: Final = (
    "backward passes go back through those of earlier steps, further each time: what is trained keeps the graph that it"
    " was made in, and is in no state; detach it, and let it require gradients"
)
_FIRST_PASSES = 16
"""Passes in which tensors may still be met for the first time, where a program's losses take turns."""
_SAMPLE = 4096
_ALIKE = 0.9
_MARK = "weighbridge"
_GROWING = 3
_LOOKED_AT = 12
_ONE_OF_TEN = 26  # of 256


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


class CarriedGraph:
    """Tells whether passes go back, further each time, through what passes of earlier steps went through.

    So they do where a program trains a tensor that keeps the graph it was made in (``w = w - rate * gradient``, never
    detached): its leaf stays as it was, and the weights are in no leaf. A part that was computed once and is gone back
    through in every step does not grow.
    """

    def __init__(self) -> None:
        self._most = self._grown = 0

    def grows(self, nodes: Iterable[Any], *, step: int) -> bool:
        """Returns whether it is seen now for the first time, and marks the nodes of a pass.

        A mark is an entry in a node's ``metadata``, which is there for whoever looks; holding nodes would hold a graph.

        Args:
            nodes: those of a pass.
            step: the step that it is made in.
        """
        earlier = 0
        for node in nodes:
            marks = getattr(node, "metadata", None)
            if isinstance(marks, dict):
                earlier += marks.setdefault(_MARK, step) < step
        if earlier <= self._most:
            return False
        self._most = earlier
        self._grown += 1
        return self._grown == _GROWING


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
        self._samples.setdefault(name, _sample(tensor))

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
                last, self._samples[name] = self._samples[name], _sample(like)
                self.moved = self.moved or not bool(last.any()) or _alike(last, self._samples[name])
                return name
            self._hold(name, still)
        return None


class LeafWatch:
    """Tells of tensors that are trained beside what is recorded.

    One that is the same in two passes and has changed in between was trained by hand. One that is made anew is known
    by its likeness to the one before, unless it is like something recorded (the inner steps of meta-learning) or was
    given to a model as its input (adversarial examples).

    Args:
        always: look at every pass, as a replay does: a program might train such tensors in some passes only.
    """

    def __init__(self, *, always: bool = False) -> None:
        self.found = 0
        self._always = always
        self._passes = 0
        self._met: dict[int, tuple[weakref.ref[Tensor], bytes]] = {}
        self._samples: dict[Any, Tensor] = {}
        self._alike: dict[Any, int] = {}
        self._said: set[Any] = set()

    @property
    def due(self) -> bool:
        """Whether the pass that is about to be made is one to look at: each of the first, then one of ten by chance.

        The chance is the system's, and no generator of the program's is touched.
        """
        self._passes += 1
        return self._always or self._passes <= _LOOKED_AT or os.urandom(1)[0] < _ONE_OF_TEN

    def look(self, leaves: Iterable[Tensor], *, recorded: Mapping[int, Tensor], inputs: Collection[int]) -> int:
        """Returns how many more tensors than before are seen to be trained beside what is recorded.

        Args:
            leaves: those of a pass.
            recorded: what is recorded, by id.
            inputs: ids of tensors that were given to models.
        """
        before = self.found
        fresh: dict[Any, int] = {}
        for leaf in leaves:
            if id(leaf) in recorded or leaf.numel() == 0 or leaf.layout != torch.strided:
                continue
            reference, digest = self._met.get(id(leaf), (None, b""))
            now = _digest(leaf)
            self._met[id(leaf)] = weakref.ref(leaf), now
            if reference is not None and reference() is leaf:
                if now != digest:
                    self._tell(id(leaf))
            elif id(leaf) not in inputs:
                shape = tuple(leaf.shape), leaf.dtype
                number = fresh[shape] = fresh.get(shape, -1) + 1
                self._compare((*shape, number), leaf, recorded.values())
        self._met = {key: kept for key, kept in self._met.items() if kept[0]() is not None}
        return self.found - before

    def _compare(self, place: Any, leaf: Tensor, recorded: Iterable[Tensor]) -> None:
        now = _sample(leaf)
        last, self._samples[place] = self._samples.get(place), now
        if last is None or torch.equal(last, now) or not _alike(last, now):
            return
        if any(other.shape == leaf.shape and _alike(_sample(other), now) for other in recorded):
            return
        self._alike[place] = self._alike.get(place, 0) + 1
        if self._alike[place] > 1:
            self._tell(place)

    def _tell(self, what: Any) -> None:
        if what not in self._said:
            self._said.add(what)
            self.found += 1


def _digest(tensor: Tensor) -> bytes:
    try:
        return digest_tensor(tensor)
    except (NotImplementedError, RuntimeError, TypeError):  # of a kind that shows no bytes
        return b""


def _sample(tensor: Tensor) -> Tensor:
    flat = local_of(tensor).detach().reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLE)].to("cpu", torch.float64, copy=True)


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool(torch.nn.functional.cosine_similarity(one, other, dim=0) > _ALIKE)
