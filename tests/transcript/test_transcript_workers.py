"""Replay on workers: the same findings as on one process, whatever happens to a worker, and nothing left behind."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from weighbridge.errors import InputError, MissingToolError
from weighbridge.mechanisms.transcript.verification import Request, Verification, verify_run
from weighbridge.mechanisms.transcript.workers import Workers

from .test_transcript_glue import JOINTS
from .world import RICH, Ended, World, without_sandbox

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, short enough for Ray's sockets; every test leaves it empty."""
    folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    left = sorted(path.name for path in folder.iterdir())
    shutil.rmtree(folder)
    assert left == []
    assert not processes(str(folder))


def processes(word: str) -> dict[int, str]:
    """Returns the processes whose command line holds a word."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if word in line:
                found[int(entry.name)] = line
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def words(verification: Verification) -> list[Any]:
    """Returns the findings but for times."""
    return [
        (f.check, f.outcome, None if f.check.endswith("time") else (f.reason, f.figure)) for f in verification.findings
    ]


@pytest.fixture(scope="module")
def twofold(world: World) -> Ended:
    """A run of two stretches, by a program with something of everything."""
    ended = world.project(**RICH).train(spool=True, faults={"freezes": [[9, "inside"]]})
    assert ended.status == 0, ended.errors
    return ended


class Killer(threading.Thread):
    """Kills the first worker that is seen with a sandbox below it, once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.killed, self.stop = 0, False

    def run(self) -> None:
        while not self.killed and not self.stop:
            for pid in processes("bwrap"):
                try:
                    worker = parent_of(pid)
                    name = Path(f"/proc/{worker}/cmdline").read_bytes()
                except OSError:
                    continue
                if name.startswith(b"ray::"):
                    time.sleep(0.3)  # well into the replay
                    os.kill(worker, signal.SIGKILL)
                    self.killed = worker
                    return
            time.sleep(0.02)


def test_a_worker_killed_in_a_replay_loses_nothing(twofold: Ended, short: Path) -> None:
    roots = twofold.project.world.roots
    with without_sandbox(twofold.project.world):
        one = verify_run(twofold.run, Request(seed=b"s", roots=roots))
    killer = Killer()
    killer.start()
    told: list[str] = []
    with without_sandbox(twofold.project.world):  # this process's own; workers have sandboxes all the same
        many = verify_run(twofold.run, Request(seed=b"s", roots=roots, workers=Workers(count=2)), tell=told.append)
    killer.stop = True
    assert killer.killed, "no worker was seen at work"
    assert words(many) == words(one)
    assert many.drawn == one.drawn == ((0, 10), (10, 20))
    assert sum("replayed (" in sentence for sentence in told) == 2 and "(2 of 2 stretches)" in told[-1]
    assert many.account is not None and many.account.entries["replay"] > 1  # counted where it was spent


def test_a_forged_joint_is_found_in_the_same_words(world: World, short: Path) -> None:
    project = world.project(dropout=0.2)
    joint = JOINTS["stolen weights"].train(project)
    ended = project.train(*joint, spool=True, faults={"freezes": [[5, "after"], [8, "after"]]})
    with without_sandbox(world):  # workers have sandboxes all the same
        one = verify_run(ended.run, Request(seed=b"s", roots=world.roots))
        many = verify_run(ended.run, Request(seed=b"s", roots=world.roots, workers=Workers(count=2)))
    assert words(many) == words(one)
    assert any("the state at step 6 differs" in f.reason for f in many.findings)


def test_an_interrupt_leaves_nothing_behind(twofold: Ended, short: Path) -> None:
    roots = twofold.project.world.roots_folder
    command = [sys.executable, "-m", "weighbridge", "transcript", "verify", str(twofold.run), "--roots", str(roots)]
    deadline = time.monotonic() + 250
    # On a fast machine a verification may be over when the interrupt comes: then once more.
    while (status := _interrupted([*command, "--workers", "local:1"], deadline)) == 0 and time.monotonic() < deadline:
        pass
    assert status != 0
    while processes(str(short)) and time.monotonic() < deadline:
        time.sleep(0.1)


def _interrupted(command: list[str], deadline: float) -> int:
    """Interrupts a verification while a worker's sandbox is at work, and returns its exit status."""
    verifier = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while time.monotonic() < deadline and verifier.poll() is None:
        at_work = processes("bwrap")
        if any(b"ray::" in Path(f"/proc/{parent_of(pid)}/cmdline").read_bytes() for pid in at_work):
            break
        time.sleep(0.01)
    verifier.send_signal(signal.SIGINT)
    return verifier.wait(timeout=150)


def test_words_for_workers() -> None:
    assert Workers.parse("local:2") == Workers(count=2)
    assert Workers.parse("ray://head:10001") == Workers(address="ray://head:10001")
    assert Workers.parse("ray:auto") == Workers(address="auto")
    assert Workers.parse("ray:10.0.0.1:6379") == Workers(address="10.0.0.1:6379")
    for text in ("", "local", "local:0", "local:-1", "ray://", "ray://auto", "ray://host", "dask://x:1", "local:2 "):
        with pytest.raises(InputError, match="--workers"):
            Workers.parse(text)


def test_without_ray_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match=r"pip install 'weighbridge\[scale\]'"):
        list(Workers(count=2).map(abs, [1]))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "ray://127.0.0.1:70000"])
def test_no_cluster_at_the_address_is_said(address: str) -> None:
    with pytest.raises(InputError, match=f"--workers {address}: no cluster answers"):
        list(Workers(address=address).map(abs, [1]))
