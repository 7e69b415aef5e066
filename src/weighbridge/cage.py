"""A control group of its own for a sandbox, where this process may make one: limits that the kernel itself keeps.

Below this process's own group: in version 2 of control groups for threads and memory, where both controllers are handed
down; in version 1 for threads. Where neither is possible, limits are only watched from outside, and a user who is not
root also has the kernel's limit on a user's processes.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cage", "caged"]

_PREFIX = "weighbridge-cage-"
"""The agents of chips have groups of their own here, which are nobody else's to remove."""
_ENTER = 'echo $$ > "$1" || exit 125; shift; exec "$@"'


@dataclass(frozen=True)
class Cage:
    """A group and its kind; no group where none could be made."""

    group: Path | None = None

    def command(self, command: Sequence[str]) -> list[str]:
        """Returns a command that enters the group before it becomes the given one."""
        if self.group is None:
            return list(command)
        return ["/bin/sh", "-c", _ENTER, "sh", str(self.group / "cgroup.procs"), *command]

    def refused(self) -> str:
        """Returns which limit the kernel enforced, in words; nothing if none."""
        if self.group is None:
            return ""
        if _count(self.group / "pids.events", "max"):
            return f"it had more than {(self.group / 'pids.max').read_text().strip()} threads"
        if _count(self.group / "memory.events", "oom_kill"):
            return f"its processes held more than {(self.group / 'memory.max').read_text().strip()} bytes of memory"
        return ""


@contextmanager
def caged(*, threads: int, memory_bytes: int) -> Iterator[Cage]:
    """Makes a group with limits, and removes it when nobody is left in it."""
    group = _make(threads, memory_bytes)
    try:
        yield Cage(group)
    finally:
        if group is not None:
            _remove(group)


def _make(threads: int, memory_bytes: int) -> Path | None:
    for parent, version in _parents():
        _sweep(parent)
        group = parent / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            if version == 2:
                if not {"pids", "memory"} <= set((parent / "cgroup.subtree_control").read_text().split()):
                    continue
                group.mkdir()
                (group / "memory.max").write_text(f"{memory_bytes}\n")
                with contextlib.suppress(OSError):
                    (group / "memory.swap.max").write_text("0\n")
            else:
                group.mkdir()
            (group / "pids.max").write_text(f"{threads}\n")
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        return group
    return None


def _sweep(parent: Path) -> None:
    """Removes groups whose makers were killed: empty ones only can be."""
    for group in parent.glob(f"{_PREFIX}*-*"):
        if not Path("/proc", group.name.removeprefix(_PREFIX).split("-")[0]).exists():
            with contextlib.suppress(OSError):
                group.rmdir()


def _parents() -> Iterator[tuple[Path, int]]:
    """Yields this process's own groups below which another may be made, version 2 first."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return
    own = {controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in lines)}
    for kind, controller, version in (("cgroup2", "", 2), ("cgroup", "pids", 1)):
        for mount in mounts:
            options = mount[-1].split(",")
            if mount[mount.index("-") + 1] != kind or (controller and controller not in options):
                continue
            path = next((p for c, p in own.items() if controller in c.split(",")), None)
            if path is not None and (Path(mount[4]) / path).is_dir():
                yield Path(mount[4]) / path, version


def _count(path: Path, name: str) -> int:
    try:
        return sum(int(line.split()[1]) for line in path.read_text().splitlines() if line.split()[0] == name)
    except (OSError, ValueError, IndexError):
        return 0


def _remove(group: Path) -> None:
    """Removes a group; the last of those that were in it may take a moment to go."""
    for _ in range(200):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return
