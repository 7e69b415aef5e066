"""The directory of chips: signed custody events in, answers and findings out.

Every statement is verified when it comes in and again whenever it is read. What the directory says follows from the
set of its statements alone, not from the order in which they came. That none is missing is the log's to show.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from weighbridge.errors import EvidenceError
from weighbridge.evidence.certificates import Identity, verify_chain
from weighbridge.evidence.findings import Finding
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.statement import Statement, sign_statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.registry.custody import ROLES, Custody, CustodyEvent, History
from weighbridge.mechanisms.registry.epcis import KIND, Step, corrected, event_payload, read_event
from weighbridge.mechanisms.registry.findings import TRANSIT_LIMIT, judge, judge_serials, unknown
from weighbridge.mechanisms.registry.fold import fold
from weighbridge.mechanisms.registry.store import Row, Store

__all__ = ["Directory", "claim_of", "read_custody_event", "sign_correction", "sign_custody_event"]


def sign_custody_event(
    signer: Signer,
    *,
    step: Step,
    chips: Sequence[str],
    time: float,
    party: str,
    other: str | None = None,
    serial: str | None = None,
    location: str | None = None,
    issued_at: float | None = None,
) -> bytes:
    """Signs a custody event as a statement.

    Args:
        signer: the party's key, or the registrar's who writes down what the party did.
        step: what happened.
        chips: ids of the chips concerned.
        time: when, Unix seconds.
        party: who did it.
        other: addressee of a shipment, or sender of what was received.
        serial: the maker's serial number, for one chip that was made.
        location: the site.
        issued_at: when it is signed, Unix seconds; now unless given.

    Returns:
        The statement's bytes.

    Raises:
        InputError: naming the field and the mend.
    """
    payload = event_payload(step, chips=chips, time=time, party=party, other=other, serial=serial, location=location)
    return sign_statement(signer, kind=KIND, subject=payload["eventID"], payload=payload, issued_at=issued_at)


def sign_correction(
    signer: Signer,
    *,
    of: Statement,
    reason: Literal["incorrect_data", "did_not_occur"],
    time: float,
    corrective: Sequence[str] = (),
    issued_at: float | None = None,
) -> bytes:
    """Signs the declaration that a custody event was an error; the event itself stays on record.

    Args:
        signer: the key of the event's signer, or the registrar's.
        of: the verified statement of the event.
        reason: CBV error reason.
        time: when it was declared, Unix seconds.
        corrective: eventIDs of the events that say what is right.
        issued_at: when it is signed, Unix seconds; now unless given.
    """
    payload = corrected(of.payload, reason=reason, time=time, corrective=corrective)
    return sign_statement(signer, kind=KIND, subject=of.subject, payload=payload, issued_at=issued_at)


def read_custody_event(statement: Statement) -> CustodyEvent:
    """Reads the custody event of a verified statement.

    Raises:
        EvidenceError: it is no custody event, or is about something else than it says.
    """
    where = f"statement {statement.id[:16]}"
    if statement.kind != KIND or statement.role not in ROLES:
        raise EvidenceError(f"a {statement.kind} by a {statement.role} is no custody event", where=where)
    body = read_event(statement.payload, where=where)
    if body.event_id != statement.subject:
        raise EvidenceError("the subject is not the eventID", where=where, field="sub")
    return CustodyEvent(
        statement=statement.id,
        body=body,
        issuer=statement.issuer,
        role=statement.role,
        issued_at=statement.issued_at,
    )


def claim_of(issuer: str, payload_bytes: bytes) -> str:
    """Returns the digest of who said what, whenever it was signed."""
    return hashlib.sha256(issuer.encode() + b"\0" + payload_bytes).hexdigest()


class Directory:
    """Which chips exist and who held which at which time.

    Args:
        url: a path, or an SQLAlchemy URL of SQLite or PostgreSQL.
        roots: whose signatures count.
        create: begin an empty directory if there is none.

    Raises:
        InputError: no directory there, or not a directory.
    """

    def __init__(self, url: str | Path, *, roots: TrustRoots | Sequence[bytes], create: bool = False) -> None:
        self._store = Store(url, create=create)
        self._roots = roots

    @classmethod
    def in_memory(cls, statements: Iterable[bytes], *, roots: TrustRoots | Sequence[bytes]) -> Self:
        """Returns a directory made of these statements, for instance those of a log, and kept nowhere."""
        directory = cls("sqlite://", roots=roots, create=True)
        directory.add(statements)
        return directory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database."""
        self._store.close()

    def add(self, statements: Iterable[bytes]) -> tuple[str, ...]:
        """Verifies custody events and stores them: all or, if one cannot be believed, none.

        What an event claims is not judged here: contradictions are stored and found, not turned away.

        Args:
            statements: signed statements; one that is stored already is passed over.

        Returns:
            Ids of the statements that were new.

        Raises:
            EvidenceError: a signature, chain or form does not hold; nothing was stored.
        """
        rows = [self._row(raw) for raw in statements]
        new = self._store.insert(rows)
        return tuple(dict.fromkeys(row.id for row in rows if row.id in new))

    def identify(self, signer: Signer) -> Identity:
        """Returns who the directory's roots say a signer is, at present.

        Raises:
            EvidenceError: its chain leads to none of the roots, or it may not sign custody events.
        """
        roots = self._roots.roots if isinstance(self._roots, TrustRoots) else self._roots
        identity = verify_chain(signer.chain, roots, at=None)
        if identity.role not in ROLES:
            raise EvidenceError(f"a {identity.role} signs no custody events", where=identity.name)
        return identity

    def claims_known(self, claims: Sequence[str]) -> frozenset[str]:
        """Returns which claims (:func:`claim_of`) some statement here makes already."""
        return self._store.claims_known(claims)

    def chips(self) -> list[str]:
        """Returns the ids of all chips that some event names."""
        return self._store.names("chip")

    def parties(self) -> list[str]:
        """Returns the names of all parties that some event names."""
        return self._store.names("party")

    def known(self, chip: str) -> bool:
        """Whether the directory holds a commissioning of the chip that is in effect.

        A chip that only appears in shipments or receipts is not known: it comes from nowhere.
        """
        return bool(self.history(chip).makers)

    def history(self, chip: str) -> History:
        """Returns all that is known of a chip; empty if nothing is."""
        return next(self._histories([chip]))

    def histories(self) -> Iterator[History]:
        """Yields the history of every chip, by chip id."""
        return self._histories(self.chips())

    def holder_at(self, chip: str, time: float) -> Custody | None:
        """Returns who answered for the chip at a time (Unix seconds); None before anything is known of it."""
        return self.history(chip).at(time)

    def chips_of(self, holder: str, time: float) -> list[str]:
        """Returns the chips that a party answered for at a time, in transit and uncertified scrap included."""
        held = []
        for history in self._histories(self._store.beside("party", [holder], wanted="chip")):
            custody = history.at(time)
            if custody is not None and custody.holder == holder and not custody.certified:
                held.append(history.chip)
        return held

    def terminal_time(self, chip: str) -> float | None:
        """Returns when the chip was first given up for destruction, certified or only claimed; else None.

        A chip record of a later time contradicts it: that join is the ledger's.
        """
        return self.history(chip).destroyed_at

    def findings(
        self,
        *,
        now: float,
        at: float | None = None,
        transit_limit: float = TRANSIT_LIMIT,
        chips: Collection[str] | None = None,
        passes: bool = False,
    ) -> list[Finding]:
        """Returns what does not add up.

        Args:
            now: the reader's clock, Unix seconds: nothing can have been signed or have happened later.
            at: the time at which a shipment may be overdue; ``now`` unless given.
            transit_limit: seconds that a shipment may be under way.
            chips: the chips to judge, known or not; all that are known if None.
            passes: also return a passing finding for each chip in order.
        """
        wanted = self.chips() if chips is None else sorted(set(chips))
        found: list[Finding] = []
        judged: dict[str, History] = {}
        for history in self._histories(wanted):
            judged[history.chip] = history
            if not history.events and not history.voided:
                found.append(unknown(history.chip))
        serials = {history.serial for history in judged.values() if history.serial is not None}
        shared = self._sharing(serials, known=judged) if serials else []
        doubled = [f for f in judge_serials([*judged.values(), *shared]) if f.subject in judged]
        troubled = {finding.subject for finding in (*found, *doubled)}
        for history in judged.values():
            if history.events or history.voided:
                quiet = passes and history.chip not in troubled
                found += judge(history, now=now, at=at, transit_limit=transit_limit, passes=quiet)
        return sorted([*found, *doubled], key=lambda f: (f.subject, f.check, f.reason))

    def verify(self) -> int:
        """Verifies every statement and the index over them.

        Returns:
            How many statements there are.

        Raises:
            EvidenceError: a statement does not hold, or the index hides or invents one.
        """
        rows = [self._row(raw) for raw in self._store.all()]
        self._store.check_index(rows)
        return len(rows)

    def _sharing(self, serials: Iterable[str], *, known: Collection[str]) -> list[History]:
        chips = self._store.beside("serial", serials, wanted="chip")
        return list(self._histories([chip for chip in chips if chip not in known]))

    def _histories(self, chips: Sequence[str]) -> Iterator[History]:
        by_chip: dict[str, list[CustodyEvent]] = {chip: [] for chip in chips}
        for event in self._events(self._store.mentioning("chip", by_chip)):
            for chip in event.body.chips:
                if chip in by_chip:
                    by_chip[chip].append(event)
        for chip, events in by_chip.items():
            yield fold(chip, events)

    def _events(self, statements: Iterable[bytes]) -> Iterator[CustodyEvent]:
        for raw in statements:
            yield read_custody_event(verify_statement(raw, self._roots, kind=KIND, role=ROLES))

    def _row(self, raw: bytes) -> Row:
        statement = verify_statement(raw, self._roots, kind=KIND, role=ROLES)
        body = read_custody_event(statement).body
        mentions = {("chip", chip) for chip in body.chips} | {("party", body.party)}
        if body.other is not None:
            mentions.add(("party", body.other))
        if body.serial is not None:
            mentions.add(("serial", body.serial))
        return Row(
            id=statement.id,
            claim=claim_of(statement.issuer, statement.payload_bytes),
            raw=raw,
            mentions=frozenset(mentions),
        )
