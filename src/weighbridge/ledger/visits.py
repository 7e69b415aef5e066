"""A visit together with its draw, with what the chips themselves signed, and with the log: judged end to end."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.draw_check import check_draw
from weighbridge.evidence.draw_folder import load_draw
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.visit_chips import chip_findings
from weighbridge.ledger.visit_log import log_findings
from weighbridge.mechanisms.inspection.bundle import Bundle
from weighbridge.mechanisms.inspection.judge import Judgement, judge
from weighbridge.mechanisms.inspection.visit import Visit, finding

__all__ = ["JudgedVisit", "judge_bundle"]


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
    bundle: Bundle,
    roots: TrustRoots,
    *,
    now: float,
    log: list[tuple[Statement, float]] | None = None,
    kept: Collection[str] = (),
    item: str | None = None,
) -> JudgedVisit:
    """Judges a bundle.

    Args:
        bundle: the visit's folder.
        roots: whom to trust: inspectorate and makers.
        now: the reader's clock, Unix seconds.
        log: statements about draws and visits with their times, if a log is at hand.
        kept: ids of statements of the visit that somebody wrote down on site.
        item: judge the chips' own answers and logs of this item only, as long as the visit goes on.

    Raises:
        EvidenceError, InputError: a statement or file cannot be read or does not verify.
    """
    unread: list[str] = []
    visit = bundle.visit(roots, unread=unread)
    strangers = [finding("visit.chain", visit.id, Outcome.FAIL, reason) for reason in unread]
    draw = load_draw(bundle.folder / "draw", roots, log=log)
    drawn = next((s for s in draw.draws if s.id == visit.plan.draw), None)
    # A draw of another form is found as such; here it is as if there were none.
    if drawn is not None and all(isinstance(drawn.payload.get(name), list) for name in ("drawn", "reserves")):
        size = None if draw.population is None else len(draw.population.items)
        visit = replace(visit, drawn=drawn.payload, draw=drawn.id, drawn_at=drawn.issued_at, population=size)
    facts = _facts(visit, None if draw.population is None else draw.population.by_id())
    chips = list(chip_findings(bundle, visit, roots, item=item))
    judged = judge(visit, chip_findings=chips, now=now)
    outside = [*([] if log is None else log_findings(visit, [s for s, _ in log])), *_kept(visit, kept)]
    files = [*_attachments(bundle, visit), *_whole(bundle, visit, judged)]
    found = (*check_draw(draw, now=now), *facts, *strangers, *judged.findings, *outside, *files)
    return JudgedVisit(visit, replace(judged, findings=found))


def _facts(visit: Visit, items: Mapping[str, Any] | None) -> list[Finding]:
    """The plan repeats racks and serial numbers for use on site; they must be those of the frozen list."""
    if items is None:
        reason = "the plan's serial numbers were not compared: the frozen list is not at hand"
        return [finding("visit.draw", visit.id, Outcome.INCONCLUSIVE, reason, used=[visit.id])]
    rows = (*visit.plan.items, *visit.plan.reserves)
    wrong = [row["id"] for row in rows if row["id"] not in items or items[row["id"]].as_dict() != dict(row)]
    return [
        finding(
            "visit.draw", item, Outcome.FAIL, "the plan has other facts of it than the frozen list", used=[visit.id]
        )
        for item in wrong
    ]


def _kept(visit: Visit, kept: Collection[str]) -> Iterator[Finding]:
    """What was written down outside the bundle, and only that, shows a visit that was signed anew as a whole."""
    held = {s.id for s in visit.statements}
    for identifier in kept:
        if not any(name.startswith(identifier) for name in held):
            reason = f"statement {identifier[:16]}, written down on site, is not in it: it was signed anew or cut short"
            yield finding("visit.kept", visit.id, Outcome.FAIL, reason)
    if kept and all(any(name.startswith(identifier) for name in held) for identifier in kept):
        yield finding("visit.kept", visit.id, Outcome.PASS, f"it holds all {len(kept)} statements written down on site")


def _attachments(bundle: Bundle, visit: Visit) -> Iterator[Finding]:
    """Photographs, footage and answers in the bundle are those that were signed for; elsewhere, only a digest is."""
    absent = 0
    for record, statement in visit.records:
        digests = [record.details["photo"]] if record.details.get("photo") else []
        digests += [part["sha256"] for part in record.details.get("footage", ())]
        answer = record.details.get("answer")
        for digest in [*digests, *([answer] if answer else [])]:
            if not (bundle.folder / "files" / digest).exists():
                absent += digest in digests  # of an answer inspection.challenge says it
                continue
            try:
                bundle.require(digest)
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
    faults += _told_otherwise(bundle, judged)
    for fault in faults:
        yield finding("visit.bundle", visit.id, Outcome.FAIL, fault, used=used)
    if not faults:
        yield finding("visit.bundle", visit.id, Outcome.PASS, "every file is the one that the close signs", used=used)


def _told_otherwise(bundle: Bundle, judged: Judgement) -> Iterator[str]:
    """findings.json is what people read first, and what the close signs: it must be what the records show."""
    told, shown = (_compared(found) for found in (bundle.findings() or (), [f.as_dict() for f in judged.findings]))
    for check, subject, outcome in sorted((told - shown) + (shown - told)):
        yield f"findings.json and the records differ: {check} of {subject[:16]} is {outcome} in one of them"


def _compared(found: Iterable[object]) -> Counter[tuple[str, str, str]]:
    """Returns what the records alone decide; the draw and the folder are judged by themselves, whoever reads."""
    keys = [
        (str(f.get("check")), str(f.get("subject")), str(f.get("outcome")))
        if isinstance(f, Mapping)
        else ("visit.", "?", "unreadable")
        for f in found
    ]
    apart = ("visit.bundle", "visit.draw", "visit.footage")
    return Counter(key for key in keys if key[0].startswith(("visit.", "inspection.")) and key[0] not in apart)
