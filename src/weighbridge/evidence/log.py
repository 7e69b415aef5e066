"""The transparency log: an append-only Merkle tree of statements in SQLite, with receipts and checkpoints.

What is promised, in the order in which an append keeps it:

1. Entries, tree nodes and the batch's root and time go to the disk in one transaction (WAL,
   synchronous=FULL).
2. Only then are root and time signed. They are durable first, so that after a kill the same root is signed
   again and no size ever has two.
3. The signatures are stored; lost in a power cut, they are made again.
4. The checkpoint replaces the HEAD file beside the database, on the disk. Then receipts are handed out.

A database that is older than HEAD, or of another history, is refused. Whoever can put back both can roll a
log back unseen by it; a checkpoint kept elsewhere shows it (:meth:`Log.consistent_with`).
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from weighbridge.evidence.export import ExportedLog
from weighbridge.evidence.files import remove_leftovers, replace_durably, sync_directory
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.logreader import LogReader, head_path
from weighbridge.evidence.merkle import EMPTY_ROOT, Tree, leaf_hash, peak_nodes, subtree_root
from weighbridge.evidence.receipt import LogEntry, receipt_header, verify_receipt
from weighbridge.evidence.statement import signed_bytes
from weighbridge.evidence.store import Batch, Store, node_position
from weighbridge.evidence.trust import LogKey

__all__ = ["ExportedLog", "Log", "LogEntry", "verify_receipt"]


class Log(LogReader):
    """A log, open for appending (with its key) or for reading. Make one with :meth:`create` or :meth:`open`.

    One process holds the key at a time (a lock on ``PATH.lock``); any number read. Threads may share an
    instance.

    Attributes:
        path: the database.
        log_key: the log's name and public key.
    """

    def __init__(self, store: Store, signer: Signer | None, log_key: LogKey, lock: int | None) -> None:
        super().__init__(store, log_key)
        self._signer = signer
        self._lock = lock
        self._tree = Tree()
        self._head_size = 0

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
            head = head_path(target)
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
    def open(cls, path: str | os.PathLike[str], signer: Signer | None = None, *, log_key: LogKey | None = None) -> Self:
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

    def _writer(self) -> Signer:
        if self._signer is None:
            raise InputError("is open for reading only", where=self.path, mend="open it with its key")
        return self._signer

    def _now_us(self) -> int:
        """Returns the present, never before the last batch: a clock set back must not reorder the log."""
        last = self._store.last_batch(sealed=False)
        return max(time.time_ns() // 1000, 0 if last is None else last.time_us)

    def _seal(self, signer: Signer) -> None:
        """Signs the newest batch, whose entries are durable, where that is not done, and moves HEAD on to it."""
        batch = self._store.last_batch(sealed=False)
        if batch is None or batch.size != self._tree.size:
            raise EvidenceError("changed under its keeper", where=self.path, mend="open it again")
        note = batch.checkpoint
        if note is None:
            signature, note = _sign_batch(signer, self.log_key, batch)
            self._store.seal(batch.size, signature, note)
        if batch.size > self._head_size:
            replace_durably(head_path(self.path), note)
            self._head_size = batch.size

    def _recover(self) -> None:
        """Rebuilds the tree's edge, holds it against HEAD, and signs what a kill left unsigned."""
        # HEAD before the database: a keeper at work may move both on, and the database is never behind.
        head = self._read_head()
        newest = self._store.last_batch(sealed=False)
        if newest is None:
            raise EvidenceError("has no batch, not even its first", where=self.path)
        if head.size > newest.size:
            raise EvidenceError(
                f"holds {newest.size} entries, but {head.size} were signed: an older copy was put back",
                where=self.path,
                mend=f"restore the newest database; HEAD says {head.raw!r}",
            )
        self._tree = Tree(newest.size, [self._store.node(*place) for place in peak_nodes(newest.size)])
        if self._tree.root() != newest.root:
            raise EvidenceError(
                f"its entries have root {self._tree.root().hex()}, recorded was {newest.root.hex()}",
                where=self.path,
            )
        if subtree_root(self._store.node, 0, head.size) != head.root:
            raise EvidenceError(
                f"is another history than the {head.size} entries that were signed",
                where=self.path,
                mend=f"restore the right database; HEAD says {head.raw!r}",
            )
        sealed = self._newest()
        if verify_checkpoint(sealed.checkpoint or b"", self.log_key).root != sealed.root:
            raise EvidenceError("its newest checkpoint was signed for another root", where=self.path)
        self._head_size = head.size
        if self._signer is not None:
            remove_leftovers(self.path.parent, of=f"{head_path(self.path).name}.")
            self._seal(self._signer)

    def _read_head(self) -> Checkpoint:
        path = head_path(self.path)
        try:
            note = path.read_bytes()
        except OSError as error:
            raise EvidenceError(
                f"is not there ({error.strerror}), so nothing shows that the database is the newest",
                where=path,
                mend="restore it together with the database",
            ) from error
        return verify_checkpoint(note, self.log_key)


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


def _answer_rows(answers: dict[int, list[int]], positions: Sequence[int]) -> Iterator[tuple[int, int, int | None]]:
    for entry, numbers in answers.items():
        if not numbers:
            yield entry, 0, None
        for ordinal, number in enumerate(numbers):
            yield entry, ordinal, positions[number]
