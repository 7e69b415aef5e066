"""Other people's frameworks and scripts, as they come from their registries: recorded with no line changed."""

import importlib.util
from pathlib import Path

import pytest

from transcript.bench import Bench
from weighbridge.mechanisms.transcript.transcript import Transcript

pytestmark = pytest.mark.real

PROGRAMS = {
    "hugging_face": ("transformers", 12),
    "lightning_demo": ("lightning", 20),
    "accelerated": ("accelerate", 16),
}
SFT = (
    *("--model_name_or_path", "model", "--dataset_name", "rows", "--output_dir", "out", "--max_steps", "6"),
    *("--per_device_train_batch_size", "4", "--learning_rate", "1e-3", "--report_to", "none", "--use_cpu"),
    *("--save_strategy", "no", "--logging_steps", "1", "--dtype", "float32", "--disable_tqdm", "true"),
)


def need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'weighbridge[peers]'")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_with_and_without_recording_and_again_in_replay(tmp_path: Path, name: str) -> None:
    package, steps = PROGRAMS[name]
    need(package)
    bench = Bench(tmp_path)
    script = bench.place(name)
    plain = bench.python(script)
    recorded = bench.record("--", "python", script)
    assert (plain.returncode, recorded.returncode) == (0, 0), recorded.stderr
    assert "NOT RECORDED" not in recorded.stderr
    # Exact numbers only: a framework's own log tells times, too.
    exact = [[line for line in ended.stdout.splitlines() if "0x" in line] for ended in (plain, recorded)]
    assert exact[0] == exact[1] and exact[0]
    findings = bench.verify()
    assert findings["transcript.replay"][0] == "pass", findings
    assert not [check for check, (outcome, _) in findings.items() if outcome == "fail"]
    transcript = Transcript.open(bench.run, None)
    assert transcript.reached == steps
    assert {step["seen"] for step in transcript.steps.values()} == {"forward"}  # Lightning calls parts, no model


def test_a_script_that_a_package_ships(tmp_path: Path) -> None:
    """``python -m trl.scripts.sft``, unchanged, on a model and rows of our own."""
    need("trl")
    bench = Bench(tmp_path)
    assert bench.python(bench.place("sft_inputs")).returncode == 0
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = ("python", "-m", "trl.scripts.sft", *SFT)
    named = ("--data", "model", "--data", "rows", "--variable", "HF_HUB_OFFLINE", "--stride", "2")
    recorded = bench.record(*named, "--code", "program", "--", *command, **offline)
    assert recorded.returncode == 0, recorded.stderr[-2000:]
    assert "NOT RECORDED" not in recorded.stderr
    findings = bench.verify()
    assert findings["transcript.replay"][0] == "pass", findings
    transcript = Transcript.open(bench.run, None)
    assert transcript.reached == 6
    assert {"transformers", "trl", "datasets"} <= set(transcript.contents["environment"]["packages"])
