"""Recorders killed with SIGKILL at chosen moments, and resumed: the transcript goes on, and says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.verify import check_environment, check_log, check_receipts

from .judging import held, read, replayed
from .world import CHIP, Project, World

pytestmark = pytest.mark.real


FREEZES = [[4, "fetching"]]

# Lines of a run of 12 steps with a digest every 5 and a stop before step 4:
# 1 segment, 2-5 steps, 6 freeze, 7-14 steps, 15 end.
MOMENTS = [
    ("before-line", 2),
    ("after-line", 5),
    ("after-line", 7),
    ("inside-line", 3),
    ("inside-line", 6),
    ("inside-line", 15),
    ("inside-anchor", 2),
    ("after-signing", 2),
    ("after-signing", 3),
    ("before-line", 15),
    ("after-line", 15),
]


CASES = [(moment, at, True) for moment, at in MOMENTS] + [("inside-line", 6, False), ("after-line", 7, False)]


@pytest.mark.parametrize(
    ("moment", "at", "spool"), CASES, ids=[f"{m}-{a}-{'logged' if s else 'alone'}" for m, a, s in CASES]
)
def test_killed_and_resumed(world: World, moment: str, at: int, spool: bool) -> None:
    project = world.project(dropout=0.2, schedule="lambda")
    killed = project.train(spool=spool, faults={"freezes": FREEZES, "kill": moment, "at": at})
    assert killed.status == -9
    if at == 15 and moment == "after-line":
        assert killed.open().segments[-1].complete
        assert project.train(spool=spool, resume=killed.run).status == 2
        return
    broken = killed.open()
    found = read(broken)
    assert found["complete"].outcome is Outcome.INCONCLUSIVE
    assert ("inside a line" in found["complete"].reason) == (moment == "inside-line")
    assert [f for f in found.values() if f.outcome is Outcome.FAIL] == []

    resumed = project.train(spool=spool, resume=killed.run)
    assert resumed.status == 0, resumed.errors
    transcript = resumed.open()
    assert len(transcript.segments) == 2 and transcript.reached == 12 and transcript.segments[-1].complete
    found = read(transcript)
    assert [f for f in found.values() if f.outcome is Outcome.FAIL] == []
    assert "after an interruption" in found["segments"].reason
    begun = int(transcript.segments[1].events[0].data["step"])
    assert begun == (4 if broken.freezes else 0)
    lost = broken.reached - begun
    assert f"{lost} steps were trained again" in found["segments"].reason
    assert replayed(resumed, [Leg(0, 12)]).outcome is Outcome.PASS
    assert replayed(resumed, segments_of(transcript)[-1:]).outcome is Outcome.PASS
    if spool:
        assert world.roots.log_key is not None
        assert check_receipts(transcript, world.roots.log_key).outcome is Outcome.PASS
        assert check_log(transcript, held(world)).outcome is Outcome.PASS


def test_killed_twice(world: World) -> None:
    project = world.project(steps=14)
    first = project.train(faults={"kill": "inside-line", "at": 9})
    second = project.train(resume=first.run, faults={"kill": "inside-line", "at": 4})
    assert (first.status, second.status) == (-9, -9)
    third = project.train(resume=first.run)
    assert third.status == 0, third.errors
    transcript = third.open()
    assert [segment.torn for segment in transcript.segments] == [True, True, False]
    assert read(transcript)["segments"].outcome is Outcome.PASS
    assert transcript.steps_taken == 7 + 2 + 14
    assert replayed(third, [Leg(0, 14)]).outcome is Outcome.PASS


def test_killed_before_anything_was_recorded(world: World) -> None:
    project = world.project()
    killed = project.train(faults={"kill": "inside-anchor", "at": 1})
    assert killed.status == -9
    resumed = project.train(resume=killed.run)
    assert resumed.status == 2
    assert "has no journal" in resumed.errors


def test_a_torn_line_is_torn_only_at_the_end(world: World) -> None:
    project = world.project()
    killed = project.train(faults={"kill": "inside-line", "at": 6})
    path = killed.run / "journal-0000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert not lines[-1].endswith(b"\n")
    path.write_bytes(b"".join([*lines[:2], lines[-1], *lines[2:-1]]))
    with pytest.raises(EvidenceError, match="is not JSON"):
        killed.open()


REFUSED: dict[str, tuple[Callable[[Project, Path], object], str]] = {
    "config": (
        lambda project, config: config.write_text(config.read_text().replace("0.01", "0.03")),
        "config: is not what the run was committed with",
    ),
    "data": (
        lambda project, config: project.data.write_bytes(project.data.read_bytes()[:-1] + b"\x7f"),
        "data: is not what the run was committed with",
    ),
    "code": (
        lambda project, config: (project.folder / "train.py").open("a").write("# more\n"),
        "code: is not what the run was committed with (train.py changed)",
    ),
    "code beside it": (
        lambda project, config: (project.folder / "more.py").write_text(""),
        "code: is not what the run was committed with (more.py changed)",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_resuming_what_has_changed_is_refused_in_words(world: World, tmp_path: Path, what: str) -> None:
    change, words = REFUSED[what]
    project = world.project(rate=0.01)
    config = tmp_path / "config.json"  # outside the code tree, of which it would be a part
    (project.folder / "config.json").rename(config)
    arguments = (str(project.data), str(config))
    killed = project.train("train.py", *arguments, faults={"kill": "after-line", "at": 6})
    assert killed.status == -9
    before = contents(killed.run)
    change(project, config)
    resumed = project.train("train.py", *arguments, resume=killed.run)
    assert resumed.status == 2
    assert words in resumed.errors
    assert contents(killed.run) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_resuming_elsewhere_is_said(world: World) -> None:
    """Another environment may change last digits: the operator hears it, and so does the verifier."""
    project = world.project()
    killed = project.train(faults={"kill": "after-line", "at": 6})
    resumed = project.train(resume=killed.run, environment={"MKL_CBWR": "COMPATIBLE"})
    assert resumed.status == 0, resumed.errors
    assert "resumed elsewhere, and replay may differ: variables: recorded" in resumed.errors
    finding = check_environment(resumed.open())
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "a segment was trained elsewhere: variables" in finding.reason


def test_a_finished_run_is_not_resumed(world: World) -> None:
    project = world.project()
    ended = project.train()
    resumed = project.train(resume=ended.run)
    assert resumed.status == 2
    assert "has finished; start a new run" in resumed.errors


def test_a_damaged_anchor_is_passed_over_and_an_earlier_one_taken(world: World) -> None:
    project = world.project()
    killed = project.train(faults={"freezes": FREEZES, "kill": "after-line", "at": 9})
    anchor = next((killed.run / "anchors").glob("freeze-*"))
    anchor.write_bytes(anchor.read_bytes()[:-20])
    resumed = project.train(resume=killed.run)
    assert resumed.status == 0, resumed.errors
    assert resumed.open().segments[1].events[0].data["step"] == 0


def test_resumed_on_another_chip_claims_only_its_own(world: World) -> None:
    """Records of an earlier boot are not claimed by a later one; the first notice of a process claims itself alone."""
    project = world.project(steps=16)
    killed = project.train(faults={"freezes": [[2, "fetching"], [4, "after"]], "kill": "after-line", "at": 10})
    resumed = project.train(resume=killed.run, faults={"freezes": [[1, "fetching"]], "boot": 2, "first": 40})
    assert resumed.status == 0, resumed.errors
    freezes = resumed.open().freezes
    assert [(f.boot, f.first, f.last) for f in freezes] == [(1, 10, 10), (1, 11, 11), (2, 40, 40)]
    assert read(resumed.open())["steps"].outcome is Outcome.PASS


def test_several_stops_between_two_looks_are_claimed_together(world: World) -> None:
    places = [[2, "fetching"], [5, "after"], [5, "after"], [5, "fetching"], [-1, "startup"], [-2, "closing"]]
    ended = world.project().train(faults={"freezes": places})
    freezes = ended.open().freezes
    # The stop before the loop is the start-up's; the last one is found at the end.
    assert ended.open().events[0].data["startup_until"] == 10
    assert [(f.first, f.last, f.step) for f in freezes] == [(11, 11, 2), (12, 12, 5), (13, 14, 6), (15, 15, 12)]
    assert {f.chip for f in freezes} == {CHIP}
