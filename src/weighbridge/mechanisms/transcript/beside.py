"""What is trained beside what is recorded: seen in the graphs of backward passes, recorded or replayed."""

import os
import weakref
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from weighbridge.mechanisms.transcript.free_tensors import alike, graph_of, sample_of
from weighbridge.mechanisms.transcript.state import digest_tensor

__all__ = ["Beside", "CarriedGraph", "LeafWatch"]

_CARRIED: Final = (
    "backward passes go back through those of earlier steps, further each time: what is trained keeps the graph that it"
    " was made in, and is in no state; detach it, and let it require gradients"
)
_LEAVES: Final = (
    "tensors change from one backward pass to the next that belong to no module and no optimizer seen before the first"
    " step: put them into the model, or under an optimizer"
)
_MARK: Final = "weighbridge"
_GROWING: Final = 3
_LOOKED_AT: Final = 12
_ONE_OF_TEN: Final = 26
"""Of 256: chance at which a later pass is looked at."""


class Beside:
    """Looks at backward passes for what is trained in no recorded state.

    Args:
        always: look at every pass, as a replay does: a program might train such tensors in some passes only.

    Attributes:
        found: how many tensors, or graphs carried on, were seen so far.
    """

    def __init__(self, *, always: bool = False) -> None:
        self.found = 0
        self._leaves, self._carried = LeafWatch(always=always), CarriedGraph()

    @property
    def due(self) -> bool:
        """Whether the pass that is about to be made is one to look at; ask once for each."""
        return self._leaves.due

    def look(
        self, roots: Iterable[Tensor], *, recorded: Mapping[int, Tensor], inputs: Collection[int], step: int
    ) -> list[tuple[str, int]]:
        """Returns what is newly seen to be trained: in words, and how many.

        Args:
            roots: what a pass begins from.
            recorded: what is recorded, by id.
            inputs: ids of tensors that were given to models.
            step: the step that it is made in.
        """
        leaves, nodes = graph_of(roots)
        told = self.carried(nodes, step=step)
        if more := self._leaves.look(leaves, recorded=recorded, inputs=inputs):
            told.append((f"{more} {_LEAVES}", more))
            self.found += more
        return told

    def carried(self, nodes: Iterable[Any], *, step: int) -> list[tuple[str, int]]:
        """Returns, as :meth:`look`, what is told by the nodes of a pass alone."""
        if not self._carried.grows(nodes, step=step):
            return []
        self.found += 1
        return [(_CARRIED, 1)]


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
        now = sample_of(leaf)
        last, self._samples[place] = self._samples.get(place), now
        if last is None or torch.equal(last, now) or not alike(last, now):
            return
        if any(other.shape == leaf.shape and alike(sample_of(other), now) for other in recorded):
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
    except (NotImplementedError, RuntimeError, TypeError):  # of a kind that shows no bytes: what autograd sees of it
        return str(tensor._version).encode()
