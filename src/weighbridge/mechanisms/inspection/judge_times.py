"""When things were said and done: ``visit.time`` and ``visit.clock``.

``visit.time``: everything lies within the visit, was signed when it says, and after what it follows. ``visit.clock``:
access, acknowledgements and clarifications came in time. All by the inspectors' clocks: only the order of statements
and the time of a log's receipt are shown by more than that.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.mechanisms.inspection.clocks import Clock
from weighbridge.mechanisms.inspection.visit import CLOCK_SKEW, Visit, finding

__all__ = ["WRITE_UP", "clock_findings", "time_findings"]

WRITE_UP: Final = 12 * 3_600
"""Seconds after which a record is no longer one of what happened: notes are signed the same day."""


def time_findings(visit: Visit, now: float) -> Iterator[Finding]:
    """Yields what does not fit in time, or one pass for all that does."""
    faults = [*_opening_faults(visit, now), *_record_faults(visit, now), *_order_faults(visit)]
    if visit.close is not None and visit.close_statement is not None:
        close, first = visit.close, visit.opening.at if visit.opening else 0
        if not first - CLOCK_SKEW <= close.at <= now + CLOCK_SKEW:
            faults.append(("the close lies before the opening, or in the future", visit.close_statement))
        if abs(visit.close_statement.issued_at - close.at) > CLOCK_SKEW:
            faults.append(("the close was signed at another time than it says", visit.close_statement))
    for reason, statement in faults:
        yield finding("visit.time", visit.id, Outcome.FAIL, reason, used=[statement.id])
    if not faults and visit.opening is not None:
        yield finding("visit.time", visit.id, Outcome.PASS, "everything lies within the visit, in its order")


def clock_findings(visit: Visit, due: Sequence[Clock], now: float) -> Iterator[Finding]:
    """Yields a finding for each clock: kept, late, broken, or open while it runs."""
    for clock in due:
        state = clock.state(now)
        late = ((clock.met_at if clock.met_at is not None else now) - clock.due_at) / 3_600
        if state == "kept":
            outcome, reason = Outcome.PASS, f"{clock.name} came {-late:.1f} h before it was due"
        elif state == "late":
            outcome, reason = Outcome.FAIL, f"{clock.name} came {late:.1f} h late"
        elif state == "broken":
            outcome, reason = Outcome.FAIL, f"{clock.name} was due {late:.1f} h ago and did not come"
        else:
            left = f"had {-late:.1f} h left when the visit was closed" if visit.close else f"is due in {-late:.1f} h"
            outcome, reason = Outcome.INCONCLUSIVE, f"{clock.name} {left}"
        yield finding("visit.clock", visit.id, outcome, reason, figure=late, unit="hours late")


def _opening_faults(visit: Visit, now: float) -> Iterator[tuple[str, Statement]]:
    if visit.opening is None or visit.opening_statement is None:
        return
    opening, statement = visit.opening, visit.opening_statement
    if abs(statement.issued_at - opening.at) > CLOCK_SKEW:
        yield "the opening was signed at another time than it says", statement
    if opening.at > now + CLOCK_SKEW:
        yield "the opening lies in the future", statement
    if opening.at < visit.plan.notified_at - CLOCK_SKEW:
        yield "the visit was opened before the party was told to give access", statement
    for name, at in (("access was given", opening.access_at), ("the team arrived", opening.arrived_at)):
        if at is not None and at > opening.at + CLOCK_SKEW:
            yield f"{name} {at - opening.at:.0f} s after the opening that says so", statement
    if opening.access_at is not None and opening.access_at < visit.plan.notified_at - CLOCK_SKEW:
        yield "access was given before the party was told to", statement


def _record_faults(visit: Visit, now: float) -> Iterator[tuple[str, Statement]]:
    first = visit.opening.at if visit.opening else 0
    last = visit.close.at if visit.close else now
    for record, statement in visit.records:
        signed = statement.issued_at - record.at
        if record.at < first - CLOCK_SKEW:
            reason = f"lies {first - record.at:.0f} s before the visit was opened"
        elif record.at > last + CLOCK_SKEW:
            reason = f"lies {record.at - last:.0f} s after {'its close' if visit.close else 'the present'}"
        elif not -CLOCK_SKEW <= signed <= WRITE_UP:
            reason = f"was signed {signed} s after what it tells; {WRITE_UP} s are allowed"
        elif statement.issued_at > last + CLOCK_SKEW:
            reason = "was signed after the visit was closed"
        else:
            continue
        yield f"record {record.sequence} {reason}", statement


def _order_faults(visit: Visit) -> Iterator[tuple[str, Statement]]:
    """Each statement names the one before it, so a clock that says it is older was set back."""
    ends = [visit.opening_statement, *(statement for _, statement in visit.records), visit.close_statement]
    newest = visit.plan_statement.issued_at
    for statement in (s for s in ends if s is not None):
        back = newest - statement.issued_at
        if back > CLOCK_SKEW:
            yield (
                f"a {statement.kind} was signed {back:.0f} s before one that it follows: a clock was set back",
                statement,
            )
        newest = max(newest, statement.issued_at)
