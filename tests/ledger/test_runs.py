"""A run against the log: order, claims that were fixed in time, audits that may count."""

from typing import Any

import pytest

from ledger.paper import NONCE_KEY, Paper, PaperChip, audit
from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.ledger.runs import audits_of, fixed_claims, progress_of, run_findings
from weighbridge.ledger.workspace import Logged
from weighbridge.mechanisms.transcript.commitment import inspector_nonce


class Run:
    """A run of Alder's on one chip, as the log shows it."""

    def __init__(self, paper: Paper, chip: PaperChip, *, chips: Any = None, nonce: bool = True) -> None:
        self.paper, self.chip, self.operator = paper, chip, paper.operators["Alder"]
        payload = {"chips": [chip.id] if chips is None else chips}
        self.item: Logged = paper.say("run-commitment", payload, by=self.operator)
        self.id = self.item.statement.id
        if nonce:
            self.answer()

    def answer(self) -> None:
        nonce = inspector_nonce(NONCE_KEY, self.id).hex()
        self.paper.say("run-nonce", {"run": self.id, "nonce": nonce}, subject=self.id)

    def progress(self, freeze: Any = None, **changes: Any) -> Logged:
        payload = {"run": self.id, "step": 0, "state": "ab", **({} if freeze is None else {"freeze": freeze})}
        return self.paper.say("run-progress", payload | changes, by=changes.pop("by", self.operator))

    def claim(self, sequence: int, step: int, *, boot: int = 1, chip: str | None = None) -> Logged:
        place = {"chip": chip or self.chip.id, "boot": boot, "sequences": [sequence, sequence], "step": step}
        return self.progress(place)

    def fixed(self, claimed: list[int], **changes: Any) -> tuple[dict[str, Any], list[str]]:
        whole = audit(self.id, self.chip, claimed, **changes)
        kept, about = fixed_claims(self.paper.workspace(), self.item, whole)
        return dict(kept), [finding.reason for finding in about]


@pytest.fixture
def run(paper: Paper) -> Run:
    return Run(paper, paper.chip())


def test_claims_logged_while_training_count(run: Run) -> None:
    run.chip.boot().samples(3)
    for step, number in enumerate(run.chip.numbers()):
        run.claim(number, step)
    kept, about = run.fixed(run.chip.numbers())
    assert [claim["first"] for claim in kept["claims"]] == [1, 2, 3]
    assert len(kept["spans"]) == 1 and not about


def test_a_claim_that_was_never_logged_falls_and_its_segment_with_it(run: Run) -> None:
    run.chip.boot().samples(3)
    for step, number in enumerate(run.chip.numbers()[:2]):
        run.claim(number, step)
    kept, about = run.fixed(run.chip.numbers())
    assert [claim["first"] for claim in kept["claims"]] == [1, 2]
    assert kept["spans"] == []
    assert len(about) == 1 and about[0].startswith("1 of its claims")


@pytest.mark.parametrize("change", [{"step": 9}, {"boot": 2}, {"sequences": [1, 2]}, {"chip": "ab" * 32}])
def test_a_claim_that_says_something_else_than_the_logged_one_falls(run: Run, change: dict[str, Any]) -> None:
    run.chip.boot().samples(1)
    run.progress({"chip": run.chip.id, "boot": 1, "sequences": [1, 1], "step": 0} | change)
    assert run.fixed([1])[0]["claims"] == []


@pytest.mark.parametrize("freeze", [5, [], {}, {"sequences": 3}, {"sequences": ["a", "b"]}, {"sequences": [1, 2, 3]}])
def test_a_malformed_claim_in_the_log_is_none(run: Run, freeze: object) -> None:
    run.chip.boot().samples(1)
    run.progress(freeze)
    assert run.fixed([1])[0]["claims"] == []


def test_another_operator_s_word_is_no_claim_of_ours(run: Run) -> None:
    run.chip.boot().samples(1)
    place = {"chip": run.chip.id, "boot": 1, "sequences": [1, 1], "step": 0}
    payload = {"run": run.id, "step": 0, "freeze": place}
    run.paper.say("run-progress", payload, by=run.paper.operators["Birch"])
    assert progress_of(run.paper.workspace(), run.item) == []
    assert run.fixed([1])[0]["claims"] == []


def test_a_claim_after_the_close_falls(run: Run) -> None:
    run.chip.boot().samples(1)
    run.paper.close()
    run.claim(1, 0)
    assert run.fixed([1])[0]["claims"] == []


def test_no_record_from_before_the_seed_can_be_claimed(paper: Paper) -> None:
    """What the memory held then cannot follow from a number that did not exist."""
    chip = paper.chip()
    chip.boot().samples(2)
    run = Run(paper, chip)
    chip.samples(1)
    for step, number in enumerate(chip.numbers()):
        run.claim(number, step)
    kept, about = run.fixed(chip.numbers())
    assert [claim["first"] for claim in kept["claims"]] == [3]
    assert "older than its seed" in about[0]


def test_earlier_boots_in_a_claim_s_range_do_not_spoil_it(paper: Paper) -> None:
    """A recorder that has seen no notice yet claims from record 0 on; the boot says which it means."""
    chip = paper.chip()
    chip.boot().samples(2).shutdown()
    run = Run(paper, chip)
    chip.boot().samples(2)
    place = {"chip": chip.id, "boot": 2, "sequences": [0, 5], "step": 0}
    run.progress(place)
    whole = audit(run.id, chip, boot=2)
    whole["claims"] = [{"segment": 0, "chip": chip.id, "boot": 2, "first": 0, "last": 5, "step": 0}]
    kept, about = fixed_claims(paper.workspace(), run.item, whole)
    assert len(kept["claims"]) == 1 and not about


def test_a_claim_on_a_chip_that_the_commitment_does_not_name_falls(paper: Paper) -> None:
    chip, other = paper.chip(), paper.chip()
    run = Run(paper, chip, chips=[other.id])
    chip.boot().samples(1)
    run.claim(1, 0)
    kept, about = run.fixed([1])
    assert kept["claims"] == [] and kept["spans"] == []
    assert kept["chips"] == [other.id], "the commitment's word, whatever the audit says"
    assert "does not name" in about[0]


def test_claims_that_come_long_after_their_records_are_mentioned(run: Run) -> None:
    run.chip.boot().samples(1)
    run.paper.clock += 500.0
    run.claim(1, 0)
    kept, about = run.fixed([1])
    assert len(kept["claims"]) == 1
    assert "500 s after" in about[0]


# --- order


def outcomes(run: Run, *, audited: bool = True, held: bool = True) -> dict[str, Outcome]:
    found = run_findings(
        run.paper.workspace(), [run.item], {run.id} if audited else set(), {run.chip.id} if held else set()
    )
    return {finding.check: finding.outcome for finding in found}


def test_committed_answered_trained(run: Run) -> None:
    run.progress()
    assert outcomes(run) == {"transcript.order": Outcome.PASS}


def test_trained_before_the_answer(paper: Paper) -> None:
    run = Run(paper, paper.chip(), nonce=False)
    run.progress()
    run.answer()
    assert outcomes(run)["transcript.order"] is Outcome.FAIL


def test_another_operator_cannot_make_a_run_look_early(paper: Paper) -> None:
    run = Run(paper, paper.chip(), nonce=False)
    paper.say("run-progress", {"run": run.id, "step": 0}, by=paper.operators["Birch"])
    run.answer()
    assert outcomes(run)["transcript.order"] is Outcome.PASS


@pytest.mark.parametrize("answers", [0, 2])
def test_no_answer_or_two(paper: Paper, answers: int) -> None:
    run = Run(paper, paper.chip(), nonce=False)
    for _ in range(answers):
        run.paper.clock += 1.5
        run.answer()
    assert outcomes(run)["transcript.order"] is Outcome.FAIL


def test_a_run_never_opened_and_a_chip_not_held(run: Run) -> None:
    found = outcomes(run, audited=False, held=False)
    assert found["transcript.audit"] is Outcome.INCONCLUSIVE
    assert found["match.custody"] is Outcome.FAIL


# --- audits


def logged_audit(of: Run, /, **changes: Any) -> None:
    of.paper.say("run-audit", {**audit(of.id, of.chip), **changes})


def test_audits_are_read_in_the_order_of_the_log(run: Run) -> None:
    run.paper.close()
    logged_audit(run)
    assert [found["run"] for found in audits_of(run.paper.workspace())] == [run.id]


def test_two_audits_of_one_run_are_refused(run: Run) -> None:
    run.paper.close()
    logged_audit(run)
    logged_audit(run, steps=99)
    with pytest.raises(EvidenceError, match="audited twice"):
        audits_of(run.paper.workspace())


def test_an_audit_of_a_run_that_was_never_committed_is_refused(run: Run) -> None:
    run.paper.close()
    logged_audit(run, run="cd" * 32)
    with pytest.raises(EvidenceError, match="never committed"):
        audits_of(run.paper.workspace())


def test_an_audit_before_the_close_is_refused(run: Run) -> None:
    logged_audit(run)
    run.paper.close()
    with pytest.raises(EvidenceError, match="before the close"):
        audits_of(run.paper.workspace())


MALFORMED: dict[str, list[Any]] = {
    "run": [None, 5],
    "chips": ["c1", None],
    "accepted": [1, "yes", None],
    "findings": [[5], [{}], [{"check": "x"}], "none"],
    "records": [[5], [{}], [{"chip": "c", "sequence": True}]],
    "claims": [[{}], [{"segment": 0}], 5],
    "spans": [[{}], {"a": 1}],
    "steps": [-1, 1.5, True, None],
    "step_cpu_s": [-0.1, "x", None],
    "flop_per_step": [-1.0, None],
    "baseline_bytes": [-5, 1.5],
    "parent": [5, []],
    "format": [None, 32],
    "begins_as": [None, "x"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values])
def test_a_malformed_audit_is_refused(run: Run, name: str, value: object) -> None:
    run.paper.close()
    logged_audit(run, **{name: value})
    with pytest.raises(EvidenceError, match="run-audit"):
        audits_of(run.paper.workspace())
