"""Training data: committed before the seed exists, served in an order that the seed fixes.

Data is one array, or several of equal first dimension; an item is a row across all of them. The data root is the
BLAKE3 hash of each array's format, shape and raw bytes (BLAKE3 is itself a tree hash), so one changed byte anywhere
changes the seed, hence the initial weights and the order.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from blake3 import blake3
from torch import Tensor

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.encoding import canonical

__all__ = ["Dataset", "order_of_epoch"]

_CHUNK_BYTES = 64 << 20


@dataclass(frozen=True)
class Dataset:
    """The arrays that a program trains on, by name; ``path`` where a single ``.npy`` file was given."""

    arrays: Mapping[str, npt.NDArray[Any]]
    path: Path | None = None
    single: bool = True

    @classmethod
    def of(cls, data: Any) -> "Dataset":
        """Accepts a path to a ``.npy`` file, an array, a tensor, or a mapping of names to arrays or tensors.

        Raises:
            InputError: another type, no items, or arrays of different lengths.
        """
        if isinstance(data, Dataset):
            return data
        if isinstance(data, (str, os.PathLike)):
            path = Path(data).resolve()
            return cls._checked({"data": _mapped(path)}, path=path, single=True)
        if isinstance(data, Mapping):
            if not all(isinstance(name, str) for name in data):
                raise InputError("names an array by something other than text", where="data")
            return cls._checked({name: _array(value) for name, value in data.items()}, path=None, single=False)
        return cls._checked({"data": _array(data)}, path=None, single=True)

    @classmethod
    def _checked(cls, arrays: Mapping[str, npt.NDArray[Any]], *, path: Path | None, single: bool) -> "Dataset":
        lengths = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
        if not lengths or min(lengths.values()) == 0:
            raise InputError("has no items", where="data", mend="give at least one row")
        if len(set(lengths.values())) > 1:
            raise InputError(f"arrays differ in length: {lengths}", where="data", mend="one row each an item")
        for name, array in arrays.items():
            try:
                torch.from_numpy(np.array(array[:1]))
            except (TypeError, ValueError) as error:
                mend = "give numbers in this machine's byte order"
                raise InputError(f"has items of type {array.dtype}", where="data", field=name, mend=mend) from error
        return cls(arrays, path, single)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def root(self) -> bytes:
        """The data root (32 bytes)."""
        whole = blake3(b"weighbridge/data/1")
        for name in sorted(self.arrays):
            array = self.arrays[name]
            whole.update(canonical([name, array.dtype.str, list(array.shape)]))
            rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
            part = blake3()
            for start in range(0, len(array), rows):
                part.update(np.ascontiguousarray(array[start : start + rows]).reshape(-1).view(np.uint8).data)
            whole.update(part.digest())
        return whole.digest()

    def describe(self) -> dict[str, Any]:
        """Returns names, formats and shapes: enough to build a stand-in of zeros."""
        return {
            "path": str(self.path) if self.path else None,
            "arrays": {n: {"format": a.dtype.str, "shape": list(a.shape)} for n, a in self.arrays.items()},
        }

    def batch(self, indices: npt.NDArray[np.int64]) -> "Tensor | dict[str, Tensor]":
        """Returns the items at ``indices`` as fresh tensors (a mapping if the data was a mapping)."""
        taken = {n: torch.from_numpy(np.array(a[indices])) for n, a in self.arrays.items()}
        return taken["data"] if self.single else taken

    def indices(self, seed: bytes, *, batch_size: int, start: int, stop: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yields the item indices of batches ``start`` to ``stop`` - 1 in the order that the seed fixes.

        Every epoch is its own permutation; a batch may span two epochs, and each item appears once an epoch.
        """
        items = len(self)
        held: dict[int, npt.NDArray[np.int64]] = {}
        for number in range(start, stop):
            parts: list[npt.NDArray[np.int64]] = []
            position, wanted = number * batch_size, batch_size
            while wanted:
                epoch, offset = divmod(position, items)
                if epoch not in held:
                    held = {epoch: order_of_epoch(seed, epoch, items)}
                part = held[epoch][offset : offset + wanted]
                parts.append(part)
                position, wanted = position + len(part), wanted - len(part)
            yield np.concatenate(parts)


def _mapped(path: Path) -> npt.NDArray[Any]:
    try:
        if not path.is_file():  # a pipe would never end, a device neither
            raise OSError("no plain file is there")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, SyntaxError, OverflowError, MemoryError, RecursionError) as error:
        mend = "save one array with numpy.save"
        raise InputError(f"is not a readable .npy file ({error})", where=path, mend=mend) from error
    if not isinstance(array, np.ndarray):
        raise InputError("is an archive, not one array", where=path, mend="save one array with numpy.save")
    return array


def _array(value: Any) -> npt.NDArray[Any]:
    if isinstance(value, Tensor):
        try:
            return value.detach().cpu().numpy()
        except (TypeError, RuntimeError) as error:
            raise InputError(f"is a tensor that NumPy cannot hold ({error})", where="data") from error
    if isinstance(value, np.ndarray):
        return value
    raise InputError(
        f"is a {type(value).__name__}",
        where="data",
        mend="give a .npy path, an array, a tensor or a mapping of them",
    )


def order_of_epoch(seed: bytes, epoch: int, items: int) -> npt.NDArray[np.int64]:
    """Returns a permutation of ``range(items)``: items sorted by 128-bit keys from SHAKE-256(domain, seed, epoch).

    Specified by its hash, so that it does not depend on a library's generator; ties, of chance about
    items² / 2¹²⁹, keep their natural order.
    """
    stream = hashlib.shake_256(b"weighbridge/order/1" + seed + epoch.to_bytes(8, "little")).digest(16 * items)
    keys = np.frombuffer(stream, dtype=np.dtype([("high", ">u8"), ("low", ">u8")]))
    return np.lexsort((keys["low"], keys["high"])).astype(np.int64)
