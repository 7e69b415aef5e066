"""A visit as read from its statements: everything verified that one signature at a time can show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.mechanisms.inspection.plan import Opening, VisitPlan
from weighbridge.mechanisms.inspection.record import CORRECTED, VisitRecord

__all__ = ["CLOCK_SKEW", "Close", "Visit", "finding"]

CLOCK_SKEW: Final = 300
"""Seconds by which two honest clocks may disagree."""


@dataclass(frozen=True, kw_only=True)
class Close:
    """What a closed visit says of itself.

    Attributes:
        visit: id of the plan.
        at: Unix seconds.
        records: how many there are.
        head: statement id of the last record, or of the opening.
        manifest: SHA-256 of ``manifest.json``, which lists every other file.
        summary: counts for people: drawn, verified, failed, not verified.
    """

    visit: str
    at: int
    records: int
    head: str
    manifest: str
    summary: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A visit, its statements' signatures and roles verified.

    Attributes:
        plan_statement: the signed plan.
        plan: what it says.
        opening_statement: the signed opening, or None.
        opening: what it says.
        records: records with their statements, in the order of their numbers.
        close_statement: the signed close, or None.
        close: what it says.
        drawn: what the draw says: ``drawn`` and ``reserves``; None if it is not at hand.
        draw: id of that statement.
        drawn_at: Unix seconds at which it was signed.
        population: items in the frozen list that was drawn from; None if not known.
    """

    plan_statement: Statement
    plan: VisitPlan
    opening_statement: Statement | None = None
    opening: Opening | None = None
    records: Sequence[tuple[VisitRecord, Statement]] = ()
    close_statement: Statement | None = None
    close: Close | None = None
    drawn: Mapping[str, Sequence[str]] | None = None
    draw: str | None = None
    drawn_at: int | None = None
    population: int | None = None

    @property
    def id(self) -> str:
        """The plan's statement id, which names the visit."""
        return self.plan_statement.id

    @property
    def statements(self) -> list[Statement]:
        """Every statement of the visit, in order: plan, opening, records, close."""
        told = [self.opening_statement, *(statement for _, statement in self.records), self.close_statement]
        return [self.plan_statement, *(statement for statement in told if statement is not None)]

    def of(self, what: str, item: str | None = None) -> list[tuple[VisitRecord, Statement]]:
        """Returns the records of a kind, of one item if named."""
        return [(r, s) for r, s in self.records if r.what == what and (item is None or r.item == item)]

    def taken_back(self) -> dict[int, tuple[VisitRecord, Statement]]:
        """Returns the records that take another back, by the number of that: each by the one who had made it."""
        found: dict[int, tuple[VisitRecord, Statement]] = {}
        by_number = {record.sequence: (record, statement) for record, statement in reversed(self.records)}
        for record, statement in self.of("correction"):
            about = record.details["about"]
            if about >= record.sequence or about not in by_number:
                continue
            other, said = by_number[about]
            if other.what in CORRECTED and said.identity.key_id == statement.identity.key_id:
                found.setdefault(about, (record, statement))
        return found

    def replacements(self) -> list[tuple[VisitRecord, Statement, str | None]]:
        """Returns the records of replacements, each with what is wrong with it, or None.

        Reserves go in the order drawn, an item is replaced once, and for a reason that the plan allows.
        """
        reserves = [row["id"] for row in self.plan.reserves]
        taken: dict[str, str] = {}
        found = []
        for record, statement in self.of("replacement"):
            item, by = record.item or "", record.details["by"]
            due = reserves[len(taken)] if len(taken) < len(reserves) else None
            fault = None
            if item not in {row["id"] for row in self.plan.items} | set(taken.values()):
                fault = "what was not drawn cannot be replaced"
            elif item in taken:
                fault = "it was replaced already"
            elif by != due:
                fault = f"replaced by {by}, though {due or 'no reserve'} was next"
            elif record.details["reason"] not in self.plan.reasons:
                fault = f"{record.details['reason']!r} is no reason that the plan allows"
            else:
                taken[item] = by
            found.append((record, statement, fault))
        return found

    def replaced(self) -> dict[str, str]:
        """Returns which reserve stands in for which item."""
        return {r.item or "": str(r.details["by"]) for r, _, fault in self.replacements() if fault is None}


def finding(
    check: str,
    subject: str,
    outcome: Outcome,
    reason: str,
    *,
    used: Sequence[str] = (),
    figure: float | None = None,
    unit: str | None = None,
    confidence: float | None = None,
) -> Finding:
    """Returns a finding of a visit."""
    return Finding(
        check=check,
        subject=subject,
        outcome=outcome,
        reason=reason,
        figure=figure,
        unit=unit,
        confidence=confidence,
        evidence=tuple(used),
    )
