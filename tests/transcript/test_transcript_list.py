"""Listing a folder of transcripts, some of them somebody's attack on whoever lists."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from weighbridge.app.main import build
from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.listing import Entry, list_runs

from .world import Ended, copied
from .written import RUN, beginning, end, freeze, lines, snapshot, step, whole, written


def command(*arguments: object) -> Result:
    result = CliRunner().invoke(build(), ["transcript", "list", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def listed(*arguments: object) -> dict[str, Any]:
    printed: dict[str, Any] = json.loads(command(*arguments, "--json").stdout)
    return printed


def only(folder: Path) -> Entry:
    (entry,) = list_runs(folder, None)
    return entry


def test_runs_are_told_by_their_journals(tmp_path: Path) -> None:
    resumed = [beginning(segment=1, step=2, time=1_800_000_000), *(step(n, 1.0) for n in range(2, 5)), freeze(5, 3, 4)]
    written(tmp_path / "a", whole(*range(8)))
    written(tmp_path / "b", [beginning(), *(step(n, 1.0) for n in range(4))], resumed)
    written(tmp_path / "c", [beginning(), step(0, 1.0), end(1, finished=False)])
    (tmp_path / "c" / "journal-0000.jsonl").open("ab").write(b'{"type":"st')
    before = snapshot(tmp_path)
    printed = listed(tmp_path)
    runs = {run["folder"]: run for run in printed["runs"]}
    told = {n: [r[k] for k in ("steps", "trained", "segments", "ended", "torn", "freezes")] for n, r in runs.items()}
    assert told == {
        "a": [8, 8, 1, "finished", False, 0],
        "b": [5, 7, 2, "unfinished", False, 1],
        "c": [1, 1, 1, "stopped early", True, 0],
    }
    assert {run["begun_utc"] for run in runs.values()} == {"2023-11-14 22:13Z"}
    assert all(
        (r["run"], r["planned"], r["binding"], r["signed"]) == (RUN, 8, "unsigned", False) for r in runs.values()
    )
    assert printed["others"] == []
    table = command(tmp_path).stdout
    assert "5/8 steps  unfinished, 2 segments, 2 steps again" in table and "stopped early, torn" in table
    assert "unsigned: nobody outside saw it" in table
    assert snapshot(tmp_path) == before


def _fifo(run: Path) -> None:
    (run / "journal-0000.jsonl").unlink()
    os.mkfifo(run / "journal-0000.jsonl")


def _linked(run: Path) -> None:
    (run / "journal-0000.jsonl").rename(run.parent.parent / "elsewhere.jsonl")
    (run / "journal-0000.jsonl").symlink_to(run.parent.parent / "elsewhere.jsonl")


def _endless(run: Path) -> None:
    (run / "journal-0000.jsonl").write_bytes(lines([beginning()]) + b" " * (17 << 20))


def _reordered(run: Path) -> None:
    path = run / "journal-0000.jsonl"
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))


DAMAGED = {
    "a pipe for a journal": (_fifo, "cannot be read"),
    "a link for a journal": (_linked, "cannot be read"),
    "a line without end": (_endless, "line longer than 16 MiB"),
    "reordered lines": (_reordered, "does not begin as a segment"),
    "no journal": (lambda run: (run / "journal-0000.jsonl").unlink(), "has no journal"),
    "an empty journal": (lambda run: (run / "journal-0000.jsonl").write_bytes(b""), "has no whole line"),
    "a segment missing": (
        lambda run: (run / "journal-0000.jsonl").rename(run / "journal-0001.jsonl"),
        "one of its segments is missing",
    ),
    "no JSON": (lambda run: (run / "journal-0000.jsonl").write_bytes(b"\x1b[2J\n"), "is not JSON"),
    "deep JSON": (lambda run: (run / "journal-0000.jsonl").write_bytes(b"[" * 100_000 + b"\n"), "is not JSON"),
    "opening of no kind": (lambda run: (run / "opening.json").write_text("[]"), "is not a readable opening"),
    "an answer to nothing": (lambda run: (run / "nonce.cose").write_bytes(b""), "but no commitment"),
    "another run's commitment": (lambda run: (run / "commitment.cose").write_bytes(b"x"), "names another run"),
    "a folder for a commitment": (lambda run: (run / "commitment.cose").mkdir(), "cannot be read"),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_run_is_named_and_the_rest_is_listed(tmp_path: Path, fault: str) -> None:
    damage, words = DAMAGED[fault]
    for name in ("a", "b", "c"):
        written(tmp_path / "runs" / name, whole(1.0, 2.0))
    damage(tmp_path / "runs" / "b")
    printed = listed(tmp_path / "runs")
    assert [run["folder"] for run in printed["runs"]] == ["a", "c"]
    (other,) = printed["others"]
    kind = "empty" if fault == "no journal" else "damaged"
    assert (other["folder"], other["kind"]) == ("b", kind)
    assert words in other["fault"] and str(tmp_path) not in other["fault"]
    assert command(tmp_path / "runs").exit_code == 0


def test_what_is_no_transcript_is_foreign_and_never_opened(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "empty").mkdir(parents=True)
    (runs / "note.txt").write_text("")
    os.mkfifo(runs / "pipe")
    real = written(tmp_path / "real", whole(1.0))
    (runs / "link").symlink_to(real)
    (runs / "loop").symlink_to(runs)
    found = {entry.name: entry for entry in list_runs(runs, None)}
    assert {name: entry.kind for name, entry in found.items()} == dict.fromkeys(
        ("empty", "note.txt", "pipe", "link", "loop"), "foreign"
    )
    assert "not followed" in found["link"].fault


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    written(tmp_path / "runs" / "\x1b]0;owned\x07\x9b2Jrun", whole(1.0))
    (tmp_path / "runs" / os.fsdecode(b"\xff\xfe")).mkdir()
    plain = command(tmp_path / "runs").stdout
    assert "\x1b" not in plain and "\x9b" not in plain and "\x07" not in plain
    printed = listed(tmp_path / "runs")
    assert printed["others"][0]["folder"] == "\\xff\\xfe"
    assert "\x1b" not in command(tmp_path / "runs", "--json").stdout


def test_sparse_files_take_no_room_and_links_are_not_followed(tmp_path: Path) -> None:
    run = written(tmp_path / "runs" / "a", whole(1.0))
    small = only(tmp_path / "runs").size_bytes
    with (run / "anchors" / "sparse.safetensors").open("wb") as file:
        file.truncate(1 << 40)
    (run / "anchors" / "all").symlink_to("/")
    assert only(tmp_path / "runs").size_bytes < small + (1 << 20)


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    one = written(tmp_path / "runs" / "a", whole(1.0, 2.0))
    program = """
import sys
from typer.testing import CliRunner
from weighbridge.app.main import build
run = sys.argv[1]
for words in (["list", run + "/.."], ["query", run], ["diff", run, run]):
    assert CliRunner().invoke(build(), ["transcript", *words]).exit_code == 0, words
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program, str(one)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be listed"):
        command(tmp_path / "none")


@pytest.mark.real
def test_a_bound_run_is_verified_if_roots_are_named(rich: Ended) -> None:
    roots = rich.project.world.roots_folder
    with copied(rich.run) as folder:
        (run,) = listed(folder.parent)["runs"]
        assert (run["binding"], run["signed"], run["verified"], run["opened"]) == ("bound", True, False, True)
        assert (run["run"], run["freezes"], run["ended"]) == (rich.open().run, 4, "finished")
        (run,) = listed(folder.parent, "--roots", roots)["runs"]
        assert run["verified"]
        assert "bound (verified)" in command(folder.parent, "--roots", roots).stdout
        another = rich.project.world.project(steps=2).train(spool=True)
        shutil.copy(another.run / "nonce.cose", folder / "nonce.cose")
        shutil.copy(another.run / "nonce.receipt", folder / "nonce.receipt")
        (other,) = listed(folder.parent, "--roots", roots)["others"]
        assert other["fault"] == "nonce.cose: answers another run's commitment"
        shutil.copy(folder / "progress" / "000000.cose", folder / "nonce.cose")
        assert listed(folder.parent)["runs"][0]["binding"] == "bound"  # nobody looked
        (other,) = listed(folder.parent, "--roots", roots)["others"]
        assert other["kind"] == "damaged"
        (folder / "nonce.receipt").unlink()
        (folder / "nonce.cose").unlink()
        (run,) = listed(folder.parent, "--roots", roots)["runs"]
        assert (run["binding"], run["verified"]) == ("unanswered", True)


@given(place=st.integers(0, 5_000), change=st.one_of(st.binary(min_size=1, max_size=4), st.none()))
@settings(max_examples=150, deadline=None)
def test_whatever_a_journal_holds_the_listing_goes_on(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes | None
) -> None:
    runs = tmp_path_factory.mktemp("damaged")
    for name in ("a", "b", "c"):
        written(runs / name, whole(*(float(n) for n in range(8))))
    journal = runs / "b" / "journal-0000.jsonl"
    honest = journal.read_bytes()
    place %= len(honest)
    journal.write_bytes(honest[:place] if change is None else honest[:place] + change + honest[place + len(change) :])
    found = {entry.name: entry for entry in list_runs(runs, None)}
    assert set(found) == {"a", "b", "c"} and found["a"].kind == found["c"].kind == "run"
    if found["b"].kind == "run":
        told = [json.loads(line) for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        assert found["b"].trained == sum(event["type"] == "step" for event in told)
        assert found["b"].ended == ("finished" if told[-1]["type"] == "end" else "unfinished")
    else:
        assert found["b"].fault
