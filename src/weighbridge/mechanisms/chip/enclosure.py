"""Keeping every process of the command together: stopping them all, counting their CPU time, ending them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

__all__ = ["STOP_LIMIT", "Enclosure", "until"]

STOP_LIMIT = 30.0
"""Seconds to wait for a stop; a process in an uninterruptible wait stops when its device answers."""


class Enclosure(Protocol):
    """What the agent needs of either kind."""

    @property
    def accounting(self) -> str:
        """``cgroup2`` or ``process-tree``."""
        ...

    @property
    def cgroup(self) -> Path | None:
        """The control group that the warden puts the command into, if any."""
        ...

    def attach(self, warden: int) -> None:
        """Learns the warden's process number."""
        ...

    def reaped(self, cpu_ns: int) -> None:
        """Learns the CPU time of a child that the warden has buried."""
        ...

    def processes(self) -> list[int]:
        """Returns the living processes."""
        ...

    def stop(self) -> None:
        """Returns when every task stands still, new forks included.

        Raises:
            EvidenceError: something would not stop.
        """
        ...

    def resume(self) -> None:
        """Lets everything go on."""
        ...

    def kill(self) -> None:
        """Kills everything, stopped or not."""
        ...

    def cpu_ns(self) -> int:
        """Returns CPU time used since the start, exited processes included as far as the kind can."""
        ...

    def close(self) -> None:
        """Removes what was made; everything must have ended."""
        ...


def until(done: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Waits until ``done`` says so, or the time is up."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.001)
