"""Judging a visit: the rules in one place, without I/O. Statements in, findings and clocks out.

1. ``visit.draw``: the plan lists the items that were drawn, in their order, and the reserves.
2. ``visit.team``: plan, opening, records and close are by inspectors whom the plan names.
3. ``visit.chain``: records are numbered without gap, each names the one before; the close counts them.
4. ``visit.time``, ``visit.clock``: see :mod:`weighbridge.mechanisms.inspection.judge_times`.
5. Items and instruments: see :mod:`weighbridge.mechanisms.inspection.judge_items`.
6. ``visit.item``: a drawn item is verified only if all that was required of it passed. Nothing else makes it so: not
   a replacement, not a reason, not a close.
7. ``visit.sample``: how many of the drawn items were verified, and what that bounds.

What it cannot show: that an inspector saw what it signed; that a photograph shows the item; when, but for its order
and the time of the log or beacon, anything happened.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.inspection.clocks import Clock, clocks
from weighbridge.mechanisms.inspection.judge_items import item_findings, place_findings
from weighbridge.mechanisms.inspection.judge_times import clock_findings, time_findings
from weighbridge.mechanisms.inspection.sample import most_defective
from weighbridge.mechanisms.inspection.visit import Visit, finding

__all__ = ["ItemOutcome", "Judgement", "judge"]

_CONFIDENCE: Final = 0.95


@dataclass(frozen=True, kw_only=True)
class ItemOutcome:
    """What became of one item.

    Attributes:
        item: its id.
        rack: where the frozen list has it, or an empty text.
        drawn: whether it was drawn; False for a reserve that stood in.
        outcome: ``verified``, ``failed`` or ``not verified``.
        replaced_by: the reserve that was looked at instead, or None; the item itself stays what it is.
        reason: why it is not verified, one sentence.
    """

    item: str
    rack: str
    drawn: bool
    outcome: str
    replaced_by: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a visit shows.

    Attributes:
        findings: one for each thing found.
        items: the drawn items, then the reserves that stood in.
        clocks: what was due.
    """

    findings: tuple[Finding, ...]
    items: tuple[ItemOutcome, ...]
    clocks: tuple[Clock, ...]

    def summary(self) -> dict[str, int]:
        """Returns the counts of drawn items by what became of them."""
        drawn = [item.outcome for item in self.items if item.drawn]
        counts = {outcome.replace(" ", "_"): drawn.count(outcome) for outcome in ("verified", "failed", "not verified")}
        return {"drawn": len(drawn), **counts}


def judge(visit: Visit, *, chip_findings: Sequence[Finding] = (), now: float) -> Judgement:
    """Returns what a visit shows.

    Args:
        visit: the visit.
        chip_findings: what the chips' own answers and logs show: ``inspection.challenge`` and ``inspection.readout``
            by item, judged where chips are known.
        now: the reader's clock, Unix seconds; a closed visit is judged as at its close.
    """
    asked = float(visit.close.at) if visit.close else now
    due = clocks(visit.plan, visit.opening, [record for record, _ in visit.records], now=asked)
    findings = [
        *_draw(visit),
        *_team(visit),
        *_chain(visit),
        *time_findings(visit, now),
        *clock_findings(visit, due, asked),
    ]
    looked_at = [*item_findings(visit), *chip_findings]
    findings += [*looked_at, *place_findings(visit)]
    items = list(_items(visit, looked_at))
    findings += _outcomes(visit, items)
    return Judgement(findings=tuple(findings), items=tuple(items), clocks=tuple(due))


def _draw(visit: Visit) -> Iterator[Finding]:
    if visit.drawn is None or visit.draw is None:
        yield finding("visit.draw", visit.id, Outcome.INCONCLUSIVE, "not checked: the draw is not at hand")
        return
    planned = ([item["id"] for item in visit.plan.items], [item["id"] for item in visit.plan.reserves])
    if visit.plan.draw != visit.draw or planned != (list(visit.drawn["drawn"]), list(visit.drawn["reserves"])):
        reason = "the plan does not list what was drawn"
        yield finding("visit.draw", visit.id, Outcome.FAIL, reason, used=[visit.id, visit.draw])
        return
    reason = f"the plan lists the {len(planned[0])} items drawn and {len(planned[1])} in reserve"
    known = None
    if visit.opening is not None and visit.drawn_at is not None:
        known = (visit.opening.at - visit.drawn_at) / 3_600
        reason += f"; they were drawn {known:.1f} h before the visit was opened, time to prepare for whoever knew them"
    unit = None if known is None else "h"
    yield finding("visit.draw", visit.id, Outcome.PASS, reason, used=[visit.id, visit.draw], figure=known, unit=unit)


def _team(visit: Visit) -> Iterator[Finding]:
    statements = [visit.plan_statement, *(statement for _, statement in visit.records)]
    statements += [s for s in (visit.opening_statement, visit.close_statement) if s is not None]
    strangers = [s for s in statements if s.identity.key_id not in visit.plan.team]
    for statement in strangers:
        reason = f"a {statement.kind} is signed by {statement.issuer}, who is not of the team"
        yield finding("visit.team", visit.id, Outcome.FAIL, reason, used=[statement.id])
    if not strangers:
        reason = f"all {len(statements)} statements are by {', '.join(sorted(set(visit.plan.team.values())))}"
        yield finding("visit.team", visit.id, Outcome.PASS, reason)


def _chain(visit: Visit) -> Iterator[Finding]:
    faults: list[tuple[str, list[str]]] = []
    if visit.opening is None or visit.opening_statement is None:
        reason = "the visit was never opened"
        if not visit.records and visit.close is None:
            yield finding("visit.chain", visit.id, Outcome.INCONCLUSIVE, reason)
            return
        faults.append((reason, [s.id for _, s in visit.records]))
    elif visit.opening.visit != visit.id:
        faults.append(("the opening is of another visit", [visit.opening_statement.id]))
    previous = visit.opening_statement.id if visit.opening_statement else ""
    for number, (record, statement) in enumerate(visit.records):
        if record.visit != visit.id or record.sequence != number or record.previous != previous:
            faults.append((f"record {number} does not follow the one before it", [statement.id]))
        previous = statement.id
    if visit.close is not None:
        said = (visit.close.visit, visit.close.records, visit.close.head)
        if said != (visit.id, len(visit.records), previous):
            reason = f"the close counts {visit.close.records} records, {len(visit.records)} are there"
            faults.append((reason, [visit.close_statement.id] if visit.close_statement else []))
    for reason, used in faults:
        yield finding("visit.chain", visit.id, Outcome.FAIL, reason, used=used)
    if not faults:
        reason = f"{len(visit.records)} records follow one another from the opening"
        yield finding("visit.chain", visit.id, Outcome.PASS, reason)


def _items(visit: Visit, looked_at: Sequence[Finding]) -> Iterator[ItemOutcome]:
    checks = {"serial": "visit.serial", "seal": "visit.seal", "tamper": "visit.tamper"}
    checks |= {"challenge": "inspection.challenge", "readout": "inspection.readout"}
    replaced, drawn_ids = visit.replaced(), {row["id"] for row in visit.plan.items}
    found: dict[tuple[str, str], list[Finding]] = {}
    for one in looked_at:
        found.setdefault((one.subject, one.check), []).append(one)
    for row in (*visit.plan.items, *visit.plan.reserves):
        item, drawn = row["id"], row["id"] in drawn_ids
        if not drawn and item not in replaced.values():
            continue
        against = [f for check in checks.values() for f in found.get((item, check), ())]
        bad = [f.reason for f in against if f.outcome is Outcome.FAIL]
        missing = [
            check
            for check in visit.plan.checks
            if not any(f.outcome is Outcome.PASS for f in found.get((item, checks[check]), ()))
            or any(f.outcome is not Outcome.PASS for f in found.get((item, checks[check]), ()))
        ]
        if bad:
            outcome, reason = "failed", bad[0]
        elif missing:
            refused = [f"; {f.reason}" for f in found.get((item, "visit.refusal"), ())]
            outcome, reason = "not verified", f"not shown: {', '.join(missing)}{''.join(refused[:1])}"
        else:
            outcome, reason = "verified", f"passed: {', '.join(visit.plan.checks)}"
        rack = row.get("rack", "")
        yield ItemOutcome(
            item=item, rack=rack, drawn=drawn, outcome=outcome, replaced_by=replaced.get(item), reason=reason
        )


def _outcomes(visit: Visit, items: Sequence[ItemOutcome]) -> Iterator[Finding]:
    words: Mapping[str, Outcome] = {"verified": Outcome.PASS, "failed": Outcome.FAIL}
    for one in items:
        instead = f"; {one.replaced_by} was looked at instead" if one.replaced_by else ""
        outcome = words.get(one.outcome, Outcome.INCONCLUSIVE)
        yield finding("visit.item", one.item, outcome, f"{one.outcome}: {one.reason}{instead}")
    drawn = [one for one in items if one.drawn]
    open_items = sum(1 for one in drawn if one.outcome != "verified")
    if visit.population is None:
        bound, figure = "", None
    else:
        most = most_defective(visit.population, drawn=len(drawn), found=open_items, alpha=1 - _CONFIDENCE)
        bound = f"; taking those as faulty, at most {most:,} of {visit.population:,} are ({_CONFIDENCE:.0%} confidence)"
        figure = float(most)
    outcome = Outcome.PASS if open_items == 0 else Outcome.INCONCLUSIVE
    reason = f"{len(drawn) - open_items} of {len(drawn)} drawn items were verified, {open_items} were not{bound}"
    unit, confidence = (None, None) if figure is None else ("items", _CONFIDENCE)
    yield finding(
        "visit.sample", visit.id, outcome, reason, figure=figure, unit=unit, confidence=confidence, used=[visit.id]
    )
