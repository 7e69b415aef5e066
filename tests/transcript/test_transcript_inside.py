"""One line inside a program, or a callback of its framework: golden, replayed to the bit, loud about what it misses."""

from pathlib import Path

import pytest

from transcript.bench import Bench
from transcript.test_transcript_peers import need
from transcript.world import World
from weighbridge.mechanisms.transcript.transcript import Transcript

pytestmark = pytest.mark.real

LINES = {
    "hugging_face": (
        "    train_dataset=",
        "    callbacks=[weighbridge.HuggingFaceCallback()],\n    train_dataset=",
        12,
    ),
    "lightning_demo": ("    max_epochs=", "    callbacks=[weighbridge.LightningCallback()],\n    max_epochs=", 20),
    "accelerated": ("Accelerator(cpu", "Accelerator(log_with=weighbridge.AccelerateTracker(), cpu", 16),
    "ordinary": ("torch.manual_seed", "weighbridge.record()\ntorch.manual_seed", 48),
    "lbfgs": ("torch.manual_seed", "weighbridge.record()\ntorch.manual_seed", 12),
}
PACKAGES = {"hugging_face": "transformers", "lightning_demo": "lightning", "accelerated": "accelerate"}


def exact(printed: str) -> list[str]:
    """The exact numbers: a framework's own log tells times, too."""
    return [line for line in printed.splitlines() if "0x" in line]


@pytest.mark.parametrize("name", LINES)
def test_the_same_with_and_without_the_line_and_again_in_replay(tmp_path: Path, world: World, name: str) -> None:
    if name in PACKAGES:
        need(PACKAGES[name])
    bench, forking = Bench(tmp_path), Bench(tmp_path, world.zygote)
    script = bench.place(name)
    plain = forking.python(script)
    place, line, steps = LINES[name]
    text = script.read_text().replace("\nimport ", "\nimport weighbridge\nimport ", 1)
    assert text.count(place) == 1
    script.write_text(text.replace(place, line))
    recorded = bench.python(script, WEIGHBRIDGE_RUNS="runs")
    assert (plain.returncode, recorded.returncode) == (0, 0), recorded.stderr
    assert exact(recorded.stdout) == exact(plain.stdout) != []
    findings = (bench if name == "ordinary" else forking).verify()
    assert findings["transcript.replay"][0] == "pass", findings
    assert not [check for check, (outcome, _) in findings.items() if outcome == "fail"]
    assert Transcript.open(bench.run, None).reached == steps


def test_generators_that_nobody_seeded_are_set_again_in_replay(tmp_path: Path, world: World) -> None:
    bench = Bench(tmp_path, world.zygote)
    script = tmp_path / "program" / "train.py"
    script.parent.mkdir()
    script.write_text(
        """
import random
import numpy as np
import torch
import weighbridge

weighbridge.record(stride=2)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=random.random())
for _ in range(6):
    loss = model(torch.from_numpy(np.random.rand(4, 3)).float()).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
    )
    ended = bench.python(script, WEIGHBRIDGE_RUNS="runs")
    assert ended.returncode == 0, ended.stderr
    assert bench.verify()["transcript.replay"][0] == "pass"


TWICE = """
import os
import torch
import weighbridge

torch.manual_seed(1)

def train(rate):
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with weighbridge.record(stride=2, store=f"runs-{rate}"):
        for _ in range(4):
            loss = model(torch.ones(2, 3)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(loss.item().hex())

train(0.1)
train(0.2)
"""


def test_two_trainings_of_one_program_are_two_transcripts_each_replayed(tmp_path: Path, world: World) -> None:
    bench = Bench(tmp_path, world.zygote)
    script = tmp_path / "program" / "train.py"
    script.parent.mkdir()
    script.write_text(TWICE.replace("with weighbridge.record(", "with weighbridge.record(known=[model, optimizer], "))
    ended = bench.python(script)
    assert ended.returncode == 0, ended.stderr
    for rate in ("0.1", "0.2"):
        (tmp_path / f"runs-{rate}").rename(tmp_path / "runs")
        assert bench.verify()["transcript.replay"][0] == "pass"
        (tmp_path / "runs").rename(tmp_path / f"done-{rate}")


def test_a_model_that_no_seed_repeats_is_no_failure(tmp_path: Path, world: World) -> None:
    bench = Bench(tmp_path, world.zygote)
    script = tmp_path / "program" / "train.py"
    script.parent.mkdir()
    known = TWICE.replace("with weighbridge.record(", "with weighbridge.record(known=[model, optimizer], ")
    script.write_text(known.replace("torch.manual_seed(1)", "").replace("train(0.2)", ""))
    assert bench.python(script).returncode == 0
    (tmp_path / "runs-0.1").rename(tmp_path / "runs")
    outcome, reason = bench.verify()["transcript.replay"]
    assert outcome == "inconclusive" and "step 0 differs" in reason and "no seed need repeat" in reason


def test_what_was_built_before_the_line_is_missed_aloud(tmp_path: Path, world: World) -> None:
    bench = Bench(tmp_path, world.zygote)
    script = tmp_path / "program" / "train.py"
    script.parent.mkdir()
    script.write_text(TWICE)
    ended = bench.python(script)
    assert ended.returncode == 0 and ended.stdout.count("0x") == 8
    assert "NOTHING IS RECORDED" in ended.stderr or "NOTHING WAS RECORDED" in ended.stderr
    assert not list(tmp_path.glob("runs*/*/journal*"))


def test_a_program_that_is_watched_from_outside_does_not_record_itself_besides(tmp_path: Path, world: World) -> None:
    bench = Bench(tmp_path, world.zygote)
    script = bench.place("lbfgs")
    text = script.read_text().replace(
        "\nimport ", "\nimport weighbridge\nweighbridge.record(store='inner')\nimport ", 1
    )
    script.write_text(text)
    assert bench.record("--", "python", script).returncode == 0
    assert not (tmp_path / "inner").exists()
    assert bench.verify()["transcript.replay"][0] == "pass"


def test_lightning_needs_no_line_where_a_variable_names_a_folder(tmp_path: Path, world: World) -> None:
    need("lightning")
    bench = Bench(tmp_path, world.zygote)
    script = bench.place("lightning_demo")
    plain, recorded = bench.python(script), Bench(tmp_path).python(script, WEIGHBRIDGE_LIGHTNING="runs")
    assert recorded.returncode == 0, recorded.stderr
    assert exact(recorded.stdout) == exact(plain.stdout) != []
    assert Transcript.open(bench.run, None).reached == 20
    assert bench.verify()["transcript.replay"][0] == "pass"
