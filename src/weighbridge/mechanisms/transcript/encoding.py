"""Deterministic encodings that commitments hash, and bounded reading; free of torch, for checks that need none."""

import json
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import open_regular

__all__ = ["canonical", "framed", "read_plain"]


def canonical(value: Any) -> bytes:
    """Returns deterministic JSON of plain data (sorted keys, shortest exact floats)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True).encode()


def framed(data: bytes) -> bytes:
    """Returns data after its length, so that two fields cannot run into each other."""
    return len(data).to_bytes(8, "little") + data


def read_plain(path: Path, *, limit_bytes: int) -> bytes:
    """Reads a file that somebody else handed over: a plain file of bounded size, never a link or a pipe.

    Raises:
        EvidenceError: it is something else, larger, or not readable.
    """
    try:
        with open_regular(path) as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise EvidenceError(f"cannot be read ({error.strerror})", where=path) from error
    if len(data) > limit_bytes:
        raise EvidenceError(f"is larger than {limit_bytes} bytes", where=path)
    return data
