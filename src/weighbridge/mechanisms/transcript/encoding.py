"""Deterministic encodings that commitments hash; free of torch, for checks that need none."""

import json
from typing import Any

__all__ = ["canonical", "framed"]


def canonical(value: Any) -> bytes:
    """Returns deterministic JSON of plain data (sorted keys, shortest exact floats)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True).encode()


def framed(data: bytes) -> bytes:
    """Returns data after its length, so that two fields cannot run into each other."""
    return len(data).to_bytes(8, "little") + data
