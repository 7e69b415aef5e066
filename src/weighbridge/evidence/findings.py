"""Finding and Coverage: the only two things that a mechanism hands upward to the ledger."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

__all__ = ["Coverage", "Finding", "Outcome"]


class Outcome(StrEnum):
    """What one check concluded. A check that could not be run is inconclusive, never a pass."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check concluded from statements.

    Attributes:
        check: dotted name of the check, for instance ``chip.lateness``.
        subject: what was checked: a chip id, ``CHIP#SEQUENCE`` for a record, a run id.
        outcome: pass, fail or inconclusive.
        reason: one sentence for a person.
        figure: the measured value, in ``unit``.
        unit: unit of ``figure``.
        confidence: 1 - alpha of ``figure`` or ``hidden_flop`` where the check is statistical.
        hidden_flop: FLOP of prohibited training that this evidence leaves possible; None where it says nothing.
        evidence: ids of the statements used (SHA-256, hex).
        redo: the command that redoes the check.
    """

    check: str
    subject: str
    outcome: Outcome
    reason: str
    figure: float | None = None
    unit: str | None = None
    confidence: float | None = None
    hidden_flop: float | None = None
    evidence: tuple[str, ...] = ()
    redo: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data; the outcome as its word."""
        return asdict(self) | {"outcome": self.outcome.value, "evidence": list(self.evidence)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Reads what :meth:`as_dict` wrote."""
        return cls(**{**data, "outcome": Outcome(data["outcome"]), "evidence": tuple(data.get("evidence", ()))})


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """A span of chip-time that evidence accounts for, and what it leaves hidden.

    Attributes:
        chip: chip id.
        use: ``declared run``, ``startup``, ``off``, ``idle``, ``inference``, ``uncovered``, ...
        seconds: chip-seconds of the span, freezes excluded.
        free_seconds: chip-seconds of the span that count at full capacity.
        hidden_flop: FLOP that could be hidden in the span; equals ``free_seconds`` at the chip's capacity
            unless another bound holds.
        coupling: ``adds`` (spans add up) or ``slowed`` (a limit between them slows joint use).
        evidence: ids of the statements used.
        reason: one sentence for a person.
    """

    chip: str
    use: str
    seconds: float
    free_seconds: float
    hidden_flop: float
    coupling: str = "adds"
    evidence: tuple[str, ...] = ()
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return asdict(self) | {"evidence": list(self.evidence)}
