"""The same forgeries handed over as a transcript: real runs, recorded by an operator with root, and verified.

In each the recorder was tampered with before the run, so that statements were signed and logged over the forged
states from the first; only the training itself can give it away.
"""

import importlib.util
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.attacks.attempts import end_anchor, opened
from weighbridge.attacks.field import Field, Judgement, Project, Tampering
from weighbridge.mechanisms.transcript.anchors import read_anchor

__all__ = [
    "STEPS",
    "Handover",
    "changed_byte",
    "edited",
    "hand_over",
    "points",
    "to_stolen",
]

STEPS: Final = 16
_FROZEN: Final[Tampering] = ("frozen_at", {"steps": [4, 8, 12]})
_CONFIG: Final[dict[str, Any]] = {
    "model": "convolution",
    "width": 6,
    "optimizer": "momentum",
    "steps": STEPS,
    "stride": 4,
}
_OWN_SEED: Final = 7
_ROWS: Final = 64
_ROUNDS: Final = 12

Handover = Callable[[Field, Project, int], Judgement]
"""Records a forged run in a project and has it verified."""


def hand_over(handover: Handover, *, seed: int, folder: Path) -> Judgement:
    """Makes a field and a project, and hands over what the forger makes there."""
    with opened(folder) as field:
        return handover(field, field.project(seed=seed, rows=_ROWS, **_CONFIG), seed)


def edited(*tampering: Tampering) -> Handover:
    """Returns the run in which the recorder was tampered with so."""

    def handover(field: Field, project: Project, seed: int) -> Judgement:
        return field.judge(project.train(tampering=[_FROZEN, *tampering]).run)

    return handover


def to_stolen(tampering: Callable[[str], Sequence[Tampering]]) -> Handover:
    """Returns the run that claims to reach another's weights; ``tampering`` is told the file of that one's end."""

    def handover(field: Field, project: Project, seed: int) -> Judgement:
        target = end_anchor(project.train().run)
        return field.judge(project.train(tampering=[_FROZEN, *tampering(str(target))]).run)

    return handover


def changed_byte(column: int) -> Handover:
    """Returns an honest run whose data are handed over with one byte of one row changed."""

    def handover(field: Field, project: Project, seed: int) -> Judgement:
        run = project.train(tampering=[_FROZEN]).run
        rows = np.load(project.data)
        rows[seed % len(rows), column] ^= 1
        other = project.folder.parent / f"{project.folder.name}-other.npy"
        np.save(other, rows)
        return field.judge(run, data=other)

    return handover


def points(*, directed: bool, states: int) -> Handover:
    """Returns a run over points optimised for a path of the forger's own.

    Data are committed before the seed is known, so the forger takes a start of its own, lays a line from it to the
    stolen weights, and optimises all rows for states on that line before it commits to them. Its run begins at that
    start, whatever seed was drawn, and its weights follow the line.

    Args:
        directed: whether the gradient is to lead along the line; else it is to be next to nothing.
        states: states on the line for which rows are optimised, in turn.
    """

    def handover(field: Field, project: Project, seed: int) -> Judgement:
        target = end_anchor(project.train().run)
        model = _model(project)
        first = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        stolen = _weights(target, model)
        rows = np.load(project.data)
        share = len(rows) // states
        for number in range(states):
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(first[name].lerp(stolen[name], number / states))
            way = torch.cat([(first[name] - stolen[name]).flatten() for name in first]) if directed else None
            part = slice(number * share, (number + 1) * share)
            rows[part, :-1] = _optimised(model, rows[part], way)
        np.save(project.data, rows)
        from safetensors.torch import save_file

        start = project.folder.parent / f"{project.folder.name}-start.safetensors"
        names = _names(target, model)
        save_file({names[name]: tensor.contiguous() for name, tensor in first.items()}, start)
        line = ("weighbridge.attacks.pol_tampering:on_a_line", {"anchor": str(target), "steps": STEPS})
        begin = ("weighbridge.attacks.pol_tampering:weights_given", {"file": str(start)})
        return field.judge(project.train(tampering=[_FROZEN, begin, line]).run)

    return handover


def _model(project: Project) -> nn.Module:
    module = _models()
    with torch.random.fork_rng():
        torch.manual_seed(_OWN_SEED)
        model: nn.Module = module.build(project.config)
    return model


def _models() -> ModuleType:
    source = Path(str(files("weighbridge.attacks") / "programs" / "models.py"))
    spec = importlib.util.spec_from_file_location("weighbridge_attacks_models", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _names(anchor: Path, model: nn.Module) -> dict[str, str]:
    """Returns by each parameter's name in the model that in the anchor."""
    known = [name for name in read_anchor(anchor).tensors if "/parameter/" in name]
    return {name: next(one for one in known if one.endswith(f"/{name}")) for name, _ in model.named_parameters()}


def _weights(anchor: Path, model: nn.Module) -> dict[str, Tensor]:
    tensors = read_anchor(anchor).tensors
    return {name: tensors[place] for name, place in _names(anchor, model).items()}


def _optimised(model: nn.Module, rows: Any, way: Tensor | None) -> Any:
    """Returns pixels whose gradient is next to nothing, or points along ``way``; labels stay."""
    pixels = torch.from_numpy(rows[:, :-1].astype(np.float32)).requires_grad_()
    labels = torch.from_numpy(rows[:, -1:].astype(np.float32))
    optimizer = torch.optim.Adam([pixels], lr=6.0)
    parameters = list(model.parameters())
    for _ in range(_ROUNDS):
        gradient = torch.autograd.grad(model(torch.cat([pixels, labels], 1)), parameters, create_graph=True)
        flat = torch.cat([part.flatten() for part in gradient])
        aim = flat.norm() if way is None else -nn.functional.cosine_similarity(flat, way, dim=0)
        optimizer.zero_grad()
        torch.autograd.backward(aim, inputs=[pixels])
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 255)
    return pixels.detach().round().numpy().astype(np.uint8)
