"""Judging a chip that exists on paper."""

from typing import Any

from chip.chip_world import PaperChip
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.mechanisms.chip.verify import Verification, verify


def bad(verification: Verification, outcome: Outcome = Outcome.FAIL) -> set[tuple[str, str]]:
    """(check, record number or word) of every finding with an outcome."""
    return {(f.check, f.subject.partition("#")[2] or "chip") for f in verification.findings if f.outcome is outcome}


def judge(paper: PaperChip, statements: list[Statement] | None = None, **changes: Any) -> Verification:
    options: dict[str, Any] = {"leaves": paper.tables, "salts": paper.salts, **changes}
    return verify(paper.statements() if statements is None else statements, chip=paper.chip, **options)


def reason_of(verification: Verification, check: str) -> str:
    return next(f.reason for f in verification.findings if f.check == check and f.outcome is not Outcome.PASS)


def receipts_of(paper: PaperChip, start: float = 1_760_000_000.0) -> dict[str, float]:
    """Honest receipts: 20 ms after each record, by a clock of the log's own."""
    first = paper.records[0].monotonic_ns
    return {
        statement.id: start + (record.monotonic_ns - first) / 1e9 + 0.02
        for statement, record in zip(paper.statements(), paper.records, strict=True)
    }
