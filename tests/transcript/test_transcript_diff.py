"""Two transcripts side by side: the first step at which they part, the first tensor, and what nobody can compare."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from typer.testing import CliRunner

from weighbridge.app.main import build
from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.commitment import salt_for
from weighbridge.mechanisms.transcript.difference import compare
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.telling import Telling

from .world import Ended, World, copied, rewrite
from .written import beginning, contents, end, lines, snapshot, step, whole, written

KEYS = (b"a" * 32, b"b" * 32)


def diff(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(build(), ["transcript", "diff", *map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    printed: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if printed["same"] else 1)
    plain = CliRunner().invoke(build(), ["transcript", "diff", *map(str, arguments)])
    assert plain.exit_code == result.exit_code and "\x1b" not in plain.stdout
    return printed


def parts(printed: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    return [(d["part"], d["step"]) for d in printed["differences"]]


def anchor(folder: Path, name: str, number: int, *, key: bytes, weight: float = 1.0) -> str:
    """Writes an anchor's file and returns its digest under the run's salt, by torch and not by what is tested."""
    from weighbridge.mechanisms.transcript.anchors import write_anchor
    from weighbridge.mechanisms.transcript.state import TrainingState

    tensors = {"model/parameter/bias": torch.zeros(3), "model/parameter/weight": torch.full((2, 3), weight)}
    state = TrainingState(tensors, {"step": number, "generator/python": [3, [1, 2], None]})
    write_anchor(folder / "anchors" / name, state)
    return state.digest(salt_for(key, f"state/{number}")).hex()


def run(
    folder: Path,
    *,
    key: bytes = KEYS[0],
    weights: tuple[float, float] = (1.0, 2.0),
    losses: tuple[float, ...] = (4.0, 3.0, 2.0, 1.0),
    **opened: Any,
) -> Path:
    """A run of four steps with a state at its start and its end."""
    written(folder, key=key, opened=contents(**opened))
    first = anchor(folder, "state-0000-0000000.safetensors", 0, key=key, weight=weights[0])
    last = anchor(folder, "state-0000-0000004-end.safetensors", 4, key=key, weight=weights[1])
    steps = [step(n, loss) for n, loss in enumerate(losses)]
    name = ("a" if key == KEYS[0] else "b") * 64
    events = [beginning(run=name, state=first, steps=4), *steps]
    events += [end(4, state=last, anchor="state-0000-0000004-end.safetensors")]
    events[len(losses)] |= {"state": last}
    (folder / "journal-0000.jsonl").write_bytes(lines(events))
    return folder


def test_a_copy_is_the_same_and_nothing_is_written(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    other = shutil.copytree(one, tmp_path / "other")
    before = snapshot(tmp_path)
    said = diff(one, other)
    assert said == {
        "same": True,
        "parts_at": None,
        "alike_until": 4,
        "steps_compared": 4,
        "differences": [],
        "not_compared": [],
    }
    assert snapshot(tmp_path) == before


def test_a_lie_is_found_at_its_first_step(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    other = run(tmp_path / "other", losses=(4.0, 3.0, 2.5, 1.5), weights=(1.0, 9.0))
    said = diff(one, other)
    assert parts(said) == [("loss", 2), ("state", 3), ("tensor", 4)]
    assert (said["parts_at"], said["alike_until"], said["same"]) == (2, 0, False)
    loss, state, tensor = said["differences"]
    assert (loss["count"], loss["what"]) == (2, "2 against 2.5")
    assert state["what"] == "the state after it (number 4) differs"
    assert tensor["what"] == "model/parameter/weight: float32, 2×3: 6 of 6 elements differ, the first at 0"


def _nested(levels: int) -> Any:
    found: Any = []
    for _ in range(levels):
        found = [found]
    return found


CHANGED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "config": (
        {"config": {"width": 16, "rate": 0.1, "deep": {"er": [1]}}},
        ["config.deep: only in the second", "config.rate: only in the second, 0.1"],
    ),
    "data": ({"data": contents()["data"] | {"root": "ee" * 32}}, ["data.root: 'dddd"]),
    "environment": (
        {"environment": {"threads": 2, "variables": {}}},
        ["environment.threads: 1 against 2"],
    ),
    "parent": ({"parent": {"run": "ff" * 32, "step": 4}}, ["parent: None against {'run': 'ffff"]),
    "program": (
        {"program": {"arguments": ["/program/train.py"], "directory": "/program", "deep": _nested(900)}},
        ["program.deep: only in the second"],
    ),
    "loop": ({"loop": {"steps": 8, "batch_size": 5, "stride": 4}}, ["loop.batch_size: 4 against 5"]),
}


@pytest.mark.parametrize("part", CHANGED)
def test_commitments_are_told_field_by_field(tmp_path: Path, part: str) -> None:
    opened, expected = CHANGED[part]
    said = diff(run(tmp_path / "one"), run(tmp_path / "other", **opened))
    assert {d["part"] for d in said["differences"]} == {part} and said["parts_at"] is None
    assert len(said["differences"]) == len(expected)
    assert all(d["what"].startswith(words) for d, words in zip(said["differences"], expected, strict=True))


def test_what_is_nested_beyond_reason_is_told_as_a_whole(tmp_path: Path) -> None:
    config = {"width": 16, "deep": _nested(400)}
    one = run(tmp_path / "one", config=config)
    (difference,) = diff(one, run(tmp_path / "other", config={**config, "deep": [_nested(400)]}))["differences"]
    assert difference["part"] == "config" and difference["what"].startswith("config.deep[0][0]")


def test_code_is_told_file_by_file(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one"), run(tmp_path / "other")
    for folder, text in ((one, "a\nb\n"), (other, "a\nc\n")):
        (folder / "code" / "train.py").write_text(text)
    (other / "code" / "more.py").write_text("")
    said = [d["what"] for d in diff(one, other)["differences"]]
    assert said == [
        "the first's code tree is not the one that it committed to",
        "the second's code tree is not the one that it committed to",
        "more.py is only in the second",
        "train.py differs from line 2",
    ]


def test_other_keys_are_opened_by_the_anchors_at_hand(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one"), run(tmp_path / "other", key=KEYS[1])
    for folder in (one, other):
        (folder / "anchors" / "state-0000-0000000.safetensors").unlink()
    (one / "anchors" / "state-0000-0000004-end.safetensors").unlink()
    said = diff(one, other)
    # The file that the second handed over has the digest that the first committed to, under the first's salt.
    assert (parts(said), said["alike_until"]) == ([("seed", None)], 4)
    assert [line.split(":")[0] for line in said["not_compared"]] == ["the state at step 0", "batches"][::-1]
    shutil.rmtree(other)
    said = diff(one, run(tmp_path / "other", key=KEYS[1], weights=(1.0, 7.0)))
    assert parts(said) == [("seed", None), ("state", 4)]
    assert "not the one that the other committed to" in said["differences"][1]["what"]


def test_without_openings_what_is_hidden_is_said_to_be(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one"), run(tmp_path / "other", key=KEYS[1])
    for folder in (one, other):
        (folder / "opening.json").unlink()
        shutil.rmtree(folder / "anchors")
    said = diff(one, other)
    assert parts(said) == [("seed", None)] and said["alike_until"] is None
    told = " ".join(said["not_compared"])
    assert "has no opening" in told and "batches: their digests are salted" in told and "states: their digests" in told


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


BROKEN: dict[str, Callable[[Path], object]] = {
    "a pipe": _fifo,
    "a link": _link,
    "a petabyte": _sparse,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "a header longer than the file": lambda path: path.write_bytes(b"\xff" * 16),
    "a header of no kind": lambda path: path.write_bytes((2).to_bytes(8, "little") + b"[]"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_anchor_is_named_and_the_rest_compared(tmp_path: Path, fault: str) -> None:
    one = run(tmp_path / "one")
    other = shutil.copytree(one, tmp_path / "other")
    BROKEN[fault](other / "anchors" / "state-0000-0000000.safetensors")
    said = diff(one, other)
    assert said["same"] and said["alike_until"] == 4
    (named,) = said["not_compared"]
    assert named.startswith("the state at step 0: ") and "state-0000-0000000.safetensors" in named


def test_an_anchor_that_its_journal_does_not_claim(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    other = shutil.copytree(one, tmp_path / "other")
    anchor(other, "state-0000-0000000.safetensors", 0, key=KEYS[0], weight=5.0)
    (difference,) = diff(one, other)["differences"]
    assert "second's anchor state-0000-0000000.safetensors is not the state that its own journal claims" in str(
        difference
    )


def test_lengths_and_ends_differ(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one"), run(tmp_path / "other")
    text = (other / "journal-0000.jsonl").read_bytes().splitlines(keepends=True)
    (other / "journal-0000.jsonl").write_bytes(b"".join(text[:3]))
    told = [(d["step"], d["what"]) for d in diff(one, other)["differences"]]
    assert told == [
        (2, "2 steps are told by the first only"),
        (None, "the first finished at step 4, the second has no end at step 2"),
    ]


def test_damaged_journals_are_refused(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one"), run(tmp_path / "other")
    text = (other / "journal-0000.jsonl").read_bytes().splitlines(keepends=True)
    (other / "journal-0000.jsonl").write_bytes(b"".join([text[0], text[2], text[1]]))
    with pytest.raises(EvidenceError, match="tells step 0 after step 1"):
        diff(one, other)
    with pytest.raises(EvidenceError, match="is not a transcript's folder"):
        diff(one, tmp_path / "none")
    with pytest.raises(InputError, match="has no segment 1, only 0 to 0"):
        diff(one, one, "--segment", 1)


@given(place=st.integers(0, 5_000), change=st.one_of(st.binary(min_size=1, max_size=4), st.none()))
@settings(max_examples=100, deadline=None)
def test_a_damaged_journal_is_refused_or_told_apart(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes | None
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    one = written(folder / "one", whole(*(float(n) for n in range(8))))
    other = shutil.copytree(one, folder / "other")
    honest = (other / "journal-0000.jsonl").read_bytes()
    place %= len(honest)
    damaged = honest[:place] if change is None else honest[:place] + change + honest[place + len(change) :]
    (other / "journal-0000.jsonl").write_bytes(damaged)
    try:
        found = compare(Telling.of(one), Telling.of(other))
    except EvidenceError:
        return
    told = [json.loads(line) for line in damaged.splitlines(keepends=True) if line.endswith(b"\n")]
    steps = [event for event in told if event["type"] == "step"]
    expected = [event for event in map(json.loads, honest.splitlines()) if event["type"] == "step"]
    compared = ("step", "batch", "seen", "loss", "updates", "state", "hyperparameters")
    if [[e.get(k) for k in compared] for e in steps] != [[e.get(k) for k in compared] for e in expected]:
        assert not found.same


def test_names_cannot_steer_or_break_the_output(tmp_path: Path) -> None:
    config = {"width": 16, "\x1b[2J\x9b": 1, "\ud800": 2, "\u202e": 3}
    one, other = run(tmp_path / "one"), run(tmp_path / "other", config=config)
    (other / "code" / os.fsdecode(b"\xff\x1b.py")).write_text("")
    result = CliRunner().invoke(build(), ["transcript", "diff", str(one), str(other), "--json"])
    assert result.exit_code == 1 and not {"\x1b", "\x9b", "\u202e"} & set(result.stdout)
    assert any("\ud800" in d["what"] for d in json.loads(result.stdout)["differences"])
    plain = CliRunner().invoke(build(), ["transcript", "diff", str(one), str(other)])
    assert plain.exit_code == 1 and not {"\x1b", "\x9b", "\u202e"} & set(plain.stdout)


@pytest.mark.real
def test_a_resumed_segment_tells_the_same_steps_again(world: World) -> None:
    project = world.project(dropout=0.2, schedule="lambda")
    killed = project.train(faults={"freezes": [[4, "fetching"]], "kill": "after-line", "at": 9})
    resumed = project.train(resume=killed.run)
    assert resumed.status == 0, resumed.errors
    segments = (resumed.run, resumed.run, "--segment", 0, "--other-segment", 1)
    said = diff(*segments)
    assert said["same"] and said["steps_compared"] == 3 and said["alike_until"] == 5
    with copied(resumed.run) as folder:

        def lie(events: list[dict[str, Any]]) -> None:
            events[2]["loss"] = [(0.5).hex()]

        rewrite(folder, lie, segment=1)
        assert parts(diff(folder, folder, *segments[2:])) == [("loss", 5)]
        # Along the whole line the second telling counts.
        assert parts(diff(resumed.run, folder)) == [("loss", 5)]


@pytest.mark.real
def test_two_runs_of_one_program(world: World) -> None:
    project = world.project(schedule="lambda", steps=4)
    first, again = project.train(), project.train()
    said = diff(first.run, again.run)
    assert ("seed", None) in parts(said) and not {"code", "config", "data"} & {part for part, _ in parts(said)}
    assert ("loss", 0) in parts(said) and ("tensor", 0) in parts(said)
    project.configure(rate=0.5)
    changed = project.train()
    told = {d["part"]: d["what"] for d in diff(first.run, changed.run)["differences"]}
    assert told["config"] == "config.rate: only in the second, 0.5"
    assert told["hyperparameters"].startswith("hyperparameters.optimizer[0].initial_lr: 0.01 against 0.5")


@pytest.mark.real
def test_anchors_read_as_bytes_have_the_digests_of_the_state(rich: Ended) -> None:
    from weighbridge.mechanisms.transcript.raw_anchor import RawAnchor

    transcript = rich.open()
    for freeze in transcript.freezes:
        raw = RawAnchor.read(rich.run / "anchors" / freeze.anchor)
        assert raw.digest(transcript.salt(freeze.step)) == freeze.state


def test_every_format_has_its_digest(tmp_path: Path) -> None:
    from weighbridge.mechanisms.transcript.raw_anchor import FORMATS, RawAnchor
    from weighbridge.mechanisms.transcript.state import TrainingState

    kinds = [getattr(torch, name.removeprefix("torch.")) for name, _ in FORMATS.values()]
    tensors = {f"t{n}": torch.arange(6).reshape(2, 3).to(kind) for n, kind in enumerate(kinds)}
    tensors |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 4), "half": torch.ones(5, dtype=torch.bfloat16)}
    plain = {"step": 3, "x": 0.1}
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata={"weighbridge.plain": canonical(plain).decode()})
    raw = RawAnchor.read(path)
    assert raw.digest(b"s" * 32) == TrainingState(tensors, plain).digest(b"s" * 32).hex()
