"""Isolation of code that is not ours: no network, a read-only view of what is named, limits on time, memory and files.

Built on bubblewrap (Linux only). The command is the first process of a process namespace of its own: when it ends,
the kernel ends everything that it started before anybody is told, so what it wrote lies still when it is read.

Threads and memory of all its processes together are limited by a control group where one can be made
(:mod:`weighbridge.cage`), threads by the kernel's limit on a user's processes where the caller is not root. Both are
also watched from outside, twenty to a hundred times a second: it is stopped where they exceed their limit or the
machine itself runs short. A program that starts processes as fast as it can outruns the watch alone.

What it does not stop: a kernel exploit, and code that burns its whole time limit. Memory that no process maps (files in
memory, shared segments) is seen only as the machine runs short. Verify strangers' runs inside a container or a virtual
machine with a memory limit.
"""

import contextlib
import math
import os
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from weighbridge.cage import Cage, caged
from weighbridge.errors import InputError, MissingToolError
from weighbridge.processes import available_bytes, children_of, cpu_seconds_of, resident_bytes, tree_of

__all__ = ["Bind", "IsolatedResult", "Sandbox", "interpreter_binds", "is_place", "run_isolated"]

_PAUSE_S = 0.05
"""Between two looks at memory where the kernel keeps threads within their limit."""

_LEAST_AVAILABLE_BYTES = 256 << 20
"""Below this the kernel begins to end processes of its own choice, the verifier's among them."""

_RESERVED = tuple(PurePosixPath(path) for path in ("/proc", "/dev"))


@dataclass(frozen=True)
class Bind:
    """One path of the host shown inside, at ``inside`` (default: the same path)."""

    host: Path
    inside: Path | None = None
    writable: bool = False

    @property
    def place(self) -> Path:
        """Where it is shown."""
        return self.inside or self.host

    def arguments(self) -> list[str]:
        """Returns bubblewrap's arguments for it."""
        return ["--bind" if self.writable else "--ro-bind", str(self.host), str(self.place)]


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """What an isolated command may see and spend.

    Attributes:
        binds: paths shown inside; nothing else of the host's files is.
        environment: the whole environment of the command.
        working_directory: where it starts, inside.
        seconds: wall-clock limit.
        memory_bytes: address-space limit of each process.
        resident_bytes: most memory that all its processes hold together.
        threads: most threads that all its processes have together.
        file_bytes: largest file that it may write.
        written_bytes: most that it may write into all writable binds together.
        written_files: most files and folders that it may make there.
        scratch_bytes: size of its private ``/tmp``, and of its ``/dev/shm``: both lie in memory.
        core: the one processor it is pinned to, or None.
    """

    binds: tuple[Bind, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: Path = Path("/tmp")  # noqa: S108 - a private tmpfs inside
    seconds: float = 600.0
    memory_bytes: int = 32 << 30
    resident_bytes: int = 32 << 30
    threads: int = 4096
    file_bytes: int = 8 << 30
    written_bytes: int = 16 << 30
    written_files: int = 10_000
    scratch_bytes: int = 1 << 30
    core: int | None = None


@dataclass(frozen=True)
class IsolatedResult:
    """How an isolated command ended; times in seconds, of all its processes together.

    ``cpu_seconds`` is read from outside, from the kernel's count: what the command says of itself is compared. Of a
    process that nobody waited for, the last reading before its end counts, about 20 ms old.
    """

    returncode: int
    output: str
    cpu_seconds: float
    wall_seconds: float
    timed_out: bool
    overflowed: bool = False
    exceeded: str = ""
    """What it took too much of, if it was stopped for that: threads or memory."""

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.exceeded:
            return f"was stopped because {self.exceeded}"
        if self.timed_out:
            return "was stopped at the time limit"
        if self.overflowed:
            return "was stopped because it wrote more than it may"
        return f"ended with status {self.returncode}"


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
    paths.update(Path(p) for p in (*site.getsitepackages(), site.getusersitepackages()) if p in sys.path)
    if sys.pycache_prefix is not None:
        paths.add(Path(sys.pycache_prefix))
    system = [Path(p) for p in ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache")]
    kept: list[Path] = []
    for path in sorted(paths | {p for p in system if p.exists()}, key=lambda p: len(p.parts)):
        if path.exists() and not any(path != other and path.is_relative_to(other) for other in kept):
            kept.append(path)
    return tuple(Bind(path) for path in kept)


def is_place(path: str) -> bool:
    """Returns whether something may be shown at ``path`` inside: an absolute, plain path, not the root's own.

    A path that climbs (``..``) would be made outside the sandbox's root, on the host itself.
    """
    pure = PurePosixPath(path)
    plain = pure.is_absolute() and path == str(pure) and not path.startswith("//")
    reserved = any(pure.is_relative_to(other) or other.is_relative_to(pure) for other in _RESERVED)
    return plain and ".." not in pure.parts and path.isprintable() and not reserved


def run_isolated(
    command: Sequence[str], sandbox: Sandbox, *, observer: Callable[[int], None] | None = None
) -> IsolatedResult:
    """Runs a command in a sandbox of its own and waits for it and all that it started.

    The command has no network, no other process in sight, no capability, and sees only the sandbox's binds
    over an empty root. ``observer`` is called with the outer process id, about a hundred times a second.

    Returns:
        The exit status (128 + signal number for a signal), the last 20,000 characters of output, times.

    Raises:
        MissingToolError: bubblewrap is not installed, or this is not Linux.
        InputError: a bind's path does not exist, or nothing may be shown at its place.
    """
    limits, inside = _arguments(sandbox)
    with caged(threads=sandbox.threads, memory_bytes=sandbox.resident_bytes) as cage:
        return _run(cage, command, sandbox, observer, limits=limits, inside=inside)


def _run(
    cage: Cage,
    command: Sequence[str],
    sandbox: Sandbox,
    observer: Callable[[int], None] | None,
    *,
    limits: Sequence[str],
    inside: Sequence[str],
) -> IsolatedResult:
    writable = [bind.host for bind in sandbox.binds if bind.writable]
    began = time.monotonic()
    with _pinned(sandbox.core), unseen(inside) as options, unseen(command[1:]) as words:
        process = subprocess.Popen(
            cage.command(
                [*limits, "--args", str(options), "--", *_own_limit(sandbox), *_unseen_program(command, words)]
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(options, words),
        )
    assert process.stdout is not None
    tail = _Tail(process.stdout)
    tail.start()
    stopped: float | None = None
    timed_out = overflowed = False
    exceeded = ""
    looked = 0.0
    cpu_seconds = 0.0
    while True:
        cpu_seconds = max(cpu_seconds, cpu_seconds_of(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu_seconds = max(cpu_seconds, usage.ru_utime + usage.ru_stime)
            break
        now = time.monotonic()
        if stopped is None:
            timed_out = now - began > sandbox.seconds
            overflowed = not timed_out and _written(writable, sandbox.written_files) > sandbox.written_bytes
            if cage.group is None or now - looked > _PAUSE_S:
                exceeded, looked = cage.refused() or _exceeded(process.pid, sandbox), now
            if timed_out or overflowed or exceeded:
                stopped = now
                _kill_inner(process.pid)
        elif now - stopped > 2.0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if observer is not None and stopped is None:
            observer(process.pid)
        time.sleep(0.01)
    tail.join(timeout=5.0)
    code = process.returncode
    return IsolatedResult(
        returncode=code if code >= 0 else 128 - code,
        output=tail.kept.decode("utf-8", "replace"),
        cpu_seconds=cpu_seconds,
        wall_seconds=time.monotonic() - began,
        timed_out=timed_out,
        overflowed=overflowed,
        exceeded=exceeded or cage.refused(),
    )


def _exceeded(outer: int, sandbox: Sandbox) -> str:
    """Returns what all processes together took too much of, in words; nothing if they did not."""
    pids, threads = tree_of(outer, most=sandbox.threads)
    if threads > sandbox.threads:
        return f"it had more than {sandbox.threads} threads"
    if (held := resident_bytes(pids, limit=sandbox.resident_bytes)) > sandbox.resident_bytes:
        return f"its processes held {held} bytes of memory together, more than {sandbox.resident_bytes}"
    available = available_bytes()
    if available is not None and available < _LEAST_AVAILABLE_BYTES:
        return f"the machine had {available} bytes of memory left"
    return ""


@contextlib.contextmanager
def unseen(words: Sequence[str]) -> Iterator[int]:
    """Yields a descriptor from which words can be read, each ended by a zero byte: no command line shows them.

    Command lines are read by every user of the machine, and words may be a run's hyperparameters or its paths.
    """
    descriptor = os.memfd_create("words")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(b"".join(os.fsencode(word) + b"\0" for word in words))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _unseen_program(command: Sequence[str], words: int) -> list[str]:
    """Returns a command whose words are read from a descriptor, if it is a script or a module of this interpreter."""
    if command[0] != sys.executable or len(command) < 2 or (command[1].startswith("-") and command[1] != "-m"):
        return list(command)
    return [command[0], str(Path(__file__).resolve().with_name("unseen_program.py")), str(words)]


def _own_limit(sandbox: Sandbox) -> list[str]:
    """Returns what limits threads inside the namespace alone. For root the kernel keeps no such limit."""
    return [] if os.geteuid() == 0 else [shutil.which("prlimit") or "prlimit", f"--nproc={sandbox.threads}"]


def _arguments(sandbox: Sandbox) -> tuple[list[str], list[str]]:
    """Returns limits and bubblewrap itself as a command line, and bubblewrap's options."""
    if not sys.platform.startswith("linux"):
        raise MissingToolError("replay needs Linux: its sandbox is built on kernel namespaces", mend="use Linux")
    program, limiter = shutil.which("bwrap"), shutil.which("prlimit")
    if program is None or limiter is None:
        missing, package = ("bwrap", "bubblewrap") if program is None else ("prlimit", "util-linux")
        raise MissingToolError(
            f"{missing} is not installed, and code that is not ours never runs without it",
            mend=f"install it (Debian: apt-get install {package})",
        )
    places = [*(str(bind.place) for bind in sandbox.binds), str(sandbox.working_directory)]
    for place in places:
        if not is_place(place):
            raise InputError("is no place at which a sandbox can show something", where=repr(place)[:200])
    for bind in sandbox.binds:
        if not bind.host.exists():
            raise InputError("does not exist, so the sandbox cannot show it", where=bind.host)

    # prlimit and bwrap execute the next in place. Limits set between fork and exec would need Python code there,
    # which may deadlock in a process with threads. Of core files 0 bytes would still feed a program that the kernel
    # pipes them to; 1 byte is the value at which it gives up (kernel/fs/coredump.c).
    # Killed before bubblewrap has asked to die with it, this process would leave an orphan: its CPU time ends.
    processor_seconds = math.ceil(sandbox.seconds) * (1 if sandbox.core is not None else os.cpu_count() or 1) + 1
    arguments = [limiter, f"--as={sandbox.memory_bytes}", f"--fsize={sandbox.file_bytes}", "--core=1"]
    limits = [*arguments, f"--cpu={processor_seconds}", program]
    arguments = ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--as-pid-1"]
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    # The kernel's settings below /proc/sys ask for root's number alone: the inner user has it outside, if root began.
    arguments += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
    for place in ("/dev/shm", "/tmp"):  # noqa: S108
        arguments += ["--size", str(sandbox.scratch_bytes), "--tmpfs", place]
    arguments += ["--remount-ro", "/dev"]  # a tmpfs too, of half the machine's memory
    for bind in sorted(sandbox.binds, key=lambda bind: len(bind.place.parts)):
        arguments += bind.arguments()
    for name, value in sandbox.environment.items():
        arguments += ["--setenv", name, value]
    directory = str(sandbox.working_directory)
    return limits, [*arguments, "--dir", directory, "--chdir", directory]


@contextlib.contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """Pins this thread, so that what it starts is pinned from the first instruction, and frees it again."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        raise InputError(f"this process may not use processor {core}", where="core") from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _written(folders: Sequence[Path], most_files: int) -> int:
    """Returns the bytes on disk below the folders; as if endless where there are more files than allowed."""
    total = seen = 0
    waiting = [str(folder) for folder in folders]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > most_files:
                    return 1 << 62
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total


def _kill_inner(outer: int) -> None:
    """Kills the first process inside: with it the kernel ends all the others."""
    with contextlib.suppress(OSError):
        for child in children_of(outer):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
