"""Chip-active time on disk while the command runs."""

import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Beat", "Heartbeat"]


@dataclass(frozen=True)
class Beat:
    """One heartbeat, all in nanoseconds: chip-active time, CPU time since the boot, CLOCK_MONOTONIC."""

    active_ns: int
    cpu_ns: int
    monotonic_ns: int


class Heartbeat:
    """Chip-active time, durable without telling anybody when the next stop comes.

    A heartbeat is the intent to stop: a due time within the horizon of the newest durable beat counts as
    begun after an unclean end. So nothing is written shortly before a stop that a command could watch for.
    Two slots are written in turn, each with a checksum, so that a torn write leaves the other. A write
    survives the agent's death at once and the machine's within :attr:`SYNC_SECONDS`; the times at which it
    is synced do not depend on the schedule.
    """

    SYNC_SECONDS = 0.5
    HORIZON_SECONDS = 30.0  # the agent gives up when no sync has succeeded for this long
    _SLOT = struct.Struct("<QQQQ32sI")  # number, active, cpu, monotonic, digest of the host's boot id, CRC-32

    def __init__(self, path: Path, *, host: bytes) -> None:
        self._path = path
        self._host = host
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = 2 * self._SLOT.size
            os.posix_fallocate(descriptor, 0, size)
            self._memory = mmap.mmap(descriptor, size)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._number = max((number for number, _, _ in self._slots()), default=0)

    def _slots(self) -> list[tuple[int, Beat, bytes]]:
        found = []
        for at in (0, self._SLOT.size):
            number, active, cpu, monotonic, host, checksum = self._SLOT.unpack_from(self._memory, at)
            body = self._memory[at : at + self._SLOT.size - 4]
            if number and zlib.crc32(body) == checksum:
                found.append((number, Beat(active, cpu, monotonic), host))
        return found

    def newest(self) -> tuple[Beat, bool] | None:
        """Returns the newest beat and whether the host has not been booted since; None if there is none."""
        slots = self._slots()
        if not slots:
            return None
        _, beat, host = max(slots, key=lambda slot: slot[0])
        return beat, host == self._host

    def write(self, beat: Beat) -> None:
        """Writes a beat; it outlives the agent, not yet the machine."""
        self._number += 1
        body = self._SLOT.pack(self._number, beat.active_ns, beat.cpu_ns, beat.monotonic_ns, self._host, 0)[:-4]
        at = self._number % 2 * self._SLOT.size
        self._memory[at : at + self._SLOT.size] = body + struct.pack("<I", zlib.crc32(body))

    def sync(self) -> None:
        """Forces the newest beat to the disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Releases the file."""
        self._memory.close()
        os.close(self._descriptor)
