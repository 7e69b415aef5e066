"""Replay in the real sandbox: threads and environment as recorded, CPU time as seen outside, nothing left running."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import check_environment, check_initial_state, compare_replay
from weighbridge.mechanisms.transcript.witness import most_overstated

from .world import Ended, World, copied, without_sandbox

pytestmark = pytest.mark.real


# --- threads


@pytest.fixture(scope="session")
def wide(world: World) -> Iterator[Ended]:
    """A run with two threads whose sums are long enough to be split between them."""
    ended = world.project(threads=2, width=1024, batch_size=32, steps=4, stride=1).train()
    assert ended.status == 0, ended.errors
    yield ended


def test_the_verifier_restores_the_count_of_threads(wide: Ended) -> None:
    transcript = wide.open()
    assert transcript.contents["environment"]["threads"] == 2
    with replay(transcript, legs=[Leg(0, 4)], digests=range(5)) as outcome:
        assert outcome.threads == 2
        findings = compare_replay(transcript, outcome)
    assert {f.check: f.outcome for f in findings} == {
        "transcript.replay": Outcome.PASS,
        "transcript.replay-time": Outcome.PASS,
    }


def test_another_count_of_threads_is_reported(wide: Ended) -> None:
    """Told otherwise, and with a program that lets it: the difference is said, and no pass is silent."""
    with copied(wide.run) as folder:
        path = folder / "opening.json"
        opening = json.loads(path.read_text())
        opening["contents"]["config"]["threads"] = 1
        path.write_text(json.dumps(opening))
        (wide.project.folder / "config.json").write_text(json.dumps(opening["contents"]["config"]))
        transcript = Ended(0, "", "", wide.project, folder).open()
        with (
            without_sandbox(wide.project.world),
            replay(transcript, legs=[Leg(0, 4)], digests=range(5), threads=1) as outcome,
        ):
            findings = {f.check: f for f in compare_replay(transcript, outcome)}
    threads = findings["transcript.replay-threads"]
    assert threads.outcome is Outcome.INCONCLUSIVE
    assert "replayed with 1 threads, recorded with 2" in threads.reason


def test_another_environment_is_said(rich: Ended) -> None:
    assert check_environment(rich.open()).outcome is Outcome.PASS
    with copied(rich.run) as folder:
        path = folder / "opening.json"
        opening = json.loads(path.read_text())
        opening["contents"]["environment"]["packages"]["torch"][0] = "1.0"
        path.write_text(json.dumps(opening))
        finding = check_environment(Transcript.open(folder, None))
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "packages: recorded" in finding.reason


# --- CPU time


def test_overstated_stretches() -> None:
    honest = [(0.0, 1.0), (1.0, 1.1), (2.0, 2.1), (3.0, 3.1)]
    assert most_overstated([0.9, 1.05, 2.05, 3.05], honest) == 0.0
    assert most_overstated([0.9, 1.05, 2.05, 4.05], honest) == pytest.approx(4.05 - 1.02 * 3.1 - 0.1, abs=0.1)
    # Time moved from the start into the steps is seen too, although the sum is true.
    assert most_overstated([0.0, 0.1, 1.6, 3.05], [(1.8, 2.0), (2.0, 2.1), (2.5, 2.6), (3.0, 3.1)]) > 1.5
    assert most_overstated([], []) == 0.0


# --- what sits around a run


def test_data_and_working_folder_inside_the_code(world: World) -> None:
    """As in most projects: the data lies beside the script, and the script is started there."""
    project = world.project(steps=2)
    (project.folder / "notes.txt").write_text("no code")
    (project.folder / "results").mkdir()
    ended = project.train()
    transcript = ended.open()
    assert check_initial_state(transcript).outcome is Outcome.PASS
    with replay(transcript, legs=[Leg(0, 2)], digests=[0]) as outcome:
        assert compare_replay(transcript, outcome)[0].outcome is Outcome.PASS


def test_a_replay_dies_with_its_verifier(world: World, tmp_path: Path) -> None:
    """Nothing of an operator's goes on running when the verifier is killed."""
    project = world.project(programs=("train.py", "hostile.py"), steps=2, attack="loop")
    ended = project.train("hostile.py")
    script = (
        "import sys\nfrom pathlib import Path\nfrom weighbridge.mechanisms.transcript.transcript import Transcript\n"
        "from weighbridge.mechanisms.transcript.verify import check_initial_state\n"
        "check_initial_state(Transcript.open(Path(sys.argv[1]), None), scratch=Path(sys.argv[2]))\n"
    )
    verifier = subprocess.Popen([sys.executable, "-c", script, str(ended.run), str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (inner := running(project.folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert inner
    verifier.kill()
    verifier.wait()
    while running(project.folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(project.folder)
    shutil.rmtree(tmp_path, ignore_errors=True)


def running(folder: Path) -> list[int]:
    """Returns replayed programs that work in a folder: their words stand on no command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words, place = (entry / "cmdline").read_bytes().split(b"\0"), (entry / "cwd").readlink()
            except OSError:
                continue
            if words[1:2] and words[1].endswith(b"/unseen_program.py") and place == folder:
                found.append(int(entry.name))
    return found
