"""The schedule of an honest chip, and each way of cheating it with the check that names it."""

from collections.abc import Callable
from typing import Any

import pytest

from chip.chip_world import SECOND, PaperChip, World
from chip.paper_verdicts import bad, judge, reason_of
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.chip.record import ChipRecord
from weighbridge.mechanisms.chip.verify import VerifyLimits

# -- schedule ------------------------------------------------------------------------------------------------------


def shift(field: str, by: int) -> Callable[[ChipRecord], dict[str, Any]]:
    return lambda record: {field: getattr(record, field) + by}


@pytest.mark.parametrize(
    ("sequence", "changes", "check", "words"),
    [
        (2, {"link": "00" * 32}, "chip.schedule", "does not hash"),
        (2, {"interval": 3}, "chip.schedule", "does not hash"),
        (2, {"interval": 1}, "chip.schedule", "second time"),
        (2, {"rate_hz": 0.5}, "chip.schedule", "its certificate says"),
        (2, shift("due_active_ns", 1), "chip.schedule", "the schedule:"),
        (2, shift("late_ns", 1), "chip.schedule", "its ticks say"),
        (3, {"next_commitment": "11" * 32}, "chip.schedule", "before the old one is used up"),
        (0, {"interval": 7}, "chip.schedule", "is open"),
        (0, {"lost": 1}, "chip.schedule", "reveals no link"),
        (2, {"firmware": "ee" * 32}, "chip.firmware", "sources changed"),
        (2, {"affinity_ok": False}, "chip.affinity", "off its processors"),
        (2, {"unread_bytes": 4096}, "chip.memory", "could not be read"),
        (2, {"boot": 2}, "chip.chain", "expected 1"),
        (3, {"host": "ff" * 32}, "chip.ticks", "middle of a boot"),
        (3, shift("cpu_ns", 10 * SECOND), "chip.cpu", "of CPU time in"),
        (3, {"cpu_ns": 0}, "chip.cpu", "went back"),
        (3, shift("monotonic_ns", -500 * SECOND), "chip.ticks", "went back"),
        (3, shift("monotonic_ns", 1), "chip.ticks", "count as active"),
        (3, {"active_ns": 0}, "chip.ticks", "active time went back"),
        (2, shift("freeze_ns", 1_000_000), "chip.ticks", "count as active"),
        (2, {"root": "00" * 32}, "chip.leaves", "signed root"),
        (2, {"salt_commitment": "00" * 32}, "chip.leaves", "not the one committed"),
        (2, {"leaf_count": 4}, "chip.leaves", "counts"),
    ],
)
def test_one_false_claim(
    paper: PaperChip,
    sequence: int,
    changes: dict[str, Any] | Callable[[ChipRecord], dict[str, Any]],
    check: str,
    words: str,
) -> None:
    paper.boot().sample(4).shutdown()
    paper.edit(sequence, **(changes(paper.records[sequence]) if callable(changes) else changes))
    found = judge(paper)
    spoken = [f for f in found.findings if f.check == check and f.outcome is Outcome.FAIL]
    assert any(words in f.reason for f in spoken), [f.reason for f in spoken]
    # The next record's difference may be the first that shows it.
    assert {f.subject for f in spoken} & {f"{paper.chip}#{sequence}", f"{paper.chip}#{sequence + 1}"}


def test_stopped_before_it_was_due(paper: PaperChip) -> None:
    """An operator who knows the due time would rather choose another moment."""
    paper.boot().sample(2)
    early = paper.due - 10_000_000
    paper.run(early - paper.active)
    ending = paper.end_interval()
    paper.add("sample", **_sample_fields(paper, due=early + 10_000_000, late=0) | ending)
    found = judge(paper, leaves=None)
    assert ("chip.schedule", "3") in bad(found) and "before it was due" in reason_of(found, "chip.schedule")


def _sample_fields(paper: PaperChip, *, due: int, late: int) -> dict[str, Any]:
    return {
        "due_active_ns": due,
        "late_ns": late,
        "leaf_size": 4096,
        "root": "11" * 32,
        "salt_commitment": "22" * 32,
    }


def test_late_stop(world: World) -> None:
    paper = PaperChip(world, "slow", rate_hz=0.01)
    paper.boot().sample(2).sample(1, late_ns=3 * SECOND).shutdown()
    found = judge(paper)
    assert bad(found) == {("chip.lateness", "3")}
    assert next(f.figure for f in found.findings if f.check == "chip.lateness") == pytest.approx(3.0)
    assert not bad(judge(paper, limits=VerifyLimits(late_s=4.0)))


def test_missed_stop(paper: PaperChip) -> None:
    """The chip ran on past a due time, shut down, and took the sample in the next boot."""
    paper.boot().sample(2)
    paper.run(paper.due - paper.active + 5 * SECOND)
    paper.add("shutdown")
    paper.boot().sample(1).shutdown()
    assert {("chip.missed", "3"), ("chip.lateness", "5")} <= bad(judge(paper))


def test_skipped_interval(paper: PaperChip) -> None:
    """A due stop left out altogether, the next one honest: the links show it."""
    paper.boot().sample(2)
    paper.end_interval()
    paper.sample(2).shutdown()
    found = judge(paper)
    assert ("chip.missed", "3") in bad(found)
    assert found.summary is not None
    assert (found.summary.samples_due, found.summary.unexplained_due) == (5, 1)
    assert len(found.summary.boots[0].missed) == 1


@pytest.mark.parametrize("reason", ["shutdown", "challenge"])
def test_link_revealed_early(paper: PaperChip, reason: str) -> None:
    paper.boot().sample(2)
    nonce = {"nonce": "00" * 8} if reason == "challenge" else {}
    paper.add(reason, link=paper.link(3).hex(), **nonce)
    found = judge(paper)
    assert ("chip.schedule", "3") in bad(found) and "known early" in reason_of(found, "chip.schedule")


def test_link_revealed_by_a_clean_boot(paper: PaperChip) -> None:
    paper.boot().sample(2).shutdown().boot()
    paper.edit(4, link=paper.link(3).hex(), lost=1)
    assert ("chip.schedule", "4") in bad(judge(paper))


def test_certificate_without_schedule(world: World, paper: PaperChip) -> None:
    paper.signer = world.signer("bare")
    paper.chip = paper.signer.key_id
    paper.boot()
    assert ("chip.schedule", "chip") in bad(judge(paper))


# -- boots ---------------------------------------------------------------------------------------------------------


def test_unclean_end_without_a_lost_sample(paper: PaperChip) -> None:
    paper.boot().sample(2)
    paper.crash_boot(0).sample(2).shutdown()
    found = judge(paper)
    assert not bad(found)
    assert bad(found, Outcome.INCONCLUSIVE) == {("chip.shutdown", "3"), ("chip.brackets", "chip")}
    assert found.summary is not None and found.summary.unexplained_due == 0


def test_unclean_end_past_due_times_counts_as_unexplained(paper: PaperChip) -> None:
    paper.boot().sample(2)
    paper.crash_boot(20 * SECOND).sample(2).shutdown()
    lost = paper.records[3].lost
    assert lost > 5
    found = judge(paper)
    assert not bad(found)
    assert found.summary is not None
    assert found.summary.unexplained_due == lost == len(found.summary.boots[0].missed)
    assert found.summary.boots[0].unwatched_ns == 20 * SECOND
    assert found.summary.boots[0].dark_ns == 5_100_000_000 and found.summary.boots[1].dark_ns is None
    shutdown = next(f for f in found.findings if f.check == "chip.shutdown")
    assert shutdown.figure == lost and shutdown.subject == f"{paper.chip}#3"


def test_unclean_end_that_owns_up_to_less(paper: PaperChip) -> None:
    paper.boot().sample(2)
    paper.crash_boot(20 * SECOND).sample(1).shutdown()
    paper.edit(3, lost=1)
    assert ("chip.schedule", "3") in bad(judge(paper))


def test_unclean_end_hidden_by_silence(paper: PaperChip) -> None:
    """The boot record after a kill owns up to nothing; the late sample that follows shows it."""
    paper.boot().sample(2)
    paper.boot_number += 1
    paper.active = paper.due + 30 * SECOND
    paper.clock += 100 * SECOND
    paper.cpu = 0
    paper.add("boot")
    paper.sample(1).shutdown()
    assert {("chip.missed", "3"), ("chip.lateness", "4")} <= bad(judge(paper))


def test_records_outside_any_boot(paper: PaperChip) -> None:
    paper.boot().shutdown().sample(1)
    assert ("chip.chain", "2") in bad(judge(paper))


def test_challenge_between_boots_changes_nothing(paper: PaperChip) -> None:
    alone = {"accounting": "none", "cores": 0, "cpu_ns": 0, "nonce": "ab" * 8}
    paper.add("challenge", **alone)
    paper.boot().sample(2).shutdown()
    paper.add("challenge", **alone)
    paper.boot().sample(1)
    paper.add("challenge", nonce="cd" * 8)
    paper.shutdown()
    found = judge(paper)
    assert not bad(found) and found.summary is not None and len(found.summary.boots) == 2


def test_weaker_conditions_are_said(paper: PaperChip) -> None:
    paper.boot().sample(1).shutdown()
    paper.edit(0, uid_separated=False, accounting="process-tree")
    paper.edit(1, device_bytes=4096)
    doubted = [(f.check, f.subject[-2:]) for f in judge(paper).findings if f.outcome is Outcome.INCONCLUSIVE]
    assert sorted(doubted)[1:] == [("chip.memory", "#1"), ("chip.separation", "#0"), ("chip.separation", "#0")]


def test_reviewed_firmware(paper: PaperChip) -> None:
    paper.boot().shutdown()
    assert not bad(judge(paper, limits=VerifyLimits(firmware=frozenset({"ab" * 32}))))
    unknown = judge(paper, limits=VerifyLimits(firmware=frozenset({"00" * 32})))
    assert ("chip.firmware", "0") in bad(unknown)


def test_new_firmware_after_a_clean_end_is_doubted(paper: PaperChip) -> None:
    paper.boot().shutdown().boot().shutdown()
    for sequence in (2, 3):
        paper.edit(sequence, firmware="ee" * 32)
    found = judge(paper)
    assert not bad(found) and ("chip.firmware", "2") in bad(found, Outcome.INCONCLUSIVE)
