"""What the chips themselves signed for a visit: answers to its nonces, and the logs that were read out of them.

A chip's answer counts if the chip signed it over the nonce that the visit's opening gave it. A log that was read out
counts if every record verifies, none is missing, and it reaches the chip's answer: a log that was read before the
chip was asked says nothing of the records that the answer shows to lie between.

Neither a file that is no chip's record nor another chip's record says anything of the chip that was asked: whoever put
it on record took a wrong file, or has yet to say what stands in the rack. It is not shown, never a failure. What an
inspector takes back is told as ``visit.correction`` and counts neither way, but for a log that failed by the chip's own
records: that chip is not verified by another log.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

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

__all__ = ["chip_findings", "own_answer", "own_record"]

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
    taken_back = visit.taken_back()
    answers: dict[str, list[tuple[int, ChipRecord, Statement]]] = {}
    for record, statement in told:
        if record.what != "challenge":
            continue
        name, used = record.item or "", [statement.id]
        try:
            decoded, answer = own_answer(bundle.file(record.details["answer"]), name, roots)
        except EvidenceError as error:
            outcome, reason = Outcome.INCONCLUSIVE, f"no answer of this chip: {error}"
        else:
            used.append(answer.id)
            if visit.opening is None or decoded.nonce != challenge_nonce(visit.opening, name):
                outcome, reason = Outcome.FAIL, "the chip signed an answer to another nonce than the visit's"
            else:
                outcome, reason = (
                    Outcome.PASS,
                    f"the chip answered the visit's nonce with its record {decoded.sequence}",
                )
                # Taken back or not, the chip signed it: its log has to lead there.
                answers.setdefault(name, []).append((record.sequence, decoded, answer))
        shown = finding("inspection.challenge", name, outcome, reason, used=used)
        yield _taken_back(shown, taken_back.get(record.sequence), check="visit.correction")
    for record, statement in told:
        if record.what == "readout":
            shown = _readout(bundle, roots, record, statement, answers.get(record.item or "", ()))
            check = shown.check if shown.outcome is Outcome.FAIL else "visit.correction"
            yield _taken_back(shown, taken_back.get(record.sequence), check=check)


def own_record(raw: bytes, item: str, roots: TrustRoots) -> tuple[ChipRecord, Statement]:
    """Returns a record that the chip itself signed.

    Raises:
        EvidenceError: it is no chip's record, or another chip's.
    """
    statement = verify_statement(raw, roots, kind=CHIP_RECORD, role="chip")
    record = decode_record(statement)
    if record.chip != item:
        raise EvidenceError(
            f"is by chip {record.chip[:16]}, asked was {item[:16]}", where=f"record {statement.id[:16]}"
        )
    return record, statement


def own_answer(raw: bytes, item: str, roots: TrustRoots) -> tuple[ChipRecord, Statement]:
    """Returns an answer that the chip itself signed, to whatever nonce.

    Raises:
        EvidenceError: as :func:`own_record`, or it answers nothing.
    """
    record, statement = own_record(raw, item, roots)
    if record.reason != "challenge":
        raise EvidenceError(f"is a record of a {record.reason}, no answer", where=f"record {statement.id[:16]}")
    return record, statement


def _taken_back(shown: Finding, by: tuple[VisitRecord, Statement] | None, *, check: str) -> Finding:
    if by is None:
        return shown
    later, said = by
    reason = f"taken back by record {later.sequence} ({later.details['text']}); it told: {shown.reason}"
    evidence = (*shown.evidence, said.id)
    return replace(shown, check=check, outcome=Outcome.INCONCLUSIVE, reason=reason, evidence=evidence)


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
        if not any(_is_own(raw, item, roots) for raw in raws):
            reason = "no log of this chip: it signed none of the records"
            return finding("inspection.readout", item, Outcome.INCONCLUSIVE, reason, used=used)
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


def _is_own(raw: bytes, item: str, roots: TrustRoots) -> bool:
    try:
        own_record(raw, item, roots)
    except EvidenceError:
        return False
    return True


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
