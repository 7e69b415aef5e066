"""An anchor's file read as bytes, without torch and without holding it: its digest, and where two of them part.

The file is safetensors: eight bytes of length, a JSON header, then the tensors' bytes without gaps. It may be
anybody's, so the header is believed only as far as it describes this very file.
"""

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from blake3 import blake3

from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import open_regular
from weighbridge.mechanisms.transcript.encoding import canonical, digest_leaves, digest_plain, framed

__all__ = ["FORMATS", "RawAnchor", "RawTensor", "TensorDifference", "first_difference", "tensors_of"]

_PLAIN = "weighbridge.plain"
_HEADER_LIMIT_BYTES = 100_000_000
_CHUNK_BYTES = 1 << 22
FORMATS: Mapping[str, tuple[str, int]] = {
    "BOOL": ("torch.bool", 1),
    "U8": ("torch.uint8", 1),
    "I8": ("torch.int8", 1),
    "I16": ("torch.int16", 2),
    "U16": ("torch.uint16", 2),
    "I32": ("torch.int32", 4),
    "U32": ("torch.uint32", 4),
    "I64": ("torch.int64", 8),
    "U64": ("torch.uint64", 8),
    "F16": ("torch.float16", 2),
    "BF16": ("torch.bfloat16", 2),
    "F32": ("torch.float32", 4),
    "F64": ("torch.float64", 8),
    "C64": ("torch.complex64", 8),
    "F8_E4M3": ("torch.float8_e4m3fn", 1),
    "F8_E5M2": ("torch.float8_e5m2", 1),
}
"""Of each format in a file: its name in a state's digest, and bytes of an element."""


@dataclass(frozen=True)
class RawTensor:
    """Where one tensor lies in its file."""

    format: str
    shape: tuple[int, ...]
    start: int
    bytes: int

    @property
    def width(self) -> int:
        """Bytes of an element."""
        return FORMATS[self.format][1]

    def __str__(self) -> str:
        shape = "×".join(map(str, self.shape)) or "scalar"
        return f"{FORMATS[self.format][0].removeprefix('torch.')}, {shape}"


@dataclass(frozen=True)
class RawAnchor:
    """A state's file: tensors by name, and plain data by name."""

    path: Path
    tensors: Mapping[str, RawTensor]
    plain: Mapping[str, Any]
    _held: object = field(default=None, repr=False, compare=False)
    """Where the file lies, if only for this reader."""

    @classmethod
    def read(cls, path: Path) -> "RawAnchor":
        """Reads the header; an anchor kept as a delta is first written out, into a file that goes with the reader.

        Raises:
            EvidenceError: the file is missing, no plain file, or no anchor.
            MissingToolError: it is a delta, and zstandard is not installed.
        """
        from weighbridge.mechanisms.transcript import anchor_delta

        held = None
        if anchor_delta.is_delta(path):
            held = tempfile.TemporaryDirectory(prefix="weighbridge-anchor-")
            path = anchor_delta.unpacked(path, Path(held.name))
        try:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                header, begin = _header(file, size)
            plain = json.loads(header.pop("__metadata__")[_PLAIN])
            tensors = dict(_tensors(header, begin, size))
            if not isinstance(plain, dict):
                raise TypeError("its plain data are no mapping")
            if tensors.keys() & plain.keys():
                raise ValueError("a name is both a tensor's and a plain value's")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EvidenceError(f"is not a readable anchor ({error})", where=path) from error
        return cls(path, tensors, plain, held)

    def chunks(self, tensor: RawTensor) -> Iterator[bytes]:
        """Yields a tensor's bytes.

        Raises:
            EvidenceError: the file shrank meanwhile.
        """
        with self._opened() as file:
            file.seek(tensor.start)
            left = tensor.bytes
            while left:
                chunk = file.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise EvidenceError("changed while it was read", where=self.path)
                left -= len(chunk)
                yield chunk

    def digest(self, salt: bytes) -> str:
        """Returns the state's salted digest, hex: the same as that of the tensors in memory (``state.digest``)."""
        leaves = {name: digest_plain(value) for name, value in self.plain.items()}
        return digest_leaves(leaves | {name: self._leaf(tensor) for name, tensor in self.tensors.items()}, salt).hex()

    def _leaf(self, tensor: RawTensor) -> bytes:
        hasher = blake3(framed(canonical([FORMATS[tensor.format][0], list(tensor.shape)])))
        for chunk in self.chunks(tensor):
            hasher.update(chunk)
        return hasher.digest()

    def _opened(self) -> BinaryIO:
        try:
            return open_regular(self.path)
        except OSError as error:
            raise EvidenceError(f"cannot be read ({error.strerror})", where=self.path) from error


def tensors_of(file: BinaryIO, *, size: int) -> dict[str, RawTensor]:
    """Returns the tensors of a file of ``size`` bytes, in its order, from its beginning alone.

    Raises:
        ValueError: its header is malformed; so do KeyError, TypeError, AttributeError and RecursionError say.
    """
    header, begin = _header(file, size)
    header.pop("__metadata__", None)
    return dict(_tensors(header, begin, size))


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """Returns the JSON header, and where the tensors begin."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_HEADER_LIMIT_BYTES, size - 8):
        raise ValueError("its header does not fit")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise TypeError("its header is no mapping")
    return header, 8 + length


def _tensors(header: Mapping[str, Any], begin: int, size: int) -> Iterator[tuple[str, RawTensor]]:
    """Yields what the header lists, in the file's order, without a gap from ``begin`` to the file's end."""
    listed = sorted(header.items(), key=lambda item: (item[1]["data_offsets"], item[0]))
    place = begin
    for name, entry in listed:
        shape, (start, end) = entry["shape"], entry["data_offsets"]
        if entry["dtype"] not in FORMATS or not all(type(n) is int and 0 <= n < 1 << 63 for n in (*shape, start, end)):
            raise ValueError(f"{name!r:.80} is malformed")
        tensor = RawTensor(entry["dtype"], tuple(shape), begin + start, end - start)
        if tensor.start != place or tensor.bytes != math.prod(shape) * tensor.width:
            raise ValueError(f"{name!r:.80} is not where the header says")
        place += tensor.bytes
        yield name, tensor
    if place != size:
        raise ValueError("its tensors do not fill it")


@dataclass(frozen=True)
class TensorDifference:
    """Where two states part.

    Attributes:
        name: the first tensor, in order of names, generators last, that is not the same; or the first plain value.
        what: how it differs, in words.
        others: how many more tensors or values differ.
    """

    name: str
    what: str
    others: int


def first_difference(one: RawAnchor, other: RawAnchor) -> TensorDifference | None:
    """Returns the first tensor in order of names that differs, or failing one the first plain value; None if alike.

    Raises:
        EvidenceError: a file cannot be read to its end.
    """
    found: list[tuple[str, str]] = []
    # Generators last: they differ between any two seeds, and say less than a weight does.
    for name in sorted({*one.tensors, *other.tensors}, key=lambda name: (name.startswith("generator/"), name)):
        left, right = one.tensors.get(name), other.tensors.get(name)
        if left is None or right is None:
            found.append((name, f"is only in the {'second' if left is None else 'first'}"))
        elif (left.format, left.shape) != (right.format, right.shape):
            found.append((name, f"is {left} in the first, {right} in the second"))
        elif (counted := _elements(one, left, other, right)) is not None:
            differing, first = counted
            total = left.bytes // left.width
            found.append((name, f"{left}: {differing} of {total} elements differ, the first at {first}"))
    for name in sorted({*one.plain, *other.plain}):
        if name not in one.plain or name not in other.plain:
            found.append((name, f"is only in the {'second' if name not in one.plain else 'first'}"))
        elif canonical(one.plain[name]) != canonical(other.plain[name]):
            found.append((name, "has another value"))
    return TensorDifference(*found[0], len(found) - 1) if found else None


def _elements(one: RawAnchor, left: RawTensor, other: RawAnchor, right: RawTensor) -> tuple[int, int] | None:
    """Returns how many elements differ bit for bit, and the number of the first in C order; None if none does."""
    differing, first, done = 0, -1, 0
    for a, b in zip(_evenly(one.chunks(left)), _evenly(other.chunks(right)), strict=True):
        if a != b:
            unlike = np.frombuffer(a, np.uint8) != np.frombuffer(b, np.uint8)
            elements = unlike.reshape(-1, left.width).any(axis=1)
            if first < 0:
                first = done + int(elements.argmax())
            differing += int(elements.sum())
        done += len(a) // left.width
    return (differing, first) if differing else None


def _evenly(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the same bytes in pieces of one size, whatever the reads gave."""
    held = b""
    for chunk in chunks:
        held += chunk
        while len(held) >= _CHUNK_BYTES:
            yield held[:_CHUNK_BYTES]
            held = held[_CHUNK_BYTES:]
    if held:
        yield held
