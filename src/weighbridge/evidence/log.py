"""The transparency log: an append-only Merkle tree of statements in SQLite, with receipts and checkpoints.

What is promised, in the order in which an append keeps it:

1. Entries, tree nodes and the batch's root and time go to the disk in one transaction (WAL,
   synchronous=FULL).
2. Only then are root and time signed. They are durable first, so that after a kill the same root is signed
   again and no size ever has two.
3. The checkpoint replaces the HEAD file beside the database, on the disk.
4. The signatures are stored, and receipts handed out.

A database that is older than HEAD, or of another history, is refused. Whoever can put back both can roll a
log back unseen by it; a checkpoint kept elsewhere shows it (:meth:`Log.consistent_with`).
"""

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from weighbridge.evidence.export import ExportedLog, write_export
from weighbridge.evidence.files import replace_durably, sync_directory
from weighbridge.evidence.findings import Finding
from weighbridge.evidence.fsck import check_log
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.merkle import (
    EMPTY_ROOT,
    Tree,
    leaf_hash,
    peak_nodes,
    prove_consistency,
    prove_inclusion,
    subtree_root,
    verify_consistency,
)
from weighbridge.evidence.receipt import LogEntry, build_receipt, open_receipt, receipt_header, verify_receipt
from weighbridge.evidence.statement import signed_bytes
from weighbridge.evidence.store import Batch, Store, node_position
from weighbridge.evidence.trust import LogKey, TrustRoots

__all__ = ["ExportedLog", "Log", "LogEntry", "verify_receipt"]

_PAGE = 256  # entries fetched at once when all are read


class Log:
    """A log, open for appending (with its key) or for reading. Make one with :meth:`create` or :meth:`open`.

    One process holds the key at a time (a lock on ``PATH.lock``); any number read. Threads may share an
    instance.

    Attributes:
        path: the database.
        log_key: the log's name and public key.
    """

    def __init__(self, store: Store, signer: Signer | None, log_key: LogKey, lock: int | None) -> None:
        self.path = store.path
        self.log_key = log_key
        self._store = store
        self._signer = signer
        self._lock = lock
        self._mutex = threading.RLock()
        self._tree = Tree()
        self._sealed_size = 0

    @classmethod
    def create(cls, path: str | os.PathLike[str], signer: Signer, *, origin: str) -> Self:
        """Makes an empty log and opens it for appending.

        Args:
            path: the database; ``PATH.HEAD`` and ``PATH.lock`` are made beside it.
            signer: the log's key.
            origin: the log's name, like ``example.org/log``.

        Raises:
            InputError: something is there already, or the origin cannot be used.
        """
        target = Path(path)
        log_key = LogKey(origin, signer.public_key)
        lock = _take_lock(target)
        try:
            head = _head_path(target)
            if target.exists() or (head.exists() and verify_checkpoint(head.read_bytes(), log_key).size):
                raise InputError("a log is there already", where=target, mend="choose another path")
            draft = target.with_name(f".{target.name}.new")
            for leftover in (draft, *(draft.with_name(draft.name + end) for end in ("-wal", "-shm"))):
                leftover.unlink(missing_ok=True)
            Store.create(draft, {"origin": origin, "vkey": log_key.vkey()})
            now = time.time_ns() // 1000
            store = Store(draft, writable=True)
            try:
                signature, note = _sign_batch(signer, log_key, Batch(0, 0, now, EMPTY_ROOT, None, None))
                store.open_with(Batch(0, 0, now, EMPTY_ROOT, signature, note))
            finally:
                store.close()
            replace_durably(head, note)
            draft.replace(target)
            sync_directory(target.parent)
            return cls._opened(target, signer, log_key, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], signer: Signer | None = None, *, log_key: LogKey | None = None
    ) -> Self:
        """Opens a log and checks that its newest state is whole and no older than its HEAD.

        Args:
            path: the database.
            signer: the log's key, to append; None to read.
            log_key: the log expected; without it a reader takes the name and key that the file gives.

        Raises:
            InputError: no log there, or another process holds its key.
            EvidenceError: another log's key, a damaged, shortened or rolled-back database.
        """
        target = Path(path)
        lock = None if signer is None else _take_lock(target)
        try:
            return cls._opened(target, signer, log_key, lock)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise

    @classmethod
    def _opened(cls, path: Path, signer: Signer | None, log_key: LogKey | None, lock: int | None) -> Self:
        store = Store(path, writable=signer is not None)
        try:
            meta = store.meta()
            found = LogKey.parse(meta.get("vkey", ""), where=path)
            if meta.get("origin") != found.origin or (log_key is not None and log_key != found):
                raise EvidenceError(f"is the log {found.vkey()}, not the one expected", where=path)
            if signer is not None and signer.public_key != found.public_key:
                raise EvidenceError("this key is not the log's", where=path, field="signer")
            log = cls(store, signer, found, lock)
            log._recover()
            return log
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Closes the database and gives up the lock."""
        with self._mutex:
            self._store.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def writable(self) -> bool:
        """Whether this instance holds the log's key."""
        return self._signer is not None

    @property
    def size(self) -> int:
        """Entries that are signed for; a reader sees it grow."""
        with self._mutex:
            if self._signer is None:
                self._sealed_size = self._newest().size
            return self._sealed_size

    @property
    def root(self) -> bytes:
        """Root over :attr:`size` entries."""
        return self._newest().root

    def append(self, statements: Sequence[bytes]) -> list[LogEntry]:
        """Takes statements into the log in one transaction; they are durable when this returns.

        Args:
            statements: statements, verified by the caller. One that the log holds already keeps its entry.

        Returns:
            An entry for each statement, in order, with its receipt.

        Raises:
            InputError: opened for reading, too many or too large statements, or the disk refuses.
        """
        return self._append(statements, {})

    def append_answers(self, answers: Mapping[int, Sequence[bytes]]) -> dict[int, list[LogEntry]]:
        """Takes statements that answer entries, and notes in the same transaction that those are answered.

        Args:
            answers: statements by the entry that they answer; an empty sequence notes that it needs none.

        Returns:
            The new entries by the entry that they answer.

        Raises:
            InputError: an entry is answered already, or as :meth:`append`.
        """
        statements = [raw for given in answers.values() for raw in given]
        places: dict[int, list[int]] = {}
        start = 0
        for entry, given in answers.items():
            places[entry] = list(range(start, start + len(given)))
            start += len(given)
        entries = self._append(statements, places)
        return {entry: [entries[i] for i in numbers] for entry, numbers in places.items()}

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
        if old.size > newest.size:
            raise EvidenceError(
                f"has {newest.size} entries, fewer than the {old.size} of a checkpoint signed earlier",
                where=self.path,
                mend=f"checkpoint kept: {old_checkpoint!r}; checkpoint here: {newest.checkpoint!r}",
            )
        if self.root_at(old.size) != old.root:
            raise EvidenceError(
                f"is another history than the checkpoint of {old.size} entries signed earlier",
                where=self.path,
                mend=f"checkpoint kept: {old_checkpoint!r}; checkpoint here: {newest.checkpoint!r}",
            )
        verify_consistency(
            old.size, newest.size, old.root, newest.root, self.prove_consistency(old.size, newest.size)
        )
        return old

    def verify(self, *, roots: TrustRoots | None = None) -> list[Finding]:
        """Recomputes everything from the statements up; see :func:`weighbridge.evidence.fsck.check_log`.

        Args:
            roots: also verify each statement, and the log against the key and checkpoint kept outside.
        """
        with self._mutex:
            return check_log(self._store, self.log_key, _head_path(self.path), roots=roots)

    def export(self, directory: str | os.PathLike[str]) -> Path:
        """Writes the log as static files that :class:`ExportedLog` verifies without this database.

        Raises:
            InputError: the directory is there and not empty.
        """
        return write_export(self, Path(directory))

    def _append(self, statements: Sequence[bytes], answers: dict[int, list[int]]) -> list[LogEntry]:
        if len(statements) > LIMITS.batch_statements:
            raise InputError(f"more than {LIMITS.batch_statements} statements at once", where=self.path)
        for raw in statements:
            if not isinstance(raw, bytes) or not 0 < len(raw) <= LIMITS.statement_bytes:
                raise InputError(f"a statement is 1 to {LIMITS.statement_bytes} bytes", where=self.path)
        digests = [hashlib.sha256(raw).digest() for raw in statements]
        with self._mutex:
            signer = self._writer()
            self._seal(signer)
            for entry in answers:
                if not 0 <= entry < self._tree.size or self._store.answers(entry) is not None:
                    raise InputError(f"entry {entry} is not there or answered already", where=self.path)
            tree = self._tree.copy()
            places: dict[bytes, int] = {}
            entries: list[tuple[int, bytes, bytes]] = []
            nodes: dict[tuple[int, int], bytes] = {}
            for digest, raw in zip(digests, statements, strict=True):
                if digest in places:
                    continue
                known = self._store.position_of(digest)
                places[digest] = tree.size if known is None else known
                if known is None:
                    entries.append((tree.size, digest, raw))
                    for level, index, value in tree.append(leaf_hash(digest)):
                        nodes[level, index] = value
            if tree.size > LIMITS.tree_size:
                raise InputError("the log is full", where=self.path)
            if entries or answers:
                batch = Batch(tree.size, self._tree.size, self._now_us(), tree.root(), None, None)
                self._store.append_batch(
                    batch,
                    entries,
                    ((node_position(level, index), value) for (level, index), value in nodes.items()),
                    _answer_rows(answers, [places[digest] for digest in digests]),
                )
                self._tree = tree
                self._seal(signer)
            return self._entries_of([places[digest] for digest in digests], digests, nodes)

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
                raise EvidenceError(
                    f"entry {entry.index} does not lead to the root signed for it", where=self.path
                )
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

    def _writer(self) -> Signer:
        if self._signer is None:
            raise InputError("is open for reading only", where=self.path, mend="open it with its key")
        return self._signer

    def _now_us(self) -> int:
        """Returns the present, never before the last batch: a clock set back must not reorder the log."""
        last = self._store.last_batch(sealed=False)
        return max(time.time_ns() // 1000, 0 if last is None else last.time_us)

    def _seal(self, signer: Signer) -> None:
        """Signs the newest batch if its entries are durable and its signatures are not yet stored."""
        batch = self._store.last_batch(sealed=False)
        if batch is not None and batch.checkpoint is None:
            signature, note = _sign_batch(signer, self.log_key, batch)
            replace_durably(_head_path(self.path), note)
            self._store.seal(batch.size, signature, note)
        self._sealed_size = self._tree.size

    def _recover(self) -> None:
        """Rebuilds the tree's edge, holds it against HEAD, and signs what a kill left unsigned."""
        newest = self._store.last_batch(sealed=False)
        if newest is None:
            raise EvidenceError("has no batch, not even its first", where=self.path)
        self._tree = Tree(newest.size, [self._store.node(*place) for place in peak_nodes(newest.size)])
        if self._tree.root() != newest.root:
            raise EvidenceError(
                f"its entries have root {self._tree.root().hex()}, recorded was {newest.root.hex()}",
                where=self.path,
            )
        self._check_head(newest)
        sealed = self._newest()
        if (
            sealed.checkpoint is None
            or verify_checkpoint(sealed.checkpoint, self.log_key).root != sealed.root
        ):
            raise EvidenceError("its newest checkpoint was signed for another root", where=self.path)
        self._sealed_size = sealed.size
        if self._signer is not None:
            self._seal(self._signer)

    def _check_head(self, newest: Batch) -> None:
        path = _head_path(self.path)
        try:
            note = path.read_bytes()
        except OSError as error:
            raise EvidenceError(
                f"its HEAD is not there ({error.strerror}), so nothing shows that the database is the newest",
                where=path,
                mend="restore it together with the database",
            ) from error
        head = verify_checkpoint(note, self.log_key)
        if head.size > newest.size:
            raise EvidenceError(
                f"holds {newest.size} entries, but {head.size} were signed: an older copy was put back",
                where=self.path,
                mend=f"restore the newest database; HEAD says {note!r}",
            )
        if subtree_root(self._store.node, 0, head.size) != head.root:
            raise EvidenceError(
                f"is another history than the {head.size} entries that were signed",
                where=self.path,
                mend=f"restore the right database; HEAD says {note!r}",
            )


def _sign_batch(signer: Signer, log_key: LogKey, batch: Batch) -> tuple[bytes, bytes]:
    header = receipt_header(log_key, size=batch.size, time_us=batch.time_us)
    note = sign_checkpoint(signer, log_key, size=batch.size, root=batch.root, time=batch.time_us // 1_000_000)
    return signer.sign(signed_bytes(header, batch.root)), note


def _take_lock(path: Path) -> int:
    lock_path = path.with_name(path.name + ".lock")
    try:
        handle = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"cannot be locked: {error.strerror}", where=lock_path) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InputError(
            "another process holds this log's key", where=path, mend="stop that keeper, or hand it statements"
        ) from None
    return handle


def _head_path(path: Path) -> Path:
    return path.with_name(path.name + ".HEAD")


def _check_digest(index: int, digest: bytes, raw: bytes, path: Path) -> None:
    if hashlib.sha256(raw).digest() != digest:
        raise EvidenceError(
            f"entry {index} was logged as {digest.hex()}, its bytes are {hashlib.sha256(raw).hexdigest()}",
            where=path,
        )


def _answer_rows(
    answers: dict[int, list[int]], positions: Sequence[int]
) -> Iterator[tuple[int, int, int | None]]:
    for entry, numbers in answers.items():
        if not numbers:
            yield entry, 0, None
        for ordinal, number in enumerate(numbers):
            yield entry, ordinal, positions[number]
