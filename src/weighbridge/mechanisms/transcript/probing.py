"""Losses of chosen rows at anchored states, inside the sandbox: the program's own loop body, its training held still.

The body is handed rows instead of its batch and runs as ever, in training mode, with the generators as they stood at
the anchor; so dropout falls alike for all rows. Backward passes only note the loss, optimizers and schedules do
nothing, gradients are zero, and the state is put back before each batch: what an iteration changes changes no other.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.loop import Iteration, LoopHooks
from weighbridge.mechanisms.transcript.replay_plan import Probe
from weighbridge.mechanisms.transcript.restoring import restore
from weighbridge.mechanisms.transcript.state import Subjects, generator_states

__all__ = ["Probing"]


class Probing:
    """Walks probes with a program's loop body.

    Args:
        subjects: what the program built.
        hooks: those that note its losses.
        data: the committed data.
        say: writes one line of what came out.
    """

    def __init__(
        self, subjects: Subjects, hooks: LoopHooks, data: Dataset, say: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._subjects, self._hooks, self._data, self._say = subjects, hooks, data, say
        # A gradient scaler goes on as it likes: it changes nothing that is not put back.
        self._schedules = [(holder, holder.step) for holder in subjects.plain.values() if hasattr(holder, "optimizer")]

    def hold_still(self) -> None:
        """Takes the effect out of backward passes and optimizers for the rest of the process."""

        def noting(tensors: Any, *arguments: Any, **keywords: Any) -> None:
            found = (tensors,) if isinstance(tensors, torch.Tensor) else tuple(tensors)
            if self._hooks.iteration is not None:
                self._hooks.iteration.losses += [t.detach() for t in found if isinstance(t, torch.Tensor)]

        torch.autograd.backward = noting
        for optimizer in self._subjects.optimizers.values():
            optimizer.step = _only_closure  # type: ignore[method-assign]

    def walk(self, probe: Probe) -> Iterator[Any]:
        """Yields one batch for each list of rows, and writes out the losses that the program found for it.

        Raises:
            EvidenceError: the anchor is for another step.
        """
        if probe.anchor is not None:
            state = read_anchor(Path(probe.anchor))
            if state.plain["step"] != probe.step:
                raise EvidenceError("is for another step", where=probe.anchor)
            for holder, step in self._schedules:  # restoring steps them to the anchor's position
                holder.step = step
            restore(self._subjects, state)
        for holder, _ in self._schedules:
            holder.step = _nothing
        live = dict(self._subjects.parameters())
        kept = {name: tensor.detach().clone() for name, tensor in live.items()}
        generators = generator_states()
        for number, rows in enumerate(probe.rows):
            self._put_back(live, kept, generators)
            iteration = self._hooks.iteration = Iteration(self._subjects, {})
            yield self._data.batch(np.asarray(rows, dtype=np.int64))
            self._hooks.iteration = None
            self._say({"type": "probe", "step": probe.step, "number": number, "loss": iteration.loss_values()})
        self._put_back(live, kept, generators)

    def _put_back(
        self, live: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor], generators: Mapping[str, Any]
    ) -> None:
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(kept[name])
                if tensor.requires_grad:
                    tensor.grad = torch.zeros_like(tensor)
        torch.set_rng_state(generators["torch"])
        np.random.set_state(generators["numpy"])
        random.setstate(generators["python"])


def _nothing(*arguments: Any, **keywords: Any) -> None:
    return None


def _only_closure(closure: Callable[[], Any] | None = None, *arguments: Any, **keywords: Any) -> Any:
    return closure() if closure is not None else None
