"""The Merkle tree of RFC 9162 section 2.1 over SHA-256: roots, proofs, and a tree that grows.

A *node* is the root of a perfect subtree, named by level and index: level 0 holds the leaf hashes, and node
(L, i) covers the entries i*2^L up to (i+1)*2^L. A node never changes once complete, so a proof takes O(log n)
of them and no rebuilding.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.limits import LIMITS

__all__ = [
    "EMPTY_ROOT",
    "NodeSource",
    "Tree",
    "leaf_hash",
    "node_hash",
    "prove_consistency",
    "prove_inclusion",
    "root",
    "root_from_inclusion",
    "subtree_root",
    "verify_consistency",
    "verify_inclusion",
]

NodeSource = Callable[[int, int], bytes]
"""Returns the hash of node (level, index)."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of a tree without entries (RFC 9162 section 2.1.1)."""


def leaf_hash(entry: bytes) -> bytes:
    """Returns HASH(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns HASH(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes: Iterable[bytes]) -> bytes:
    """Returns the root over leaf hashes, in order."""
    level = list(hashes)
    if not level:
        return EMPTY_ROOT
    sha256 = hashlib.sha256
    while len(level) > 1:
        # A last node without a partner moves up as it is: the split at a power of two gives the same tree.
        odd = level[-1:] if len(level) & 1 else []
        level = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


class Tree:
    """A growing tree that keeps only its peaks, the perfect subtrees from left to right: O(log n) memory.

    Args:
        size: entries so far.
        peaks: hashes of the perfect subtrees, largest first, one for each bit set in ``size``.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count():
            raise InputError(f"a tree of {size} has {size.bit_count()} peaks, not {len(peaks)}", field="peaks")
        self.size = size
        self._peaks = list(peaks)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Adds a leaf hash.

        Returns:
            The nodes that it completed as (level, index, hash), the leaf itself first.
        """
        index, current = self.size, leaf
        completed = [(0, index, current)]
        while index & 1:
            current = node_hash(self._peaks.pop(), current)
            index >>= 1
            completed.append((len(completed), index, current))
        self._peaks.append(current)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Returns the root of everything appended."""
        if not self._peaks:
            return EMPTY_ROOT
        current = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            current = node_hash(peak, current)
        return current

    def copy(self) -> "Tree":
        """Returns an independent tree of the same entries."""
        return Tree(self.size, self._peaks)


def peak_nodes(size: int) -> list[tuple[int, int]]:
    """Returns (level, index) of a tree's peaks, largest first."""
    found, start = [], 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            found.append((level, start >> level))
            start += 1 << level
    return found


def subtree_root(node: NodeSource, start: int, end: int) -> bytes:
    """Returns MTH(D[start:end]) for a range that RFC 9162's recursion can reach, from O(log n) nodes."""
    size = end - start
    if size == 0:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        return node(size.bit_length() - 1, start // size)
    split = 1 << ((size - 1).bit_length() - 1)
    return node_hash(subtree_root(node, start, start + split), subtree_root(node, start + split, end))


def prove_inclusion(node: NodeSource, index: int, size: int, *, known: dict[int, bytes] | None = None) -> list[bytes]:
    """Returns PATH(index, D[0:size]) of RFC 9162 section 2.1.3.1, leaf's sibling first.

    Args:
        node: the nodes of a tree of at least ``size`` entries.
        index: the entry.
        size: the tree to prove it in.
        known: for several proofs in one tree, the roots of its right edges by their start; filled in here.

    Raises:
        InputError: the entry is not in a tree of that size.
    """
    if not 0 <= index < size:
        raise InputError(f"entry {index} is not in a tree of {size}", field="index")
    path, start, end = [], 0, size
    while end - start > 1:
        split = start + (1 << ((end - start - 1).bit_length() - 1))
        if index < split:
            edge = known.get(split) if known is not None and end == size else None
            if edge is None:
                edge = subtree_root(node, split, end)
                if known is not None and end == size:
                    known[split] = edge
            path.append(edge)
            end = split
        else:
            path.append(subtree_root(node, start, split))
            start = split
    path.reverse()
    return path


def prove_consistency(node: NodeSource, old_size: int, new_size: int) -> list[bytes]:
    """Returns PROOF(old_size, D[0:new_size]) of RFC 9162 section 2.1.4.1; empty for size 0 or equal sizes.

    Raises:
        InputError: the old tree is the larger one.
    """
    if not 0 <= old_size <= new_size:
        raise InputError(f"a tree of {old_size} does not precede one of {new_size}", field="old_size")
    if old_size == 0:
        return []
    path, start, end, whole = [], 0, new_size, True
    while old_size != end:
        split = start + (1 << ((end - start - 1).bit_length() - 1))
        if old_size <= split:
            path.append(subtree_root(node, split, end))
            end = split
        else:
            path.append(subtree_root(node, start, split))
            start, whole = split, False
    if not whole:
        path.append(subtree_root(node, start, end))
    path.reverse()
    return path


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Folds a leaf hash up its path (RFC 9162 section 2.1.3.2).

    Returns:
        The root that the proof leads to; whether anybody signed it is another question.

    Raises:
        EvidenceError: the path cannot belong to that entry and size.
    """
    _check_hashes([leaf, *path], "inclusion proof")
    if not 0 <= index < size <= LIMITS.tree_size:
        raise EvidenceError(f"entry {index} is not in a tree of {size}", where="inclusion proof")
    position, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise EvidenceError("the path is too long", where="inclusion proof")
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            current = node_hash(current, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise EvidenceError("the path is too short", where="inclusion proof")
    return current


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> None:
    """Checks that the path leads from a leaf hash to a root.

    Raises:
        EvidenceError: it does not; both roots are named.
    """
    found = root_from_inclusion(leaf, index, size, path)
    if found != expected:
        raise EvidenceError(
            f"entry {index} of {size} leads to root {found.hex()}, expected {expected.hex()}",
            where="inclusion proof",
        )


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Checks that a tree extends an older one (RFC 9162 section 2.1.4.2).

    Raises:
        EvidenceError: it does not, or the proof is malformed; sizes and roots are named.
    """
    _check_hashes([old_root, new_root, *path], "consistency proof")
    if not 0 <= old_size <= new_size <= LIMITS.tree_size:
        raise EvidenceError(f"sizes {old_size} and {new_size} are not in order", where="consistency proof")
    forked = EvidenceError(
        f"the tree of {new_size} (root {new_root.hex()}) does not extend the tree of {old_size} "
        f"(root {old_root.hex()})",
        where="consistency proof",
    )
    if old_size in (0, new_size):
        if path or old_root != (new_root if old_size else EMPTY_ROOT):
            raise forked
        if new_size == 0 and new_root != EMPTY_ROOT:
            raise forked
        return
    steps = list(path)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        raise forked
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old, new = steps[0], steps[0]
    for step in steps[1:]:
        if last == 0:
            raise forked
        if position & 1 or position == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, step)
        position >>= 1
        last >>= 1
    if last or old != old_root or new != new_root:
        raise forked


def _check_hashes(hashes: Iterable[object], where: str) -> None:
    count = 0
    for value in hashes:
        count += 1
        if not isinstance(value, bytes) or len(value) != 32:
            raise EvidenceError("a hash is 32 bytes", where=where)
    if count > LIMITS.tree_size.bit_length() + 3:
        raise EvidenceError("more hashes than any tree needs", where=where)
