"""Compiled programs: what is traced holds no hook of ours, so the compiled code and its last digits stay the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from transcript.bench import Bench
from weighbridge.mechanisms.transcript.draws import Points
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import compare_replay

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
]


@pytest.mark.parametrize("way", ["module", "in-place", "function"])
def test_the_same_with_and_without_recording_and_again_in_replay(tmp_path: Path, way: str) -> None:
    bench = Bench(tmp_path)
    script = bench.place("compiled")
    kernels = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels")}  # compiled once for both, and again in replay
    plain = bench.python(script, way, **kernels)
    recorded = bench.record("--", "python", script, way, **kernels)
    assert (plain.returncode, recorded.returncode) == (0, 0), recorded.stderr
    assert "NOT RECORDED" not in recorded.stderr
    assert recorded.stdout == plain.stdout and plain.stdout.count("\n") == 24
    findings = bench.verify()
    assert findings["transcript.replay"][0] == "pass", findings
    transcript = Transcript.open(bench.run, None)
    assert transcript.reached == 24
    assert {step["seen"] for step in transcript.steps.values()} == {"forward"}


@pytest.mark.parametrize("way", ["step", "whole"])
def test_a_compiled_update_is_walked_to_and_replays(tmp_path: Path, way: str) -> None:
    """Hooks that meet a compiler are called and not traced; a walk calls what was compiled as it was written."""
    bench = Bench(tmp_path)
    script = bench.place("compiled")
    plain = bench.python(script, way)
    recorded = bench.record("--anchor-every", "6", "--", "python", script, way)
    assert (plain.returncode, recorded.returncode) == (0, 0), recorded.stderr
    assert recorded.stdout == plain.stdout and plain.stdout.count("\n") == 24
    assert "RECORDING STOPPED" not in recorded.stderr and "24 steps recorded" in recorded.stderr
    transcript = Transcript.open(bench.run, None)
    assert {step["updates"] for step in transcript.steps.values()} == {1}
    assert {len(step["loss"]) for step in transcript.steps.values()} == {1}
    for chosen in ([2], [0, 3]):
        plan = plan_segments(transcript, [segments_of(transcript)[number] for number in chosen])
        with replay(transcript, legs=plan.legs, digests=plan.digests) as outcome:
            found = compare_replay(transcript, outcome)[0]
        assert found.outcome.value == "pass" and f"{6 * len(chosen)} steps replayed" in found.reason, found.reason


def test_what_a_compiler_shuffles_is_not_the_programs() -> None:
    """Inductor tries a shuffle of its own while it compiles, on tensors that hold nothing."""
    met: list[str] = []
    points = Points(met.append)
    points.install()
    try:
        with FakeTensorMode():
            torch.randperm(4)
        assert not met
        torch.randperm(4)
        assert met == ["torch.randperm"]
    finally:
        points.remove()


def test_in_a_loop_over_ours_too(tmp_path: Path) -> None:
    """A model compiled in place is compiled in the same way whether or not its inputs are noted."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(1).normal(size=(24, 6)).astype(np.float32))
    bench = Bench(tmp_path)
    script = tmp_path / "program" / "train.py"
    script.parent.mkdir()
    script.write_text(
        """
import sys
import torch, weighbridge
from torch import nn
from torch._dynamo.utils import counters

run = weighbridge.start(data=sys.argv[1], config={"steps": 6, "batch_size": 4}, stride=3)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 1))
model.compile()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for batch in run:
    loss = model(batch).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(counters["frames"]["total"])
with torch.no_grad():
    model(batch)
print(counters["frames"]["total"])
"""
    )
    ended = bench.python(script, tmp_path / "rows.npy", WEIGHBRIDGE_RUNS=str(tmp_path / "runs"))
    assert ended.returncode == 0, ended.stderr
    # PyTorch leaves a plain Sequential uncompiled when it has no hook; with one it compiles it, to other digits.
    assert ended.stdout.split() == ["0", "0"], ended.stdout
    assert bench.verify()["transcript.replay"][0] == "pass"
