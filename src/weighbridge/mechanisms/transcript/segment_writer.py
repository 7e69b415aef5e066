"""What a recording writes: one segment's journal and leaves, the run's anchors, and signed statements over the head."""

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any

from weighbridge.mechanisms.transcript.anchor_writer import AnchorWriter
from weighbridge.mechanisms.transcript.commitment import salt_for
from weighbridge.mechanisms.transcript.costs import Costs
from weighbridge.mechanisms.transcript.encoding import digest_leaves
from weighbridge.mechanisms.transcript.handover import Handover
from weighbridge.mechanisms.transcript.journal import Journal
from weighbridge.mechanisms.transcript.leaves import LeafFile, leaf_path
from weighbridge.mechanisms.transcript.recorder_parts import Committed
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """Writes a segment, signs where it stands, and counts what that costs.

    Args:
        committed: the run.
        costs: where hashing and bytes are counted.

    Attributes:
        anchors: what writes the anchors, some of them meanwhile.
        handover: what signs and hands over to the log.
    """

    def __init__(self, committed: Committed, costs: Costs) -> None:
        self.anchors = AnchorWriter()
        self.handover = Handover(committed.folder, run=committed.run, signer=committed.signer, spool=committed.spool)
        self._folder, self._key, self._costs = committed.folder, committed.key, costs
        self._chip = os.environ.get("WEIGHBRIDGE_CHIP", "")
        self._journal: Journal
        self._leaves: LeafFile | None = None
        self._unwritten: tuple[int, Mapping[str, bytes]] | None = None

    def open(self, number: int, event: Mapping[str, Any]) -> None:
        """Begins the journal of a segment with its first event.

        Raises:
            OSError: the folder cannot be written to.
        """
        path = self._folder / f"journal-{number:04d}.jsonl"
        self._journal = Journal(path, event)
        self._leaves = LeafFile(leaf_path(path))
        if self._unwritten is not None:
            self._leaves.append(*self._unwritten)

    def append(self, event: Mapping[str, Any]) -> None:
        """Adds an event to the journal."""
        self._journal.append(event)

    def anchor(self, name: str, state: TrainingState, *, in_place: bool) -> None:
        """Writes a whole state, meanwhile or ``in_place``: before this returns."""
        self.anchors.write(self._folder / "anchors" / name, state, in_place=in_place)

    def digest(self, state: TrainingState) -> str:
        """Returns a state's salted digest, hex; the leaves of which it is made are kept beside the journal."""
        began = time.perf_counter()
        step, leaves = state.plain["step"], state.leaves()
        self._costs.hashing += time.perf_counter() - began
        self._costs.hashed_bytes += state.nbytes
        if self._leaves is not None:
            self._leaves.append(step, leaves)
        else:
            self._unwritten = step, leaves
        return digest_leaves(leaves, salt_for(self._key, f"state/{step}")).hex()

    def sign(self, public: Mapping[str, Any]) -> None:
        """Signs a statement over the journal's head, and hands it to the log."""
        self.handover.sign(public, head=self._journal.head)

    def where(self) -> dict[str, Any]:
        """Returns where and when this is: chip, process, its CPU time and the clocks."""
        return {
            "chip": self._chip,
            "process": os.getpid(),
            "cpu_ns": time.process_time_ns(),
            "monotonic_ns": time.monotonic_ns(),
            "time": time.time(),
        }

    @property
    def written_bytes(self) -> int:
        """Bytes of anchors, journal and leaves so far."""
        leaves = self._leaves.written_bytes if self._leaves is not None else 0
        return self.anchors.written_bytes + self._journal.written_bytes + leaves

    def close(self) -> None:
        """Closes everything, whatever may fail in it."""
        with contextlib.suppress(Exception):
            self.anchors.close()
        with contextlib.suppress(OSError):
            self._journal.close()
            if self._leaves is not None:
                self._leaves.close()
