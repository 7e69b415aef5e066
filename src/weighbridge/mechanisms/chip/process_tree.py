"""The enclosure where no control group can be made: the process tree below the warden.

Stopped by SIGSTOP until nothing new appears, counted from each process's own clock. That is weaker, and the
record says ``process-tree``: another process of the same user can undo a signal, and CPU time of children
whose parent ignores SIGCHLD is lost when they exit.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.chip.enclosure import STOP_LIMIT, until
from weighbridge.mechanisms.chip.warden import descendants

__all__ = ["TreeEnclosure"]


class TreeEnclosure:
    """The process tree below the warden, which adopts orphans."""

    accounting = "process-tree"
    cgroup = None

    def __init__(self) -> None:
        self._warden = 0
        self._reaped_ns = 0
        self._highest_ns = 0

    def attach(self, warden: int) -> None:
        """Learns the root of the tree."""
        self._warden = warden

    def reaped(self, cpu_ns: int) -> None:
        """Adds the CPU time of a buried child."""
        self._reaped_ns += cpu_ns

    def processes(self) -> list[int]:
        """Returns the living processes below the warden."""
        return sorted(descendants(self._warden)) if self._warden else []

    def stop(self) -> None:
        """Sends SIGSTOP until two looks in a row show the same processes, every thread of them stopped.

        Raises:
            EvidenceError: something still runs after half a minute.
        """
        deadline = time.monotonic() + STOP_LIMIT
        before: list[int] | None = None
        while True:
            present = self.processes()
            still = all(_stopped(pid) for pid in present)
            if still and present == before:
                return
            before = present if still else None
            if time.monotonic() > deadline:
                raise EvidenceError("the command could not be stopped", where=f"processes {present[:8]}")
            for pid in present:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            time.sleep(0.0002)

    def resume(self) -> None:
        """Sends SIGCONT to every process."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kills until nothing is left."""
        until(self._kill_once)

    def _kill_once(self) -> bool:
        present = self.processes()
        for pid in present:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not present

    def cpu_ns(self) -> int:
        """Returns CPU time of the living, of their reaped children (in ticks), and of the buried."""
        total = self._reaped_ns
        for pid in self.processes():
            with contextlib.suppress(OSError):
                # CPUCLOCK_SCHED of a process: clockid = ~pid << 3 | 2 (clock_getcpuclockid(3)).
                total += time.clock_gettime_ns((~pid << 3) | 2)
                fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
                ticks = int(fields[13]) + int(fields[14])
                total += ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        # A child between its end and its burial is in neither sum for a moment.
        self._highest_ns = max(self._highest_ns, total)
        return self._highest_ns

    def close(self) -> None:
        """Nothing was made."""


def _stopped(pid: int) -> bool:
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            state = (task / "stat").read_bytes().rpartition(b")")[2].split()[0]
            if state not in (b"T", b"t", b"Z", b"X"):
                return False
    except OSError:
        return True  # it ended in the meantime
    return True
