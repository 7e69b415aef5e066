"""What is at hand of one draw, and the findings on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weighbridge.evidence.draw_value import Parties
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.population import Population
from weighbridge.evidence.statement import Statement

__all__ = ["DrawEvidence", "draw_finding"]


@dataclass(frozen=True, kw_only=True)
class DrawEvidence:
    """What is at hand of one draw, every statement's signature and role verified.

    Attributes:
        frame: the frame's statement.
        population: the list; None if it was not opened.
        parties: commitments and shares.
        draws: statements of kind ``draw``; none while nothing is drawn.
        logged_at: times at which the log took statements, Unix seconds, by id; from receipts or the log itself.
        log: the log's statements of the kinds of a draw, in its order; None without a log.
    """

    frame: Statement
    population: Population | None
    parties: Parties = field(default_factory=Parties)
    draws: Sequence[Statement] = ()
    logged_at: Mapping[str, float] = field(default_factory=dict)
    log: Sequence[Statement] | None = None


def draw_finding(
    evidence: DrawEvidence,
    check: str,
    outcome: Outcome,
    reason: str,
    *,
    figure: float | None = None,
    unit: str | None = None,
    used: tuple[str, ...] = (),
) -> Finding:
    """Returns a finding of a draw, about its frame."""
    return Finding(
        check=f"draw.{check}",
        subject=evidence.frame.id,
        outcome=outcome,
        reason=reason,
        figure=figure,
        unit=unit,
        evidence=(evidence.frame.id, *used),
    )
