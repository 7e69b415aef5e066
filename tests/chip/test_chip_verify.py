"""Every rule of the verifier against the attack that it stops: an honest chip, and one line that spoils it."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chip.chip_world import SECOND, PaperChip, World
from chip.paper_verdicts import bad, judge, reason_of, receipts_of
from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.chip.docket import CHECKS
from weighbridge.mechanisms.chip.record import KIND, encode_record
from weighbridge.mechanisms.chip.verify import KnownHead, verify


def test_an_honest_chip_passes_every_check(paper: PaperChip) -> None:
    paper.boot().sample(5).shutdown().boot().sample(3).shutdown()
    found = judge(paper, receipts=receipts_of(paper))
    assert {f.check: f.outcome for f in found.findings} == dict.fromkeys(CHECKS, Outcome.PASS)
    summary = found.summary
    assert summary is not None
    assert (summary.samples_due, summary.samples_taken, summary.unexplained_due) == (8, 8, 0)
    assert summary.closed and [boot.clean for boot in summary.boots] == [True, True]
    assert [len(boot.samples) for boot in summary.boots] == [5, 3]
    assert summary.boots[0].frozen_ns == 500_000_000
    assert sum(boot.active_ns for boot in summary.boots) == summary.active_ns == paper.active


def test_order_and_repetition_of_statements_do_not_matter(paper: PaperChip) -> None:
    paper.boot().sample(4).shutdown()
    statements = paper.statements()
    assert not bad(judge(paper, [*reversed(statements), *statements]))


def test_a_clean_restart_resumes_the_remaining_gap(paper: PaperChip) -> None:
    paper.boot().sample(2).shutdown().boot().sample(2).shutdown()
    assert not bad(judge(paper))
    # A chip that redraws instead starts the open interval anew at the restart.
    redrawn = PaperChip(paper.world, "redrawn")
    redrawn.boot().sample(2).shutdown()
    redrawn.due = redrawn.active + redrawn.gap(3)
    redrawn.boot().sample(1).shutdown()
    assert ("chip.schedule", "5") in bad(judge(redrawn))


def test_chains_roll_over(world: World) -> None:
    paper = PaperChip(world, "short", length=3)
    paper.boot().sample(8).shutdown()
    assert not bad(judge(paper))
    paper.edit(3, next_commitment="")
    found = judge(paper)
    assert ("chip.schedule", "3") in bad(found) and "without committing the next" in reason_of(found, "chip.schedule")


def test_without_evidence_a_check_is_not_done(paper: PaperChip) -> None:
    paper.boot().sample().shutdown()
    found = verify(paper.statements())
    undone = {f.check for f in found.findings if f.outcome is Outcome.INCONCLUSIVE}
    assert undone == {"chip.brackets", "chip.leaves"}
    nothing = verify([], chip=paper.chip)
    assert bad(nothing) == {("chip.sequence", "chip")}
    assert not any(f.outcome is Outcome.PASS for f in nothing.findings)


# -- numbers and chain ---------------------------------------------------------------------------------------------


def test_dropped_record(paper: PaperChip) -> None:
    paper.boot().sample(5).shutdown()
    statements = paper.statements()
    del statements[3]
    found = judge(paper, statements)
    assert bad(found) == {("chip.sequence", "3")}
    assert found.summary is not None
    assert (found.summary.samples_due, found.summary.unexplained_due) == (5, 1)


def test_dropped_first_record(paper: PaperChip) -> None:
    paper.boot().sample(2).shutdown()
    assert bad(judge(paper, paper.statements()[1:])) == {("chip.sequence", "0")}


def test_many_dropped_records(paper: PaperChip) -> None:
    paper.boot().sample(2).shutdown()
    paper.edit(3, sequence=(1 << 64) - 1)
    reasons = [f.reason for f in judge(paper).findings if f.check == "chip.sequence"]
    assert len(reasons) == 101 and reasons.count("the record is missing") == 100
    assert f"{(1 << 64) - 1 - 3 - 100} more records are missing" in reasons


def test_deleted_tail(paper: PaperChip) -> None:
    paper.boot().sample(5).shutdown()
    statements = paper.statements()
    cut = judge(paper, statements[:4])
    assert bad(cut, Outcome.INCONCLUSIVE) >= {("chip.end", "3")}
    known = KnownHead(sequence=6, identifier=statements[6].id)
    assert ("chip.end", "6") in bad(judge(paper, statements[:4], known=[known]))


def test_reused_number(paper: PaperChip) -> None:
    """The store was rolled back after record 3, and the chip went on."""
    paper.boot().sample(3)
    fork = PaperChip(paper.world, "fork")
    fork.__dict__.update({k: v for k, v in paper.__dict__.items() if k != "records"}, records=list(paper.records))
    paper.sample(1).shutdown()
    fork.run(30_000_000)
    fork.crash_boot(0).shutdown()
    found = judge(paper, [*paper.statements(), *fork.statements()])
    assert ("chip.sequence", "4") in bad(found) and "rolled back" in reason_of(found, "chip.sequence")


def test_swapped_records(paper: PaperChip) -> None:
    paper.boot().sample(4).shutdown()
    second, third = paper.records[2], paper.records[3]
    paper.records[2] = replace(third, sequence=2)
    paper.records[3] = replace(second, sequence=3)
    assert {("chip.schedule", "3"), ("chip.ticks", "3")} <= bad(judge(paper))


def test_edited_record_keeps_no_signature(world: World, paper: PaperChip) -> None:
    paper.boot().sample(2).shutdown()
    raw = bytearray(paper.raws()[1])
    raw[-100] ^= 1  # in the payload's last claims
    with pytest.raises(EvidenceError):
        world.verified(bytes(raw))


def test_record_signed_anew_breaks_the_chain(paper: PaperChip) -> None:
    """Whoever holds the key can sign a kinder record; the next one names the old."""
    paper.boot().sample(3).shutdown()
    statements = paper.statements()
    previous = statements[1].id
    kinder = paper.sign(replace(paper.records[2], previous=previous, cpu_ns=0))
    statements[2] = paper.world.verified(kinder)
    assert ("chip.chain", "3") in bad(judge(paper, statements))


def test_record_signed_by_another_key(world: World, paper: PaperChip) -> None:
    """Another certified chip signs in this one's name."""
    paper.boot().sample(3).shutdown()
    statements = paper.statements()
    other = PaperChip(world, "other")
    raw = sign_statement(
        other.signer,
        kind=KIND,
        subject=paper.chip,
        payload=encode_record(replace(paper.records[2], previous=statements[1].id)),
        encoding="cbor",
    )
    statements[2] = world.verified(raw)
    found = judge(paper, statements)
    assert {("chip.record", "2"), ("chip.sequence", "2")} <= bad(found)
    assert "signed by" in reason_of(found, "chip.record")


def test_record_of_another_chip(world: World, paper: PaperChip) -> None:
    paper.boot().sample(2).shutdown()
    other = PaperChip(world, "other")
    other.boot()
    found = judge(paper, [*paper.statements(), *other.statements()])
    assert any(f.check == "chip.record" and f.outcome is Outcome.FAIL for f in found.findings)


# -- brackets ------------------------------------------------------------------------------------------------------


def test_ticks_run_ahead_of_receipts(paper: PaperChip) -> None:
    paper.boot().sample(12).shutdown()
    receipts = receipts_of(paper)
    slow = {key: 1_760_000_000 + (value - 1_760_000_000) / 100 for key, value in receipts.items()}
    found = judge(paper, receipts=slow)
    assert ("chip.brackets", "13") in bad(found)


def test_receipts_run_ahead_of_ticks(paper: PaperChip) -> None:
    """The host's clock was slowed: the chip ran longer than it says, as the longest reading shows."""
    paper.boot().sample(4).shutdown()
    receipts = {key: 1_760_000_000 + (v - 1_760_000_000) * 50 for key, v in receipts_of(paper).items()}
    found = judge(paper, receipts=receipts)
    assert ("chip.brackets", "5") in bad(found)
    assert found.summary is not None
    assert found.summary.boots[0].longest_ns > 10 * found.summary.boots[0].active_ns


def test_bracket_values(paper: PaperChip) -> None:
    value = hashlib.sha256(b"checkpoint").hexdigest()
    paper.boot().sample(3).shutdown()
    paper.edit(2, not_before=value)
    receipts = receipts_of(paper)
    at = receipts[paper.statements()[2].id]
    assert not bad(judge(paper, receipts=receipts_of(paper), brackets={value: at - 1}))
    impossible = judge(paper, receipts=receipts_of(paper), brackets={value: at + 60})
    assert ("chip.brackets", "2") in bad(impossible)


def test_record_without_receipt_is_doubted(paper: PaperChip) -> None:
    paper.boot().sample(3).shutdown()
    receipts = receipts_of(paper)
    del receipts[paper.statements()[2].id]
    assert ("chip.brackets", "2") in bad(judge(paper, receipts=receipts), Outcome.INCONCLUSIVE)


# -- leaves --------------------------------------------------------------------------------------------------------


def test_lost_leaves_and_salts(paper: PaperChip) -> None:
    paper.boot().sample(3).shutdown()
    del paper.tables[1], paper.salts[2]
    assert bad(judge(paper)) == {("chip.leaves", "1"), ("chip.leaves", "2")}


def test_findings_read_back(paper: PaperChip) -> None:
    paper.boot().sample(1).shutdown()
    for finding in judge(paper).findings:
        assert Finding.from_dict(finding.as_dict()) == finding


NUMBERS = st.sampled_from([0, 1, 2, 5, 63, 64, 65, 1 << 20, (1 << 64) - 1]) | st.integers(0, 1 << 40)
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("boot", "interval"), st.integers(1, 9) | st.just((1 << 64) - 1)),
    **dict.fromkeys(("active_ns", "monotonic_ns", "cpu_ns", "cores", "unread_bytes", "device_bytes"), NUMBERS),
    **dict.fromkeys(("link", "not_before", "firmware", "host"), st.binary(min_size=32, max_size=32).map(bytes.hex)),
    "sequence": st.integers(0, 12) | st.just(1 << 40),
    "rate_hz": st.floats(1e-6, 999.0),
    "accounting": st.sampled_from(["cgroup2", "process-tree"]),
    "affinity_ok": st.booleans(),
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, 9), st.sampled_from(sorted(CHANGES)).flatmap(lambda n: st.tuples(st.just(n), CHANGES[n]))
        ),
        min_size=1,
        max_size=4,
    ),
    dropped=st.sets(st.integers(0, 9), max_size=3),
)
def test_whatever_is_signed_the_verifier_answers(
    paper: PaperChip, edits: list[tuple[int, tuple[str, Any]]], dropped: set[int]
) -> None:
    """A dishonest chip may sign anything: the verifier neither breaks nor forgets that something is wrong."""
    if not paper.records:
        paper.boot().sample(3).shutdown().boot().sample(1).crash_boot(3 * SECOND).sample(1).shutdown()
        paper.honest = list(paper.records)
    paper.records = list(paper.honest)
    for number, (name, value) in edits:
        paper.edit(number, **{name: value})
    changed = paper.records != paper.honest
    statements = [s for number, s in enumerate(paper.statements()) if number not in dropped]
    found = judge(paper, statements, receipts=dict.fromkeys((s.id for s in statements), 1.0))
    assert {f.check for f in found.findings} == set(CHECKS)
    # A deleted tail leaves an open end, which is doubtful; only the log or a challenge shows that it was longer.
    if dropped == set(range(10 - len(dropped), 10)):
        assert not dropped or bad(found) or bad(found, Outcome.INCONCLUSIVE)
    else:
        assert bad(found)
    if changed and not dropped and not {name for _, (name, _) in edits} <= HARMLESS:
        assert bad(found) or bad(found, Outcome.INCONCLUSIVE)


HARMLESS = {"not_before", "affinity_ok", "accounting", "cores", "cpu_ns", "device_bytes"}
