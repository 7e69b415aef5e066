"""The table of trials: appended to, read again, gone on with, and summed up; and the command over all of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from weighbridge.app.main import build
from weighbridge.attacks import registry
from weighbridge.attacks.page import page_text
from weighbridge.attacks.running import run_trials
from weighbridge.attacks.summary import Row, interval, summarise
from weighbridge.attacks.table import append_line, newest, read_lines
from weighbridge.attacks.trial import Attack, Control, Trial
from weighbridge.errors import InputError


def trial(*, detected: bool = True, **changes: Any) -> Trial:
    caught = ("transcript.replay",) if detected else ()
    given = {"caught_by": caught, "adversary_cost": 0.5, "verifier_cost": 1.0, "reproduced": True, "original": "seen"}
    return Trial(**{"detected": detected, **given, **changes})


class Counted:
    """An attempt that counts its calls and ends as told, seed by seed."""

    def __init__(self, *outcomes: Trial | Exception) -> None:
        self.outcomes, self.calls = outcomes, list[int]()

    def __call__(self, seed: int, folder: Path) -> Trial:
        assert folder.is_dir() and not any(folder.iterdir())
        self.calls.append(seed)
        outcome = self.outcomes[seed % len(self.outcomes)]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def attack(attempt: Callable[[int, Path], Trial], *, expected: str | None = "transcript.replay") -> Attack:
    return Attack(name="made-up", what="is made up", source="nobody", attempt=attempt, expected=expected)


def control(attempt: Callable[[int, Path], Trial]) -> Control:
    return Control(name="honest-run", what="is honest", attempt=attempt)


def row(entry: Attack | Control, *, seeds: int, table: Path) -> Row:
    lines = run_trials([entry], seeds=seeds, table=table, tell=lambda sentence: None)
    return summarise([entry], lines, code=lines[-1].code if lines else "")[0]


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    table, attempt = tmp_path / "table.jsonl", Counted(trial())
    run_trials([attack(attempt)], seeds=2, table=table, tell=lambda sentence: None)
    half = table.read_bytes()
    table.write_bytes(half + half[:40])  # the third trial's line was being written
    assert len(read_lines(table)) == 2
    run_trials([attack(attempt)], seeds=4, table=table, tell=lambda sentence: None)
    assert attempt.calls == [0, 1, 2, 3]
    assert [line.seed for line in read_lines(table)] == [0, 1, 2, 3]
    assert table.read_bytes().startswith(half)


def test_an_error_is_no_detection_and_is_run_again(tmp_path: Path) -> None:
    table, failing = tmp_path / "table.jsonl", Counted(ValueError("no such thing"))
    first = row(attack(failing), seeds=1, table=table)
    assert (first.seeds, first.errors, first.detected) == (0, 1, 0)
    assert "ended in an error" in first.wrong
    assert "ValueError: no such thing" in read_lines(table)[0].error
    second = row(attack(Counted(trial())), seeds=1, table=table)
    assert (second.seeds, second.errors, second.wrong) == (1, 0, "")


def test_what_a_row_says(tmp_path: Path) -> None:
    found = row(attack(Counted(trial(), trial(adversary_cost=1.5))), seeds=4, table=tmp_path / "table.jsonl")
    assert (found.detected, found.seeds, found.rate, found.reproduced) == (4, 4, 1.0, 4)
    assert found.adversary_cost == 1.0 and found.verifier_cost == 1.0
    assert found.high == 1.0 and found.low == pytest.approx(0.025**0.25)
    assert found.present == 4 and found.wrong == ""


@pytest.mark.parametrize(("detected", "seeds", "low", "high"), [(0, 50, 0.0, 0.0711), (8, 10, 0.4439, 0.9748)])
def test_interval_against_published_tables(detected: int, seeds: int, low: float, high: float) -> None:
    assert interval(detected, seeds) == pytest.approx((low, high), abs=5e-4)


WRONG: dict[str, tuple[Attack | Control, str]] = {
    "missed": (attack(Counted(trial(), trial(detected=False))), "not caught in 1 trials"),
    "weak copy": (attack(Counted(trial(reproduced=False))), "a weak copy"),
    "another check": (attack(Counted(trial(caught_by=("transcript.open",)))), "should have caught it"),
    "accused": (control(Counted(trial(adversary_cost=None, reproduced=None))), "accused in 2 trials"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_as_it_should_be_is_said(what: str, tmp_path: Path) -> None:
    entry, words = WRONG[what]
    found = row(entry, seeds=2, table=tmp_path / "table.jsonl")
    assert words in found.wrong
    assert words in page_text([found], []) and found.as_dict()["status"] == "wrong"


def test_what_nothing_catches_is_as_expected_when_known(tmp_path: Path) -> None:
    found = row(attack(Counted(trial(detected=False)), expected=None), seeds=2, table=tmp_path / "table.jsonl")
    assert found.wrong == "" and found.rate == 0
    assert "nothing, as is known" in page_text([found], [])


def test_a_row_that_was_not_run_says_so(tmp_path: Path) -> None:
    found = row(attack(Counted(trial())), seeds=0, table=tmp_path / "table.jsonl")
    assert found.rate is None and found.as_dict()["status"] == "not run"
    assert "not run" in page_text([found], [])


DAMAGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another version": lambda line: line.update(version=2),
    "a field more": lambda line: line.update(more=1),
    "a seed that is none": lambda line: line.update(seed=True),
    "an outcome and an error": lambda line: line.update(error="x"),
    "a cost that is none": lambda line: line["trial"].update(verifier_cost="much"),
    "a detection that is none": lambda line: line["trial"].update(detected=1),
    "a kind that is none": lambda line: line.update(kind="rumour"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_table_is_refused_and_left_as_it_was(what: str, tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    run_trials([attack(Counted(trial()))], seeds=1, table=table, tell=lambda sentence: None)
    line = json.loads(table.read_text())
    DAMAGED[what](line)
    table.write_text(json.dumps(line) + "\n")
    before = table.read_bytes()
    with pytest.raises(InputError, match="line 1"):
        run_trials([attack(Counted(trial()))], seeds=2, table=table, tell=lambda sentence: None)
    assert table.read_bytes() == before


def test_a_trial_run_again_replaces_the_older(tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    run_trials([attack(Counted(trial()))], seeds=1, table=table, tell=lambda sentence: None)
    (line,) = read_lines(table)
    append_line(table, line)
    assert len(read_lines(table)) == 2 and len(newest(read_lines(table))) == 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    entries = {"made-up": attack(Counted(trial()))}, {"honest-run": control(Counted(trial(detected=False)))}
    monkeypatch.setattr(registry, "every_attack", lambda: entries[0])
    monkeypatch.setattr(registry, "every_control", lambda: entries[1])
    yield


def invoke(*words: str) -> Result:
    return CliRunner().invoke(build(), ["redteam", *words])


@pytest.mark.usefixtures("small")
def test_the_command_prints_json_with_the_named_fields(tmp_path: Path) -> None:
    result = invoke("--seeds", "3", "--table", str(tmp_path / "t.jsonl"), "--json", "--page", str(tmp_path / "p.md"))
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    (one,) = said["attacks"]
    named = {"attack", "adversary_cost", "caught_by", "detected", "seeds", "rate", "verifier_cost"}
    assert named | {"interval", "source", "reproduced"} <= set(one)
    assert (one["attack"], one["detected"], one["seeds"]) == ("made-up", 3, 3)
    assert said["controls"][0]["detected"] == 0 and "adversary_cost" not in said["controls"][0]
    assert "3 of 6" in result.stderr  # progress, a line a trial
    assert "| made-up | 50% | transcript.replay | 3 of 3 |" in (tmp_path / "p.md").read_text()


@pytest.mark.usefixtures("small")
def test_the_command_names_what_it_does_not_know(tmp_path: Path) -> None:
    result = invoke("--attack", "nonsense", "--table", str(tmp_path / "t.jsonl"))
    assert isinstance(result.exception, InputError) and "no attack or control 'nonsense'" in str(result.exception)
    assert not (tmp_path / "t.jsonl").exists()


def test_the_command_exits_with_1_where_an_attack_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "every_attack", lambda: {"made-up": attack(Counted(trial(detected=False)))})
    monkeypatch.setattr(registry, "every_control", dict)
    result = invoke("--table", str(tmp_path / "t.jsonl"))
    assert result.exit_code == 1 and "WRONG: made-up: not caught in 1 trials" in result.output
