"""``weighbridge inspect plan | open | record``: a visit as a signed bundle, offline."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_table
from weighbridge.app.draw_files import read_file, submit
from weighbridge.app.inspect_close_commands import require_team
from weighbridge.app.visit_fields import details_of, parse_time, show_time
from weighbridge.errors import InputError
from weighbridge.evidence.certificates import certificates_from_pem, name_of, public_key_of
from weighbridge.evidence.draw_check import check_draw
from weighbridge.evidence.draw_folder import copy_draw, load_draw
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.keys import FileSigner, key_id_of
from weighbridge.evidence.statement import sign_statement, statement_id
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.visits import judge_bundle
from weighbridge.mechanisms.inspection.bundle import Bundle
from weighbridge.mechanisms.inspection.clocks import clocks
from weighbridge.mechanisms.inspection.judge import CLOCK_SKEW, WRITE_UP
from weighbridge.mechanisms.inspection.plan import CHECKS, OPENING, PLAN, Opening, VisitPlan, challenge_nonce
from weighbridge.mechanisms.inspection.record import FORMS, RECORD, VisitRecord
from weighbridge.mechanisms.inspection.visit import Visit
from weighbridge.units import parse_count, parse_quantity

__all__ = ["mount"]

Folder = Annotated[Path, typer.Argument(help="The visit's folder.", metavar="VISIT")]
Key = Annotated[Path, typer.Option(help="The inspector's private key (PEM), its chain beside it.", metavar="FILE")]
Roots = Annotated[Path, typer.Option(help="Directory of trust roots, from outside.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
At = Annotated[str | None, typer.Option(help="When it happened: 2026-11-22T10:00Z or Unix seconds; now if not given.")]


def mount(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, command in (
        ("plan", plan),
        ("open", open_visit),
        ("record", record),
    ):
        app.command(name)(command)


def plan(
    folder: Folder,
    *,
    draw: Annotated[Path, typer.Option(help="The draw's folder; it is copied.", metavar="DRAW")],
    site: Annotated[str, typer.Option(help="Name of the place.", metavar="TEXT")],
    notified: Annotated[str, typer.Option(help="When the party was told to give access.", metavar="TIME")],
    require: Annotated[
        list[str] | None,
        typer.Option(help=f"What an item must pass ({', '.join(CHECKS)}); repeatable; serial if none."),
    ] = None,
    member: Annotated[
        list[Path] | None, typer.Option(help="Certificate (PEM) of another inspector of the team; repeatable.")
    ] = None,
    camera_gap: Annotated[str, typer.Option(help="Longest gap in footage, seconds.", metavar="S")] = "60",
    visit_number: Annotated[
        str | None, typer.Option(help="Challenge inspections on the territory this year, this one included.")
    ] = None,
    key: Key,
    roots: Roots,
    spool: Annotated[
        Path | None, typer.Option(help="Spool of a log that shall take the plan, so that it is the only one.")
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Plan a visit from a draw that holds: items by rack, reserves in order, what is due when.

    Example: weighbridge inspect plan visit --draw draw --site "Hall 4" --notified 2026-11-22T08:00Z \
               --require serial --require challenge --key inspector.pem --roots roots
    """
    signer, trusted = FileSigner.load(key), TrustRoots.load(roots)
    evidence = load_draw(draw, trusted)
    failed = [f for f in check_draw(evidence, now=time.time()) if f.outcome is Outcome.FAIL]
    if failed or len(evidence.draws) != 1 or evidence.population is None:
        why = failed[0].reason if failed else "nothing is drawn yet, or the list is missing"
        raise InputError(f"is no draw that holds: {why}", where=draw, mend="see weighbridge inspect check-draw")
    items, payload = evidence.population.by_id(), evidence.draws[0].payload
    stated = VisitPlan(
        draw=evidence.draws[0].id,
        site=site,
        notified_at=parse_time(notified, name="--notified"),
        team={signer.key_id: name_of(signer.chain[0]) if signer.chain else signer.key_id, **_members(member or ())},
        checks=tuple(require or ("serial",)),
        items=tuple(items[identifier].as_dict() for identifier in payload["drawn"]),
        reserves=tuple(items[identifier].as_dict() for identifier in payload["reserves"]),
        camera_gap_s=float(parse_quantity(camera_gap, name="--camera-gap", positive=False)),
        visits_this_year=None if visit_number is None else parse_count(visit_number, name="--visit-number", least=1),
    )
    raw = sign_statement(signer, kind=PLAN, subject=site, payload=stated.as_payload())
    bundle = Bundle.create(folder)
    copy_draw(draw, folder / "draw")
    submit(raw, bundle.put("plan.cose", raw), spool)
    rows = sorted(({"rack": row.get("rack", ""), **row} for row in stated.items), key=lambda row: row["rack"])
    due = clocks(stated, None, [])
    if as_json:
        facts = {"visit": statement_id(raw), "items": rows, "reserves": list(stated.reserves)}
        print_json({**facts, "clocks": [clock.as_dict(time.time()) for clock in due]})
        return
    print_table(
        f"{site}: {len(rows)} items by rack",
        columns=["rack", "item", "serial"],
        rows=[[row["rack"], row["id"], row.get("serial", "")] for row in rows],
    )
    for clock in due:
        alarms = ", ".join(show_time(alarm) for alarm in clock.alarms)
        typer.echo(f"- {clock.name} is due by {show_time(clock.due_at)}; alarms at {alarms}")


def open_visit(
    folder: Folder,
    *,
    place: Annotated[str, typer.Option(help="Where you are.", metavar="TEXT")],
    present: Annotated[list[str] | None, typer.Option(help="Who is present; repeatable.", metavar="NAME")] = None,
    access: Annotated[
        str | None, typer.Option(help="When access was given; leave out while it is refused.", metavar="TIME")
    ] = None,
    key: Key,
    roots: Roots,
    as_json: Json = False,
) -> None:
    r"""Open a visit on site; prints the nonce that each drawn chip must answer.

    Example: weighbridge inspect open visit --place "Hall 4, gate B" --present "A. Host" \
               --access 2026-11-22T20:10Z --key inspector.pem --roots roots
    """
    signer = FileSigner.load(key)
    bundle = Bundle(folder)
    visit = bundle.visit(TrustRoots.load(roots))
    require_team(visit, signer, key)
    if visit.opening is not None:
        raise InputError("is open already", where=folder)
    now = int(time.time())
    opened = Opening(
        visit=visit.id,
        at=now,
        access_at=None if access is None else parse_time(access, name="--access", latest=now + CLOCK_SKEW),
        place=place,
        present=tuple(present or ()),
        fresh=secrets.token_bytes(32).hex(),
    )
    bundle.put(
        "opening.cose",
        sign_statement(signer, kind=OPENING, subject=visit.id, payload=opened.as_payload(), issued_at=now),
    )
    nonces = {item: challenge_nonce(opened, item) for item in visit.plan.ids}
    due = clocks(visit.plan, opened, [])
    if as_json:
        print_json({"visit": visit.id, "nonces": nonces, "clocks": [clock.as_dict(now) for clock in due]})
        return
    print_table(
        f"{visit.plan.site} is open; each chip answers its nonce: weighbridge chip answer DIR --nonce NONCE",
        columns=["item", "nonce"],
        rows=[[item, nonce] for item, nonce in nonces.items()],
    )
    for clock in due:
        typer.echo(f"- {clock.name}: {clock.state(now)}, due {show_time(clock.due_at)}")


def record(
    folder: Folder,
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(FORMS)}.", metavar="WHAT")],
    *,
    item: Annotated[str | None, typer.Option(help="The item that it is about.", metavar="ID")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="A field of it; repeatable.", metavar="NAME=VALUE")
    ] = None,
    files: Annotated[
        list[str] | None, typer.Option("--file", help="A file to keep; repeatable.", metavar="NAME=PATH")
    ] = None,
    at: At = None,
    key: Key,
    roots: Roots,
    as_json: Json = False,
) -> None:
    r"""Put one thing on record: what was seen, answered, refused or not answered.

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
    now = int(time.time())
    moment = now if at is None else parse_time(at, name="--at", latest=now + CLOCK_SKEW)
    if moment < visit.opening.at - CLOCK_SKEW or moment < now - WRITE_UP:
        raise InputError("lies before the visit, or more than 12 hours ago", where=at, field="--at")
    _within_scope(visit, what, item)
    details, kept = details_of(what, values or (), files or ())
    stated = VisitRecord(
        visit=visit.id,
        sequence=len(visit.records),
        previous=visit.records[-1][1].id if visit.records else visit.opening_statement.id,
        at=moment,
        item=item,
        what=what,
        details=details,
    )
    if what == "replacement":
        _may_replace(visit, stated)
    if what in ("acknowledgement", "clarification"):
        about = details["about"]
        if about >= len(visit.records) or visit.records[about][0].what not in ("dispute", "refusal"):
            raise InputError(f"record {about} is no dispute or refusal", field="about")
    for data in kept:
        bundle.keep(data)
    raw = sign_statement(signer, kind=RECORD, subject=visit.id, payload=stated.as_payload(), issued_at=now)
    bundle.put(f"records/{stated.sequence:04}.cose", raw)
    judged = judge_bundle(bundle, trusted, now=now)
    shown = [finding for finding in judged.findings if statement_id(raw) in finding.evidence]
    ringing = [clock for clock in judged.judgement.clocks if clock.state(now) in ("alarm", "broken")]
    if as_json:
        facts = {"statement": statement_id(raw), **stated.as_payload()}
        alarms = [clock.as_dict(now) for clock in ringing]
        print_json({**facts, "findings": [finding.as_dict() for finding in shown], "alarms": alarms})
        return
    typer.echo(f"record {stated.sequence}: {what}{f' of {item}' if item else ''}, {show_time(moment)}")
    for finding in shown:
        typer.echo(f"- {finding.check}: {finding.outcome.value}: {finding.reason}")
    for clock in ringing:
        typer.echo(f"- {clock.name}: {clock.state(now)}, due {show_time(clock.due_at)}")


def _members(paths: Sequence[Path]) -> dict[str, str]:
    leaves = [certificates_from_pem(read_file(path), where=path)[0] for path in paths]
    return {key_id_of(public_key_of(leaf)): name_of(leaf) for leaf in leaves}


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
