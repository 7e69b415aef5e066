"""Which bytes of a stopped process a snapshot must read.

Of each process: every resident or swapped page of its writable private mappings; every anonymous page of the
others, since what is read-only or inaccessible now may have been writable a moment ago; shared writable
mappings and memory files completely, since their pages need not be mapped present. Memory files that are
held open without being mapped are read too. Left out: vvar, vdso, vsyscall (the kernel's), file pages
nobody wrote to, and devices, whose size is reported.
"""

# Plain os calls, since all this runs while the command stands still.
# ruff: noqa: PTH115, PTH116, PTH123, PTH208

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from weighbridge.mechanisms.chip.leaf_format import Mapping
from weighbridge.mechanisms.chip.pages import PageScanner

__all__ = ["Plan", "Span", "parse_maps", "plan_process"]

_MAPS_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-][sp]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+) *(.*)")
_KERNEL = ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]")
_MEMORY_FILES = ("/memfd:", "/dev/zero", "/SYSV", "/secretmem", "/anon_hugepage")


@dataclass(frozen=True)
class Span:
    """Bytes to read: addresses ``start`` to ``end`` of a mapping, from a file at an offset or from memory."""

    mapping: int
    start: int
    end: int
    file: int | None = None
    offset: int = 0


@dataclass
class Plan:
    """What one stop will read, over all processes.

    Attributes:
        mappings: all mappings looked at.
        spans: what to read, in order.
        writable_bytes: address space that is writable.
        device_bytes: writable mappings of devices.
        unread_bytes: bytes that ought to be read and cannot.
        files: descriptors that the spans read from, to be closed after.
        whole_files: (device, inode) of memory files already planned from their first to their last byte.
    """

    mappings: list[Mapping] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    writable_bytes: int = 0
    device_bytes: int = 0
    unread_bytes: int = 0
    files: list[int] = field(default_factory=list)
    whole_files: set[tuple[int, int]] = field(default_factory=set)

    def close(self) -> None:
        """Closes every descriptor."""
        for file in self.files:
            os.close(file)
        self.files.clear()


def parse_maps(text: bytes, *, process: int) -> list[Mapping]:
    """Reads ``/proc/PID/maps``."""
    found = []
    for line in text.splitlines():
        match = _MAPS_LINE.fullmatch(line)
        if match is None:
            continue
        start, end, permissions, offset, device, inode, path = match.groups()
        found.append(
            Mapping(
                process=process,
                kind="map",
                start=int(start, 16),
                end=int(end, 16),
                permissions=permissions.decode("ascii"),
                offset=int(offset, 16),
                device=device.decode("ascii"),
                inode=int(inode),
                path=path.decode("utf-8", "surrogateescape"),
            )
        )
    return found


def plan_process(plan: Plan, pid: int, process: int, scanner: PageScanner) -> None:
    """Adds what must be read of one stopped process; a process without memory (a zombie) adds nothing.

    Args:
        plan: the stop's plan.
        pid: the process.
        process: its number in the process table.
        scanner: finds resident pages.
    """
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            mappings = parse_maps(file.read(), process=process)
        pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return
    try:
        for mapping in mappings:
            if mapping.path in _KERNEL:
                continue
            number = len(plan.mappings)
            plan.mappings.append(mapping)
            writable = mapping.permissions[1] == "w"
            if writable:
                plan.writable_bytes += mapping.end - mapping.start
            if mapping.permissions[3] == "p":
                pages = scanner.pages(pagemap, mapping.start, mapping.end, anonymous_only=not writable)
                plan.spans.extend(Span(number, start, end) for start, end in pages)
            elif writable or _was_writable(pid, mapping):
                _plan_shared(plan, pid, number, mapping)
    finally:
        os.close(pagemap)
    _plan_open_files(plan, pid, process)


def _plan_shared(plan: Plan, pid: int, number: int, mapping: Mapping) -> None:
    """Plans a shared mapping through its file: reading a hole there allocates nothing."""
    link = f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
    try:
        status = os.stat(link)
        if not stat.S_ISREG(status.st_mode):
            plan.device_bytes += mapping.end - mapping.start
            return
        file = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # Without the privilege to open map_files (or for secret memory): through the mapping, as far as it
        # goes.
        plan.spans.append(Span(number, mapping.start, mapping.end))
        return
    plan.files.append(file)
    end = min(status.st_size, mapping.offset + mapping.end - mapping.start)
    if mapping.offset == 0 and end == status.st_size:
        plan.whole_files.add((status.st_dev, status.st_ino))
    shift = mapping.start - mapping.offset
    plan.spans.extend(
        Span(number, low + shift, high + shift, file, low) for low, high in _data(file, mapping.offset, end)
    )


def _plan_open_files(plan: Plan, pid: int, process: int) -> None:
    """Plans memory files that are open but not wholly mapped: plain writes can keep bytes there."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            link = f"{folder}/{name}"
            path = os.readlink(link)
            status = os.stat(link)
            if not _is_memory_file(path, os.major(status.st_dev)):
                continue
            key = (status.st_dev, status.st_ino)
            if not stat.S_ISREG(status.st_mode) or key in plan.whole_files or not status.st_size:
                continue
            plan.whole_files.add(key)
            number = len(plan.mappings)
            plan.mappings.append(
                Mapping(
                    process=process,
                    kind="file",
                    start=0,
                    end=status.st_size,
                    permissions="----",
                    offset=0,
                    device=f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}",
                    inode=status.st_ino,
                    path=path,
                )
            )
            plan.writable_bytes += status.st_size
            try:
                file = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                plan.unread_bytes += status.st_size
                continue
            plan.files.append(file)
            plan.spans.extend(Span(number, a, b, file, a) for a, b in _data(file, 0, status.st_size))


def _was_writable(pid: int, mapping: Mapping) -> bool:
    """Returns whether a shared mapping that is not writable now may have been, over memory rather than a disk."""
    if int(mapping.device.split(":")[0], 16) != 0:
        return False
    # VmFlags has "mw" where the mapping may be made writable (proc(5)): a data set opened for reading has it not.
    head, inside = f"{mapping.start:x}-{mapping.end:x} ".encode(), False
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps", "rb") as file:
        for line in file:
            if line.startswith(head):
                inside = True
            elif inside and line.startswith(b"VmFlags:"):
                return b"mw" in line.split()
    return False


def _is_memory_file(path: str, device_major: int) -> bool:
    # Major 0 is tmpfs, memfd, System V and the like; a deleted file on a disk is storage, not memory.
    return device_major == 0 and (path.startswith(_MEMORY_FILES) or path.endswith(" (deleted)"))


def _data(file: int, start: int, end: int) -> Iterable[tuple[int, int]]:
    """Yields the stretches of a file that hold data, cut to ``start`` and ``end``."""
    while start < end:
        try:
            low = os.lseek(file, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            low = start
            yield low, end
            return
        if low >= end:
            return
        high = min(os.lseek(file, low, os.SEEK_HOLE), end)
        yield low, high
        start = high
