"""The loop that a program runs over while it is recorded: batches in the order that the seed fixes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.compiled import CompiledCalls
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.loop import InputHook
from weighbridge.mechanisms.transcript.opens import Opens
from weighbridge.mechanisms.transcript.parents import weights_of
from weighbridge.mechanisms.transcript.recorder import Recorder
from weighbridge.mechanisms.transcript.recorder_parts import Committed, Resumption
from weighbridge.mechanisms.transcript.rollouts import FOLDER, Rollouts

__all__ = ["Recording"]


class Recording(Recorder):
    """One run being recorded. Loop over it: each item is a batch; train on it in the body.

    Attributes:
        seed: the run's seed (32 bytes), from which generators and order follow.
        steps: steps that the run will take.
        config: the committed configuration, as plain data.
    """

    steps: int

    def __init__(
        self,
        committed: Committed,
        *,
        steps: int,
        batch_size: int,
        data: Dataset,
        config: dict[str, Any],
        discovery: Discovery,
        resumption: Resumption | None = None,
        parent: Path | None = None,
        opens: Opens | None = None,
    ) -> None:
        super().__init__(committed, steps=steps, discovery=discovery, resumption=resumption)
        self.seed, self.config = committed.seed, config
        self._data, self._batch_size, self._parent, self._opens = data, batch_size, parent, opens
        self._compiled = CompiledCalls(self.note_call, ours=lambda hook: isinstance(hook, InputHook))
        self._rollouts = Rollouts(committed.key, committed.folder / FOLDER, replayed=False)

    def __iter__(self) -> Iterator[Any]:
        """Yields batches in the order that the seed fixes, and records each step as it was taken."""
        if self._state != "new":
            raise InputError("a run is looped over once", where="weighbridge run", mend="call start again")
        self.begin()
        try:
            indices = self._data.indices(self.seed, batch_size=self._batch_size, start=self.step, stop=self.steps)
            for taken in indices:
                self.begin_step()
                batch = self._data.batch(taken)
                yielded = batch if not isinstance(batch, dict) else dict(batch)
                yield batch
                self.end_step(yielded)
        finally:
            self._compiled.stop()
            if self._opens is not None:  # no replay comes to what the program does after its loop
                self._opens.close()
            self.finish()

    def parent_weights(self, model: str = "model") -> dict[str, torch.Tensor]:
        """Returns the declared parent's final weights, to be loaded before the loop: ``model.load_state_dict(…)``.

        Raises:
            InputError: ``start`` was given no parent, or it had no such model.
        """
        return weights_of(self._parent, model)

    def rollout(self, generate: Callable[[], Any], *, generator: nn.Module, keep: bool = False) -> Any:
        """Notes a batch that a model of this program generates, for the step under way, and returns it.

        Args:
            generate: makes the batch: a tensor, or a mapping of names to tensors.
            generator: the model that generates it, as it stands now.
            keep: the batch cannot be generated again: it is written down, and replay is given it.

        Raises:
            InputError: no step is under way, or what was generated is no batch.
        """
        with self._hooks_paused():
            return self._rollouts.take(self.step, generate, generator=generator, keep=keep)

    def _about_the_step(self, step: int) -> dict[str, Any]:
        return self._rollouts.of(step)

    def _places_of_data(self) -> list[list[Any]]:
        return [
            [f"data/{name}", array.__array_interface__["data"][0], array.nbytes]
            for name, array in self._data.arrays.items()
            if name not in self._data.paths and array.flags.c_contiguous
        ]
