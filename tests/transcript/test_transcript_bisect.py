"""A divergence is brought down to one step, one tensor, one element; whoever lies on the way is caught at it."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from weighbridge.app.main import build
from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.bisection import bisect, first_parting
from weighbridge.mechanisms.transcript.divergence import localise
from weighbridge.mechanisms.transcript.environment import CodeTree
from weighbridge.mechanisms.transcript.questions import FolderAnswers, Operator, answer_questions
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript

from .world import Ended, World, copied, rewrite, without_sandbox

pytestmark = pytest.mark.real

STEP, ELEMENT, CHANGE = 8, 5, 0.25
FORGERY = f"""
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
count = [0]
def forge(optimizer, *rest):
    count[0] += 1
    if count[0] == {STEP} + 1:
        with torch.no_grad():
            optimizer.param_groups[0]["params"][1].view(-1)[{ELEMENT}].add_({CHANGE})
register_optimizer_step_post_hook(forge)
"""


@pytest.fixture(scope="module")
def forged(world: World) -> Ended:
    """A run of 12 steps, digests every 6, in whose step 8 one weight was changed by code that it does not show.

    A weight of the hidden layer, which every later loss follows from; a row of the embedding is not used by each batch.
    """
    project = world.project(steps=12, stride=6)
    other = project.folder.parent / f"forge-{project.folder.name}.py"
    other.write_text(
        FORGERY + "import runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    words = [str(other), str(project.folder / "train.py"), str(project.data), str(project.folder / "config.json")]
    ended = project.train(*words, spool=True)
    assert ended.status == 0, ended.errors
    return ended


@pytest.fixture(scope="module")
def operator(forged: Ended, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """He who forged it, and can do so again: the same run, with the code that it does not show."""
    code = tmp_path_factory.mktemp("forger") / "code"
    code.mkdir()
    for path in (forged.run / "code").iterdir():
        code.joinpath(path.name).write_bytes(path.read_bytes())
    (code / "train.py").write_text(FORGERY + (code / "train.py").read_text())
    transcript = forged.open()
    transcript.__dict__["code"] = CodeTree.read(code)
    forger = Operator(transcript)
    forger.digest(STEP)  # his replays, in the sandbox: elsewhere these tests run the declared program
    state = forger.state(STEP + 1)
    forger.state = lambda step: state  # type: ignore[method-assign]
    yield forger


def test_down_to_one_element(forged: Ended, operator: Operator) -> None:
    told: list[str] = []
    with without_sandbox(forged.project.world):
        found = localise(forged.open(), answers=operator, tell=told.append)
    assert found is not None and found.parting is not None
    assert (found.agreed, found.parted, found.step) == (6, 12, STEP)
    assert found.parting.element == ELEMENT and found.parting.differing == 1 and "/parameter/" in found.parting.name
    assert float(found.parting.theirs) - float(found.parting.ours) == pytest.approx(CHANGE, abs=1e-6)
    assert found.answers == 4  # three digests of five between, and a state
    assert (
        found.journal is not None and found.journal[0] > STEP
    )  # a later loss shows it, the first that uses the weight


def test_without_the_operator_the_interval_and_the_journal_remain(forged: Ended) -> None:
    with without_sandbox(forged.project.world):
        found = localise(forged.open())
    assert found is not None
    assert (found.agreed, found.parted, found.step, found.answers) == (6, 12, None, 0)
    assert found.journal is not None and found.journal[0] > STEP and found.journal[1] == "another loss"
    # The state where it ends was anchored, so that its tensors can be compared all the same.
    assert found.parting is not None and found.parting.differing is not None and found.parting.differing > 1


def test_an_honest_run_parts_nowhere(plain: Ended) -> None:
    with without_sandbox(plain.project.world):
        assert localise(plain.open()) is None
        assert localise(plain.open(), start=7, until=8) is None
    with pytest.raises(InputError, match="no steps from 99"):
        localise(plain.open(), start=99)


def test_a_step_of_which_only_the_journal_tells_something_else_is_named(plain: Ended) -> None:
    """All committed states are met; one loss was written down otherwise."""
    with copied(plain.run) as run:

        def another(lines: list[dict[str, Any]]) -> None:
            lines[5]["loss"] = [(0.5).hex()]

        rewrite(run, another, signer=plain.project.world.operator)
        with without_sandbox(plain.project.world):
            found = localise(Transcript.open(run, plain.project.world.roots))
        assert found is not None and found.step == 4 and found.journal == (4, "another loss")
        assert found.shown_by == "the journal alone" and found.parting is None


class Honest:
    """Answers as the declared code does, which is not what was committed."""

    def __init__(self, inner: Operator) -> None:
        self._inner = inner

    def digest(self, step: int) -> str:
        return self._inner.digest(step)

    def state(self, step: int) -> TrainingState:
        return self._inner.state(step)


class Liar(Honest):
    """Answers that every state is another."""

    def digest(self, step: int) -> str:
        return "00" * 32


@contextlib.contextmanager
def without_the_end(run: Path) -> Iterator[None]:
    """The anchor at the run's end stays away, so that the operator has to show the state."""
    ends = list((run / "anchors").glob("*-end.safetensors"))
    for path in ends:
        path.rename(path.with_suffix(".away"))
    try:
        yield
    finally:
        for path in ends:
            path.with_suffix(".away").rename(path)


@pytest.mark.parametrize(("kind", "word"), [(Honest, "committed to"), (Liar, "gave when asked")])
def test_an_operator_who_cannot_show_what_he_answered_is_caught(forged: Ended, kind: type[Honest], word: str) -> None:
    """With the declared code he cannot reach his own committed end, nor a state behind an invented digest."""
    with without_sandbox(forged.project.world), without_the_end(forged.run):
        transcript = forged.open()
        found = localise(transcript, answers=kind(Operator(transcript)))
    assert found is not None and found.refuted is not None
    assert found.refuted.endswith(f"does not have the digest that he {word}")
    assert (found.agreed, found.parted) == (6, 12)


def test_a_false_word_is_a_finding_of_the_command(forged: Ended, tmp_path: Path) -> None:
    asked, transcript = tmp_path / "asked", forged.open()
    with without_sandbox(forged.project.world), without_the_end(forged.run):
        liar = Operator(transcript)
        liar.digest = lambda step: "00" * 32  # type: ignore[method-assign]
        other = threading.Thread(target=lambda: answer_questions(asked, liar, run=transcript.run, wait=60))
        other.start()
        words = ["transcript", "bisect", str(forged.run), "--questions", str(asked), "--json"]
        result = CliRunner().invoke(build(), [*words, "--roots", str(forged.project.world.roots_folder)])
        other.join(timeout=60)
    assert result.exit_code == 1, result.output
    printed = json.loads(result.stdout)
    (finding,) = printed["findings"]
    assert (finding["check"], finding["outcome"]) == ("transcript.answer", "fail")
    assert "his word is false" in finding["reason"] and printed["parting"] is None


def test_leaves_name_the_tensor_without_the_operators_state(forged: Ended) -> None:
    with without_sandbox(forged.project.world), without_the_end(forged.run):
        found = localise(forged.open())
    assert found is not None and found.parting is not None and found.answers == 0
    assert found.parting.element is None and found.parting.ours.startswith("digest ")
    assert found.parting.name in forged.open().events[0].data["names"] and found.parting.others > 0


def test_the_commands_ask_and_answer_through_a_folder(forged: Ended, operator: Operator, tmp_path: Path) -> None:
    asked, run = tmp_path / "asked", forged.open().run
    answered: list[int] = []
    other = threading.Thread(target=lambda: answered.append(answer_questions(asked, operator, run=run, wait=60)))
    other.start()
    roots = forged.project.world.roots_folder
    words = ["transcript", "bisect", str(forged.run), "--roots", str(roots), "--questions", str(asked)]
    with without_sandbox(forged.project.world):
        result = CliRunner().invoke(build(), [*words, "--steps", "6:12", "--json"])
    other.join(timeout=60)
    assert result.exit_code == 1, result.output
    printed = json.loads(result.stdout)
    assert (printed["step"], printed["parting"]["element"], printed["answers"]) == (STEP, ELEMENT, 4)
    assert answered == [4] and asked.stat().st_mode & 0o077 == 0
    with pytest.raises(InputError, match="holds questions already"):
        FolderAnswers(asked, run=run, wait=1)


def test_questions_about_another_run_are_not_answered(operator: Operator, tmp_path: Path) -> None:
    folder = tmp_path / "asked"
    folder.mkdir()
    for text in (
        '{"run": "x", "step": 1, "wants": "digest"}',
        "[]",
        "{",
        '{"run": "r", "step": true, "wants": "digest"}',
    ):
        (folder / "question-0001.json").write_text(text)
        with pytest.raises(EvidenceError):
            answer_questions(folder, operator, run="r", wait=5)
    with pytest.raises(EvidenceError, match="did not answer for step 3 in 0 s"):
        FolderAnswers(tmp_path / "silent", run="r", wait=0.1).digest(3)


@pytest.mark.parametrize("length", [1, 2, 3, 17, 1000])
def test_few_answers_find_the_step_wherever_it_is(length: int) -> None:
    for first in sorted({0, 1, length // 3, length - 1}):
        if first >= length:
            continue
        ours = {step: str(step) for step in range(length + 1)}
        asked: list[int] = []

        def ask(step: int, first: int = first, asked: list[int] = asked) -> str:
            asked.append(step)
            return str(step) if step <= first else "another"

        found = bisect(ours, agreed=0, parted=length, ask=ask, told=lambda step, same: None)
        assert found == first and len(asked) <= (length - 1).bit_length()


def test_states_are_compared_bit_for_bit() -> None:
    def state(*values: float, **plain: object) -> TrainingState:
        return TrainingState({"model/parameter/w": torch.tensor(values)}, {"step": 1, **plain})

    assert first_parting(state(0.0, float("nan")), state(0.0, float("nan"))) is None
    zero = first_parting(state(1.0, 0.0), state(1.0, -0.0))
    assert zero is not None and (zero.element, zero.ours, zero.theirs) == (1, "0.0", "-0.0")
    rate = first_parting(state(1.0, lr=0.1), state(1.0, lr=0.2))
    assert rate is not None and (rate.name, rate.element, rate.ours, rate.theirs) == ("lr", None, "0.1", "0.2")
    shape = first_parting(state(1.0), state(1.0, 2.0))
    assert shape is not None and (shape.ours, shape.theirs) == ("torch.float32 [1]", "torch.float32 [2]")
    missing = first_parting(TrainingState({}, {"step": 1}), state(1.0))
    assert missing is not None and (missing.ours, missing.theirs) == ("no such tensor", "a tensor")
