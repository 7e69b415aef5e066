"""The draw of the snapshots to audit: fixed by the log and a committed key, steered by nobody."""

import hashlib
from typing import Any

import pytest

from ledger.paper import NONCE_KEY, Paper, PaperChip, policy
from weighbridge.errors import EvidenceError
from weighbridge.ledger.drawing import audit_draw, revealed_key

OTHER_KEY = bytes(32)


def sampled(paper: Paper, count: int = 40) -> PaperChip:
    return paper.chip().boot().samples(count, every=0.01).shutdown(after=0.01)


def drawn(paper: Paper, chip: PaperChip, **changes: Any) -> list[int]:
    chosen = audit_draw(paper.workspace(), policy(**changes))
    return [record.sequence for record in chip.records if chosen(chip.id, record.sequence)]


@pytest.mark.parametrize("audits", [1, 7, 40])
def test_so_many_samples_are_drawn_as_were_planned_and_nothing_else(paper: Paper, audits: int) -> None:
    chip = sampled(paper)
    paper.close()
    chosen = drawn(paper, chip, audits=audits)
    assert len(chosen) == audits
    assert set(chosen) <= set(chip.numbers())


def test_a_plan_for_more_than_there_are_draws_all(paper: Paper) -> None:
    chip = sampled(paper)
    paper.close()
    assert drawn(paper, chip, audits=1000) == chip.numbers()


def test_a_plan_for_all_leaves_no_record_out(paper: Paper) -> None:
    chip = sampled(paper)
    paper.close()
    chosen = audit_draw(paper.workspace(), policy(audits=None))
    assert chosen(chip.id, 3) and chosen("00" * 32, 1 << 60)


def test_samples_of_all_chips_are_drawn_from_together(paper: Paper) -> None:
    one, two = sampled(paper, 30), sampled(paper, 30)
    paper.close()
    assert len(drawn(paper, one, audits=20)) + len(drawn(paper, two, audits=20)) == 20


def test_anybody_draws_the_same(paper: Paper) -> None:
    chip = sampled(paper)
    paper.close()
    assert drawn(paper, chip, audits=7) == drawn(paper, chip, audits=7)


def test_nobody_without_the_key_can_tell_the_draw(paper: Paper) -> None:
    """Same log, another key: another draw."""
    chip = sampled(paper)
    before = list(paper.logged)
    paper.close()
    with_one = drawn(paper, chip, audits=7)
    paper.logged = before
    paper.close(key=OTHER_KEY)
    assert drawn(paper, chip, audits=7, nonce_commitment=hashlib.sha256(OTHER_KEY).hexdigest()) != with_one


def test_what_was_logged_before_the_close_is_in_the_seed_and_what_came_after_is_not(paper: Paper) -> None:
    chip = sampled(paper)
    before = list(paper.logged)
    paper.close()
    plain = drawn(paper, chip, audits=7)
    paper.say("run-audit", {})
    assert drawn(paper, chip, audits=7) == plain
    paper.logged = before
    paper.say("run-progress", {}, by=paper.operators["Alder"])
    paper.close()
    assert drawn(paper, chip, audits=7) != plain


def test_samples_added_after_the_close_leave_the_draw_as_it_was(paper: Paper) -> None:
    """Who knows the draw cannot thin it out with more of the same."""
    chip = sampled(paper)
    paper.close()
    before = drawn(paper, chip, audits=7)
    chip.samples(40, every=0.01)
    assert drawn(paper, chip, audits=7) == before


def test_a_number_signed_twice_is_drawn_once(paper: Paper) -> None:
    chip = sampled(paper)
    chip.add("sample", sequence=3, boot=1)
    paper.close()
    assert len(set(drawn(paper, chip, audits=40))) == 40


def test_nothing_is_drawn_before_the_close(paper: Paper) -> None:
    sampled(paper)
    with pytest.raises(EvidenceError, match="0 statements of kind inspection-close"):
        audit_draw(paper.workspace(), policy(audits=7))


def test_nothing_is_drawn_again(paper: Paper) -> None:
    sampled(paper)
    paper.close()
    paper.close()
    with pytest.raises(EvidenceError, match="2 statements of kind inspection-close"):
        audit_draw(paper.workspace(), policy(audits=7))


@pytest.mark.parametrize("audits", [7, None])
def test_an_inspector_who_chooses_the_key_afterwards_draws_nothing(paper: Paper, audits: int | None) -> None:
    sampled(paper)
    paper.close(key=OTHER_KEY)
    with pytest.raises(EvidenceError, match="not the committed one"):
        audit_draw(paper.workspace(), policy(audits=audits))


def test_the_committed_key_is_revealed(paper: Paper) -> None:
    assert revealed_key(paper.close(), policy()) == NONCE_KEY


@pytest.mark.parametrize("key", [None, 5, "", "zz", NONCE_KEY.hex()[:-2], [NONCE_KEY.hex()]])
def test_what_is_no_key_is_refused(paper: Paper, key: object) -> None:
    with pytest.raises(EvidenceError, match="nonce_key"):
        revealed_key(paper.say("inspection-close", {"nonce_key": key}), policy())


def test_a_short_key_is_refused_even_if_it_was_committed(paper: Paper) -> None:
    """Of a byte every value can be tried."""
    committed = policy(nonce_commitment=hashlib.sha256(b"\x07").hexdigest())
    with pytest.raises(EvidenceError, match="nonce_key"):
        revealed_key(paper.close(key=b"\x07"), committed)
