"""How findings print, and what a command's exit status says about them."""

from collections.abc import Iterable

from weighbridge.app.console import print_table
from weighbridge.evidence.findings import Finding, Outcome

__all__ = ["exit_status", "print_findings"]

_WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.INCONCLUSIVE: "not shown"}


def print_findings(title: str, findings: Iterable[Finding]) -> None:
    """Prints findings, failures first, each with its reason and the command that redoes it."""
    order = [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS]
    ordered = sorted(findings, key=lambda f: order.index(f.outcome))
    rows = [(_WORDS[f.outcome], f.check, f.subject[:24], f.reason, f.redo or "–") for f in ordered]
    print_table(title, columns=["outcome", "check", "subject", "reason", "redo"], rows=rows)


def exit_status(findings: Iterable[Finding]) -> int:
    """Returns 1 if a check failed, 3 if one could not be made, else 0."""
    outcomes = {finding.outcome for finding in findings}
    return 1 if Outcome.FAIL in outcomes else 3 if Outcome.INCONCLUSIVE in outcomes else 0
