"""A full disk stops the recording, loudly, and the training only if chosen; a kill leaves what was committed."""

import io
import itertools
import os
import secrets
import sys
from typing import Any

import pytest

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.costs import tell
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.transcript import Transcript

from .judging import read, replayed
from .world import Ended, Project, World

real = pytest.mark.real
root = pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")

CONFIG: dict[str, Any] = {"steps": 40, "stride": 4, "anchor_every": 8, "dropout": 0.2}


def trained(project: Project, *, step: int, pages: int, freezes: list[Any] | None = None) -> Ended:
    """Trains on a file system that is full but for some pages from a step on; the folder is copied out at last."""
    out = project.folder.parent / f"{project.folder.name}-{secrets.token_hex(4)}"
    folder = project.folder.parent / f"{project.folder.name}-runs"
    faults: dict[str, Any] = {"full": {"folder": str(folder), "out": str(out), "step": step, "pages": pages}}
    if freezes:
        faults["freezes"] = freezes
    ended = project.train(faults=faults)
    made = [path for path in out.iterdir() if path.is_dir()]
    return Ended(ended.status, ended.output, ended.errors, project, made[0] if made else None)


def readable(ended: Ended) -> Transcript:
    """The transcript opens, says nothing false, and does not look complete; no anchor is half there."""
    transcript = ended.open()
    found = read(transcript)
    assert not [f for f in found.values() if f.outcome is Outcome.FAIL]
    assert found["complete"].outcome is Outcome.INCONCLUSIVE
    for path in (ended.run / "anchors").iterdir():
        assert path.name.startswith(".") or transcript.state(path.name)
    return transcript


CASES = {
    "in a line": (10, 0, None),
    "in an anchor written meanwhile": (13, 3, None),
    "in an anchor written in place": (13, 3, [[3, "fetching"]]),
}


@real
@root
@pytest.mark.parametrize("case", CASES)
def test_a_full_disk_stops_the_recording_and_not_the_training(world: World, case: str) -> None:
    step, pages, freezes = CASES[case]
    ended = trained(world.project(**CONFIG), step=step, pages=pages, freezes=freezes)
    assert ended.status == 0, ended.errors
    assert len(ended.said["losses"]) == 40
    assert ended.errors.count("RECORDING STOPPED") == 1 and "No space left on device" in ended.errors
    assert "The training goes on" in ended.errors
    transcript = readable(ended)
    assert step - 1 <= transcript.reached < 40
    if case == "in a line":
        assert transcript.segments[0].torn
    else:
        assert not (ended.run / "anchors" / "plan-0000-0000016.safetensors").exists()
    assert replayed(ended, segments_of(transcript)[:1]).outcome is Outcome.PASS


@real
@root
@pytest.mark.parametrize("case", CASES)
def test_strict_ends_the_training_with_it(world: World, case: str) -> None:
    step, pages, freezes = CASES[case]
    ended = trained(world.project(**CONFIG, strict=True), step=step, pages=pages, freezes=freezes)
    assert ended.status == 2 and not ended.output
    assert "strict was chosen" in ended.errors and "No space left on device" in ended.errors
    assert readable(ended).reached < 40


def test_a_word_that_cannot_be_said_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            tried.append(text)
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    tell("anything")
    assert tried == ["weighbridge: anything"]


@real
def test_killed_at_any_moment_the_transcript_reads_to_the_last_step(world: World) -> None:
    project = world.project(steps=8, stride=4, anchor_every=4, dropout=0.2)
    reached: list[int] = []
    at = 1
    while True:
        ended = project.train(faults={"kill": "at-io", "at": at})
        if ended.status == 0:
            break
        assert ended.status == -9, ended.errors
        try:
            transcript = ended.open()
        except EvidenceError as error:
            assert "has no journal" in str(error) and not reached, (at, error)
        else:
            found = read(transcript)
            assert not [f for f in found.values() if f.outcome is Outcome.FAIL], at
            reached.append(transcript.reached)
            if at % 7 == 0 and not transcript.segments[-1].complete:
                resumed = project.train(resume=ended.run)
                assert resumed.status == 0, resumed.errors
                assert resumed.open().reached == 8
                assert not [f for f in read(resumed.open()).values() if f.outcome is Outcome.FAIL], at
        at += 1
        assert at < 100
    # The thread that writes anchors has its turns when it likes, so that the n-th call is not always the same one.
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(reached))
    assert len(set(reached)) >= 7 and {0, 8} <= set(reached)
