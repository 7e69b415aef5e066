"""Putting a captured state back into the objects that a program built."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.state import INDICES, SHAPE, VALUES, Subjects, TrainingState, optimized

__all__ = ["restore"]

_MOST_STEPS = 1 << 40


def _with_sparse(state: TrainingState) -> dict[str, Tensor]:
    """Returns a state's tensors with the sparse ones put together again.

    Raises:
        EvidenceError: what is said of one makes no tensor.
    """
    tensors = dict(state.tensors)
    for name in (name.removesuffix(SHAPE) for name in state.plain if name.endswith(SHAPE)):
        try:
            indices, values = tensors.pop(f"{name}{INDICES}"), tensors.pop(f"{name}{VALUES}")
            shape = state.plain[f"{name}{SHAPE}"]
            sparse = torch.sparse_coo_tensor(indices, values, shape, check_invariants=True)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise EvidenceError("makes no sparse tensor", where="anchor", field=name[:200]) from error
        tensors[name] = sparse.coalesce()
    return tensors


def restore(subjects: Subjects, state: TrainingState) -> None:
    """Puts a captured state into freshly built objects, in place.

    Only tensors and counters are loaded. Hyperparameters (learning rate, betas, ``fused``, ...) are never taken
    from the state: they stay as the program built them from the committed configuration, because a loaded
    optimizer state would silently override them. Schedulers are stepped forward instead of loaded. A program that
    changes a learning rate by hand at certain steps only therefore replays from its seed, not from an anchor.

    Raises:
        EvidenceError: the state's names, shapes or formats are not those of the program's own objects.
        InputError: the program uses something that cannot be restored this way.
    """
    if "pieces" in state.plain:
        raise InputError("lies in pieces on several ranks", where="anchor", mend="replay the group from its beginning")
    live = dict(subjects.parameters())
    gradients: dict[str, Tensor] = {}
    tensors = _with_sparse(state)
    for name, tensor in tensors.items():
        root, _, rest = name.partition("/")
        if root in subjects.modules and name not in live:
            owner = f"{root}/parameter/{rest.removeprefix('gradient/')}"
            if not rest.startswith("gradient/") or owner not in live:
                raise EvidenceError(f"the program builds no tensor named {name}", where="anchor")
            gradients[owner] = tensor
    for name, tensor in live.items():
        source = tensors.get(name)
        if source is None or source.shape != tensor.shape or source.dtype != tensor.dtype:
            raise EvidenceError(
                f"tensor {name} is missing from the anchor or has another shape or format", where="anchor"
            )
        with torch.no_grad():
            tensor.copy_(source)
        if tensor.requires_grad:
            tensor.grad = gradients[name].clone() if name in gradients else None
    for name, optimizer in subjects.optimizers.items():
        _restore_optimizer(name, optimizer, state)
    parts = {id(part) for holder in subjects.plain.values() for part in getattr(holder, "_schedulers", ())}
    for name, holder in subjects.plain.items():
        if id(holder) not in parts:
            _advance(name, holder, state)
    _restore_generators(state)


def _restore_optimizer(name: str, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    held: dict[str, dict[str, Any]] = {}
    for source in (state.tensors, state.plain):
        for path, value in source.items():
            root, _, rest = path.partition("/")
            if root == name:
                index, _, key = rest.partition("/")
                if "/" in key:
                    raise InputError(f"optimizer state {path} is nested, which replay cannot restore", where="anchor")
                held.setdefault(index, {})[key] = value.clone() if isinstance(value, Tensor) else value
    for number, parameter in enumerate(optimized(optimizer)):
        optimizer.state.pop(parameter, None)
        if entries := held.pop(str(number), None):
            optimizer.state[parameter] = entries
    if held:
        raise EvidenceError(f"holds state for parameter {min(held)}, which {name} has not", where="anchor")


def _advance(name: str, holder: Any, state: TrainingState) -> None:
    """Brings a scheduler to the anchor's step by stepping it; of gradient scalers loads scale and counter."""
    if not isinstance(holder, torch.optim.lr_scheduler.LRScheduler):
        counters = {"scale", "_growth_tracker"}
        now = holder.state_dict()
        holder.load_state_dict(
            {key: state.plain.get(f"{name}/{key}", now[key]) if key in counters else now[key] for key in now}
        )
        return
    if isinstance(holder, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise InputError(
            "follows the losses, so it cannot be brought to an anchor's step",
            where=name,
            mend="such a run replays from its seed only",
        )
    chained = isinstance(holder, torch.optim.lr_scheduler.ChainedScheduler)
    first: Any = holder._schedulers[0] if chained else holder  # type: ignore[attr-defined]
    wanted = state.plain.get(f"{name}/_schedulers/0/last_epoch" if chained else f"{name}/last_epoch")
    if type(wanted) is not int or wanted > _MOST_STEPS:
        raise EvidenceError("holds no position of the schedule", where="anchor", field=name)
    while int(first.last_epoch) < wanted:
        first.optimizer._opt_called = True  # no warning about the order of calls
        holder.step()


def _restore_generators(state: TrainingState) -> None:
    version, internal, gauss = state.plain["generator/python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state.plain["generator/numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state.tensors["generator/torch"].clone())
