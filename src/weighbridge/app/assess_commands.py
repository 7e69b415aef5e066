"""``weighbridge assess`` and ``weighbridge check``: the verdict, and whether a report of it holds."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.case_assessment import assess_public_case, inspectors_key
from weighbridge.app.console import print_json, print_table
from weighbridge.app.output import print_findings
from weighbridge.errors import InputError
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.case import is_case

__all__ = ["mount", "write_report"]

_WORKSPACE = "name the folder that holds log/, chips/ and runs/, or a case (weighbridge case NAME --out FOLDER)"


def mount(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command()(assess)
    app.command()(check)


def assess(
    workspace: Annotated[
        Path, typer.Argument(help="Folder of evidence, or of a report; or a public case (weighbridge case --out).")
    ],
    rule: Annotated[str | None, typer.Option(help="Rule id; default the one that the inspection planned.")] = None,
    roots: Annotated[Path | None, typer.Option(help="Trust roots; default WORKSPACE.roots beside it.")] = None,
    logged_audits: Annotated[
        bool, typer.Option("--logged-audits", help="Use the inspector's logged audits instead of replaying.")
    ] = False,
    seal: Annotated[
        Path | None, typer.Option(help="Inspector's key file: write the signed report into WORKSPACE.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Reaches a verdict for every operator from a workspace; replays every run anew unless told otherwise.

    Writes nothing unless --seal names an inspector's key; a sealed report rests on the logged audits, so that others
    can check it. Exits with 0 when a verdict was reached, whatever it is. A public case (a file CASE.json, or a folder
    with case.json) is assessed from its marked figures; sealed, it can be checked like any report.

    Example: weighbridge assess demo-out --rule eu.gpai.systemic --logged-audits
    """
    if is_case(workspace):
        if roots is not None or logged_audits:
            option = "--roots" if roots is not None else "--logged-audits"
            raise InputError(
                "is a public case: nothing in it is signed", where=workspace, field=option, mend="leave the option out"
            )
        assess_public_case(workspace, rule=rule, seal=seal, as_json=as_json)
        return
    if not workspace.is_dir():
        raise InputError("is no folder of evidence and no case", where=workspace, field="WORKSPACE", mend=_WORKSPACE)
    signer = inspectors_key(seal) if seal is not None else None
    from weighbridge.ledger.assess import assess as judge
    from weighbridge.ledger.assess import audits_of
    from weighbridge.ledger.workspace import Workspace

    opened = Workspace.open(workspace, TrustRoots.load(roots or workspace.with_name(workspace.name + ".roots")))
    if logged_audits or seal is not None:
        audits = audits_of(opened)
    else:
        from weighbridge.ledger.inspect import audit_all

        def progress(line: str) -> None:
            print(f"weighbridge: {line}", file=sys.stderr, flush=True)

        progress("replaying every run; this takes about as long as the declared steps did")
        audits = [audit.as_dict() for audit in audit_all(opened, progress=progress)]
    body = judge(opened, audits, rule_id=rule)
    if signer is not None:
        write_report(workspace, body, signer)
    if as_json:
        print_json(body)
    else:
        _print_verdicts(body)


def write_report(folder: Path, body: Mapping[str, Any], signer: Signer) -> None:
    """Writes report.json, report.html, manifest and signature into a workspace.

    Raises:
        InputError: it has a report already.
    """
    from weighbridge.app.page import write_page
    from weighbridge.ledger.report import REPORT, encode_report, seal_report

    if (folder / REPORT).exists():
        raise InputError("is there already", where=folder / REPORT, mend="seal a copy of the evidence without it")
    (folder / REPORT).write_bytes(encode_report(body))
    write_page(folder / "report.html", body)
    seal_report(folder, signer)


def _print_verdicts(body: dict[str, Any]) -> None:
    rows = []
    for operator in body["operators"]:
        for level, ruling in operator["rulings"].items():
            rows.append(
                (
                    operator["name"] if level == "A" else "",
                    level,
                    ruling["verdict"],
                    f"{ruling['declared_flop']:.2e}",
                    f"{ruling['hidden_flop']:.2e}",
                    f"{operator['audited']} of {operator['due']}" if level == "A" else "–",
                    ruling["reason"],
                )
            )
    title = f"Rule {body['rule']['id']}: {body['rule']['comparator']} {body['rule']['threshold']:.3g} FLOP"
    columns = ["operator", "level", "verdict", "declared", "X", "audited", "why"]
    print_table(title, columns=columns, rows=rows)
    for operator in body["operators"]:
        print(f"{operator['name']}: {operator['sentences']['A']}")


def check(
    report: Annotated[Path, typer.Argument(help="report.json in its folder, or the folder.")],
    roots: Annotated[Path, typer.Option(help="Trust roots that came to you another way than the report.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Checks a signed report from its bytes and trust roots alone; exits with 0 only when all of it holds.

    Writes nothing. What is not done: the replays behind the inspector's audits. ``weighbridge assess`` makes them.

    Example: weighbridge check demo-out/report.json --roots demo-out.roots
    """
    from weighbridge.ledger.check import check_report

    findings = check_report(report, roots)
    if as_json:
        print_json({"report": str(report), "findings": [finding.as_dict() for finding in findings]})
    else:
        print_findings(f"report {report}", findings)
