"""The assessment of a public case: the report's figures, from published numbers in place of signed statements.

The same shape as :func:`weighbridge.ledger.assess.assess` gives, so that whoever reads reports reads these, with two
differences. Every number carries its mark. And a ruling has an *answer* in place of a verdict: above a threshold
duties apply, and nobody who published a large run has broken anything by that.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.case import MARKS, Case, Mark, weakest
from weighbridge.ledger.case_account import (
    ANSWERS,
    Evidence,
    account_of,
    apply_rule,
    computed,
    evidence_of,
    headline,
)
from weighbridge.ledger.case_evidence import Piece, pieces, visits
from weighbridge.ledger.verdict import LEVELS
from weighbridge.rules import load_rules
from weighbridge.units import SECONDS_PER_DAY

__all__ = ["assess_case", "plain_evidence"]

_WHAT: Final[Mapping[str, str]] = {
    "rate": "audited freezes, all read and explained",
    "windows": "stretches that the run claims; each beyond the first counts as one failure",
    "segments": "segments replayed without a fault",
    "idle_shown": "counters that show the chips idle when no declared step needed them",
    "readings": "inspectors' own unannounced readings of memory, all explained",
}


def assess_case(case: Case, *, rule_id: str | None = None) -> dict[str, Any]:
    """Returns the body of a case's report as plain JSON data.

    Args:
        case: the published figures, with whatever evidence the case says is held or supposes.
        rule_id: the rule to apply; default the first that the case names.

    Raises:
        InputError: no such rule, FLOP alone cannot decide it, or the figures contradict each other.
    """
    book = load_rules()
    rule = book.rule(rule_id or case.rules[0])
    evidence = evidence_of(case)
    account = account_of(case, evidence)
    rulings = apply_rule(case, book, rule.id, evidence)
    window = computed(case)["window"]
    return {
        "schema": "weighbridge/case-report/1",
        "case": case.id,
        "title": case.title,
        "about": case.about,
        "rule": rule.model_dump(mode="json", exclude_none=True),
        "counting": book.counting_of(rule.id),
        "alpha": case["alpha"],
        "capacity": {"flop_per_s": case["capacity"], "format": case.capacity_format},
        "window": {"seconds": window.value * SECONDS_PER_DAY, "mark": window.mark},
        "levels": dict(LEVELS),
        "marks": dict(MARKS),
        "sources": case.sources,
        "figures": {name: figure.model_dump(exclude_none=True) for name, figure in case.figures.items()},
        "computed": {name: asdict(derived) for name, derived in computed(case).items()},
        "operators": [
            {
                "name": case.run,
                "answer": ANSWERS[rulings["A"].verdict],
                "rule": rule.id,
                "declared_flop": rulings["A"].declared_flop,
                "declared_mark": case.figures["training_flop"].mark,
                "hidden_flop": rulings["A"].hidden_flop,
                "hidden_mark": _mark(case),
                "hidden_flop_by_level": {level: ruling.hidden_flop for level, ruling in rulings.items()},
                "rulings": {
                    level: {
                        "answer": ANSWERS[ruling.verdict],
                        "threshold": ruling.threshold,
                        "declared_flop": ruling.declared_flop,
                        "hidden_flop": ruling.hidden_flop,
                    }
                    for level, ruling in rulings.items()
                },
                "sentences": {level: headline(case, ruling, evidence) for level, ruling in rulings.items()},
                "confidence": 1 - case["alpha"],
                "account": account.as_dict(),
                "evidence": {
                    "held": {name: figure.model_dump(exclude_none=True) for name, figure in case.evidence.items()},
                    "used": plain_evidence(evidence),
                },
                "findings": [finding.as_dict() for finding in _findings(case, account.hidden_flop["A"])],
                "limits": list(case.missing),
            }
        ],
        "further_evidence": [_further(case, piece, evidence) for piece in pieces(case)],
        "visits": [asdict(visit) for visit in visits(case)],
    }


def plain_evidence(evidence: Evidence) -> dict[str, Any]:
    """Returns evidence as plain JSON data, which has no infinity: all segments are the word."""
    return asdict(evidence) | {"segments": "all" if math.isinf(evidence.segments) else evidence.segments}


def _mark(case: Case) -> Mark:
    """Returns the mark of X: the weakest of the chip-time, the capacity, and the evidence that lowers it.

    Never better than declared: what a case says was measured, nobody measures again here.
    """
    said: list[Mark] = [case.figures[name].mark for name in ("chip_hours", "capacity")]
    return weakest(["declared", *said, *(figure.mark for figure in case.evidence.values())])


def _findings(case: Case, hidden: float) -> list[Finding]:
    """Returns what the case's words amount to: nobody signed any of it, so that nothing passes."""
    counts = {mark: sum(figure.mark == mark for figure in case.figures.values()) for mark in MARKS}
    found = [
        Finding(
            check="case.figures",
            subject=case.run,
            outcome=Outcome.INCONCLUSIVE,
            reason=f"{counts['declared']} figures are declared, {counts['assumed']} assumed and {counts['measured']}"
            " measured; no statement was signed for any, so none can be checked",
            hidden_flop=hidden,
        )
    ]
    used = evidence_of(case)
    if used.rate > 0 and "windows" not in case.evidence:
        found.append(
            Finding(
                check="case.windows",
                subject=case.run,
                outcome=Outcome.INCONCLUSIVE,
                reason="nothing says that the span of the run was fixed before: each stretch between restarts counts",
                figure=float(used.windows),
                unit="stretches",
            )
        )
    for name, figure in case.evidence.items():
        said = "supposed" if figure.mark == "assumed" else f"{figure.mark}, by the case's own word"
        found.append(
            Finding(
                check=f"case.{name.replace('_', '-')}",
                subject=case.run,
                outcome=Outcome.INCONCLUSIVE,
                reason=f"{_WHAT[name]}: {said}; no signed statement is here to show it",
                figure=figure.value,
                unit=figure.unit,
            )
        )
    found += [
        Finding(check="case.missing", subject=case.run, outcome=Outcome.INCONCLUSIVE, reason=text)
        for text in case.missing
    ]
    return found


def _further(case: Case, piece: Piece, held: Evidence) -> dict[str, Any]:
    """Returns a piece with what it would take off today's X; less than nothing where more is held already."""
    now = account_of(case, held).hidden_flop
    return asdict(piece) | {
        "evidence": plain_evidence(piece.evidence),
        "takes_off": {level: now[level] - piece.hidden_flop[level] for level in LEVELS},
    }
