"""What a recording cost, measured in its own process, and said when it ends."""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from weighbridge.mechanisms.transcript.anchor_writer import AnchorWriter
from weighbridge.units import SECONDS_PER_DAY

__all__ = ["Costs", "memcpy_rate", "tell"]

_COPIED_BYTES = 8 << 20
_COPIES = 5
_LONG_S = 10.0


def tell(sentence: str) -> None:
    """Says a sentence on standard error; where that cannot be written to either, the training still goes on."""
    with contextlib.suppress(OSError, ValueError):
        print(f"weighbridge: {sentence}", file=sys.stderr)


def memcpy_rate() -> float:
    """Returns the bytes a second at which this process copies memory on one thread: the best of five short copies."""
    source, target = np.ones(_COPIED_BYTES, np.uint8), np.ones(_COPIED_BYTES, np.uint8)
    times = []
    for _ in range(_COPIES):
        began = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - began)
    return _COPIED_BYTES / min(times)


@dataclass
class Costs:
    """Seconds and bytes that recording took, by part.

    Attributes:
        watching: seconds in which the loop stood still for the recording, hashing and anchors in it included.
        hashing: seconds of them spent on digests of states.
        hashed_bytes: bytes of those states.
        steps: steps recorded in this segment.
        written_bytes: anchors, journal and leaves, in bytes.
        began: when the recording began.
    """

    watching: float = 0.0
    hashing: float = 0.0
    hashed_bytes: int = 0
    steps: int = 0
    written_bytes: int = 0
    began: float = field(default_factory=time.monotonic)

    def sentences(self, writer: AnchorWriter, *, reading: float) -> Iterator[str]:
        """Yields what there is to say at the end, all of it measured.

        Args:
            writer: what wrote the anchors.
            reading: seconds in which batches were digested.
        """
        took = max(time.monotonic() - self.began, 1e-9)
        spent = self.watching + reading
        a_step = spent / max(1, self.steps)
        # Of a run this short a share says nothing of a longer one: most of it is the beginning and the end.
        share = f"{spent / took:.2%}; " if took >= _LONG_S else ""
        yield (
            f"recording took {spent:.2f} s of {took:.1f} s ({share}{a_step * 1e6:.0f} µs a step): {self.hashing:.2f} s"
            f" digests, {writer.waited_s:.2f} s anchors, {reading:.2f} s batches"
        )
        if self.hashing > 0 and self.hashed_bytes:
            rate, copied = self.hashed_bytes / self.hashing, memcpy_rate()
            yield (
                f"digests at {rate / 1e9:.2f} GB/s, {rate / copied:.2f} of memcpy on one thread"
                f" ({copied / 1e9:.2f} GB/s)"
            )
        anchor = writer.written_bytes / max(1, writer.files)
        written = f"{writer.files} anchors of {anchor / 1e6:.1f} MB; {self.written_bytes / 1e6:.1f} MB written in all"
        a_day = self.written_bytes / took * SECONDS_PER_DAY
        yield f"{written}, {a_day / 1e9:.1f} GB a day at this rate" if took >= _LONG_S else written
