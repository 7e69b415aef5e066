"""A visit together with its draw and with what the chips themselves signed: the bundle judged end to end.

A chip's answer counts if the chip signed it over the nonce that the visit's opening gave it. A log that was read out
counts if every record verifies, none is missing and, where the chip was challenged before, it reaches that answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.draw_check import check_draw
from weighbridge.evidence.draw_folder import load_draw
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.jsontext import load_json
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.chip.record import KIND as CHIP_RECORD
from weighbridge.mechanisms.chip.record import decode_record
from weighbridge.mechanisms.chip.verify import KnownHead, verify
from weighbridge.mechanisms.inspection.bundle import Bundle
from weighbridge.mechanisms.inspection.judge import Judgement, judge
from weighbridge.mechanisms.inspection.plan import PLAN, challenge_nonce
from weighbridge.mechanisms.inspection.record import VisitRecord
from weighbridge.mechanisms.inspection.visit import Visit, finding

__all__ = ["JudgedVisit", "judge_bundle"]

_KEY_CHECKS = ("chip.record", "chip.sequence", "chip.chain", "chip.schedule", "chip.end")
"""Checks on signatures and counters: they hold while the chip's key does, whatever its clocks say."""


@dataclass(frozen=True)
class JudgedVisit:
    """A bundle and what it shows."""

    visit: Visit
    judgement: Judgement

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding: the draw's, the visit's, the chips', the bundle's."""
        return self.judgement.findings


def judge_bundle(
    bundle: Bundle, roots: TrustRoots, *, now: float, log: list[tuple[Statement, float]] | None = None
) -> JudgedVisit:
    """Judges a bundle.

    Args:
        bundle: the visit's folder.
        roots: whom to trust: inspectorate and makers.
        now: the reader's clock, Unix seconds.
        log: statements about draws and visits with their times, if a log is at hand.

    Raises:
        EvidenceError, InputError: a statement or file cannot be read or does not verify.
    """
    visit = bundle.visit(roots)
    draw = load_draw(bundle.folder / "draw", roots, log=log)
    drawn = next((s for s in draw.draws if s.id == visit.plan.draw), None)
    # A draw of another form is found as such; here it is as if there were none.
    if drawn is not None and all(isinstance(drawn.payload.get(name), list) for name in ("drawn", "reserves")):
        size = None if draw.population is None else len(draw.population.items)
        visit = replace(visit, drawn=drawn.payload, draw=drawn.id, population=size)
    facts = [] if draw.population is None else _facts(visit, draw.population.by_id())
    chips = list(_chips(bundle, visit, roots))
    judged = judge(visit, chip_findings=chips, now=now)
    facts += [] if log is None else [_single(visit, [statement for statement, _ in log])]
    kept = [*_attachments(bundle, visit), *_whole(bundle, visit, judged)]
    return JudgedVisit(visit, replace(judged, findings=(*check_draw(draw, now=now), *facts, *judged.findings, *kept)))


def _facts(visit: Visit, items: Mapping[str, Any]) -> list[Finding]:
    """The plan repeats racks and serial numbers for use on site; they must be those of the frozen list."""
    rows = (*visit.plan.items, *visit.plan.reserves)
    wrong = [row["id"] for row in rows if row["id"] not in items or items[row["id"]].as_dict() != dict(row)]
    return [
        finding(
            "visit.draw", item, Outcome.FAIL, "the plan has other facts of it than the frozen list", used=[visit.id]
        )
        for item in wrong
    ]


def _single(visit: Visit, log: list[Statement]) -> Finding:
    """A second visit for one draw would let somebody show the better of the two."""
    plans = [s.id for s in log if s.kind == PLAN and s.payload.get("draw") == visit.plan.draw]
    if len(set(plans) | {visit.id}) > 1:
        reason = f"the log holds {len(plans)} plans for this draw: one of several visits could be shown"
        return finding("visit.single", visit.id, Outcome.FAIL, reason, used=plans)
    if not plans:
        return finding("visit.single", visit.id, Outcome.INCONCLUSIVE, "the visit's plan is not in the log")
    return finding("visit.single", visit.id, Outcome.PASS, "the log holds one plan for this draw", used=plans)


def _chips(bundle: Bundle, visit: Visit, roots: TrustRoots) -> Iterator[Finding]:
    heads: dict[str, KnownHead] = {}
    for record, statement in visit.records:
        item = record.item or ""
        if record.what == "challenge":
            try:
                answer = verify_statement(bundle.file(record.details["answer"]), roots, kind=CHIP_RECORD, role="chip")
                heads[item] = _answered(answer, visit, item)
            except EvidenceError as error:
                yield finding("inspection.challenge", item, Outcome.FAIL, str(error), used=[statement.id])
                continue
            reason = f"the chip answered the visit's nonce with its record {heads[item].sequence}"
            used = [statement.id, answer.id]
            yield finding("inspection.challenge", item, Outcome.PASS, reason, used=used)
        elif record.what == "readout":
            yield _readout(bundle, roots, record, statement, heads.get(item))


def _answered(answer: Statement, visit: Visit, item: str) -> KnownHead:
    record = decode_record(answer)
    if record.chip != item:
        raise EvidenceError(f"the answer is by chip {record.chip[:16]}, asked was {item[:16]}", where="challenge")
    if visit.opening is None or record.reason != "challenge" or record.nonce != challenge_nonce(visit.opening, item):
        raise EvidenceError("the answer is to another nonce than the visit's", where="challenge", field="nonce")
    return KnownHead(sequence=record.sequence, identifier=answer.id)


def _readout(
    bundle: Bundle, roots: TrustRoots, record: VisitRecord, statement: Statement, head: KnownHead | None
) -> Finding:
    item, used, digest = record.item or "", [statement.id], record.details["digest"]
    if not (bundle.folder / "files" / digest).exists():
        reason = "the log lies elsewhere; the visit holds its digest"
        return finding("inspection.readout", item, Outcome.INCONCLUSIVE, reason, used=used)
    try:
        listed = load_json(bundle.file(digest), where=f"read-out {digest[:16]}").get("records")
        if not isinstance(listed, list) or len(listed) != record.details["records"]:
            raise EvidenceError("lists another number of records than was noted", where=f"read-out {digest[:16]}")
        raws = [bundle.file(str(name)) for name in listed]
        statements = [verify_statement(raw, roots, kind=CHIP_RECORD, role="chip") for raw in raws]
    except EvidenceError as error:
        return finding("inspection.readout", item, Outcome.FAIL, str(error), used=used)
    judged = verify(statements, chip=item, known=[] if head is None else [head])
    failed = [f for f in judged.findings if f.outcome is Outcome.FAIL]
    broken = [f for f in failed if f.check in _KEY_CHECKS]
    if broken:
        return finding("inspection.readout", item, Outcome.FAIL, f"{broken[0].check}: {broken[0].reason}", used=used)
    others = f"; {len(failed)} other checks failed, first {failed[0].check}: {failed[0].reason}" if failed else ""
    reach = "" if head is None else ", up to its answer"
    reason = f"{len(statements)} records follow one another without gap{reach}{others}"
    outcome = Outcome.INCONCLUSIVE if failed else Outcome.PASS
    return finding("inspection.readout", item, outcome, reason, used=used)


def _attachments(bundle: Bundle, visit: Visit) -> Iterator[Finding]:
    """Photographs and footage that lie in the bundle are those that were signed for; elsewhere, only a digest is."""
    absent = 0
    for record, statement in visit.records:
        digests = [record.details["photo"]] if record.details.get("photo") else []
        digests += [part["sha256"] for part in record.details.get("footage", ())]
        for digest in digests:
            if not (bundle.folder / "files" / digest).exists():
                absent += 1
                continue
            try:
                bundle.file(digest)
            except EvidenceError as error:
                yield finding("visit.bundle", visit.id, Outcome.FAIL, str(error), used=[statement.id])
    if absent:
        reason = f"{absent} photographs or pieces of footage lie elsewhere; the visit holds their digests"
        yield finding("visit.footage", visit.id, Outcome.INCONCLUSIVE, reason)


def _whole(bundle: Bundle, visit: Visit, judged: Judgement) -> Iterator[Finding]:
    if visit.close is None or visit.close_statement is None:
        yield finding("visit.bundle", visit.id, Outcome.INCONCLUSIVE, "the visit is not closed: files may still change")
        return
    used = [visit.close_statement.id]
    faults = bundle.check_manifest(visit.close)
    if dict(visit.close.summary) != judged.summary():
        faults.append(f"the close counts {dict(visit.close.summary)}, the records show {judged.summary()}")
    for fault in faults:
        yield finding("visit.bundle", visit.id, Outcome.FAIL, fault, used=used)
    if not faults:
        yield finding("visit.bundle", visit.id, Outcome.PASS, "every file is the one that the close signs", used=used)
