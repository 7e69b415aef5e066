"""The leaf table of one stop: what was read, piece by piece, and the salted Merkle root that a record signs.

A leaf's hash is ``SHA-256(0x00 || salt || process || mapping || address || length || p)`` with ``p =
BLAKE3(page)``, numbers big-endian in 4, 4, 8 and 4 bytes (0x00 is RFC 9162's leaf prefix). The table of
processes and mappings is leaf 0 of the tree, under process and mapping number 2**32 - 1, address 0, its
length and its BLAKE3. Leaves follow in the order of the runs. A whole leaf has ``address % leaf_size == 0``
and ``length == leaf_size``.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from weighbridge.errors import EvidenceError
from weighbridge.evidence import merkle
from weighbridge.mechanisms.chip.leaf_format import (
    RUN,
    Mapping,
    Process,
    Run,
    dump_table,
    join_parts,
    split_parts,
)

__all__ = ["LeafTable", "Mapping", "Process", "Run", "page_digest", "read_leaf_table", "zero_digest"]

_LEAF = np.dtype(
    [("process", ">u4"), ("mapping", ">u4"), ("address", ">u8"), ("length", ">u4"), ("digest", "u1", (32,))]
)
_TABLE_NUMBER = 0xFFFFFFFF
_CHUNK = 1024  # leaves hashed at a time; a power of two, so that chunks are subtrees of the whole tree


def page_digest(buffer: bytes | bytearray | memoryview) -> bytes:
    """Returns the BLAKE3 digest of a page or leaf, 32 bytes."""
    return blake3(buffer).digest()


@lru_cache(maxsize=4096)
def zero_digest(length: int) -> bytes:
    """Returns the digest of ``length`` zero bytes."""
    return page_digest(bytes(length))


@dataclass(frozen=True, kw_only=True, eq=False)
class LeafTable:
    """Everything that one stop committed to.

    Attributes:
        leaf_size: bytes of a whole leaf.
        table_bytes: the table of processes and mappings as committed.
        process_table: the processes, by number.
        mapping_table: the mappings, by number.
        runs: structured array (mapping, address, length) of what was read.
        digests: page digests, (n, 32) uint8.
    """

    leaf_size: int
    table_bytes: bytes
    process_table: tuple[Process, ...]
    mapping_table: tuple[Mapping, ...]
    runs: NDArray[Any]
    digests: NDArray[np.uint8]

    @classmethod
    def build(
        cls,
        *,
        leaf_size: int,
        processes: Sequence[Process],
        mappings: Sequence[Mapping],
        runs: Sequence[Run],
        digests: bytes | bytearray,
    ) -> Self:
        """Makes a table from what a stop collected; ``digests`` has 32 bytes a leaf, in run order."""
        return cls(
            leaf_size=leaf_size,
            table_bytes=dump_table(processes, mappings),
            process_table=tuple(processes),
            mapping_table=tuple(mappings),
            runs=np.array([(r.mapping, r.address, r.length) for r in runs], dtype=RUN),
            digests=np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32),
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, where: object = "leaf file") -> Self:
        """Reads a leaf file's content, refusing whatever :meth:`to_bytes` would not write.

        Raises:
            EvidenceError: naming the part that does not fit.
        """
        leaf_size, table, processes, mappings, runs, digests = split_parts(data, where=where)
        return cls(
            leaf_size=leaf_size,
            table_bytes=table,
            process_table=processes,
            mapping_table=mappings,
            runs=runs,
            digests=digests,
        )

    def to_bytes(self) -> bytes:
        """Returns the leaf file's content."""
        return join_parts(self.leaf_size, self.table_bytes, self.runs, self.digests)

    def __len__(self) -> int:
        return len(self.digests)

    @cached_property
    def _cut(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.int64]]:
        """Addresses, lengths and run numbers of the leaves."""
        size = np.uint64(self.leaf_size)
        starts = self.runs["address"].astype(np.uint64)
        ends = starts + self.runs["length"].astype(np.uint64)
        first = starts // size
        counts = ((ends - np.uint64(1)) // size - first + np.uint64(1)).astype(np.int64)
        run_of = np.repeat(np.arange(len(self.runs)), counts)
        before = np.cumsum(counts) - counts
        number = (np.arange(len(run_of)) - before[run_of]).astype(np.uint64)
        low = (first[run_of] + number) * size
        addresses = np.maximum(low, starts[run_of])
        lengths = (np.minimum(low + size, ends[run_of]) - addresses).astype(np.uint32)
        return addresses, lengths, run_of

    @property
    def addresses(self) -> NDArray[np.uint64]:
        """First address of each leaf."""
        return self._cut[0]

    @property
    def lengths(self) -> NDArray[np.uint32]:
        """Bytes of each leaf."""
        return self._cut[1]

    @cached_property
    def mappings(self) -> NDArray[np.uint32]:
        """Mapping number of each leaf."""
        chosen: NDArray[np.uint32] = self.runs["mapping"].astype(np.uint32)[self._cut[2]]
        return chosen

    @cached_property
    def processes(self) -> NDArray[np.uint32]:
        """Process number of each leaf."""
        owner = np.array([m.process for m in self.mapping_table], dtype=np.uint32)
        return owner[self.mappings]

    @cached_property
    def zero(self) -> NDArray[np.bool_]:
        """Which leaves hold nothing but zero bytes."""
        result = np.zeros(len(self), dtype=np.bool_)
        for length in np.unique(self.lengths):
            chosen = self.lengths == length
            known = np.frombuffer(zero_digest(int(length)), dtype=np.uint8)
            result[chosen] = (self.digests[chosen] == known).all(axis=1)
        return result

    @property
    def read_bytes(self) -> int:
        """Bytes read and committed to."""
        return int(self.runs["length"].sum())

    def root(self, salt: bytes, *, between: Callable[[], None] | None = None) -> bytes:
        """Returns the Merkle root (RFC 9162) over the table and all leaves.

        Args:
            salt: the record's salt, 32 bytes.
            between: called between chunks of work; the agent waits there while a stop is under way.
        """
        rows = np.zeros(len(self) + 1, dtype=_LEAF)
        head = np.frombuffer(page_digest(self.table_bytes), dtype=np.uint8)
        rows[0] = (_TABLE_NUMBER, _TABLE_NUMBER, 0, len(self.table_bytes), head)
        rows["process"][1:] = self.processes
        rows["mapping"][1:] = self.mappings
        rows["address"][1:] = self.addresses
        rows["length"][1:] = self.lengths
        rows["digest"][1:] = self.digests
        packed, width, prefix = rows.tobytes(), _LEAF.itemsize, b"\0" + salt
        subtrees = []
        for first in range(0, len(rows), _CHUNK):
            if between is not None:
                between()
            last = min(first + _CHUNK, len(rows))
            leaves = range(first * width, last * width, width)
            subtrees.append(merkle.root([hashlib.sha256(prefix + packed[at : at + width]).digest() for at in leaves]))
        return merkle.root(subtrees)


def read_leaf_table(path: str | Path) -> LeafTable:
    """Reads a leaf file.

    Raises:
        EvidenceError: the file is absent or malformed.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot read the leaf file: {error.strerror}", where=path) from error
    return LeafTable.from_bytes(data, where=path)
