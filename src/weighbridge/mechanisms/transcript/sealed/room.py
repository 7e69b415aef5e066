"""The room, seen from outside: a process with nothing writable but memory, and one pipe that carries one record.

Built on bubblewrap like the sandbox of a replay, and around it: inside the room the program under test runs in a
sandbox of its own. The transcript and the data are shown read-only; ``/tmp`` and all else that can be written lies in a
tmpfs of the room's own namespace, which the kernel frees with the last of its processes. There is no network; standard
error goes nowhere; no core file is written or piped; no word of a run stands on a command line.

What is not hidden: how long it took (pad it), how busy the machine was, how large the shown files are, the places at
which they are mounted (``/proc/PID/mountinfo``), and what a kernel swaps out.
"""

import contextlib
import json
import os
import resource
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import weighbridge
from weighbridge.errors import InputError, MissingToolError
from weighbridge.sandbox import Bind, interpreter_binds, is_place, unseen

__all__ = ["INSIDE", "Room", "committed_files", "keep_no_core", "probe", "run_room"]

INSIDE = Path("/room")
"""Where the room has what it is shown."""

_PYCACHE = "/tmp/pycache"  # noqa: S108 - in the room's own tmpfs
_MODULE = "weighbridge.mechanisms.transcript.sealed.inside"
_MOUNTED = 'mount -t proc proc /proc && exec setpriv --bounding-set=-all,+setfcap --inh-caps=-all --no-new-privs "$@"'
# A process file system must be seen whole before another can be mounted, and bubblewrap's own is covered in part: the
# room mounts its own, and gives the right to do so away. CAP_SETFCAP is left, without which the user of the room could
# not be mapped in the sandboxes inside it (user_namespaces(7)).
_LIMIT_BYTES = 16 << 20
_MISSING = "the sealed room cannot be made here"


@dataclass(frozen=True, kw_only=True)
class Room:
    """One closing of the room.

    Attributes:
        shown: paths shown inside, read-only.
        request: what is to be done, as plain data; the room reads it from a pipe.
        answer_bytes: how many bytes come out, whatever happens.
        seconds: when the answer is given, counted from the start, and the room ended if it has none; None: when done.
        own_bytecode: compile every module anew inside the room, so that only sources and libraries count as code.
    """

    shown: tuple[Bind, ...]
    request: Mapping[str, Any]
    answer_bytes: int
    seconds: float | None = None
    own_bytecode: bool = False


def run_room(room: Room) -> bytes | None:
    """Runs the room and returns the bytes that came out, or None if they were not as many as agreed.

    Raises:
        InputError: something to be shown is not there.
        MissingToolError: no room can be made on this machine.
    """
    began = time.monotonic()
    probe()
    keep_no_core()
    answer = _run(room, None if room.seconds is None else began + room.seconds)
    if room.seconds is not None:
        time.sleep(max(0.0, began + room.seconds - time.monotonic()))
    return answer if answer is not None and len(answer) == room.answer_bytes else None


def keep_no_core() -> None:
    """Forbids core files of this process and its children.

    A limit of 0 would still let the kernel pipe a core to a program; 1 byte is the value at which it gives up
    (kernel/fs/coredump.c), and is too little for a file.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == resource.RLIM_INFINITY or hard >= 1:
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))


def _run(room: Room, deadline: float | None) -> bytes | None:
    command = [sys.executable, "-m", _MODULE]
    request = json.dumps(room.request).encode()
    with unseen(_options(room.shown, own_bytecode=room.own_bytecode)) as options:
        process = subprocess.Popen(
            [*_program("bwrap"), "--args", str(options), "--", "/bin/sh", "-c", _MOUNTED, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(options,),
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request)
            process.stdin.close()
        return _read(process.stdout.fileno(), room.answer_bytes, deadline)
    finally:
        process.kill()  # with the first process of its namespace the kernel ends the others, and frees their tmpfs
        process.wait()
        while os.read(process.stdout.fileno(), 65_536):  # the end of the pipe is the end of all that held it
            pass
        process.stdout.close()


def _read(pipe: int, size: int, deadline: float | None) -> bytes | None:
    """Reads until the room's end; more than was agreed is as bad as less."""
    answer = b""
    while len(answer) <= size:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and (left <= 0 or not select.select([pipe], [], [], left)[0]):
            return None
        chunk = os.read(pipe, size + 1 - len(answer))
        if not chunk:
            break
        answer += chunk
    return answer


def _program(name: str) -> list[str]:
    found = shutil.which(name)
    if found is None or not sys.platform.startswith("linux"):
        raise MissingToolError(_MISSING, where=name, mend="use Linux, with bubblewrap and util-linux installed")
    return [found]


def _options(shown: Sequence[Bind], *, own_bytecode: bool) -> list[str]:
    for bind in shown:
        if bind.writable or not is_place(str(bind.place)):
            raise InputError("is no place in the sealed room", where=repr(str(bind.place))[:200])
        if not bind.host.exists():
            raise InputError("does not exist", where=bind.host)
    options = ["--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0", "--die-with-parent", "--new-session"]
    options += ["--cap-drop", "ALL"]
    for capability in ("SYS_ADMIN", "SETFCAP", "SETPCAP"):
        options += ["--cap-add", f"CAP_{capability}"]
    options += ["--clearenv", "--bind", "/proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
    binds = [*interpreter_binds(), *shown]
    for bind in sorted(binds, key=lambda bind: len(bind.place.parts)):
        options += bind.arguments()
    for name, value in _environment(own_bytecode=own_bytecode).items():
        options += ["--setenv", name, value]
    return [*options, "--chdir", "/tmp"]  # noqa: S108


def _environment(*, own_bytecode: bool) -> dict[str, str]:
    """Returns the whole environment of the room: nothing is taken over from outside."""
    source = Path(weighbridge.__file__).resolve().parents[1]
    found = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/tmp", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}  # noqa: S108
    found |= {"PYTHONPYCACHEPREFIX": _PYCACHE} if own_bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}
    return found if source.is_relative_to(sys.prefix) else found | {"PYTHONPATH": str(source)}


def probe() -> None:
    """Makes a room that does nothing: whether one can be made here depends on no secret, and may be said aloud.

    Raises:
        MissingToolError: none can be made.
    """
    nested = [*_program("bwrap"), "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    nested += ["--ro-bind", "/", "/", "--proc", "/proc", "--", "/bin/true"]
    _program("mount"), _program("setpriv")
    with unseen(_options((), own_bytecode=False)) as options:
        made = subprocess.run(
            [*_program("bwrap"), "--args", str(options), "--", "/bin/sh", "-c", _MOUNTED, "sh", *nested],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(options,),
            check=False,
        )
    if made.returncode != 0:
        said = made.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise MissingToolError(
            f"{_MISSING} ({' '.join(said)[:200]})",
            mend="allow user namespaces, and show /proc whole (containers cover parts of it)",
        )


def committed_files(opening: Path) -> tuple[Bind, ...]:
    """Returns the data files that a run committed to and that lie at their committed paths, shown at those very paths.

    Read outside the room, in memory alone, and judged by nothing: what cannot be read is not shown, and the room says
    that it could not replay. A path that the room needs for itself is not shown either.
    """
    try:
        with opening.open("rb") as file:
            described = json.loads(file.read(_LIMIT_BYTES))["contents"]["data"]
        named = [array.get("path") for array in described.get("arrays", {}).values()]
        named += list(described.get("files", {}))
        paths = [path for path in named if isinstance(path, str) and is_place(path)]
        usable = [p for p in map(Path, paths) if p.is_file() and not p.is_relative_to(INSIDE)]
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return ()
    return tuple(Bind(path) for path in dict.fromkeys(usable))
