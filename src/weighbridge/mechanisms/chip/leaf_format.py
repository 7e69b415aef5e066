"""The bytes of a leaf file: parts, bounds, and a reader that refuses what the writer would not write.

Format ``.leaves``, version 1, little-endian:

    8   magic "WBLEAVES"
    u32 version (1)
    u32 leaf size in bytes
    u32 bytes of the table
    u32 number of runs
    u64 number of leaves
        table: JSON {"mappings": [...], "processes": [...]}, sorted keys, no spaces, ASCII
        runs: u32 mapping, u64 address, u64 length: stretches that were read, in that order
        digests: 32 bytes a leaf

A run is cut into leaves at absolute multiples of the leaf size, so leaf addresses follow from the runs.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighbridge.errors import EvidenceError

__all__ = [
    "LIMITS",
    "RUN",
    "LeafLimits",
    "Mapping",
    "Process",
    "Run",
    "check_leaf_size",
    "dump_table",
    "join_parts",
    "split_parts",
]

_MAGIC = b"WBLEAVES"
_VERSION = 1
_HEADER = struct.Struct("<8sIIIIQ")
RUN = np.dtype([("mapping", "<u4"), ("address", "<u8"), ("length", "<u8")])


@dataclass(frozen=True, kw_only=True)
class LeafLimits:
    """Bounds on a leaf file.

    Attributes:
        table_bytes: bytes of the table; a process has some hundred mappings of about 200 bytes.
        runs: runs; a fragmented heap has thousands.
        leaves: leaves; 2**26 of 16 KiB are a tebibyte.
        smallest_leaf: bytes of the smallest leaf size, a page.
        largest_leaf: bytes of the largest leaf size; it must still lie inside most tensors.
    """

    table_bytes: int = 1 << 26
    runs: int = 1 << 24
    leaves: int = 1 << 26
    smallest_leaf: int = 1 << 12
    largest_leaf: int = 1 << 20


LIMITS = LeafLimits()


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process at the stop.

    Attributes:
        pid: its number as the agent sees it.
        inner_pid: its number in its own pid namespace.
    """

    pid: int
    inner_pid: int


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """One mapping, as ``/proc/PID/maps`` shows it, or an anonymous file held open without being mapped.

    Attributes:
        process: index into the process table.
        kind: ``map``, or ``file`` for an open memory file; its addresses are then offsets in the file.
        start: first address.
        end: address after the last.
        permissions: as in maps, for instance ``rw-p``.
        offset: offset in the file.
        device: ``major:minor``, hexadecimal.
        inode: 0 if anonymous.
        path: file or pseudo name; empty if anonymous.
    """

    process: int
    kind: str
    start: int
    end: int
    permissions: str
    offset: int
    device: str
    inode: int
    path: str


@dataclass(frozen=True)
class Run:
    """Contiguous bytes that were read from one mapping."""

    mapping: int
    address: int
    length: int


def check_leaf_size(leaf_size: int) -> bool:
    """Returns whether a leaf size is a power of two within the limits."""
    return LIMITS.smallest_leaf <= leaf_size <= LIMITS.largest_leaf and leaf_size & (leaf_size - 1) == 0


def dump_table(processes: Sequence[Process], mappings: Sequence[Mapping]) -> bytes:
    """Returns the table's one encoding."""
    content = {"mappings": [asdict(m) for m in mappings], "processes": [asdict(p) for p in processes]}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")


def join_parts(leaf_size: int, table: bytes, runs: NDArray[Any], digests: NDArray[np.uint8]) -> bytes:
    """Returns a leaf file's content."""
    header = _HEADER.pack(_MAGIC, _VERSION, leaf_size, len(table), len(runs), len(digests))
    return header + table + runs.tobytes() + digests.tobytes()


def split_parts(
    data: bytes, *, where: object
) -> tuple[int, bytes, tuple[Process, ...], tuple[Mapping, ...], NDArray[Any], NDArray[np.uint8]]:
    """Reads a leaf file's content.

    Returns:
        Leaf size, table bytes, processes, mappings, runs, digests (n, 32).

    Raises:
        EvidenceError: naming the part that does not fit.
    """
    if len(data) < _HEADER.size:
        raise EvidenceError("is too short for a leaf file", where=where, field="header")
    magic, version, leaf_size, table_length, run_count, leaf_count = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise EvidenceError("is no leaf file of version 1", where=where, field="header")
    if not check_leaf_size(leaf_size):
        raise EvidenceError(f"leaf size {leaf_size} is not allowed", where=where, field="leaf size")
    if table_length > LIMITS.table_bytes or run_count > LIMITS.runs or leaf_count > LIMITS.leaves:
        raise EvidenceError("announces more than the limits allow", where=where, field="header")
    runs_at = _HEADER.size + table_length
    digests_at = runs_at + run_count * RUN.itemsize
    expected = digests_at + leaf_count * 32
    if len(data) != expected:
        raise EvidenceError(f"has {len(data)} bytes, its header says {expected}", where=where, field="length")
    table = data[_HEADER.size : runs_at]
    processes, mappings = _read_table(table, where)
    runs = np.frombuffer(data, dtype=RUN, count=run_count, offset=runs_at)
    digests = np.frombuffer(data, dtype=np.uint8, count=leaf_count * 32, offset=digests_at).reshape(-1, 32)
    _check_runs(runs, mappings, where)
    leaves = 0
    if run_count:
        last = (runs["address"] + (runs["length"] - np.uint64(1))) // np.uint64(leaf_size)
        # Summed as floats first: a hostile run of 2**63 bytes must not wrap around to the announced number.
        counts = last - runs["address"] // np.uint64(leaf_size) + np.uint64(1)
        leaves = int(counts.sum()) if counts.astype(np.float64).sum() <= LIMITS.leaves else -1
    if leaves != leaf_count:
        raise EvidenceError("its runs do not give the number of leaves", where=where, field="runs")
    return leaf_size, table, processes, mappings, runs, digests


def _read_table(table: bytes, where: object) -> tuple[tuple[Process, ...], tuple[Mapping, ...]]:
    try:
        content = json.loads(table)
        processes = tuple(Process(**entry) for entry in content["processes"])
        mappings = tuple(Mapping(**entry) for entry in content["mappings"])
        plain = dump_table(processes, mappings) == table
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise EvidenceError("the table cannot be read", where=where, field="table") from error
    if not plain or not all(_is_process(p) for p in processes):
        raise EvidenceError("the table is not in its one encoding", where=where, field="table")
    for number, mapping in enumerate(mappings):
        if not _is_mapping(mapping, len(processes)):
            raise EvidenceError(f"mapping {number} makes no sense", where=where, field="table")
    return processes, mappings


def _is_process(process: Process) -> bool:
    return all(type(n) is int and 0 <= n < 1 << 32 for n in (process.pid, process.inner_pid))


def _is_mapping(mapping: Mapping, processes: int) -> bool:
    numbers = (mapping.process, mapping.start, mapping.end, mapping.offset, mapping.inode)
    texts = (mapping.kind, mapping.permissions, mapping.device, mapping.path)
    return (
        all(type(n) is int and 0 <= n < 1 << 64 for n in numbers)
        and all(type(t) is str for t in texts)
        and mapping.process < processes
        and mapping.start <= mapping.end
        and mapping.kind in ("map", "file")
    )


def _check_runs(runs: NDArray[Any], mappings: tuple[Mapping, ...], where: object) -> None:
    if not len(runs):
        return
    numbers = runs["mapping"].astype(np.int64)
    if int(numbers.max()) >= len(mappings) or (np.diff(numbers) < 0).any():
        raise EvidenceError("name mappings that are absent or out of order", where=where, field="runs")
    starts = np.array([m.start for m in mappings], dtype=np.uint64)[numbers]
    ends = np.array([m.end for m in mappings], dtype=np.uint64)[numbers]
    address, length = runs["address"].astype(np.uint64), runs["length"].astype(np.uint64)
    inside = (address >= starts) & (address < ends)
    inside &= (length > 0) & (length <= ends - np.minimum(address, ends))
    if not inside.all():
        raise EvidenceError("reach outside their mappings", where=where, field="runs")
    same = np.diff(numbers) == 0
    if (same & (address[1:] < (address + length)[:-1])).any():
        raise EvidenceError("overlap or are out of order", where=where, field="runs")
