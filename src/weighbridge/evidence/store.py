"""The log's SQLite file: entries, tree nodes and signed batches, and nothing that decides what they mean.

Tables (all STRICT): ``meta`` origin and key; ``batch`` one row a transaction, its signatures filled in once
the entries are durable; ``entry`` the statements; ``node`` every complete node, numbered as a Merkle
mountain range so that rows are only ever appended; ``answer`` which entries the keeper has answered, and
with which.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError

__all__ = ["Batch", "Store", "node_position"]

_APPLICATION = 0x77624C47  # "wbLG", SQLite's application_id
_VERSION = 1
_BUSY_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE batch (
    size INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    root BLOB NOT NULL,
    signature BLOB,
    checkpoint BLOB
) STRICT;
CREATE TABLE entry (position INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, statement BLOB NOT NULL) STRICT;
CREATE TABLE node (position INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
CREATE TABLE answer (entry INTEGER NOT NULL, ordinal INTEGER NOT NULL, answer INTEGER,
    PRIMARY KEY (entry, ordinal)) STRICT, WITHOUT ROWID;
"""
_TABLES = [part.strip() for part in _SCHEMA.split(";") if part.strip()]


@dataclass(frozen=True)
class Batch:
    """One transaction of the log.

    Attributes:
        size: entries after it.
        first: index of its first entry; equals ``size`` in the empty batch that opens a log.
        time_us: when it was taken, Unix microseconds.
        root: root of the tree of ``size`` entries.
        signature: the receipts' signature over that root; None until signed.
        checkpoint: the signed note; None until signed.
    """

    size: int
    first: int
    time_us: int
    root: bytes
    signature: bytes | None
    checkpoint: bytes | None


def node_position(level: int, index: int) -> int:
    """Returns a node's row: nodes are numbered in the order in which a growing tree completes them."""
    last = ((index + 1) << level) - 1
    return 2 * last - last.bit_count() + level


class Store:
    """One connection to a log's file; the caller serialises its use.

    Args:
        path: the file.
        writable: open for appending; otherwise read-only.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self.writable = writable
        if not path.is_file():
            raise InputError("no such log", where=path)
        with self._sqlite():
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=64,
            )
        try:
            with self._sqlite():
                self._db.execute("PRAGMA trusted_schema=OFF")
                self._db.execute("PRAGMA cell_size_check=ON")
                if writable:
                    self._db.execute("PRAGMA synchronous=FULL")
                found = [self._db.execute(f"PRAGMA {p}").fetchone()[0] for p in ("application_id", "user_version")]
                tables = [row[0] for row in self._db.execute("SELECT sql FROM sqlite_schema WHERE sql NOTNULL")]
            # The tables are compared as text: STRICT types then hold for whatever is read.
            if found != [_APPLICATION, _VERSION] or tables != _TABLES:
                raise EvidenceError("is not a weighbridge log of a known version", where=path)
        except BaseException:
            self._db.close()
            raise

    @staticmethod
    def create(path: Path, meta: dict[str, str]) -> None:
        """Writes an empty store, closed and on the disk when this returns."""
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(
                f"PRAGMA application_id={_APPLICATION};PRAGMA user_version={_VERSION};BEGIN;{_SCHEMA}COMMIT;"
            )
            db.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
        finally:
            db.close()
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def meta(self) -> dict[str, str]:
        """Returns the log's origin and verifier key as stored; not trusted by themselves."""
        with self._sqlite():
            return dict(self._db.execute("SELECT name, value FROM meta").fetchall())

    def last_batch(self, *, sealed: bool) -> Batch | None:
        """Returns the newest batch, or the newest whose signatures are stored."""
        where = "WHERE checkpoint IS NOT NULL" if sealed else ""
        return self._batch(f"SELECT * FROM batch {where} ORDER BY size DESC LIMIT 1")  # noqa: S608

    def batch_of(self, position: int) -> Batch | None:
        """Returns the batch that an entry came with."""
        return self._batch("SELECT * FROM batch WHERE size > ? ORDER BY size LIMIT 1", position)

    def batch_at(self, size: int) -> Batch | None:
        """Returns the batch after which the log had exactly that size."""
        return self._batch("SELECT * FROM batch WHERE size = ?", size)

    def batches(self) -> Iterator[Batch]:
        """Yields all batches, oldest first."""
        size = -1
        while (batch := self._batch("SELECT * FROM batch WHERE size > ? ORDER BY size LIMIT 1", size)) is not None:
            yield batch
            size = batch.size

    def append_batch(
        self,
        batch: Batch,
        entries: Iterable[tuple[int, bytes, bytes]],
        nodes: Iterable[tuple[int, bytes]],
        answers: Iterable[tuple[int, int, int | None]],
    ) -> None:
        """Writes a batch in one transaction that is on the disk when this returns.

        Args:
            batch: the batch, without signatures; nothing but ``answers`` is written if it is empty.
            entries: position, id, statement.
            nodes: position, hash.
            answers: entry, ordinal, answering entry or None.
        """
        with self._transaction():
            if batch.size > batch.first:
                self._insert_batch(batch)
                self._db.executemany("INSERT INTO entry VALUES (?, ?, ?)", entries)
                self._db.executemany("INSERT INTO node VALUES (?, ?)", nodes)
            self._db.executemany("INSERT INTO answer VALUES (?, ?, ?)", answers)

    def open_with(self, batch: Batch) -> None:
        """Writes the empty batch with which a log begins."""
        with self._transaction():
            self._insert_batch(batch)

    def seal(self, size: int, signature: bytes, checkpoint: bytes) -> None:
        """Stores a batch's signatures; they follow from what is durable, so this waits for no disk."""
        with self._sqlite():
            self._db.execute("PRAGMA synchronous=NORMAL")
            try:
                self._db.execute(
                    "UPDATE batch SET signature = ?, checkpoint = ? WHERE size = ? AND checkpoint IS NULL",
                    (signature, checkpoint, size),
                )
            finally:
                self._db.execute("PRAGMA synchronous=FULL")

    def node(self, level: int, index: int) -> bytes:
        """Returns a stored node.

        Raises:
            EvidenceError: it is missing.
        """
        row = self._row("SELECT hash FROM node WHERE position = ?", node_position(level, index))
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != 32:
            raise EvidenceError(f"node {index} of level {level} is missing", where=self.path)
        return row[0]

    def position_of(self, digest: bytes) -> int | None:
        """Returns the place of a statement by its SHA-256."""
        row = self._row("SELECT position FROM entry WHERE id = ?", digest)
        return None if row is None else int(row[0])

    def entry(self, position: int) -> tuple[bytes, bytes] | None:
        """Returns an entry's id and statement."""
        row = self._row("SELECT id, statement FROM entry WHERE position = ?", position)
        return None if row is None else (row[0], row[1])

    def entries(self, start: int, end: int) -> list[tuple[int, bytes, bytes]]:
        """Returns position, id and statement from ``start`` up to ``end``."""
        with self._sqlite():
            return self._db.execute(
                "SELECT position, id, statement FROM entry WHERE position >= ? AND position < ? ORDER BY 1",
                (start, end),
            ).fetchall()

    def nodes(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """Returns position and hash of nodes from row ``start`` up to ``end``."""
        with self._sqlite():
            return self._db.execute(
                "SELECT position, hash FROM node WHERE position >= ? AND position < ? ORDER BY position",
                (start, end),
            ).fetchall()

    def answers(self, entry: int) -> list[int | None] | None:
        """Returns the entries that answer an entry; None if it was never answered, even with nothing."""
        with self._sqlite():
            rows = self._db.execute("SELECT answer FROM answer WHERE entry = ? ORDER BY ordinal", (entry,)).fetchall()
        return [row[0] for row in rows] or None

    def faults(self) -> list[str]:
        """Returns what SQLite's own check finds wrong with the file; nothing if it is sound."""
        with self._sqlite():
            rows = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(8)").fetchall()]
        return [] if rows == ["ok"] else rows

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Shows one state of the file for as long as this lasts, whatever a keeper appends meanwhile."""
        with self._sqlite():
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            if self._db.in_transaction:
                with self._sqlite():
                    self._db.execute("COMMIT")

    def _insert_batch(self, batch: Batch) -> None:
        self._db.execute(
            "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)",
            (batch.size, batch.first, batch.time_us, batch.root, batch.signature, batch.checkpoint),
        )

    def _batch(self, query: str, *arguments: object) -> Batch | None:
        row = self._row(query, *arguments)
        return None if row is None else Batch(*row)

    def _row(self, query: str, *arguments: object) -> tuple[Any, ...] | None:
        with self._sqlite():
            row: tuple[Any, ...] | None = self._db.execute(query, arguments).fetchone()
            return row

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._sqlite():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _sqlite(self) -> Iterator[None]:
        """Turns SQLite's errors into ours: what the machine refuses is not what the evidence lacks."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(f"the log cannot be used now: {error}", where=self.path) from error
        except sqlite3.Error as error:
            raise EvidenceError(f"the log's file is damaged: {error}", where=self.path) from error
        except OverflowError as error:
            raise InputError("a number beyond what the log can hold", where=self.path) from error
