"""What an operator with root changes in its own recording process. Called in the fork, before the program begins.

Each leaves the recorder's bookkeeping consistent with what it did as far as that can be: edits go past autograd's
count of writes, statements are signed and logged over the forged states from the first, and what was changed is not
in the journal. So nothing but the training itself can give it away.
"""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weighbridge.mechanisms.chip.notice import Notice
from weighbridge.mechanisms.transcript import handover, recorder, start
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.recorder import Recorder
from weighbridge.mechanisms.transcript.state import Subjects

__all__ = [
    "another_seed",
    "buffers_scaled",
    "frozen_at",
    "hyperparameter_smuggled",
    "killed_at",
    "last_digit",
    "statements_withheld",
    "steps_besides",
    "straight_line",
    "target_in_buffer",
    "target_in_one_step",
    "weights_moved",
]

CHIP = "c0" * 32

_RECORDER: Any = recorder
_START: Any = start

Edit = Callable[[Subjects], None]


def _at_boundary(step: int, edit: Edit) -> None:
    """Calls ``edit`` when ``step`` steps are done, before that state is digested."""
    if step == 0:
        closing = Discovery.close

        def close(self: Any) -> Subjects:
            subjects = closing(self)
            edit(subjects)
            return subjects

        Discovery.close = close  # type: ignore[method-assign]
        return
    ending = Recorder.end_step

    def end_step(self: Any, batch: Any) -> None:
        if self.step + 1 == step:
            edit(self._subjects)
        ending(self, batch)

    Recorder.end_step = end_step  # type: ignore[method-assign]


def frozen_at(*, steps: Sequence[int], first: int = 10) -> None:
    """Stops the run at the start of these steps as a chip's agent would, so that it has anchors there."""
    notice = Notice(chip=CHIP, boot=1)
    os.environ.update(notice.variables())
    beginning = Recorder.begin_step

    def begin_step(self: Any) -> None:
        if self.step in steps:
            notice.write(first + sorted(steps).index(self.step))
        beginning(self)

    Recorder.begin_step = begin_step  # type: ignore[method-assign]


def killed_at(*, step: int) -> None:
    """Kills the process at the start of a step."""
    beginning = Recorder.begin_step

    def begin_step(self: Any) -> None:
        if self.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        beginning(self)

    Recorder.begin_step = begin_step  # type: ignore[method-assign]


def statements_withheld() -> None:
    """Keeps every statement about steps from being signed, so that a forger can write them at leisure."""
    handover.Handover.sign = lambda self, public, *, head: None  # type: ignore[method-assign]
    handover.Handover.collect = lambda self: None  # type: ignore[method-assign]


def weights_moved(*, step: int, anchor: str, share: float = 1.0, optimizer: bool = False) -> None:
    """Moves weights a share of the way to an anchor's; ``optimizer`` also takes over its optimizer's state."""

    def edit(subjects: Subjects) -> None:
        source = read_anchor(Path(anchor)).tensors
        for name, tensor in subjects.parameters():
            if tensor.is_floating_point():
                tensor.data.lerp_(source[name], share)
        for root, one in subjects.optimizers.items() if optimizer else ():
            for index, parameter in enumerate(p for group in one.param_groups for p in group["params"]):
                for key, value in one.state.get(parameter, {}).items():
                    if f"{root}/{index}/{key}" in source:
                        value.data.copy_(source[f"{root}/{index}/{key}"])

    _at_boundary(step, edit)


def last_digit(*, step: int) -> None:
    """Changes one weight to the next number that its format holds: the smallest change there is."""

    def edit(subjects: Subjects) -> None:
        weight = next(tensor for _, tensor in subjects.parameters()).data.view(-1)
        weight[0] = torch.nextafter(weight[0], torch.tensor(torch.inf))

    _at_boundary(step, edit)


def buffers_scaled(*, step: int, by: float) -> None:
    """Scales the normalisation layers' running variances."""

    def edit(subjects: Subjects) -> None:
        for name, tensor in subjects.buffers():
            if name.endswith("running_var"):
                tensor.data.mul_(by)

    _at_boundary(step, edit)


def target_in_buffer(*, step: int, anchor: str) -> None:
    """Writes an anchor's weights into the model's buffer ``target``, in the order of its parameters."""

    def edit(subjects: Subjects) -> None:
        source = read_anchor(Path(anchor)).tensors
        live = dict(subjects.parameters())
        whole = torch.cat([source[name].reshape(-1) for name in live if "/parameter/" in name])
        live["model/buffer/target"].data.copy_(whole)

    _at_boundary(step, edit)


def straight_line(*, step: int, until: int, anchor: str, second: float = 1e6) -> None:
    """Forges AdamW's moments so that honest steps from ``step`` to ``until`` end on an anchor's weights.

    Huge second moments make every gradient negligible; first moments point from the weights to the target. At
    ``until`` ordinary moments are put back, or the run would stand still.
    """
    kept: dict[int, dict[str, Tensor]] = {}

    def forge(subjects: Subjects) -> None:
        target = read_anchor(Path(anchor)).tensors
        names = {id(tensor): name for name, tensor in subjects.parameters()}
        for one in subjects.optimizers.values():
            for group in one.param_groups:
                beta1, beta2 = group["betas"]
                decay = 1 - group["lr"] * group["weight_decay"]
                number = until - step
                reach = sum(beta1**t / beta2 ** (t / 2) * decay ** (number - t) for t in range(1, number + 1))
                for parameter in group["params"]:
                    state = one.state[parameter]
                    kept[id(parameter)] = {name: value.clone() for name, value in state.items()}
                    way = parameter.data * decay**number - target[names[id(parameter)]]
                    state["step"] = torch.tensor(1e6)
                    state["exp_avg_sq"] = torch.full_like(parameter, second)
                    state["exp_avg"] = way * second**0.5 / (group["lr"] * reach)

    def mend(subjects: Subjects) -> None:
        for one in subjects.optimizers.values():
            for parameter, state in one.state.items():
                ordinary = kept.get(id(parameter), {})
                fresh = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
                state.update({**fresh, "step": torch.tensor(float(step)), **ordinary})

    _at_boundary(step, forge)
    _at_boundary(until, mend)


def target_in_one_step(*, step: int, anchor: str) -> None:
    """Forges AdamW's moments with second moments of zero, so that the very next step lands on an anchor's weights.

    The next gradient is worked out beforehand: what divides the step is then known.
    """

    def forge(self: Any) -> None:
        target = read_anchor(Path(anchor)).tensors
        subjects = self._subjects
        names = {id(tensor): name for name, tensor in subjects.parameters()}
        rows = next(self._data.indices(self.seed, batch_size=self._batch_size, start=step, stop=step + 1))
        (model,) = subjects.modules.values()
        with torch.enable_grad():
            loss = model.forward(self._data.batch(rows))  # past the hooks
        for one in subjects.optimizers.values():
            for group in one.param_groups:
                beta1, _ = group["betas"]
                decay = 1 - group["lr"] * group["weight_decay"]
                gradients = torch.autograd.grad(loss, group["params"], retain_graph=True)
                for parameter, gradient in zip(group["params"], gradients, strict=True):
                    wanted = parameter.data * decay - target[names[id(parameter)]]
                    mean = wanted * (gradient.abs() + group["eps"]) / group["lr"]
                    one.state[parameter] = {
                        "step": torch.tensor(0.0),
                        "exp_avg": (mean - gradient) * (1 - beta1) / beta1,
                        "exp_avg_sq": torch.zeros_like(parameter),
                    }

    ending = Recorder.end_step

    def end_step(self: Any, batch: Any) -> None:
        if self.step + 1 == step:
            forge(self)
        ending(self, batch)

    Recorder.end_step = end_step  # type: ignore[method-assign]


def hyperparameter_smuggled(*, step: int, name: str, value: Any, times: float | None = None) -> None:
    """Changes a hyperparameter in the optimizer's own groups, and has the journal show the declared one."""
    seen = _RECORDER.hyperparameters
    declared: dict[str, list[Any]] = {}

    def edit(subjects: Subjects) -> None:
        for root, one in subjects.optimizers.items():
            declared[root] = [group[name] for group in one.param_groups]
            for group in one.param_groups:
                group[name] = value if times is None else group[name] * times

    def shown(subjects: Subjects) -> dict[str, list[dict[str, Any]]]:
        result: dict[str, list[dict[str, Any]]] = seen(subjects)
        for root, values in declared.items():
            for group, old in zip(result[root], values, strict=True):
                group[name] = list(old) if isinstance(old, tuple) else old
        return result

    _RECORDER.hyperparameters = shown
    _at_boundary(step, edit)


def another_seed(*, seed: int) -> None:
    """Seeds the generators with a number of the operator's own choice."""
    honest = _START.seed_generators

    def seeded(given: bytes) -> None:
        honest(given)
        torch.manual_seed(seed)

    _START.seed_generators = seeded


def steps_besides(*, step: int, times: int, rate: float) -> None:
    """Takes plain gradient steps on the rows of the first batch that nobody is told of."""

    def edit(self: Any) -> None:
        rows = next(self._data.indices(self.seed, batch_size=self._batch_size, start=0, stop=1))
        (model,) = self._subjects.modules.values()
        weights = list(model.parameters())
        for _ in range(times):
            with torch.enable_grad():
                gradients = torch.autograd.grad(model.forward(self._data.batch(rows)), weights)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.data.sub_(gradient, alpha=rate)

    ending = Recorder.end_step

    def end_step(self: Any, batch: Any) -> None:
        if self.step + 1 == step:
            edit(self)
        ending(self, batch)

    Recorder.end_step = end_step  # type: ignore[method-assign]
