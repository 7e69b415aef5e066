"""What tests of the running agent share: waiting for it, ending it, judging what it left."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chip.chip_world import World
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.chip.cgroup import CgroupEnclosure
from weighbridge.mechanisms.chip.collect import collect
from weighbridge.mechanisms.chip.store import sequences
from weighbridge.mechanisms.chip.verify import Verification, verify

PYTHON = sys.executable
ROOT = os.geteuid() == 0


def has_cgroup() -> bool:
    made = CgroupEnclosure.create("weighbridge-test-probe")
    if made is not None:
        made.close()
    return made is not None


def finish(agent: "subprocess.Popen[str]", status: int | None = 0, timeout: float = 30) -> str:
    """Waits for an agent and returns what it said."""
    _, said = agent.communicate(timeout=timeout)
    if status is not None:
        assert agent.returncode == status, said
    return said


def judge(world: World, directory: Path, **options: Any) -> Verification:
    chip = json.loads((directory / "chip.json").read_text())["chip"]
    found = collect(directory, world.roots, chip=chip)
    assert not found.findings, [f.reason for f in found.findings]
    return verify(
        found.statements, chip=chip, receipts=found.receipts, leaves=found.leaves, salts=found.salts, **options
    )


def failures(found: Verification) -> list[tuple[str, str]]:
    return [(f.check, f.reason) for f in found.findings if f.outcome is Outcome.FAIL]


def wait_for(condition: Callable[[], Any], timeout: float = 45.0) -> Any:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def grown(directory: Path, count: int, agent: "subprocess.Popen[str]") -> bool:
    assert agent.poll() is None, finish(agent, None)
    return len(sequences(directory)) > count


def content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def gone(pid: int) -> bool:
    return not alive(pid)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


FAMILY = r"""
import json, mmap, os, signal, sys, time
def hold(letter):
    area = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area[:] = letter.encode() * (1 << 20)
    return area
def note(name):
    with open(name + ".tmp", "w") as file:
        json.dump(os.getpid(), file)
    os.rename(name + ".tmp", name)
if os.fork() == 0:
    area = hold("c")
    note("child")
    time.sleep(60)
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        area = hold("d")
        note("daemon")
        time.sleep(60)
    os._exit(0)
area = hold("p")
note("parent")
end = time.time() + float(sys.argv[1])
while time.time() < end:
    time.sleep(0.05)
"""
"""A command that forks: a parent, a child, and a daemon that outlives both; each holds a pattern and says where."""
