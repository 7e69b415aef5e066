"""The sandbox against programs that try to get out, look around, stay behind or use it up: each really tries."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from weighbridge.cage import _parents, caged
from weighbridge.errors import InputError, MissingToolError
from weighbridge.sandbox import Bind, IsolatedResult, Sandbox, interpreter_binds, is_place, run_isolated

INSIDE = Path("/work")


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder


def isolated(
    program: str, out: Path, *, observer: Callable[[int], None] | None = None, **options: Any
) -> IsolatedResult:
    sandbox = Sandbox(
        binds=(*interpreter_binds(), Bind(out, INSIDE / "out", writable=True)),
        environment={"PATH": "/usr/bin:/bin"},
        working_directory=INSIDE / "out",
        **{"seconds": 20.0, **options},
    )
    return run_isolated([sys.executable, "-I", "-c", program], sandbox, observer=observer)


def test_what_it_says_and_how_it_ends_comes_back(out: Path) -> None:
    result = isolated("print('hello'); raise SystemExit(7)", out)
    assert (result.returncode, result.output.strip(), result.timed_out) == (7, "hello", False)
    assert result.ending == "ended with status 7"
    assert isolated("import os; os.kill(os.getpid(), 9); os.abort()", out).returncode != 0


def test_there_is_no_network(out: Path) -> None:
    program = """
import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError as error:
    print("refused" if error.errno in (101, 111, 99) else error.errno)
print(sorted(name for _, name in socket.if_nameindex()))
"""
    assert isolated(program, out).output.split("\n")[:2] == ["refused", "['lo']"]


def test_no_file_but_what_is_shown(out: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    places = [str(secret), "/etc/passwd", "/home", "/var", __file__]
    program = f"import os; print([place for place in {places!r} if os.path.exists(place)])"
    assert isolated(program, out).output.strip() == "[]"


def test_what_is_shown_cannot_be_written_but_for_its_own_folder(out: Path) -> None:
    program = f"""
for path in ({str(Path(sys.prefix) / "planted")!r}, "/usr/planted", "/planted/x"):
    try:
        open(path, "w")
        print("written", path)
    except OSError:
        pass
open("mine", "w").write("mine")
"""
    result = isolated(program, out)
    assert result.output == "" and (out / "mine").read_text() == "mine"
    assert not (Path(sys.prefix) / "planted").exists()


def test_no_variable_of_the_host_is_seen(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    assert isolated("import os; print(sorted(os.environ))", out).output.strip() == "['LC_CTYPE', 'PATH', 'PWD']"


def test_no_process_of_the_host_is_seen_and_no_capability_held(out: Path) -> None:
    program = """
import os
print([name for name in os.listdir("/proc") if name.isdigit()], os.getpid())
print(open("/proc/self/status").read().split("CapEff:")[1].split()[0])
try:
    os.setuid(0)
    print("root")
except OSError:
    print("no")
"""
    assert isolated(program, out).output.split("\n")[:3] == ["['1'] 1", "0" * 16, "no"]


def test_nothing_stays_behind(out: Path) -> None:
    """A child that left the session and closed everything is gone when the result is read."""
    program = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(1); os.close(2)
        for n in range(200):
            open("late", "w").write(str(n))
            time.sleep(0.02)
time.sleep(0.3)
"""
    isolated(program, out)
    first = (out / "late").read_text()
    time.sleep(0.2)
    assert (out / "late").read_text() == first


def test_time_is_limited(out: Path) -> None:
    began = time.monotonic()
    result = isolated("import time; time.sleep(60)", out, seconds=1.0)
    assert result.timed_out and result.ending == "was stopped at the time limit"
    assert time.monotonic() - began < 10


def test_memory_is_limited(out: Path) -> None:
    result = isolated("x = bytearray(3 << 30)", out, memory_bytes=1 << 30)
    assert result.returncode != 0 and "MemoryError" in result.output


def test_one_file_is_limited(out: Path) -> None:
    program = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); open('big', 'wb').write(bytes(1 << 22))"
    result = isolated(program, out, file_bytes=1 << 20)
    assert result.returncode != 0 and (out / "big").stat().st_size <= 1 << 20


@pytest.mark.parametrize(
    "program",
    [
        "n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(bytes(1 << 20)); n += 1",
        "import os\nn = 0\nwhile True:\n    os.mkdir(f'd{n}'); n += 1",
    ],
    ids=["bytes", "folders"],
)
def test_what_is_written_in_all_is_limited(out: Path, program: str) -> None:
    result = isolated(program, out, written_bytes=64 << 20, written_files=2000)
    assert result.overflowed and result.ending == "was stopped because it wrote more than it may"


def test_a_flood_of_words_keeps_its_end_only(out: Path) -> None:
    result = isolated("for n in range(200_000): print('word', n)", out)
    assert len(result.output) <= 20_000 and result.output.endswith("word 199999\n")


def test_processor_time_is_seen_from_outside_children_included(out: Path) -> None:
    program = """
import os, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
child = os.fork()
burn(0.4)
if child:
    os.wait()
"""
    looks: list[int] = []
    result = isolated(program, out, observer=looks.append)
    assert 0.7 < result.cpu_seconds < 2.0
    assert len(looks) > 5 and len(set(looks)) == 1


def test_it_is_pinned_and_the_caller_is_free_again(out: Path) -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    assert isolated("import os; print(os.sched_getaffinity(0))", out, core=core).output.strip() == f"{{{core}}}"
    assert os.sched_getaffinity(0) == before
    with pytest.raises(InputError, match="processor"):
        isolated("", out, core=4095)


@pytest.mark.parametrize(
    "place", ["/", "relative", "/a/../b", "//a", "/proc/x", "/dev", "/x\0y", "/a\nb", "", "/a/./b"]
)
def test_places_that_would_be_made_on_the_host(place: str, out: Path) -> None:
    assert not is_place(place)
    if "\0" not in place and place:
        with pytest.raises(InputError, match="no place"):
            run_isolated(
                ["/bin/true"],
                Sandbox(
                    binds=(Bind(out, Path(place)),) if place != "/a/./b" else (),
                    working_directory=Path(place if place != "/a/./b" else "/"),
                ),
            )


def test_without_its_tools_nothing_runs(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(out))
    with pytest.raises(MissingToolError, match="bwrap is not installed"):
        isolated("print(1)", out)
    with pytest.raises(InputError, match="does not exist"):
        monkeypatch.undo()
        run_isolated(["/bin/true"], Sandbox(binds=(Bind(out / "absent"),)))


# --- all its processes together


def test_many_processes_are_stopped_within_seconds(out: Path) -> None:
    program = """
import os, time
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(30)
    except OSError:
        time.sleep(1)
"""
    began = time.monotonic()
    result = isolated(program, out, threads=60)
    assert time.monotonic() - began < 10 and result.returncode != 0
    assert result.ending == "was stopped because it had more than 60 threads"


def test_threads_count_as_processes_do(out: Path) -> None:
    program = "import threading, time\nfor _ in range(200): threading.Thread(target=time.sleep, args=(30,)).start()"
    assert isolated(program, out, threads=50).exceeded == "it had more than 50 threads"
    assert not isolated(program.replace("200", "20").replace("30", "0.2"), out, threads=50).exceeded


def test_memory_is_limited_over_all_processes(out: Path) -> None:
    """Each holds less than it may; together they hold more."""
    program = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(os.urandom(1 << 20)) * 40
        time.sleep(30)
        os._exit(0)
time.sleep(30)
"""
    result = isolated(program, out, memory_bytes=1 << 30, resident_bytes=160 << 20)
    assert result.exceeded.startswith("its processes held ") and result.wall_seconds < 10


def test_memory_that_processes_share_counts_once(out: Path) -> None:
    program = """
import os, time
held = bytearray(os.urandom(1 << 20)) * 100
for _ in range(6):
    if os.fork() == 0:
        time.sleep(0.5)
        os._exit(0)
for _ in range(6):
    os.wait()
print("done")
"""
    result = isolated(program, out, memory_bytes=1 << 30, resident_bytes=220 << 20)
    assert (result.exceeded, result.output.strip()) == ("", "done")


def test_no_room_in_devices(out: Path) -> None:
    program = """
import os
for place in ("/dev/hole", "/dev/pts/hole", "/dev/shm/hole"):
    try:
        with open(place, "wb") as file:
            for _ in range(40):
                file.write(bytes(1 << 20))
        print(place, "took 40 MiB")
    except OSError as error:
        print(place, error.strerror)
open("/dev/null", "w").write("x")
"""
    words = isolated(program, out, scratch_bytes=8 << 20).output.splitlines()
    assert words[0] == "/dev/hole Read-only file system"
    assert words[2] == "/dev/shm/hole No space left on device" and len(words) == 3


def test_a_machine_that_runs_short_stops_it(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import weighbridge.sandbox as module

    monkeypatch.setattr(module, "_LEAST_AVAILABLE_BYTES", 1 << 60)
    result = isolated("import time; time.sleep(30)", out)
    assert "of memory left" in result.exceeded and result.wall_seconds < 10


CAGED = next(iter(_parents()), None) is not None and os.geteuid() == 0


@pytest.mark.skipif(not CAGED, reason="no control group can be made here")
def test_a_bomb_of_short_lived_processes_meets_the_kernel(out: Path) -> None:
    """Processes that are gone before anybody can look at them: a watch from outside loses that race."""
    sandbox = Sandbox(
        binds=(*interpreter_binds(), Bind(out, INSIDE / "out", writable=True)),
        environment={"PATH": "/usr/bin:/bin"},
        working_directory=INSIDE / "out",
        seconds=20.0,
        threads=60,
    )
    result = run_isolated(["/bin/sh", "-c", "b(){ b|b& b; }; b"], sandbox)
    assert result.exceeded == "it had more than 60 threads" and result.wall_seconds < 10


def test_no_setting_of_the_kernel_can_be_written(out: Path) -> None:
    """As root's own number outside, the inner user would otherwise pass for root below /proc/sys."""
    program = """
import os
for path in ("/proc/sys/vm/swappiness", "/proc/sys/kernel/printk_ratelimit_burst", "/proc/sysrq-trigger"):
    try:
        os.close(os.open(path, os.O_WRONLY))
        print("writable", path)
    except OSError as error:
        print(error.strerror)
"""
    found = isolated(program, out)
    assert found.returncode == 0 and "writable" not in found.output, found.output


@pytest.mark.skipif(not CAGED, reason="no control group can be made here")
def test_its_control_group_is_gone_when_it_ends(out: Path) -> None:
    before = [sorted(parent.glob("weighbridge-cage-*")) for parent, _ in _parents()]
    parent = next(iter(_parents()))[0]
    (parent / "weighbridge-cage-999999999-dead").mkdir()  # its maker was killed
    agents = parent / f"weighbridge-{'c0' * 8}-dead"  # a chip's agent is about to put a command into it
    agents.mkdir()
    try:
        with caged(threads=40, memory_bytes=1 << 30) as cage:
            assert cage.group is not None and (cage.group / "pids.max").read_text() == "40\n"
        assert isolated("pass", out).returncode == 0
        assert agents.is_dir()
    finally:
        agents.rmdir()
    assert [sorted(parent.glob("weighbridge-cage-*")) for parent, _ in _parents()] == before


def test_without_a_control_group_it_is_watched(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import weighbridge.cage as module

    monkeypatch.setattr(module, "_parents", lambda: iter(()))
    with caged(threads=40, memory_bytes=1 << 30) as cage:
        assert cage.group is None and cage.command(["x"]) == ["x"] and cage.refused() == ""
    program = "import threading, time\nfor _ in range(200): threading.Thread(target=time.sleep, args=(30,)).start()"
    assert isolated(program, out, threads=50).exceeded == "it had more than 50 threads"
