"""Files: written so that a kill leaves the old one or the new one, never half; read only if plain files."""

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

from weighbridge.errors import EvidenceError

__all__ = ["open_regular", "read_plain", "remove_leftovers", "replace_durably", "replace_whole", "sync_directory"]


def open_regular(path: Path, *, follow: bool = False) -> BinaryIO:
    """Opens a regular file for reading, and nothing else: no FIFO that waits, no device, no directory.

    Args:
        path: the file.
        follow: whether its last part may be a symbolic link.

    Raises:
        OSError: it cannot be opened or is something else.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    handle = os.open(path, flags)
    # The open file is judged, not the path: the path may be swapped in between.
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_plain(path: Path, *, limit_bytes: int) -> bytes:
    """Reads a file that somebody else handed over: a plain file of bounded size, never a link or a pipe.

    Raises:
        EvidenceError: it is something else, larger, or not readable.
    """
    try:
        with open_regular(path) as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror}", where=path) from error
    if len(data) > limit_bytes:
        raise EvidenceError(f"is larger than {limit_bytes} bytes", where=path)
    return data


def replace_whole(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Puts ``data`` at ``path`` in one step: readers see the old file or the new, whole.

    Args:
        path: the file; its directory must exist.
        data: its new content.
        mode: its permissions, whatever the umask.
        durable: force the content to the disk before the name appears.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Like :func:`replace_whole`, and on the disk when it returns, its name included."""
    replace_whole(path, data, mode=mode, durable=True)
    sync_directory(path.parent)


def remove_leftovers(directory: Path, *, of: str = "") -> None:
    """Removes what a kill left of :func:`replace_whole`; for the only process that writes there.

    Args:
        directory: where.
        of: only those of the file with this name.
    """
    for path in directory.iterdir():
        if path.name.startswith(f".{of}") and path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Forces a directory's names to the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
