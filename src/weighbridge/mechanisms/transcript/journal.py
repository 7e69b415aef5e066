"""The transcript's journal: one JSON line an event, chained by hash, readable to the last whole line after SIGKILL.

``head_n = BLAKE3(head_(n-1) ‖ line_n)``, from 32 zero bytes. Heads go to the log while training runs, so a journal
cannot be rewritten afterwards. A resumed run opens ``journal-0001.jsonl``, whose first line names the head that it
continues from.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from blake3 import blake3

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.encoding import canonical

__all__ = ["Event", "Journal", "Segment", "read_segment", "segment_paths"]

_LINE_LIMIT_BYTES = 16 << 20
_START = bytes(32)


def _advance(head: bytes, line: bytes) -> bytes:
    return blake3(head + line).digest()


class Journal:
    """Appends events to one segment's file; each reaches the kernel before :meth:`append` returns."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("xb", buffering=0)
        self.head = _START

    def append(self, event: Mapping[str, Any]) -> bytes:
        """Appends one event and returns the new head."""
        line = canonical(event) + b"\n"
        self._file.write(line)
        self.head = _advance(self.head, line)
        return self.head

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


@dataclass(frozen=True)
class Event:
    """One line and the head after it."""

    data: Mapping[str, Any]
    head: bytes

    @property
    def type(self) -> str:
        """The event's type: segment, step, freeze, end, ..."""
        return str(self.data.get("type"))


@dataclass(frozen=True)
class Segment:
    """One segment as read: its events, and whether the last line was torn by a crash."""

    path: Path
    events: tuple[Event, ...]
    torn: bool

    @property
    def head(self) -> bytes:
        """The head after the last whole line."""
        return self.events[-1].head if self.events else _START

    @property
    def complete(self) -> bool:
        """Whether the segment says that it ended."""
        return bool(self.events) and self.events[-1].type == "end"


def segment_paths(folder: Path) -> list[Path]:
    """Returns the segments' files in order.

    Raises:
        EvidenceError: there is none, or one is missing in between.
    """
    paths = sorted(folder.glob("journal-*.jsonl"))
    expected = [folder / f"journal-{index:04d}.jsonl" for index in range(len(paths))]
    if not paths or paths != expected:
        raise EvidenceError("has no journal, or one of its segments is missing", where=folder)
    return paths


def read_segment(path: Path) -> Segment:
    """Reads one segment; a last line without its end is reported as torn and left out.

    Raises:
        EvidenceError: a whole line is not a JSON object, or is longer than 16 MiB.
    """
    events: list[Event] = []
    head, torn = _START, False
    with path.open("rb") as file:
        while line := file.readline(_LINE_LIMIT_BYTES):
            if not line.endswith(b"\n"):
                if len(line) >= _LINE_LIMIT_BYTES:
                    raise EvidenceError("line longer than 16 MiB", where=f"{path}:{len(events) + 1}")
                torn = True
                break
            try:
                data = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise EvidenceError(
                    f"is not JSON ({error})", where=f"{path}:{len(events) + 1}", mend="the journal was edited"
                ) from error
            if not isinstance(data, dict):
                raise EvidenceError("is not a JSON object", where=f"{path}:{len(events) + 1}")
            head = _advance(head, line)
            events.append(Event(data, head))
    return Segment(path, tuple(events), torn)
