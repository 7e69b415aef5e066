"""The whole state of a training program: named, captured, restored and digested.

A state is everything that the next step depends on: weights, buffers, optimizer, schedulers, scalers, random
number generators and the data cursor. Digests cover all of it, because replay of weights alone proves nothing
(an optimizer's state can carry a model to any weights: reference figure in ``docs/attacks.md``).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor, nn

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.encoding import canonical, framed

__all__ = [
    "Subjects",
    "TrainingState",
    "capture",
    "digest_tensor",
    "hyperparameters",
    "restore",
    "tensor_bytes",
]

_DOMAIN = b"weighbridge/state/1"


@dataclass(frozen=True)
class Subjects:
    """The live objects whose state is recorded, by stable names."""

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    plain: Mapping[str, Any] = field(default_factory=dict)
    """Objects with ``state_dict`` of plain data: schedulers, gradient scalers."""

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yields each distinct parameter and buffer once, under its first name."""
        seen: set[int] = set()
        for root, module in self.modules.items():
            named: list[tuple[str, str, Tensor]] = [("parameter", n, p) for n, p in module.named_parameters()]
            named += [("buffer", n, b) for n, b in module.named_buffers()]
            for kind, name, tensor in named:
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{root}/{kind}/{name}", tensor


@dataclass(frozen=True)
class TrainingState:
    """State at the start of one step: tensors by name, and plain data (JSON) by name."""

    tensors: Mapping[str, Tensor]
    plain: Mapping[str, Any]

    def digest(self, salt: bytes) -> bytes:
        """Returns the salted digest of the full state (32 bytes): a hiding commitment to it.

        Each tensor is bound with its name, format and shape; plain data as canonical JSON. ``salt`` is 32 bytes.
        """
        whole = blake3(_DOMAIN, key=salt)
        for name in sorted(self.tensors):
            whole.update(framed(name.encode()))
            whole.update(digest_tensor(self.tensors[name]))
        whole.update(framed(canonical(self.plain)))
        return whole.digest()


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Returns a tensor's elements as bytes in C order, without a copy where it is contiguous on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


def digest_tensor(tensor: Tensor, *, key: bytes | None = None) -> bytes:
    """Returns BLAKE3 over format, shape and raw bytes (never a printed form, which abbreviates)."""
    header = canonical([str(tensor.dtype), list(tensor.shape)])
    hasher = blake3(framed(header), key=key) if key is not None else blake3(framed(header))
    hasher.update(tensor_bytes(tensor))
    return hasher.digest()


def hyperparameters(subjects: Subjects) -> dict[str, list[dict[str, Any]]]:
    """Returns every optimizer's parameter groups as plain data, without the parameters themselves."""
    return {
        name: [
            {key: _plain(value) for key, value in sorted(group.items()) if key != "params"}
            for group in optimizer.param_groups
        ]
        for name, optimizer in subjects.optimizers.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else repr(value)


def capture(subjects: Subjects, *, step: int, generators: "Mapping[str, Any] | None" = None) -> TrainingState:
    """Returns the state as it stands; tensors are the live ones (not copies), valid until the next update.

    Args:
        subjects: what is recorded.
        step: updates completed, which is also the data cursor.
        generators: states of the random number generators to store instead of the present ones.
    """
    tensors: dict[str, Tensor] = dict(subjects.parameters())
    plain: dict[str, Any] = {"step": step}
    for name, optimizer in subjects.optimizers.items():
        for index, parameter in enumerate(_optimized(optimizer)):
            entries = optimizer.state.get(parameter, {})
            _flatten(f"{name}/{index}", entries, tensors, plain)
    for name, holder in subjects.plain.items():
        _flatten(name, holder.state_dict(), tensors, plain)
    states = generators if generators is not None else generator_states()
    tensors["generator/torch"] = states["torch"]
    plain.update(_plain_generators(states))
    return TrainingState(tensors, plain)


def generator_states() -> dict[str, Any]:
    """Returns the states of Python's, NumPy's and PyTorch's global random number generators, as they give them."""
    return {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(legacy=True),
        "python": random.getstate(),
    }


def _plain_generators(states: Mapping[str, Any]) -> dict[str, Any]:
    version, internal, gauss = states["python"]
    name, keys, position, has_gauss, cached = states["numpy"]
    return {
        "generator/numpy": [
            str(name),
            np.asarray(keys).tolist(),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "generator/python": [version, list(internal), gauss],
    }


def _restore_generators(state: TrainingState) -> None:
    version, internal, gauss = state.plain["generator/python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state.plain["generator/numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state.tensors["generator/torch"].clone())


def _optimized(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _flatten(prefix: str, value: Any, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """Files every tensor and plain value of a nested state under a path-like name."""
    if isinstance(value, Tensor):
        tensors[prefix] = value.detach()
    elif isinstance(value, Mapping):
        for key in value:
            _flatten(f"{prefix}/{key}", value[key], tensors, plain)
    elif (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and any(isinstance(item, (Tensor, Mapping, list, tuple)) for item in value)
    ):
        for index, item in enumerate(value):
            _flatten(f"{prefix}/{index}", item, tensors, plain)
    else:
        plain[prefix] = _plain(value)


def restore(subjects: Subjects, state: TrainingState) -> None:
    """Puts a captured state into freshly built objects, in place.

    Only tensors and counters are loaded. Hyperparameters (learning rate, betas, ``fused``, ...) are never taken
    from the state: they stay as the program built them from the committed configuration, because a loaded
    optimizer state would silently override them. Schedulers are stepped forward instead of loaded.

    Raises:
        EvidenceError: the state's names, shapes or formats are not those of the program's own objects.
    """
    live = dict(subjects.parameters())
    for name, tensor in live.items():
        source = state.tensors.get(name)
        if source is None or source.shape != tensor.shape or source.dtype != tensor.dtype:
            raise EvidenceError(
                f"tensor {name} is missing from the anchor or has another shape or format", where="anchor"
            )
        with torch.no_grad():
            tensor.copy_(source)
    extra = {n for n in state.tensors if n.split("/")[0] in subjects.modules} - set(live)
    if extra:
        raise EvidenceError(f"the program builds no tensor named {sorted(extra)[0]}", where="anchor")
    for name, optimizer in subjects.optimizers.items():
        _restore_optimizer(name, optimizer, state)
    for name, holder in subjects.plain.items():
        _advance(name, holder, state)
    _restore_generators(state)


def _restore_optimizer(name: str, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    for index, parameter in enumerate(_optimized(optimizer)):
        prefix = f"{name}/{index}/"
        entries: dict[str, Any] = {}
        for source in (state.tensors, state.plain):
            for path, value in source.items():
                if path.startswith(prefix):
                    key = path.removeprefix(prefix)
                    if "/" in key:
                        raise InputError(
                            f"optimizer state {path} is nested, which replay cannot restore", where="anchor"
                        )
                    entries[key] = value.clone() if isinstance(value, Tensor) else value
        if entries:
            optimizer.state[parameter] = entries


def _advance(name: str, holder: Any, state: TrainingState) -> None:
    """Brings a scheduler to the anchor's step by stepping it; loads other plain holders (gradient scalers)."""
    if isinstance(holder, torch.optim.lr_scheduler.LRScheduler):
        for _ in range(int(state.plain.get(f"{name}/last_epoch", 0)) - int(holder.last_epoch)):
            holder.optimizer._opt_called = True  # type: ignore[attr-defined] # no warning about the order of calls
            holder.step()
        return
    nested = {path.removeprefix(f"{name}/"): v for path, v in state.plain.items() if path.startswith(f"{name}/")}
    holder.load_state_dict(holder.state_dict() | nested)
