"""``weighbridge assess`` of a public case: X and the rule's answer from marked figures, and the sealed report of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from weighbridge.app.case_page import case_page
from weighbridge.app.console import print_json, print_table
from weighbridge.errors import InputError
from weighbridge.evidence.certificate_form import parse_certificate
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.keys import FileSigner
from weighbridge.ledger.case import CASE_FILE, load_case
from weighbridge.ledger.case_report import assess_case
from weighbridge.ledger.report import REPORT, encode_report, seal_report
from weighbridge.rules import load_rules
from weighbridge.units import format_flop, format_quantity

__all__ = ["assess_public_case", "inspectors_key"]

_PAGE = "report.md"


def assess_public_case(case: Path, *, rule: str | None, seal: Path | None, as_json: bool) -> None:
    """Assesses a case, prints it, and writes the signed report beside it where a key is given.

    Args:
        case: a file, or a folder with ``case.json``.
        rule: rule to apply; default the first that the case names.
        seal: an inspector's key file.
        as_json: print the report's body.

    Raises:
        InputError: the case is unreadable, its figures contradict each other, or its folder holds more than the case.
    """
    chosen = load_case(str(case))
    body = assess_case(chosen, rule_id=rule)
    if seal is not None:
        if not case.is_dir() or [path.name for path in case.iterdir()] != [CASE_FILE]:
            mend = f"put the case into a folder of its own as {CASE_FILE}: weighbridge case {case} --out FOLDER"
            raise InputError("is no folder that holds a case and nothing else", where=case, field="--seal", mend=mend)
        signer = inspectors_key(seal)
        (case / REPORT).write_bytes(encode_report(body))
        (case / _PAGE).write_text(case_page(chosen, load_rules()), encoding="utf-8", newline="\n")
        seal_report(case, signer)
    if as_json:
        print_json(body)
    else:
        _print(body)


def inspectors_key(path: Path) -> FileSigner:
    """Returns the signer of a report, and nobody else: a report that another signed no check accepts.

    Raises:
        InputError: the key is another's, or has no certificate.
    """
    signer = FileSigner.load(path)
    role = parse_certificate(signer.chain[0]).role if signer.chain else None
    if role is not Role.INSPECTOR:
        who = f"is the key of a {role}" if role else "has no certificate beside it"
        raise InputError(f"{who}, and a report is sealed by an inspector", where=path, field="--seal")
    return signer


def _print(body: Mapping[str, Any]) -> None:
    operator = body["operators"][0]
    used = {**body["figures"], **operator["evidence"]["held"]}
    print_table(
        body["title"],
        columns=["figure", "value", "mark", "source"],
        rows=[
            [name, format_quantity(figure["value"], unit=figure["unit"], digits=5), figure["mark"], figure["source"]]
            for name, figure in used.items()
        ],
    )
    print_table(
        f"Rule {body['rule']['id']}: {body['rule']['comparator']} {body['rule']['threshold']:.3g} FLOP",
        columns=["level", "answer", "declared", "mark", "X", "mark"],
        rows=[
            [
                level,
                ruling["answer"],
                format_flop(ruling["declared_flop"]),
                operator["declared_mark"],
                format_flop(ruling["hidden_flop"]),
                operator["hidden_mark"],
            ]
            for level, ruling in operator["rulings"].items()
        ],
    )
    typer.echo(operator["sentences"]["A"])
    typer.echo("- above: the declared run alone passes the threshold, so duties apply; within; open: X decides")
    for finding in operator["findings"]:
        typer.echo(f"- {finding['check']}: {finding['reason']}")
    best = min(body["further_evidence"], key=lambda piece: float(piece["hidden_flop"]["A"]))
    typer.echo(
        f"- of the {len(body['further_evidence'])} further pieces in --json, the most telling at A: {best['group']},"
        f" {best['what']}: X {format_flop(best['hidden_flop']['A'])}"
    )
