"""What recording a training run costs on paper: bytes of a state, rate of digests, bytes a day.

A state has, for each parameter, the weight and its gradient in the training's format, a full copy in 32 bits where that
format is narrower, and the optimizer's moments in 32 bits: 16 bytes for AdamW in mixed precision (Rajbhandari et al.
2020, ZeRO, section 3.1: 2 + 2 + 12). Gradients are in a state only where steps carry them on; they are counted, so the
figure is one from above.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from weighbridge.errors import InputError
from weighbridge.units import SECONDS_PER_DAY, check_count, check_quantity

__all__ = ["DTYPES", "JOURNAL_BYTES", "OPTIMIZERS", "RecordingCost", "bytes_per_parameter", "recording_cost"]

OPTIMIZERS: Final[Mapping[str, int]] = {"adamw": 2, "adam": 2, "lion": 1, "muon": 1, "momentum": 1, "sgd": 0}
"""Moments that each keeps for a parameter."""
DTYPES: Final[Mapping[str, int]] = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
"""Bytes of a weight as the training computes with it."""
JOURNAL_BYTES: Final = 400
"""Of one step in the journal: assumed, from runs with one loss a step."""
_FULL_BYTES: Final = 4
_LEAF_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True)
class RecordingCost:
    """What recording costs. All of it computed from what was declared.

    Attributes:
        state_bytes: bytes of one state, which an anchor holds whole.
        digests_a_day: states digested a day.
        anchors_a_day: anchors written a day.
        digest_rate: bytes a second that are digested on average, over all chips.
        digest_seconds: seconds that digesting one state takes, each chip's host its own share.
        stall_share: share of the time lost if the training waits for each digest.
        anchor_bytes_a_day: bytes of anchors a day.
        leaf_bytes_a_day: bytes of the tensors' digests a day.
        journal_bytes_a_day: bytes of the journal a day.
        checkpoints_bytes_a_day: bytes a day if a checkpoint were kept at every digest, as a proof of learning keeps it.
    """

    state_bytes: float
    digests_a_day: float
    anchors_a_day: float
    digest_rate: float
    digest_seconds: float
    stall_share: float
    anchor_bytes_a_day: float
    leaf_bytes_a_day: float
    journal_bytes_a_day: float
    checkpoints_bytes_a_day: float

    @property
    def bytes_a_day(self) -> float:
        """Bytes written a day."""
        return self.anchor_bytes_a_day + self.leaf_bytes_a_day + self.journal_bytes_a_day

    @property
    def over_checkpoints(self) -> float:
        """Bytes written over those of a checkpoint at every digest."""
        return self.bytes_a_day / self.checkpoints_bytes_a_day


def bytes_per_parameter(optimizer: str, dtype: str) -> int:
    """Returns the bytes of a state for each parameter.

    Raises:
        InputError: an optimizer or format that is not listed.
    """
    for value, known, name in ((optimizer, OPTIMIZERS, "optimizer"), (dtype, DTYPES, "dtype")):
        if value not in known:
            mend = f"choose from {', '.join(known)}, or give the bytes per parameter"
            raise InputError(f"{value[:40]!r} is not known", where=name, mend=mend)
    width = DTYPES[dtype]
    return 2 * width + (_FULL_BYTES if width < _FULL_BYTES else 0) + _FULL_BYTES * OPTIMIZERS[optimizer]


def recording_cost(
    parameters: float,
    *,
    state_bytes_each: float,
    stride: int,
    step_seconds: float,
    anchors_per_day: float,
    tensors: int,
    chips: int,
    hash_rate: float,
) -> RecordingCost:
    """Returns what recording costs.

    Args:
        parameters: of the model.
        state_bytes_each: bytes of a state for each (:func:`bytes_per_parameter`).
        stride: steps between digests.
        step_seconds: of one step.
        anchors_per_day: anchors by plan and after freezes; fractions are rates.
        tensors: tensors of a state, of which each digest keeps one leaf.
        chips: whose hosts digest their shares at once.
        hash_rate: bytes a second that the host of one chip digests.

    Raises:
        InputError: a value that is not finite, or not positive where it must be.
    """
    state = check_quantity(parameters, name="parameters") * check_quantity(state_bytes_each, name="bytes-per-parameter")
    steps_a_day = SECONDS_PER_DAY / check_quantity(step_seconds, name="step-seconds")
    between = check_count(stride, name="stride", least=1) * step_seconds
    digests = SECONDS_PER_DAY / between
    seconds = state / check_count(chips, name="chips", least=1) / check_quantity(hash_rate, name="hash-rate")
    anchors = check_quantity(anchors_per_day, name="anchors-per-day", positive=False)
    return RecordingCost(
        state_bytes=state,
        digests_a_day=digests,
        anchors_a_day=anchors,
        digest_rate=state / between,
        digest_seconds=seconds,
        stall_share=seconds / (seconds + between),
        anchor_bytes_a_day=anchors * state,
        leaf_bytes_a_day=digests * (16 + _LEAF_BYTES * check_count(tensors, name="tensors", least=1)),
        journal_bytes_a_day=steps_a_day * JOURNAL_BYTES,
        checkpoints_bytes_a_day=digests * state,
    )
