"""``weighbridge inspect close | check``: what a visit shows, signed whole and checked end to end."""

import hashlib
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.draw_files import RECEIPT_SECONDS, logged_statements
from weighbridge.app.output import exit_status, print_findings
from weighbridge.app.visit_print import print_clocks
from weighbridge.errors import InputError
from weighbridge.evidence.files import replace_durably
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.jsontext import dump_json
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.spool import SpoolClient
from weighbridge.evidence.statement import sign_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.visits import JudgedVisit, judge_bundle
from weighbridge.mechanisms.inspection.bundle import CLOSE, Bundle
from weighbridge.mechanisms.inspection.visit import Visit

__all__ = ["mount", "require_team"]

_MOST_PASSES = 8  # of one check that are told one by one

Folder = Annotated[Path, typer.Argument(help="The visit's folder.", metavar="VISIT")]
Roots = Annotated[Path, typer.Option(help="Directory of trust roots, from outside.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def mount(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("close")(close)
    app.command("check")(check)
    app.command("submit")(submit)


def close(
    folder: Folder,
    *,
    key: Annotated[Path, typer.Option(help="The inspector's private key (PEM), its chain beside it.", metavar="FILE")],
    roots: Roots,
    as_json: Json = False,
) -> None:
    r"""Close a visit: judge it, sign the whole folder, print what became of each drawn item.

    Example: weighbridge inspect close visit --key inspector.pem --roots roots
    """
    signer, trusted = FileSigner.load(key), TrustRoots.load(roots)
    bundle = Bundle(folder)
    visit = bundle.visit(trusted)
    require_team(visit, signer, key)
    if visit.opening_statement is None:
        raise InputError("was never open", where=folder)
    if visit.close is not None:
        raise InputError("is closed already", where=folder)
    now = int(time.time())
    judged = judge_bundle(bundle, trusted, now=now)
    found = [finding.as_dict() for finding in judged.findings if finding.check != "visit.bundle"]
    # Neither is signed before the close is: what an interrupted close left is made anew.
    replace_durably(folder / "findings.json", dump_json({"findings": found}))
    manifest = bundle.manifest()
    replace_durably(folder / "manifest.json", manifest)
    payload = {
        "visit": visit.id,
        "at": now,
        "records": len(visit.records),
        "head": visit.records[-1][1].id if visit.records else visit.opening_statement.id,
        "manifest": hashlib.sha256(manifest).hexdigest(),
        "summary": judged.judgement.summary(),
    }
    bundle.put("close.cose", sign_statement(signer, kind=CLOSE, subject=visit.id, payload=payload, issued_at=now))
    _print(judge_bundle(bundle, trusted, now=now), folder, as_json=as_json)


def check(
    folder: Folder,
    *,
    roots: Roots,
    log: Annotated[
        Path | None, typer.Option(help="The log or its export: shows second draws, plans and closes.", metavar="LOG")
    ] = None,
    kept: Annotated[
        list[str] | None,
        typer.Option(help="Id of a statement, written down on site: it must be there; repeatable.", metavar="ID"),
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Check a visit end to end: signatures, draw, records, chips' answers, every file.

    Exit 0 if all holds, 1 if a check failed, 3 if one could not be made.

    Example: weighbridge inspect check visit --roots roots
    """
    trusted = TrustRoots.load(roots)
    logged = None if log is None else logged_statements(log, trusted)
    for identifier in kept or ():
        if not re.fullmatch(r"[0-9a-f]{16,64}", identifier):
            raise InputError("is not 16 to 64 hexadecimal digits", where=identifier[:80], field="--kept")
    judged = judge_bundle(Bundle(folder), trusted, now=time.time(), log=logged, kept=kept or ())
    _print(judged, folder, as_json=as_json)
    raise typer.Exit(exit_status(judged.findings))


def submit(
    folder: Folder,
    *,
    spool: Annotated[Path, typer.Option(help="Spool of the log that shall take them.", metavar="DIR")],
    roots: Roots,
    as_json: Json = False,
) -> None:
    r"""Hand a visit's statements to a log, once there is a network: no other story of it can be told then.

    Example: weighbridge inspect submit visit --spool spool --roots roots
    """
    visit = Bundle(folder).visit(TrustRoots.load(roots))
    client = SpoolClient(spool)
    entries = [client.submit(statement.raw) for statement in visit.statements]
    for entry in entries:
        client.wait(entry, RECEIPT_SECONDS)
    facts = {"visit": visit.id, "statements": [statement.id for statement in visit.statements]}
    if as_json:
        print_json(facts)
    else:
        typer.echo(f"The log has all {len(entries)} statements of visit {visit.id}.")


def _print(judged: JudgedVisit, folder: Path, *, as_json: bool) -> None:
    shown = judged.judgement
    now = float(judged.visit.close.at) if judged.visit.close else time.time()
    if as_json:
        print_json(
            {
                "visit": judged.visit.id,
                "site": judged.visit.plan.site,
                "summary": shown.summary(),
                "items": [dict(item.__dict__) for item in shown.items],
                "clocks": [clock.as_dict(now) for clock in shown.clocks],
                "findings": [f.as_dict() | {"redo": f"weighbridge inspect check {folder}"} for f in judged.findings],
            }
        )
        return
    print_table(
        f"{judged.visit.plan.site}, {len(judged.visit.records)} records",
        columns=["rack", "item", "outcome", "instead", "reason"],
        rows=[
            [
                item.rack,
                item.item if item.drawn else f"{item.item} (reserve)",
                item.outcome,
                item.replaced_by or "",
                item.reason,
            ]
            for item in sorted(shown.items, key=lambda item: (item.outcome == "verified", item.rack, item.item))
        ],
    )
    print_pairs("Drawn items", pairs=[(name.replace("_", " "), str(count)) for name, count in shown.summary().items()])
    print_clocks(shown.clocks, now)
    of_draw = [f for f in judged.findings if f.check.startswith("draw.") and f.outcome is Outcome.PASS]
    told = [f for f in judged.findings if f.check not in ("visit.item", "visit.sample") and f not in of_draw]
    print_findings("findings", _short(told))
    if of_draw:
        typer.echo(f"{len(of_draw)} findings on the draw pass; each: weighbridge inspect check-draw {folder / 'draw'}")
    # Last, where it is not lost: it is what the visit was for.
    for sample in (f for f in judged.findings if f.check == "visit.sample"):
        typer.echo(f"visit.sample: {sample.reason}.")
    if judged.visit.close_statement is not None:
        typer.echo(f"Closed by {judged.visit.close_statement.id}: write it down, outside the folder.")


def _short(findings: list[Finding]) -> list[Finding]:
    """Returns the findings with the passes of a check on many items told in one line: the table above has each."""
    passes: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.outcome is Outcome.PASS:
            passes.setdefault(finding.check, []).append(finding)
    many = {check: found for check, found in passes.items() if len(found) > _MOST_PASSES}
    rest = [f for f in findings if f.outcome is not Outcome.PASS or f.check not in many]
    told = [
        replace(found[0], subject="", reason=f"{len(found)} times; one is {found[0].subject[:24]}: {found[0].reason}")
        for found in many.values()
    ]
    return [*rest, *told]


def require_team(visit: Visit, signer: FileSigner, key: Path) -> None:
    """Refuses a key that the plan does not name.

    Raises:
        InputError: it does not.
    """
    if signer.key_id not in visit.plan.team:
        team = ", ".join(sorted(visit.plan.team.values()))
        raise InputError("is not the key of anybody of the team", where=key, mend=f"the plan names {team}")
