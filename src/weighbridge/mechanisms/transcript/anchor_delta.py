"""Anchors kept as the difference to an earlier one: XOR, bytes of equal significance side by side, zstd.

A delta lies under the anchor's own name, and is told by its first bytes. In order:

1. ``WBDELTA1``, eight bytes.
2. Length of the header (eight bytes, little-endian), then the header, a JSON object: ``base`` (file name of the base,
   in the same folder), ``base_blake3`` and ``blake3`` (hex, over the plain safetensors files), ``bytes`` of the plain
   file, and of its ``head``, which are the eight bytes of length and the JSON before its tensors.
3. Blocks: one that gives the head, then for each tensor in the plain file's order one for every 4 MiB of it. A block is
   its kind (one byte), its length (four bytes, little-endian) and its content. Kinds: ``r`` bytes as they are; ``s``
   bytes shuffled (first bytes of all elements, then second ones, …) in one zstd frame; ``x`` the same of the XOR with
   the bytes at the same place of the base's tensor of that name, format and shape.

What stops an attacker: nothing is allocated before its size is known from a checked header, and a frame must say that
very size; a plain file may have at most eight times its base's bytes; a chain has at most four deltas, so a cycle ends;
what comes out must have the digest that the header names, and every user of an anchor compares its state with the
committed digest besides. A delta is only written where it is smaller, and only after it was read back.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from blake3 import blake3

from weighbridge.errors import EvidenceError, MissingToolError
from weighbridge.evidence.files import open_regular
from weighbridge.mechanisms.transcript.events import is_anchor_name
from weighbridge.mechanisms.transcript.raw_anchor import RawAnchor, RawTensor, tensors_of

__all__ = ["DEEPEST", "depth_of", "is_delta", "pack_anchor", "plain_file", "unpacked"]

DEEPEST = 4
"""Deltas between an anchor and the plain file below it."""
_MAGIC = b"WBDELTA1"
_BLOCK_BYTES = 1 << 22
_HEADER_LIMIT_BYTES = 4096
_HEAD_LIMIT_BYTES = 100_000_000
_GROWTH = 8
_LEVEL = 3


@dataclass(frozen=True)
class _Header:
    base: str
    base_blake3: str
    blake3: str
    bytes: int
    head: int


def is_delta(path: Path) -> bool:
    """Returns whether this is a plain file that begins as a delta does; whatever cannot be read is none."""
    try:
        with open_regular(path) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def depth_of(path: Path) -> int:
    """Returns how many deltas lie between this anchor and a plain file.

    Raises:
        EvidenceError: a delta on the way is malformed, or there are too many.
    """
    depth = 0
    while is_delta(path):
        depth += 1
        if depth > DEEPEST:
            raise EvidenceError(f"lies below more than {DEEPEST} deltas", where=path)
        with open_regular(path) as file:
            path = path.with_name(_header(file, path).base)
    return depth


@contextlib.contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """Yields a plain file of this anchor: itself, or one made for as long as it is used.

    Raises:
        EvidenceError: a delta is malformed, or does not give what it says.
        MissingToolError: zstandard is not installed.
    """
    if not is_delta(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="weighbridge-anchor-") as name:
        yield unpacked(path, Path(name))


def unpacked(path: Path, folder: Path) -> Path:
    """Writes the plain file of an anchor that is a delta into ``folder``, and returns it.

    Raises:
        EvidenceError: a delta is malformed, or does not give what it says.
        MissingToolError: zstandard is not installed.
    """
    return _unpacked(path, folder, DEEPEST)


def pack_anchor(path: Path, base: Path) -> int:
    """Puts a delta to ``base`` in the place of a plain anchor, where that is smaller.

    Returns:
        The bytes saved; 0 if the file stays as it is.

    Raises:
        EvidenceError: one of them cannot be read.
        OSError: the disk refuses it; the anchor is as it was.
    """
    if depth_of(base) >= DEEPEST or is_delta(path):
        return 0
    part = path.with_name(f".{path.name}.delta")
    try:
        with plain_file(base) as plain_base:
            header, size = _write(part, path, base.name, plain_base)
        if size >= header.bytes:
            return 0
        with plain_file(part) as again:  # its digest is that of the file which is about to go
            assert _digest(again) == header.blake3
        part.replace(path)
        return header.bytes - size
    finally:
        part.unlink(missing_ok=True)


def _write(part: Path, path: Path, name: str, base: Path) -> tuple[_Header, int]:
    whole, before = RawAnchor.read(path), RawAnchor.read(base)
    size = path.stat().st_size
    head = size - sum(tensor.bytes for tensor in whole.tensors.values())
    header = _Header(name, _digest(base), _digest(path), size, head)
    text = json.dumps(header.__dict__, sort_keys=True).encode()
    packer = _zstd().ZstdCompressor(level=_LEVEL)
    with path.open("rb") as source, base.open("rb") as old, part.open("wb") as file:
        file.write(_MAGIC + len(text).to_bytes(8, "little") + text)
        _put(file, packer, b"s", source.read(head), 1)
        for tensor_name, tensor in whole.tensors.items():
            earlier = before.tensors.get(tensor_name)
            for at, length in _blocks(tensor.bytes):
                data = source.read(length)
                if earlier is not None and _alike(earlier, tensor):
                    old.seek(earlier.start + at)
                    data = _xor(data, old.read(length))
                    _put(file, packer, b"x", data, tensor.width, plain=False)
                else:
                    _put(file, packer, b"s", data, tensor.width)
        return header, file.tell()


def _put(file: BinaryIO, packer: Any, kind: bytes, data: bytes, width: int, *, plain: bool = True) -> None:
    packed = packer.compress(_shuffled(data, width))
    if plain and len(packed) >= len(data):
        kind, packed = b"r", data
    file.write(kind + len(packed).to_bytes(4, "little") + packed)


def _unpacked(path: Path, folder: Path, left: int) -> Path:
    """Writes the plain file of an anchor into ``folder``, those below it first."""
    if not is_delta(path):
        return path
    if left == 0:
        raise EvidenceError(f"lies below more than {DEEPEST} deltas", where=path)
    target = folder / f"{left}.safetensors"
    try:
        with open_regular(path) as file:
            header = _header(file, path)
            base = _unpacked(path.with_name(header.base), folder, left - 1)
            if _digest(base) != header.base_blake3:
                raise EvidenceError("is not the base that the delta names", where=path.with_name(header.base))
            if header.bytes > _GROWTH * base.stat().st_size:
                raise EvidenceError(f"says more than {_GROWTH} times its base's bytes", where=path)
            with open_regular(base) as old, target.open("wb") as out:
                _restore(file, header, RawAnchor.read(base), old, out, path)
            if file.read(1):
                raise EvidenceError("goes on after its last block", where=path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, _zstd().ZstdError) as error:
        raise EvidenceError(f"is not a readable delta ({error})", where=path) from error
    if base.parent == folder:
        base.unlink()
    if _digest(target) != header.blake3:
        raise EvidenceError("does not give the file that it names", where=path)
    return target


def _restore(file: BinaryIO, header: _Header, before: RawAnchor, old: BinaryIO, out: BinaryIO, path: Path) -> None:
    opener = _zstd().ZstdDecompressor(max_window_size=_BLOCK_BYTES * 2)
    head = _get(file, opener, header.head, 1, None)
    out.write(head)
    for name, tensor in tensors_of(io.BytesIO(head), size=header.bytes).items():
        earlier = before.tensors.get(name)
        for at, length in _blocks(tensor.bytes):
            beneath: bytes | None = None
            if earlier is not None and _alike(earlier, tensor):
                old.seek(earlier.start + at)
                beneath = old.read(length)
            out.write(_get(file, opener, length, tensor.width, beneath))


def _get(file: BinaryIO, opener: Any, length: int, width: int, beneath: bytes | None) -> bytes:
    """Reads one block, whose plain bytes number ``length``."""
    head = file.read(5)
    kind, size = head[:1], int.from_bytes(head[1:], "little")
    if len(head) < 5 or size > length + (length >> 7) + 1024:
        raise ValueError("a block is cut, or larger than what it holds")
    packed = file.read(size)
    if len(packed) != size:
        raise ValueError("a block is cut")
    if kind == b"r":
        data = packed
    elif kind in (b"s", b"x"):
        if _zstd().get_frame_parameters(packed).content_size != length:
            raise ValueError("a block says another size than its place has")
        data = _unshuffled(opener.decompress(packed, max_output_size=length, allow_extra_data=False), width)
    else:
        raise ValueError("a block of an unknown kind")
    if len(data) != length:
        raise ValueError("a block gives another size than its place has")
    if kind == b"x":
        if beneath is None:
            raise ValueError("a block rests on a tensor that the base has not")
        data = _xor(data, beneath)
    return data


def _header(file: BinaryIO, path: Path) -> _Header:
    try:
        file.seek(len(_MAGIC))
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _HEADER_LIMIT_BYTES:
            raise ValueError("its header does not fit")
        data = json.loads(file.read(length))
        header = _Header(**data)
        texts = (header.base_blake3, header.blake3)
        if not is_anchor_name(header.base) or not all(isinstance(t, str) and len(t) == 64 for t in texts):
            raise ValueError("its base or digests are malformed")
        if type(header.bytes) is not int or type(header.head) is not int:
            raise ValueError("its sizes are no numbers")
        if not 8 < header.head <= min(_HEAD_LIMIT_BYTES, header.bytes) or header.bytes >= 1 << 62:
            raise ValueError("its sizes do not fit")
    except (ValueError, TypeError, RecursionError) as error:
        raise EvidenceError(f"is not a readable delta ({error})", where=path) from error
    return header


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    return ((at, min(_BLOCK_BYTES, size - at)) for at in range(0, size, _BLOCK_BYTES))


def _alike(one: RawTensor, other: RawTensor) -> bool:
    return (one.format, one.shape) == (other.format, other.shape)


def _xor(data: bytes, beneath: bytes) -> bytes:
    return bytes(np.bitwise_xor(np.frombuffer(data, np.uint8), np.frombuffer(beneath, np.uint8)).data)


def _shuffled(data: bytes, width: int) -> bytes:
    return np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def _unshuffled(data: bytes, width: int) -> bytes:
    return np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()


def _digest(path: Path) -> str:
    hasher = blake3()
    with open_regular(path) as file:
        while chunk := file.read(_BLOCK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def _zstd() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingToolError(
            "anchors kept as deltas need the package zstandard, which is not installed",
            mend="pip install 'weighbridge[torch]'",
        ) from error
    return zstandard
