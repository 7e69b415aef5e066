"""How the command learns of a stop that is over: one small file, replaced while it still stands still."""

import json
import os
import tempfile
from pathlib import Path

__all__ = ["CHIP_VARIABLE", "NOTICE_VARIABLE", "Notice"]

NOTICE_VARIABLE = "WEIGHBRIDGE_CHIP_NOTICE"
CHIP_VARIABLE = "WEIGHBRIDGE_CHIP"


class Notice:
    """The notice file, in a directory of its own that the command may read and the agent alone may write.

    There is no file before the first stop, and nothing is written before a stop: the command cannot prepare.

    Attributes:
        directory: the directory.
        path: the file.
    """

    def __init__(self, *, chip: str, boot: int) -> None:
        self._chip, self._boot = chip, boot
        self.directory = Path(tempfile.mkdtemp(prefix="weighbridge-notice-"))
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
        for path in (self.path, self.directory / ".new"):
            path.unlink(missing_ok=True)
        self.directory.rmdir()
