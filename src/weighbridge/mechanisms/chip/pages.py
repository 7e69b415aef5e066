"""Which pages of a process are in memory, asked of the kernel from outside."""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterable

import numpy as np

__all__ = ["PAGE", "PageScanner"]

PAGE = os.sysconf("SC_PAGESIZE")


class PageScanner:
    """Finds present and swapped pages, by the PAGEMAP_SCAN ioctl (Linux 6.7) or by reading pagemap.

    The ioctl skips holes, which matters for address space reserved by the gigabyte; both give the same pages.

    Args:
        use_ioctl: None tries the ioctl and falls back.
    """

    _IOCTL = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
    _FILE, _PRESENT, _SWAPPED = 1 << 2, 1 << 3, 1 << 4
    _REGIONS = 4096
    _ENTRIES = 1 << 17  # pagemap entries read at a time: half a gigabyte of address space

    def __init__(self, *, use_ioctl: bool | None = None) -> None:
        self._use_ioctl = use_ioctl
        self._vector = (ctypes.c_uint64 * (3 * self._REGIONS))()

    def pages(self, pagemap: int, start: int, end: int, *, anonymous_only: bool) -> list[tuple[int, int]]:
        """Returns the (start, end) of each resident stretch in a mapping.

        Args:
            pagemap: descriptor of ``/proc/PID/pagemap``.
            start: first address.
            end: address after the last.
            anonymous_only: leave out pages of files and of shared memory.
        """
        if self._use_ioctl is not False:
            try:
                return self._by_ioctl(pagemap, start, end, anonymous_only)
            except OSError as error:
                if self._use_ioctl or error.errno not in (errno.ENOTTY, errno.EINVAL, errno.EPERM):
                    raise
                self._use_ioctl = False
        return self._by_reading(pagemap, start, end, anonymous_only)

    def _by_ioctl(self, pagemap: int, start: int, end: int, anonymous_only: bool) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        file_mask = self._FILE if anonymous_only else 0
        wanted = self._PRESENT | self._SWAPPED
        vector = ctypes.addressof(self._vector)
        while start < end:
            # size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, return mask
            request = bytearray(
                struct.pack(
                    "<12Q",
                    96,
                    0,
                    start,
                    end,
                    0,
                    vector,
                    self._REGIONS,
                    0,
                    file_mask,
                    file_mask,
                    wanted,
                    wanted,
                )
            )
            count = fcntl.ioctl(pagemap, self._IOCTL, request)
            _extend(found, ((self._vector[3 * n], self._vector[3 * n + 1]) for n in range(count)))
            walked: int = struct.unpack_from("<Q", request, 32)[0]
            if walked <= start:
                raise OSError(errno.EIO, "the page scan does not advance")
            start = walked
        return found

    def _by_reading(self, pagemap: int, start: int, end: int, anonymous_only: bool) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        present_or_swapped, file_page = np.uint64(3 << 62), np.uint64(1 << 61)
        while start < end:
            count = min((end - start) // PAGE, self._ENTRIES)
            raw = os.pread(pagemap, count * 8, start // PAGE * 8)
            entries = np.frombuffer(raw[: len(raw) // 8 * 8], dtype="<u8")
            if not len(entries):
                break
            chosen = (entries & present_or_swapped) != 0
            if anonymous_only:
                chosen &= (entries & file_page) == 0
            edges = np.flatnonzero(np.diff(np.concatenate(([0], chosen.view(np.int8), [0]))))
            _extend(found, ((start + int(a) * PAGE, start + int(b) * PAGE) for a, b in edges.reshape(-1, 2)))
            start += len(entries) * PAGE
        return found


def _extend(found: list[tuple[int, int]], more: Iterable[tuple[int, int]]) -> None:
    for start, end in more:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
