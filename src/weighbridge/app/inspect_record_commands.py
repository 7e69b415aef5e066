"""``weighbridge inspect record``: what was seen, answered, refused or not answered, one at a time or from a table."""

import csv
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.console import print_json
from weighbridge.app.draw_files import read_file
from weighbridge.app.inspect_close_commands import require_team
from weighbridge.app.visit_chip_files import require_own_file
from weighbridge.app.visit_fields import details_of, fields_help, file_fields, parse_time, show_time
from weighbridge.app.visit_print import print_clocks
from weighbridge.errors import InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import sign_statement, statement_id
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.visits import judge_bundle
from weighbridge.mechanisms.inspection.bundle import Bundle
from weighbridge.mechanisms.inspection.judge_times import WRITE_UP, moment_fault
from weighbridge.mechanisms.inspection.record import ABOUT_ITEMS, CORRECTED, FORMS, RECORD, VisitRecord
from weighbridge.mechanisms.inspection.visit import CLOCK_SKEW, Visit

__all__ = ["mount"]


_MOVE_CLOCKS = frozenset({"access", "refusal", "dispute", "acknowledgement", "clarification"})
"""Kinds of record after which it is worth saying what is due."""


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("record")(record)


@dataclass(frozen=True)
class _Entry:
    """One record as it was typed."""

    item: str | None
    values: Sequence[str]
    files: Sequence[str]
    at: str | None


def record(
    folder: Annotated[Path, typer.Argument(help="The visit's folder.", metavar="VISIT")],
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(FORMS)}.", metavar="WHAT")],
    *,
    item: Annotated[str | None, typer.Option(help="The item that it is about.", metavar="ID")] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help=f"A field of it; repeatable. {fields_help(files=False)}", metavar="NAME=VALUE"),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", help=f"A file to keep; repeatable. {fields_help(files=True)}", metavar="NAME=PATH"),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="When it happened: 2026-11-22T10:00Z or Unix seconds; now if not given.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV: a record for each line, with columns item, at, and the fields; paths are beside it.",
            metavar="FILE",
        ),
    ] = None,
    key: Annotated[Path, typer.Option(help="The inspector's private key (PEM), its chain beside it.", metavar="FILE")],
    roots: Annotated[Path, typer.Option(help="Directory of trust roots, from outside.", metavar="DIR")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    r"""Put on record what was seen, answered, refused or not answered.

    Example: weighbridge inspect record visit serial --item CHIP --set physical=SN1 --set digital=SN1 \
               --file photo=rack.jpg --key inspector.pem --roots roots
    """
    signer, trusted = FileSigner.load(key), TrustRoots.load(roots)
    bundle = Bundle(folder)
    visit = bundle.visit(trusted)
    require_team(visit, signer, key)
    if visit.opening is None or visit.opening_statement is None:
        raise InputError("is not open", where=folder, mend="open it with: weighbridge inspect open")
    if visit.close is not None:
        raise InputError("is closed", where=folder, mend="what comes later belongs to another visit")
    if table is not None and (item, values, files, at) != (None, None, None, None):
        raise InputError("stands alone: item, time and fields are its columns", where=table, field="--table")
    entries = [_Entry(item, values or (), files or (), at)] if table is None else list(_rows(table, what))
    now, start = int(time.time()), len(visit.records)
    raws: list[bytes] = []
    kept: list[bytes] = []
    for number, entry in enumerate(entries, 2):
        try:
            stated, attached = _stated(visit, what, entry, now, signer.key_id)
            require_own_file(stated, attached, entry.files, trusted)
        except InputError as error:
            if table is None:
                raise
            raise InputError(str(error), where=table, field=f"line {number}") from error
        raw = sign_statement(signer, kind=RECORD, subject=visit.id, payload=stated.as_payload(), issued_at=now)
        visit = replace(visit, records=[*visit.records, (stated, bundle.read(raw, RECORD, trusted))])
        raws.append(raw)
        kept += attached
    # All lines were read before the first is written: a table is on record whole, or not at all.
    for data in kept:
        bundle.keep(data)
    for sequence, raw in enumerate(raws, start):
        bundle.put(f"records/{sequence:04}.cose", raw)
    # Reading hundreds of chips' logs anew for each record would make the last ones wait for minutes.
    about = None if len(entries) > 1 and what in ("challenge", "readout") else _about(visit)
    judged = judge_bundle(bundle, trusted, now=now, item=about)
    own = {statement_id(raw) for raw in raws}
    shown = [finding for finding in judged.findings if own & set(finding.evidence)]
    ringing = [clock for clock in judged.judgement.clocks if clock.state(now) in ("alarm", "broken")]
    if as_json:
        alarms = [clock.as_dict(now) for clock in ringing]
        told = [
            {"statement": statement.id, **stated.as_payload()} for stated, statement in judged.visit.records[start:]
        ]
        first = told[0] if table is None else {"records": told}
        print_json({**first, "findings": [finding.as_dict() for finding in shown], "alarms": alarms})
        return
    for stated, statement in judged.visit.records[start:]:
        _print(stated, statement.id, [f for f in shown if statement.id in f.evidence], short=len(raws) > 1)
    if len(raws) > 1:
        passed = sum(1 for finding in shown if finding.outcome is Outcome.PASS)
        typer.echo(f"{len(raws)} records; {passed} of {len(shown)} findings pass.")
    if ringing or what in _MOVE_CLOCKS:
        print_clocks(judged.judgement.clocks, now)


def _about(visit: Visit) -> str:
    """Returns the item of the newest record, or of what that takes back."""
    newest = visit.records[-1][0]
    if newest.what == "correction":
        newest = visit.records[newest.details["about"]][0]
    return newest.item or ""


def _print(stated: VisitRecord, identifier: str, shown: Sequence[Finding], *, short: bool) -> None:
    told = [finding for finding in shown if not short or finding.outcome is not Outcome.PASS]
    if short and not told:
        return
    of = f" of {stated.item}" if stated.item else ""
    typer.echo(f"record {stated.sequence} {identifier[:16]}: {stated.what}{of}, {show_time(stated.at)}")
    for finding in told:
        typer.echo(f"- {finding.check}: {finding.outcome.value}: {finding.reason}")


def _stated(visit: Visit, what: str, entry: _Entry, now: int, own: str) -> tuple[VisitRecord, list[bytes]]:
    """Returns the next record of a visit and the files that go with it.

    Raises:
        InputError: the judgement would refuse it.
    """
    assert visit.opening is not None
    moment = now if entry.at is None else parse_time(entry.at, name="--at", latest=now + CLOCK_SKEW)
    if moment < visit.opening.at - CLOCK_SKEW or moment < now - WRITE_UP:
        raise InputError("lies before the visit, or more than 12 hours ago", where=entry.at, field="--at")
    _within_scope(visit, what, entry.item)
    details, kept = details_of(what, entry.values, entry.files)
    if what in ABOUT_ITEMS and entry.item is None:
        mend = "name it with --item ID, or in the table's column item"
        raise InputError(f"a {what} is about an item", field="--item", mend=mend)
    stated = VisitRecord(
        visit=visit.id,
        sequence=len(visit.records),
        previous=visit.statements[-1].id,
        at=moment,
        item=entry.item,
        what=what,
        details=details,
    )
    if (fault := moment_fault(visit, stated)) is not None:
        asked = what == "silence"
        raise InputError(
            fault,
            where=entry.item,
            field="--set asked_at" if asked else "--at",
            mend="give the time of the question, and with --at when the answer was still missing"
            if asked
            else "put on record first when access was given: weighbridge inspect record VISIT access --at TIME",
        )
    if what == "replacement":
        _may_replace(visit, stated)
    if what == "correction":
        _may_take_back(visit, details["about"], own)
    elif "about" in details:
        _is_dispute(visit, details)
    return stated, kept


def _rows(table: Path, what: str) -> Iterator[_Entry]:
    try:
        rows = list(csv.DictReader(io.StringIO(read_file(table).decode("utf-8-sig"))))
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=table) from error
    if not rows:
        raise InputError("has no lines", where=table, mend="begin with a line such as item,physical,digital")
    inside = file_fields(what)
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(f"line {number} has not one value for each column", where=table)
        given = {name: text for name, text in row.items() if text and name not in ("item", "at")}
        for name, text in given.items():
            if name in inside and (Path(text).is_absolute() or ".." in Path(text).parts):
                raise InputError(f"line {number}: {text[:80]} lies outside the table's folder", where=table, field=name)
        yield _Entry(
            item=row.get("item") or None,
            values=[f"{name}={text}" for name, text in given.items() if name not in inside],
            files=[f"{name}={table.parent / text}" for name, text in given.items() if name in inside],
            at=row.get("at") or None,
        )


def _within_scope(visit: Visit, what: str, item: str | None) -> None:
    allowed = {row["id"] for row in visit.plan.items} | set(visit.replaced().values())
    if item is not None and item not in allowed:
        raise InputError(
            "was neither drawn nor stands in for a drawn one",
            where=item,
            field="--item",
            mend="a visit looks at what was drawn" if what != "replacement" else None,
        )


def _may_replace(visit: Visit, stated: VisitRecord) -> None:
    """Refuses what the judgement would refuse."""
    assert visit.opening_statement is not None
    after = replace(visit, records=[*visit.records, (stated, visit.opening_statement)])
    fault = after.replacements()[-1][2]
    if fault is not None:
        reasons = ", ".join(visit.plan.reasons)
        raise InputError(fault, where=stated.item, mend=f"reserves go in order, for one of these reasons: {reasons}")


def _is_dispute(visit: Visit, details: dict[str, Any]) -> None:
    about = details["about"]
    if about >= len(visit.records) or visit.records[about][0].what not in ("dispute", "refusal"):
        raise InputError(f"record {about} is no dispute or refusal", field="--set about")


def _may_take_back(visit: Visit, about: int, own: str) -> None:
    if about >= len(visit.records) or visit.records[about][0].what not in CORRECTED:
        kinds = ", ".join(sorted(CORRECTED))
        raise InputError(
            f"record {about} is none of {kinds}, and nothing else is taken back",
            field="--set about",
            mend="give the number of a record of yours of such a kind",
        )
    if visit.records[about][1].identity.key_id != own:
        raise InputError(f"record {about} is {visit.records[about][1].issuer}'s to take back", field="--set about")
