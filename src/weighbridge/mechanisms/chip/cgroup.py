"""The enclosure that the kernel keeps: a cgroup v2 directory.

Forks are included at once, nothing leaves, exited children stay counted. No controller is needed: freezing,
killing and CPU time belong to the hierarchy itself, also where version 1 holds the controllers.
"""

import contextlib
import os
import select
import time
from pathlib import Path

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.chip.enclosure import STOP_LIMIT, until

__all__ = ["CgroupEnclosure", "end_leftovers"]


class CgroupEnclosure:
    """A cgroup v2 directory of its own.

    Args:
        path: the directory, made by :meth:`create`.
    """

    accounting = "cgroup2"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._freeze = os.open(path / "cgroup.freeze", os.O_WRONLY | os.O_CLOEXEC)
        self._events = os.open(path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        self._stat = os.open(path / "cpu.stat", os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def create(cls, name: str) -> "CgroupEnclosure | None":
        """Makes a control group below the caller's own.

        Returns:
            None where there is no cgroup v2, or it may not be written.
        """
        parent = _own_cgroup()
        if parent is None:
            return None
        path = parent / name
        try:
            path.mkdir()
        except OSError:
            return None
        try:
            if not all(os.access(path / file, os.W_OK) for file in ("cgroup.procs", "cgroup.freeze", "cgroup.kill")):
                raise PermissionError
            if not os.access(parent / "cgroup.procs", os.W_OK):  # moving a task needs the common ancestor
                raise PermissionError
            return cls(path)
        except OSError:
            path.rmdir()
            return None

    @property
    def cgroup(self) -> Path | None:
        """The directory."""
        return self._path

    def attach(self, warden: int) -> None:
        """Does nothing: membership is the kernel's business."""

    def reaped(self, cpu_ns: int) -> None:
        """Does nothing: the group counts exited processes."""

    def processes(self) -> list[int]:
        """Returns the members, those of sub-groups included."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self._path):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split())
        return sorted(found)

    def stop(self) -> None:
        """Freezes the group and waits until the kernel reports it frozen.

        Raises:
            EvidenceError: it is not frozen within half a minute.
        """
        os.write(self._freeze, b"1")
        poller = select.poll()
        poller.register(self._events, select.POLLPRI)
        deadline = time.monotonic() + STOP_LIMIT
        while b"frozen 1" not in os.pread(self._events, 4096, 0):
            if time.monotonic() > deadline:
                raise EvidenceError("the command could not be stopped", where=self._path)
            poller.poll(5)

    def resume(self) -> None:
        """Thaws the group."""
        os.write(self._freeze, b"0")

    def kill(self) -> None:
        """Kills the group, frozen or not, and waits until it is empty."""
        _kill_group(self._path)

    def cpu_ns(self) -> int:
        """Returns the group's CPU time; the kernel gives microseconds."""
        return _usage_ns(os.pread(self._stat, 4096, 0))

    def close(self) -> None:
        """Removes the directory."""
        for descriptor in (self._freeze, self._events, self._stat):
            os.close(descriptor)
        _remove_group(self._path)


def end_leftovers(path: Path) -> tuple[int, int | None]:
    """Ends whatever an earlier agent left in its control group, and removes the group.

    Args:
        path: the group's directory; it need not exist.

    Returns:
        Processes found alive, and the group's CPU time in nanoseconds (None if it is gone).
    """
    if not path.is_dir():
        return 0, None
    try:
        alive = len((path / "cgroup.procs").read_text().split())
        _kill_group(path)
        usage = _usage_ns((path / "cpu.stat").read_bytes())
        _remove_group(path)
    except OSError:
        return 0, None
    return alive, usage


def _own_cgroup() -> Path | None:
    """Returns the caller's own directory in the cgroup v2 hierarchy, wherever that is mounted."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        own = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in mounts:
        left, _, right = line.partition(" - ")
        if right.split(" ")[0] == "cgroup2":
            root, point = left.split(" ")[3:5]
            for entry in own:
                if entry.startswith("0::"):
                    inside = entry[3:].removeprefix(root if root != "/" else "")
                    path = Path(point) / inside.lstrip("/")
                    return path if path.is_dir() else None
    return None


def _usage_ns(stat: bytes) -> int:
    for line in stat.splitlines():
        if line.startswith(b"usage_usec "):
            return int(line.split()[1]) * 1000
    raise EvidenceError("the control group does not count CPU time", where="cpu.stat")


def _kill_group(path: Path) -> None:
    def once() -> bool:
        with contextlib.suppress(OSError):
            (path / "cgroup.kill").write_text("1")
        try:
            return "populated 0" in (path / "cgroup.events").read_text()
        except OSError:  # removed by somebody: the kernel lets only an empty group go
            return not path.exists()

    until(once)


def _remove_group(path: Path) -> None:
    def once() -> bool:
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return not path.exists()

    until(once, seconds=2.0)
