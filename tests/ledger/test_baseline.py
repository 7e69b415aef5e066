"""The yardstick for unexplained bytes, measured on real processes under a watch."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from weighbridge.ledger import baseline
from weighbridge.ledger.baseline import MemoryWatch

pytestmark = pytest.mark.real

MIB = 1 << 20
LEAF = 16_384
PROGRAM = """
import os, sys, time
filled = bytearray(os.urandom(1 << 20)) * {filled}
zeros = bytearray({zeros} << 20)
zeros[:] = bytes(len(zeros))
print("ready", flush=True)
for line in sys.stdin:
    {react}
    print("still here", flush=True)
"""
OUTER = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(baseline, "_EVERY_SECONDS", 0.0)


@contextlib.contextmanager
def nested(*, filled: int = 1, zeros: int = 1, react: str = "pass") -> Iterator[subprocess.Popen[str]]:
    """A process whose child holds so many MiB of noise and of zeros, as a sandbox holds the replayed program."""
    text = PROGRAM.format(filled=filled, zeros=zeros, react=react)
    process = subprocess.Popen(
        [sys.executable, "-c", OUTER, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=20)
        process.stdout.close()


def answers(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


def measured(process: subprocess.Popen[str]) -> int:
    watch = MemoryWatch(leaf_size=LEAF)
    watch.observe(process.pid)
    return watch.nonzero_bytes()


def test_what_the_innermost_process_holds_is_counted_and_zeros_are_not() -> None:
    with nested(filled=1, zeros=1) as small, nested(filled=33, zeros=1) as large, nested(filled=1, zeros=65) as empty:
        base = measured(small)
        assert base > MIB
        assert measured(large) - base == pytest.approx(32 * MIB, abs=2 * MIB)
        assert measured(empty) - base == pytest.approx(0, abs=2 * MIB)


FAMILY = """
import os, subprocess, sys
mine = bytearray(os.urandom(1 << 20)) * 8
inner = "import os, sys; held = bytearray(os.urandom(1 << 20)) * 40; print('ready', flush=True); sys.stdin.read()"
subprocess.run([sys.executable, "-c", inner])
"""


def test_a_program_with_workers_is_measured_with_all_of_them() -> None:
    """As a chip's agent counts it: the worker's 40 MiB and its parent's 8, not the newest process alone."""
    process = subprocess.Popen(
        [sys.executable, "-c", OUTER, FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        assert measured(process) > 48 * MIB
    finally:
        process.stdin.close()
        process.wait(timeout=20)
        process.stdout.close()


def test_the_program_goes_on_after_it_was_read() -> None:
    with nested() as process:
        measured(process)
        assert answers(process) == "still here\n"


def test_the_largest_moment_is_kept() -> None:
    with nested(filled=33, react="filled = None") as process:
        watch = MemoryWatch(leaf_size=LEAF)
        watch.observe(process.pid)
        before = watch.nonzero_bytes()
        assert answers(process) == "still here\n"
        watch.observe(process.pid)
        assert watch.nonzero_bytes() == before
        assert measured(process) < before - 20 * MIB


def test_a_program_that_grows_is_measured_again() -> None:
    with nested(react="filled = filled * 33") as process:
        watch = MemoryWatch(leaf_size=LEAF)
        watch.observe(process.pid)
        before = watch.nonzero_bytes()
        answers(process)
        watch.observe(process.pid)
        assert watch.nonzero_bytes() > before + 20 * MIB


def test_a_replay_too_short_to_be_read_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said, rather than something small: an unmeasured baseline leaves every record unexplained."""
    monkeypatch.setattr(baseline, "_FIRST_SECONDS", 60.0)
    with nested() as process:
        assert measured(process) == 0


def test_a_sandbox_that_has_started_nothing_yet_is_not_taken_for_the_program() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alone:
        assert measured_pid(alone.pid) == 0
        alone.communicate(b"\n")


def test_a_process_that_is_gone_measures_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert measured_pid(gone.pid) == 0


def measured_pid(pid: int) -> int:
    watch = MemoryWatch(leaf_size=LEAF)
    watch.observe(pid)
    return watch.nonzero_bytes()


def test_it_looks_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look stops the replay: a long one must not be stopped for ever."""
    monkeypatch.setattr(baseline, "_MOST", 2)
    with nested(react="filled = filled * 33") as process:
        watch = MemoryWatch(leaf_size=LEAF)
        watch.observe(process.pid)
        watch.observe(process.pid)
        before = watch.nonzero_bytes()
        answers(process)
        watch.observe(process.pid)
        assert watch.nonzero_bytes() == before
