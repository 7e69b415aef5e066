"""The whole state of a training program: named, captured, restored and digested.

A state is everything that the next step depends on: weights, buffers, gradients that the last step left for the next,
optimizer, schedulers, scalers, random number generators and the data cursor. Digests cover all of it, because replay
of weights alone proves nothing: an optimizer's state can carry a model to any weights.

Of a tensor that lies in pieces on several ranks, a state holds this rank's piece and its place in the whole.

Not covered, so that a program which uses them replays from its seed but not from an anchor: generators of its own
(``torch.Generator``, ``numpy.random.default_rng``), optimizers that are not ``torch.optim.Optimizer``, and counters in
its own variables.
"""

import math
import os
import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor, nn

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.commitment import generator_seeds
from weighbridge.mechanisms.transcript.encoding import canonical, digest_leaves, digest_plain, framed
from weighbridge.mechanisms.transcript.shards import local_of, pieces_of, resharded

__all__ = [
    "INDICES",
    "SHAPE",
    "VALUES",
    "Subjects",
    "TrainingState",
    "capture",
    "digest_tensor",
    "digest_tensors",
    "generator_states",
    "hyperparameters",
    "optimized",
    "seed_generators",
    "tensor_bytes",
]

INDICES, VALUES, SHAPE = "/sparse/indices", "/sparse/values", "/sparse/shape"
_PROCESS = os.getpid()
_PARALLEL_BYTES = 1 << 20


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
            lasting = resharded(module)
            named: list[tuple[str, str, Tensor]] = [("parameter", n, p) for n, p in module.named_parameters()]
            named += [("buffer", n, b) for n, b in module.named_buffers()]
            for kind, name, found in named:
                tensor = lasting.get(id(found), found)
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{root}/{kind}/{name}", tensor

    def buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yields the buffers of :meth:`parameters`."""
        return ((name, tensor) for name, tensor in self.parameters() if "/buffer/" in name)

    def strangers(self) -> list[Tensor]:
        """Returns the tensors that the optimizers update and that belong to no recorded module."""
        known = {id(tensor) for _, tensor in self.parameters()}
        updated = {id(p): p for optimizer in self.optimizers.values() for p in optimized(optimizer)}
        return [tensor for key, tensor in updated.items() if key not in known]

    def recorded(self) -> dict[int, Tensor]:
        """Returns by id what is recorded, and the gathered copies of what lies in pieces."""
        found = {id(tensor): tensor for _, tensor in self.parameters()}
        for module in self.modules.values():
            found |= {id(parameter): parameter for parameter in module.parameters()} | resharded(module)
        return found

    @property
    def follows_losses(self) -> bool:
        """Whether a schedule depends on the losses, so that it cannot be stepped to an anchor's position."""
        return any(isinstance(h, torch.optim.lr_scheduler.ReduceLROnPlateau) for h in self.plain.values())

    @property
    def scales(self) -> bool:
        """Whether a gradient scaler multiplies the losses before they go backward (and meets infinities)."""
        scalers = [held for held in self.plain.values() if isinstance(held, torch.amp.grad_scaler.GradScaler)]
        return any(scaler.is_enabled() for scaler in scalers)

    def carried(self, updated: Collection[int]) -> dict[str, Tensor]:
        """Returns the gradients that no update has used: the next step may add to them (gradient accumulation).

        Args:
            updated: ids of the optimizers that stepped since the gradients were last looked at.
        """
        used = {id(p) for o in self.optimizers.values() if id(o) in updated for p in optimized(o)}
        return {
            name.replace("/parameter/", "/gradient/", 1): tensor.grad
            for name, tensor in self.parameters()
            if tensor.grad is not None and id(tensor) not in used and "/parameter/" in name
        }


@dataclass(frozen=True)
class TrainingState:
    """State at the start of one step: tensors by name, and plain data (JSON) by name."""

    tensors: Mapping[str, Tensor]
    plain: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    def copy(self) -> "TrainingState":
        """Returns the state as it stands, in memory of its own on the CPU."""
        tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.tensors.items()}
        return TrainingState(tensors, dict(self.plain))

    def leaves(self) -> dict[str, bytes]:
        """Returns the digest of every tensor and plain value by name (32 bytes each): what :meth:`digest` is made of.

        They are not salted, so they stay with the operator.

        Raises:
            EvidenceError: a name is both a tensor's and a plain value's, so that one would hide the other.
        """
        if twice := self.tensors.keys() & self.plain.keys():
            raise EvidenceError("names both a tensor and a plain value", where="state", field=min(twice)[:200])
        plain = {name: digest_plain(value) for name, value in self.plain.items()}
        return digest_tensors(self.tensors) | plain

    def digest(self, salt: bytes) -> bytes:
        """Returns the salted digest of the full state (32 bytes): a hiding commitment to it.

        Each tensor is bound with its name, format and shape; plain data as canonical JSON. ``salt`` is 32 bytes.
        """
        return digest_leaves(self.leaves(), salt)


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Returns a tensor's elements as bytes in C order, without a copy where it is contiguous on the CPU."""
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


def digest_tensor(tensor: Tensor, *, key: bytes | None = None) -> bytes:
    """Returns BLAKE3 over format, shape and raw bytes (never a printed form, which abbreviates)."""
    tensor = local_of(tensor)
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    data = tensor_bytes(tensor)
    threads = blake3.AUTO if len(data) >= _PARALLEL_BYTES and _may_use_threads() else 1
    header = framed(canonical([str(tensor.dtype), list(tensor.shape)]))
    hasher = blake3(header, max_threads=threads) if key is None else blake3(header, key=key, max_threads=threads)
    hasher.update(data)
    return hasher.digest()


def _may_use_threads() -> bool:
    """Returns whether the program itself computes with several threads, in a process that has BLAKE3's.

    A fork has none of its parent's threads, and would wait for them for ever.
    """
    return os.getpid() == _PROCESS and torch.get_num_threads() > 1


def digest_tensors(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Returns :func:`digest_tensor` of each, by name."""
    return {name: digest_tensor(tensor) for name, tensor in tensors.items()}


def hyperparameters(subjects: Subjects) -> dict[str, list[dict[str, Any]]]:
    """Returns every optimizer's parameter groups as plain data, without the parameters themselves."""
    return {
        name: [
            {key: _finite(_plain(value)) for key, value in sorted(group.items()) if key != "params"}
            for group in optimizer.param_groups
        ]
        for name, optimizer in subjects.optimizers.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))  # an address is another in every process


def _finite(value: Any) -> Any:
    """Spells NaN and infinities as text, which JSON cannot hold and which would not equal themselves."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def capture(
    subjects: Subjects,
    *,
    step: int,
    gradients: Mapping[str, Tensor],
    generators: "Mapping[str, Any] | None" = None,
) -> TrainingState:
    """Returns the state as it stands; tensors are the live ones (not copies), valid until the next update.

    Args:
        subjects: what is recorded.
        step: steps completed, which is also the data cursor.
        gradients: those carried over from the step before (:meth:`Subjects.carried`).
        generators: states of the random number generators to store instead of the present ones.
    """
    tensors: dict[str, Tensor] = {**dict(subjects.parameters()), **gradients}
    plain: dict[str, Any] = {"step": step}
    for name, optimizer in subjects.optimizers.items():
        for index, parameter in enumerate(optimized(optimizer)):
            entries = optimizer.state.get(parameter, {})
            _flatten(f"{name}/{index}", entries, tensors, plain)
    for name, holder in subjects.plain.items():
        _flatten(name, holder.state_dict(), tensors, plain)
    states = generators if generators is not None else generator_states()
    tensors["generator/torch"] = states["torch"]
    plain.update(_plain_generators(states))
    tensors, shapes = _strided(tensors)
    plain |= shapes
    if pieces := pieces_of(tensors):
        plain["pieces"] = {name: piece.as_list() for name, piece in pieces.items()}
    return TrainingState({name: local_of(tensor) for name, tensor in tensors.items()}, plain)


def _strided(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors with each sparse one as its indices and values, and the shapes of those."""
    found: dict[str, Tensor] = {}
    shapes: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if tensor.layout == torch.sparse_coo:
            whole = tensor.detach().coalesce()
            found |= {f"{name}{INDICES}": whole.indices(), f"{name}{VALUES}": whole.values()}
            shapes[f"{name}{SHAPE}"] = list(whole.shape)
        else:
            found[name] = tensor
    return found, shapes


def generator_states() -> dict[str, Any]:
    """Returns the states of Python's, NumPy's and PyTorch's global random number generators, as they give them."""
    return {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(legacy=True),
        "python": random.getstate(),
    }


def seed_generators(seed: bytes) -> None:
    """Seeds Python's, NumPy's and PyTorch's global generators from the run's seed."""
    seeds = generator_seeds(seed)
    random.seed(seeds["python"])
    np.random.seed(seeds["numpy"])
    torch.manual_seed(seeds["torch"])


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


def optimized(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Returns the tensors that an optimizer updates, in the order of its groups."""
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
