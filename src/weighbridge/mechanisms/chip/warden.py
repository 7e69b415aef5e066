"""The warden: parent of the command, a process of its own that ends the command when the agent is gone.

Run as a plain script (``python -I -S warden.py CONTROL STATUS``), with nothing of this package in it, so
that it holds no key and starts in milliseconds. It adopts whatever the command leaves behind
(PR_SET_CHILD_SUBREAPER).

From the agent, on descriptor CONTROL: one line of JSON (see ``Launch`` in command.py), then
``go``. End of file there means that the agent is dead: everything is killed. To the agent, on descriptor
STATUS, lines: ``ready PID``, ``failed STEP: REASON``, ``exit CODE``, ``reaped NANOSECONDS`` (CPU time of an
adopted child).
"""

# No pathlib: it would double the time to start.
# ruff: noqa: PTH103, PTH112, PTH118, PTH120, PTH123, PTH208

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    """Sets one attribute of this process."""
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    data = None if options is None else options.encode()
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), data), f"mount on {target}")


def apply_masks(masks: list[dict[str, Any]]) -> None:
    """In a mount namespace of the caller's own, hides directories and shows only what is named beneath them.

    Args:
        masks: ``{"hide": DIRECTORY, "show": [[PATH, writable], ...]}``; an empty directory stands where it
            was, with the shown paths bound at their own place.
    """
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    for mask in masks:
        held = [(path, writable, os.open(path, os.O_PATH)) for path, writable in mask["show"]]
        _mount("tmpfs", mask["hide"], "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
        for path, writable, handle in held:
            source = f"/proc/self/fd/{handle}"
            if os.path.isdir(source):
                os.makedirs(path, mode=0o755, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            _mount(source, path, None, MS_BIND | MS_REC)
            if not writable:
                _mount(None, path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)
            os.close(handle)


def _run_command(config: dict[str, Any], go: int, report: int) -> None:
    """In the child: enters the enclosure, gives up privileges, waits for the word, becomes the command."""
    step = "enclosure"
    try:
        warden = os.getppid()
        os.set_inheritable(report, False)
        if config["cgroup"]:
            with open(os.path.join(config["cgroup"], "cgroup.procs"), "w") as file:
                file.write("0")
        step = "mount namespace"
        if config["masks"]:
            apply_masks(config["masks"])
        with contextlib.suppress(OSError):
            # The agent and its warden go first in everything; the command does not.
            os.setpriority(os.PRIO_PROCESS, 0, config["nice"])
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(config["oom_score"])
        step = "processor"
        if config["core"] is not None:
            os.sched_setaffinity(0, {config["core"]})
        step = "user id"
        if config["uid"] is not None:
            os.setgroups([])
            os.setresgid(config["gid"], config["gid"], config["gid"])
            os.setresuid(config["uid"], config["uid"], config["uid"])
            prctl(PR_SET_NO_NEW_PRIVS, 1)
        # After the change of user id, which clears it.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != warden:
            os._exit(1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        step = "working directory"
        os.chdir(config["cwd"])
        os.write(report, b"ready")
        os.read(go, 1)
        step = "command"
        os.execvpe(config["command"][0], config["command"], dict(os.environ))  # noqa: S606
    except BaseException as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        with contextlib.suppress(OSError):
            os.write(report, f"failed {step}: {reason}".encode())
    os._exit(127)


def descendants(root: int) -> list[int]:
    """Returns every living process below ``root``, zombies left out."""
    children: dict[int, list[int]] = {}
    states: dict[int, bytes] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(name))
                states[int(name)] = fields[0]
    found, queue = [], [root]
    while queue:
        for child in children.get(queue.pop(), []):
            queue.append(child)
            if states[child] not in (b"Z", b"X"):
                found.append(child)
    return found


def kill_all(root: int, cgroup: str | None) -> None:
    """Kills everything in the enclosure and returns when nothing of it is alive, or after ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if cgroup:
            with contextlib.suppress(OSError), open(os.path.join(cgroup, "cgroup.kill"), "w") as file:
                file.write("1")
        alive = descendants(root)
        for pid in alive:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not alive:
            return
        time.sleep(0.001)


class Warden:
    """The loop: hand on the agent's word, adopt and bury children, notice the agent's end."""

    def __init__(self, control: int, status: int) -> None:
        self.control, self.status = control, status
        self.pending = b""
        self.cgroup: str | None = None

    def say(self, text: str) -> None:
        """Tells the agent; it does not matter here if the agent is gone."""
        with contextlib.suppress(OSError):
            os.write(self.status, text.encode() + b"\n")

    def line(self) -> bytes | None:
        """Reads the agent's next line; None when the agent is gone."""
        while b"\n" not in self.pending:
            more = os.read(self.control, 1 << 16)
            if not more:
                return None
            self.pending += more
        text, _, self.pending = self.pending.partition(b"\n")
        return text

    def run(self) -> None:
        """Starts the command when told to and stays until the agent is gone."""
        text = self.line()
        if text is None:
            return
        config = json.loads(text)
        self.cgroup = config["cgroup"]
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        go_read, go_write = os.pipe2(os.O_CLOEXEC)
        report_read, report_write = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(go_write)
            _run_command(config, go_read, report_write)
        os.close(report_write)
        os.close(go_read)
        first = os.read(report_read, 4096)
        if first != b"ready":
            self.say(first.decode(errors="replace") or "failed command: it ended before it began")
            return
        self.say(f"ready {child}")
        if self.line() is None:
            return
        os.write(go_write, b"g")
        failed = os.read(report_read, 4096)  # empty once the command has replaced the child
        if failed:
            self.say(failed.decode(errors="replace"))
            return
        self.watch(child, wake_read)

    def watch(self, child: int, wake: int) -> None:
        """Returns when the agent is gone."""
        while True:
            ready, _, _ = select.select([self.control, wake], [], [])
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
                self.bury(child)
            if self.control in ready and not os.read(self.control, 4096):
                return

    def bury(self, child: int) -> None:
        """Collects the children that ended."""
        while True:
            try:
                pid, code, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.say(f"reaped {int((usage.ru_utime + usage.ru_stime) * 1e9)}")
            if pid == child:
                self.say(f"exit {os.waitstatus_to_exitcode(code)}")


def main() -> None:
    """Runs the warden until its agent is gone or the command could not start, then kills what is left."""
    control, status = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (control, status):
        os.set_inheritable(descriptor, False)
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    warden = Warden(control, status)
    try:
        warden.run()
    finally:
        kill_all(os.getpid(), warden.cgroup)


if __name__ == "__main__":
    main()
