"""``weighbridge inspect plan | open``: a visit as a signed bundle, offline."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_table
from weighbridge.app.draw_files import read_file, submit
from weighbridge.app.inspect_close_commands import require_team
from weighbridge.app.signing_roles import require_role
from weighbridge.app.visit_fields import parse_time, show_time
from weighbridge.app.visit_print import print_clocks
from weighbridge.errors import InputError
from weighbridge.evidence.certificates import Role, certificates_from_pem, name_of, public_key_of
from weighbridge.evidence.draw_check import check_draw
from weighbridge.evidence.draw_folder import copy_draw, load_draw
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.keys import FileSigner, key_id_of
from weighbridge.evidence.statement import sign_statement, statement_id
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.inspection.bundle import Bundle
from weighbridge.mechanisms.inspection.clocks import clocks
from weighbridge.mechanisms.inspection.plan import (
    CHECKS,
    MOST_VISITS,
    OPENING,
    PLAN,
    Opening,
    VisitPlan,
    challenge_nonce,
)
from weighbridge.mechanisms.inspection.visit import CLOCK_SKEW
from weighbridge.units import parse_count, parse_quantity

__all__ = ["mount"]

Folder = Annotated[Path, typer.Argument(help="The visit's folder.", metavar="VISIT")]
Key = Annotated[Path, typer.Option(help="The inspector's private key (PEM), its chain beside it.", metavar="FILE")]
Roots = Annotated[Path, typer.Option(help="Directory of trust roots, from outside.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
At = Annotated[str | None, typer.Option(help="When it happened: 2026-11-22T10:00Z or Unix seconds; now if not given.")]


def mount(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("plan")(plan)
    app.command("open")(open_visit)


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
    territory: Annotated[
        str | None, typer.Option(help="Challenge inspections: whose territory; 20 a year.", metavar="TEXT")
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
    require_role(signer, {Role.INSPECTOR}, where=key, roots=trusted)
    evidence = load_draw(draw, trusted)
    found = check_draw(evidence, now=time.time())
    failed = [f for f in found if f.outcome is Outcome.FAIL]
    if failed or len(evidence.draws) != 1 or evidence.population is None:
        why = failed[0].reason if failed else "nothing is drawn yet, or the list is missing"
        raise InputError(f"is no draw that holds: {why}", where=draw, mend="see weighbridge inspect check-draw")
    items, payload = evidence.population.by_id(), evidence.draws[0].payload
    for name in require or ():
        if name not in CHECKS or (require or []).count(name) > 1:
            why = "is named twice" if name in CHECKS else "is nothing that can be required"
            raise InputError(why, where=name[:40], field="--require", mend=f"each once: {', '.join(CHECKS)}")
    stated = VisitPlan(
        draw=evidence.draws[0].id,
        site=site,
        notified_at=parse_time(notified, name="--notified"),
        team={
            signer.key_id: name_of(signer.chain[0]) if signer.chain else signer.key_id,
            **_members(member or (), trusted),
        },
        checks=tuple(require or ("serial",)),
        items=tuple(items[identifier].as_dict() for identifier in payload["drawn"]),
        reserves=tuple(items[identifier].as_dict() for identifier in payload["reserves"]),
        camera_gap_s=float(parse_quantity(camera_gap, name="--camera-gap", positive=False)),
        visits_this_year=_number(visit_number, territory),
        territory=territory,
    )
    raw = sign_statement(signer, kind=PLAN, subject=site, payload=stated.as_payload())
    bundle = Bundle.create(folder)
    copy_draw(draw, folder / "draw")
    submit(raw, bundle.put("plan.cose", raw), spool)
    rows = sorted(({"rack": row.get("rack", ""), **row} for row in stated.items), key=lambda row: row["rack"])
    now = time.time()
    due = clocks(stated, None, [], now=now)
    not_shown = [f"not shown of the draw: {f.reason}" for f in found if f.outcome is Outcome.INCONCLUSIVE]
    if as_json:
        facts = {"visit": statement_id(raw), "items": rows, "reserves": list(stated.reserves), "notes": not_shown}
        print_json({**facts, "clocks": [clock.as_dict(now) for clock in due]})
        return
    print_table(
        f"{site}: {len(rows)} items by rack",
        columns=["rack", "item", "serial"],
        rows=[[row["rack"], row["id"], row.get("serial", "")] for row in rows],
    )
    print_table(
        "Reserves, in this order",
        columns=["rack", "item", "serial"],
        rows=[[row.get("rack", ""), row["id"], row.get("serial", "")] for row in stated.reserves],
    )
    print_clocks(due, now)
    for note in not_shown:
        typer.echo(f"- {note}")
    typer.echo(f"Write down the visit's id, outside its folder: {statement_id(raw)}")


def open_visit(
    folder: Folder,
    *,
    place: Annotated[str, typer.Option(help="Where you are.", metavar="TEXT")],
    present: Annotated[list[str] | None, typer.Option(help="Who is present; repeatable.", metavar="NAME")] = None,
    access: Annotated[
        str | None, typer.Option(help="When access was given; leave out while it is refused.", metavar="TIME")
    ] = None,
    arrived: Annotated[
        str | None, typer.Option(help="When the team arrived at an international airport, if it did.", metavar="TIME")
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
        access_at=None if access is None else parse_time(access, name="--access", latest=now),
        arrived_at=None if arrived is None else parse_time(arrived, name="--arrived", latest=now),
        place=place,
        present=tuple(present or ()),
        fresh=secrets.token_bytes(32).hex(),
    )
    if opened.at < visit.plan.notified_at - CLOCK_SKEW:
        told = show_time(visit.plan.notified_at)
        raise InputError(f"cannot be opened before {told}, when the party is told to give access", where=folder)
    if opened.access_at is not None and opened.access_at < visit.plan.notified_at - CLOCK_SKEW:
        raise InputError("lies before the party was told to give access", where=access, field="--access")
    raw = sign_statement(signer, kind=OPENING, subject=visit.id, payload=opened.as_payload(), issued_at=now)
    bundle.put("opening.cose", raw)
    nonces = {item: challenge_nonce(opened, item) for item in visit.plan.ids}
    due = clocks(visit.plan, opened, [], now=now)
    if as_json:
        facts = {"visit": visit.id, "statement": statement_id(raw), "nonces": nonces}
        print_json({**facts, "clocks": [clock.as_dict(now) for clock in due]})
        return
    rows = [(visit.plan.fact(item, "rack") or "", item, nonce) for item, nonce in nonces.items()]
    print_table(
        f"{visit.plan.site} is open; each chip answers its nonce: weighbridge chip answer DIR --nonce NONCE",
        columns=["rack", "item", "nonce"],
        rows=[list(row) for row in sorted(rows)],
    )
    print_clocks(due, now)
    if opened.access_at is None:
        typer.echo("Access was not given: put a refusal on record, and access when it comes.")
    typer.echo(f"Write down the opening's id, outside its folder: {statement_id(raw)}")


def _number(text: str | None, territory: str | None) -> int | None:
    """Returns which challenge inspection of the year a visit is, or None for another visit."""
    if (text is None) != (territory is None):
        raise InputError(
            "a challenge inspection has both a number and a territory, another visit neither",
            field="--territory" if territory is None else "--visit-number",
            mend="give both, or neither",
        )
    if text is None:
        return None
    number = parse_count(text, name="--visit-number", least=1)
    if number > MOST_VISITS:
        why = f"would be visit {number} this year; a territory has at most {MOST_VISITS}"
        raise InputError(why, field="--visit-number", mend="wait for the next year")
    return number


def _members(paths: Sequence[Path], roots: TrustRoots) -> dict[str, str]:
    found = {}
    for path in paths:
        chain = certificates_from_pem(read_file(path), where=path)
        require_role(tuple(chain), {Role.INSPECTOR}, where=path, roots=roots, option="--member")
        found[key_id_of(public_key_of(chain[0]))] = name_of(chain[0])
    return found
