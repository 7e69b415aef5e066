"""The assessment of whole inspections on paper: whose time, whose findings, and what one operator can do to another."""

from collections.abc import Sequence
from typing import Any

import pytest

from ledger.paper import NONCE_KEY, RULE, START, Paper, PaperChip, audit, policy
from weighbridge.errors import EvidenceError, InputError
from weighbridge.ledger.assess import assess
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.workspace import Logged
from weighbridge.mechanisms.transcript.commitment import inspector_nonce

NONCE = "ab" * 16
CAPACITY = policy().capacity.flop_per_s
CLOSED = 200.0


class Inspection:
    """A plan, an operator's chips delivered before it, and a close after 200 seconds."""

    def __init__(self, paper: Paper, **chips: PaperChip) -> None:
        self.paper = paper
        for name, chip in chips.items():
            paper.deliver(chip.id, name, serial=f"S-{name}")
        self.began = 0.0

    def plan(self, chosen: Policy | None = None) -> "Inspection":
        self.began = self.paper.plan(chosen).time
        return self

    def commit(self, name: str, *chips: PaperChip) -> Logged:
        operator = self.paper.operators[name]
        item = self.paper.say("run-commitment", {"chips": [chip.id for chip in chips]}, by=operator)
        run = item.statement.id
        nonce = inspector_nonce(NONCE_KEY, run).hex()
        self.paper.say("run-nonce", {"run": run, "nonce": nonce}, subject=run)
        return item

    def claim(self, item: Logged, name: str, chip: PaperChip, sequences: Sequence[int]) -> None:
        for step, number in enumerate(sequences):
            freeze = {"chip": chip.id, "boot": 1, "sequences": [number, number], "step": step}
            payload = {"run": item.statement.id, "freeze": freeze}
            self.paper.say("run-progress", payload, by=self.paper.operators[name])

    def ask(self, *chips: PaperChip) -> "Inspection":
        for chip in chips:
            self.paper.say("inspection-challenge", {"chip": chip.id, "nonce": NONCE}, at=CLOSED - 1)
            chip.answer(NONCE)
        return self

    def close(self, *, key: bytes = NONCE_KEY) -> "Inspection":
        self.paper.close(at=CLOSED, key=key)
        return self

    def assess(self, *audits: dict[str, Any], rule: str | None = None) -> dict[str, Any]:
        return assess(self.paper.workspace(), audits, rule_id=rule)

    @property
    def window_s(self) -> float:
        return START + CLOSED - self.began


def of(body: dict[str, Any], name: str) -> dict[str, Any]:
    return next(operator for operator in body["operators"] if operator["name"] == name)


def checks(body: dict[str, Any], name: str, outcome: str = "fail") -> set[str]:
    return {finding["check"] for finding in of(body, name)["findings"] if finding["outcome"] == outcome}


@pytest.fixture
def chip(paper: Paper) -> PaperChip:
    return paper.chip()


def test_a_chip_that_never_spoke_counts_for_the_whole_window(paper: Paper, chip: PaperChip) -> None:
    inspection = Inspection(paper, Alder=chip).plan().close()
    body = inspection.assess()
    x = of(body, "Alder")["hidden_flop_by_level"]
    assert x["A"] == x["B"] == x["C"] == pytest.approx(inspection.window_s * CAPACITY)
    assert "chip.silent" in checks(body, "Alder", "inconclusive")
    assert of(body, "Birch")["hidden_flop"] == 0


def test_a_chip_that_speaks_and_is_nobody_s_counts_for_all_together(paper: Paper, chip: PaperChip) -> None:
    inspection = Inspection(paper).plan()
    chip.boot().samples(2).shutdown()
    body = inspection.close().assess()
    assert body["unattributed_chips"] == [chip.id]
    assert [f["check"] for f in body["findings"]].count("ledger.unattributed-chip") == 1
    assert of(body, "Alder")["hidden_flop"] == of(body, "Birch")["hidden_flop"] == 0
    assert body["hidden_flop_together"]["A"] == pytest.approx(inspection.window_s * CAPACITY)


def test_every_processor_of_a_chip_that_is_nobody_s_counts(paper: Paper) -> None:
    inspection = Inspection(paper).plan()
    paper.chip(cores=4).boot().shutdown()
    body = inspection.close().assess()
    assert body["hidden_flop_together"]["A"] == pytest.approx(4 * inspection.window_s * CAPACITY)


def test_together_operators_could_hide_what_each_could(paper: Paper, chip: PaperChip) -> None:
    body = Inspection(paper, Alder=chip, Birch=paper.chip()).plan().close().assess()
    alone = [operator["hidden_flop"] for operator in body["operators"]]
    assert all(alone) and body["hidden_flop_together"]["A"] == pytest.approx(sum(alone))
    assert body["alpha_together"] == pytest.approx(2 * body["alpha"])


def test_an_honest_run_covers_its_time_for_its_operator(paper: Paper, chip: PaperChip) -> None:
    inspection = Inspection(paper, Alder=chip).plan()
    run = inspection.commit("Alder", chip)
    chip.boot().samples(20).shutdown()
    inspection.claim(run, "Alder", chip, chip.numbers())
    body = inspection.ask(chip).close().assess(audit(run.statement.id, chip, chip.numbers(), steps=180))
    alder = of(body, "Alder")
    assert (alder["due"], alder["audited"], alder["unexplained"]) == (20, 20, 0)
    assert alder["declared_flop"] == pytest.approx(180e9)
    assert not {check for check in checks(body, "Alder") if not check.startswith("chip.")}, "its records are unchained"
    # A second of start-up, one of slack, one of shutdown, one since the challenge, and three of exposure.
    assert alder["hidden_flop"] / CAPACITY == pytest.approx(1 + 1 + 1 + 1 + 3.0, abs=0.05)


def test_declaring_more_flop_covers_no_more_time(paper: Paper, chip: PaperChip) -> None:
    """A step's FLOP are counted, its time is measured: only time covers time."""
    inspection = Inspection(paper, Alder=chip).plan()
    run = inspection.commit("Alder", chip)
    chip.boot().samples(20).shutdown()
    inspection.claim(run, "Alder", chip, chip.numbers())
    inspection.ask(chip).close()
    fair = audit(run.statement.id, chip, chip.numbers(), steps=150)
    plain, inflated = inspection.assess(fair), inspection.assess(fair | {"declared_flop_per_step": 1e10})
    assert of(inflated, "Alder")["hidden_flop"] == of(plain, "Alder")["hidden_flop"]
    assert of(inflated, "Alder")["declared_flop"] == pytest.approx(10 * of(plain, "Alder")["declared_flop"])


def test_claims_that_nobody_logged_in_time_cover_nothing(paper: Paper, chip: PaperChip) -> None:
    inspection = Inspection(paper, Alder=chip).plan()
    run = inspection.commit("Alder", chip)
    chip.boot().samples(20).shutdown()
    body = inspection.ask(chip).close().assess(audit(run.statement.id, chip, chip.numbers(), steps=180))
    assert of(body, "Alder")["hidden_flop"] / CAPACITY == pytest.approx(21 + 1, abs=0.05)
    assert "match.record" in checks(body, "Alder")


def test_another_operator_s_run_explains_no_chip_of_ours(paper: Paper, chip: PaperChip) -> None:
    """A friend declares what ran on Alder's chip: Alder's time stays uncovered, and the friend answers for the chip."""
    inspection = Inspection(paper, Alder=chip).plan()
    run = inspection.commit("Birch", chip)
    chip.boot().samples(20).shutdown()
    inspection.claim(run, "Birch", chip, chip.numbers())
    body = inspection.ask(chip).close().assess(audit(run.statement.id, chip, chip.numbers(), steps=180))
    assert of(body, "Alder")["hidden_flop"] / CAPACITY == pytest.approx(21 + 1, abs=0.05)
    assert of(body, "Alder")["declared_flop"] == 0
    assert "match.record" in checks(body, "Alder")
    assert "ledger.unlisted-chip" in checks(body, "Birch")
    assert of(body, "Birch")["declared_flop"] == pytest.approx(180e9)


def test_an_audit_of_a_run_that_nobody_committed_says_nothing(paper: Paper, chip: PaperChip) -> None:
    inspection = Inspection(paper, Alder=chip).plan()
    chip.boot().samples(20).shutdown()
    body = inspection.ask(chip).close().assess(audit("cd" * 32, chip, chip.numbers(), steps=180))
    assert of(body, "Alder")["hidden_flop"] / CAPACITY == pytest.approx(21 + 1, abs=0.05)
    assert of(body, "Alder")["declared_flop"] == 0


def test_a_run_before_the_plan_fails_its_operator_and_no_other(paper: Paper) -> None:
    """Else each could spoil every other's verdict with one statement made early."""
    inspection = Inspection(paper)
    inspection.commit("Birch")
    body = inspection.plan().close().assess()
    assert "inspection.plan-first" in checks(body, "Birch")
    assert not checks(body, "Alder")
    assert of(body, "Alder")["verdict"] == "compliant"


def test_every_run_committed_is_a_try_whether_or_not_it_was_opened(paper: Paper) -> None:
    inspection = Inspection(paper).plan()
    for _ in range(3):
        inspection.commit("Alder", paper.chip())
    body = inspection.close().assess()
    assert (of(body, "Alder")["attempts"], of(body, "Birch")["attempts"]) == (3, 0)
    assert "transcript.audit" in checks(body, "Alder", "inconclusive")


@pytest.mark.parametrize("wrong", ["other key", "other run"])
def test_a_nonce_that_does_not_follow_from_the_committed_key(paper: Paper, wrong: str) -> None:
    """An inspector who picks seeds, or answers one run with another's."""
    inspection = Inspection(paper).plan()
    run = paper.say("run-commitment", {"chips": []}, by=paper.operators["Alder"]).statement.id
    key, name = (bytes(32), run) if wrong == "other key" else (NONCE_KEY, "cd" * 32)
    paper.say("run-nonce", {"run": run, "nonce": inspector_nonce(key, name).hex()}, subject=name)
    body = inspection.close().assess()
    assert "inspection.nonce-key" in checks(body, "Alder")
    assert of(body, "Alder")["verdict"] != "compliant"


def test_a_close_with_another_key_gives_a_verdict_that_nobody_can_pass(paper: Paper) -> None:
    body = Inspection(paper).plan().close(key=bytes(32)).assess()
    assert "inspection.nonce-key" in checks(body, "Alder")
    assert of(body, "Alder")["verdict"] != "compliant"


def test_an_answer_to_another_chip_s_challenge_answers_nothing(paper: Paper, chip: PaperChip) -> None:
    other = paper.chip()
    inspection = Inspection(paper, Alder=chip, Birch=other).plan()
    chip.boot().shutdown()
    paper.say("inspection-challenge", {"chip": other.id, "nonce": NONCE})
    chip.answer(NONCE)
    body = inspection.close().assess()
    assert of(body, "Alder")["hidden_flop"] / CAPACITY > inspection.window_s - 5
    assert "inspection.challenge" in checks(body, "Alder", "inconclusive")
    assert "inspection.challenge" in checks(body, "Birch")


def test_an_unreadable_order_of_things_gets_no_verdict(paper: Paper) -> None:
    paper.close()
    paper.plan()
    with pytest.raises(EvidenceError, match="before the plan"):
        assess(paper.workspace(), [])


def test_another_rule_may_be_applied_and_an_unknown_one_may_not(paper: Paper, chip: PaperChip) -> None:
    inspection = Inspection(paper, Alder=chip).plan(policy(rule=RULE.model_copy(update={"threshold": 1e12}))).close()
    assert of(inspection.assess(), "Alder")["verdict"] == "inconclusive"
    other = inspection.assess(rule="eu.gpai.systemic")
    assert (of(other, "Alder")["verdict"], other["rule"]["id"]) == ("compliant", "eu.gpai.systemic")
    with pytest.raises(InputError):
        inspection.assess(rule="no.such.rule")


def test_a_declared_lineage_over_the_rule_is_a_violation_at_every_level(paper: Paper, chip: PaperChip) -> None:
    inspection = Inspection(paper, Alder=chip).plan()
    run = inspection.commit("Alder", chip)
    body = inspection.close().assess(audit(run.statement.id, chip, steps=20_000))
    assert {level: ruling["verdict"] for level, ruling in of(body, "Alder")["rulings"].items()} == dict.fromkeys(
        "ABC", "violation"
    )
    assert of(body, "Birch")["verdict"] == "compliant"
