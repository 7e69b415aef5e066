"""Programs that nobody here wrote: seeds bound to the run's, a segment in the middle walked to, gone on with after a
kill."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transcript.bench import Bench
from transcript.world import World
from weighbridge.evidence.findings import Finding
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verification import Request, verify_run
from weighbridge.mechanisms.transcript.verify import compare_replay

pytestmark = pytest.mark.real

LAUNCH = "weighbridge.mechanisms.transcript.launch"


@pytest.fixture
def bench(tmp_path: Path, world: World) -> Bench:
    return Bench(tmp_path, world.zygote)


def seeded(bench: Bench, seed: bytes, *words: str | Path) -> str:
    """Runs a program with the seeds of a run, and records nothing."""
    ended = bench.python("-m", LAUNCH, *words, WEIGHBRIDGE_ONLY_SEEDS=seed.hex())
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def walked(bench: Bench, *chosen: int, roots: Any = None) -> Finding:
    """Replays some of a run's segments in one process that walks from one to the next."""
    transcript = Transcript.open(bench.run, roots)
    every = segments_of(transcript)
    plan = plan_segments(transcript, [every[number] for number in chosen])
    with bench.replaying(), replay(transcript, legs=plan.legs, digests=plan.digests) as outcome:
        return compare_replay(transcript, outcome)[0]


def test_every_seed_asked_for_follows_from_the_runs(bench: Bench) -> None:
    script = bench.place("asking")
    one = seeded(bench, b"a" * 32, script)
    assert one == seeded(bench, b"a" * 32, script)
    other = seeded(bench, b"b" * 32, script)
    assert not set(json.loads(one.replace("'", '"'))) & set(json.loads(other.replace("'", '"')))


def test_bound_before_it_begins_and_the_same_without_recording(bench: Bench, world: World) -> None:
    script = bench.place("ordinary")
    words = ("--bind", "--anchor-every", "12", "--", "python", script)
    itself = Bench(bench.folder)
    recorded = itself.record(*words, **world.environment())
    assert recorded.returncode == 0 and "48 steps recorded" in recorded.stderr, recorded.stderr
    transcript = Transcript.open(bench.run, world.roots)
    assert transcript.contents["config"] == {"seeds": "bound"} and transcript.bound
    assert recorded.stdout == seeded(bench, transcript.seed, script) != bench.python(script).stdout
    found = itself.verify(roots=world.roots_folder)
    names = ("initial-state", "second-seed", "replay", "journal", "receipts", "environment")
    assert {found[f"transcript.{name}"][0] for name in names} == {"pass"}, found
    assert "transcript.binding" not in found
    assert {"torch", "numpy"} <= set(transcript.segments[0].events[0].data["packages"])
    assert walked(bench, 1, 3, roots=world.roots).outcome.value == "pass"


@pytest.mark.parametrize("name", ["accumulating", "two_players", "by_hand"])
def test_a_segment_in_the_middle_is_walked_to(bench: Bench, name: str) -> None:
    assert bench.record("--anchor-every", "8", "--", "python", bench.place(name)).returncode == 0
    found = walked(Bench(bench.folder), -2)  # in a sandbox
    assert found.outcome.value == "pass" and "8 steps replayed" in found.reason, found.reason


def test_workers_that_outlive_an_epoch_are_walked_with(tmp_path: Path) -> None:
    """The second epoch's order is drawn where the iterator begins again, and none is made."""
    bench = Bench(tmp_path)
    script = bench.place("persisting")
    recorded = bench.record("--anchor-every", "5", "--", "python", script)
    assert recorded.returncode == 0 and recorded.stdout == bench.python(script).stdout, recorded.stderr
    points = [
        (step, point["point"])
        for step, told in Transcript.open(bench.run, None).steps.items()
        for point in told.get("draws", ())
        if point["point"].startswith("loader")
    ]
    # The first iterator is made before the first step, and each later beginning is met before its epoch's first call.
    assert points == [(7, "loader-again"), (15, "loader-again"), (23, "loader-again")]
    for number in (2, 3, -2):  # one across an epoch's end, and two that begin in later epochs
        found = walked(bench, number)
        assert found.outcome.value == "pass" and "5 steps replayed" in found.reason, found.reason


def test_what_follows_from_losses_is_inconclusive_after_a_walk_and_decided_from_the_beginning(bench: Bench) -> None:
    recorded = bench.record("--anchor-every", "8", "--", "python", bench.place("stopping_early"))
    assert recorded.returncode == 0
    found = walked(bench, -1)
    assert found.outcome.value == "inconclusive" and "--from-the-beginning" in found.reason
    request = Request(seed=b"1", segments=1, from_the_beginning=True)
    with bench.replaying():
        decided = {f.check: f.outcome.value for f in verify_run(bench.run, request).findings}
    assert decided["transcript.replay"] == "pass"


def test_a_lie_is_a_failure_where_it_is_reached_from_the_beginning_and_else_in_doubt(bench: Bench) -> None:
    assert bench.record("--anchor-every", "8", "--", "python", bench.place("two_players")).returncode == 0

    def another_loss(lines: list[dict[str, Any]]) -> None:
        next(line for line in lines if line["type"] == "step" and line["step"] == 20)["loss"] = [(0.5).hex()]

    bench.rewrite(another_loss)
    assert walked(bench, 2).outcome.value == "inconclusive"
    assert walked(bench, 0, 1, 2, 4).outcome.value == "fail"
    assert walked(bench, 0, 1, 4).outcome.value == "pass"

    def another_order(lines: list[dict[str, Any]]) -> None:
        step = next(line for line in lines if line["type"] == "step" and line.get("draws"))
        step["draws"][0]["digest"] = "ab" * 32

    bench.rewrite(another_order)
    found = walked(bench, 0)
    assert found.outcome.value == "fail" and "generators" in found.reason


def test_a_tenth_of_somebodys_weights_shows_under_a_second_seed(bench: Bench) -> None:
    np.save(bench.folder / "theirs.npy", np.random.default_rng(4).normal(size=(1000, 1000)).astype(np.float32))
    script = bench.place("borrowing")
    assert bench.record("--bind", "--", "python", script).returncode == 0
    honest = bench.verify()
    assert honest["transcript.initial-state"][0] == honest["transcript.second-seed"][0] == "pass", honest
    for path in (bench.folder / "runs").iterdir():
        path.rename(bench.folder / "honest")
    assert bench.record("--bind", "--data", "theirs.npy", "--", "python", script, "theirs.npy").returncode == 0
    found = bench.verify()
    # It follows from seed, code and data, bit for bit; a part of it does not follow from the seed.
    assert found["transcript.initial-state"][0] == found["transcript.replay"][0] == "pass"
    assert found["transcript.second-seed"][0] == "inconclusive" and "T =" in found["transcript.second-seed"][1]


def test_a_killed_run_goes_on_as_if_it_had_not_been(bench: Bench) -> None:
    script = bench.place("interrupted")
    (bench.folder / "die").touch()
    killed = bench.record("--bind", "--anchor-every", "10", "--", "python", script)
    assert killed.returncode == -signal.SIGKILL and killed.stdout.count("\n") == 31
    (bench.folder / "die").unlink()
    saved = (bench.folder / "checkpoint.pt").read_bytes()
    gone_on = bench.python("-m", "weighbridge", "record", "--resume", bench.run, "--", "python", script)
    # The anchor of step 30 is written in the background: the kill may have come before it was whole.
    assert gone_on.returncode == 0 and ("at step 30" in gone_on.stderr or "at step 20" in gone_on.stderr)
    whole = seeded(bench, Transcript.open(bench.run, None).seed, script)
    assert killed.stdout == whole[: len(killed.stdout)]
    assert gone_on.stdout.splitlines()[30:] == whole.splitlines()[30:]
    assert (bench.folder / "checkpoint.pt").read_bytes() != saved
    found = bench.verify()
    assert found["transcript.replay"][0] == found["transcript.segments"][0] == "pass", found
    assert "48 steps replayed bit for bit" in found["transcript.replay"][1]
    again = bench.python("-m", "weighbridge", "record", "--resume", bench.run, "--", "python", script)
    assert again.returncode == 2 and "has finished" in again.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("0.01 *", "0.02 *"), "interrupted.py changed"),
        (lambda text: text, "builds another first state"),
    ],
)
def test_a_run_that_is_no_longer_the_same_is_not_gone_on_with(bench: Bench, change: Any, words: str) -> None:
    script = bench.place("interrupted")
    (bench.folder / "die").touch()
    assert bench.record("--anchor-every", "10", "--", "python", script).returncode == -signal.SIGKILL
    before = {path: path.read_bytes() for path in bench.run.rglob("*") if path.is_file()}
    text = change(script.read_text())
    script.write_text(text)
    if "another" in words:  # as a program does that loads a checkpoint of its own
        startup = bench.folder / "startup"
        startup.mkdir()
        (startup / "sitecustomize.py").write_text("import torch\ntorch.nn.init._no = None\ntorch.manual_seed = int\n")
    command = [sys.executable, "-m", "weighbridge", "record", "--resume", str(bench.run), "--", "python", str(script)]
    extra = {"PYTHONPATH": str(bench.folder / "startup")} if "another" in words else {}
    ended = (Bench(bench.folder) if extra else bench).python(*command[1:], **extra)
    assert ended.returncode == 2 and words in ended.stderr, ended.stderr
    assert {path: path.read_bytes() for path in bench.run.rglob("*") if path.is_file()} == before
