"""The transcript's journal: one JSON line an event, chained by hash, readable to the last whole line after SIGKILL.

``head_n = BLAKE3(head_(n-1) ‖ line_n)``, from 32 zero bytes. Heads go to the log while training runs, so a journal
cannot be rewritten afterwards. A resumed run opens ``journal-0001.jsonl``, whose first line names the head that it
continues from. Each line has one spelling (sorted keys, no spaces, no NaN).
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import open_regular
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.events import check_event

__all__ = ["Event", "Journal", "Segment", "SegmentReader", "read_segment", "segment_paths"]

_LINE_LIMIT_BYTES = 16 << 20
_SEGMENT_LIMIT_BYTES = 4 << 30
_START = bytes(32)


def _advance(head: bytes, line: bytes) -> bytes:
    return blake3(head + line).digest()


class Journal:
    """Appends events to one segment's file; each reaches the kernel before :meth:`append` returns.

    The file appears with its whole first line: a kill leaves no segment that says nothing.

    Attributes:
        head: the head after the newest line.
        written_bytes: bytes appended so far.

    Raises:
        InputError: the segment exists already.
    """

    def __init__(self, path: Path, first: Mapping[str, Any]) -> None:
        self.head = _START
        self.written_bytes = 0
        part = path.with_name(f".{path.name}.part")
        self._descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self.append(first)
        try:
            os.link(part, path)  # unlike a rename, this never replaces a segment
        except FileExistsError as error:
            raise InputError("exists already", where=path, mend="resume once at a time") from error
        finally:
            part.unlink()

    def append(self, event: Mapping[str, Any]) -> bytes:
        """Appends one event and returns the new head."""
        line = canonical(event) + b"\n"
        left = memoryview(line)
        while left:  # a full disk takes a part of a line before it refuses the rest
            left = left[os.write(self._descriptor, left) :]
        self.head = _advance(self.head, line)
        self.written_bytes += len(line)
        return self.head

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


@dataclass(frozen=True)
class Event:
    """One line and the head after it."""

    data: Mapping[str, Any]
    head: bytes

    @property
    def type(self) -> str:
        """The event's type: segment, step, anchor, freeze or end."""
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
    if not paths:
        raise EvidenceError("has no journal: nothing was recorded, or it was taken away", where=folder)
    if paths != expected:
        raise EvidenceError("one of its segments is missing", where=folder)
    return paths


class SegmentReader:
    """Reads one segment line by line, so that a long one needs no memory; iterate over it once for its events.

    A last line without its end is left out, and ``torn`` says so once the last event was given.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = False

    def __iter__(self) -> Iterator[Event]:
        """Yields the whole lines.

        Raises:
            EvidenceError: the file is no plain file or too large, or a line is not an event in its one spelling.
        """
        head, number, size = _START, 0, 0
        try:
            with open_regular(self.path) as file:
                while line := file.readline(_LINE_LIMIT_BYTES):
                    size += len(line)
                    number += 1
                    where = f"{self.path}:{number}"
                    if size > _SEGMENT_LIMIT_BYTES:
                        raise EvidenceError("has more than 4 GiB", where=self.path)
                    if not line.endswith(b"\n"):
                        if len(line) >= _LINE_LIMIT_BYTES:
                            raise EvidenceError("line longer than 16 MiB", where=where)
                        self.torn = True
                        break
                    data = _read_line(line, where)
                    head = _advance(head, line)
                    yield Event(data, head)
        except OSError as error:
            raise EvidenceError(f"cannot be read ({error.strerror})", where=self.path) from error


def read_segment(path: Path) -> Segment:
    """Reads one segment; a last line without its end is reported as torn and left out.

    Raises:
        EvidenceError: the file is no plain file or too large, or a whole line is not an event in its one spelling.
    """
    reader = SegmentReader(path)
    events = tuple(reader)
    return Segment(path, events, reader.torn)


def _read_line(line: bytes, where: str) -> dict[str, Any]:
    try:
        data = json.loads(line.decode("utf-8"), parse_constant=_refuse)
        spelled = canonical(data) + b"\n"
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"is not JSON ({error})", where=where, mend="the journal was edited") from error
    if not isinstance(data, dict):
        raise EvidenceError("is not a JSON object", where=where)
    if spelled != line:
        raise EvidenceError("is not in its one spelling", where=where, mend="the journal was edited")
    check_event(data, where)
    return data


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
