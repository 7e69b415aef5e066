"""Training data: committed before the seed exists, served in an order that the seed fixes.

Data is one array, or several of equal first dimension; an item is a row across all of them. The data root is the
BLAKE3 hash of each array's format, shape and raw bytes (BLAKE3 is itself a tree hash), so one changed byte anywhere
changes the seed, hence the initial weights and the order.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from blake3 import blake3
from torch import Tensor

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.encoding import canonical

__all__ = ["Dataset", "order_of_epoch"]

_CHUNK_BYTES = 64 << 20


@dataclass(frozen=True)
class Dataset:
    """The arrays that a program trains on, by name; ``paths`` names those that were given as ``.npy`` files."""

    arrays: Mapping[str, npt.NDArray[Any]]
    paths: Mapping[str, Path]
    single: bool = True

    @classmethod
    def of(cls, data: Any) -> "Dataset":
        """Accepts a path to a ``.npy`` file, an array, a tensor, or a mapping of names to either kind.

        Raises:
            InputError: another type, no items, arrays of different lengths, or files and arrays mixed.
        """
        if isinstance(data, Dataset):
            return data
        if not isinstance(data, Mapping):
            return cls._of({"data": data}, single=True)
        if not all(isinstance(name, str) for name in data):
            raise InputError("names an array by something other than text", where="data")
        return cls._of(data, single=False)

    @classmethod
    def _of(cls, given: Mapping[str, Any], *, single: bool) -> "Dataset":
        paths = {name: Path(value).resolve() for name, value in given.items() if isinstance(value, (str, os.PathLike))}
        if paths and len(paths) < len(given):
            raise InputError("mixes files and arrays", where="data", mend="save every array with numpy.save")
        if not single and not all(is_file_name(name) for name in paths):
            mend = "use letters, digits, dots, dashes and underscores"
            raise InputError("names a file's array by more than a plain word", where="data", mend=mend)
        arrays = {name: _mapped(paths[name]) if paths else _array(value) for name, value in given.items()}
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
        return cls(arrays, paths, single)

    @classmethod
    def handed_over(cls, folder_or_file: Path, described: Mapping[str, Any]) -> "Dataset":
        """Opens the files of a run as somebody handed them over: one file, or a folder with NAME.npy for each array.

        Args:
            folder_or_file: where they lie.
            described: what :meth:`describe` said when the run was committed.

        Raises:
            InputError: a file is not there, or is no array.
            EvidenceError: the description names no plain files.
        """
        names = sorted(described["arrays"])
        if not folder_or_file.is_dir():
            if len(names) > 1:
                mend = f"name a folder with {', '.join(f'{name}.npy' for name in names)}"
                raise InputError("is one file, and the run had several arrays", where=folder_or_file, mend=mend)
            return cls._of({names[0]: folder_or_file}, single=True)
        for name in names:
            if not is_file_name(name):
                raise EvidenceError("is no plain file name", where="opening.json", field=f"data.arrays.{name!r:.100}")
        return cls._of({name: folder_or_file / f"{name}.npy" for name in names}, single=False)

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
        """Returns names, formats, shapes and files: enough to build a stand-in of zeros."""
        return {
            "arrays": {
                name: {
                    "format": array.dtype.str,
                    "shape": list(array.shape),
                    "path": str(self.paths[name]) if name in self.paths else None,
                }
                for name, array in self.arrays.items()
            }
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


def is_file_name(name: str) -> bool:
    """Returns whether a name can stand for a file without leading anywhere else."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name) is not None


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
        mend="give .npy paths, arrays or tensors",
    )


def order_of_epoch(seed: bytes, epoch: int, items: int) -> npt.NDArray[np.int64]:
    """Returns a permutation of ``range(items)``: items sorted by 128-bit keys from SHAKE-256(domain, seed, epoch).

    Specified by its hash, so that it does not depend on a library's generator; ties, of chance about
    items² / 2¹²⁹, keep their natural order.
    """
    stream = hashlib.shake_256(b"weighbridge/order/1" + seed + epoch.to_bytes(8, "little")).digest(16 * items)
    keys = np.frombuffer(stream, dtype=np.dtype([("high", ">u8"), ("low", ">u8")]))
    return np.lexsort((keys["low"], keys["high"])).astype(np.int64)
