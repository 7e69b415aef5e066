"""Anchors: a full training state in one safetensors file. Only tensors and plain data; nothing is ever unpickled."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState

__all__ = ["layout_of", "read_anchor", "write_anchor"]

_PLAIN = "weighbridge.plain"


def write_anchor(path: Path, state: TrainingState) -> None:
    """Writes a state to ``path`` at once: a reader sees the whole file or none."""
    temporary = path.with_name(f".{path.name}.part")
    save_file(
        {name: tensor.detach().contiguous() for name, tensor in state.tensors.items()},
        temporary,
        metadata={_PLAIN: canonical(state.plain).decode()},
    )
    temporary.replace(path)


def read_anchor(path: Path) -> TrainingState:
    """Reads a state.

    Raises:
        EvidenceError: the file is missing, truncated or not an anchor.
    """
    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()[_PLAIN])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EvidenceError(
            f"is not a readable anchor ({error})", where=path, mend="ask the operator for the anchor again"
        ) from error
    if not isinstance(plain, dict) or not isinstance(plain.get("step"), int):
        raise EvidenceError("does not say its step", where=path, field=_PLAIN)
    return TrainingState(tensors, plain)


def layout_of(subjects: Subjects, state: TrainingState) -> list[tuple[str, int, int]]:
    """Returns (name, address, bytes) of every contiguous CPU tensor of the state, as it lies in this process."""
    return [
        (name, tensor.data_ptr(), tensor.numel() * tensor.element_size())
        for name, tensor in sorted(state.tensors.items())
        if tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.numel()
        if not name.startswith("generator/")
    ]
