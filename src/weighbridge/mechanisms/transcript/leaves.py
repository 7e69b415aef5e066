"""Leaves: the digests of single tensors and plain values of which each committed state digest was made.

They let a verifier tell at a committed digest *which* tensor differs, though no anchor was written there. They are not
salted, so they stay in the operator's folder and are opened with it. Nothing here needs torch.

A segment's file ``leaves-0000.bin`` is a sequence of records, each its length (eight bytes, little-endian) and then its
content, whose first byte says what it is:

- ``n``: a JSON array of names, sorted, in force for what follows; written again only where names change.
- ``d``: the step (eight bytes, little-endian), then 32 bytes for each name in force, in their order.

A record is believed only if it gives the digest that the journal committed to; a torn last record is left out.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import open_regular
from weighbridge.mechanisms.transcript.encoding import digest_leaves, framed

if TYPE_CHECKING:
    from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["LeafFile", "leaves_at", "read_leaves"]

_DIGEST_BYTES = 32
_RECORD_LIMIT_BYTES = 256 << 20
"""Room for two million names of a hundred letters; a longer record is refused unread."""


class LeafFile:
    """Appends the leaves of one segment's digests; each record reaches the kernel before :meth:`append` returns.

    Attributes:
        written_bytes: bytes written so far.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._names: list[str] = []
        self.written_bytes = 0

    def append(self, step: int, leaves: Mapping[str, bytes]) -> None:
        """Appends the leaves of the state at ``step``.

        Raises:
            OSError: the disk refuses it.
        """
        names = sorted(leaves)
        records = b""
        if names != self._names:
            records = framed(b"n" + json.dumps(names).encode())
        records += framed(b"d" + step.to_bytes(8, "little") + b"".join(leaves[name] for name in names))
        left = memoryview(records)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._names = names
        self.written_bytes += len(records)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


def leaves_at(transcript: "Transcript", step: int) -> Mapping[str, bytes]:
    """Returns the digest of each tensor and plain value, by name, of which the committed digest at ``step`` was made.

    Compare them with :meth:`.state.TrainingState.leaves` of a replayed state.

    Raises:
        EvidenceError: no digest was committed at ``step``, or no leaves of the folder give it.
    """
    committed = transcript.digests.get(step)
    if committed is None:
        raise EvidenceError(f"commits to no state at step {step}", where=transcript.folder, field="journal")
    salt = transcript.salt(step)
    for segment in reversed(transcript.segments):
        path = leaf_path(segment.path)
        if os.path.lexists(path):
            for found, leaves in read_leaves(path, only=step):
                if found == step and digest_leaves(leaves, salt).hex() == committed:
                    return leaves
    raise EvidenceError(
        f"holds no leaves that give the digest committed at step {step}",
        where=transcript.folder,
        mend="ask the operator for the leaves-*.bin files, which are written beside the journal",
    )


def leaf_path(journal: Path) -> Path:
    """Returns the file of leaves that belongs to a segment's journal."""
    return journal.with_name(journal.name.replace("journal-", "leaves-")).with_suffix(".bin")


def read_leaves(path: Path, *, only: int | None = None) -> Iterator[tuple[int, Mapping[str, bytes]]]:
    """Yields step and leaves of each record, or of those of one step; a torn last record is left out.

    Raises:
        EvidenceError: the file cannot be read, or a record is malformed.
    """
    names: list[str] = []
    try:
        with open_regular(path) as file:
            while (record := _record(file, path)) is not None:
                if record[:1] == b"n":
                    names = _names(record[1:], path)
                elif record[:1] == b"d" and len(record) == 9 + _DIGEST_BYTES * len(names):
                    step = int.from_bytes(record[1:9], "little")
                    if only is None or step == only:
                        digests = (record[at : at + _DIGEST_BYTES] for at in range(9, len(record), _DIGEST_BYTES))
                        yield step, dict(zip(names, digests, strict=True))
                else:
                    raise EvidenceError("has a record of another kind or length", where=path)
    except OSError as error:
        raise EvidenceError(f"cannot be read ({error.strerror})", where=path) from error


def _record(file: BinaryIO, path: Path) -> bytes | None:
    head = file.read(8)
    if len(head) < 8:
        return None
    length = int.from_bytes(head, "little")
    if not 1 <= length <= _RECORD_LIMIT_BYTES:
        raise EvidenceError(f"has a record of {length} bytes", where=path)
    record = file.read(length)
    return record if len(record) == length else None


def _names(text: bytes, path: Path) -> list[str]:
    try:
        names = json.loads(text)
        str(names).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"has names that are not JSON ({error})", where=path) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise EvidenceError("has names that are no list of text", where=path)
    if names != sorted(set(names)):
        raise EvidenceError("has names that are not in order, or twice", where=path)
    return names
