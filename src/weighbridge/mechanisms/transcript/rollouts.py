"""Rollouts of online reinforcement learning: data that nobody could commit to before, because the run made them.

A program tells of each batch that a model of its own generated: ``batch = run.rollout(generate, generator=policy)``.
The journal's step then has a salted digest of the batch and one of the generator's weights as they stood. A replay
calls ``generate`` again, from the replayed weights and the restored generators of random numbers, and both digests must
come out the same. What cannot be generated again (an environment outside of the program) is kept instead: the batch
lies in ``rollouts/``, replay is given it, and nothing shows that the generator made it.
"""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor, nn

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.commitment import salt_for
from weighbridge.mechanisms.transcript.encoding import canonical, framed
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.state import TrainingState, digest_tensor, generator_states
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["FOLDER", "Rollout", "Rollouts", "check_rollouts", "kept_folder"]

FOLDER: Final = "rollouts"

Rollout = Tensor | dict[str, Tensor]
"""A batch as a program hands it over: a tensor, or tensors by name."""


def _unwrapped(value: Any) -> dict[str, Tensor]:
    """Returns a batch as tensors by name.

    Raises:
        InputError: it is neither a tensor nor a mapping of names to tensors.
    """
    named = {"": value} if isinstance(value, Tensor) else value
    if not isinstance(named, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in named.items()
    ):
        raise InputError("is neither a tensor nor a mapping of names to tensors", where="rollout")
    return dict(named)


def _digest(tensors: Mapping[str, Tensor], salt: bytes) -> str:
    parts = (part for name in sorted(tensors) for part in (canonical(name), digest_tensor(tensors[name])))
    return blake3(b"weighbridge/rollout/1" + b"".join(map(framed, parts)), key=salt).hexdigest()


class Rollouts:
    """The rollouts of one step after another, as recording and replay both see them.

    Args:
        key: the run's key.
        folder: where kept batches lie.
        replayed: whether kept batches are read, instead of written.
    """

    def __init__(self, key: bytes, folder: Path, *, replayed: bool) -> None:
        self._key, self._folder, self._replayed = key, folder, replayed
        self._step = -1
        self._noted: list[dict[str, Any]] = []

    def take(self, step: int, generate: Callable[[], Any], *, generator: nn.Module, keep: bool) -> Any:
        """Generates a batch, or reads one that was kept, notes it for ``step``, and returns it.

        Raises:
            InputError: what was generated is no batch.
            EvidenceError: a kept batch is not there.
        """
        if step != self._step:
            self._step, self._noted = step, []
        label = f"{step}/{len(self._noted)}"
        weights = _digest(_weights(generator), salt_for(self._key, f"generator/{label}"))
        path = self._folder / f"rollout-{step:07d}-{len(self._noted):04d}.safetensors"
        if keep and self._replayed:
            value = _read(path)
        else:
            value = generate()
            if keep:
                _write(path, value, step)
        digest = _digest(_unwrapped(value), salt_for(self._key, f"rollout/{label}"))
        self._noted.append({"generator": weights, "kept": keep, "rollout": digest})
        return value

    def of(self, step: int) -> dict[str, Any]:
        """Returns what the step's event says of them: nothing where there were none."""
        return {"rollouts": self._noted} if self._noted and step == self._step else {}


def _weights(generator: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in generator.state_dict().items() if isinstance(tensor, Tensor)}


def _write(path: Path, value: Any, step: int) -> None:
    """Writes a batch, and the generators of random numbers as its generation left them."""
    states = generator_states()
    version, internal, gauss = states["python"]
    name, keys, position, has_gauss, cached = states["numpy"]
    plain = {
        "step": step,
        "generator/python": [version, list(internal), gauss],
        "generator/numpy": [str(name), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
    }
    tensors = {f"rollout/{name}": tensor for name, tensor in _unwrapped(value).items()}
    path.parent.mkdir(exist_ok=True)
    write_anchor(path, TrainingState({**tensors, "generator/torch": states["torch"]}, plain))


def _read(path: Path) -> Rollout:
    state = read_anchor(path)
    version, internal, gauss = state.plain["generator/python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state.plain["generator/numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state.tensors["generator/torch"].clone())
    batch = {n.removeprefix("rollout/"): t.clone() for n, t in state.tensors.items() if n.startswith("rollout/")}
    return batch[""] if set(batch) == {""} else batch


def kept_folder(transcript: Transcript) -> Path | None:
    """Returns the folder of kept rollouts, if the run has one.

    Raises:
        EvidenceError: it is a link.
    """
    folder = transcript.folder / FOLDER
    if folder.is_symlink():
        raise EvidenceError("is a link", where=folder)
    return folder if folder.is_dir() else None


def check_rollouts(transcript: Transcript, replayed: Mapping[int, Mapping[str, Any]]) -> list[Finding]:
    """Says what the replayed steps show of rollouts; that the digests agree is compared with the rest of each step."""
    told = [rollout for step in replayed if step in transcript.steps for rollout in _of(transcript.steps[step])]
    if not told:
        return []
    kept = sum(bool(rollout["kept"]) for rollout in told)
    if kept:
        reason = f"{kept} of {len(told)} rollouts were taken as they were kept: the operator could have chosen them"
        return [transcript_finding(transcript, "rollouts", Outcome.INCONCLUSIVE, reason)]
    reason = f"{len(told)} rollouts were generated again from the replayed state of their generator"
    return [transcript_finding(transcript, "rollouts", Outcome.PASS, reason)]


def _of(step: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = step.get("rollouts", [])
    return found
