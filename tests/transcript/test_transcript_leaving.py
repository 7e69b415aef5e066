"""Loops left early or used oddly, logs that fall silent, disks that fill: the transcript says what it holds."""

import json
import os
import time
from pathlib import Path

import pytest

from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import check_log, check_receipts

from .judging import held, read, replayed
from .world import Ended, World

pytestmark = pytest.mark.real


def test_leaving_the_loop_at_the_top_of_a_step(world: World) -> None:
    """Nothing was trained in that step: the state is the one before it."""
    project = world.project(programs=("train.py", "leaving.py"), leave="top", at=7, norm=True, dropout=0.1)
    ended = project.train("leaving.py")
    assert ended.status == 0, ended.errors
    end = ended.open().events[-1].data
    assert (end["step"], end["finished"], "state" in end) == (7, False, True)
    assert replayed(ended, [Leg(0, 7)]).outcome is Outcome.PASS
    assert read(ended.open())["complete"].outcome is Outcome.PASS
    resumed = project.train("leaving.py", str(project.data), str(project.folder / "config.json"), resume=ended.run)
    assert resumed.status == 0 and "at step 7" in read(resumed.open())["segments"].reason


@pytest.mark.parametrize("leave", ["bottom", "raise", "interrupt"])
def test_leaving_the_loop_inside_a_step(world: World, leave: str) -> None:
    project = world.project(programs=("train.py", "leaving.py"), leave=leave, at=7)
    ended = project.train("leaving.py")
    assert ended.status == (0 if leave == "bottom" else 1), ended.errors
    if leave == "raise":
        assert "RuntimeError: out of luck" in ended.errors
        assert "hooks removed: True" in ended.output
    assert "the loop was left inside step 7, after its update" in ended.errors
    end = ended.open().events[-1].data
    assert (end["type"], end["step"], end["left_inside_step"], "state" in end) == ("end", 7, 7, False)
    found = read(ended.open())
    assert found["complete"].outcome is Outcome.INCONCLUSIVE
    assert [f for f in found.values() if f.outcome is Outcome.FAIL] == []
    assert replayed(ended, [Leg(0, 7)]).outcome is Outcome.PASS


MISUSES = {
    "never looped": "",
    "iterator kept": "an iterator was kept",
    "looped twice": "InputError: weighbridge run: a run is looped over once; call start again",
    "forked": "",
}


@pytest.mark.parametrize("leave", MISUSES)
def test_unusual_loops(world: World, leave: str) -> None:
    project = world.project(programs=("train.py", "leaving.py"), leave=leave, at=3)
    ended = project.train("leaving.py")
    assert ended.status == (2 if leave == "looped twice" else 0), ended.errors
    journals = sorted(path.name for path in ended.run.glob("journal-*"))
    match leave:
        case "never looped":
            assert journals == []
        case "iterator kept":
            end = ended.open().events[-1].data
            assert (end["type"], end["step"]) == ("end", 3)
        case "looped twice":
            assert MISUSES[leave] in ended.errors
            assert ended.open().segments[-1].complete
        case "forked":
            assert ended.open().reached == 12 and read(ended.open())["steps"].outcome is Outcome.PASS


def test_two_runs_in_one_process(world: World) -> None:
    project = world.project(programs=("train.py", "leaving.py"), leave="two runs", at=0)
    ended = project.train("leaving.py")
    assert ended.status == 0, ended.errors
    runs = sorted(ended.run.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(runs) == 2
    seeds = set()
    for run in runs:
        transcript = Transcript.open(run, None)
        assert transcript.reached == 12
        assert transcript.events[0].data["names"] == Transcript.open(runs[0], None).events[0].data["names"]
        seeds.add(transcript.seed)
    assert len(seeds) == 2
    assert "hooks removed: True" in ended.output


def test_a_keeper_that_is_gone_does_not_hang_training(world: World, tmp_path: Path) -> None:
    """The log answers the commitment and then falls silent: the run ends in bounded time, whole, and says so."""
    project = world.project(programs=("train.py", "leaving.py"), leave="keeper gone", at=3)
    began = time.monotonic()
    ended = project.train("leaving.py", spool=True, environment={"SPOOL_ELSEWHERE": str(tmp_path / "gone")})
    assert time.monotonic() - began < 20
    assert ended.status == 0, ended.errors
    assert "could not be handed to the log" in ended.errors
    assert "statements have no receipt of the log" in ended.errors
    transcript = ended.open()
    assert transcript.segments[-1].complete
    assert read(transcript)["journal"].outcome is Outcome.PASS
    assert world.roots.log_key is not None
    assert check_receipts(transcript, world.roots.log_key).outcome is Outcome.INCONCLUSIVE
    assert check_log(transcript, held(world)).outcome is Outcome.INCONCLUSIVE


def test_nobody_answers_the_commitment(world: World, tmp_path: Path) -> None:
    project = world.project(programs=("train.py", "leaving.py"), leave="no keeper", at=3)
    spool = tmp_path / "spool"
    (spool / "in").mkdir(parents=True)
    (spool / "out").mkdir()
    began = time.monotonic()
    ended = project.train("leaving.py", spool=True, environment={"WEIGHBRIDGE_SPOOL": str(spool)})
    assert time.monotonic() - began < 15
    assert ended.status == 2
    assert "waiting for the log's keeper" in ended.errors
    assert "EvidenceError: statement" in ended.errors and "no receipt within" in ended.errors


@pytest.mark.parametrize("name", ["WEIGHBRIDGE_KEY", "WEIGHBRIDGE_ROOTS"])
def test_a_spool_without_key_or_roots_is_refused_before_anything_is_committed(world: World, name: str) -> None:
    project = world.project()
    size = world.log.size
    ended = project.train(spool=True, environment={name: ""})
    assert ended.status == 2
    assert f"{name}: is not set though WEIGHBRIDGE_SPOOL is" in ended.errors
    assert (ended.folder, world.log.size) == (None, size)


def test_a_full_disk_stops_the_recording_and_not_the_training(world: World) -> None:
    project = world.project(programs=("train.py", "leaving.py"), leave="disk full", at=6)
    ended = project.train("leaving.py")
    assert ended.status == 0, ended.errors
    assert "RECORDING STOPPED after step" in ended.errors and "No space left on device" in ended.errors
    assert len(ended.said["losses"]) == 12
    transcript = ended.open()
    assert transcript.reached == 6
    found = read(transcript)
    assert found["complete"].outcome is Outcome.INCONCLUSIVE
    assert [f for f in found.values() if f.outcome is Outcome.FAIL] == []
    assert replayed(ended, [Leg(0, 6)]).outcome is Outcome.PASS


def test_the_openings_key_is_readable_by_its_owner_only(rich: Ended) -> None:
    assert (rich.run / "opening.json").stat().st_mode & 0o077 == 0
    assert json.loads((rich.run / "opening.json").read_text())["key"]
    assert os.access(rich.run / "journal-0000.jsonl", os.R_OK)
