"""Judging a chip's records: the rules in one place, without I/O. Records in, findings and a summary out.

1. Every statement is a well-formed record that the chip signed about itself.
2. Records are numbered from 0 without gap; no number is used twice, none known from elsewhere is absent.
3. Every record names the statement before it, so an edit or a swap breaks the chain.
4. Every revealed link hashes forward to the certified commitment; due times are recomputed from it, to the
   nanosecond; the rate is the certificate's; no link is known before its interval is over.
5. No stop is later than the limit; no due time passed without a stop.
6. Every boot ends with a shutdown record. Where one does not, what fell due meanwhile counts as unexplained.
7. Active time, stops and the host's clock add up; receipts and brackets agree with them; CPU time fits the cores.
8. Sources, processors, user ids and control group stayed as they should; all memory could be read.
9. Leaf tables and salts, where at hand, give the signed roots.

What it cannot show: that an agent whose key and memory the operator can reach told the truth (level A is assumed),
what was done while no boot was on record, and whether records after the last one were withheld, unless the log or an
inspector's challenge says how far they reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding
from weighbridge.evidence.statement import Statement
from weighbridge.mechanisms.chip.check_conditions import check_conditions, check_leaves
from weighbridge.mechanisms.chip.check_schedule import ScheduleCheck
from weighbridge.mechanisms.chip.check_time import TimeCheck, TimeLimits
from weighbridge.mechanisms.chip.docket import CHECKS, Docket
from weighbridge.mechanisms.chip.leaves import LeafTable
from weighbridge.mechanisms.chip.record import NO_PREVIOUS, ChipRecord, claimed_name, decode_record
from weighbridge.mechanisms.chip.schedule import ScheduleTerms
from weighbridge.mechanisms.chip.summary import BootSummary, BootTally, ChipSummary

__all__ = ["KnownHead", "Verification", "VerifyLimits", "verify"]

_NAMED_GAPS = 100  # missing records that get a finding of their own


@dataclass(frozen=True, kw_only=True)
class VerifyLimits:
    """What the verifier allows.

    Attributes:
        late_s: lateness of a stop, seconds of chip-active time.
        time: how far honest clocks may disagree.
        firmware: digests of reviewed agents; None accepts any that does not change.
    """

    late_s: float = 1.0
    time: TimeLimits = field(default_factory=TimeLimits)
    firmware: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class KnownHead:
    """A record known from elsewhere: the log, or a challenge answered in person.

    Attributes:
        sequence: its number.
        identifier: its statement id.
    """

    sequence: int
    identifier: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What the records of one chip show.

    Attributes:
        chip: its id.
        findings: one for each thing found and one for each check that passed or could not be done.
        summary: its time; None if no record could be read.
        records: the records that hold their place in the chain, by sequence.
        identifiers: their statement ids, by sequence.
    """

    chip: str
    findings: tuple[Finding, ...]
    summary: ChipSummary | None
    records: tuple[ChipRecord, ...]
    identifiers: Mapping[int, str]


def verify(
    statements: Sequence[Statement],
    *,
    chip: str | None = None,
    receipts: Mapping[str, float] | None = None,
    brackets: Mapping[str, float] | None = None,
    leaves: Mapping[int, LeafTable] | None = None,
    salts: Mapping[int, bytes] | None = None,
    known: Sequence[KnownHead] = (),
    limits: VerifyLimits | None = None,
) -> Verification:
    """Judges one chip.

    Args:
        statements: verified statements of kind ``chip-record``, in any order; the same one twice does no harm.
        chip: the chip's id; that of the first statement if None.
        receipts: times of log receipts, Unix seconds, by statement id.
        brackets: times at which bracket values came to be, Unix seconds, by the value's SHA-256.
        leaves: leaf tables by sequence; None leaves their check undone. A table that cannot be read may raise
            EvidenceError when it is asked for.
        salts: salts by sequence.
        known: records known from elsewhere.
        limits: what is allowed; the defaults if None.

    Returns:
        Findings and summary.
    """
    limits = limits or VerifyLimits()
    if chip is None:
        chip = statements[0].subject if statements else ""
    docket = Docket(chip)
    placed = _place(statements, chip, docket, receipts or {})
    _check_known(placed, known, chip, docket)
    if not placed:
        docket.fail("chip.sequence", chip or "chip", "there is no record at all")
        for check in CHECKS:
            if check != "chip.sequence":
                docket.undone(check, "there is no record")
        return Verification(chip=chip, findings=docket.findings(), summary=None, records=(), identifiers={})
    first = placed[min(placed)]
    records = [placed[sequence][0] for sequence in sorted(placed)]
    identifiers = {sequence: statement.id for sequence, (_, statement) in placed.items()}
    try:
        terms = ScheduleTerms.from_claims(first[1].identity.claims, where=chip)
    except EvidenceError as error:
        docket.fail("chip.schedule", chip, str(error))
        terms = None
    for check in ("chip.lateness", "chip.missed"):
        if terms is None:
            docket.undone(check, "there is no schedule to compare with")
    boots, schedule = _walk(records, identifiers, docket, terms, limits, receipts or {}, brackets or {})
    check_conditions(records, docket, firmware=limits.firmware)
    check_leaves(records, docket, leaves=leaves, salts=salts)
    taken = sum(len(boot.samples) for boot in boots)
    due = max(schedule.revealed if schedule else 0, taken)
    summary = ChipSummary(
        chip=chip,
        rate_hz=terms.rate_hz if terms else first[0].rate_hz,
        records=len(records),
        active_ns=records[-1].active_ns,
        samples_due=due,
        samples_taken=taken,
        unexplained_due=due - taken,
        closed=not boots or boots[-1].clean,
        boots=tuple(boots),
    )
    return Verification(
        chip=chip,
        findings=docket.findings(),
        summary=summary,
        records=tuple(records),
        identifiers=identifiers,
    )


def _place(
    statements: Sequence[Statement], chip: str, docket: Docket, receipts: Mapping[str, float]
) -> dict[int, tuple[ChipRecord, Statement]]:
    """Gives each sequence number its record; of several, the one that the log had first."""
    placed: dict[int, tuple[ChipRecord, Statement]] = {}
    order = sorted({s.id: s for s in statements}.values(), key=lambda s: receipts.get(s.id, float("inf")))
    for statement in order:
        try:
            record = decode_record(statement)
        except EvidenceError as error:
            docket.fail("chip.record", claimed_name(statement), str(error), evidence=[statement.id])
            continue
        if record.chip != chip:
            docket.fail("chip.record", record.name, f"is another chip's, not {chip}'s", evidence=[statement.id])
        elif record.sequence in placed:
            docket.fail(
                "chip.sequence",
                record.name,
                "two different records have this number: the chip's store was rolled back or its key was copied",
                evidence=[placed[record.sequence][1].id, statement.id],
            )
        else:
            placed[record.sequence] = (record, statement)
    _check_gaps(sorted(placed), chip, docket)
    return placed


def _check_gaps(present: Sequence[int], chip: str, docket: Docket) -> None:
    """Names the missing records; a number may be anything a chip signed, so nothing is counted out one by one."""
    named, unnamed, following = 0, 0, 0
    for sequence in present:
        listed = range(following, min(sequence, following + _NAMED_GAPS - named))
        for missing in listed:
            docket.fail("chip.sequence", f"{chip}#{missing}", "the record is missing")
        named += len(listed)
        unnamed += max(0, sequence - following) - len(listed)
        following = sequence + 1
    if unnamed:
        docket.fail("chip.sequence", chip, f"{unnamed} more records are missing")


def _check_known(
    placed: Mapping[int, tuple[ChipRecord, Statement]], known: Sequence[KnownHead], chip: str, docket: Docket
) -> None:
    for head in known:
        name = f"{chip}#{head.sequence}"
        if head.sequence not in placed:
            docket.fail("chip.end", name, "is known from elsewhere and missing here", evidence=[head.identifier])
        elif placed[head.sequence][1].id != head.identifier:
            docket.fail(
                "chip.sequence",
                name,
                "the record known from elsewhere is a different one",
                evidence=[placed[head.sequence][1].id, head.identifier],
            )


def _walk(
    records: Sequence[ChipRecord],
    identifiers: Mapping[int, str],
    docket: Docket,
    terms: ScheduleTerms | None,
    limits: VerifyLimits,
    receipts: Mapping[str, float],
    brackets: Mapping[str, float],
) -> tuple[list[BootSummary], ScheduleCheck | None]:
    schedule = ScheduleCheck(docket, terms, int(limits.late_s * 1e9)) if terms else None
    times = TimeCheck(docket, limits.time, receipts, brackets)
    boots: list[BootTally] = []
    before: ChipRecord | None = None
    event: ChipRecord | None = None
    for record in records:
        gap = record.sequence != (0 if before is None else before.sequence + 1)
        expected = NO_PREVIOUS if before is None else identifiers[before.sequence]
        if not gap and record.previous != expected:
            docket.fail(
                "chip.chain",
                record.name,
                f"names {record.previous[:16]} as the record before; that is {expected[:16]}",
                evidence=[identifiers[record.sequence]],
            )
        unclean = record.reason == "boot" and event is not None and event.reason != "shutdown"
        _check_order(record, before, event, docket, gap=gap)
        missed = schedule.take(record, gap_before=gap, unclean=unclean or gap) if schedule else []
        times.take(record, identifiers[record.sequence], gap_before=gap, unclean=unclean)
        if unclean and event is not None:
            docket.doubt(
                "chip.shutdown",
                record.name,
                f"boot {event.boot} ended without a shutdown record after #{event.sequence}; "
                f"{(record.active_ns - event.active_ns) / 1e9:.3f} s of chip time until then and {record.lost} stops "
                "that fell due are unexplained",
                figure=float(record.lost),
                unit="stops",
                evidence=[identifiers[record.sequence]],
            )
            boots[-1].ended_uncleanly(record)
        if record.reason == "boot" or (not boots and record.accounting != "none"):
            if boots:
                boots[-1].missed += missed
                missed = []
            boots.append(BootTally(record))
        if record.accounting != "none":
            boots[-1].add(record, receipts.get(identifiers[record.sequence]))
        if boots:
            boots[-1].missed += missed
        before = record
        event = event if record.reason == "challenge" else record
    if event is not None and event.reason != "shutdown":
        docket.doubt(
            "chip.end",
            event.name,
            "no shutdown record follows: the chip runs or ended uncleanly; time from here on counts at capacity",
        )
    times.finish()
    return [boot.summary() for boot in boots], schedule


def _check_order(
    record: ChipRecord, before: ChipRecord | None, event: ChipRecord | None, docket: Docket, *, gap: bool
) -> None:
    """Checks that boots are counted and that nothing but a boot or a challenge follows a shutdown."""
    if gap:
        return
    last = before.boot if before else 0
    expected = last + 1 if record.reason == "boot" else last
    if record.boot != expected:
        docket.fail("chip.chain", record.name, f"is of boot {record.boot}, expected {expected}")
    if record.reason in ("sample", "shutdown") and (event is None or event.reason == "shutdown"):
        docket.fail("chip.chain", record.name, f"is a {record.reason} record outside any boot")
