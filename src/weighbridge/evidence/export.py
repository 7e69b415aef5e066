"""A log as static files, and the reader that believes none of them until all fit the log's signed checkpoint.

======================= =====================================================================
checkpoint              the newest signed checkpoint (C2SP tlog-checkpoint)
tile/L/N                hashes, 256 a tile (C2SP tlog-tiles); partial ones in ``N.p/WIDTH``
tile/entries/N          entry bundles: 16-bit length and entry; an entry is a statement's SHA-256
statements.cborseq      the statements in order, each in a CBOR byte string (RFC 8742)
receipts.cborseq        their receipts, likewise
======================= =====================================================================
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import cbor2

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.checkpoint import Checkpoint, verify_checkpoint
from weighbridge.evidence.files import open_regular, sync_directory
from weighbridge.evidence.keys import signature_holds
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.merkle import Tree, leaf_hash, subtree_root
from weighbridge.evidence.receipt import LogEntry, open_receipt
from weighbridge.evidence.trust import LogKey

if TYPE_CHECKING:
    from weighbridge.evidence.logreader import LogReader

__all__ = ["ExportedLog", "write_export"]

STATEMENTS, RECEIPTS, CHECKPOINT = "statements.cborseq", "receipts.cborseq", "checkpoint"
TILE = 256
_ENTRY = b"\x00\x20"  # length of a SHA-256 digest, 16 bits


def write_export(log: "LogReader", directory: Path) -> Path:
    """Writes a log's export in one step: the directory appears whole or not at all.

    Raises:
        InputError: the directory is there and not empty.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError("is there already and not empty", where=directory, mend="choose another directory")
    draft = directory.with_name(f".{directory.name}.new")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    checkpoint = verify_checkpoint(log.checkpoint(), log.log_key)
    nodes: dict[tuple[int, int], bytes] = {}
    tree = Tree()
    digests: list[bytes] = []
    with (draft / STATEMENTS).open("wb") as statements, (draft / RECEIPTS).open("wb") as receipts:
        for entry, raw in log.entries():
            if entry.index >= checkpoint.size:
                break
            statements.write(cbor2.dumps(raw))
            receipts.write(cbor2.dumps(entry.receipt))
            digests.append(bytes.fromhex(entry.statement_id))
            for level, index, value in tree.append(leaf_hash(digests[-1])):
                if level % 8 == 0:
                    nodes[level, index] = value
    if tree.root() != checkpoint.root:
        raise EvidenceError(f"its entries have root {tree.root().hex()}, signed was {checkpoint.root.hex()}")
    for name, content in _tiles(digests, nodes):
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).write_bytes(content)
    (draft / CHECKPOINT).write_bytes(checkpoint.raw)
    draft.replace(directory)
    sync_directory(directory.parent)
    return directory


@dataclass(frozen=True)
class _Place:
    """Where an entry's statement and receipt lie in the two files."""

    statement: tuple[int, int]
    receipt: tuple[int, int]


class ExportedLog:
    """An exported log that has been verified completely. Make one with :meth:`open`.

    Attributes:
        directory: the files.
        checkpoint: the verified checkpoint.
    """

    def __init__(self, directory: Path, checkpoint: Checkpoint, log_key: LogKey) -> None:
        self.directory = directory
        self.checkpoint = checkpoint
        self._log_key = log_key
        self._digests: list[bytes] = []
        self._places: list[_Place] = []
        self._index: dict[bytes, int] = {}
        self._nodes: dict[tuple[int, int], bytes] = {}

    @classmethod
    def open(cls, directory: str | os.PathLike[str], log_key: LogKey) -> Self:
        """Reads an export and verifies all of it.

        1. The checkpoint is the log's.
        2. Each statement's digest makes the tree that it signed.
        3. Each tile and entry bundle is what those digests give, and there is no other file.
        4. Each receipt proves its statement's place in a tree that this one extends, signed by the log.
        5. Times never run backwards and none is later than the checkpoint's.

        Statements' own signatures are the caller's: ``verify_statement``.

        Raises:
            InputError: no such directory.
            EvidenceError: naming the file and what does not hold.
        """
        folder = Path(directory)
        if not folder.is_dir():
            raise InputError("no such exported log", where=folder)
        checkpoint = verify_checkpoint(_read(folder / CHECKPOINT, LIMITS.checkpoint_bytes), log_key)
        log = cls(folder, checkpoint, log_key)
        log._read_statements()
        log._check_files()
        log._check_receipts()
        return log

    @property
    def size(self) -> int:
        """Entries."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """Root over all entries."""
        return self.checkpoint.root

    @property
    def log_key(self) -> LogKey:
        """The log's name and key."""
        return self._log_key

    def entries(self, start: int = 0) -> Iterator[tuple[LogEntry, bytes]]:
        """Yields entries with their statements, read and compared again."""
        with _open(self.directory / STATEMENTS) as statements, _open(self.directory / RECEIPTS) as receipts:
            for index in range(start, self.size):
                yield self._entry(index, receipts), self._statement(index, statements)

    def entry(self, index: int) -> LogEntry:
        """Returns an entry.

        Raises:
            InputError: no such entry.
        """
        self._within(index)
        with _open(self.directory / RECEIPTS) as receipts:
            return self._entry(index, receipts)

    def statement(self, index: int) -> bytes:
        """Returns an entry's statement.

        Raises:
            InputError: no such entry.
        """
        self._within(index)
        with _open(self.directory / STATEMENTS) as statements:
            return self._statement(index, statements)

    def entry_of(self, statement_id: str) -> LogEntry | None:
        """Returns the entry of a statement by its id, or None."""
        try:
            index = self._index.get(bytes.fromhex(statement_id))
        except ValueError:
            raise InputError("a statement id is hexadecimal", where=statement_id[:80]) from None
        return None if index is None else self.entry(index)

    def root_at(self, size: int) -> bytes:
        """Returns the root that the log had at an earlier size."""
        if not 0 <= size <= self.size:
            raise InputError(f"has {self.size} entries, not {size}", where=self.directory, field="size")
        return subtree_root(self._node, 0, size)

    def consistent_with(self, old_checkpoint: bytes) -> Checkpoint:
        """Checks that this log extends a checkpoint kept from it.

        Returns:
            The old checkpoint.

        Raises:
            EvidenceError: the checkpoint is not this log's, or the log is shorter or of another history; both
                checkpoints are in the sentence.
        """
        old = verify_checkpoint(old_checkpoint, self._log_key)
        if old.size <= self.size and self.root_at(old.size) == old.root:
            return old
        what = "is another history than" if old.size <= self.size else f"has {self.size} entries, fewer than"
        raise EvidenceError(
            f"{what} the checkpoint of {old.size} entries signed earlier",
            where=self.directory,
            mend=f"checkpoint kept: {old_checkpoint!r}; checkpoint here: {self.checkpoint.raw!r}",
        )

    def _read_statements(self) -> None:
        tree = Tree()
        path = self.directory / STATEMENTS
        with _open(path) as file:
            for index in range(self.size):
                start, raw = _next(file, LIMITS.statement_bytes, path, index)
                digest = hashlib.sha256(raw).digest()
                if digest in self._index:
                    raise EvidenceError(f"holds statement {digest.hex()} twice", where=path)
                self._digests.append(digest)
                self._index[digest] = index
                self._places.append(_Place((start, len(raw)), (0, 0)))
                for level, number, value in tree.append(leaf_hash(digest)):
                    self._nodes[level, number] = value
            _end(file, path)
        if tree.root() != self.root:
            raise EvidenceError(
                f"the {self.size} statements have root {tree.root().hex()}, signed was {self.root.hex()}",
                where=path,
            )

    def _check_files(self) -> None:
        expected = {CHECKPOINT, STATEMENTS, RECEIPTS}
        for name, content in _tiles(self._digests, self._nodes):
            expected.add(name)
            if _read(self.directory / name, len(content)) != content:
                raise EvidenceError("is not what the statements give", where=self.directory / name)
        for folder, _, names in os.walk(self.directory):
            for name in names:
                path = Path(folder, name)
                if path.relative_to(self.directory).as_posix() not in expected:
                    raise EvidenceError("does not belong to the log", where=path)

    def _check_receipts(self) -> None:
        path = self.directory / RECEIPTS
        roots: dict[int, bytes] = {}
        held: set[tuple[bytes, bytes]] = set()
        last = 0.0
        with _open(path) as file:
            for index, digest in enumerate(self._digests):
                start, raw = _next(file, LIMITS.receipt_bytes, path, index)
                opened = open_receipt(digest, raw, self._log_key)
                receipt = opened.receipt
                if receipt.index != index or receipt.tree_size > self.size:
                    raise EvidenceError(f"receipt {index} is for entry {receipt.index}", where=path)
                if receipt.tree_size not in roots:
                    roots[receipt.tree_size] = subtree_root(self._node, 0, receipt.tree_size)
                if receipt.root != roots[receipt.tree_size]:
                    raise EvidenceError(f"receipt {index} is of another history", where=path)
                if (opened.signed, opened.signature) not in held:
                    if not signature_holds(self._log_key.public_key, opened.signature, opened.signed):
                        raise EvidenceError(f"receipt {index} is not signed by the log", where=path)
                    held.add((opened.signed, opened.signature))
                if receipt.integrated_at < last or int(receipt.integrated_at) > self.checkpoint.time:
                    raise EvidenceError(f"receipt {index} is out of order in time", where=path)
                last = receipt.integrated_at
                self._places[index] = _Place(self._places[index].statement, (start, len(raw)))
            _end(file, path)

    def _entry(self, index: int, file: BinaryIO) -> LogEntry:
        raw = _at(file, *self._places[index].receipt)
        # What was verified may have been swapped since: only what still proves this entry is handed out.
        opened = open_receipt(self._digests[index], raw, self._log_key)
        signed = signature_holds(self._log_key.public_key, opened.signature, opened.signed)
        if opened.receipt.index != index or not signed:
            raise EvidenceError(f"receipt {index} changed since it was verified", where=self.directory)
        return LogEntry(
            index=index,
            statement_id=self._digests[index].hex(),
            integrated_at=opened.receipt.integrated_at,
            receipt=raw,
        )

    def _statement(self, index: int, file: BinaryIO) -> bytes:
        raw = _at(file, *self._places[index].statement)
        if hashlib.sha256(raw).digest() != self._digests[index]:
            raise EvidenceError(f"statement {index} changed since it was verified", where=self.directory)
        return raw

    def _node(self, level: int, index: int) -> bytes:
        return self._nodes[level, index]

    def _within(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise InputError(f"has no entry {index}, only 0 to {self.size - 1}", where=self.directory)


def tile_path(level: int | str, number: int, width: int) -> str:
    """Returns a tile's path: groups of three digits, all but the last behind an x; then a width."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    name = f"tile/{level}/{'/'.join(groups)}"
    return name if width == TILE else f"{name}.p/{width}"


def _tiles(digests: list[bytes], nodes: dict[tuple[int, int], bytes]) -> Iterator[tuple[str, bytes]]:
    """Yields every tile and entry bundle of a tree as (path, content)."""
    for start in range(0, len(digests), TILE):
        bundle = digests[start : start + TILE]
        yield tile_path("entries", start // TILE, len(bundle)), b"".join(_ENTRY + digest for digest in bundle)
    level, count = 0, len(digests)
    while count:
        for start in range(0, count, TILE):
            width = min(TILE, count - start)
            content = b"".join(nodes[8 * level, start + i] for i in range(width))
            yield tile_path(level, start // TILE, width), content
        level, count = level + 1, count // TILE


def _open(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror}", where=path) from error


def _read(path: Path, limit: int) -> bytes:
    with _open(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise EvidenceError(f"is larger than {limit} bytes", where=path)
    return data


def _next(file: BinaryIO, limit: int, path: Path, index: int) -> tuple[int, bytes]:
    """Reads the next byte string of a sequence and where its content starts."""
    head = file.read(1)
    if len(head) != 1 or not 0x40 <= head[0] <= 0x5B:
        raise EvidenceError(f"item {index} is missing or no byte string", where=path)
    length = head[0] - 0x40
    if length >= 24:
        width = 1 << (length - 24)
        digits = file.read(width)
        length = int.from_bytes(digits, "big")
        if len(digits) != width or length < (24 if width == 1 else 1 << (width * 4)):
            raise EvidenceError(f"item {index} has a malformed length", where=path)
    if length > limit:
        raise EvidenceError(f"item {index} is larger than {limit} bytes", where=path)
    start = file.tell()
    data = file.read(length)
    if len(data) != length:
        raise EvidenceError(f"item {index} is cut short", where=path)
    return start, data


def _end(file: BinaryIO, path: Path) -> None:
    if file.read(1):
        raise EvidenceError("holds more than the log", where=path)


def _at(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
