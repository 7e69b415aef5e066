"""What the chips themselves signed for a visit: answers to its nonces, and the logs that were read out of them.

A chip's answer counts if the chip signed it over the nonce that the visit's opening gave it. A log that was read out
counts if every record verifies, none is missing, and it reaches the chip's answer: a log that was read before the
chip was asked says nothing of the records that the answer shows to lie between.
"""

from collections.abc import Iterator, Sequence

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.jsontext import load_json
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.chip.record import KIND as CHIP_RECORD
from weighbridge.mechanisms.chip.record import ChipRecord, decode_record
from weighbridge.mechanisms.chip.verify import KnownHead, Verification, verify
from weighbridge.mechanisms.inspection.bundle import Bundle
from weighbridge.mechanisms.inspection.plan import challenge_nonce
from weighbridge.mechanisms.inspection.record import VisitRecord
from weighbridge.mechanisms.inspection.visit import Visit, finding

__all__ = ["chip_findings"]

_KEY_CHECKS = ("chip.record", "chip.sequence", "chip.chain", "chip.schedule", "chip.end")
"""Checks on signatures and counters: they hold while the chip's key does, whatever its clocks say."""


def chip_findings(bundle: Bundle, visit: Visit, roots: TrustRoots, *, item: str | None = None) -> Iterator[Finding]:
    """Yields what answers and logs show, ``inspection.challenge`` and ``inspection.readout``.

    Args:
        bundle: the visit's folder.
        visit: the visit.
        roots: whom to trust: the chips' makers.
        item: only what is about this item; everything if None.
    """
    told = [(r, s) for r, s in visit.records if item is None or r.item == item]
    answers: dict[str, list[tuple[int, ChipRecord, Statement]]] = {}
    for record, statement in told:
        if record.what != "challenge":
            continue
        name = record.item or ""
        try:
            answer = verify_statement(bundle.file(record.details["answer"]), roots, kind=CHIP_RECORD, role="chip")
            decoded = _answered(answer, visit, name)
        except EvidenceError as error:
            yield finding("inspection.challenge", name, Outcome.FAIL, str(error), used=[statement.id])
            continue
        answers.setdefault(name, []).append((record.sequence, decoded, answer))
        reason = f"the chip answered the visit's nonce with its record {decoded.sequence}"
        yield finding("inspection.challenge", name, Outcome.PASS, reason, used=[statement.id, answer.id])
    for record, statement in told:
        if record.what == "readout":
            yield _readout(bundle, roots, record, statement, answers.get(record.item or "", ()))


def _answered(answer: Statement, visit: Visit, item: str) -> ChipRecord:
    record = decode_record(answer)
    if record.chip != item:
        raise EvidenceError(f"the answer is by chip {record.chip[:16]}, asked was {item[:16]}", where="challenge")
    if visit.opening is None or record.reason != "challenge" or record.nonce != challenge_nonce(visit.opening, item):
        raise EvidenceError("the answer is to another nonce than the visit's", where="challenge", field="nonce")
    return record


def _readout(
    bundle: Bundle,
    roots: TrustRoots,
    record: VisitRecord,
    statement: Statement,
    answers: Sequence[tuple[int, ChipRecord, Statement]],
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
    before = [KnownHead(sequence=r.sequence, identifier=s.id) for number, r, s in answers if number < record.sequence]
    judged = verify(statements, chip=item, known=before)
    failed = [f for f in judged.findings if f.outcome is Outcome.FAIL]
    broken = [f for f in failed if f.check in _KEY_CHECKS]
    if broken:
        return finding("inspection.readout", item, Outcome.FAIL, f"{broken[0].check}: {broken[0].reason}", used=used)
    others = f"; {len(failed)} other checks failed, first {failed[0].check}: {failed[0].reason}" if failed else ""
    later = [fault for _, answer, signed in answers if (fault := _beyond(judged, answer, signed)) is not None]
    forked = [fault for outcome, fault in later if outcome is Outcome.FAIL]
    if forked:
        return finding("inspection.readout", item, Outcome.FAIL, forked[0], used=used)
    if later:
        return finding("inspection.readout", item, Outcome.INCONCLUSIVE, later[0][1], used=used)
    reach = ", up to its answer" if answers else ""
    reason = f"{len(statements)} records follow one another without gap{reach}{others}"
    outcome = Outcome.INCONCLUSIVE if failed else Outcome.PASS
    return finding("inspection.readout", item, outcome, reason, used=used)


def _beyond(judged: Verification, answer: ChipRecord, signed: Statement) -> tuple[Outcome, str] | None:
    """Returns what keeps a log that was read out from reaching an answer, or None."""
    held = judged.identifiers.get(answer.sequence)
    if held is not None:
        other = f"the log holds another record {answer.sequence} than the chip's answer"
        return None if held == signed.id else (Outcome.FAIL, other)
    newest = max(judged.identifiers)
    if newest > answer.sequence or (newest == answer.sequence - 1 and judged.identifiers[newest] != answer.previous):
        return Outcome.FAIL, f"the log does not lead to the chip's answer, its record {answer.sequence}"
    if newest < answer.sequence - 1:
        between = answer.sequence - 1 - newest
        return Outcome.INCONCLUSIVE, (
            f"the chip's answer is its record {answer.sequence}, the log was read up to {newest}: {between} between"
            " were not seen; read it out again, after the challenge"
        )
    return None
