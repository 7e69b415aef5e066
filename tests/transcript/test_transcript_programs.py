"""An operator whose program does something else when it is recorded than the committed one does."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import weighbridge.app.demo
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.replay_plan import Leg

from .judging import failing, initial, replayed
from .world import Ended, World

pytestmark = pytest.mark.real

DEMO_PROGRAMS = Path(weighbridge.app.demo.__file__).parent / "programs"


def cheat(world: World, code: str, **config: Any) -> Ended:
    """Records a program that does something more than the committed one: ``code`` runs before it."""
    project = world.project(programs=("train.py",), **config)
    other = world.folder / f"other-{project.folder.name}.py"
    other.write_text(
        "import runpy, sys\nimport torch\nfrom torch import nn\n"
        f"{code}\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    arguments = [str(project.folder / "train.py"), str(project.data), str(project.folder / "config.json")]
    ended = project.train(str(other), *arguments)
    assert ended.status == 0, ended.errors
    return ended


# What the program does differently when it is recorded, the check that fails, and words of its reason.
DIFFERENTLY: dict[str, tuple[str, str, str]] = {
    "another order within the batch": (
        "original = nn.Module.__call__\n"
        "def call(self, *a, **k):\n"
        "    if type(self).__name__ == 'Net': a = (a[0].flip(0),)\n"
        "    return original(self, *a, **k)\n"
        "nn.Module.__call__ = call",
        "transcript.replay",
        "the data of step 0 is not the recorded one",
    ),
    "other data": (
        "original = nn.Module.__call__\n"
        "def call(self, *a, **k):\n"
        "    if type(self).__name__ == 'Net': a = ((a[0] + 1) % 64,)\n"
        "    return original(self, *a, **k)\n"
        "nn.Module.__call__ = call",
        "transcript.replay",
        "the data of step 0 is not the recorded one",
    ),
    "other data behind the hooks": (
        "original = nn.Embedding.forward\nnn.Embedding.forward = lambda self, rows: original(self, (rows + 1) % 64)",
        "transcript.replay",
        "replay leaves the committed run after step 0: the state at step 5 differs",
    ),
    "a rate three times as high in step 6": (
        "from torch.optim import AdamW\n"
        "made = []\nbuilt = AdamW.__init__\n"
        "def build(self, *a, **k):\n    built(self, *a, **k); made.append(self)\n"
        "AdamW.__init__ = build\noriginal = nn.Module.__call__\ncount = [0]\n"
        "def call(self, *a, **k):\n"
        "    if type(self).__name__ == 'Net':\n"
        "        count[0] += 1\n"
        "        if count[0] == 7: made[0].param_groups[0]['lr'] *= 3\n"
        "    return original(self, *a, **k)\n"
        "nn.Module.__call__ = call",
        "transcript.replay",
        "step 6 used other hyperparameters than the program sets",
    ),
    "a higher rate, hidden from the hooks": (
        "from torch.optim import AdamW\noriginal = AdamW.step\n"
        "def step(self, *a, **k):\n"
        "    self.param_groups[0]['lr'] *= 3\n    result = original(self, *a, **k)\n"
        "    self.param_groups[0]['lr'] /= 3\n    return result\n"
        "AdamW.step = step",
        "transcript.replay",
        "replay leaves the committed run after step 0: the state at step 5 differs",
    ),
    "an update more": (
        "from torch.optim import AdamW\noriginal = AdamW.step\n"
        "def step(self, *a, **k):\n    original(self, *a, **k)\n    return original(self, *a, **k)\n"
        "AdamW.step = step",
        "transcript.replay",
        "the state at step 5 differs",
    ),
    "weights changed between two digests": (
        "zero_grad = nn.Module.zero_grad\ncount = [0]\n"
        "def zero(self, *a, **k):\n"
        "    count[0] += 1\n"
        "    if count[0] == 8:\n"
        "        with torch.no_grad(): next(self.parameters()).mul_(1.01)\n"
        "    return zero_grad(self, *a, **k)\n"
        "nn.Module.zero_grad = zero",
        "transcript.replay",
        "replay leaves the committed run after step 5",
    ),
    "another seed": (
        "import weighbridge.mechanisms.transcript.start as s\noriginal = s.seed_generators\n"
        "def seed(value):\n    original(value); torch.manual_seed(1)\n"
        "s.seed_generators = seed",
        "transcript.initial-state",
        "its weights are not derived",
    ),
    "other initial weights": (
        "from weighbridge.mechanisms.transcript import discovery as d\nclose = d.Discovery.close\n"
        "def closing(self):\n"
        "    subjects = close(self)\n"
        "    with torch.no_grad(): next(subjects.modules['model'].parameters()).zero_()\n"
        "    return subjects\n"
        "d.Discovery.close = closing",
        "transcript.initial-state",
        "its weights are not derived",
    ),
    "an optimizer with a past": (
        "from weighbridge.mechanisms.transcript import discovery as d\nclose = d.Discovery.close\n"
        "def closing(self):\n"
        "    subjects = close(self)\n"
        "    for o in subjects.optimizers.values():\n"
        "        for p in o.param_groups[0]['params']:\n"
        "            o.state[p] = {'step': torch.tensor(1e6), 'exp_avg': torch.ones_like(p),\n"
        "                          'exp_avg_sq': torch.full_like(p, 1e6)}\n"
        "    return subjects\n"
        "d.Discovery.close = closing",
        "transcript.initial-state",
        "its optimizer state is not derived",
    ),
    "a generator set to a chosen state": (
        "from weighbridge.mechanisms.transcript import discovery as d\nclose = d.Discovery.close\n"
        "def closing(self):\n    subjects = close(self); torch.manual_seed(5); return subjects\n"
        "d.Discovery.close = closing",
        "transcript.initial-state",
        "its generators are not derived",
    ),
}


@pytest.mark.parametrize("what", DIFFERENTLY)
def test_a_program_that_did_something_else(world: World, what: str) -> None:
    code, check, words = DIFFERENTLY[what]
    ended = cheat(world, code, schedule="lambda")
    assert failing(ended.open()) == []
    found = {"transcript.initial-state": initial, "transcript.replay": replayed}
    finding = found[check](ended)
    assert (finding.check, finding.outcome) == (check, Outcome.FAIL), finding.reason
    assert words in finding.reason


def test_optimizer_state_splice(world: World) -> None:
    """Replay of weights from what the operator supplies would pass; the derived boundary does not (peers.md, 3)."""
    project = world.project(programs=())
    shutil.copytree(DEMO_PROGRAMS / "gpt", project.folder, dirs_exist_ok=True)
    shape = {"width": 16, "layers": 1, "heads": 2, "context": 8, "dropout": 0.0}
    project.configure(**shape, steps=10, learning_rate=1e-3, warm_up=2, flop_per_step=1.0)
    honest = project.train()
    assert initial(honest).outcome is Outcome.PASS
    end = load_file(honest.run / "anchors" / "state-0000-0000010-end.safetensors")
    stolen = {
        name.removeprefix("model/parameter/"): tensor + torch.randn_like(tensor)
        for name, tensor in end.items()
        if name.startswith("model/parameter/")
    }
    save_file(stolen, world.folder / "stolen.safetensors")
    other = world.folder / "splice"
    other.mkdir()
    shutil.copy(DEMO_PROGRAMS / "cheats" / "splice.py", other)
    arguments = [str(world.folder / "stolen.safetensors"), str(project.folder / "train.py")]
    arguments += [str(project.data), str(project.folder / "config.json")]
    forged = project.train(str(other / "splice.py"), *arguments)
    assert forged.status == 0, forged.errors
    reached = load_file(forged.run / "anchors" / "state-0000-0000010-end.safetensors")
    for name, tensor in stolen.items():
        assert torch.dist(reached[f"model/parameter/{name}"], tensor) < 1e-3 * tensor.norm()
    # Every step, with its data, rate and update, is bit for bit what the program does from the state supplied ...
    supplied = [Leg(0, 10, "state-0000-0000000.safetensors")]
    assert replayed(forged, supplied).outcome is Outcome.PASS
    assert failing(forged.open()) == []
    # ... but that state is not what seed and code give.
    finding = initial(forged)
    assert finding.outcome is Outcome.FAIL
    assert "its optimizer state is not derived" in finding.reason
    assert "weights are not derived" not in finding.reason
