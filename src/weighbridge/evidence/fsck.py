"""The log's own check: everything recomputed from the statements up, each check a finding."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from weighbridge.errors import EvidenceError
from weighbridge.evidence.checkpoint import Checkpoint, verify_checkpoint
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import signature_holds
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.merkle import EMPTY_ROOT, Tree, leaf_hash
from weighbridge.evidence.receipt import receipt_header
from weighbridge.evidence.statement import signed_bytes, verify_statement
from weighbridge.evidence.store import Batch, Store, node_position
from weighbridge.evidence.trust import LogKey, TrustRoots

__all__ = ["check_log"]

_PAGE = 1_024  # entries held at once


def check_log(store: Store, log_key: LogKey, head_file: Path, *, roots: TrustRoots | None) -> list[Finding]:
    """Checks a log's file completely, in this order.

    1. ``log.file``: SQLite finds the file sound.
    2. ``log.batches``: batches follow on each other, times never run back, each signature holds.
    3. ``log.entries``: each statement is the one that was logged.
    4. ``log.tree``: every stored node and every batch's root is what the statements give.
    5. ``log.head``: the database is not older than HEAD.
    6. ``log.key`` and ``log.kept``: it is the log trusted, and extends the checkpoint kept outside.
    7. ``log.statements``: each statement verifies under the trust roots.

    Returns:
        One finding a check; failing ones name the first fault with both values. Checks that cannot be done
        without trust roots are inconclusive.
    """
    # HEAD before the database, which a keeper at work never lets fall behind it.
    try:
        head, absent = head_file.read_bytes(), ""
    except OSError as error:
        head, absent = b"", f"cannot be read: {error.strerror}"
    with store.snapshot():
        return _check(_Scan(store, log_key, roots), head, absent)


def _check(scan: "_Scan", head: bytes, absent: str) -> list[Finding]:
    roots, log_key = scan.roots, scan.log_key
    checks: list[tuple[str, Callable[[], str]]] = [
        ("log.file", scan.file),
        ("log.batches", scan.read_batches),
        ("log.entries", scan.read_entries),
        ("log.tree", scan.tree),
        ("log.head", lambda: scan.head(head, absent)),
    ]
    if roots is not None:
        checks.append(("log.key", scan.key))
        checks.append(("log.statements", scan.statements))
        if (kept := roots.checkpoint) is not None:
            checks.append(("log.kept", lambda: scan.extends(kept, "the checkpoint kept outside")))
    findings = [_run(name, check, log_key.origin) for name, check in checks]
    done = {finding.check for finding in findings}
    for name, missing in (
        ("log.key", "trust roots, so whose log this is rests on the file's own word"),
        ("log.statements", "trust roots, so the statements' signatures were not checked"),
        ("log.kept", "a checkpoint kept outside, without which a log rewritten by its own key does not show"),
    ):
        if name not in done:
            findings.append(
                Finding(
                    check=name,
                    subject=log_key.origin,
                    outcome=Outcome.INCONCLUSIVE,
                    reason=f"not given: {missing}",
                )
            )
    return findings


def _run(name: str, check: Callable[[], str], subject: str) -> Finding:
    try:
        reason = check()
    except EvidenceError as error:
        return Finding(check=name, subject=subject, outcome=Outcome.FAIL, reason=str(error))
    return Finding(check=name, subject=subject, outcome=Outcome.PASS, reason=reason)


class _Scan:
    """One pass over a store; faults of entries and statements are kept until their check is asked."""

    def __init__(self, store: Store, log_key: LogKey, roots: TrustRoots | None) -> None:
        self._store = store
        self.log_key = log_key
        self.roots = roots
        self._size = 0
        self._verified = 0
        self._batches: dict[int, Batch] = {}
        self._prefix: dict[int, bytes] = {0: EMPTY_ROOT}
        self._node_fault: EvidenceError | None = None
        self._statement_fault: EvidenceError | None = None

    def file(self) -> str:
        faults = self._store.faults()
        if faults:
            raise EvidenceError("; ".join(faults), where=self._store.path)
        return "SQLite finds the file sound"

    def read_batches(self) -> str:
        last: Batch | None = None
        unsigned = False
        for batch in self._store.batches():
            if unsigned:
                raise EvidenceError(f"the batch of {self._size} entries is unsigned, and not the last")
            self._check_batch(batch, last)
            self._batches[batch.size] = batch
            self._size = batch.size
            unsigned = batch.checkpoint is None
            last = batch
        if last is None:
            raise EvidenceError("there is none, not even the first", where=self._store.path)
        note = ", the last still to be signed by its keeper" if unsigned else ", each signed"
        return f"{len(self._batches)} batches follow on each other{note}"

    def _check_batch(self, batch: Batch, last: Batch | None) -> None:
        where = f"batch of {batch.size} entries"
        if batch.first != (0 if last is None else last.size) or (last is None) != (batch.size == 0):
            raise EvidenceError(f"begins at {batch.first}, not where the one before ends", where=where)
        if last is not None and batch.time_us < last.time_us:
            raise EvidenceError(f"is dated {last.time_us - batch.time_us} µs before the last", where=where)
        if batch.checkpoint is None and batch.signature is None:
            return
        if batch.checkpoint is None or batch.signature is None:
            raise EvidenceError("was signed by half", where=where)
        note = verify_checkpoint(batch.checkpoint, self.log_key)
        if (note.size, note.root, note.time) != (batch.size, batch.root, batch.time_us // 1_000_000):
            raise EvidenceError(
                f"its checkpoint is for {note.size} entries with root {note.root.hex()}, "
                f"recorded is {batch.size} with root {batch.root.hex()}",
                where=where,
            )
        header = receipt_header(self.log_key, size=batch.size, time_us=batch.time_us)
        if not signature_holds(self.log_key.public_key, batch.signature, signed_bytes(header, batch.root)):
            raise EvidenceError("its receipts' signature is not the log's", where=where)

    def read_entries(self) -> str:
        tree = Tree()
        for position, digest, raw in self._entries():
            found = hashlib.sha256(raw).digest()
            if digest != found:
                raise EvidenceError(
                    f"was logged as {digest.hex()}, its bytes are {found.hex()}", where=f"entry {position}"
                )
            self._check_statement(raw)
            self._check_nodes(tree.append(leaf_hash(digest)))
            if tree.size in self._batches:
                self._prefix[tree.size] = tree.root()
        if tree.size != self._size:
            raise EvidenceError(f"there are {tree.size}, signed for are {self._size}", where=self._store.path)
        return f"{tree.size} statements are the ones that were logged"

    def _entries(self) -> Iterator[tuple[int, bytes, bytes]]:
        expected = 0
        while rows := self._store.entries(expected, expected + _PAGE):
            for row in rows:
                if row[0] != expected:
                    raise EvidenceError("is missing", where=f"entry {expected}")
                yield row
                expected += 1

    def _check_statement(self, raw: bytes) -> None:
        if self.roots is not None and self._statement_fault is None:
            self._verified += 1
            try:
                verify_statement(raw, self.roots)
            except EvidenceError as error:
                self._statement_fault = error

    def _check_nodes(self, completed: list[tuple[int, int, bytes]]) -> None:
        for level, index, value in completed:
            if self._node_fault is not None:
                return
            try:
                stored = self._store.node(level, index)
            except EvidenceError as error:
                self._node_fault = error
                return
            if stored != value:
                self._node_fault = EvidenceError(
                    f"is {stored.hex()}, the statements give {value.hex()}",
                    where=f"node {index} of level {level}",
                )

    def tree(self) -> str:
        if self._node_fault is not None:
            raise self._node_fault
        beyond = node_position(0, self._size)
        if self._store.nodes(beyond, LIMITS.tree_size) or self._store.nodes(-LIMITS.tree_size, 0):
            raise EvidenceError("there are nodes beyond the last entry", where=self._store.path)
        for size, batch in self._batches.items():
            given = self._root_at(size)
            if given != batch.root:
                raise EvidenceError(
                    f"root is {batch.root.hex()}, the statements give {given.hex()}",
                    where=f"batch of {size} entries",
                )
        return f"every node and every root is what the {self._size} statements give"

    def _root_at(self, size: int) -> bytes:
        if size not in self._prefix:
            raise EvidenceError(f"the statements do not reach {size} entries", where=self._store.path)
        return self._prefix[size]

    def head(self, note: bytes, absent: str) -> str:
        if absent:
            raise EvidenceError(absent, where="HEAD")
        return self.extends(note, "HEAD")

    def extends(self, note: bytes, what: str) -> str:
        old: Checkpoint = verify_checkpoint(note, self.log_key)
        if old.size > self._size:
            raise EvidenceError(
                f"holds {self._size} entries, {what} was signed for {old.size}: {note!r}",
                where=self._store.path,
            )
        tree = Tree()
        for _, digest, _ in self._entries():
            if tree.size == old.size:
                break
            tree.append(leaf_hash(digest))
        if tree.root() != old.root:
            raise EvidenceError(
                f"has root {tree.root().hex()} at {old.size} entries, {what} has {old.root.hex()}: {note!r}",
                where=self._store.path,
            )
        return f"extends {what}, of {old.size} entries"

    def key(self) -> str:
        if self.roots is not None and self.roots.log_key != self.log_key:
            raise EvidenceError(
                f"is {self.log_key.vkey()}, trusted is {self.roots.log_key.vkey()}", where=self._store.path
            )
        return "it is the log trusted"

    def statements(self) -> str:
        if self._statement_fault is not None:
            raise self._statement_fault
        if self._verified != self._size:
            raise EvidenceError(f"only {self._verified} of {self._size} could be read", where=self._store.path)
        return f"{self._size} statements verify under the trust roots"
