"""The table of trials: one JSON line each, appended to as they end and read again by whoever goes on.

What is kept is raw: a row of the printed table is computed from the lines (:mod:`.summary`), never stored.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from weighbridge.attacks.trial import Trial
from weighbridge.errors import InputError

__all__ = ["Line", "append_line", "newest", "read_lines"]

_VERSION: Final = 1
_LARGEST_BYTES: Final = 64 << 20
_KINDS: Final = ("attack", "control")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One trial as it was run.

    Attributes:
        kind: ``attack`` or ``control``.
        name: its name in the registry.
        seed: the seed that it was given.
        commit: commit of the sources; with ``+`` where they were changed since; empty outside a repository.
        code: digest of the package's sources (16 hexadecimal digits).
        machine: processor and number of processors.
        versions: of Python and the packages that decide results.
        began: time of its start, ISO 8601, UTC.
        seconds: how long it took (wall clock).
        trial: what came of it; None where it ended in an error.
        error: the error, in words; empty where there was none.
    """

    kind: str
    name: str
    seed: int
    commit: str
    code: str
    machine: str
    versions: Mapping[str, str]
    began: str
    seconds: float
    trial: Trial | None
    error: str = ""

    def as_json(self) -> str:
        """Returns the line, without its end."""
        return json.dumps({"version": _VERSION, **asdict(self)}, sort_keys=True, allow_nan=False)


def append_line(path: Path, line: Line) -> None:
    """Appends a line durably; half a line that an interrupted run left is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        whole = file.read()
        kept = whole.rfind(b"\n") + 1
        if kept < len(whole):
            file.truncate(kept)
        file.write(line.as_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Line]:
    """Reads all trials of a table, in the order in which they ended; none where there is no such file.

    Half a line at the end is what an interruption leaves, and is passed over.

    Raises:
        InputError: the file is no such table.
    """
    if not path.exists():
        return []
    if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
        raise InputError("is no file of at most 64 MiB", where=path, mend="name a table of trials")
    whole = path.read_bytes()
    lines = whole[: whole.rfind(b"\n") + 1].splitlines()
    return [_line(raw, where=f"{path}, line {number}") for number, raw in enumerate(lines, 1)]


def newest(lines: Iterable[Line]) -> dict[tuple[str, str, int], Line]:
    """Returns the newest trial of each kind, name and seed: one that was run again replaces the older."""
    return {(line.kind, line.name, line.seed): line for line in lines}


def _line(raw: bytes, *, where: str) -> Line:
    try:
        data: Any = json.loads(raw)
    except ValueError as error:
        raise InputError(f"is not JSON: {error}", where=where) from error
    if not isinstance(data, dict) or data.pop("version", None) != _VERSION:
        raise InputError(f"is no trial of version {_VERSION}", where=where)
    if set(data) != {field.name for field in fields(Line)}:
        raise InputError("has other fields than a trial", where=where)
    words = ("kind", "name", "commit", "code", "machine", "began", "error")
    for name in words:
        if not isinstance(data[name], str):
            raise InputError("is no text", where=where, field=name)
    if data["kind"] not in _KINDS:
        raise InputError(f"is none of {', '.join(_KINDS)}", where=where, field="kind")
    if not isinstance(data["seed"], int) or isinstance(data["seed"], bool) or data["seed"] < 0:
        raise InputError("is no whole number of at least 0", where=where, field="seed")
    if not _number(data["seconds"]) or not isinstance(data["versions"], dict):
        raise InputError("is not as a trial has it", where=where, field="seconds or versions")
    trial = data.pop("trial")
    if (trial is None) == (data["error"] == ""):
        raise InputError("must be given where there was no error, and only there", where=where, field="trial")
    return Line(trial=None if trial is None else _trial(trial, where=where), **data)


def _trial(data: Any, *, where: str) -> Trial:
    if not isinstance(data, dict) or set(data) != {field.name for field in fields(Trial)}:
        raise InputError("has other fields than a trial's outcome", where=where, field="trial")
    names = data["caught_by"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("is no list of checks", where=where, field="trial.caught_by")
    correct = (
        isinstance(data["detected"], bool)
        and (data["adversary_cost"] is None or _number(data["adversary_cost"]))
        and _number(data["verifier_cost"])
        and data["reproduced"] in (True, False, None)
        and isinstance(data["original"], str)
    )
    if not correct:
        raise InputError("has a field of another type", where=where, field="trial")
    return Trial(**{**data, "caught_by": tuple(names)})


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
