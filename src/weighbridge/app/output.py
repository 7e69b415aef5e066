"""How commands print: tables for people, one JSON object for programs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from weighbridge.evidence.findings import Finding, Outcome

__all__ = ["exit_status", "print_findings", "print_json", "print_table"]

_WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.INCONCLUSIVE: "not shown"}


def print_json(value: Any) -> None:
    """Prints one JSON object on standard output."""
    print(json.dumps(value, indent=1, sort_keys=True, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table whose cells wrap instead of being cut."""
    table = Table(title=title, title_justify="left", show_lines=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)


def print_findings(title: str, findings: Iterable[Finding]) -> None:
    """Prints findings, failures first, each with its reason and the command that redoes it."""
    order = [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS]
    rows = [
        (_WORDS[finding.outcome], finding.check, finding.subject[:24], finding.reason)
        for finding in sorted(findings, key=lambda f: order.index(f.outcome))
    ]
    print_table(title, ("outcome", "check", "subject", "reason"), rows)


def exit_status(findings: Iterable[Finding]) -> int:
    """Returns 1 if a check failed, 3 if one could not be made, else 0."""
    outcomes = {finding.outcome for finding in findings}
    return 1 if Outcome.FAIL in outcomes else 3 if Outcome.INCONCLUSIVE in outcomes else 0
