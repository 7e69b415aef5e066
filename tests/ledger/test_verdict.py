"""From figures and findings to a verdict, level by level (protocol sections 1 and 6)."""

from typing import Any

import pytest

from ledger.paper import RULE
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.verdict import Lineage, Ruling, Verdict, counts_at, rule_on, sentence
from weighbridge.rules import WorkItem, load_rules

LIMIT = float(RULE.limit)
BOOK = load_rules().with_rule(RULE)


def lineage(*operations: float, number_format: str = "fp32") -> Lineage:
    work = tuple(WorkItem("training", format=number_format, operations=amount, label="w") for amount in operations)  # type: ignore[arg-type]
    return Lineage(("r",) * len(work), work)


def finding(check: str, outcome: Outcome = Outcome.FAIL) -> Finding:
    return Finding(check=check, subject="s", outcome=outcome, reason="because")


def ruled(*lineages: Lineage, hidden: float = 0.0, findings: tuple[Finding, ...] = (), **changes: Any) -> Ruling:
    options: dict[str, Any] = {"hidden_flop": dict.fromkeys("ABC", hidden), "hidden_format": "fp32"}
    return rule_on(BOOK, RULE, lineages=lineages, findings=findings, **options | changes)["A"]


def test_what_is_declared_and_hidden_within_the_rule_is_compliant() -> None:
    ruling = ruled(lineage(0.4 * LIMIT), hidden=0.6 * LIMIT)
    assert ruling.verdict is Verdict.COMPLIANT, "the rule catches what is above its limit"
    assert (ruling.declared_flop, ruling.hidden_flop, ruling.threshold) == (0.4 * LIMIT, 0.6 * LIMIT, LIMIT)


def test_hidden_work_alone_is_never_a_violation() -> None:
    """Who could have is not who has."""
    assert ruled(hidden=1e6 * LIMIT).verdict is Verdict.INCONCLUSIVE
    assert ruled(hidden=float("inf")).verdict is Verdict.INCONCLUSIVE


def test_a_lineage_over_the_rule_is_a_violation_whatever_is_hidden() -> None:
    assert ruled(lineage(1.01 * LIMIT)).verdict is Verdict.VIOLATION


def test_work_of_one_lineage_adds_and_of_two_does_not() -> None:
    assert ruled(lineage(0.6 * LIMIT, 0.6 * LIMIT)).verdict is Verdict.VIOLATION
    assert ruled(lineage(0.6 * LIMIT), lineage(0.6 * LIMIT)).verdict is Verdict.COMPLIANT


def test_what_is_hidden_may_have_gone_into_the_largest_lineage() -> None:
    """Small runs beside it make room for nothing."""
    assert ruled(lineage(0.1 * LIMIT), lineage(0.7 * LIMIT), hidden=0.4 * LIMIT).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("hidden", "verdict"), [(1.0 * LIMIT, Verdict.VIOLATION), (0.1 * LIMIT, Verdict.INCONCLUSIVE)])
def test_a_failing_finding_is_a_violation_with_what_it_leaves_and_never_compliance(
    hidden: float, verdict: Verdict
) -> None:
    ruling = ruled(lineage(0.5 * LIMIT), hidden=hidden, findings=(finding("match.record"),))
    assert ruling.verdict is verdict
    assert "match.record" in ruling.reason


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.INCONCLUSIVE])
def test_only_failing_findings_weigh(outcome: Outcome) -> None:
    assert ruled(findings=(finding("match.record", outcome),)).verdict is Verdict.COMPLIANT


LEVELS_OF = {
    "match.record": "A",
    "match.unexplained-bytes": "A",
    "account.time-per-step": "A",
    "chip.lateness": "A",
    "chip.ticks": "A",
    "a.check.that.nobody.assigned": "A",
    "chip.sequence": "AB",
    "chip.chain": "AB",
    "chip.schedule": "AB",
    "inspection.challenge": "AB",
    "ledger.destroyed-chip": "AB",
    "ledger.unlisted-chip": "AB",
    "transcript.replay": "ABC",
    "transcript.log": "ABC",
    "registry.double-sold": "ABC",
    "inspection.plan-first": "ABC",
    "inspection.nonce-key": "ABC",
    "ledger.lineage": "ABC",
}


@pytest.mark.parametrize("check", LEVELS_OF)
def test_a_finding_counts_only_where_what_it_rests_on_is_believed(check: str) -> None:
    """At B what an agent read is the operator's word, at C no chip record counts."""
    assert "".join(level for level in "ABC" if counts_at(level, finding(check))) == LEVELS_OF[check]
    rulings = rule_on(
        BOOK,
        RULE,
        lineages=(),
        hidden_flop=dict.fromkeys("ABC", 0.0),
        hidden_format="fp32",
        findings=(finding(check),),
    )
    passing = {level for level, ruling in rulings.items() if ruling.verdict is Verdict.COMPLIANT}
    assert passing == set("ABC") - set(LEVELS_OF[check])


def test_each_level_is_ruled_by_its_own_x() -> None:
    rulings = rule_on(
        BOOK,
        RULE,
        lineages=(lineage(0.5 * LIMIT),),
        hidden_flop={"A": 0.1 * LIMIT, "B": 2 * LIMIT, "C": 3 * LIMIT},
        hidden_format="fp32",
        findings=(),
    )
    assert [rulings[level].verdict.value for level in "ABC"] == ["compliant", "inconclusive", "inconclusive"]


def test_a_rule_s_own_counting_applies_to_declared_and_hidden_work_alike() -> None:
    """Under miri_2025 an operation in FP32 counts twice: what passes by count of operations may not pass by it."""
    rule = RULE.model_copy(update={"id": "paper.miri", "counting": "miri_2025"})
    book = load_rules().with_rule(rule)
    ruling = rule_on(
        book,
        rule,
        lineages=(lineage(0.3 * LIMIT),),
        hidden_flop=dict.fromkeys("ABC", 0.3 * LIMIT),
        hidden_format="fp32",
        findings=(),
    )["A"]
    assert ruling.declared_flop == pytest.approx(0.6 * LIMIT)
    assert ruling.hidden_flop == pytest.approx(0.6 * LIMIT)
    assert ruling.verdict is Verdict.INCONCLUSIVE
    assert ruled(lineage(0.3 * LIMIT), hidden=0.3 * LIMIT).verdict is Verdict.COMPLIANT


def test_the_sentence_says_x_with_its_chance_its_level_its_date_and_the_time_left() -> None:
    said = sentence(ruled(hidden=2e12), alpha=0.05, evidence_until="2026-11-22", days_to_threshold=0.5)
    for part in ("above 2.00e+12 FLOP", "at most 5.00%", "level A", "evidence up to 2026-11-22", "0.5 days"):
        assert part in said
    assert "95" not in said, "never how innocent somebody is"


def test_the_sentence_claims_no_chance_where_nothing_was_sampled() -> None:
    said = sentence(ruled(hidden=2e12), alpha=0.0, evidence_until="2026-11-22", days_to_threshold=0.5)
    assert "could have escaped" in said and "%" not in said
