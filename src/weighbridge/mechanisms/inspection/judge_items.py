"""What the records say of items, cameras and people.

``visit.serial``: the number on the item and the one that it tells are those of the frozen list. ``visit.seal``: the
seal is there, whole and the one expected (the frozen list's ``seal``). ``visit.camera``: footage without gap,
overlap or copy. ``visit.tamper``, ``visit.refusal``, ``visit.silence``: what was seen or not given.
A serial number or seal that its own inspector takes back as misread shows nothing, for or against.
``visit.replacement``: reserves stood in, in their order, for a reason that the plan allows. ``visit.scope``: nothing
else was looked at.
Seals and tamper signs carry no calibrated weight: they never lower what could be hidden.
"""

from collections.abc import Iterator

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.inspection.footage import gaps, overlaps, shown_twice
from weighbridge.mechanisms.inspection.record import VisitRecord
from weighbridge.mechanisms.inspection.visit import CLOCK_SKEW, Visit, finding

__all__ = ["item_findings", "place_findings"]


def item_findings(visit: Visit) -> Iterator[Finding]:
    """Yields what serial numbers, seals, tamper signs, refusals and replacements show, by item."""
    taken_back = visit.taken_back()
    for record, statement in visit.records:
        judged = {"serial": _serial, "seal": _seal, "tamper": _tamper, "refusal": _refusal, "silence": _silence}
        if record.what in judged:
            outcome, reason = judged[record.what](visit, record)
            used = [statement.id]
            if record.sequence in taken_back:
                # Not a pass either: who may look until it fits has not looked.
                later, said = taken_back[record.sequence]
                used.append(said.id)
                outcome = Outcome.INCONCLUSIVE
                reason = f"taken back by record {later.sequence} ({later.details['text']}); it told: {reason}"
            subject = record.item or visit.id
            yield finding(f"visit.{record.what}", subject, outcome, reason, used=used)
    yield from _replacements(visit)
    yield from _scope(visit)


def place_findings(visit: Visit) -> Iterator[Finding]:
    """Yields what the cameras show: one finding a camera, over all that was recorded of it.

    A gap between two records of one camera is a gap like any other, else footage could be cut by telling it in pieces.
    """
    told = visit.of("camera")
    twice = shown_twice((r.details["camera"], part) for r, _ in told for part in r.details["footage"])
    for camera in sorted({r.details["camera"] for r, _ in told}):
        own = [(r, s) for r, s in told if r.details["camera"] == camera]
        parts = {(p["from"], p["to"], p["sha256"]): p for r, _ in own for p in r.details["footage"]}
        footage = [parts[key] for key in sorted(parts)]
        start, end = min(r.details["from"] for r, _ in own), max(r.details["to"] for r, _ in own)
        missing = gaps(footage, start=start, end=end)
        longest = max((after - before for before, after in missing), default=0)
        doubled, copied = overlaps(footage), [p for p in footage if p["sha256"] in twice]
        ahead = [r for r, s in own if r.details["to"] > s.issued_at + CLOCK_SKEW]
        if ahead:
            outcome, reason = Outcome.FAIL, "its footage ends after it was put on record"
        elif copied:
            outcome, reason = Outcome.FAIL, f"{len(copied)} pieces of its footage are shown for two times or places"
        elif doubled:
            outcome, reason = Outcome.FAIL, f"{len(doubled)} spans of its footage overlap"
        elif longest > visit.plan.camera_gap_s:
            total = sum(after - before for before, after in missing)
            outcome, reason = Outcome.FAIL, f"{total} s are missing, {longest} s at once"
        else:
            outcome, reason = Outcome.PASS, f"{len(footage)} pieces cover the {end - start} s that were asked for"
        used, unit = [s.id for _, s in own], "s, longest gap"
        yield finding("visit.camera", camera, outcome, reason, figure=float(longest), unit=unit, used=used)


def _serial(visit: Visit, record: VisitRecord) -> tuple[Outcome, str]:
    expected = visit.plan.fact(record.item or "", "serial")
    seen = {"on it": record.details["physical"], "told by it": record.details["digital"]}
    if expected is None:
        return Outcome.INCONCLUSIVE, "the frozen list has no serial number for it"
    for place, value in seen.items():
        if value is not None and value != expected:
            return Outcome.FAIL, f"the serial number {place} is {value}, in the frozen list {expected}"
    absent = [place for place, value in seen.items() if value is None]
    if absent:
        return Outcome.INCONCLUSIVE, f"the serial number {' and '.join(absent)} was not read"
    return Outcome.PASS, f"serial number {expected} is on it, told by it and in the frozen list"


def _seal(visit: Visit, record: VisitRecord) -> tuple[Outcome, str]:
    seal, found = record.details["seal"], record.details["found"]
    expected = visit.plan.fact(record.item or "", "seal")
    if found is None:
        return Outcome.FAIL, f"seal {seal} is not there"
    if found != seal or expected not in (None, seal):
        return Outcome.FAIL, f"bears seal {found}, expected {expected or seal}"
    if not record.details["intact"]:
        return Outcome.FAIL, f"seal {seal} is not whole"
    if expected is None:
        # What an inspector expects and finds is one word; what was frozen before anybody came is another.
        return Outcome.INCONCLUSIVE, f"seal {seal} is there and whole; the frozen list has no seal number for it"
    return Outcome.PASS, f"seal {seal} is there and whole"


def _tamper(visit: Visit, record: VisitRecord) -> tuple[Outcome, str]:
    return Outcome.FAIL, f"sign of tampering: {record.details['sign']}"


def _refusal(visit: Visit, record: VisitRecord) -> tuple[Outcome, str]:
    why = record.details["reason"]
    return Outcome.FAIL, f"{record.details['by']} refused {record.details['of']}{f': {why}' if why else ''}"


def _silence(visit: Visit, record: VisitRecord) -> tuple[Outcome, str]:
    waited = (record.at - record.details["asked_at"]) / 60
    if waited < 0:
        return Outcome.INCONCLUSIVE, f"{record.details['asked']!r} was asked {-waited:.0f} minutes after this says so"
    return Outcome.INCONCLUSIVE, f"no answer to {record.details['asked']!r} within {waited:.0f} minutes"


def _replacements(visit: Visit) -> Iterator[Finding]:
    for record, statement, fault in visit.replacements():
        outcome, reason = Outcome.FAIL, fault
        if reason is None:
            outcome = Outcome.INCONCLUSIVE
            instead = f"{record.details['by']} stands in; the item itself stays not verified"
            reason = f"{record.details['reason']}: {instead}"
        yield finding("visit.replacement", record.item or visit.id, outcome, reason, used=[statement.id])


def _scope(visit: Visit) -> Iterator[Finding]:
    allowed = {row["id"] for row in visit.plan.items} | set(visit.replaced().values())
    for record, statement in visit.records:
        if record.item is not None and record.what != "replacement" and record.item not in allowed:
            reason = f"record {record.sequence} is about an item that was neither drawn nor a replacement"
            yield finding("visit.scope", record.item, Outcome.FAIL, reason, used=[statement.id])
