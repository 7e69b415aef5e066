"""What an operator with root changes in its recording process to hand over a proof-of-learning forgery as a transcript.

Called in the fork, before the program begins, as the functions of :mod:`.tampering` are.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.recorder import Recorder
from weighbridge.mechanisms.transcript.state import Subjects

__all__ = ["momentum_forged", "on_a_line", "standing_still", "weights_given"]


def standing_still() -> None:
    """Puts the first weights back after every step."""
    _after_each_step(lambda first, step: first)


def on_a_line(*, anchor: str, steps: int) -> None:
    """After each step the weights are that share of the way from the first ones to an anchor's."""
    target = read_anchor(Path(anchor)).tensors

    def on_the_way(first: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        return {name: tensor.lerp(target[name], step / steps) for name, tensor in first.items()}

    _after_each_step(on_the_way)


def weights_given(*, file: str) -> None:
    """The run begins with the weights of a file, by parameter name, in place of those that the seed gave."""
    from safetensors.torch import load_file

    given = load_file(file)

    def edit(subjects: Subjects) -> None:
        for name, tensor in _weights(subjects):
            tensor.data.copy_(given[name])

    _at_start(edit)


def momentum_forged(*, anchor: str, until: int) -> None:
    """Gives momentum (Nesterov's) before the first step that carries the weights to an anchor's by step ``until``."""
    target = read_anchor(Path(anchor)).tensors

    def edit(subjects: Subjects) -> None:
        names = {id(tensor): name for name, tensor in subjects.parameters()}
        for optimizer in subjects.optimizers.values():
            for group in optimizer.param_groups:
                reach = group["lr"] * sum(group["momentum"] ** (step + 2) for step in range(until))
                for parameter in group["params"]:
                    way = parameter.data - target[names[id(parameter)]]
                    optimizer.state[parameter]["momentum_buffer"] = way / reach

    _at_start(edit)


def _weights(subjects: Subjects) -> list[tuple[str, Tensor]]:
    """Returns what training moves; averages that normalisation keeps are none."""
    return [(name, tensor) for name, tensor in subjects.parameters() if "/parameter/" in name]


def _at_start(edit: Any) -> None:
    closing = Discovery.close

    def close(self: Any) -> Subjects:
        subjects = closing(self)
        edit(subjects)
        return subjects

    Discovery.close = close  # type: ignore[method-assign]


def _after_each_step(weights: Any) -> None:
    first: dict[str, Tensor] = {}
    beginning, ending = Recorder.begin_step, Recorder.end_step

    def begin_step(self: Any) -> None:
        if not first:
            first.update({name: tensor.detach().clone() for name, tensor in _weights(self._subjects)})
        beginning(self)

    def end_step(self: Any, batch: Any) -> None:
        wanted = weights(first, self.step + 1)
        with torch.no_grad():
            for name, tensor in _weights(self._subjects):
                tensor.data.copy_(wanted[name])
        ending(self, batch)

    Recorder.begin_step = begin_step  # type: ignore[method-assign]
    Recorder.end_step = end_step  # type: ignore[method-assign]
