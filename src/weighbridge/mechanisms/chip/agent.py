"""The agent: one loop that lets a command run, stops it when it is due, and leaves a record of each stop.

Chip-active time runs from the boot record to the command's end, stops left out. The times of this loop:

1. The boot record is on the disk before the command begins.
2. At the due time everything in the enclosure is stopped, read and hashed; the next interval is on the disk
and the
   notice is replaced before it goes on. Tree, signature and log come after (:mod:`.finisher`).
3. When the command's first process ends, what it left is stopped too, sampled if a stop fell due, and killed.
"""

import contextlib
import os
import select
import signal
import time
from dataclasses import replace
from pathlib import Path

from weighbridge.errors import InputError
from weighbridge.mechanisms.chip.agent_types import AgentOptions, RunResult
from weighbridge.mechanisms.chip.clock import ActiveClock
from weighbridge.mechanisms.chip.command import WatchedCommand
from weighbridge.mechanisms.chip.enclosure import Enclosure
from weighbridge.mechanisms.chip.finisher import Finisher, Job
from weighbridge.mechanisms.chip.firmware import firmware_digest, host_digest
from weighbridge.mechanisms.chip.heartbeat import Beat, Heartbeat
from weighbridge.mechanisms.chip.inbox import Bracket, Requests
from weighbridge.mechanisms.chip.memory import MemoryReader
from weighbridge.mechanisms.chip.notice import Notice
from weighbridge.mechanisms.chip.position import ChipSchedule, Resumption
from weighbridge.mechanisms.chip.record import NO_PREVIOUS, ChipRecord
from weighbridge.mechanisms.chip.store import State, Store

__all__ = ["Agent"]

_BEAT_SECONDS = 0.05
_CPU_BEATS = 10  # beats between readings of CPU time, which is dear for a process tree
_LOOK_SECONDS = 0.25
_GRACE_SECONDS = 10.0


class Agent:
    """One boot of one chip.

    Args:
        store: the chip's directory, locked.
        schedule: the chip's schedule.
        resumption: how this boot begins.
        heartbeat, finisher, enclosure, notice: its parts, made by :func:`.run.run_command`.
        options: what the operator chose.
        first_sequence: number of the boot record.
    """

    def __init__(
        self,
        store: Store,
        *,
        schedule: ChipSchedule,
        resumption: Resumption,
        heartbeat: Heartbeat,
        finisher: Finisher,
        enclosure: Enclosure,
        notice: Notice,
        options: AgentOptions,
        first_sequence: int,
    ) -> None:
        self._store, self._schedule, self._resumption = store, schedule, resumption
        self._heartbeat, self._finisher, self._enclosure = heartbeat, finisher, enclosure
        self._notice, self._options = notice, options
        self._clock = ActiveClock(resumption.active_ns)
        self._interval, self._due = resumption.interval, resumption.due_ns
        self._sequence = first_sequence
        self._reader = MemoryReader(leaf_size=options.leaf_size)
        self._bracket = Bracket(options.bracket)
        self._requests = Requests(store.directory)
        self._firmware, self._host = firmware_digest(), host_digest(store.chip)
        self._stopping = 0.0
        self._freezes: list[int] = []
        self._late: list[int] = []
        self._read = 0
        self._beats = self._cpu_ns = 0

    def save_state(self) -> None:
        """Makes the open interval durable: before it starts."""
        group = self._enclosure.cgroup
        self._store.save(
            State(
                interval=self._interval,
                due_ns=self._due,
                active_ns=self._clock.read(),
                records=self._finisher.written,
                cgroup="" if group is None else str(group),
                notice=str(self._notice.directory),
            )
        )

    def run(self, command: WatchedCommand, wake: int) -> RunResult:
        """Watches a command that waits for the word, from its boot record to its shutdown record.

        Args:
            command: the command.
            wake: descriptor that becomes readable when a signal came.

        Raises:
            InputError: the store cannot be written any more; the command was ended.
            EvidenceError: the command could not be stopped; it was ended.
        """
        began = self._clock.read()
        try:
            self._boot()
            command.go()
            self._loop(command, wake)
            ended = self._stop(resume=False)
        finally:
            command.end()
        self._put(self._draft("shutdown", ended))
        self._finisher.flush()
        self.save_state()
        self._beat()
        if command.failure is not None:
            raise command.failure
        code = command.exit_code
        status = 1 if code is None else code if code >= 0 else 128 - code
        return RunResult(
            exit_status=status,
            boot=self._resumption.boot,
            samples=len(self._freezes),
            active_seconds=(self._clock.read() - began) / 1e9,
            frozen_seconds=sum(self._freezes) / 1e9,
            longest_freeze=max(self._freezes, default=0) / 1e9,
            latest=max(self._late, default=0) / 1e9,
            read_bytes=self._read,
            lost=self._resumption.lost,
        )

    def _boot(self) -> None:
        self.save_state()
        start = time.monotonic_ns()
        past = self._resumption
        draft = self._draft("boot", start)
        if past.ended is not None:
            draft = replace(
                draft,
                interval=past.ended,
                link=self._schedule.link(past.ended).hex(),
                next_commitment=self._schedule.next_commitment(past.ended),
            )
        draft = replace(draft, lost=past.lost, survivors=past.survivors, late_cpu_ns=past.late_cpu_ns)
        self._clock.start(start)
        self._put(draft)
        self._finisher.flush()

    def _loop(self, command: WatchedCommand, wake: int) -> None:
        next_beat = next_look = 0.0
        deadline = None
        while command.exit_code is None:
            now = time.monotonic()
            if now >= next_beat:
                self._beat()
                next_beat = now + _BEAT_SECONDS
                self._check()
            if now >= next_look:
                self._bracket.look()
                self._answer_requests()
                next_look = now + _LOOK_SECONDS
            until_due = (self._due - self._clock.read()) / 1e9
            if until_due <= 0:
                self._stop(resume=True)
                continue
            timeout = max(0.0, min(until_due, next_beat - now))
            ready, _, _ = select.select([command.status, wake], [], [], timeout)
            if command.status in ready:
                command.hear()
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 512)
                if deadline is None:
                    command.signal(signal.SIGTERM)
                    deadline = time.monotonic() + _GRACE_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                command.signal(signal.SIGKILL)

    def _check(self) -> None:
        self._finisher.check()
        if self._finisher.since_sync > Heartbeat.HORIZON_SECONDS - 5:
            raise InputError(
                "has taken no write for half a minute",
                where=self._store.directory,
                mend="mend the disk; the command was ended, since it may not run unwatched",
            )

    def _stop(self, *, resume: bool) -> int:
        """Stops the command, takes every sample that is due, lets it go on.

        Returns:
            CLOCK_MONOTONIC when chip-active time began to count again, or would have.
        """
        # The beat comes first: an agent killed from here on is known to have passed the due time.
        self._beat()
        asked = time.monotonic_ns()
        self._finisher.hold()
        try:
            self._enclosure.stop()
            at = time.monotonic_ns()
            self._clock.stop(at)
            jobs: list[Job] = []
            stop_ns = at - asked
            while self._clock.read() >= self._due:
                jobs.append(self._sample(at, stop_ns))
                at, stop_ns = time.monotonic_ns(), 0
                jobs[-1] = _until(jobs[-1], at)
            if jobs:
                self.save_state()
                self._notice.write(jobs[-1].draft.sequence)
                self._finisher.wait_for_room()
                at = time.monotonic_ns()
                jobs[-1] = _until(jobs[-1], at)
            if resume:
                self._clock.start(at)
                self._enclosure.resume()
            for job in jobs:
                self._freezes.append(job.draft.freeze_ns)
                self._finisher.put(job)
        finally:
            self._finisher.release()
        return at

    def _sample(self, at: int, stop_ns: int) -> Job:
        """Reads everything; the command stands still."""
        processes = self._enclosure.processes()
        snapshot = self._reader.take(processes)
        draft = replace(
            self._draft("sample", at),
            link=self._schedule.link(self._interval).hex(),
            next_commitment=self._schedule.next_commitment(self._interval),
            due_active_ns=self._due,
            late_ns=self._clock.read() - self._due,
            stop_ns=stop_ns,
            affinity_ok=all(self._pinned(pid) for pid in processes),
        )
        self._interval += 1
        self._due += self._schedule.gap_ns(self._interval)
        self._late.append(draft.late_ns)
        self._read += snapshot.read_bytes
        if draft.late_ns > self._options.late_limit * 1e9:
            self._options.warn(f"record {draft.name} is {draft.late_ns / 1e9:.3f} s late")
        self._sequence += 1
        return Job(draft, snapshot)

    def _pinned(self, pid: int) -> bool:
        try:
            threads = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
        except OSError:
            return True
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):
                if not os.sched_getaffinity(thread) <= self._options.cores:
                    return False
        return True

    def _draft(self, reason: str, at: int) -> ChipRecord:
        return ChipRecord(
            chip=self._store.chip,
            sequence=self._sequence,
            previous=NO_PREVIOUS,
            boot=self._resumption.boot,
            reason=reason,
            interval=self._interval,
            rate_hz=self._store.terms.rate_hz,
            active_ns=self._clock.read(at),
            monotonic_ns=at,
            cpu_ns=self._enclosure.cpu_ns(),
            cores=len(self._options.cores),
            accounting=self._enclosure.accounting,
            not_before=self._bracket.digest,
            firmware=self._firmware,
            host=self._host,
            uid_separated=self._options.uid_separated,
        )

    def _put(self, draft: ChipRecord) -> None:
        self._finisher.put(Job(draft))
        self._sequence += 1

    def _answer_requests(self) -> None:
        for nonce in self._requests.take():
            self._put(replace(self._draft("challenge", time.monotonic_ns()), nonce=nonce))

    def _beat(self) -> None:
        now = time.monotonic_ns()
        if self._beats % _CPU_BEATS == 0:
            self._cpu_ns = self._enclosure.cpu_ns()
        self._beats += 1
        self._heartbeat.write(Beat(self._clock.read(now), self._cpu_ns, now))


def _until(job: Job, at: int) -> Job:
    return replace(job, draft=replace(job.draft, freeze_ns=at - job.draft.monotonic_ns))
