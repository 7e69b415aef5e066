"""How findings print, and what a command's exit status says about them."""

from collections.abc import Iterable

import typer

from weighbridge.app.console import print_table
from weighbridge.evidence.findings import Finding, Outcome

__all__ = ["exit_status", "print_findings"]

_WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.INCONCLUSIVE: "not shown"}
_SUBJECT_LETTERS = 24


def print_findings(title: str, findings: Iterable[Finding]) -> None:
    """Prints findings, failures first, each with its reason; below, the commands that redo them, each once.

    What all findings are about is said once, above.
    """
    order = [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS]
    ordered = sorted(findings, key=lambda f: order.index(f.outcome))
    subjects = {finding.subject for finding in ordered}
    columns = ["outcome", "check", "reason"]
    if len(subjects) > 1:
        columns.insert(2, "subject")
    cells = [
        {"outcome": _WORDS[f.outcome], "check": f.check, "subject": f.subject[:_SUBJECT_LETTERS], "reason": f.reason}
        for f in ordered
    ]
    print_table(title, columns=columns, rows=[[row[column] for column in columns] for row in cells])
    for command in dict.fromkeys(finding.redo for finding in ordered if finding.redo):
        typer.echo(f"redo: {command}")


def exit_status(findings: Iterable[Finding]) -> int:
    """Returns 1 if a check failed, 3 if one could not be made, else 0."""
    outcomes = {finding.outcome for finding in findings}
    return 1 if Outcome.FAIL in outcomes else 3 if Outcome.INCONCLUSIVE in outcomes else 0
