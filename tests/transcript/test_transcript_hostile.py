"""A program that turns hostile when it is replayed: each kind meets a plain refusal, and nothing outside is touched."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.verify import check_initial_state, compare_replay

from .world import Ended, World


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where replays work; every test leaves it empty."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def hostile(world: World, attack: str, **config: Any) -> Ended:
    project = world.project(programs=("train.py", "hostile.py"), steps=2, attack=attack, **config)
    ended = project.train("hostile.py")
    assert ended.status == 0, ended.errors
    return ended


def judged(ended: Ended, scratch: Path, seconds: float = 30.0) -> Finding:
    return check_initial_state(ended.open(), scratch=scratch, seconds=seconds)


REFUSED = {
    "exit": "did not reach its loop when replayed; it ended with status 0: nothing to see here",
    "crash": "ended with status 1: RuntimeError: out of luck",
    "kill": "ended with status 13",
    "linked log": "did not reach its loop",
    "log is a pipe": "did not reach its loop",
    "linked out": "did not reach its loop",
    "sparse log": "did not reach its loop",
    "walk, then fail": "did not end well; it ended with status 3",
    "linked state": "is not a plain file",
    "state is a pipe": "is not a plain file",
    "state is a folder": "is not a plain file",
    "state is a pickle": "is not a readable anchor",
    "state is huge": "is not a readable anchor",
    "backwards": "its CPU time runs backwards",
    "linger": "ended with status 4",
}


@pytest.mark.parametrize("attack", REFUSED)
def test_refused_in_words(world: World, scratch: Path, tmp_path: Path, attack: str) -> None:
    target = tmp_path / "target"
    ended = hostile(world, attack, target=str(target))
    finding = judged(ended, scratch)
    assert finding.outcome is Outcome.FAIL
    assert REFUSED[attack] in finding.reason
    assert not target.exists()


def test_a_link_to_the_operators_own_anchor_is_no_derivation(world: World, scratch: Path) -> None:
    project = world.project(programs=("train.py", "hostile.py"), steps=2, attack="linked state", target="")
    # The operator knows where the verifier keeps the transcript, and what it must find there.
    runs = project.folder.parent / f"{project.folder.name}-runs"
    project.configure(target=str(runs / "anchors-of-the-run"))
    ended = project.train("hostile.py")
    (runs / "anchors-of-the-run").symlink_to(ended.run / "anchors" / "state-0000-0000000.safetensors")
    assert "is not a plain file" in judged(ended, scratch).reason


NONSENSE = [
    "",
    "\n",
    "{",
    "[]\n",
    '"start"\n',
    "null\n",
    '{"type": "start"}\n',
    '{"type": "start", "threads": 1, "cpu_ns": 1e999}\n',
    '{"type": "start", "threads": 1, "cpu_ns": NaN}\n',
    '{"type": "start", "threads": 1, "cpu_ns": -1}\n',
    '{"type": "start", "threads": 1, "cpu_ns": true}\n',
    '{"type": "start", "threads": [], "cpu_ns": 1}\n',
    '{"type": "start", "threads": 1, "cpu_ns": ' + "9" * 5000 + "}\n",
    '{"type": "start", "threads": 1, "cpu_ns": 1}\n',
    '{"type": "start", "threads": 1, "cpu_ns": 1}\n{"type": "end", "cpu_ns": 1}\n',
    '{"type": "start", "threads": 1, "cpu_ns": 1}\n{"type": "state", "step": false, "cpu_ns": 1}\n',
    '{"type": "start", "threads": 1, "cpu_ns": 1}\n{"type": "state", "step": 0, "digest": "x", "cpu_ns": 1}\n',
    '{"type": "flop", "per_step": NaN, "cpu_ns": 1}\n',
    "[" * 50_000 + "\n",
    "\x00\n",
    "é\n",
]


def test_nonsense_is_called_so(world: World, scratch: Path) -> None:
    from weighbridge.mechanisms.transcript.replay_reading import read_outcome
    from weighbridge.mechanisms.transcript.witness import Witness
    from weighbridge.sandbox import IsolatedResult

    ended = hostile(world, "nonsense", text=NONSENSE[-3])
    assert "wrote nonsense" in judged(ended, scratch).reason
    result = IsolatedResult(0, "", 1.0, 1.0, False)
    out = scratch / "out"
    out.mkdir()
    for text in NONSENSE:
        (out / "replay.jsonl").write_bytes(text.encode("utf-8" if text != "é\n" else "latin-1"))
        with pytest.raises(EvidenceError, match="wrote nonsense"):
            read_outcome(out, result, [Leg(0, 0)], frozenset(), Witness(out / "replay.jsonl"), mend=None)
    (out / "replay.jsonl").unlink()
    out.rmdir()


@pytest.mark.parametrize("attack", ["loop", "walk, then loop"])
def test_endless_programs_meet_the_time_limit(world: World, scratch: Path, attack: str) -> None:
    ended = hostile(world, attack)
    began = time.monotonic()
    finding = judged(ended, scratch, seconds=1.0)
    assert time.monotonic() - began < 8
    assert finding.outcome is Outcome.FAIL
    assert "was stopped at the time limit" in finding.reason


@pytest.mark.parametrize("attack", ["gigabytes in one file", "gigabytes in many files", "many files"])
def test_a_full_disk_is_not_the_verifiers(world: World, scratch: Path, attack: str) -> None:
    free = os.statvfs(scratch).f_bavail * os.statvfs(scratch).f_frsize
    ended = hostile(world, attack)
    finding = judged(ended, scratch)
    assert finding.outcome is Outcome.FAIL
    # Whichever bound it meets first: on all that it writes, or on one file.
    assert "was stopped because it wrote more than it may" in finding.reason or "File too large" in finding.reason
    assert abs(os.statvfs(scratch).f_bavail * os.statvfs(scratch).f_frsize - free) < 4 << 30


def test_a_flood_of_words_is_cut(world: World, scratch: Path) -> None:
    reason = judged(hostile(world, "flood"), scratch).reason
    assert reason.endswith("ended with status 5: the end of it")
    assert len(reason) < 1_000


def test_nothing_outside_can_be_reached(world: World, scratch: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("weights")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = hostile(world, "look around", paths=[str(secret), str(Path.home() / ".ssh")], port=port)
        transcript = ended.open()
        with pytest.raises(EvidenceError) as refusal:  # noqa: SIM117
            with replay(transcript, legs=[Leg(0, 0)], without_data=True, scratch=scratch):
                pass
    assert "status 6: variables [" in str(refusal.value), str(refusal.value)
    assert "FOUND" not in str(refusal.value)
    assert secret.read_text() == "weights"


def test_claims_of_cpu_time_are_held_against_what_was_seen(world: World, scratch: Path) -> None:
    ended = hostile(world, "time")
    transcript = ended.open()
    with replay(transcript, legs=[Leg(0, 0)], without_data=True, scratch=scratch) as outcome:
        assert outcome.startup_cpu_s == 10.0
        assert outcome.result.cpu_seconds < 2.0
        finding = next(f for f in compare_replay(transcript, outcome) if f.check == "transcript.replay-time")
    assert finding.outcome is Outcome.FAIL
    assert finding.figure is not None and 7.5 < finding.figure < 10
