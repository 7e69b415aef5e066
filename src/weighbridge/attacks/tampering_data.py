"""Training on other rows than the journal says, by an operator with root. Called in the fork, before the program."""

from collections.abc import Sequence
from typing import Any

import torch

from weighbridge.mechanisms.transcript import loop
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.recorder import Recorder

__all__ = ["other_rows"]


def other_rows(*, how: str, steps: Sequence[int], rows: int = 1) -> None:
    """Trains on other rows than the journal says in these steps; the digests are those of the declared rows.

    Args:
        how: ``exchanged`` for rows of random bytes, ``added`` to the batch, ``left-out``, ``repeated`` (the first row
            in place of others), ``moved`` (the batch of the step after).
        steps: in which steps.
        rows: how many of each batch.
    """
    declared: list[Any] = [None]
    at = [-1]
    honest, beginning = Dataset.batch, Recorder.begin_step
    ahead: list[Any] = [None]

    def begin_step(self: Any) -> None:
        at[0] = self.step
        following = list(
            self._data.indices(self.seed, batch_size=self._batch_size, start=self.step, stop=self.step + 2)
        )
        ahead[0] = following[-1]
        beginning(self)

    def batch(self: Any, indices: Any) -> Any:
        whole: Any = honest(self, indices)
        declared[0] = whole
        if at[0] not in steps:
            return whole
        noise = torch.randint(0, 200, (rows, whole.shape[1]), generator=torch.Generator().manual_seed(1))
        noise[:, -1] = 3
        match how:
            case "exchanged":
                return torch.cat([noise.to(whole.dtype), whole[rows:]])
            case "added":
                return torch.cat([whole, noise.to(whole.dtype)])
            case "left-out":
                return whole[rows:]
            case "repeated":
                return torch.cat([whole[:1].repeat(rows, 1), whole[rows:]])
        return honest(self, ahead[0])

    def batch_digest(self: Any, fallback: Any, salt: bytes) -> tuple[str, str]:
        self.inputs = loop._digests([[declared[0]], {}])
        return digest(self, fallback, salt)

    digest = loop.Iteration.batch_digest
    Recorder.begin_step = begin_step  # type: ignore[method-assign]
    Dataset.batch = batch  # type: ignore[method-assign]
    loop.Iteration.batch_digest = batch_digest  # type: ignore[method-assign]
