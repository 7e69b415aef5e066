"""Reading real processes from outside: what must be found, and that both ways of finding pages agree."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from weighbridge.mechanisms.chip.leaves import LeafTable, page_digest
from weighbridge.mechanisms.chip.memory import MemoryReader, Snapshot
from weighbridge.mechanisms.chip.pages import PageScanner
from weighbridge.mechanisms.chip.residency import parse_maps

pytestmark = pytest.mark.real

LEAF = 16384

HIDER = r"""
import ctypes, json, mmap, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
SIZE = 1 << 20
places = {}
keep = []
def pattern(letter):
    return bytes((ord(letter) + 7 * n) % 256 for n in range(16384)) * (SIZE // 16384)
def anonymous(letter, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
    area = mmap.mmap(-1, SIZE, flags=flags)
    area[:] = pattern(letter)
    keep.append(area)
    view = (ctypes.c_char * SIZE).from_buffer(area)
    keep.append(view)
    return ctypes.addressof(view)
places["a"] = anonymous("a")
places["b"] = anonymous("b")
assert libc.mprotect(ctypes.c_void_p(places["b"]), SIZE, 0) == 0
places["c"] = anonymous("c")
assert libc.mprotect(ctypes.c_void_p(places["c"]), SIZE, 1) == 0
places["d"] = anonymous("d", mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
places["e"] = anonymous("e", mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
assert libc.mprotect(ctypes.c_void_p(places["e"]), SIZE, 0) == 0
assert libc.madvise(ctypes.c_void_p(places["d"]), SIZE, 4) == 0  # MADV_DONTNEED: out of the page table, in memory
memory = os.memfd_create("hidden")
os.write(memory, pattern("f"))
keep.append(mmap.mmap(-1, 1 << 33, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000))  # 8 GiB never touched
sparse = os.memfd_create("sparse")
os.ftruncate(sparse, 1 << 33)
os.pwrite(sparse, pattern("g"), 1 << 32)
keep.append(mmap.mmap(sparse, 1 << 33))
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        places = {"h": anonymous("h")}
        os.write(1, (json.dumps([os.getpid(), places]) + "\n").encode())
        time.sleep(60)
    os._exit(0)
os.wait()
os.write(1, (json.dumps([os.getpid(), places]) + "\n").encode())
time.sleep(60)
"""


def pattern(letter: str) -> bytes:
    return bytes((ord(letter) + 7 * n) % 256 for n in range(LEAF))


def table_of(snapshot: Snapshot) -> LeafTable:
    return LeafTable.build(
        leaf_size=snapshot.leaf_size,
        processes=snapshot.processes,
        mappings=snapshot.mappings,
        runs=snapshot.runs,
        digests=snapshot.digests,
    )


def leaves_of(table: LeafTable, letter: str) -> list[tuple[int, int]]:
    """(process, address) of every whole leaf that holds a pattern, whatever its phase to the page."""
    wanted = set()
    for shift in range(0, LEAF, 4096):
        body = pattern(letter)
        wanted.add(page_digest(body[shift:] + body[:shift]))
    return [
        (int(process), int(address))
        for process, address, digest in zip(table.processes, table.addresses, table.digests, strict=True)
        if digest.tobytes() in wanted
    ]


@pytest.fixture
def hider() -> Iterator[tuple[dict[int, dict[str, int]], list[int]]]:
    """A process that hides patterns, stopped together with its orphan."""
    process = subprocess.Popen([sys.executable, "-c", HIDER], stdout=subprocess.PIPE)
    assert process.stdout is not None
    places: dict[int, dict[str, int]] = {}
    for _ in range(2):
        pid, found = json.loads(process.stdout.readline())
        places[pid] = found
    for pid in places:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(0.05)
    try:
        yield places, sorted(places)
    finally:
        for pid in places:
            os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_whatever_is_hidden_is_found(hider: tuple[dict[int, dict[str, int]], list[int]]) -> None:
    places, pids = hider
    snapshot = MemoryReader(leaf_size=LEAF).take(pids)
    table = LeafTable.from_bytes(table_of(snapshot).to_bytes())
    assert table.read_bytes == snapshot.read_bytes and snapshot.unread_bytes == 0
    # Resident bytes, not address space: the 16 GiB that were only reserved cost nothing.
    assert snapshot.read_bytes < 200 << 20 < 16 << 30 < snapshot.writable_bytes
    main, orphan = sorted(places, key=lambda pid: len(places[pid]), reverse=True)
    for letter, address in places[main].items():
        found = leaves_of(table, letter)
        inside = [a for p, a in found if pids[p] == main and address <= a < address + (1 << 20)]
        assert len(inside) >= (1 << 20) // LEAF - 1, letter
    assert len(leaves_of(table, "h")) >= 63 and {pids[p] for p, _ in leaves_of(table, "h")} == {orphan}
    assert len(leaves_of(table, "f")) >= 64  # written to a memory file that is mapped nowhere
    assert len(leaves_of(table, "g")) >= 64  # in the middle of a sparse file
    files = [m for m in table.mapping_table if m.kind == "file"]
    assert any("hidden" in m.path for m in files)


@pytest.mark.parametrize("leaf_size", [4096, 65536])
def test_leaf_sizes(hider: tuple[dict[int, dict[str, int]], list[int]], leaf_size: int) -> None:
    snapshot = MemoryReader(leaf_size=leaf_size).take(hider[1])
    table = LeafTable.from_bytes(table_of(snapshot).to_bytes())
    whole = table.lengths == leaf_size
    assert whole.sum() > 10 and not (table.addresses[whole] % leaf_size).any()
    assert table.lengths.max() == leaf_size


def test_both_ways_of_finding_pages_agree(hider: tuple[dict[int, dict[str, int]], list[int]]) -> None:
    pid = max(hider[0], key=lambda p: len(hider[0][p]))
    by_ioctl, by_reading = PageScanner(use_ioctl=True), PageScanner(use_ioctl=False)
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    compared = 0
    try:
        for mapping in parse_maps(Path(f"/proc/{pid}/maps").read_bytes(), process=0):
            if mapping.path == "[vsyscall]":
                continue
            for anonymous_only in (False, True):
                try:
                    pages = by_ioctl.pages(pagemap, mapping.start, mapping.end, anonymous_only=anonymous_only)
                except OSError:
                    pytest.skip("this kernel has no PAGEMAP_SCAN")
                read = by_reading.pages(pagemap, mapping.start, mapping.end, anonymous_only=anonymous_only)
                assert pages == read, mapping
                compared += len(pages)
    finally:
        os.close(pagemap)
    assert compared > 20


def test_a_process_that_is_gone_adds_nothing() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    snapshot = MemoryReader(leaf_size=LEAF).take([process.pid])
    assert snapshot.read_bytes == 0 and not snapshot.runs


SECRET = r"""
import ctypes, mmap, sys, time
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(447, 0)
if fd < 0:
    print("none", flush=True)
else:
    import os
    os.ftruncate(fd, 1 << 16)
    area = mmap.mmap(fd, 1 << 16)
    area[:] = b"s" * (1 << 16)
    print("secret", flush=True)
time.sleep(60)
"""


def test_secret_memory_is_counted_as_unread() -> None:
    process = subprocess.Popen([sys.executable, "-c", SECRET], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"secret\n":
            pytest.skip("this kernel offers no secret memory")
        process.send_signal(signal.SIGSTOP)
        snapshot = MemoryReader(leaf_size=LEAF).take([process.pid])
        assert snapshot.unread_bytes >= 1 << 16
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


CHURN = r"""
import mmap, threading, random, time
def churn(seed):
    rng = random.Random(seed)
    held = []
    while True:
        area = mmap.mmap(-1, rng.randrange(1, 64) * 65536)
        area[:] = bytes([seed]) * len(area)
        held.append(area)
        if len(held) > 8:
            held.pop(rng.randrange(len(held))).close()
for seed in range(1, 4):
    threading.Thread(target=churn, args=(seed,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""


def test_a_process_that_is_not_stopped_cannot_break_the_reader() -> None:
    """The agent never reads a running process; if something let it run, the reader still ends and stays in bounds."""
    process: Any = subprocess.Popen([sys.executable, "-c", CHURN], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        reader = MemoryReader(leaf_size=LEAF)
        for _ in range(5):
            table = table_of(reader.take([process.pid]))
            assert LeafTable.from_bytes(table.to_bytes()).read_bytes == table.read_bytes
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


TMPFS_FILE = r"""
import ctypes, mmap, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def hold(path, fill, mode, protection):
    with open(path, "r+b") as file:
        file.write(fill * (1 << 18))
    with open(path, mode) as file:
        area = mmap.mmap(file.fileno(), 1 << 18, prot=protection)
    return area
both = mmap.PROT_READ | mmap.PROT_WRITE
once = hold(sys.argv[1], b"w", "r+b", both)
view = (ctypes.c_char * (1 << 18)).from_buffer(once)
assert libc.mprotect(ctypes.c_void_p(ctypes.addressof(view)), 1 << 18, 1) == 0
never = hold(sys.argv[2], b"r", "rb", mmap.PROT_READ)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_memory_file_made_read_only_is_read_and_a_data_set_is_not() -> None:
    folder = next((p for p in ("/run", "/dev/shm", "/sys/fs/cgroup") if on_tmpfs(p)), None)
    if folder is None:
        pytest.skip("no tmpfs that may be written")
    with contextlib.ExitStack() as stack:
        paths = [
            stack.enter_context(tempfile.NamedTemporaryFile(dir=folder, prefix="weighbridge-test-")).name for _ in "ab"
        ]
        for path in paths:
            os.truncate(path, 1 << 18)
        process = subprocess.Popen([sys.executable, "-c", TMPFS_FILE, *paths], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGSTOP)
            table = table_of(MemoryReader(leaf_size=LEAF).take([process.pid]))
            owners = [table.mapping_table[int(number)].path for number in table.mappings]
            read = [sum(int(n) for n, owner in zip(table.lengths, owners, strict=True) if owner == p) for p in paths]
            assert read == [1 << 18, 0]
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def on_tmpfs(path: str) -> bool:
    mounts = Path("/proc/mounts").read_text().splitlines()
    return any(line.split()[1:3] == [path, "tmpfs"] for line in mounts) and os.access(path, os.W_OK)
