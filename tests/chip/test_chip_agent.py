"""The agent with real commands: what it finds, and what the command cannot do to it."""

import json
import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from chip.agent_world import FAMILY, PYTHON, ROOT, alive, failures, finish, gone, has_cgroup, judge, wait_for
from chip.chip_world import World
from chip.conftest import Starter
from weighbridge.mechanisms.chip.leaves import page_digest, read_leaf_table
from weighbridge.mechanisms.chip.store import leaf_path, sequences

pytestmark = pytest.mark.real


EXPECTED_OWNERS = {"p": {"parent"}, "c": {"child"}, "d": {"daemon"}}


def owners_in(directory: Path, sequence: int, pids: dict[int, str]) -> dict[str, set[str | None]]:
    """Whose memory holds each letter's pages."""
    table = read_leaf_table(leaf_path(directory, sequence))
    return {
        letter: {
            pids.get(table.process_table[int(process)].pid)
            for process, digest in zip(table.processes, table.digests, strict=True)
            if digest.tobytes() == page_digest(letter.encode() * 16384)
        }
        for letter in EXPECTED_OWNERS
    }


@pytest.mark.parametrize("tree", [False, True])
def test_the_whole_family_is_stopped_and_read(world: World, place: Path, tree: bool) -> None:
    if not tree and not has_cgroup():
        pytest.skip("no control group can be made here")
    chip = world.chip(rate_hz=6.0)
    program = (
        "from weighbridge.mechanisms.chip.run import run_command\n"
        f"r = run_command({str(chip.directory)!r}, [{PYTHON!r}, '-c', {FAMILY!r}, '2.0'], "
        f"working_directory={str(place)!r}, process_tree={tree})\n"
        "raise SystemExit(r.exit_status)"
    )
    subprocess.run([PYTHON, "-c", program], check=True, timeout=60)
    found = judge(world, chip.directory)
    assert not failures(found)
    samples = [r for r in found.records if r.reason == "sample"]
    assert samples and all(r.accounting == ("process-tree" if tree else "cgroup2") for r in found.records)
    assert all(r.uid_separated == ROOT for r in found.records)
    pids = {json.loads((place / name).read_text()): name for name in ("parent", "child", "daemon")}
    # The last stop may have come when the parent had just exited: one with all three is enough.
    assert any(owners_in(chip.directory, record.sequence, pids) == EXPECTED_OWNERS for record in samples)
    for pid in pids:
        wait_for(partial(gone, pid))  # what the command left behind is ended with it


def test_exit_statuses(world: World, start_agent: Starter) -> None:
    chip = world.chip()
    assert finish(start_agent(chip.directory, ["/bin/sh", "-c", "exit 7"]), 7)
    finish(start_agent(chip.directory, ["/bin/sh", "-c", "kill -9 $$"]), 137)
    said = finish(start_agent(chip.directory, ["no-such-command-at-all"]), 1)
    assert "no such command" in said
    before = len(sequences(chip.directory))
    finish(start_agent(chip.directory, [str(world.folder)]), 1)
    assert len(sequences(chip.directory)) == before  # refused before anything was begun
    script = world.folder / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert "cannot start" in finish(start_agent(chip.directory, [str(script)]), 1)
    found = judge(world, chip.directory)
    assert not failures(found) and found.summary is not None and found.summary.closed


def test_termination_ends_the_command_and_closes_the_records(world: World, place: Path, start_agent: Starter) -> None:
    chip = world.chip()
    code = "import os,signal,time; open('pid','w').write(str(os.getpid())); time.sleep(60)"
    agent = start_agent(chip.directory, [PYTHON, "-c", code], cwd=place)
    pid = int(wait_for(lambda: (place / "pid").exists() and (place / "pid").read_text()))
    agent.send_signal(signal.SIGTERM)
    finish(agent, 128 + signal.SIGTERM)
    assert not alive(pid)
    found = judge(world, chip.directory)
    assert not failures(found) and found.records[-1].reason == "shutdown"


def test_restarts_resume_the_schedule(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=3.0)
    for _ in range(3):
        finish(start_agent(chip.directory, ["/bin/sleep", "0.6"]))
    found = judge(world, chip.directory)
    assert not failures(found) and found.summary is not None
    assert [boot.boot for boot in found.summary.boots] == [1, 2, 3]
    # The next chain position is where the sum of all active time put it, not where each boot began.
    dues = [s.due_ns for boot in found.summary.boots for s in boot.samples]
    assert dues == sorted(dues) and len(dues) == found.summary.samples_due
    assert found.summary.active_ns >= 3 * 400_000_000


def test_chains_roll_over_while_running(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=12.0, length=3)
    finish(start_agent(chip.directory, ["/bin/sleep", "1.2"]))
    found = judge(world, chip.directory)
    assert not failures(found) and found.summary is not None and found.summary.samples_taken > 3
    assert any(r.next_commitment for r in found.records)


@pytest.mark.skipif(not ROOT, reason="user ids are separate only under root")
def test_the_command_cannot_reach_the_agent(world: World, place: Path, start_agent: Starter) -> None:
    chip = world.chip()
    code = f"""
import json, os, time
time.sleep(0.3)
agent = next(int(p) for p in os.listdir("/proc") if p.isdigit()
             and b"chip_commands" in open(f"/proc/{{p}}/cmdline", "rb").read() and int(p) != os.getpid())
out = {{"uid": os.getuid()}}
assert os.getpriority(os.PRIO_PROCESS, 0) == 0 > os.getpriority(os.PRIO_PROCESS, agent)
assert open("/proc/self/oom_score_adj").read() == "0\\n"
for path in ["{chip.directory}/seed", "{chip.directory}/chip.key", "{chip.directory}/state.json",
             "{chip.directory}/salts", f"/proc/{{agent}}/mem", f"/proc/{{agent}}/environ", f"/proc/{{agent}}/maps",
             f"/proc/{{agent}}/fd", f"/proc/{{os.getppid()}}/mem"]:
    try:
        (os.listdir if path.endswith(("salts", "fd")) else lambda p: open(p, "rb").read(1))(path)
        out[path] = "readable"
    except OSError as error:
        out[path] = error.strerror
for name, call in [("kill agent", lambda: os.kill(agent, 9)), ("kill warden", lambda: os.kill(os.getppid(), 9)),
                   ("become root", lambda: os.setuid(0))]:
    try:
        call()
        out[name] = "done"
    except OSError as error:
        out[name] = error.strerror
json.dump(out, open("out.json", "w"))
"""
    finish(start_agent(chip.directory, [PYTHON, "-c", code], cwd=place))
    out = json.loads((place / "out.json").read_text())
    assert out.pop("uid") != 0
    assert not [path for path, word in out.items() if word in ("readable", "done")], out


def test_the_notice_comes_with_the_stop(world: World, place: Path, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=8.0)
    code = """
import json, os, time
path, seen = os.environ["WEIGHBRIDGE_CHIP_NOTICE"], []
first = os.path.exists(path)
end = time.time() + 1.5
while time.time() < end:
    if os.path.exists(path):
        line = json.load(open(path))
        if line not in seen:
            seen.append(line)
json.dump([first, os.environ["WEIGHBRIDGE_CHIP"], seen], open("seen.json", "w"))
"""
    finish(start_agent(chip.directory, [PYTHON, "-c", code], cwd=place))
    first, name, seen = json.loads((place / "seen.json").read_text())
    found = judge(world, chip.directory)
    samples = {r.sequence for r in found.records if r.reason == "sample"}
    assert name == chip.chip and (not first or seen)
    assert seen and {line["sequence"] for line in seen} <= samples
    assert all(line["chip"] == chip.chip and line["boot"] == 1 for line in seen)


def test_cpu_time_of_children_nobody_waits_for(world: World, place: Path, start_agent: Starter) -> None:
    if not has_cgroup():
        pytest.skip("only a control group sees it")
    chip = world.chip()
    code = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ended, held = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        while time.process_time() < 0.3:
            pass
        os._exit(0)
os.close(held)
os.read(ended, 1)
"""
    agent = start_agent(chip.directory, [PYTHON, "-c", code], cwd=place)
    finish(agent)
    found = judge(world, chip.directory)
    assert not failures(found) and found.records[-1].cpu_ns > 0.85e9


def test_leaving_the_core_is_found(world: World, place: Path, start_agent: Starter) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one processor only")
    chip = world.chip(rate_hz=10.0)
    code = f"import os,time; time.sleep(.1); os.sched_setaffinity(0, {{{cores[1]}}}); time.sleep(1)"
    finish(start_agent(chip.directory, [PYTHON, "-c", code], "--core", str(cores[0]), cwd=place))
    found = judge(world, chip.directory)
    assert {check for check, _ in failures(found)} == {"chip.affinity"}
    stay = world.chip("stay", rate_hz=10.0)
    finish(start_agent(stay.directory, ["/bin/sleep", "0.5"], "--core", str(cores[1])))
    steady = judge(world, stay.directory)
    assert not failures(steady) and all(r.cores == 1 for r in steady.records)
