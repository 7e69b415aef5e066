"""What a recording starts from: a committed run, or a place to resume at."""

from dataclasses import dataclass
from pathlib import Path

from weighbridge.evidence.keys import Signer
from weighbridge.evidence.spool import SpoolClient
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["Committed", "Resumption"]


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A run that was committed to, and what recording it needs.

    Attributes:
        folder: where its transcript is written.
        run: its id.
        seed: its seed (32 bytes).
        key: the run's key, from which salts follow.
        stride: steps between committed digests of the full state.
        signer: the operator's key; without it nothing is signed.
        spool: the log's spool; without it nothing is handed over.
        anchor_every: steps between anchors by plan; None for none.
        strict: whether a recording that fails ends the training.
    """

    folder: Path
    run: str
    seed: bytes
    key: bytes
    stride: int
    signer: Signer | None
    spool: SpoolClient | None
    anchor_every: int | None = None
    strict: bool = False


@dataclass(frozen=True)
class Resumption:
    """Where a new segment continues.

    Attributes:
        segment: its number.
        parent: file of the segment before.
        parent_head: head of that segment, hex.
        anchor: file of the state from which it continues.
        step: steps completed in that state.
        state: the state.
        lost_steps: steps that were trained after it and are trained again.
        environment: what differs from the committed environment, a sentence each.
    """

    segment: int
    parent: str
    parent_head: str
    anchor: str
    step: int
    state: TrainingState
    lost_steps: int
    environment: tuple[str, ...] = ()
