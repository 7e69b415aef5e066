"""Applies a rule to an account: the verdict, and the sentence that says what it means (protocol section 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.rules import Rule, RuleBook, WorkItem, policy_applies_to_hidden

__all__ = ["LEVELS", "Lineage", "Ruling", "Verdict", "counts_at", "rule_on", "sentence"]

LEVELS: Mapping[str, str] = {
    "A": "attested: the chips' firmware and keys are honest",
    "B": "key intact: only the chips' key stores are honest",
    "C": "instruments: only what inspectors hold counts, and no chip record does",
}


_HOLDS_WITHOUT_CHIPS = (
    "transcript.",
    "registry.",
    "draw.",
    "visit.",
    "inspection.plan",
    "inspection.nonce",
    "ledger.lineage",
)
"""Checks on what the verifier replayed, inspectors saw, the log ordered, people signed: they count at every level."""

_HOLDS_WITH_KEYS = (
    *_HOLDS_WITHOUT_CHIPS,
    "chip.record",
    "chip.sequence",
    "chip.chain",
    "chip.schedule",
    "chip.end",
    "inspection.challenge",
    "inspection.readout",
    "ledger.",
)
"""Checks on the records' signatures and counters: they count while the chips' keys are intact."""


def counts_at(level: str, finding: Finding) -> bool:
    """Returns whether a finding is evidence at a trust level (protocol section 1).

    At level B what an agent read from memory or clocks is the operator's word; at level C no chip record counts.
    """
    if level == "A":
        return True
    return finding.check.startswith(_HOLDS_WITH_KEYS if level == "B" else _HOLDS_WITHOUT_CHIPS)


class Verdict(StrEnum):
    """What the evidence supports, under one rule, at one trust level."""

    COMPLIANT = "compliant"
    VIOLATION = "violation"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Lineage:
    """Runs that continue each other's weights, and the work that they declare."""

    runs: tuple[str, ...]
    work: tuple[WorkItem, ...]


@dataclass(frozen=True)
class Ruling:
    """The verdict on one operator under one rule at one level, with every figure that decides it, in FLOP."""

    verdict: Verdict
    level: str
    rule: str
    threshold: float
    declared_flop: float
    hidden_flop: float
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {**self.__dict__, "verdict": self.verdict.value}


def rule_on(
    book: RuleBook,
    rule: Rule,
    *,
    lineages: Sequence[Lineage],
    hidden_flop: Mapping[str, float],
    hidden_format: str,
    findings: Sequence[Finding],
) -> dict[str, Ruling]:
    """Returns the ruling at each trust level.

    Compliant iff for every lineage declared + X stays within the rule under the rule's own counting and no finding
    fails that counts at the level. Violation: a declared lineage that breaks the rule whatever X is, or a failing
    finding together with declared + X above it. Inconclusive otherwise, and where a lineage has a parent that nobody
    verified: what was spent on that is unknown (protocol section 4.5).
    """
    policy = book.counting_of(rule.id)
    declared = max((float(book.count(rule.id, lineage.work).flop) for lineage in lineages), default=0.0)
    every = [finding for finding in findings if finding.outcome is Outcome.FAIL]
    orphan = next((f for f in findings if f.check == "ledger.lineage" and f.outcome is Outcome.INCONCLUSIVE), None)
    threshold = float(rule.limit)
    rulings = {}
    for level in LEVELS:
        failing = [finding for finding in every if counts_at(level, finding)]
        counted = float(policy_applies_to_hidden(policy, hidden_flop[level], hidden_format))
        total = declared + counted
        if rule.compare(declared):
            verdict, reason = Verdict.VIOLATION, "a declared lineage breaks the rule by itself"
        elif failing and rule.compare(total):
            verdict = Verdict.VIOLATION
            reason = f"evidence failed ({failing[0].check}: {failing[0].reason}), and what it leaves exceeds the rule"
        elif orphan is not None and not failing:
            verdict, reason = Verdict.INCONCLUSIVE, orphan.reason
        elif not rule.compare(total) and not failing:
            verdict, reason = Verdict.COMPLIANT, "declared and hidden together stay within the rule"
        elif failing:
            verdict = Verdict.INCONCLUSIVE
            reason = f"evidence failed ({failing[0].check}), though what it leaves stays within the rule"
        else:
            verdict, reason = (
                Verdict.INCONCLUSIVE,
                "what could be hidden keeps the total from staying within the rule",
            )
        rulings[level] = Ruling(verdict, level, rule.id, threshold, declared, counted, reason)
    return rulings


def sentence(ruling: Ruling, *, alpha: float, evidence_until: str, days_to_threshold: float) -> str:
    """Returns the headline: what would have escaped, at what chance, if which level holds."""
    assumption = LEVELS[ruling.level]
    if alpha <= 0:
        return (
            f"A training run of up to {ruling.hidden_flop:.2e} FLOP on these chips could have escaped, which is all"
            f" that they can do in the window, if no more than level {ruling.level} ({assumption}) holds; evidence up"
            f" to {evidence_until}."
        )
    return (
        f"A training run above {ruling.hidden_flop:.2e} FLOP on these chips would have escaped with chance at most"
        f" {alpha:.2%}, if level {ruling.level} ({assumption}) holds; evidence up to {evidence_until}; time from now"
        f" to the rule's threshold at full capacity: {days_to_threshold:.3g} days."
    )
