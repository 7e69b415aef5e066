"""The sealed room over real runs: two runs that differ in a secret look alike, and canaries are found nowhere."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .secrets_of import Canaries, Left, run_and_look
from .world import Ended, World, copied

pytestmark = pytest.mark.real


def sealed(ended: Ended, folder: Path, *more: object, run: Path | None = None) -> Left:
    roots = ended.project.world.roots_folder
    words = ("transcript", "verify", run or ended.run, "--sealed", "--roots", roots, *more)
    return run_and_look(folder, *words)


def says(left: Left) -> dict[str, Any]:
    assert len(left.output) == 1024, left.errors
    record = json.loads(left.output)
    return {**dict(record["checks"]), "verdict": record["verdict"]}


def test_no_canary_is_found_and_runs_that_differ_in_every_secret_look_alike(world: World, tmp_path: Path) -> None:
    """Data row, code line, hyperparameter, argument and weight are all others, and so are the steps of the draw."""
    canaries = [Canaries(), Canaries()]
    left = []
    for number, planted in enumerate(canaries):
        ended = planted.train(world)
        left.append(sealed(ended, tmp_path / str(number)))
        assert left[-1].holding(planted.forms()) == []
        assert any(b"unseen_program.py" in line for line in left[-1].lines)  # the watch did see replays at work
    assert says(left[0])["verdict"] == "pass" and left[0].status == 0
    assert left[0].output == left[1].output and left[0].errors == left[1].errors
    assert left[0].sizes == left[1].sizes == {}


def test_failing_runs_look_alike_and_what_their_replays_tell_as_they_end_is_found_nowhere(
    world: World, tmp_path: Path
) -> None:
    """One quotes its secrets in an error, one crashes with them in its memory."""
    left = []
    for ending in ("error", "crash"):
        planted = Canaries()
        ended = planted.train(world, ending=ending)
        left.append(sealed(ended, tmp_path / ending))
        assert left[-1].holding(planted.forms()) == []
        if ending == "error":  # the same search over what an open verification says finds them: it can fail
            roots = ended.project.world.roots_folder
            opened = run_and_look(tmp_path / "open", "transcript", "verify", ended.run, "--roots", roots, "--json")
            assert opened.holding(planted.forms()) == ["output"]
    assert says(left[0])["replay"] == "fail" and left[0].status == 1
    assert left[0].output == left[1].output and left[0].errors == left[1].errors
    assert left[0].sizes == left[1].sizes == {}


def test_what_the_log_holds_of_a_run_hides_its_secrets(world: World, tmp_path: Path) -> None:
    """Nor does it hold an unsalted digest by which a guess could be tried."""
    planted = Canaries()
    ended = planted.train(world)
    transcript = ended.open()
    contents = transcript.contents
    guesses = planted.forms()
    for digest in (contents["data"]["root"], contents["code"]["digest"]):
        guesses |= {digest.encode(), bytes.fromhex(digest)}
    world.log.export(tmp_path / "log")
    statements = [*(tmp_path / "log").rglob("*"), *ended.run.glob("*.cose"), *(ended.run / "progress").iterdir()]
    logged = {str(path): path.read_bytes() for path in statements if path.is_file()}
    assert Left(0, b"", b"", logged, frozenset()).holding(guesses) == []
    opening = (ended.run / "opening.json").read_bytes()
    assert Left(0, opening, b"", {}, frozenset()).holding(guesses) == ["output"]
    first = transcript.events[0].data
    assert first["salt"] not in json.dumps([s.payload for s in transcript.progress])  # heads of the journal are salted


def test_transcripts_that_do_not_open_look_alike(world: World, tmp_path: Path) -> None:
    """A changed hyperparameter, a torn file, another program: all are refused in the same bytes."""
    ended = Canaries().train(world)
    outputs = set()
    edits: dict[str, Callable[[bytes], bytes]] = {
        "opening.json": lambda raw: raw.replace(b'"rate": 0.01', b'"rate": 0.02'),
        "journal-0000.jsonl": lambda raw: raw.replace(b'"type"', b'"typo"', 1),
        "code/telltale.py": lambda raw: raw + b"# one line more\n",
    }
    for number, (name, edit) in enumerate(edits.items()):
        with copied(ended.run) as run:
            raw = (run / name).read_bytes()
            (run / name).write_bytes(edit(raw))
            assert (run / name).read_bytes() != raw
            left = sealed(ended, tmp_path / str(number), run=run)
        assert says(left)["open"] == "fail"
        outputs.add((left.status, left.output, left.errors, str(left.sizes)))
    assert len(outputs) == 1


def test_the_answer_comes_when_it_was_declared_to_come(world: World, tmp_path: Path) -> None:
    """Too early, it waits; too late, it is the answer that says nothing, and nothing of the room runs on."""
    ended = Canaries().train(world)
    began = time.monotonic()
    left = sealed(ended, tmp_path / "late", "--pad-seconds", 2)
    assert time.monotonic() - began > 2
    assert left.status == 3 and set(says(left).values()) == {"not made", "inconclusive"}
    assert not any(b"sealed.inside" in (entry / "cmdline").read_bytes() for entry in own_processes())


def own_processes() -> list[Path]:
    """Processes that this one started, and theirs."""
    found, waiting = [], [os.getpid()]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
            children = [int(child) for child in (task / "children").read_text().split()]
            found += [Path("/proc") / str(child) for child in children]
            waiting += children
    return found
