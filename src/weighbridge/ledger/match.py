"""Explains a snapshot's bytes by class: hash equality alone decides, never a map, a name or an entropy.

The verifier lays replayed tensors and committed data at the addresses that the transcript names, cuts them into the
leaves of the record, hashes, and compares (protocol sections 3 and 4.4). What the operator says about addresses
steers only where to look: bytes that hash equal at any address are resident.

What decides is the share of the *replayed* weights that was found, never of what was looked at: a tensor that the
layout leaves out, puts nowhere or sizes wrongly counts with all its leaves as not found. Each leaf of memory stands
for one leaf of the weights only, and a leaf of zeros for none: every process has pages of zeros.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from blake3 import blake3

from weighbridge.mechanisms.chip.leaves import LeafTable, zero_digest

__all__ = ["MATCHED_SHARE", "Explanation", "PlacedBytes", "explain"]

MATCHED_SHARE = 0.9
"""Least share of the whole leaves under the weights that must match (protocol section 4.2; an update is up to 8 %)."""

_ADDRESSES = 1 << 64


@dataclass(frozen=True)
class PlacedBytes:
    """Bytes that the verifier knows, and where the transcript says that they lie.

    Attributes:
        kind: class: ``weights``, ``optimizer``, ``data``, ...
        address: first address; None, or one outside the address space, where the transcript names none that fits.
        content: the bytes.
        name: the tensor's name, the same in every candidate state; of two with one name the first counts.
    """

    kind: str
    address: int | None
    content: memoryview
    name: str = ""


@dataclass(frozen=True)
class Explanation:
    """What one record's bytes are.

    Attributes:
        weight_leaves: whole leaves under the replayed weights that are not all zero, found or not.
        weight_matches: those that the training process held, equal to one of the candidate states.
        explained_bytes: bytes by class; a leaf has the first class that explains it.
        zero_bytes: bytes of leaves that are all zero.
        unexplained_bytes: the rest.
        read_bytes: all writable bytes that were resident and read.
    """

    weight_leaves: int
    weight_matches: int
    explained_bytes: dict[str, int]
    zero_bytes: int
    unexplained_bytes: int
    read_bytes: int

    @property
    def share(self) -> float:
        """Share of the weights' whole leaves that match; 0 where there are none."""
        return self.weight_matches / self.weight_leaves if self.weight_leaves else 0.0

    @property
    def matched(self) -> bool:
        """Whether the declared weights were resident."""
        return self.weight_leaves > 0 and self.share >= MATCHED_SHARE

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data, with the share and the decision."""
        return asdict(self) | {"share": self.share, "matched": self.matched}


_Slot = tuple[str, int]
"""One whole leaf of a tensor: the tensor's key and the leaf's offset in it."""


def explain(table: LeafTable, candidates: Sequence[Iterable[PlacedBytes]]) -> Explanation:
    """Explains one record's leaves by the candidate states (one, or two for a freeze inside an update).

    Returns:
        The explanation; bytes of leaves only partly under a known tensor stay unexplained.
    """
    rows = _Rows(table)
    zeros = zero_digest(table.leaf_size)
    kinds: dict[int, str] = {}
    expected: set[_Slot] = set()
    owners: dict[int, _Slot] = {}
    # A forked worker holds stale copies of its parent's pages: the process that trains is the one that decides.
    found: dict[int, set[_Slot]] = {}
    for candidate in candidates:
        for key, placed in _once(candidate):
            for offset, digest, here in rows.under(placed):
                if digest == zeros:
                    continue
                slot = (key, offset)
                if placed.kind == "weights":
                    expected.add(slot)
                for row in here:
                    if rows.digest(row) != digest:
                        continue
                    kinds.setdefault(row, placed.kind)
                    if placed.kind == "weights" and owners.setdefault(row, slot) == slot:
                        found.setdefault(int(table.processes[row]), set()).add(slot)
    explained: dict[str, int] = {}
    counted = np.zeros(len(table), dtype=np.bool_)
    for row, kind in kinds.items():
        explained[kind] = explained.get(kind, 0) + int(table.lengths[row])
        counted[row] = True
    return Explanation(
        weight_leaves=len(expected),
        weight_matches=max((len(slots) for slots in found.values()), default=0),
        explained_bytes=dict(sorted(explained.items())),
        zero_bytes=int(table.lengths[table.zero].sum(dtype=np.int64)),
        unexplained_bytes=int(table.lengths[~counted & ~table.zero].sum(dtype=np.int64)),
        read_bytes=table.read_bytes,
    )


def _once(candidate: Iterable[PlacedBytes]) -> Iterator[tuple[str, PlacedBytes]]:
    """Yields each named tensor once, with a key that is the same in every candidate."""
    seen: set[str] = set()
    for index, placed in enumerate(candidate):
        key = placed.name or f"#{index}"
        if key not in seen:
            seen.add(key)
            yield key, placed


class _Rows:
    """The record's whole leaves, by address."""

    def __init__(self, table: LeafTable) -> None:
        self._table, self._size = table, table.leaf_size
        whole = np.flatnonzero(table.lengths == table.leaf_size)
        self._rows = whole[np.argsort(table.addresses[whole], kind="stable")]
        self._addresses = table.addresses[self._rows]

    def digest(self, row: int) -> bytes:
        return bytes(self._table.digests[row])

    def under(self, placed: PlacedBytes) -> Iterator[tuple[int, bytes, list[int]]]:
        """Yields (offset, digest, rows read there) of every whole leaf of the placed bytes.

        Bytes without a usable address are cut from their start on and were read nowhere.
        """
        size, address = len(placed.content), placed.address
        if address is None or address < 0 or address + size > _ADDRESSES:
            for offset in range(0, size - self._size + 1, self._size):
                yield offset, self._hash(placed.content, offset), []
            return
        offsets = range(-address % self._size, size - self._size + 1, self._size)
        wanted = np.array([address + offset for offset in offsets], dtype=np.uint64)
        first = np.searchsorted(self._addresses, wanted, side="left")
        last = np.searchsorted(self._addresses, wanted, side="right")
        for offset, low, high in zip(offsets, first.tolist(), last.tolist(), strict=True):
            yield offset, self._hash(placed.content, offset), self._rows[low:high].tolist()

    def _hash(self, content: memoryview, offset: int) -> bytes:
        return blake3(content[offset : offset + self._size]).digest()
