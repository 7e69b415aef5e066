"""Neutral work items: what chips did, in words that every counting policy understands."""

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from weighbridge.errors import InputError
from weighbridge.units import Flop, check_quantity

__all__ = ["BITS", "POST_TRAINING", "NumberFormat", "Purpose", "WorkItem", "WorkKind", "bits_of"]

WorkKind = Literal["training", "inference", "recompute"]
"""What was executed: forward and backward passes, forward passes alone, or activations computed again."""

Purpose = Literal[
    "training",  # updates of the model itself: pre-training, or nothing more is known
    "fine-tuning",
    "reinforcement",
    "self-play",
    "search",  # hyperparameter search that updates parameters
    "experiment",  # exploratory, failed or discarded runs
    "auxiliary",  # reward and value models
    "synthetic-data",  # generation of training data
    "evaluation",
    "red-teaming",
    "service",  # inference for users
    "initial-parent",  # earlier training of the weights that this model started from
    "merged-parent",  # training of a model whose weights were merged or averaged in
    "teacher",  # training of the parent in a distillation
]

NumberFormat = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp6", "fp4", "int32", "int16", "int8", "int4"]

# TF32 multiplies 19 bits and stores 32: no text says which counts, so the larger does, with a warning.
BITS: Final[dict[NumberFormat, int]] = {
    "fp64": 64, "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "fp6": 6, "fp4": 4,
    "int32": 32, "int16": 16, "int8": 8, "int4": 4,
}  # fmt: skip

POST_TRAINING: Final[frozenset[Purpose]] = frozenset({"fine-tuning", "reinforcement", "self-play"})


def bits_of(number_format: str) -> int:
    """Returns the bit length of a number format.

    Raises:
        InputError: if the format is not known.
    """
    if number_format not in BITS:
        raise InputError(
            f"number format {number_format!r} is not known", field="format", mend=f"known: {', '.join(BITS)}"
        )
    return BITS[number_format]


@dataclass(frozen=True)
class WorkItem:
    """A piece of work of one model lineage, before any policy says whether it counts.

    Attributes:
        kind: what was executed.
        format: number format of the multiplications.
        operations: operations executed; a multiply-add is two. Activations computed again are items of their
            own (``kind="recompute"``), never folded into the training item.
        purpose: what it was for.
        public: synthetic data that anybody can obtain.
        discarded: samples that were thrown away, or a run whose weights were.
        by_developer: done by the developer of the original model, not by another actor.
        label: free text for the printed account.
    """

    kind: WorkKind
    format: NumberFormat = field(kw_only=True)
    operations: Flop | float = field(kw_only=True)
    purpose: Purpose = field(default="training", kw_only=True)
    public: bool = field(default=False, kw_only=True)
    discarded: bool = field(default=False, kw_only=True)
    by_developer: bool = field(default=True, kw_only=True)
    label: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        """Refuses what no policy could count."""
        bits_of(self.format)
        check_quantity(self.operations, name="operations", positive=False)
        for name, value, known in (
            ("kind", self.kind, get_args(WorkKind)),
            ("purpose", self.purpose, get_args(Purpose)),
        ):
            if value not in known:
                raise InputError(f"{value!r} is not known", field=name, mend=f"known: {', '.join(known)}")
