"""What happens to a stop's findings after the command runs on: tree, signature, disk, spool, receipt.

A thread of the agent, so that the next stop is never late for the sake of the last one. While a stop is
under way it holds its breath: the stop needs the interpreter for itself.
"""

import hashlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from weighbridge.errors import InputError, WeighbridgeError
from weighbridge.evidence.files import replace_durably, replace_whole
from weighbridge.evidence.spool import SpoolClient
from weighbridge.evidence.statement import sign_statement, statement_id
from weighbridge.mechanisms.chip.heartbeat import Heartbeat
from weighbridge.mechanisms.chip.memory import Snapshot
from weighbridge.mechanisms.chip.record import KIND, ChipRecord, encode_record
from weighbridge.mechanisms.chip.store import (
    Store,
    leaf_path,
    receipt_path,
    record_path,
    salt_path,
    sequences,
)

__all__ = ["Finisher", "Job"]

_QUEUE = 32  # stops that may wait; each holds its digests, about a megabyte for 500 MB of memory
_TICK = 0.1  # seconds between looks at the spool


@dataclass(frozen=True)
class Job:
    """A record to be completed, and what was read for it."""

    draft: ChipRecord
    snapshot: Snapshot | None = None


class Finisher:
    """Completes records in order. One thread; :meth:`close` ends it when all is written.

    Args:
        store: the chip's directory.
        heartbeat: synced here, so that the agent's loop never waits for the disk.
        previous: statement id of the newest record on disk.
        spool: where statements go, or None.
        warn: takes a sentence for the operator.
    """

    def __init__(
        self,
        store: Store,
        heartbeat: Heartbeat,
        *,
        previous: str,
        spool: SpoolClient | None,
        warn: Callable[[str], None],
    ) -> None:
        self._store, self._heartbeat, self._spool, self._warn = store, heartbeat, spool, warn
        self._previous = previous
        self._jobs: queue.Queue[Job | None] = queue.Queue(maxsize=_QUEUE)
        self._calm = threading.Event()
        self._calm.set()
        self._waiting: dict[str, int] = {}
        self._unsent: list[int] = []
        self._written = len(sequences(store.directory))
        self._synced = time.monotonic()
        self._held: float | None = None
        self._warned: set[str] = set()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="finisher", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """How many records are on the disk."""
        return self._written

    @property
    def since_sync(self) -> float:
        """Seconds since the heartbeat last reached the disk."""
        return time.monotonic() - self._synced

    def hold(self) -> None:
        """Asks the thread to do nothing until :meth:`release`."""
        self._held = time.monotonic()
        self._calm.clear()

    def release(self) -> None:
        """Lets the thread go on."""
        if self._held is not None:
            # A stop is no active time: however long it was, no heartbeat was owed.
            self._synced += time.monotonic() - self._held
            self._held = None
        self._calm.set()

    def wait_for_room(self) -> None:
        """Returns when another stop's findings can be taken; called while the command stands still."""
        while self._jobs.full() and self.error is None:
            self.release()
            time.sleep(0.001)

    def put(self, job: Job) -> None:
        """Hands over a record to complete."""
        self._jobs.put(job)

    def flush(self) -> None:
        """Returns when everything handed over is on the disk.

        Raises:
            InputError: it could not be written.
        """
        while self._jobs.unfinished_tasks and self.error is None:
            time.sleep(0.0005)
        self.check()

    def check(self) -> None:
        """Raises what went wrong in the thread, in words.

        Raises:
            InputError: the store could not be written.
        """
        if self.error is None:
            return
        if isinstance(self.error, OSError):
            raise InputError(
                f"cannot be written: {self.error.strerror}",
                where=self._store.directory,
                mend="make room or mend the disk; the command was ended, since it may not run unwatched",
            ) from self.error
        raise self.error

    def close(self, *, receipts_within: float = 0.0) -> None:
        """Ends the thread when all records are written.

        Args:
            receipts_within: seconds to wait for receipts that have not come.
        """
        deadline = time.monotonic() + receipts_within
        while self.error is None and self._waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        self.release()
        self._jobs.put(None)
        self._thread.join()

    def resubmit(self) -> None:
        """Hands over again what has no receipt from earlier boots; the log takes a statement once at most."""
        if self._spool is not None:
            have = {p.stem for p in (self._store.directory / "receipts").glob("*.receipt")}
            self._unsent += [n for n in sequences(self._store.directory) if str(n) not in have]

    def _run(self) -> None:
        next_tick = 0.0
        try:
            while True:
                try:
                    job = self._jobs.get(timeout=_TICK)
                except queue.Empty:
                    pass
                else:
                    if job is None:
                        return
                    self._finish(job)
                    self._jobs.task_done()
                self._calm.wait()
                now = time.monotonic()
                if now >= next_tick:
                    self._tick()
                    next_tick = now + _TICK
        except Exception as error:
            self.error = error
        finally:
            self._tick_quietly()

    def _tick(self) -> None:
        if self.since_sync > Heartbeat.SYNC_SECONDS:
            self._heartbeat.sync()
            self._synced = time.monotonic()
        self._send()
        self._collect()

    def _tick_quietly(self) -> None:
        try:
            self._tick()
        except Exception as error:
            self.error = self.error or error

    def _finish(self, job: Job) -> None:
        store, draft = self._store, job.draft
        if job.snapshot is not None:
            draft = self._commit(draft, job.snapshot)
        record = replace(draft, previous=self._previous)
        raw = sign_statement(
            store.signer, kind=KIND, subject=store.chip, payload=encode_record(record), encoding="cbor"
        )
        replace_durably(record_path(store.directory, record.sequence), raw)
        self._previous = statement_id(raw)
        self._written = record.sequence + 1
        if self._spool is not None:
            self._unsent.append(record.sequence)
            self._send()

    def _commit(self, draft: ChipRecord, snapshot: Snapshot) -> ChipRecord:
        self._calm.wait()
        table = snapshot.table()
        salt = self._store.salt(draft.sequence)
        root = table.root(salt, between=self._breathe)
        # Leaves and salt first: a record without them is unexplained.
        replace_durably(leaf_path(self._store.directory, draft.sequence), table.to_bytes())
        replace_durably(salt_path(self._store.directory, draft.sequence), salt, mode=0o600)
        return replace(
            draft,
            leaf_size=snapshot.leaf_size,
            leaf_count=len(table),
            mapping_count=len(snapshot.mappings),
            writable_bytes=snapshot.writable_bytes,
            resident_bytes=snapshot.read_bytes,
            unread_bytes=snapshot.unread_bytes,
            device_bytes=snapshot.device_bytes,
            root=root.hex(),
            salt_commitment=hashlib.sha256(salt).hexdigest(),
        )

    def _breathe(self) -> None:
        self._calm.wait()

    def _send(self) -> None:
        while self._spool is not None and self._unsent:
            sequence = self._unsent[0]
            try:
                identifier = self._spool.submit(record_path(self._store.directory, sequence).read_bytes())
            except WeighbridgeError as error:
                # The record is safe on disk; a spool that comes back gets it later.
                self._warn_once(f"the spool takes no records: {error}")
                return
            self._waiting[identifier] = sequence
            self._unsent.pop(0)

    def _collect(self) -> None:
        for identifier, sequence in list(self._waiting.items()):
            assert self._spool is not None
            try:
                receipt = self._spool.receipt(identifier)
                refusal = None if receipt is not None else self._spool.refusal(identifier)
            except WeighbridgeError as error:
                self._warn_once(f"the spool cannot be read: {error}")
                return
            if receipt is not None:
                replace_whole(receipt_path(self._store.directory, sequence), receipt)
                del self._waiting[identifier]
            elif refusal is not None:
                self._warn_once(f"record {self._store.chip}#{sequence} was refused: {refusal}")
                del self._waiting[identifier]

    def _warn_once(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            self._warn(sentence)
