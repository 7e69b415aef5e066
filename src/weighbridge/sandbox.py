"""Isolation of code that is not ours: no network, a read-only view of what is named, limits on time and memory.

Built on bubblewrap (Linux only). What it does not stop: a kernel exploit, and code that burns its whole time limit.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from weighbridge.errors import InputError, MissingToolError

__all__ = ["Bind", "IsolatedResult", "Sandbox", "interpreter_binds", "run_isolated"]


@dataclass(frozen=True)
class Bind:
    """One path of the host shown inside, at ``inside`` (default: the same path)."""

    host: Path
    inside: Path | None = None
    writable: bool = False

    def arguments(self) -> list[str]:
        """Returns bubblewrap's arguments for it."""
        flag = "--bind" if self.writable else "--ro-bind"
        return [flag, str(self.host), str(self.inside or self.host)]


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """What an isolated command may see and spend.

    Attributes:
        binds: paths shown inside; nothing else of the host's files is.
        environment: the whole environment of the command.
        working_directory: where it starts, inside.
        seconds: wall-clock limit.
        memory_bytes: address-space limit of each process.
        file_bytes: largest file that it may write.
        core: the one processor it is pinned to, or None.
    """

    binds: tuple[Bind, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: Path = Path("/tmp")  # noqa: S108 - a private tmpfs inside
    seconds: float = 600.0
    memory_bytes: int = 32 << 30
    file_bytes: int = 8 << 30
    core: int | None = None


@dataclass(frozen=True)
class IsolatedResult:
    """How an isolated command ended; times in seconds, of all its processes together.

    ``cpu_seconds`` is read from outside while the command runs, to about 20 ms: what it says of itself is compared.
    """

    returncode: int
    output: str
    cpu_seconds: float
    wall_seconds: float
    timed_out: bool


class _Tail(threading.Thread):
    """Drains a pipe and keeps its end: a flood of output costs no memory."""

    LIMIT = 20_000

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.kept = b""

    def run(self) -> None:
        with self._stream:
            while chunk := self._stream.read1(65_536):  # type: ignore[attr-defined]
                self.kept = (self.kept + chunk)[-self.LIMIT :]


def interpreter_binds() -> tuple[Bind, ...]:
    """Returns the binds that this very interpreter, its packages and the system's libraries need, read-only."""
    paths = {Path(sys.base_prefix), Path(sys.prefix), Path(sysconfig.get_path("stdlib"))}
    paths.add(Path(__file__).resolve().parent)
    paths.add(Path(sys.executable).resolve().parent)
    system = [Path(p) for p in ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache")]
    kept: list[Path] = []
    for path in sorted(paths | {p for p in system if p.exists()}, key=lambda p: len(p.parts)):
        if not any(path != other and path.is_relative_to(other) for other in kept):
            kept.append(path)
    return tuple(Bind(path) for path in kept)


def _cpu_seconds(pid: int) -> float:
    """Returns CPU seconds of a process, its living descendants, and those that they waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, ValueError):
        return 0.0
    own = sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return own + sum(_cpu_seconds(int(child)) for child in children)


def run_isolated(
    command: Sequence[str], sandbox: Sandbox, *, observer: Callable[[int], None] | None = None
) -> IsolatedResult:
    """Runs a command in a sandbox of its own and waits for it.

    The command has no network, no other process in sight, no capability, and sees only the sandbox's binds
    over an empty root. ``observer`` is called with the outer process id, about a hundred times a second.

    Returns:
        The exit status (128 + signal number for a signal), the last 20,000 characters of output, times.

    Raises:
        MissingToolError: bubblewrap is not installed, or this is not Linux.
        InputError: a bind's path does not exist.
    """
    if not sys.platform.startswith("linux"):
        raise MissingToolError("replay needs Linux: its sandbox is built on kernel namespaces", mend="use Linux")
    program = shutil.which("bwrap")
    if program is None:
        raise MissingToolError(
            "bubblewrap is not installed, and code that is not ours never runs outside it",
            mend="install it (Debian: apt-get install bubblewrap)",
        )
    for bind in sandbox.binds:
        if not bind.host.exists():
            raise InputError("does not exist, so the sandbox cannot show it", where=bind.host)

    arguments = [program, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
    for bind in sandbox.binds:
        arguments += bind.arguments()
    for name, value in sandbox.environment.items():
        arguments += ["--setenv", name, value]
    arguments += ["--dir", str(sandbox.working_directory), "--chdir", str(sandbox.working_directory), "--", *command]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (sandbox.memory_bytes,) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (sandbox.file_bytes,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sandbox.core is not None:
            os.sched_setaffinity(0, {sandbox.core})

    began = time.monotonic()
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=limit,  # noqa: PLW1509 - limits must hold before the first instruction
        start_new_session=True,
    )
    assert process.stdout is not None
    tail = _Tail(process.stdout)
    tail.start()
    timed_out = False
    cpu_seconds = 0.0
    while True:
        cpu_seconds = max(cpu_seconds, _cpu_seconds(process.pid))
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            break
        if not timed_out and time.monotonic() - began > sandbox.seconds:
            timed_out = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if observer is not None:
            observer(process.pid)
        time.sleep(0.01)
    tail.join()
    wall = time.monotonic() - began
    code = process.returncode
    return IsolatedResult(
        returncode=code if code >= 0 else 128 - code,
        output=tail.kept.decode("utf-8", "replace"),
        cpu_seconds=cpu_seconds,
        wall_seconds=wall,
        timed_out=timed_out,
    )
