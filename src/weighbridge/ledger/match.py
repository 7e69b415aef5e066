"""Explains a snapshot's bytes by class: hash equality alone decides, never a map, a name or an entropy.

The verifier lays replayed tensors and committed data at the addresses that the transcript names, cuts them into the
leaves of the record, hashes, and compares (protocol sections 3 and 4.4). What the operator says about addresses
steers only where to look: bytes that hash equal at any address are resident.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from weighbridge.mechanisms.chip.leaves import LeafTable

__all__ = ["MATCHED_SHARE", "Explanation", "PlacedBytes", "explain"]

MATCHED_SHARE = 0.9
"""Least share of the whole leaves under the weights that must match (protocol section 4.2; an update is up to 8 %)."""


@dataclass(frozen=True)
class PlacedBytes:
    """Bytes that the verifier knows, where they should lie: class ``weights``, ``optimizer``, ``data``, ..."""

    kind: str
    address: int
    content: memoryview


@dataclass(frozen=True)
class Explanation:
    """What one record's bytes are.

    Attributes:
        weight_leaves: whole leaves under the weights that the record read.
        weight_matches: those equal to one of the candidate states.
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
        """Share of whole leaves under the weights that match; 0 where there are none."""
        return self.weight_matches / self.weight_leaves if self.weight_leaves else 0.0

    @property
    def matched(self) -> bool:
        """Whether the declared weights were resident."""
        return self.weight_leaves > 0 and self.share >= MATCHED_SHARE

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data, with the share and the decision."""
        return asdict(self) | {"share": self.share, "matched": self.matched}


def explain(table: LeafTable, candidates: Sequence[Iterable[PlacedBytes]]) -> Explanation:
    """Explains one record's leaves by the candidate states (one, or two for a freeze inside an update).

    Returns:
        The explanation; bytes of leaves only partly under a known tensor stay unexplained.
    """
    order = np.argsort(table.addresses, kind="stable")
    addresses, lengths = table.addresses[order], table.lengths[order]
    kinds: dict[int, str] = {}
    under_weights: set[int] = set()
    matched_weights: set[int] = set()
    processes = table.processes
    for candidate in candidates:
        for placed in candidate:
            for leaf, digest in _leaves_inside(placed, addresses, lengths, table.leaf_size):
                row = int(order[leaf])
                if placed.kind == "weights":
                    under_weights.add(row)
                if table.digests[row].tobytes() == digest:
                    kinds.setdefault(row, placed.kind)
                    if placed.kind == "weights":
                        matched_weights.add(row)
    explained: dict[str, int] = {}
    counted = np.zeros(len(table), dtype=np.bool_)
    for row, kind in kinds.items():
        explained[kind] = explained.get(kind, 0) + int(table.lengths[row])
        counted[row] = True
    zero = table.zero & ~counted
    zero_bytes = int(table.lengths[zero].sum(dtype=np.int64))
    rest = int(table.lengths[~counted & ~table.zero].sum(dtype=np.int64))
    # A forked worker holds stale copies of its parent's pages: the process that trains is the one that decides.
    by_process = {
        int(process): (
            sum(1 for row in matched_weights if processes[row] == process),
            sum(1 for row in under_weights if processes[row] == process),
        )
        for process in {int(processes[row]) for row in under_weights}
    }
    matches, leaves = max(by_process.values(), default=(0, 0))
    return Explanation(
        weight_leaves=leaves,
        weight_matches=matches,
        explained_bytes=dict(sorted(explained.items())),
        zero_bytes=zero_bytes,
        unexplained_bytes=rest,
        read_bytes=table.read_bytes,
    )


def _leaves_inside(
    placed: PlacedBytes, addresses: NDArray[np.uint64], lengths: NDArray[np.uint32], leaf_size: int
) -> Iterable[tuple[int, bytes]]:
    """Yields (position among the sorted leaves, digest of the placed bytes there) of leaves wholly inside."""
    size = len(placed.content)
    if placed.address < 0 or placed.address + size >= 1 << 64:
        return
    first = int(np.searchsorted(addresses, np.uint64(placed.address), side="left"))
    last = int(np.searchsorted(addresses, np.uint64(placed.address + size), side="left"))
    for leaf in range(first, last):
        start = int(addresses[leaf]) - placed.address
        length = int(lengths[leaf])
        if length == leaf_size and start + length <= size:
            yield leaf, blake3(placed.content[start : start + length]).digest()
