"""What a process and all that it started use, read from ``/proc`` from outside: CPU time, threads, memory."""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

__all__ = ["available_bytes", "children_of", "cpu_seconds_of", "resident_bytes", "tree_of"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


def children_of(pid: int) -> list[int]:
    """Returns the children of every thread of a process.

    Raises:
        OSError: it is gone.
    """
    found: list[int] = []
    folder = f"/proc/{pid}/task"
    for task in os.listdir(folder):  # noqa: PTH208 - a hundred times a second, and half the time of pathlib's
        with contextlib.suppress(OSError), open(f"{folder}/{task}/children", "rb") as file:  # noqa: PTH123
            found += [int(child) for child in file.read().split()]
    return found


def cpu_seconds_of(pid: int) -> float:
    """Returns CPU seconds of a process, its living descendants, and those that they waited for; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = children_of(pid)
    except (OSError, ValueError):
        return 0.0
    own = sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds_of(child) for child in children)


def tree_of(pid: int, *, most: int) -> tuple[list[int], int]:
    """Returns the processes below and including ``pid``, and how many threads they have; stops beyond ``most``."""
    found, threads, waiting = [], 0, [pid]
    while waiting and threads <= most:
        here = waiting.pop()
        with contextlib.suppress(OSError):
            threads += sum(1 for _ in Path(f"/proc/{here}/task").iterdir())
            found.append(here)
            waiting += children_of(here)
    return found, threads


def resident_bytes(pids: Collection[int], *, limit: int) -> int:
    """Returns the memory that processes hold together; what they share counts once where the sum exceeds ``limit``."""
    total = sum(_resident(pid) for pid in pids)
    return total if total <= limit else sum(_proportional(pid) for pid in pids)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    """Returns a process's memory, each shared page divided by those who share it; all of it where nobody may ask."""
    try:
        for line in _lines(Path(f"/proc/{pid}/smaps_rollup")):
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (PermissionError, FileNotFoundError):
        return _resident(pid)
    except OSError:
        return 0
    return _resident(pid)


def available_bytes() -> int | None:
    """Returns what the machine can still give without swapping; None where the kernel does not say."""
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _lines(path: Path) -> Iterator[str]:
    yield from path.read_text().splitlines()
