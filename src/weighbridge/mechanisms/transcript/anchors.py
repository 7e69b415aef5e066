"""Anchors: a full training state in one safetensors file. Only tensors and plain data; nothing is ever unpickled."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.anchor_delta import is_delta, plain_file
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState

__all__ = ["layout_of", "read_anchor", "write_anchor"]

_PLAIN = "weighbridge.plain"
_LIMIT_BYTES = 1 << 40


def write_anchor(path: Path, state: TrainingState) -> int:
    """Writes a state to ``path`` at once, and returns the file's bytes: a reader sees the whole file or none.

    Raises:
        InputError: a tensor has a format that safetensors cannot hold.
        OSError: the disk refuses it.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        save_file(_separate(state.tensors), temporary, metadata={_PLAIN: canonical(state.plain).decode()})
        size = temporary.stat().st_size
        temporary.replace(path)
        return size
    except (KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"cannot be written as safetensors ({error})", where=path.name, field="state") from error
    finally:
        temporary.unlink(missing_ok=True)


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors in C order, those that share memory with an earlier one copied: safetensors wants that."""
    separate: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
        storage = plain.untyped_storage().data_ptr()
        separate[name] = plain.clone() if storage in storages else plain
        storages.add(storage)
    return separate


def read_anchor(path: Path, *, limit_bytes: int = _LIMIT_BYTES) -> TrainingState:
    """Reads a state.

    Args:
        path: the file; a link, a pipe or a device is refused unopened.
        limit_bytes: largest file that is read.

    Raises:
        EvidenceError: the file is missing, truncated or not an anchor.
    """
    if is_delta(path):
        with plain_file(path) as plain_path:
            return read_anchor(plain_path, limit_bytes=limit_bytes)
    mend = "ask the operator for the anchor again"
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise EvidenceError("is not a plain file", where=path, mend=mend)
        if status.st_size > limit_bytes:
            raise EvidenceError(f"is larger than {limit_bytes} bytes", where=path, mend=mend)
        with safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()[_PLAIN])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (
        OSError,
        SafetensorError,
        AttributeError,
        KeyError,
        OverflowError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise EvidenceError(f"is not a readable anchor ({error})", where=path, mend=mend) from error
    if not isinstance(plain, dict) or type(plain.get("step")) is not int or plain["step"] < 0:
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
