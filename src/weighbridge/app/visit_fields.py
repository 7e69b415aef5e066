"""What an inspector types into a record: fields as NAME=VALUE, files to keep, times in the usual spelling."""

import csv
import datetime
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from weighbridge.app.draw_files import read_file
from weighbridge.errors import InputError
from weighbridge.evidence.jsontext import dump_json
from weighbridge.mechanisms.chip.store import record_path, sequences
from weighbridge.mechanisms.inspection.record import FORMS
from weighbridge.units import parse_count

__all__ = ["details_of", "fields_help", "file_fields", "parse_time", "show_time"]

_OPTIONAL = {
    "serial": {"physical": None, "digital": None, "photo": None},
    "seal": {"found": None, "photo": None},
    "tamper": {"photo": None},
    "refusal": {"reason": None},
}
_COUNTS = {"about", "records"}
_TIMES = {"asked_at", "from", "to"}


_FILES = {"photo": "PATH", "answer": "RECORD", "chip": "DIRECTORY", "footage": "CSV of from, to, file"}
"""What is given as a file rather than as a value."""
_TOLD = {"intact": "intact=yes|no", "about": "about=number of a record"}
"""Fields whose values do not explain themselves."""


def file_fields(what: str) -> list[str]:
    """Returns the fields of a kind of record that are given as files."""
    return ["chip"] if what == "readout" else [name for name in FORMS.get(what, ()) if name in _FILES]


def fields_help(*, files: bool) -> str:
    """Returns the fields of every kind of record, those given as files or the others, for a help text."""
    told = []
    for what, form in FORMS.items():
        names = [f"{name}={_FILES[name]}" for name in file_fields(what)]
        if not files:
            names = [_TOLD.get(name, name) for name in form if name not in _FILES and what != "readout"]
        if names:
            told.append(f"{what}: {', '.join(names)}")
    return f"{'; '.join(told)}."


def parse_time(text: str, *, name: str, latest: float | None = None) -> int:
    """Reads a time in ISO 8601 with its zone, or Unix seconds.

    Raises:
        InputError: neither, without a zone, or later than ``latest``.
    """
    if text.isascii() and text.isdecimal() and len(text) < 13:
        found = int(text)
    else:
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise InputError("is no time", where=text[:40], field=name, mend="such as 2026-11-22T10:00Z") from None
        if moment.tzinfo is None:
            raise InputError("names no time zone", where=text[:40], field=name, mend="add Z for UTC")
        found = int(moment.timestamp())
    if found <= 0 or (latest is not None and found > latest):
        raise InputError("lies in the future", where=text[:40], field=name)
    return found


def show_time(seconds: float) -> str:
    """Returns a time for people, UTC; what no calendar holds, as it stands."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"Unix second {seconds:.0f}"


def details_of(what: str, values: Sequence[str], files: Sequence[str]) -> tuple[dict[str, Any], list[bytes]]:
    """Returns a record's fields, and the contents of the files that go with it.

    A chip's answer is ``--file answer=RECORD``; a read-out is ``--file chip=DIRECTORY``; footage is a CSV with the
    columns from, to and file (or sha256), whose files are hashed where they lie.

    Raises:
        InputError: an unknown kind, or a field or file that does not fit.
    """
    if what not in FORMS:
        raise InputError(f"is none of {', '.join(FORMS)}", where=what[:40], field="WHAT")
    found: dict[str, Any] = dict(_OPTIONAL.get(what, {}))
    given = _pairs(values, "--set")
    _require_known(what, given, files)
    for name, text in given:
        found[name] = _value(name, text)
    kept: list[bytes] = []
    for name, text in _pairs(files, "--file"):
        path = Path(text)
        if what == "readout" and name == "chip":
            listing, kept = _read_out(path)
            found |= {"digest": _digest(listing), "records": len(kept)}
            kept.append(listing)
        elif what == "camera" and name == "footage":
            found["footage"] = _footage(path)
        else:
            data = read_file(path, follow=False)
            found[name] = _digest(data)
            kept.append(data)
    missing = [name for name in FORMS[what] if name not in found]
    if missing:
        raise InputError(f"a {what} lacks {', '.join(missing)}", field=what, mend=f"give {_options(what, missing)}")
    return found, kept


def _require_known(what: str, values: Sequence[tuple[str, str]], files: Sequence[str]) -> None:
    inside, form = file_fields(what), FORMS[what]
    named = [("--set", name) for name, _ in values] + [("--file", name) for name, _ in _pairs(files, "--file")]
    for option, name in named:
        if name not in (*inside, *form) or (option == "--file" and name not in inside):
            mend = f"it takes {_options(what, form)}" if form else "it takes none"
            raise InputError(f"is no {option} of {what}", where=name[:40], field=option, mend=mend)


def _options(what: str, names: Iterable[str]) -> str:
    """Returns how fields are typed: ``--set text=…``, ``--file photo=PATH``."""
    files, told = file_fields(what), []
    for name in names:
        if what == "readout":
            told.append("--file chip=DIRECTORY")
        elif name in files:
            told.append(f"--file {name}={_FILES[name]}")
        else:
            told.append(f"--set {_TOLD.get(name, f'{name}=…')}")
    return " ".join(dict.fromkeys(told))


def _value(name: str, text: str) -> object:
    if name in _COUNTS:
        return parse_count(text, name=f"--set {name}")
    if name in _TIMES:
        return parse_time(text, name=f"--set {name}")
    if name == "intact":
        if text not in ("yes", "no"):
            raise InputError("is yes or no", where=text[:40], field=f"--set {name}")
        return text == "yes"
    return text


def _pairs(texts: Sequence[str], option: str) -> list[tuple[str, str]]:
    found = []
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name or not value:
            raise InputError("is not NAME=VALUE", where=text[:40], field=option)
        found.append((name, value))
    if len({name for name, _ in found}) < len(found):
        raise InputError("names a field twice", field=option)
    return found


def _read_out(directory: Path) -> tuple[bytes, list[bytes]]:
    """Returns the listing of a chip's records, in order, and the records."""
    for folder in (directory, directory / "records"):
        if folder.is_symlink():
            raise InputError("is a symbolic link", where=folder, mend="copy the folder itself")
    raws = [read_file(record_path(directory, sequence), follow=False) for sequence in sequences(directory)]
    if not raws:
        raise InputError("holds no records", where=directory, mend="name a chip's directory")
    return dump_json({"records": [_digest(raw) for raw in raws]}), raws


def _footage(path: Path) -> list[dict[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(read_file(path).decode("utf-8-sig"))))
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=path) from error
    parts = []
    for number, row in enumerate(rows, 2):
        start, end, digest, file = (row.get(name) for name in ("from", "to", "sha256", "file"))
        if not start or not end or not (digest or file):
            raise InputError(f"line {number} lacks from, to, or file (or sha256)", where=path)
        told = digest or _digest(_beside(path, str(file)))
        parts.append({"from": parse_time(start, name="from"), "to": parse_time(end, name="to"), "sha256": told})
    return parts


def _beside(table: Path, name: str) -> bytes:
    path = table.parent / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError("lies outside the table's own folder", where=table, field=name[:80])
    return read_file(path, follow=False)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
