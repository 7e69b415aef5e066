"""Finished weights brought into the sandbox that derives the initial state: there is no room for them."""

from pathlib import Path

import pytest
import torch

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.environment import CodeTree

from .judging import initial, replayed
from .world import Ended, World

pytestmark = pytest.mark.real


def smuggled(world: World, width: int, *, patched: bool = True) -> Ended:
    """A run whose configuration carries a layer of finished weights, by a recorder that does not mind."""
    weights = torch.randn(width, width, generator=torch.Generator().manual_seed(1)).tolist()
    project = world.project(programs=("train.py", "smuggling.py"), steps=2, width=width, weights=weights)
    if not patched:
        return project.train("smuggling.py")
    other = world.folder / f"patched-{project.folder.name}.py"
    other.write_text(
        "import runpy, sys\nimport weighbridge.mechanisms.transcript.start as start\n"
        "start.CONTENTS_LIMIT_BYTES = 1 << 30\n"
        "sys.argv = sys.argv[1:]\nsys.path.insert(0, sys.argv[0].rpartition('/')[0])\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    arguments = [str(project.folder / "smuggling.py"), str(project.data), str(project.folder / "config.json")]
    return project.train(str(other), *arguments)


def test_weights_in_the_configuration(world: World) -> None:
    ended = smuggled(world, 80)
    assert ended.status == 0, ended.errors
    finding = initial(ended)
    assert finding.outcome is Outcome.FAIL
    assert "room to smuggle weights in" in finding.reason


def test_what_fits_is_not_seen(world: World) -> None:
    """The limit is a limit: some thousand numbers pass, as they would in the code."""
    ended = smuggled(world, 16, patched=False)
    assert ended.status == 0, ended.errors
    assert initial(ended).outcome is Outcome.PASS


def test_the_recorder_refuses_it_before_anything_is_committed(world: World) -> None:
    ended = smuggled(world, 80, patched=False)
    assert (ended.status, ended.folder) == (2, None)
    assert "InputError: config: takes" in ended.errors and "put what is large into the data" in ended.errors


def test_weights_in_the_code(world: World) -> None:
    project = world.project(steps=2)
    (project.folder / "weights.json").write_text("0" * (1 << 20))
    ended = project.train()
    assert (ended.status, ended.folder) == (2, None)
    assert "the code tree is larger than 1 MiB" in ended.errors


def test_weights_in_the_names_of_files(world: World, tmp_path: Path) -> None:
    """Empty files, whose names say a lot."""
    deep = tmp_path.joinpath(*(["w" * 250] * 12))
    deep.mkdir(parents=True)
    for number in range(400):
        (deep / f"{number:0200d}.py").touch()
    with pytest.raises(InputError, match="the code tree is larger than 1 MiB"):
        CodeTree.read(tmp_path)
    ended = world.project(steps=2).train()
    ended.open()
    (tmp_path / ("w" * 250)).rename(ended.run / "code" / ("w" * 250))
    with pytest.raises(EvidenceError, match="the code tree is larger than 1 MiB"):
        ended.open()


# Attacks that pass, as docs/attacks.md says: to be turned round by whoever closes the hole. Both are in the code that
# was committed, and replay repeats what it does bit for bit.
OPEN = {
    "weights in the data": (
        "    for batch in run:\n",
        "    for batch in run:\n"
        "        if run.step == 0:\n"
        "            with torch.no_grad():\n"
        "                trainer.model.hidden.weight.copy_(batch.float().mean() * torch.ones(16, 16))\n",
    ),
    "a seed of its own": (
        "    trainer = Trainer(run.config)\n",
        "    torch.manual_seed(3)\n    trainer = Trainer(run.config)\n",
    ),
    "an order of its own": (
        "        trainer.body(batch, run.step)\n",
        "        trainer.body(rows[4 * run.step : 4 * run.step + 4], run.step)\n",
    ),
}


@pytest.mark.parametrize("what", OPEN)
def test_open_what_the_committed_program_does_openly(world: World, what: str) -> None:
    project = world.project(dropout=0.1)
    script = project.folder / "train.py"
    text = script.read_text()
    old, new = OPEN[what]
    assert text.count(old) == 1
    text = text.replace(old, new).replace(
        "    run = weighbridge.start(",
        "    import numpy\n\n    rows = torch.from_numpy(numpy.load(data))\n    run = weighbridge.start(",
    )
    script.write_text(text)
    ended = project.train()
    assert ended.status == 0, ended.errors
    assert initial(ended).outcome is Outcome.PASS
    assert replayed(ended).outcome is Outcome.PASS
