"""How the command learns of a stop that is over: one small file, replaced while it still stands still."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

__all__ = ["CHIP_VARIABLE", "NOTICE_VARIABLE", "Notice", "remove_stale"]

NOTICE_VARIABLE = "WEIGHBRIDGE_CHIP_NOTICE"
CHIP_VARIABLE = "WEIGHBRIDGE_CHIP"
_PREFIX = "weighbridge-notice-"
_FILES = ("notice", ".new")


class Notice:
    """The notice file, in a directory of its own that the command may read and the agent alone may write.

    There is no file before the first stop, and nothing is written before a stop: the command cannot prepare.

    Attributes:
        directory: the directory.
        path: the file.
    """

    def __init__(self, *, chip: str, boot: int) -> None:
        self._chip, self._boot = chip, boot
        self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.directory.chmod(0o755)
        self.path = self.directory / "notice"

    def variables(self) -> dict[str, str]:
        """Returns the environment variables that tell the command of it."""
        return {NOTICE_VARIABLE: str(self.path), CHIP_VARIABLE: self._chip}

    def write(self, sequence: int) -> None:
        """Names the newest sample record."""
        line = json.dumps({"boot": self._boot, "chip": self._chip, "sequence": sequence}) + "\n"
        new = self.directory / ".new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(descriptor, 0o644)
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        new.replace(self.path)

    def close(self) -> None:
        """Removes the directory."""
        _remove(self.directory)


def remove_stale(directory: str) -> None:
    """Removes the notice directory of an agent that was killed."""
    path = Path(directory)
    if path.name.startswith(_PREFIX) and path.is_dir() and not path.is_symlink():
        with contextlib.suppress(OSError):
            _remove(path)


def _remove(directory: Path) -> None:
    for name in _FILES:
        (directory / name).unlink(missing_ok=True)
    directory.rmdir()
