"""Who answers for which chip: custody joined with what speaks in the log."""

import pytest

from ledger.paper import START, Paper, PaperChip
from weighbridge.evidence.findings import Outcome
from weighbridge.ledger.custody import Holdings, holdings
from weighbridge.mechanisms.registry.directory import sign_correction
from weighbridge.mechanisms.registry.epcis import Step

OPERATORS = ("Alder", "Birch")


def held(paper: Paper, *, began: float = 0.0, closed: float = 1000.0) -> Holdings:
    return holdings(paper.workspace(), OPERATORS, began=START + began, closed=START + closed)


def failing(found: Holdings, operator: str) -> set[str]:
    return {finding.check for finding in found.findings_of(operator) if finding.outcome is Outcome.FAIL}


def now(paper: Paper) -> float:
    return paper.clock - START


@pytest.fixture
def chip(paper: Paper) -> PaperChip:
    return paper.chip()


def test_a_chip_received_is_its_holder_s_and_nobody_else_s(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    chip.boot().shutdown()
    found = held(paper)
    assert found.of("Alder") == (chip.id,) and found.of("Birch") == ()
    assert found.attributed == {chip.id}
    assert not failing(found, "Alder")


def test_a_chip_sold_before_the_plan_is_the_buyer_s(paper: Paper, chip: PaperChip) -> None:
    """What the buyer does with it is not the seller's to answer for."""
    paper.deliver(chip.id, "Alder")
    paper.custody(Step.SHIPPED, chip.id, "Alder", "Birch")
    paper.custody(Step.RECEIVED, chip.id, "Birch", "Alder")
    chip.boot().shutdown()
    found = held(paper, began=now(paper))
    assert found.of("Alder") == () and found.of("Birch") == (chip.id,)


def test_a_chip_that_changes_hands_in_the_window_is_both_s(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    began = now(paper)
    paper.custody(Step.SHIPPED, chip.id, "Alder", "Birch", at=began + 50)
    paper.custody(Step.RECEIVED, chip.id, "Birch", "Alder", at=began + 60)
    found = held(paper, began=began)
    assert found.of("Alder") == found.of("Birch") == (chip.id,)


def test_a_sale_dated_back_frees_nobody(paper: Paper, chip: PaperChip) -> None:
    """The receipt says that it is old; the log took it after the plan."""
    paper.deliver(chip.id, "Alder")
    began = now(paper) + 10
    paper.custody(Step.SHIPPED, chip.id, "Alder", "Birch", at=began + 50, happened=began - 5)
    paper.custody(Step.RECEIVED, chip.id, "Birch", "Alder", at=began + 51, happened=began - 4)
    assert chip.id in held(paper, began=began).of("Alder")


def test_a_receipt_dated_ahead_frees_nobody(paper: Paper, chip: PaperChip) -> None:
    """Said to happen after the close, and logged before the plan: the chip is there already."""
    paper.deliver(chip.id, "Alder")
    paper.custody(Step.SHIPPED, chip.id, "Alder", "Birch")
    paper.custody(Step.RECEIVED, chip.id, "Birch", "Alder", happened=2000.0)
    assert held(paper, began=now(paper)).of("Birch") == (chip.id,)


def test_a_receipt_taken_back_after_the_plan_frees_nobody(paper: Paper, chip: PaperChip) -> None:
    """Without its receipt the chip would still be the sender's, by Alder's word alone."""
    paper.deliver(chip.id, "Birch")
    paper.custody(Step.SHIPPED, chip.id, "Birch", "Alder")
    received = paper.custody(Step.RECEIVED, chip.id, "Alder", "Birch")
    began = now(paper) + 10
    raw = sign_correction(
        paper.operators["Alder"], of=received.statement, reason="did_not_occur", time=paper.clock + 20
    )
    paper.log(raw, at=began + 20)
    assert held(paper, began=began).of("Alder") == (chip.id,)


def test_a_story_dated_back_to_before_the_receipt_frees_nobody(paper: Paper, chip: PaperChip) -> None:
    """An accomplice who is not inspected says, after the plan, that the chip reached him long before Alder signed."""
    paper.custody(Step.MADE, chip.id, "Chip Works", serial="S1", happened=-350.0)
    paper.custody(Step.SHIPPED, chip.id, "Chip Works", "Birch", happened=-340.0)
    paper.custody(Step.RECEIVED, chip.id, "Birch", "Chip Works", happened=-330.0)
    paper.custody(Step.SHIPPED, chip.id, "Birch", "Alder", happened=-320.0)
    paper.custody(Step.RECEIVED, chip.id, "Alder", "Birch", at=600.0)
    paper.custody(Step.RECEIVED, chip.id, "Cedar", "Birch", at=650.0, happened=-310.0)
    assert chip.id in held(paper, began=620.0).of("Alder")


def test_shipped_and_not_signed_for_stays_the_sender_s(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    paper.custody(Step.SHIPPED, chip.id, "Alder", "Birch")
    found = held(paper, began=now(paper))
    assert found.of("Alder") == (chip.id,)
    assert found.of("Birch") == (), "an operator cannot talk its chip onto another"


def test_a_chip_shipped_by_a_distributor_and_never_received_that_speaks(paper: Paper, chip: PaperChip) -> None:
    paper.custody(Step.MADE, chip.id, "Chip Works", serial="S1")
    paper.custody(Step.SHIPPED, chip.id, "Chip Works", "Distributor")
    paper.custody(Step.RECEIVED, chip.id, "Distributor", "Chip Works")
    paper.custody(Step.SHIPPED, chip.id, "Distributor", "Birch")
    silent = held(paper)
    assert silent.unlisted_of("Birch") == (chip.id,)
    assert "ledger.unlisted-chip" not in failing(silent, "Birch")
    chip.boot().samples(3).shutdown()
    found = held(paper)
    assert "ledger.unlisted-chip" in failing(found, "Birch")
    finding = next(f for f in found.findings_of("Birch") if f.check == "ledger.unlisted-chip")
    assert finding.subject == chip.id and finding.figure == 5
    assert found.of("Alder") == ()


def test_a_chip_named_only_by_a_run_is_that_run_s_operator_s(paper: Paper, chip: PaperChip) -> None:
    chip.boot().samples(2).shutdown()
    paper.say("run-commitment", {"chips": [chip.id, 5, None]}, by=paper.operators["Alder"])
    found = held(paper)
    assert found.unlisted_of("Alder") == (chip.id,)
    assert "ledger.unlisted-chip" in failing(found, "Alder")


@pytest.mark.parametrize("named", [5, None, "chip", {"a": 1}, [[], {}, 1.5]])
def test_a_commitment_that_names_nonsense_names_nothing(paper: Paper, named: object) -> None:
    paper.say("run-commitment", {"chips": named}, by=paper.operators["Alder"])
    assert held(paper).of("Alder") == ()


def test_a_chip_that_speaks_and_is_nobody_s_stays_unattributed(paper: Paper, chip: PaperChip) -> None:
    chip.boot().samples(2).shutdown()
    found = held(paper)
    assert chip.id not in found.attributed


def test_a_serial_sold_twice_is_found_with_both_buyers(paper: Paper, chip: PaperChip) -> None:
    twin = paper.chip()
    paper.deliver(chip.id, "Alder", serial="S7")
    paper.deliver(twin.id, "Birch", serial="S7")
    found = held(paper)
    assert "registry.double-sold" in failing(found, "Alder")
    assert "registry.double-sold" in failing(found, "Birch")


def test_a_chip_sold_to_two_is_found_and_both_answer(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    paper.custody(Step.SHIPPED, chip.id, "Distributor", "Birch")
    chip.boot().shutdown()
    found = held(paper)
    assert found.of("Alder") == found.of("Birch") == (chip.id,)
    assert "registry.double-sold" in failing(found, "Alder") | failing(found, "Birch")


@pytest.mark.parametrize("witness", ["Inspector", "Alder"])
def test_a_destroyed_chip_that_speaks_again(paper: Paper, chip: PaperChip, witness: str) -> None:
    paper.deliver(chip.id, "Alder")
    chip.boot().shutdown()
    paper.custody(Step.DESTROYED, chip.id, "Alder", by=witness)
    before = held(paper)
    assert "ledger.destroyed-chip" not in failing(before, "Alder")
    chip.boot().shutdown()
    found = held(paper)
    assert "ledger.destroyed-chip" in failing(found, "Alder")
    finding = next(f for f in found.findings_of("Alder") if f.check == "ledger.destroyed-chip")
    assert finding.subject == f"{chip.id}#2"


def test_a_chip_destroyed_before_the_plan_is_nobody_s_until_it_speaks(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    chip.boot().shutdown()
    paper.custody(Step.DESTROYED, chip.id, "Alder", by="Inspector")
    began = now(paper) + 1
    assert held(paper, began=began).of("Alder") == ()
    paper.clock += 5
    chip.boot()
    found = held(paper, began=began)
    assert found.of("Alder") == (chip.id,)
    assert "ledger.destroyed-chip" in failing(found, "Alder")


def test_a_chip_that_its_owner_says_he_destroyed_is_still_his(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    paper.custody(Step.DESTROYED, chip.id, "Alder")
    assert held(paper, began=now(paper) + 1).of("Alder") == (chip.id,)


def test_a_chip_destroyed_in_the_window_is_still_charged(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    began = now(paper) + 1
    paper.custody(Step.DESTROYED, chip.id, "Alder", by="Inspector", at=began + 50, happened=began - 1)
    assert held(paper, began=began).of("Alder") == (chip.id,)


def test_records_that_are_none_still_count_as_speech(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    paper.custody(Step.DESTROYED, chip.id, "Alder", by="Inspector")
    paper.say("chip-record", {"eat": {1: 1}}, by=chip.signer, subject=chip.id, encoding="cbor")
    assert "ledger.destroyed-chip" in failing(held(paper), "Alder")


def test_a_malformed_custody_event_says_nothing(paper: Paper, chip: PaperChip) -> None:
    paper.deliver(chip.id, "Alder")
    paper.say("custody-event", {"bizStep": ["?"]}, by=paper.operators["Birch"])
    found = held(paper)
    assert found.of("Alder") == (chip.id,) and not failing(found, "Alder")


def test_a_stranger_s_word_about_a_chip_is_the_stranger_s_fault(paper: Paper, chip: PaperChip) -> None:
    """Birch says that Alder shipped its chip away: that is no finding against Alder."""
    paper.deliver(chip.id, "Alder")
    paper.custody(Step.SHIPPED, chip.id, "Alder", "Birch", by="Birch")
    found = held(paper, began=now(paper))
    assert found.of("Alder") == (chip.id,)
    assert not failing(found, "Alder")
    assert "registry.not-holder" in failing(found, "Birch")
    mentioned = next(f for f in found.findings_of("Alder") if f.check == "registry.not-holder")
    assert mentioned.outcome is Outcome.INCONCLUSIVE and "the word of Birch alone" in mentioned.reason


@pytest.mark.parametrize("step", [Step.MADE, Step.SHIPPED])
def test_a_rival_that_tells_stories_about_a_chip_breaks_no_other_s_verdict(
    paper: Paper, chip: PaperChip, step: Step
) -> None:
    paper.deliver(chip.id, "Alder")
    paper.custody(step, chip.id, "Birch", "Cedar" if step is Step.SHIPPED else None)
    found = held(paper, began=now(paper))
    assert not failing(found, "Alder")
    assert failing(found, "Birch")


def test_a_chip_from_nowhere_is_its_holder_s_fault_whoever_spoke_of_it_first(paper: Paper, chip: PaperChip) -> None:
    """Smuggled: an accomplice who is not inspected is the only source of its story."""
    paper.custody(Step.RECEIVED, chip.id, "Cedar", "Distributor")
    paper.custody(Step.SHIPPED, chip.id, "Cedar", "Alder")
    paper.custody(Step.RECEIVED, chip.id, "Alder", "Cedar")
    assert "registry.origin" in failing(held(paper), "Alder")


def test_a_chip_in_nobody_s_hands_that_a_stranger_claims(paper: Paper, chip: PaperChip) -> None:
    paper.custody(Step.RECEIVED, chip.id, "Birch", "Distributor")
    found = held(paper)
    assert found.of("Birch") == (chip.id,)
    assert "registry.origin" in failing(found, "Birch")
