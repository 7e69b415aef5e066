"""Runs recorded for real, then replayed for real: the honest ones hold, and each changed one is caught by its check."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import check_initial_state, check_journal, compare_replay

pytestmark = pytest.mark.real

PROGRAM = """
import json, os, sys, time
import torch
from torch import nn
import weighbridge

CHEAT = os.environ.get("CHEAT", "")          # what the operator does and replay does not know
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
config = json.load(open(sys.argv[2]))
run = weighbridge.start(data=sys.argv[1], config=config, stride=4)
if CHEAT == "seed":
    torch.manual_seed(1)
width = config["width"]
model = nn.Sequential(
    nn.Linear(16, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 1)
)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5, gamma=0.5)
if CHEAT == "optimizer":
    for p in model.parameters():
        optimizer.state[p] = {
            "step": torch.tensor(1e6), "exp_avg": torch.ones_like(p), "exp_avg_sq": torch.full_like(p, 1e6)
        }
for batch in run:
    if CHEAT == "rate" and run.step == 6:
        optimizer.param_groups[0]["lr"] *= 1.01
    if CHEAT == "order":
        batch = batch.flip(0)
    loss = (model(batch[:, :16]) - batch[:, 16:]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if CHEAT == "skip" and run.step == 7:
        with torch.no_grad():
            model[0].weight.mul_(1.5)
    print(float(loss).hex(), flush=True)
    time.sleep(float(os.environ.get("PAUSE", "0")))
"""


def place(folder: Path, *, steps: int = 16) -> Path:
    """Lays out a program, its configuration and its data."""
    program = folder / "program"
    program.mkdir(parents=True)
    (program / "train.py").write_text(PROGRAM)
    (program / "config.json").write_text(json.dumps({"steps": steps, "batch_size": 8, "width": 48}))
    rows = np.random.default_rng(5).normal(size=(200, 17)).astype(np.float32)
    np.save(folder / "data.npy", rows)
    return folder


def command(folder: Path) -> list[str]:
    program = folder / "program"
    return [sys.executable, str(program / "train.py"), str(folder / "data.npy"), str(program / "config.json")]


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WEIGHBRIDGE_")}
    return kept | {"WEIGHBRIDGE_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1"} | more


def record(folder: Path, **more: str) -> Transcript:
    """Runs the program to its end and opens the transcript."""
    ended = subprocess.run(
        command(folder), env=environment(folder, **more), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    (folder / "losses.txt").write_text(ended.stdout)
    return Transcript.open(next((folder / "runs").iterdir()), None)


def judge(transcript: Transcript, *, data: Path | None = None) -> dict[str, Finding]:
    """Checks journal, initial state and a replay of every segment; returns the worst finding of each check."""
    findings = [*check_journal(transcript), check_initial_state(transcript)]
    plan = plan_segments(transcript, segments_of(transcript))
    with replay(transcript, legs=plan.legs, captures=plan.captures, digests=plan.digests, data=data) as outcome:
        findings += compare_replay(transcript, outcome)
    worst: dict[str, Finding] = {}
    order = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL]
    for finding in findings:
        known = worst.get(finding.check)
        if known is None or order.index(finding.outcome) > order.index(known.outcome):
            worst[finding.check] = finding
    return worst


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = place(tmp_path_factory.mktemp("honest"))
    record(folder)
    return folder


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Transcript:
    """A private copy of the honest transcript, to be edited."""
    source = next((honest / "runs").iterdir())
    shutil.copytree(source, tmp_path / source.name)
    return Transcript.open(tmp_path / source.name, None)


def test_an_honest_run_holds(honest: Path) -> None:
    found = judge(Transcript.open(next((honest / "runs").iterdir()), None))
    assert found["transcript.initial-state"].outcome is Outcome.PASS
    assert found["transcript.replay"].outcome is Outcome.PASS


def test_an_honest_run_with_two_threads_holds(tmp_path: Path) -> None:
    found = judge(record(place(tmp_path), OMP_NUM_THREADS="2"))
    assert found["transcript.replay"].outcome is Outcome.PASS


def test_losses_are_those_that_the_journal_has(honest: Path) -> None:
    transcript = Transcript.open(next((honest / "runs").iterdir()), None)
    printed = (honest / "losses.txt").read_text().split()
    assert [event["loss"] for _, event in sorted(transcript.steps.items())] == [[value] for value in printed]


@pytest.mark.parametrize(
    ("cheat", "check", "word"),
    [
        ("seed", "transcript.initial-state", "weights"),
        ("optimizer", "transcript.initial-state", "optimizer state"),
        ("rate", "transcript.replay", "step"),
        ("order", "transcript.replay", "step"),
        ("skip", "transcript.replay", "step"),
    ],
)
def test_each_change_is_caught_by_its_check(tmp_path: Path, cheat: str, check: str, word: str) -> None:
    found = judge(record(place(tmp_path), CHEAT=cheat))
    assert found[check].outcome is Outcome.FAIL
    assert word in found[check].reason


def test_other_data_are_refused(honest: Path, tmp_path: Path) -> None:
    rows = np.load(honest / "data.npy")
    rows[3, 4] += 1e-3
    np.save(tmp_path / "other.npy", rows)
    transcript = Transcript.open(next((honest / "runs").iterdir()), None)
    with pytest.raises(EvidenceError, match="root"):
        judge(transcript, data=tmp_path / "other.npy")


def test_a_swapped_code_tree_is_refused(copy: Transcript) -> None:
    with (copy.folder / "code" / "train.py").open("a") as file:
        file.write("# one more line\n")
    with pytest.raises(EvidenceError, match="code tree"):
        Transcript.open(copy.folder, None)


def test_an_edited_opening_changes_the_seed(copy: Transcript) -> None:
    path = copy.folder / "opening.json"
    opening = json.loads(path.read_text())
    opening["nonce"] = "00" * 32
    path.unlink()
    path.write_text(json.dumps(opening))
    found = check_initial_state(Transcript.open(copy.folder, None))
    assert found.outcome is Outcome.FAIL


def test_a_cut_journal_is_seen(copy: Transcript) -> None:
    path = copy.folder / "journal-0000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]))
    found = check_journal(Transcript.open(copy.folder, None))
    assert any(f.check == "transcript.complete" and f.outcome is not Outcome.PASS for f in found)


def test_a_corrupted_anchor_is_refused(copy: Transcript) -> None:
    anchor = sorted((copy.folder / "anchors").iterdir())[-1]
    anchor.write_bytes(anchor.read_bytes()[: anchor.stat().st_size // 2])
    with pytest.raises(EvidenceError, match="anchor"):
        copy.state(anchor.name)


def test_killed_and_resumed_it_continues_and_says_so(tmp_path: Path) -> None:
    folder = place(tmp_path, steps=20)
    first = subprocess.Popen(command(folder), env=environment(folder, PAUSE="0.15"), stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    for _ in range(7):
        first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    run = next((folder / "runs").iterdir())
    torn = Transcript.open(run, None)
    assert 0 < torn.reached < 20
    assert any(f.check == "transcript.complete" for f in check_journal(torn))
    began = time.monotonic()
    ended = subprocess.run(
        command(folder),
        env=environment(folder, WEIGHBRIDGE_RESUME=str(run)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert time.monotonic() - began < 60
    resumed = Transcript.open(run, None)
    assert len(resumed.segments) == 2
    assert resumed.reached == 20
    found = judge(resumed)
    assert found["transcript.replay"].outcome is Outcome.PASS
    assert "after an interruption" in found["transcript.segments"].reason


def test_resuming_with_another_configuration_is_refused(honest: Path, tmp_path: Path) -> None:
    folder = place(tmp_path)
    run = next((honest / "runs").iterdir())
    ended = subprocess.run(
        command(folder),
        env=environment(folder, WEIGHBRIDGE_RESUME=str(run)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    assert "weighbridge" in ended.stderr
    with pytest.raises(WeighbridgeError):
        Transcript.open(folder / "runs", None)
