"""The spool: how others hand statements to the one process that holds the log's key, and get receipts back.

``in/`` may be written but not listed by others (mode 1733): a client writes a hidden file and renames it to
``TIME-RANDOM.cose``. ``out/`` may be read (755): ``ID.receipt`` where ID is the statement's SHA-256, or
``ID.refused`` with one sentence; ``ID.answer`` holds what the keeper's owner stated in answer, a CBOR
sequence of statements (one statement as it is, if there is one), each with a receipt of its own. Answers
lie there before the receipt does.

A receipt is written when the log's transaction is on the disk, a drop removed after its receipt was
written, and appending is idempotent: killed anywhere, the keeper takes up the same drops and gives the same
receipts.
"""

import fcntl
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.evidence.cbor import split_sign1
from weighbridge.evidence.files import open_regular, remove_leftovers, replace_whole
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.log import Log, LogEntry
from weighbridge.evidence.statement import Statement, statement_id, verify_statement
from weighbridge.evidence.trust import TrustRoots

__all__ = ["Keeper", "SpoolClient"]

_ID = re.compile(r"[0-9a-f]{64}")
_DROP_MODE, _OUT_MODE = 0o1733, 0o755
_SWEEP_SECONDS = 60.0

Answerer = Callable[[Statement, LogEntry], Iterable[bytes]]


@dataclass(frozen=True)
class _Drop:
    """A file taken from the spool, and what became of it so far."""

    path: Path
    raw: bytes
    id: str


class Keeper:
    """Takes statements from a spool into a log. Hold one per spool; :meth:`close` gives it up.

    Args:
        log: the log, open with its key.
        spool_dir: the spool; made if need be.
        roots: who may state anything; what does not verify under them is refused.
        on_entry: called once for each new entry; returns signed statements that answer it, which enter the
            log in one transaction with the note that it was answered, so that no entry is ever answered
            twice. An InputError or EvidenceError leaves the entry unanswered, its sentence in
            ``ID.refused``. Any other exception ends the keeper.

    Raises:
        InputError: another keeper has this spool, or the log is open for reading only.
    """

    def __init__(
        self,
        log: Log,
        spool_dir: str | os.PathLike[str],
        *,
        roots: TrustRoots,
        on_entry: Answerer | None = None,
    ) -> None:
        if not log.writable:
            raise InputError("is open for reading only", where=log.path, mend="open it with its key")
        if roots.log_key != log.log_key:
            raise InputError("the trust roots name another log", where=log.path, field="roots")
        self._log = log
        self._roots = roots
        self._on_entry = on_entry
        self._in, self._out = _folders(Path(spool_dir))
        for folder, mode in ((self._in, _DROP_MODE), (self._out, _OUT_MODE)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
        self._lock: int | None = _lock(Path(spool_dir))
        remove_leftovers(self._out)
        refused = sorted(self._out.glob("*.refused"), key=lambda path: path.stat().st_mtime)
        self._refusals = dict.fromkeys(path.name for path in refused)
        self._swept = 0.0

    def close(self) -> None:
        """Lets another keeper have the spool; the log stays open."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, stop: threading.Event, poll: float = 0.01) -> None:
        """Works until ``stop`` is set; looks every ``poll`` seconds while there is nothing to do."""
        while not stop.is_set():
            if self.run_once() == 0:
                stop.wait(poll)

    def run_once(self) -> int:
        """Handles what lies in the spool now, at most :attr:`Limits.spool_files` drops.

        Returns:
            How many drops were handled, refused ones included.
        """
        if self._lock is None:
            raise InputError("the keeper was closed", where=self._in)
        drops = self._collect()
        accepted: list[tuple[_Drop, Statement]] = []
        for drop in drops:
            try:
                accepted.append((drop, verify_statement(drop.raw, self._roots)))
            except EvidenceError as error:
                self._refuse(drop.id, str(error))
        if accepted:
            entries = self._log.append([drop.raw for drop, _ in accepted])
            for drop, _ in accepted:
                self._forget(f"{drop.id}.refused")
            self._answer(list(zip([statement for _, statement in accepted], entries, strict=True)))
            for entry in entries:
                self._receipt(entry)
        for drop in drops:
            drop.path.unlink(missing_ok=True)
        return len(drops)

    def _collect(self) -> list[_Drop]:
        now = time.time()
        sweep = now - self._swept > _SWEEP_SECONDS
        names = []
        with os.scandir(self._in) as found:
            for item in found:
                if item.name.endswith(".cose") and not item.name.startswith("."):
                    # A directory that cannot be removed would otherwise take a place in every pass.
                    if item.is_file(follow_symlinks=False):
                        names.append(item.name)
                    else:
                        _discard(Path(item.path))
                elif sweep:
                    self._sweep(Path(item.path), now)
        if sweep:
            self._swept = now
        drops = []
        # Names begin with the time of the drop, so that one client's statements keep their order.
        for name in sorted(names)[: LIMITS.spool_files]:
            path = self._in / name
            raw = _take(path)
            if raw is None:
                _discard(path)
            else:
                drops.append(_Drop(path, raw, statement_id(raw)))
        return drops

    def _answer(self, entries: list[tuple[Statement, LogEntry]]) -> None:
        if self._on_entry is None:
            return
        fresh: dict[int, list[bytes]] = {}
        for statement, entry in entries:
            if entry.index not in fresh and self._log.answers(entry.index) is None:
                fresh[entry.index] = self._ask(self._on_entry, statement, entry)
        if fresh:
            self._log.append_answers(fresh)
        for _, entry in entries:
            given = [self._log.entry(index) for index in self._log.answers(entry.index) or ()]
            if given:
                for answer in given:
                    self._receipt(answer)
                raws = [self._log.statement(answer.index) for answer in given]
                replace_whole(self._out / f"{entry.statement_id}.answer", b"".join(raws))

    def _ask(self, on_entry: Answerer, statement: Statement, entry: LogEntry) -> list[bytes]:
        try:
            answers = list(on_entry(statement, entry))
            if len(answers) > LIMITS.spool_answers:
                raise InputError(f"more than {LIMITS.spool_answers} answers", where=statement.kind)
            for raw in answers:
                verify_statement(raw, self._roots)
        except WeighbridgeError as error:
            self._refuse(statement.id, f"logged as entry {entry.index}, but not answered: {error}")
            return []
        return answers

    def _receipt(self, entry: LogEntry) -> None:
        replace_whole(self._out / f"{entry.statement_id}.receipt", entry.receipt)

    def _refuse(self, identifier: str, sentence: str) -> None:
        name = f"{identifier}.refused"
        replace_whole(self._out / name, (" ".join(sentence.split()) + "\n").encode("utf-8", "replace"))
        self._refusals[name] = None
        while len(self._refusals) > LIMITS.spool_refusals:
            self._forget(next(iter(self._refusals)))

    def _forget(self, name: str) -> None:
        if name in self._refusals:
            del self._refusals[name]
            (self._out / name).unlink(missing_ok=True)

    def _sweep(self, path: Path, now: float) -> None:
        """Removes what a client never finished."""
        try:
            if now - path.lstat().st_mtime > LIMITS.spool_stale_seconds:
                _discard(path)
        except OSError:
            return


class SpoolClient:
    """Hands statements to a keeper and fetches receipts. The receipts are the caller's to verify.

    Args:
        spool_dir: the spool that a keeper serves.

    Attributes:
        directory: the spool.
    """

    def __init__(self, spool_dir: str | os.PathLike[str]) -> None:
        self.directory = Path(spool_dir)
        self._in, self._out = _folders(self.directory)

    def submit(self, raw: bytes) -> str:
        """Drops a statement and returns its id at once; dropping it again does no harm.

        Raises:
            InputError: no spool there, or the statement is too large.
        """
        if not isinstance(raw, bytes) or not 0 < len(raw) <= LIMITS.statement_bytes:
            raise InputError(f"a statement is 1 to {LIMITS.statement_bytes} bytes", where=self.directory)
        name = f"{time.time_ns():020d}-{secrets.token_hex(12)}.cose"
        try:
            replace_whole(self._in / name, raw)
        except OSError as error:
            raise InputError(
                f"cannot be written to: {error.strerror}",
                where=self._in,
                mend="start the keeper once, it makes the spool",
            ) from error
        return statement_id(raw)

    def receipt(self, statement_id: str) -> bytes | None:
        """Returns a statement's receipt, or None while there is none."""
        return self._fetch(statement_id, "receipt", LIMITS.receipt_bytes)

    def refusal(self, statement_id: str) -> str | None:
        """Returns why a statement was refused, or was logged but not answered; None if it was not."""
        sentence = self._fetch(statement_id, "refused", LIMITS.statement_bytes)
        return None if sentence is None else sentence.decode("utf-8", "replace").strip()

    def answers(self, statement_id: str) -> list[bytes]:
        """Returns the statements that answer one which has its receipt; empty if nothing answers it.

        Raises:
            InputError: it could not be answered, with the keeper's sentence.
            EvidenceError: the answers' file holds something else.
        """
        data = self._fetch(statement_id, "answer", LIMITS.spool_answers_bytes)
        if data is not None:
            return split_sign1(data, where=f"answer to {statement_id}")
        if (sentence := self.refusal(statement_id)) is not None:
            raise InputError(sentence, where=f"statement {statement_id[:16]}")
        return []

    def wait(self, statement_id: str, timeout: float) -> bytes:
        """Waits for a receipt.

        Args:
            statement_id: what :meth:`submit` returned.
            timeout: seconds.

        Raises:
            InputError: the keeper refused the statement, with its sentence.
            EvidenceError: no receipt in time: the statement may or may not be in the log.
        """
        deadline = time.monotonic() + timeout
        pause = 0.001
        while True:
            # The receipt first: once logged, a statement stays logged, whatever a later copy met with.
            if (receipt := self.receipt(statement_id)) is not None:
                return receipt
            if (sentence := self.refusal(statement_id)) is not None:
                raise InputError(f"refused by the log's keeper: {sentence}", where=f"statement {statement_id[:16]}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise EvidenceError(
                    f"no receipt within {timeout:g} s",
                    where=f"statement {statement_id[:16]}",
                    mend="see that the keeper runs, then submit it again: it is logged once at most",
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.05)

    def _fetch(self, identifier: str, kind: str, limit: int) -> bytes | None:
        if not _ID.fullmatch(identifier):
            raise InputError("a statement id is 64 hexadecimal digits", where=repr(identifier)[:80])
        path = self._out / f"{identifier}.{kind}"
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=path) from error
        # A power cut can leave a name without content; the keeper will write it again.
        return data if 0 < len(data) <= limit else None


def _folders(spool: Path) -> tuple[Path, Path]:
    return spool / "in", spool / "out"


def _lock(spool: Path) -> int:
    path = spool / "keeper.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InputError("another keeper has this spool", where=spool, mend="stop it first") from None
    return handle


def _take(path: Path) -> bytes | None:
    """Reads a drop; None if it is no plain file of a statement's size. Never waits: a FIFO has no content."""
    try:
        with open_regular(path) as file:
            raw = file.read(LIMITS.statement_bytes + 1)
    except OSError:
        return None
    return raw if 0 < len(raw) <= LIMITS.statement_bytes else None


def _discard(path: Path) -> None:
    """Removes a drop that cannot be a statement; what cannot be removed is passed over each time."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            path.rmdir()
        else:
            path.unlink()
    except OSError:
        return
