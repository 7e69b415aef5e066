"""How much a replay may write and hold: enough for honest states of the run, too little to fill a verifier's disk."""

from dataclasses import dataclass
from pathlib import Path

from weighbridge.sandbox import Sandbox

__all__ = ["LOG_BYTES", "Allowance"]

LOG_BYTES = 256 << 20
"""Largest log of a replay that is read."""

_GROWTH = 8
"""A state may outgrow the first one, which has no optimizer's state yet: bfloat16 weights with AdamW's moments and a
copy of the weights in float32 take seven times what the weights take."""

_UNKNOWN_BYTES = 4 << 30
"""Size of a state where no anchor was handed over."""

_OTHER_FILES = 100


@dataclass(frozen=True)
class Allowance:
    """Limits of one replay, in bytes and files."""

    file_bytes: int
    written_bytes: int
    written_files: int
    memory_bytes: int

    @classmethod
    def of(cls, anchors: Path, *, first: str, states: int, data_bytes: int) -> "Allowance":
        """Returns what a replay may take, by the anchors that the operator handed over.

        A sparse file counts with what it takes on the disk: its length costs nobody anything.

        Args:
            anchors: the folder of anchors.
            first: file of the state before the first step.
            states: how many states the replay writes out.
            data_bytes: size of the data that it is shown.
        """
        largest = max((_taken(path) for path in anchors.glob("*.safetensors")), default=0)
        state = max(largest, _GROWTH * _taken(anchors / first)) or _UNKNOWN_BYTES
        defaults = Sandbox(binds=())
        return cls(
            file_bytes=2 * (state + LOG_BYTES),
            written_bytes=2 * (states * state + LOG_BYTES),
            written_files=states + _OTHER_FILES,
            memory_bytes=defaults.memory_bytes + 4 * state + data_bytes,
        )


def _taken(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0
    return min(status.st_size, status.st_blocks * 512)
