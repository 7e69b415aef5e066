"""Writes anchors while training goes on: from a copy, in one thread, never more than two states waiting.

Where memory allows, a scheduled anchor costs the training one copy of its state, and the file is written meanwhile. The
copy is memory that a chip's snapshot would find and no replay explain (protocol section 4.4), so under a chip's agent,
and where memory is short, the state is written in place and the training waits.
"""

import queue
import threading
import time
from pathlib import Path

from weighbridge.mechanisms.transcript.anchors import write_anchor
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["AnchorWriter"]

_COPIES = 2
"""Copies at once: one being written and one waiting; before a third is made, the training waits."""
_SHARE = 0.25
"""A state larger than this share of the available memory is not copied."""


class AnchorWriter:
    """Writes anchors by plan.

    Attributes:
        waited_s: seconds that the training stood still for anchors.
        files: anchors written whole.
        written_bytes: their bytes.
    """

    def __init__(self) -> None:
        self.waited_s = 0.0
        self.files = 0
        self.written_bytes = 0
        self._orders: queue.SimpleQueue[tuple[Path, TrainingState] | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(_COPIES)
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None

    def write(self, path: Path, state: TrainingState, *, in_place: bool) -> None:
        """Writes a state, at once or from a copy meanwhile.

        Args:
            path: where.
            state: the live state.
            in_place: make no copy; the file is there on return.

        Raises:
            OSError: the disk refuses it.
            InputError: a tensor has a format that the file format does not know.
        """
        began = time.monotonic()
        if in_place or state.nbytes > _SHARE * _available_bytes():
            self._done(write_anchor(path, state))
        else:
            self.check()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="weighbridge-anchors", daemon=True)
                self._thread.start()
            self._free.acquire()
            self._orders.put((path, state.copy()))
        self.waited_s += time.monotonic() - began

    def check(self) -> None:
        """Raises what went wrong meanwhile, once."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def close(self) -> None:
        """Waits until every anchor is written.

        Raises:
            OSError: the disk refused one.
        """
        began = time.monotonic()
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()
            self._thread = None
        self.waited_s += time.monotonic() - began
        self.check()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            path, state = order
            del order
            try:
                if self._fault is None:
                    self._done(write_anchor(path, state))
            except Exception as error:  # raised in the training's thread, where it stops the recording
                self._fault = error
            del state  # the next wait may be long
            self._free.release()

    def _done(self, size: int) -> None:
        self.files += 1
        self.written_bytes += size


def _available_bytes() -> int:
    """Returns the memory that can be had without swapping, by the kernel's estimate; 0 where it gives none."""
    try:
        with Path("/proc/meminfo").open() as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 0
