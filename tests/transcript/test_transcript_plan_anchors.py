"""Anchors by plan: committed, written while training goes on, missed where missing, and where a run is cut."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.anchor_plan import anchor_due, anchor_interval
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.spending import DEARER
from weighbridge.mechanisms.transcript.verification import Request, verify_run

from .judging import read, replayed
from .world import Ended, World, copied, rewrite, without_sandbox

real = pytest.mark.real


@given(steps=st.integers(1, 10**7), stride=st.integers(1, 10**4))
def test_the_default_is_bounded_in_number_and_in_cost(steps: int, stride: int) -> None:
    every = anchor_interval(None, steps=steps, stride=stride)
    apart, digests = (60, 6) if steps >= 1000 else (100, 10)
    if every is None:
        assert steps <= max(apart, digests * stride, steps / 200) + stride
        return
    written = [step for step in range(every, steps + 1, every) if anchor_due(step, every=every, steps=steps)]
    assert 1 <= len(written) <= 200
    assert every >= apart and every >= digests * stride and every % stride == 0
    assert all(0 < step < steps for step in written)


@given(steps=st.integers(1000, 10**7))
def test_one_percent_is_worth_drawing_by_and_a_fifth_of_checkpoints_holds_it(steps: int) -> None:
    """At the default stride of ten: all states that a run keeps, both ends included, and a segment's price."""
    every = anchor_interval(None, steps=steps, stride=10)
    assert every is not None
    states = 2 + sum(anchor_due(step, every=every, steps=steps) for step in range(every, steps + 1, every))
    assert states <= (1 + steps // 10) / 5
    if steps >= 12_000:
        assert every * DEARER <= 0.01 * steps


def test_what_is_chosen_is_taken() -> None:
    assert anchor_interval(7, steps=20, stride=5) == 7
    assert anchor_interval(0, steps=10**6, stride=5) is None
    assert anchor_interval(None, steps=None, stride=5) is None
    with pytest.raises(InputError, match="anchor_every: must not be negative"):
        anchor_interval(-1, steps=20, stride=5)


@pytest.fixture(scope="module")
def planned(world: World) -> Ended:
    """A run of 20 steps with a digest every 4 and an anchor every 6, bound to the log."""
    ended = world.project(steps=20, stride=4, anchor_every=6, dropout=0.2).train(spool=True)
    assert ended.status == 0, ended.errors
    return ended


@real
def test_a_run_is_cut_at_its_anchors(planned: Ended) -> None:
    transcript = planned.open()
    assert transcript.anchor_every == 6
    assert [(leg.start, leg.until) for leg in segments_of(transcript)] == [(0, 6), (6, 12), (12, 18), (18, 20)]
    assert {f.outcome for f in read(transcript).values()} == {Outcome.PASS}
    assert sorted(transcript.digests) == [0, 4, 6, 8, 12, 16, 18, 20]
    for leg in segments_of(transcript)[1:]:
        assert replayed(planned, [leg]).outcome is Outcome.PASS


@real
def test_segments_are_drawn_among_them(planned: Ended, world: World) -> None:
    drawn = set()
    for seed in range(3):
        with without_sandbox(world):
            found = verify_run(planned.run, Request(seed=bytes([seed]) * 32, roots=world.roots, segments=2))
        assert found.segments == 4 and len(found.drawn) == 2
        assert {f.outcome for f in found.findings} <= {Outcome.PASS, Outcome.INCONCLUSIVE}
        doubts = {f.check for f in found.findings if f.outcome is not Outcome.PASS}
        assert "transcript.replay-share" in doubts
        # A run this short remembers nothing that the sweep could see.
        assert doubts <= {"transcript.replay-share", "transcript.memorisation", "transcript.subtraction"}
        drawn.add(found.drawn)
    assert len(drawn) > 1


@real
def test_an_anchor_left_out_put_in_or_moved_is_noticed(planned: Ended, world: World) -> None:
    edits = {
        "left out": lambda events: events.remove(next(e for e in events if e["type"] == "anchor")),
        "put in": lambda events: events.insert(3, {**_anchor(events), "step": events[2]["step"] + 1}),
        "twice": lambda events: events.insert(events.index(_anchor(events)), _anchor(events)),
    }
    for what, edit in edits.items():
        with copied(planned.run) as folder:
            rewrite(folder, edit, signer=world.operator)
            found = read(Ended(0, "", "", planned.project, folder).open())
            assert found["steps"].outcome is Outcome.FAIL and "anchored" in found["steps"].reason, what


def _anchor(events: list[dict[str, object]]) -> dict[str, object]:
    return next(event for event in events if event["type"] == "anchor")


@real
def test_a_plan_other_than_the_committed_one_is_no_opening(planned: Ended) -> None:
    with copied(planned.run) as folder:
        opening = json.loads((folder / "opening.json").read_text())
        opening["contents"]["loop"]["anchor_every"] = 12
        (folder / "opening.json").write_text(json.dumps(opening))
        with pytest.raises(EvidenceError, match="loop"):
            Ended(0, "", "", planned.project, folder).open()


@real
def test_a_killed_run_resumes_at_its_newest_anchor(world: World) -> None:
    project = world.project(steps=20, stride=4, anchor_every=6, schedule="lambda")
    # Lines: 1 segment, 2-7 steps, 8 anchor, 9-14 steps, 15 anchor, 16-17 steps.
    killed = project.train(faults={"kill": "after-line", "at": 17})
    assert killed.status == -9
    resumed = project.train(resume=killed.run)
    assert resumed.status == 0, resumed.errors
    transcript = resumed.open()
    # The file of step 12 may not have come to the disk before the kill: then the one before is the newest.
    newest = max(int(path.stem[-7:]) for path in (killed.run / "anchors").glob("plan-0000-*.safetensors"))
    assert transcript.segments[1].events[0].data["step"] == newest in (6, 12)
    assert {f.outcome for f in read(transcript).values()} <= {Outcome.PASS, Outcome.INCONCLUSIVE}
    assert not [f for f in read(transcript).values() if f.outcome is Outcome.FAIL]
    assert replayed(resumed, [Leg(0, 20)]).outcome is Outcome.PASS


@real
def test_files_that_stayed_away_join_their_stretches(planned: Ended) -> None:
    with copied(planned.run) as folder:
        for path in Path(folder / "anchors").glob("plan-*-0000012.safetensors"):
            path.unlink()
        transcript = Ended(0, "", "", planned.project, folder).open()
        assert [(leg.start, leg.until) for leg in segments_of(transcript)] == [(0, 6), (6, 18), (18, 20)]
