"""What a log shows of a visit beyond its own folder: a second plan, other records than are shown, and its number."""

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.mechanisms.inspection.bundle import CLOSE
from weighbridge.mechanisms.inspection.plan import MOST_VISITS, OPENING, PLAN
from weighbridge.mechanisms.inspection.record import RECORD
from weighbridge.mechanisms.inspection.visit import Visit, finding

__all__ = ["log_findings"]


def log_findings(visit: Visit, log: Sequence[Statement]) -> Iterator[Finding]:
    """Yields ``visit.single``, ``visit.log`` and, for a challenge inspection, ``visit.quota``.

    Args:
        visit: the visit.
        log: the log's statements about visits, each by a role that may make it.
    """
    plans = {s.id: s for s in log if s.kind == PLAN}
    yield _single(visit, [s for s in plans.values() if s.payload.get("draw") == visit.plan.draw])
    yield from _others(visit, log)
    if visit.plan.territory is not None:
        yield _quota(visit, list(plans.values()))


def _single(visit: Visit, plans: Sequence[Statement]) -> Finding:
    """A second visit for one draw would let somebody show the better of the two."""
    shown = {visit.id: visit.plan_statement, **{s.id: s for s in plans}}
    if len(shown) > 1:
        signers = " and ".join(sorted({s.issuer for s in shown.values()}))
        reason = f"{len(shown)} plans were signed for this draw, by {signers}: one of several visits could be shown"
        return finding("visit.single", visit.id, Outcome.FAIL, reason, used=list(shown))
    if not plans:
        return finding("visit.single", visit.id, Outcome.INCONCLUSIVE, "the visit's plan is not in the log")
    return finding("visit.single", visit.id, Outcome.PASS, "the log holds one plan for this draw", used=list(shown))


def _others(visit: Visit, log: Sequence[Statement]) -> Iterator[Finding]:
    """Two openings, two closes or two records of one number tell two stories of one visit.

    Only what its own team signed is of the visit: another inspector's word undoes nothing.
    """
    held = {s.id for s in visit.statements}
    own = [s for s in log if s.kind in (OPENING, RECORD, CLOSE) and s.payload.get("visit") == visit.id]
    told = [s for s in own if s.identity.key_id in visit.plan.team]
    strange = [s for s in told if s.id not in held]
    if strange:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(s.kind for s in strange).items()))
        signers = " and ".join(sorted({s.issuer for s in strange}))
        reason = f"the log holds what the bundle does not: {kinds}, by {signers}"
        yield finding("visit.log", visit.id, Outcome.FAIL, reason, used=[s.id for s in strange])
    elif told:
        reason = f"all {len(told)} statements that the log has of this visit are in the bundle"
        yield finding("visit.log", visit.id, Outcome.PASS, reason)


def _quota(visit: Visit, plans: Sequence[Statement]) -> Finding:
    """The agreement allows a number of challenge inspections a year on one territory: the log counts them."""
    where, year = str(visit.plan.territory).casefold(), _year(visit.plan.notified_at)
    same = {
        s.id: s.payload
        for s in plans
        if str(s.payload.get("territory")).casefold() == where and _year(s.payload.get("notified_at")) == year
    }
    same[visit.id] = visit.plan_statement.payload
    number, said = len(same), visit.plan.visits_this_year
    earlier = sum(1 for other in same.values() if int(other["notified_at"]) < visit.plan.notified_at) + 1
    if number > MOST_VISITS:
        outcome, reason = Outcome.FAIL, f"the log holds {number} challenge inspections of {where} in {year}"
    elif said is not None and said < earlier:
        outcome, reason = Outcome.FAIL, f"it is numbered {said}, though it was at least number {earlier} of {year}"
    elif visit.id not in {s.id for s in plans}:
        outcome, reason = Outcome.INCONCLUSIVE, "not checked: the visit's plan is not in the log"
    else:
        outcome, reason = Outcome.PASS, f"number {said} of at most {MOST_VISITS} in {year}; the log holds {number}"
    return finding("visit.quota", visit.id, outcome, reason, figure=float(number), unit="challenge inspections")


def _year(at: object) -> int | None:
    if type(at) is not int or not 0 < at < 1 << 37:
        return None
    return datetime.datetime.fromtimestamp(at, datetime.UTC).year
