"""Reading a log: entries and their receipts, proofs, checkpoints. Nothing read is handed out unchecked."""

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.checkpoint import Checkpoint, verify_checkpoint
from weighbridge.evidence.export import write_export
from weighbridge.evidence.findings import Finding
from weighbridge.evidence.fsck import check_log
from weighbridge.evidence.merkle import (
    prove_consistency,
    prove_inclusion,
    subtree_root,
    verify_consistency,
)
from weighbridge.evidence.receipt import LogEntry, build_receipt, open_receipt, receipt_header
from weighbridge.evidence.store import Batch, Store
from weighbridge.evidence.trust import LogKey, TrustRoots

__all__ = ["LogReader", "head_path"]

_PAGE = 256  # entries fetched at once when all are read


class LogReader:
    """What can be asked of a log; :class:`weighbridge.evidence.log.Log` opens one and appends to it.

    Attributes:
        path: the database.
        log_key: the log's name and public key.
    """

    def __init__(self, store: Store, log_key: LogKey) -> None:
        self.path = store.path
        self.log_key = log_key
        self._store = store
        self._mutex = threading.RLock()

    @property
    def size(self) -> int:
        """Entries that are signed for; a reader sees it grow."""
        return self._newest().size

    @property
    def root(self) -> bytes:
        """Root over :attr:`size` entries."""
        return self._newest().root

    def answers(self, index: int) -> list[int] | None:
        """Returns the entries that answer an entry; None if it has not been answered, even with nothing."""
        with self._mutex:
            found = self._store.answers(index)
        return None if found is None else [answer for answer in found if answer is not None]

    def entry(self, index: int) -> LogEntry:
        """Returns an entry, its inclusion proof checked on the way.

        Raises:
            InputError: no such entry.
            EvidenceError: the stored entry, nodes and root do not fit together.
        """
        return self._checked([index], [self._read(index)[0]])[0]

    def statement(self, index: int) -> bytes:
        """Returns an entry's statement as it was signed; the caller verifies it.

        Raises:
            InputError: no such entry.
            EvidenceError: the stored bytes are not those that were logged.
        """
        return self._read(index)[1]

    def entry_of(self, statement_id: str) -> LogEntry | None:
        """Returns the entry of a statement by its id, or None."""
        with self._mutex:
            try:
                position = self._store.position_of(bytes.fromhex(statement_id))
            except ValueError:
                raise InputError("a statement id is hexadecimal", where=statement_id[:80]) from None
            return None if position is None or position >= self.size else self.entry(position)

    def entries(self, start: int = 0) -> Iterator[tuple[LogEntry, bytes]]:
        """Yields entries with their statements, up to the size at the time of the call."""
        size = self.size
        for position in range(start, size, _PAGE):
            end = min(position + _PAGE, size)
            with self._mutex:
                rows = self._store.entries(position, end)
            if [row[0] for row in rows] != list(range(position, end)):
                raise EvidenceError(f"an entry from {position} on is missing", where=self.path)
            for row in rows:
                _check_digest(*row, self.path)
            found = self._checked(range(position, end), [row[1] for row in rows])
            yield from ((entry, row[2]) for entry, row in zip(found, rows, strict=True))

    def checkpoint(self) -> bytes:
        """Returns the newest signed checkpoint."""
        note = self._newest().checkpoint
        if note is None:
            raise EvidenceError("no checkpoint was signed", where=self.path)
        return note

    def root_at(self, size: int) -> bytes:
        """Returns the root that the log had at an earlier size.

        Raises:
            InputError: the log is shorter.
        """
        self._within(size)
        with self._mutex:
            return subtree_root(self._store.node, 0, size)

    def prove_inclusion(self, index: int, size: int) -> list[bytes]:
        """Returns the RFC 9162 inclusion proof of an entry in the tree of ``size`` entries."""
        self._within(size)
        with self._mutex:
            return prove_inclusion(self._store.node, index, size)

    def prove_consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Returns the RFC 9162 proof that the tree of ``new_size`` extends that of ``old_size``."""
        self._within(new_size)
        with self._mutex:
            return prove_consistency(self._store.node, old_size, new_size)

    def consistent_with(self, old_checkpoint: bytes) -> Checkpoint:
        """Checks that this log extends a checkpoint kept from it.

        Returns:
            The old checkpoint.

        Raises:
            EvidenceError: the checkpoint is not this log's, or the log is shorter or of another history; both
                checkpoints are in the sentence.
        """
        old = verify_checkpoint(old_checkpoint, self.log_key)
        newest = self._newest()
        with self._mutex:
            durable = self._store.last_batch(sealed=False) or newest
            # What a kill left unsigned is in the log all the same, and may have been signed for in HEAD.
            held = durable if old.size > newest.size else newest
            root = subtree_root(self._store.node, 0, old.size) if old.size <= held.size else None
        if root is None:
            raise EvidenceError(
                f"has {newest.size} entries, fewer than the {old.size} of a checkpoint signed earlier",
                where=self.path,
                mend=f"checkpoint kept: {old_checkpoint!r}; checkpoint here: {newest.checkpoint!r}",
            )
        if root != old.root:
            raise EvidenceError(
                f"is another history than the checkpoint of {old.size} entries signed earlier",
                where=self.path,
                mend=f"checkpoint kept: {old_checkpoint!r}; checkpoint here: {newest.checkpoint!r}",
            )
        with self._mutex:
            path = prove_consistency(self._store.node, old.size, held.size)
        verify_consistency(old.size, held.size, old.root, held.root, path)
        return old

    def verify(self, *, roots: TrustRoots | None = None) -> list[Finding]:
        """Recomputes everything from the statements up; see :func:`weighbridge.evidence.fsck.check_log`.

        Args:
            roots: also verify each statement, and the log against the key and checkpoint kept outside.
        """
        with self._mutex:
            return check_log(self._store, self.log_key, head_path(self.path), roots=roots)

    def export(self, directory: str | os.PathLike[str]) -> Path:
        """Writes the log as static files that :class:`ExportedLog` verifies without this database.

        Raises:
            InputError: the directory is there and not empty.
        """
        return write_export(self, Path(directory))

    def _entries_of(
        self, positions: Sequence[int], digests: Sequence[bytes], nodes: dict[tuple[int, int], bytes]
    ) -> list[LogEntry]:
        """Builds receipts for what was just appended, taking nodes from memory where they are there."""

        def node(level: int, index: int) -> bytes:
            value = nodes.get((level, index))
            if value is None:
                value = nodes[level, index] = self._store.node(level, index)
            return value

        batch: Batch | None = None
        header = signature = b""
        edges: dict[int, bytes] = {}
        found = []
        for position, digest in zip(positions, digests, strict=True):
            if batch is None or not batch.first <= position < batch.size:
                batch, signature = self._batch_of(position)
                header = receipt_header(self.log_key, size=batch.size, time_us=batch.time_us)
                edges = {}
            path = prove_inclusion(node, position, batch.size, known=edges)
            receipt = build_receipt(header, signature, index=position, size=batch.size, path=path)
            found.append(
                LogEntry(
                    index=position,
                    statement_id=digest.hex(),
                    integrated_at=batch.time_us / 1_000_000,
                    receipt=receipt,
                )
            )
        return found

    def _checked(self, positions: Sequence[int], digests: Sequence[bytes]) -> list[LogEntry]:
        """Builds entries from the file and opens each receipt: a node changed on the disk proves nothing."""
        with self._mutex:
            found = self._entries_of(positions, digests, {})
        batch: Batch | None = None
        for entry, digest in zip(found, digests, strict=True):
            if batch is None or not batch.first <= entry.index < batch.size:
                with self._mutex:
                    batch, _ = self._batch_of(entry.index)
            if open_receipt(digest, entry.receipt, self.log_key).receipt.root != batch.root:
                raise EvidenceError(f"entry {entry.index} does not lead to the root signed for it", where=self.path)
        return found

    def _read(self, index: int) -> tuple[bytes, bytes]:
        with self._mutex:
            found = self._store.entry(index) if 0 <= index < self.size else None
        if found is None:
            raise InputError(f"has no entry {index}, only 0 to {self.size - 1}", where=self.path)
        _check_digest(index, *found, self.path)
        return found

    def _batch_of(self, position: int) -> tuple[Batch, bytes]:
        batch = self._store.batch_of(position)
        if batch is None or batch.signature is None:
            raise EvidenceError(f"entry {position} belongs to no signed batch", where=self.path)
        return batch, batch.signature

    def _newest(self) -> Batch:
        with self._mutex:
            batch = self._store.last_batch(sealed=True)
        if batch is None:
            raise EvidenceError("has no signed batch, not even its first", where=self.path)
        return batch

    def _within(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise InputError(f"has {self.size} entries, not {size}", where=self.path, field="size")


def head_path(path: Path) -> Path:
    """Returns where a log's HEAD lies: its newest checkpoint, against which an older database shows."""
    return path.with_name(path.name + ".HEAD")


def _check_digest(index: int, digest: bytes, raw: bytes, path: Path) -> None:
    if hashlib.sha256(raw).digest() != digest:
        raise EvidenceError(
            f"entry {index} was logged as {digest.hex()}, its bytes are {hashlib.sha256(raw).hexdigest()}",
            where=path,
        )
