"""Declared windows: what claims make of one boot's samples."""

from collections.abc import Sequence
from typing import Any

import pytest

from ledger.paper import Paper, PaperChip, audit
from weighbridge.ledger.windows import Claims, Window

RUN, OTHER = "aa" * 32, "bb" * 32


@pytest.fixture
def chip(paper: Paper) -> PaperChip:
    return paper.chip().boot().samples(8, every=0.01)


def windows(chip: PaperChip, *audits: dict[str, Any], boot: int = 1) -> list[Window]:
    samples = [record for record in chip.records if record.reason == "sample" and record.boot == boot]
    return list(Claims(chip.id, audits).windows(samples))


def edges(found: Sequence[Window]) -> list[tuple[str, int, int, int]]:
    return [(w.owner[0], w.owner[1], w.first.sequence, w.last.sequence) for w in found]


def test_a_window_reaches_from_the_first_claimed_sample_to_the_last_and_no_further(chip: PaperChip) -> None:
    found = windows(chip, audit(RUN, chip, [3, 4, 6], steps=50, step_cpu_s=0.2))
    assert edges(found) == [(RUN, 0, 3, 6)]
    assert found[0].steps == 50
    assert found[0].needed_s == pytest.approx(10.0)
    assert [n for n in chip.numbers() if found[0].holds(chip.records[n])] == [3, 4, 5, 6]


def test_a_claim_wider_than_what_exists_begins_and_ends_at_samples(chip: PaperChip) -> None:
    wide = audit(RUN, chip, [3, 5])
    wide["claims"][0]["first"], wide["claims"][1]["last"] = 0, 1 << 40
    assert edges(windows(chip, wide)) == [(RUN, 0, 1, 8)]


def test_a_claim_turned_round_is_none(chip: PaperChip) -> None:
    reversed_ = audit(RUN, chip, [3])
    reversed_["claims"][0] |= {"first": 8, "last": 1}
    assert windows(chip, reversed_) == []


def test_one_claimed_sample_is_a_window_that_covers_no_step(chip: PaperChip) -> None:
    """Whatever the transcript says was trained around it: no time passed between its edges."""
    found = windows(chip, audit(RUN, chip, [4], steps=1_000_000))
    assert edges(found) == [(RUN, 0, 4, 4)]
    assert (found[0].steps, found[0].needed_s) == (0, 0.0)


def test_two_segments_are_two_processes(chip: PaperChip) -> None:
    """A window never reaches over a stop and a resumption: what ran between them was not declared."""
    one, two = audit(RUN, chip, [1, 2, 3], steps=30), audit(RUN, chip, [6, 7, 8], segment=1, steps=20)
    both = one | {"claims": one["claims"] + two["claims"], "spans": one["spans"] + two["spans"]}
    found = windows(chip, both)
    assert edges(found) == [(RUN, 0, 1, 3), (RUN, 1, 6, 8)]
    assert [w.steps for w in found] == [30, 20]


def test_the_same_record_claimed_by_two_segments_has_two_owners(chip: PaperChip) -> None:
    one, two = audit(RUN, chip, [4]), audit(RUN, chip, [4], segment=1)
    claims = Claims(chip.id, [one | {"claims": one["claims"] + two["claims"]}])
    assert claims.owners(chip.records[4]) == {(RUN, 0), (RUN, 1)}
    assert claims.owners(chip.records[5]) == set()


def test_a_span_of_another_boot_lends_no_steps(chip: PaperChip) -> None:
    found = windows(chip, audit(RUN, chip, [3, 4]) | {"spans": audit(RUN, chip, [3], boot=2)["spans"]})
    assert (found[0].steps, found[0].needed_s) == (0, 0.0)


def test_a_span_of_another_chip_lends_no_steps(paper: Paper, chip: PaperChip) -> None:
    elsewhere = audit(RUN, paper.chip(), [3])["spans"]
    found = windows(chip, audit(RUN, chip, [3, 4]) | {"spans": elsewhere})
    assert (found[0].steps, found[0].needed_s) == (0, 0.0)


def test_claims_on_another_boot_are_none_on_this_one(chip: PaperChip) -> None:
    assert windows(chip, audit(RUN, chip, [3, 4], boot=2)) == []


@pytest.mark.parametrize("change", [{"accepted": False}, {"chips": []}, {"chips": ["cd" * 32]}])
def test_a_run_that_may_not_claim_has_no_window_and_finds_nothing(chip: PaperChip, change: dict[str, Any]) -> None:
    claims = Claims(chip.id, [audit(RUN, chip, [3, 4]) | change])
    assert list(claims.windows([r for r in chip.records if r.reason == "sample"])) == []
    assert claims.found(RUN, chip.records[3]) is None


def test_what_one_run_s_audit_found_in_a_record_speaks_for_no_other_run(chip: PaperChip) -> None:
    claims = Claims(chip.id, [audit(RUN, chip, [3]), audit(OTHER, chip, [4])])
    assert claims.found(RUN, chip.records[4]) is None
    assert claims.found(OTHER, chip.records[4]) is not None


def test_of_two_findings_on_one_record_the_first_counts(chip: PaperChip) -> None:
    """An audit that lists a failed record again as matched."""
    wrong, right = audit(RUN, chip, [3], wrong=[3]), audit(RUN, chip, [3])
    claims = Claims(chip.id, [wrong | {"records": wrong["records"] + right["records"]}])
    found = claims.found(RUN, chip.records[3])
    assert found is not None and found["matched"] is False
