"""The agent with real commands: what it finds, what it withstands, what it leaves behind."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chip.chip_world import World
from chip.conftest import Starter
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.spool import Keeper
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.chip.cgroup import CgroupEnclosure
from weighbridge.mechanisms.chip.challenge import answer_challenge
from weighbridge.mechanisms.chip.collect import collect
from weighbridge.mechanisms.chip.leaves import page_digest, read_leaf_table
from weighbridge.mechanisms.chip.store import Store, leaf_path, record_path, sequences
from weighbridge.mechanisms.chip.verify import Verification, verify

pytestmark = pytest.mark.real

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


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a command may write, whoever it runs as."""
    folder = tmp_path / "work"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


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


def test_killing_the_agent_kills_everything_and_is_found(world: World, place: Path, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=2.0)
    agent = start_agent(chip.directory, [PYTHON, "-c", FAMILY, "60"], cwd=place)
    pids = [int(wait_for(partial(content, place / name))) for name in ("parent", "child", "daemon")]
    agent.kill()
    agent.wait()
    for pid in pids:
        wait_for(partial(gone, pid), timeout=3)
    finish(start_agent(chip.directory, ["/bin/true"]))
    found = judge(world, chip.directory)
    assert not failures(found)
    unclean = [f for f in found.findings if f.check == "chip.shutdown"]
    boot = next(r for r in found.records if r.boot == 2)
    assert [f.subject for f in unclean] == [boot.name] and unclean[0].outcome is Outcome.INCONCLUSIVE
    assert found.summary is not None and found.summary.unexplained_due == boot.lost
    # The longest reading: at least what was counted, and what may have passed after the last heartbeat.
    last = max(r.active_ns for r in found.records if r.boot == 1)
    assert boot.active_ns >= last + 200_000_000


def test_killed_at_any_moment_nothing_is_forgotten(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=25.0)
    rng = random.Random(4)
    for _ in range(7):
        agent = start_agent(chip.directory, ["/bin/sleep", "60"])
        present = len(sequences(chip.directory))
        wait_for(partial(grown, chip.directory, present, agent))
        time.sleep(rng.uniform(0.0, 0.25))
        agent.kill()
        agent.wait()
    finish(start_agent(chip.directory, ["/bin/sleep", "0.3"]))
    found = judge(world, chip.directory)
    assert not failures(found), failures(found)
    assert found.summary is not None and len(found.summary.boots) == 8
    lost = sum(r.lost for r in found.records)
    assert found.summary.unexplained_due == lost > 0


def test_two_agents_on_one_chip(world: World, start_agent: Starter) -> None:
    chip = world.chip()
    first = start_agent(chip.directory, ["/bin/sleep", "60"])
    wait_for(lambda: sequences(chip.directory))
    said = finish(start_agent(chip.directory, ["/bin/sleep", "60"]), 1)
    assert "another agent runs this chip" in said
    path = answer_challenge(chip.directory, "0123456789abcdef")
    first.terminate()
    finish(first, 128 + signal.SIGTERM)
    answer_challenge(chip.directory, "fedcba9876543210")
    found = judge(world, chip.directory)
    assert not failures(found)
    challenges = [r for r in found.records if r.reason == "challenge"]
    assert [c.nonce for c in challenges] == ["0123456789abcdef", "fedcba9876543210"]
    assert path == record_path(chip.directory, challenges[0].sequence)
    assert [c.accounting == "none" for c in challenges] == [False, True]


def test_a_full_disk_ends_the_command(world: World, place: Path, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    code = "import os,time; open('pid','w').write(str(os.getpid())); a = bytearray(os.urandom(1 << 26)); time.sleep(60)"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))  # leaf tables do not fit
    try:
        agent = start_agent(chip.directory, [PYTHON, "-c", code], cwd=place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = finish(agent, 1)
    assert "cannot be written" in said and "may not run unwatched" in said and str(chip.directory) in said
    assert not alive(int((place / "pid").read_text()))
    # The disk has room again: the chip goes on, and says that a boot ended uncleanly.
    finish(start_agent(chip.directory, ["/bin/true"]))
    found = judge(world, chip.directory)
    assert not failures(found)
    assert [f.outcome for f in found.findings if f.check == "chip.shutdown"] == [Outcome.INCONCLUSIVE]


def test_rolled_back_and_damaged_stores_are_refused(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    finish(start_agent(chip.directory, ["/bin/sleep", "0.5"]))
    count = len(sequences(chip.directory))
    last = record_path(chip.directory, count - 1)
    kept = last.read_bytes()
    last.unlink()
    said = finish(start_agent(chip.directory, ["/bin/true"]), 1)
    assert f"{chip.chip}#{count - 1}" in said and "restore" in said
    last.write_bytes(kept)
    middle = record_path(chip.directory, 1)
    middle.rename(middle.with_suffix(".away"))
    said = finish(start_agent(chip.directory, ["/bin/true"]), 1)
    assert f"{chip.chip}#1 is missing" in said
    middle.with_suffix(".away").rename(middle)
    spoiled = bytearray(kept)
    spoiled[-1] ^= 1
    last.write_bytes(spoiled)
    assert "not signed by this chip" in finish(start_agent(chip.directory, ["/bin/true"]), 1)
    last.write_bytes(kept)
    state = chip.directory / "state.json"
    held = state.read_bytes()
    state.write_bytes(b"{")
    assert "position in its schedule" in finish(start_agent(chip.directory, ["/bin/true"]), 1)
    state.write_bytes(held)
    assert len(sequences(chip.directory)) == count  # a refusal changes nothing
    finish(start_agent(chip.directory, ["/bin/true"]))
    assert not failures(judge(world, chip.directory))


def test_edits_of_the_directory_are_found_by_name(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    finish(start_agent(chip.directory, ["/bin/sleep", "0.8"]))
    present = sequences(chip.directory)
    samples = [n for n in present if leaf_path(chip.directory, n).is_file()]
    assert len(samples) >= 2
    raw = bytearray(record_path(chip.directory, samples[0]).read_bytes())
    raw[-10] ^= 1
    record_path(chip.directory, samples[0]).write_bytes(raw)
    leaf = bytearray(leaf_path(chip.directory, samples[1]).read_bytes())
    leaf[-1] ^= 1
    leaf_path(chip.directory, samples[1]).write_bytes(leaf)
    found = collect(chip.directory, world.roots, chip=chip.chip)
    judged = verify(found.statements, chip=chip.chip, leaves=found.leaves, salts=found.salts)
    named = {(f.check, f.subject) for f in [*found.findings, *judged.findings] if f.outcome is Outcome.FAIL}
    assert ("chip.record", f"{chip.chip}#{samples[0]}") in named
    assert ("chip.sequence", f"{chip.chip}#{samples[0]}") in named
    assert ("chip.leaves", f"{chip.chip}#{samples[1]}") in named
    record_path(chip.directory, present[-1]).unlink()
    receiptless = collect(chip.directory, world.roots, chip=chip.chip)
    ends = verify(receiptless.statements, chip=chip.chip).findings
    assert any(f.check == "chip.end" and f.outcome is Outcome.INCONCLUSIVE for f in ends)


def test_records_reach_the_log_and_receipts_come_back(world: World, start_agent: Starter) -> None:
    signer = FileSigner.load(world.folder / "log.key")
    log = Log.create(world.folder / "log.db", signer, origin="test.example/log")
    keeper = Keeper(log, world.folder / "spool", roots=world.roots)
    chip = world.chip(rate_hz=10.0)
    bracket = world.folder / "bracket"
    bracket.write_text("value")
    first = ["/bin/sleep", "0.4"]
    finish(start_agent(chip.directory, first))  # without a spool: these follow later
    stop = threading.Event()
    thread = threading.Thread(target=keeper.run, args=(stop,))
    thread.start()
    try:
        options = ["--spool", str(world.folder / "spool"), "--bracket", str(bracket)]
        finish(start_agent(chip.directory, ["/bin/sleep", "0.8"], *options))
    finally:
        stop.set()
        thread.join()
        keeper.close()
    assert log.size == len(sequences(chip.directory))
    found = judge(world, chip.directory)
    receipts = [f for f in found.findings if f.check == "chip.brackets"]
    assert not failures(found) and len(receipts) == 1 and receipts[0].outcome is Outcome.PASS
    assert all(bool(r.not_before) == (r.boot == 2) for r in found.records)
    log.close()
    TrustRoots(roots=world.roots.roots, log_key=world.roots.log_key).save(world.folder / "roots")
    arguments = ["--roots", str(world.folder / "roots"), "--log", str(world.folder / "log.db"), "--json"]
    holds = weighbridge_chip("verify", str(chip.directory), *arguments)
    assert holds.returncode == 0 and json.loads(holds.stdout)["holds"] is True
    # The operator deletes the tail and the state that would show it; the log remembers.
    count = len(sequences(chip.directory))
    record_path(chip.directory, count - 1).unlink()
    (chip.directory / "receipts" / f"{count - 1}.receipt").unlink()
    cut = weighbridge_chip("verify", str(chip.directory), *arguments)
    named = {(f["check"], f["subject"]) for f in json.loads(cut.stdout)["findings"] if f["outcome"] == "fail"}
    assert cut.returncode == 1 and named == {("chip.end", f"{chip.chip}#{count - 1}")}
    shown = json.loads(weighbridge_chip("show", str(chip.directory), "--json").stdout)
    assert shown["records"] == count - 1 and shown["newest"][-1]["sequence"] == count - 2


def weighbridge_chip(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = "from weighbridge.app.chip_commands import app; app()"
    return subprocess.run([PYTHON, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_spool_that_is_gone_stops_nothing(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    said = finish(start_agent(chip.directory, ["/bin/sleep", "0.3"], "--spool", str(world.folder / "nowhere")))
    assert "the spool takes no records" in said
    assert not failures(judge(world, chip.directory))


def test_bad_input_is_refused_and_changes_nothing(world: World) -> None:
    from weighbridge.mechanisms.chip.run import run_command

    chip = world.chip()
    before = sorted(p.name for p in chip.directory.rglob("*"))
    cases: tuple[tuple[list[str], dict[str, Any]], ...] = (
        ([], {}),
        (["/bin/true"], {"leaf_size": 5000}),
        (["/bin/true"], {"core": 4096}),
        (["/bin/true"], {"user": "no-such-user-here"}),
        (["no-such-program"], {}),
    )
    for command, options in cases:
        with pytest.raises(InputError):
            run_command(chip.directory, command, **options)
    with pytest.raises(InputError, match="holds no chip"):
        run_command(world.folder / "nowhere", ["/bin/true"])
    with pytest.raises(InputError, match="is not empty"):
        world.chip()
    with pytest.raises(InputError, match="nonce"):
        answer_challenge(chip.directory, "1234")
    assert sorted(p.name for p in chip.directory.rglob("*")) == before
    (chip.directory / "seed").chmod(0o644)
    with pytest.raises(InputError, match="read by others"):
        Store.open(chip.directory)
    (chip.directory / "seed").chmod(0o600)
    (chip.directory / "seed").write_bytes(b"x" * 5)
    with pytest.raises(EvidenceError), contextlib.closing(Store.open(chip.directory)):
        pass
