"""Deterministic encodings that commitments hash; free of torch, for checks that need none."""

import json
from collections.abc import Mapping
from typing import Any

from blake3 import blake3

__all__ = ["canonical", "digest_leaves", "digest_plain", "framed"]


def canonical(value: Any) -> bytes:
    """Returns deterministic JSON of plain data (sorted keys, shortest exact floats)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True).encode()


def framed(data: bytes) -> bytes:
    """Returns data after its length, so that two fields cannot run into each other."""
    return len(data).to_bytes(8, "little") + data


def digest_plain(value: Any) -> bytes:
    """Returns the digest of one plain value of a state (32 bytes), unsalted: its leaf in the state's digest."""
    return blake3(b"weighbridge/plain/1" + canonical(value)).digest()


def digest_leaves(leaves: Mapping[str, bytes], salt: bytes) -> bytes:
    """Returns a state's salted digest from the digests of its parts by name (32 bytes each); ``salt`` is 32 bytes."""
    whole = blake3(b"weighbridge/state/2", key=salt)
    for name in sorted(leaves):
        whole.update(framed(name.encode()))
        whole.update(leaves[name])
    return whole.digest()
