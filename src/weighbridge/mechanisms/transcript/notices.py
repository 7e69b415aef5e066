"""How a program under a chip agent learns, after the fact, that its memory was read."""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Notice", "NoticeBoard"]


@dataclass(frozen=True)
class Notice:
    """The newest sample record of one chip: what the agent wrote before it let the program go on."""

    chip: str
    boot: int
    sequence: int


class NoticeBoard:
    """Watches the agent's notice file; looking costs one ``stat`` a time (about 2 µs)."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self.newest: Notice | None = None

    @property
    def watched(self) -> bool:
        """Whether there is an agent at all."""
        return self._path is not None

    def look(self) -> Notice | None:
        """Returns a notice not returned before, or None."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
            mark = (status.st_ino, status.st_mtime_ns)
            if mark == self._seen:
                return None
            data = json.loads(self._path.read_text())
            notice = Notice(str(data["chip"]), int(data["boot"]), int(data["sequence"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # half a notice cannot be: the agent replaces the file; a foreign file is no notice
        self._seen = mark
        if notice == self.newest:
            return None
        self.newest = notice
        return notice
