"""Measures what an honest program holds in memory, on the verifier's own replay: the yardstick for unexplained bytes.

Interpreter, libraries, activations and allocator caches cannot be explained by hash. How many non-zero bytes they are
is measured on the replayed program itself, read exactly as the chip's agent reads, at several moments.
"""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from weighbridge.mechanisms.chip.memory import MemoryReader

__all__ = ["MemoryWatch"]

_FIRST_SECONDS = 1.5
_EVERY_SECONDS = 0.7
_MOST = 25


class MemoryWatch:
    """Stops a sandboxed replay now and then and counts its non-zero bytes; the largest count is kept."""

    def __init__(self, *, leaf_size: int) -> None:
        self._leaf_size = leaf_size
        self._reader: MemoryReader | None = None
        self._next: float | None = None
        self._taken = 0
        self._most = 0

    def observe(self, pid: int) -> None:
        """Called often with the sandbox's outer process; measures when it is time."""
        now = time.monotonic()
        if self._next is None:
            self._next = now + _FIRST_SECONDS
        if now < self._next or self._taken >= _MOST:
            return
        self._reader = self._reader or MemoryReader(leaf_size=self._leaf_size)
        with contextlib.suppress(ProcessLookupError, OSError):
            if program := _below(pid):
                self._most = max(self._most, self._measure(program))
                self._taken += 1
        self._next = time.monotonic() + _EVERY_SECONDS

    def nonzero_bytes(self) -> int:
        """Returns the most non-zero bytes seen; 0 if the replay was too short to be measured."""
        return self._most

    def _measure(self, pids: Sequence[int]) -> int:
        assert self._reader is not None
        stopped: list[int] = []
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
            for pid in pids:
                _wait_stopped(pid)
            snapshot = self._reader.take(pids)
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        table = snapshot.table()
        return int(table.lengths[~table.zero].sum(dtype=np.int64))


def _below(pid: int) -> list[int]:
    """Returns every process below the sandbox's own: the replayed program and what it started, as an agent counts."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_below(child)]
    return found


def _wait_stopped(pid: int) -> None:
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "tT":
            return
        time.sleep(0.001)
