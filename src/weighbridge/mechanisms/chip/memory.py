"""Reading a stopped process from outside and hashing it leaf by leaf, while it stands still.

Memory is read through ``/proc/PID/mem``, which also reaches pages that the process made inaccessible to
itself. One thread, a buffer that fits the processor's second-level cache, nothing but digests kept: 480 MB
take about 0.2 s.
"""

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from weighbridge.mechanisms.chip.leaf_format import LIMITS, Mapping, Process, Run
from weighbridge.mechanisms.chip.leaves import LeafTable
from weighbridge.mechanisms.chip.pages import PAGE, PageScanner
from weighbridge.mechanisms.chip.residency import Plan, Span, plan_process

__all__ = ["MemoryReader", "Snapshot"]

_BUFFER = 1 << 20
if LIMITS.largest_leaf > _BUFFER:
    raise AssertionError("a leaf must fit the buffer, or it would be cut where no leaf ends")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What one stop found; the leaf table and its root are made of it after the command runs on.

    Attributes:
        leaf_size: bytes of a whole leaf.
        processes: the processes, by number.
        mappings: the mappings, by number.
        runs: what was read, in order.
        digests: 32 bytes a leaf.
        writable_bytes: address space that was writable.
        read_bytes: bytes read.
        unread_bytes: bytes that should have been read and could not be.
        device_bytes: writable mappings of devices.
    """

    leaf_size: int
    processes: tuple[Process, ...]
    mappings: tuple[Mapping, ...]
    runs: tuple[Run, ...]
    digests: bytearray
    writable_bytes: int
    read_bytes: int
    unread_bytes: int
    device_bytes: int

    def table(self) -> LeafTable:
        """Returns the leaf table of what was found."""
        return LeafTable.build(
            leaf_size=self.leaf_size,
            processes=self.processes,
            mappings=self.mappings,
            runs=self.runs,
            digests=self.digests,
        )


class MemoryReader:
    """Takes snapshots; holds its buffer between them.

    Args:
        leaf_size: bytes of a whole leaf.
        scanner: finds resident pages.
    """

    def __init__(self, *, leaf_size: int, scanner: PageScanner | None = None) -> None:
        self._leaf_size = leaf_size
        self._scanner = scanner or PageScanner()
        buffer = mmap.mmap(-1, _BUFFER)
        buffer.write(bytes(_BUFFER))  # touched now, so that no stop pays for its page faults
        self._view = memoryview(buffer)
        self._runs: list[Run] = []
        self._digests = bytearray()
        self._unread = 0

    def take(self, pids: Iterable[int]) -> Snapshot:
        """Reads every process; all of them must be stopped.

        Args:
            pids: the processes, as the agent sees them.
        """
        self._runs, self._digests, self._unread = [], bytearray(), 0
        plan, processes = Plan(), []
        try:
            first_mapping = []
            for number, pid in enumerate(sorted(pids)):
                first_mapping.append(len(plan.spans))
                processes.append(Process(pid=pid, inner_pid=_inner_pid(pid)))
                plan_process(plan, pid, number, self._scanner)
            first_mapping.append(len(plan.spans))
            for process, low, high in zip(processes, first_mapping, first_mapping[1:], strict=False):
                self._read_process(process.pid, plan.spans[low:high])
        finally:
            plan.close()
        return Snapshot(
            leaf_size=self._leaf_size,
            processes=tuple(processes),
            mappings=tuple(plan.mappings),
            runs=tuple(self._runs),
            digests=self._digests,
            writable_bytes=plan.writable_bytes,
            read_bytes=sum(run.length for run in self._runs),
            unread_bytes=self._unread + plan.unread_bytes,
            device_bytes=plan.device_bytes,
        )

    def _read_process(self, pid: int, spans: list[Span]) -> None:
        if not spans:
            return
        try:
            memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._unread += sum(span.end - span.start for span in spans)
            return
        try:
            for span in spans:
                file, shift = (memory, 0) if span.file is None else (span.file, span.offset - span.start)
                self._read_span(file, shift, span)
        finally:
            os.close(memory)

    def _read_span(self, file: int, shift: int, span: Span) -> None:
        view, at = self._view, span.start
        while at < span.end:
            # Cut at multiples of the buffer, so that no leaf straddles two reads.
            stop = min(span.end, (at // _BUFFER + 1) * _BUFFER)
            try:
                count = os.preadv(file, [view[: stop - at]], at + shift)
            except OSError:
                count = 0
            if count < stop - at:
                # The page after the readable part cannot be read: leave it out, and the leaf around it is
                # cut.
                count -= (at + count) % PAGE if span.file is None else 0
                bad = min(stop, (at + count) // PAGE * PAGE + PAGE)
                self._unread += bad - (at + count)
                self._add(span.mapping, at, count)
                at = bad
                continue
            self._add(span.mapping, at, count)
            at = stop

    def _add(self, mapping: int, address: int, length: int) -> None:
        """Hashes what lies in the buffer and notes where it was."""
        if length <= 0:
            return
        view, size, digests = self._view, self._leaf_size, self._digests
        head = min(-address % size, length)
        last = self._runs[-1] if self._runs else None
        joins = last is not None and last.mapping == mapping and last.address + last.length == address
        if joins and head:
            joins = False  # an unreadable page lay at a leaf's inside: what follows is a run of its own
        if head:
            digests += blake3(view[:head]).digest()
        whole = length - (length - head) % size
        for at in range(head, whole, size):
            digests += blake3(view[at : at + size]).digest()
        if whole < length:
            digests += blake3(view[whole:length]).digest()
        if joins and last is not None:
            self._runs[-1] = Run(mapping, last.address, last.length + length)
        else:
            self._runs.append(Run(mapping, address, length))


def _inner_pid(pid: int) -> int:
    try:
        with Path(f"/proc/{pid}/status").open("rb") as file:
            for line in file:
                if line.startswith(b"NSpid:"):
                    return int(line.split()[-1])
    except OSError:
        pass
    return pid
