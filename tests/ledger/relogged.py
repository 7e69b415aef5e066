"""Logs of a sealed report taken apart and built anew, by their own key."""

from collections.abc import Callable
from typing import Any

from ledger.real import OPERATOR, Bundle, Ended, command
from weighbridge.evidence.statement import verify_statement

Statements = list[bytes]
Rewrite = Callable[[Bundle, Statements], Statements]


def kind_of(bundle: Bundle, raw: bytes) -> str:
    return verify_statement(raw, bundle.people.roots).kind


def payload_of(bundle: Bundle, raw: bytes) -> dict[str, Any]:
    return dict(verify_statement(raw, bundle.people.roots).payload)


def at(bundle: Bundle, raws: Statements, kind: str) -> list[int]:
    """Places of the statements of a kind."""
    return [place for place, raw in enumerate(raws) if kind_of(bundle, raw) == kind]


def assessed(bundle: Bundle) -> Ended:
    return command("assess", bundle.folder, "--logged-audits", "--roots", bundle.roots, "--json")


def operator_of(body: dict[str, Any]) -> dict[str, Any]:
    return next(operator for operator in body["operators"] if operator["name"] == OPERATOR)


def found(body: dict[str, Any], outcome: str) -> set[str]:
    return {finding["check"] for finding in operator_of(body)["findings"] if finding["outcome"] == outcome}
