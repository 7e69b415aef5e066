"""One chip's time: which samples count, which time is charged, and what an operator cannot talk away."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ledger.paper import START, Paper, PaperChip, audit, policy
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.account import Account, Samples, account_for
from weighbridge.ledger.chips import ChipTime, chip_time

RUN, OTHER = "aa" * 32, "bb" * 32
NONCE = "ab" * 16
CLOSED = 200.0


def judged(chip: PaperChip, audits: Sequence[Mapping[str, Any]] = (), **changes: Any) -> ChipTime:
    options: dict[str, Any] = {
        "policy": policy(),
        "began": START,
        "closed": START + CLOSED,
        "challenges": {NONCE: START + CLOSED - 0.002},
    }
    return chip_time(chip.id, chip.logged, audits, **options | changes)


def settled(time: ChipTime) -> Account:
    samples = Samples(
        rate_hz=time.rate_hz,
        due=time.due,
        audited=time.audited,
        unexplained=time.unexplained,
        windows=time.windows,
    )
    options: dict[str, Any] = {"chips": time.cores, "capacity": policy().capacity, "window_s": CLOSED, "alpha": 0.05}
    return account_for(time.boots, samples, **options)


def hidden_s(time: ChipTime) -> float:
    """X at level A in processor-seconds."""
    return settled(time).hidden_flop["A"] / policy().capacity.flop_per_s


def failing(time: ChipTime) -> list[Finding]:
    return [finding for finding in time.findings if finding.outcome is Outcome.FAIL]


def statuses(time: ChipTime) -> list[str]:
    return [status.status for status in time.records]


def answered(chip: PaperChip) -> PaperChip:
    """Has the chip answer just before the close."""
    chip.paper.clock = START + CLOSED - 0.002
    return chip.answer(NONCE)


@pytest.fixture
def chip(paper: Paper) -> PaperChip:
    return paper.chip()


def honest(chip: PaperChip, count: int = 11) -> PaperChip:
    """A boot of samples a second apart, three seconds of start-up before the first."""
    return answered(chip.boot().samples(1, every=3.0).samples(count - 1).shutdown(after=0.5))


def test_an_honest_boot_is_charged_start_end_slack_and_exposure(chip: PaperChip) -> None:
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90)])
    assert not failing(time)
    assert (time.due, time.audited, time.unexplained, time.windows) == (11, 11, 0, 1)
    assert statuses(time) == ["boot", *["matched"] * 11, "shutdown", "answered"]
    use = time.boots[0]
    assert use.needed_s == pytest.approx(9.0)
    assert use.declared_active_s == pytest.approx(10.0)
    # 3 s before the first claimed freeze, 1 s of slack inside, 0.5 s after the last, 3.0 s of exposure.
    assert hidden_s(time) == pytest.approx(3.0 + 1.0 + 0.5 + 2.9957, abs=0.01)


def test_steps_cover_no_more_than_the_time_between_first_and_last_claim(chip: PaperChip) -> None:
    """A run that says it took a thousand steps in ten seconds covers ten seconds."""
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=1000)])
    assert time.boots[0].needed_s == pytest.approx(10.0)
    assert [f.check for f in failing(time)] == ["account.time-per-step"]


def test_a_second_model_in_the_process_is_charged_and_found(chip: PaperChip) -> None:
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)])
    assert time.boots[0].needed_s == pytest.approx(4.5)
    assert [f.check for f in failing(time)] == ["account.time-per-step"]
    assert hidden_s(time) > 5.5 + 3.0


def test_a_boot_that_nobody_declares_counts_whole_and_its_records_fail(chip: PaperChip) -> None:
    honest(chip)
    time = judged(chip)
    assert {f.check for f in failing(time)} == {"match.record"}
    assert len(failing(time)) == 11
    assert hidden_s(time) == pytest.approx(13.5, abs=0.01)
    assert time.boots[0].use == "uncovered"


def test_a_rejected_run_covers_nothing(chip: PaperChip) -> None:
    honest(chip)
    rejected = audit(RUN, chip, chip.numbers(), accepted=False)
    assert hidden_s(judged(chip, [rejected])) == hidden_s(judged(chip))


def test_an_accepted_run_without_a_matched_record_covers_nothing(chip: PaperChip) -> None:
    honest(chip)
    time = judged(chip, [audit(RUN, chip)])
    assert hidden_s(time) == hidden_s(judged(chip))


@pytest.mark.parametrize("kept", [0, 1])
def test_a_run_with_fewer_than_two_claimed_freezes_covers_no_time(chip: PaperChip, kept: int) -> None:
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers()[:kept], steps=90)])
    assert time.boots[0].needed_s == 0
    assert hidden_s(time) >= 13.5


def test_samples_outside_the_windows_are_charged_and_not_counted(chip: PaperChip) -> None:
    honest(chip)
    inner = chip.numbers()[3:8]
    time = judged(chip, [audit(RUN, chip, inner, steps=40)])
    assert statuses(time)[1:12] == ["outside"] * 3 + ["matched"] * 5 + ["outside"] * 3
    assert (time.due, time.unexplained) == (5, 0)
    assert hidden_s(time) == pytest.approx(13.5 - 4.0 + 2.9957, abs=0.01)


def test_a_sample_left_out_inside_the_window_is_unexplained(chip: PaperChip) -> None:
    honest(chip)
    claimed = [n for n in chip.numbers() if n != 5]
    time = judged(chip, [audit(RUN, chip, claimed, steps=90)])
    assert (time.due, time.audited, time.unexplained) == (11, 10, 1)
    assert [(f.check, f.subject) for f in failing(time)] == [("match.record", f"{chip.id}#5")]
    assert hidden_s(time) == pytest.approx(4.5 + 4.7439, abs=0.01)


def test_a_claim_that_does_not_match_is_unexplained(chip: PaperChip) -> None:
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90, wrong=[4])])
    assert time.unexplained == 1
    assert "50%" in failing(time)[0].reason


def test_a_claim_whose_leaf_table_is_lost_is_unexplained(chip: PaperChip) -> None:
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90, unseen=[4, 6])])
    assert time.unexplained == 2
    assert "leaf table or salt" in failing(time)[0].reason


def test_a_missing_record_inside_the_window_is_unexplained(chip: PaperChip) -> None:
    honest(chip)
    whole = list(chip.logged)
    chip.logged = [item for item, record in zip(whole, chip.records, strict=True) if record.sequence not in (4, 5)]
    claimed = [n for n in chip.numbers() if n not in (4, 5)]
    time = judged(chip, [audit(RUN, chip, claimed, steps=90)])
    assert (time.due, time.audited, time.unexplained) == (11, 9, 2)


def test_an_absurd_number_costs_no_time_to_count(chip: PaperChip) -> None:
    chip.boot().samples(3).add("sample", after=1.0, sequence=(1 << 63))
    time = judged(chip, [audit(RUN, chip, [1, 2, 3, 1 << 63], steps=30)])
    assert time.unexplained == 1_000_000


def test_two_runs_that_claim_one_record_explain_neither(chip: PaperChip) -> None:
    honest(chip)
    samples = chip.numbers()
    both = [audit(RUN, chip, samples, steps=45), audit(OTHER, chip, samples, steps=45)]
    time = judged(chip, both)
    assert (time.audited, time.unexplained) == (0, 11)
    assert "explains neither" in failing(time)[0].reason
    # No audited sample: the whole span stays open, and whatever the steps covered is charged again.
    assert hidden_s(time) >= 13.5


def test_interleaved_claims_cover_the_time_once(chip: PaperChip) -> None:
    """Two processes at once on one processor: together they need no more than there was."""
    honest(chip)
    samples = chip.numbers()
    both = [audit(RUN, chip, samples[::2], steps=90), audit(OTHER, chip, samples[1::2], steps=90)]
    time = judged(chip, both)
    assert time.windows == 2
    assert time.boots[0].needed_s == pytest.approx(10.0)
    assert hidden_s(time) >= 3.5 + 4.74


def test_two_runs_one_after_the_other_are_two_windows(chip: PaperChip) -> None:
    """What lies between them, start-up of the second, is charged and no fault."""
    honest(chip)
    samples = chip.numbers()
    both = [audit(RUN, chip, samples[:4], steps=27), audit(OTHER, chip, samples[6:], steps=36)]
    time = judged(chip, both)
    assert not failing(time)
    assert (time.windows, time.due, time.audited) == (2, 9, 9)
    assert time.boots[0].needed_s == pytest.approx(2.7 + 3.6)
    assert settled(time).form.endswith("over 2 windows")
    assert hidden_s(time) == pytest.approx(13.5 - 6.3 + 4.7439, abs=0.01)


def test_two_runs_in_two_boots(chip: PaperChip) -> None:
    chip.boot().samples(6).shutdown(after=0.5).boot().samples(6).shutdown(after=0.5)
    answered(chip)
    first, second = chip.numbers(boot=1), chip.numbers(boot=2)
    both = [audit(RUN, chip, first, steps=45), audit(OTHER, chip, second, boot=2, steps=45)]
    time = judged(chip, both)
    assert not failing(time)
    assert [use.use for use in time.boots] == ["declared run", "declared run", "silent"]
    assert hidden_s(time) == pytest.approx(2 * (1.0 + 0.5 + 0.5) + 4.7439, abs=0.01)


def test_a_claim_on_records_of_another_boot_explains_nothing(chip: PaperChip) -> None:
    chip.boot().samples(6).shutdown().boot().samples(6).shutdown()
    answered(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(boot=2), boot=1, steps=45)])
    assert len(failing(time)) == 12
    assert hidden_s(time) == hidden_s(judged(chip))


def test_claims_beyond_what_exists_change_nothing(chip: PaperChip) -> None:
    honest(chip)
    fair = audit(RUN, chip, chip.numbers(), steps=90)
    greedy = audit(RUN, chip, chip.numbers(), steps=90)
    greedy["claims"][0]["first"], greedy["claims"][-1]["last"] = 0, 1 << 53
    assert hidden_s(judged(chip, [greedy])) == hidden_s(judged(chip, [fair]))


def test_a_run_committed_for_another_chip_explains_nothing_here(chip: PaperChip) -> None:
    honest(chip)
    stranger = audit(RUN, chip, chip.numbers(), chips=["cd" * 32])
    assert hidden_s(judged(chip, [stranger])) == hidden_s(judged(chip))


def test_a_segment_on_two_chips_covers_no_time_on_either(paper: Paper, chip: PaperChip) -> None:
    """An audit gives no span to a segment whose freezes name two chips; the claims alone cover nothing."""
    honest(chip)
    twice = audit(RUN, chip, chip.numbers(), spans=[])
    time = judged(chip, [twice])
    assert time.boots[0].needed_s == 0
    assert hidden_s(time) >= 13.5


def test_an_unclean_end_is_charged_until_the_next_boot(chip: PaperChip) -> None:
    chip.boot().samples(6)
    chip.paper.clock += 40.0
    answered(chip.boot().shutdown(after=1.0))
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)])
    assert time.boots[0].tail_s == pytest.approx(40.0, abs=0.1)
    assert hidden_s(time) > 40.0


def test_an_unclean_end_is_charged_until_the_close(chip: PaperChip) -> None:
    chip.boot().samples(6)
    left = START + CLOSED - chip.paper.clock
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)], challenges={})
    assert time.boots[0].tail_s == pytest.approx(left)
    assert hidden_s(time) > left


def test_what_the_next_boot_admits_to_is_charged_whatever_the_log_says(chip: PaperChip) -> None:
    """Records held back and logged at once: the log's times say nothing, the chip's ticks do."""
    chip.boot().samples(6).add("boot", after=30.0, boot=2, cpu_ns=0)
    chip.number = 2
    for item in chip.logged:
        object.__setattr__(item, "time", START + 190.0)
    answered(chip.shutdown())
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)])
    assert time.boots[0].tail_s == pytest.approx(30.0)


def test_ticks_between_a_shutdown_and_the_next_boot_are_charged(chip: PaperChip) -> None:
    chip.boot().samples(3).shutdown().add("boot", after=20.0, boot=2, cpu_ns=0)
    chip.number = 2
    answered(chip.shutdown())
    assert judged(chip).boots[0].tail_s == pytest.approx(20.0)


def test_lost_samples_are_due_and_unexplained(chip: PaperChip) -> None:
    chip.boot().samples(6).boot(lost=2, link="ab" * 32).shutdown()
    answered(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)])
    assert (time.due, time.audited, time.unexplained) == (8, 6, 2)


def test_a_chip_that_does_not_answer_is_charged_the_whole_rest(chip: PaperChip) -> None:
    """Its records were logged just before the close, and say little of when it stopped."""
    chip.boot().samples(6).shutdown()
    for item in chip.logged:
        object.__setattr__(item, "time", START + CLOSED - 1.0)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)])
    assert ("inspection.challenge", Outcome.FAIL) in {(f.check, f.outcome) for f in time.findings}
    silent = time.boots[-1]
    assert silent.use == "silent"
    assert silent.active_s == pytest.approx(CLOSED - 7.0)
    assert hidden_s(time) > CLOSED - 7.0


def test_a_chip_that_was_not_asked_is_charged_the_rest_without_a_fault(chip: PaperChip) -> None:
    chip.boot().samples(6).shutdown()
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)], challenges={})
    assert not failing(time)
    assert hidden_s(time) > CLOSED - 7.0


def test_an_answer_to_another_challenge_is_none(chip: PaperChip) -> None:
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90)], challenges={"cd" * 16: START + CLOSED - 1.0})
    assert hidden_s(time) > CLOSED - 20.0


def test_time_between_a_challenge_and_the_close_is_charged(chip: PaperChip) -> None:
    chip.boot().samples(6).shutdown().answer(NONCE)
    asked = chip.paper.clock - 0.5
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)], challenges={NONCE: asked})
    assert time.boots[-1].active_s == pytest.approx(START + CLOSED - asked)


def test_an_answer_held_back_until_the_close_hides_no_time(chip: PaperChip) -> None:
    """Signed as soon as the challenge came, logged just before the close; what the chip did between, withheld."""
    chip.boot().samples(6).shutdown()
    answered(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=45)], challenges={NONCE: START + 30.0})
    assert time.boots[-1].active_s == pytest.approx(CLOSED - 30.0)
    assert hidden_s(time) > CLOSED - 30.0


def test_of_several_challenges_the_newest_answered_shows_how_long_the_chip_is_accounted_for(chip: PaperChip) -> None:
    chip.boot().samples(6).shutdown().answer("cd" * 16)
    answered(chip)
    asked = {"cd" * 16: START + 10.0, NONCE: START + CLOSED - 2.0}
    claimed = [audit(RUN, chip, chip.numbers(), steps=45)]
    assert judged(chip, claimed, challenges=asked).boots[-1].active_s == pytest.approx(2.0)
    one_open = judged(chip, claimed, challenges=asked | {"ef" * 16: START + CLOSED - 1.0})
    assert one_open.boots[-1].active_s > CLOSED - 20.0


def test_a_chip_that_never_spoke_is_charged_the_window(chip: PaperChip) -> None:
    assert hidden_s(judged(chip)) == pytest.approx(CLOSED)
    assert hidden_s(judged(chip, challenges={})) == pytest.approx(CLOSED)


def test_a_chip_that_never_ran_and_answers_is_charged_next_to_nothing(chip: PaperChip) -> None:
    answered(chip)
    time = judged(chip)
    assert statuses(time) == ["answered"]
    assert hidden_s(time) < 0.1


def test_without_a_control_group_active_time_is_charged(paper: Paper) -> None:
    """CPU time of some children may be missing: every second counts as busy."""
    chip = paper.chip(accounting="process-tree")
    chip.boot().add("sample", after=3.0, cpu=1.0)
    for _ in range(10):
        chip.add("sample", after=1.0, cpu=0.9)
    chip.shutdown(after=0.5, cpu=0.1)
    answered_ = chip.add("challenge", nonce=NONCE, accounting="none")
    answered_.paper.clock = START + CLOSED
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90)])
    assert time.boots[0].compute_s == pytest.approx(13.5)
    assert time.boots[0].needed_s == pytest.approx(9.0)
    assert not failing(time)


def test_a_control_group_charges_cpu_time(chip: PaperChip) -> None:
    chip.boot().add("sample", after=3.0, cpu=1.0)
    for _ in range(10):
        chip.add("sample", after=1.0, cpu=0.95)
    answered(chip.shutdown(after=0.5, cpu=0.1))
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90)])
    assert time.boots[0].compute_s == pytest.approx(10.6)
    assert hidden_s(time) == pytest.approx(1.0 + 0.1 + 0.5 + 2.9957, abs=0.01)


def test_one_boot_without_a_control_group_record_counts_by_active_time(chip: PaperChip) -> None:
    """The count is as weak as its weakest record."""
    chip.boot(accounting="process-tree").samples(5).shutdown()
    answered(chip)
    assert judged(chip).boots[0].compute_s == pytest.approx(6.0)


def test_two_processors_count_twice(paper: Paper) -> None:
    chip = paper.chip(cores=2)
    chip.boot().add("sample", after=3.0, cpu=6.0)
    for _ in range(10):
        chip.add("sample", after=1.0, cpu=2.0)
    answered(chip.shutdown(after=0.5, cpu=1.0))
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=180)])
    assert time.cores == 2
    assert hidden_s(time) == pytest.approx(6.0 + 2.0 + 1.0 + 2 * 2.9957, abs=0.01)
    assert settled(time).hidden_flop["C"] == pytest.approx(2 * CLOSED * 1e11)
    assert [f.check for f in time.findings if f.outcome is Outcome.INCONCLUSIVE] == ["account.processors"]


def test_unexplained_bytes_above_the_limit_leave_a_record_unexplained(chip: PaperChip) -> None:
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90, unexplained=1000 + (2 << 20))])
    assert (time.audited, time.unexplained) == (0, 11)
    assert {f.check for f in failing(time)} == {"match.unexplained-bytes"}
    assert failing(time)[0].hidden_flop == pytest.approx(120 * ((2 << 20) / 16) ** 2)
    below = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90, unexplained=1000 + (1 << 20))])
    assert (below.audited, below.unexplained) == (11, 0)


def test_without_a_yardstick_for_bytes_no_record_is_explained(chip: PaperChip) -> None:
    """A replay too short to be measured must not switch the check off."""
    honest(chip)
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90, baseline_bytes=0)])
    assert time.unexplained == 11
    assert not failing(time), "that nobody could measure is no fault of the operator's"
    assert {f.check for f in time.findings if f.outcome is Outcome.INCONCLUSIVE} == {"match.unexplained-bytes"}


def test_records_that_were_not_drawn_stay_claims(chip: PaperChip) -> None:
    honest(chip)
    drawn = set(chip.numbers()[2:9])
    seen = audit(RUN, chip, chip.numbers(), steps=90, unseen=[n for n in chip.numbers() if n not in drawn])
    time = judged(chip, [seen], drawn=lambda _, sequence: sequence in drawn)
    assert not failing(time)
    assert (time.due, time.audited, time.unexplained) == (11, 7, 0)
    assert statuses(time).count("claimed") == 4
    assert settled(time).form == "conditional, n = 6 drawn of 11 due"


def test_a_drawn_record_that_fails_opens_the_whole_span(chip: PaperChip) -> None:
    honest(chip)
    drawn = set(chip.numbers()[2:9])
    unseen = [n for n in chip.numbers() if n not in drawn]
    seen = audit(RUN, chip, chip.numbers(), steps=90, unseen=unseen, wrong=[5])
    time = judged(chip, [seen], drawn=lambda _, sequence: sequence in drawn)
    assert failing(time)
    assert hidden_s(time) == pytest.approx(4.5 + 10.0, abs=0.01)


def test_a_sample_that_nobody_claims_is_unexplained_even_if_not_drawn(chip: PaperChip) -> None:
    honest(chip)
    claimed = [n for n in chip.numbers() if n != 6]
    time = judged(chip, [audit(RUN, chip, claimed, steps=90)], drawn=lambda _, sequence: sequence != 6)
    assert (time.audited, time.unexplained) == (10, 1)


def test_a_second_record_of_one_number_is_left_out(chip: PaperChip) -> None:
    """A store rolled back: the first in the log stands; verify names the other."""
    honest(chip)
    before = hidden_s(judged(chip))
    chip.add("sample", sequence=3, boot=1)
    assert hidden_s(judged(chip)) <= before
    assert len(judged(chip).records) == 14


def test_a_statement_that_is_no_record_is_left_out(chip: PaperChip) -> None:
    honest(chip)
    item = chip.paper.say("chip-record", {"eat": {1: 2}}, by=chip.signer, subject=chip.id, encoding="cbor")
    chip.logged.insert(0, item)
    assert len(judged(chip).records) == 14


def test_records_logged_in_any_order_are_judged_by_their_numbers(chip: PaperChip) -> None:
    honest(chip)
    claimed = [audit(RUN, chip, chip.numbers(), steps=90)]
    before = judged(chip, claimed)
    chip.logged.reverse()
    assert judged(chip, claimed) == before


def test_levels_b_and_c_take_no_record_at_its_word(chip: PaperChip) -> None:
    honest(chip)
    account = settled(judged(chip, [audit(RUN, chip, chip.numbers(), steps=90)]))
    assert account.hidden_flop["B"] == account.hidden_flop["C"] == pytest.approx(CLOSED * 1e11)


def test_ticks_that_run_behind_the_log_are_made_up_for(chip: PaperChip) -> None:
    """A host whose clock stands still for 20 s between two records: the longest reading counts."""
    chip.boot().samples(5)
    chip.paper.clock += 20.0
    answered(chip.samples(6).shutdown(after=0.5))
    time = judged(chip, [audit(RUN, chip, chip.numbers(), steps=90)])
    assert time.boots[0].tail_s == pytest.approx(20.0, abs=0.1)
    assert hidden_s(time) == pytest.approx(1.0 + 1.0 + 0.5 + 20.0 + 2.9957, abs=0.1)


def test_ticks_that_run_ahead_of_the_log_gain_nothing(chip: PaperChip) -> None:
    chip.boot().samples(5).samples(5, every=1.0).shutdown(after=0.5)
    early = [replace(item, time=START + 1.0) for item in chip.logged]
    chip.logged[:] = early
    assert judged(chip, [audit(RUN, chip, chip.numbers(), steps=90)]).boots[0].tail_s == 0.0


def test_a_model_too_small_for_the_leaves_is_not_shown_and_not_a_lie(chip: PaperChip) -> None:
    honest(chip)
    blind = audit(RUN, chip, chip.numbers(), steps=90, wrong=chip.numbers())
    for record in blind["records"]:
        record["weight_leaves"] = record["weight_matches"] = 0
    time = judged(chip, [blind])
    assert not failing(time)
    found = [f for f in time.findings if f.check == "match.record"]
    assert len(found) == time.unexplained == 11
    assert {f.outcome for f in found} == {Outcome.INCONCLUSIVE}
    assert "smaller leaves" in found[0].reason


def test_time_that_nothing_shows_is_off(chip: PaperChip) -> None:
    assert judged(honest(chip)).off_s(CLOSED) == pytest.approx(CLOSED - 13.5, abs=0.1)


def test_stops_are_no_time_off(chip: PaperChip) -> None:
    time = judged(answered(chip.boot().samples(10, freeze_ns=10**9).shutdown(after=0.5)))
    assert time.off_s(CLOSED) == pytest.approx(CLOSED - 10.5 - 10.0, abs=0.1)
    assert time.off_s(5.0) == 0.0
