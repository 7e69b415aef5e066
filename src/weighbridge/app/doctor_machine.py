"""Doctor: what the machine lets weighbridge do. What can be tried is tried, and undone."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from weighbridge.app.doctor_check import PURPOSES, Check, State
from weighbridge.errors import WeighbridgeError
from weighbridge.mechanisms.chip.cgroup import CgroupEnclosure
from weighbridge.sandbox import Sandbox, interpreter_binds, run_isolated
from weighbridge.units import format_bytes

__all__ = ["CHECKS", "runs_folder"]

_LEAST_BYTES = 256 << 20
_FEW_BYTES = 10 << 30
_INSIDE = """
import os, socket
print("inside", os.getpid(), os.getuid(), [name for _, name in socket.if_nameindex() if name != "lo"])
"""


def runs_folder() -> Path:
    """Returns where transcripts go."""
    return Path(os.environ.get("WEIGHBRIDGE_RUNS") or "weighbridge-runs")


def _sandbox() -> tuple[State, str, str]:
    """Runs this interpreter in a sandbox and asks it where it is."""
    try:
        sandbox = Sandbox(binds=interpreter_binds(), environment={"PATH": "/usr/bin:/bin"}, seconds=30.0)
        result = run_isolated([sys.executable, "-I", "-c", _INSIDE], sandbox)
    except WeighbridgeError as error:
        return State.MISSING, error.what, error.mend or ""
    if result.returncode != 0 or "inside 1 65534 []" not in result.output:
        says = f"a sandboxed process {result.ending}: {result.output.strip()[-200:] or 'it said nothing'}"
        return State.MISSING, says, "let bubblewrap make user namespaces (see user namespaces), or run as root"
    return State.OK, f"bubblewrap ran a process alone and without a network, in {result.wall_seconds:.2f} s", ""


def _namespaces() -> tuple[State, str, str]:
    program = shutil.which("unshare")
    if program is None:
        return State.WARN, "unshare is not installed, so they were not tried", "apt-get install util-linux"
    tried = subprocess.run([program, "--user", "true"], capture_output=True, text=True, timeout=30, check=False)
    if tried.returncode == 0:
        return State.OK, "can be made", ""
    settings = {
        "user.max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=10000"),
        "kernel.unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        "kernel.apparmor_restrict_unprivileged_userns": ("1", "give bwrap an AppArmor profile that allows userns"),
    }
    for name, (closed, mend) in settings.items():
        if _read(Path("/proc/sys") / name.replace(".", "/")) == closed:
            return State.MISSING, f"the kernel forbids them ({name} = {closed})", mend
    return State.MISSING, f"cannot be made: {tried.stderr.strip()}", "in a container, allow the system call unshare"


def _cgroup() -> tuple[State, str, str]:
    enclosure = CgroupEnclosure.create(f"weighbridge-doctor-{os.getpid()}")
    if enclosure is None:
        says = "no control group can be made: the agent stops processes one by one, and a fast fork may slip through"
        return (
            State.WARN,
            says,
            "mount cgroup v2 writable, or run as root or in a delegated scope (systemd-run --scope)",
        )
    where = enclosure.cgroup
    enclosure.close()
    return State.OK, f"v2, can be made and removed below {where.parent if where else '?'}", ""


def _memory() -> tuple[State, str, str]:
    """Reads a child's memory as the agent does."""
    mend = "allow ptrace: kernel.yama.ptrace_scope at most 1, in a container --cap-add SYS_PTRACE"
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        begin = int(Path(f"/proc/{child.pid}/maps").read_text().split("-")[0], 16)
        with Path(f"/proc/{child.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(begin)
            got = memory.read(16)
    except (OSError, ValueError) as error:
        return State.MISSING, f"a child's memory cannot be read ({error})", mend
    finally:
        child.kill()
        child.communicate()
    if len(got) != 16:
        return State.MISSING, "a child's memory gives nothing", mend
    return State.OK, "a child's memory can be read through /proc/PID/mem", ""


def _root() -> tuple[State, str, str]:
    if os.geteuid() == 0:
        return State.OK, "root: the agent runs the command as another user, who cannot reach its key or files", ""
    says = (
        "not root: the command runs under the agent's own user id, so it can reach the agent's key and files, and a"
        " record proves less"
    )
    return State.WARN, says, "run weighbridge chip run as root"


def _existing(path: Path) -> Path:
    """Returns the folder itself or the first above it that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _store() -> tuple[State, str, str]:
    return _room(runs_folder(), "set WEIGHBRIDGE_RUNS to a folder on a larger disk")


def _scratch() -> tuple[State, str, str]:
    return _room(Path(tempfile.gettempdir()), "set TMPDIR to a folder on a larger disk")


def _room(folder: Path, mend: str) -> tuple[State, str, str]:
    place = _existing(folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return State.MISSING, f"{place} cannot be written to", mend
    figures = os.statvfs(place)
    free = figures.f_bavail * figures.f_frsize
    says = f"{format_bytes(free)} free in {folder}" + (
        "" if place == folder.absolute() else f" (to be made in {place})"
    )
    if free < _LEAST_BYTES or (figures.f_files and figures.f_favail < 1_000):
        return State.MISSING, f"{says}: too little", mend
    if free < _FEW_BYTES:
        return State.WARN, f"{says}: every freeze writes the whole state", mend
    return State.OK, says, ""


def _clock() -> tuple[State, str, str]:
    now = time.time()
    shown = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    mend = "set the clock, and let it follow a time server"
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    if now < newest - 86_400:
        return State.MISSING, f"{shown}, before weighbridge itself was installed", mend
    wall, steady = time.time(), time.monotonic()
    time.sleep(0.05)
    apart = abs((time.time() - wall) - (time.monotonic() - steady))
    if apart > 0.02:
        return State.WARN, f"{shown}; it jumped by {apart:.2f} s against the steady clock within 50 ms", mend
    source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return State.OK, f"{shown}, steady (source {_read(source) or 'unknown'}); nobody outside vouches for it", ""


def _browser() -> tuple[State, str, str]:
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if absent:
        says = f"{' and '.join(absent)} not found: the tests of pages are skipped, the pages themselves work anywhere"
        return State.WARN, says, "apt-get install chromium chromium-driver"
    return State.OK, "chromium and chromedriver, for the tests of pages", ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


CHECKS = (
    Check("bubblewrap", ("verifying",), _sandbox),
    Check("user namespaces", ("verifying",), _namespaces),
    Check("control groups", ("chip",), _cgroup),
    Check("memory of others", ("chip",), _memory),
    Check("user", ("chip",), _root),
    Check("run store", ("recording",), _store),
    Check("scratch", ("verifying",), _scratch),
    Check("clock", PURPOSES, _clock),
    Check("browser", (), _browser),
)
"""In the order in which they are printed."""
