"""Logs rebuilt by their own key from other statements: what a kept checkpoint and what the assessment see."""

from typing import Any

import pytest

from ledger.real import OPERATOR, Bundle, check
from ledger.relogged import Rewrite, Statements, assessed, at, found, kind_of, operator_of, payload_of

pytestmark = pytest.mark.real


# --- a log of another history


def dropped_record(bundle: Bundle, raws: Statements) -> Statements:
    places = at(bundle, raws, "chip-record")
    return [raw for place, raw in enumerate(raws) if place != places[len(places) // 2]]


def swapped(bundle: Bundle, raws: Statements) -> Statements:
    first, second = at(bundle, raws, "custody-event")[:2]
    raws[first], raws[second] = raws[second], raws[first]
    return raws


def shortened(bundle: Bundle, raws: Statements) -> Statements:
    return raws[:-1]


def with_filler(bundle: Bundle, raws: Statements) -> Statements:
    place = at(bundle, raws, "inspection-close")[0]
    return [*raws[:place], bundle.sign("run-progress", {"run": "00" * 32}, by=bundle.operator), *raws[place:]]


@pytest.mark.parametrize("rewrite", [dropped_record, shortened, swapped, with_filler], ids=lambda f: f.__name__)
def test_a_rewritten_log_does_not_extend_the_kept_checkpoint(bundle: Bundle, rewrite: Rewrite) -> None:
    """Signed by the log's own key and sealed by the inspector's: only what was kept elsewhere tells."""
    bundle.relog(rewrite(bundle, bundle.statements()))
    for ended in (assessed(bundle), check(bundle)):
        assert ended.status != 0
    bundle.reseal()
    ended = check(bundle)
    assert ended.status == 2
    assert "another history than" in ended.err or "fewer than" in ended.err
    assert ended.err.count("\n") == 1


def test_a_dropped_record_shows_as_a_gap_without_a_checkpoint(bundle: Bundle) -> None:
    """The log's key can leave a record out; it cannot make the chip sign another counter."""
    raws = bundle.statements()
    bundle.relog(dropped_record(bundle, raws))
    bundle.forget_checkpoint()
    body = bundle.reassess()
    assert {"chip.sequence"} <= found(body, "fail")
    gaps = [f for f in operator_of(body)["findings"] if f["check"] == "chip.sequence" and f["outcome"] == "fail"]
    assert [gap["reason"] for gap in gaps] == ["the record is missing"]
    assert gaps[0]["subject"].startswith(f"{bundle.chip}#")
    assert operator_of(body)["verdict"] != "compliant"
    bundle.reseal()
    refused = check(bundle)
    assert refused.status == 2 and "does not follow from its evidence" in refused.err


# --- inspections that cannot be read


def no_plan(bundle: Bundle, raws: Statements) -> Statements:
    return [raw for raw in raws if kind_of(bundle, raw) != "inspection-plan"]


def second_plan(bundle: Bundle, raws: Statements) -> Statements:
    plan = payload_of(bundle, raws[at(bundle, raws, "inspection-plan")[0]])
    return [*raws, bundle.sign("inspection-plan", {**plan, "alpha": 0.5})]


def no_close(bundle: Bundle, raws: Statements) -> Statements:
    return [raw for raw in raws if kind_of(bundle, raw) != "inspection-close"]


def second_close(bundle: Bundle, raws: Statements) -> Statements:
    return [*raws, bundle.sign("inspection-close", {"nonce_key": "11" * 32})]


def close_before_plan(bundle: Bundle, raws: Statements) -> Statements:
    plan = raws.pop(at(bundle, raws, "inspection-plan")[0])
    return [*raws, plan]


def second_audit(bundle: Bundle, raws: Statements) -> Statements:
    audit = payload_of(bundle, raws[at(bundle, raws, "run-audit")[0]])
    return [*raws, bundle.sign("run-audit", {**audit, "steps": audit["steps"] + 1})]


def audit_of_nothing(bundle: Bundle, raws: Statements) -> Statements:
    audit = payload_of(bundle, raws[at(bundle, raws, "run-audit")[0]])
    return [*raws, bundle.sign("run-audit", {**audit, "run": "ab" * 32})]


def early_audit(bundle: Bundle, raws: Statements) -> Statements:
    audit = raws.pop(at(bundle, raws, "run-audit")[0])
    close = at(bundle, raws, "inspection-close")[0]
    return [*raws[:close], audit, *raws[close:]]


def malformed_audit(bundle: Bundle, raws: Statements) -> Statements:
    place = at(bundle, raws, "run-audit")[0]
    raws[place] = bundle.sign("run-audit", {"run": payload_of(bundle, raws[place])["run"]})
    return raws


def malformed_plan(bundle: Bundle, raws: Statements) -> Statements:
    place = at(bundle, raws, "inspection-plan")[0]
    raws[place] = bundle.sign("inspection-plan", {**payload_of(bundle, raws[place]), "alpha": "much"})
    return raws


UNREADABLE: dict[Rewrite, str] = {
    no_plan: "has 0 statements of kind inspection-plan",
    second_plan: "has 2 statements of kind inspection-plan",
    no_close: "has 0 statements of kind inspection-close",
    second_close: "has 2 statements of kind inspection-close",
    close_before_plan: "before the plan",
    second_audit: "audited twice",
    audit_of_nothing: "never committed",
    early_audit: "before the close",
    malformed_audit: "run-audit",
    malformed_plan: "not a readable plan",
}


@pytest.mark.parametrize("rewrite", UNREADABLE, ids=lambda f: f.__name__)
def test_an_inspection_that_does_not_hold_together_gets_no_verdict(bundle: Bundle, rewrite: Rewrite) -> None:
    bundle.relog(rewrite(bundle, bundle.statements()))
    bundle.forget_checkpoint()
    bundle.reseal()
    for ended in (assessed(bundle), check(bundle)):
        assert ended.status == 2
        assert UNREADABLE[rewrite] in ended.err
        assert ended.err.count("\n") == 1 and not ended.out


# --- inspections that can be read and do not add up


def no_audit(bundle: Bundle, raws: Statements) -> Statements:
    return [raw for raw in raws if kind_of(bundle, raw) != "run-audit"]


def other_nonce_key(bundle: Bundle, raws: Statements) -> Statements:
    raws[at(bundle, raws, "inspection-close")[0]] = bundle.sign("inspection-close", {"nonce_key": "11" * 32})
    return raws


def no_nonce_key(bundle: Bundle, raws: Statements) -> Statements:
    raws[at(bundle, raws, "inspection-close")[0]] = bundle.sign("inspection-close", {"nonce_key": "none of yours"})
    return raws


def plan_after_the_run(bundle: Bundle, raws: Statements) -> Statements:
    plan = raws.pop(at(bundle, raws, "inspection-plan")[0])
    close = at(bundle, raws, "inspection-close")[0]
    return [*raws[:close], plan, *raws[close:]]


def no_nonce(bundle: Bundle, raws: Statements) -> Statements:
    return [raw for raw in raws if kind_of(bundle, raw) != "run-nonce"]


def nonce_after_the_run(bundle: Bundle, raws: Statements) -> Statements:
    nonce = raws.pop(at(bundle, raws, "run-nonce")[0])
    close = at(bundle, raws, "inspection-close")[0]
    return [*raws[:close], nonce, *raws[close:]]


def no_claims(bundle: Bundle, raws: Statements) -> Statements:
    """Claims that lie in the transcript and were never logged."""
    return [raw for raw in raws if kind_of(bundle, raw) != "run-progress" or "freeze" not in payload_of(bundle, raw)]


def claims_after_the_close(bundle: Bundle, raws: Statements) -> Statements:
    claims = [raw for raw in raws if kind_of(bundle, raw) == "run-progress" and "freeze" in payload_of(bundle, raw)]
    return [*[raw for raw in raws if raw not in claims], *claims]


def no_answer(bundle: Bundle, raws: Statements) -> Statements:
    """The chip's answer to the closing challenge is its last record."""
    raws.pop(at(bundle, raws, "chip-record")[-1])
    return raws


def never_delivered(bundle: Bundle, raws: Statements) -> Statements:
    return [raw for raw in raws if kind_of(bundle, raw) != "custody-event"]


FAILING: dict[Rewrite, str] = {
    no_audit: "match.record",
    other_nonce_key: "inspection.nonce-key",
    no_nonce_key: "inspection.nonce-key",
    plan_after_the_run: "inspection.plan-first",
    no_nonce: "transcript.order",
    nonce_after_the_run: "transcript.order",
    no_claims: "match.record",
    claims_after_the_close: "match.record",
    no_answer: "inspection.challenge",
    never_delivered: "ledger.unlisted-chip",
}


@pytest.mark.parametrize("rewrite", FAILING, ids=lambda f: f.__name__)
def test_evidence_that_does_not_add_up_is_a_failing_finding(bundle: Bundle, rewrite: Rewrite) -> None:
    before = operator_of(bundle.body())
    bundle.relog(rewrite(bundle, bundle.statements()))
    bundle.forget_checkpoint()
    body = bundle.reassess()
    operator = operator_of(body)
    assert FAILING[rewrite] in found(body, "fail")
    assert operator["verdict"] != "compliant"
    assert operator["audited"] <= before["audited"]
    bundle.reseal()
    ended = check(bundle)
    assert ended.status == 2, "the old report does not follow from the new evidence"
    assert "does not follow" in ended.err


# --- statements that anybody may put into the log


def test_a_statement_of_an_unknown_kind_stops_nothing(bundle: Bundle) -> None:
    raws = bundle.statements()
    close = at(bundle, raws, "inspection-close")[0]
    junk = bundle.sign("inspection-close", {"nonce_key": "11" * 32}, by=bundle.operator)
    odd = bundle.sign("poem", {"text": "nothing"}, by=bundle.operator)
    bundle.relog([*raws[:close], junk, odd, *raws[close:]])
    bundle.forget_checkpoint()
    body = bundle.reassess()
    stray = [f for f in body["findings"] if f["check"] == "inspection.misplaced"]
    assert [f["outcome"] for f in stray] == ["inconclusive", "inconclusive"]
    assert OPERATOR in stray[0]["reason"]
    assert operator_of(body)["audited"] == operator_of(bundle.body())["audited"]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("run-commitment", {"chips": 5}),
        ("run-commitment", {"chips": [1, None, {"a": []}], "declared": "all"}),
        ("run-progress", {"run": [1], "freeze": {"sequences": "x"}}),
        ("custody-event", {"bizStep": 7}),
    ],
)
def test_a_malformed_statement_by_an_operator_stops_nothing(bundle: Bundle, kind: str, payload: dict[str, Any]) -> None:
    raws = bundle.statements()
    close = at(bundle, raws, "inspection-close")[0]
    bundle.relog([*raws[:close], bundle.sign(kind, payload, by=bundle.operator), *raws[close:]])
    bundle.forget_checkpoint()
    operator = operator_of(bundle.reassess())
    assert operator["audited"] == operator_of(bundle.body())["audited"]
    assert operator["attempts"] == (2 if kind == "run-commitment" else 1)


def test_what_comes_after_the_close_counts_for_nothing(bundle: Bundle) -> None:
    raws = bundle.statements()
    late = [bundle.sign("run-commitment", {"chips": [bundle.chip]}, by=bundle.operator)]
    bundle.relog([*raws, *late])
    bundle.forget_checkpoint()
    body = bundle.reassess()
    assert operator_of(body)["attempts"] == 1
    assert "inspection.late" in {finding["check"] for finding in body["findings"]}
