"""Import from a table: each row becomes one custody event, signed by whoever imports it.

Columns, in any order: ``chip``, ``step`` (made, shipped, received, installed, destroyed, or the CBV word), ``time``
(with zone, or a date), ``party`` (who did it; the signer if left out), ``to`` (shipped), ``from`` (received),
``serial`` (made), ``location``. The first bad cell is named by file, line and column, and nothing is stored.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weighbridge.errors import InputError
from weighbridge.evidence.certificates import Identity, Role
from weighbridge.evidence.jsontext import dump_json
from weighbridge.evidence.keys import Signer
from weighbridge.mechanisms.registry.custody import FOR_OTHERS, WITNESSES
from weighbridge.mechanisms.registry.directory import Directory, claim_of, sign_custody_event
from weighbridge.mechanisms.registry.epcis import Step, event_payload, parse_time

__all__ = ["COLUMNS", "Imported", "import_csv"]

COLUMNS: Final = ("chip", "step", "time", "party", "to", "from", "serial", "location")
_NEEDED: Final = ("chip", "step", "time")
_STEPS: Final[Mapping[str, Step]] = {
    "made": Step.MADE,
    "shipped": Step.SHIPPED,
    "received": Step.RECEIVED,
    "installed": Step.INSTALLED,
    "destroyed": Step.DESTROYED,
} | {step.value: step for step in Step}
# About a million rows; they are held in memory until all of them are known to be good.
_LARGEST_FILE: Final = 128 * 2**20
_LARGEST_CELL: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes:
        rows: rows read.
        stored: ids of the statements that were new.
        known: rows that said what the directory knew already.
    """

    rows: int
    stored: tuple[str, ...]
    known: int


@dataclass(frozen=True)
class _Row:
    line: int
    step: Step
    chip: str
    time: float
    party: str
    other: str | None
    serial: str | None
    location: str | None


def import_csv(path: Path, *, directory: Directory, signer: Signer, issued_at: float | None = None) -> Imported:
    """Signs each row of a CSV file as a custody event and stores all of them, or none.

    Args:
        path: UTF-8 with a header row.
        directory: where the events go; it verifies the signer like anybody else.
        signer: the registrar's key, or a party's own for its own events.
        issued_at: when they are signed, Unix seconds; now unless given.

    Raises:
        InputError: naming file, line, column and mend; nothing was stored.
        EvidenceError: the signer is not one whom the directory's roots know.
    """
    if not signer.chain:
        raise InputError("the key has no certificate", where="key", mend="have it certified first")
    identity = directory.identify(signer)
    rows = list(_read(path, signer_name=identity.name))
    for row in rows:
        _check_party(row, identity, path)
    claims = [claim_of(identity.name, _payload_bytes(row, path)) for row in rows]
    known = directory.claims_known(claims)
    fresh = dict(zip(claims, rows, strict=True))
    statements = [
        sign_custody_event(
            signer,
            step=row.step,
            chips=[row.chip],
            time=row.time,
            party=row.party,
            other=row.other,
            serial=row.serial,
            location=row.location,
            issued_at=issued_at,
        )
        for claim, row in fresh.items()
        if claim not in known
    ]
    stored = directory.add(statements)
    return Imported(rows=len(rows), stored=stored, known=len(rows) - len(stored))


def _check_party(row: _Row, signer: Identity, path: Path) -> None:
    if row.step is Step.MADE and signer.role is not Role.MAKER and signer.role not in FOR_OTHERS:
        raise _bad(path, row.line, "step", f"{signer.name} is {signer.role}", "let the maker or the registrar sign it")
    witnessed = row.step is Step.DESTROYED and signer.role in WITNESSES
    if row.party != signer.name and signer.role not in FOR_OTHERS and not witnessed:
        raise _bad(
            path,
            row.line,
            "party",
            f"{signer.name} cannot sign for {row.party!r:.70}",
            "let that party sign it, or the registrar",
        )


def _payload_bytes(row: _Row, path: Path) -> bytes:
    try:
        payload = event_payload(
            row.step,
            chips=[row.chip],
            time=row.time,
            party=row.party,
            other=row.other,
            serial=row.serial,
            location=row.location,
        )
    except InputError as error:
        raise _bad(path, row.line, error.field, error.what, error.mend) from error
    return dump_json(payload)


def _read(path: Path, *, signer_name: str) -> Iterator[_Row]:
    lines = _cells(path)
    try:
        _, header = next(lines)
    except StopIteration:
        raise InputError("is empty", where=path, mend=f"begin with the columns {', '.join(COLUMNS)}") from None
    columns = [name.strip().lower() for name in header]
    for name in columns:
        if name not in COLUMNS:
            raise _bad(path, 1, name, "is no column of this table", f"use {', '.join(COLUMNS)}")
        if columns.count(name) > 1:
            raise _bad(path, 1, name, "is there twice", "keep one of them")
    for name in _NEEDED:
        if name not in columns:
            raise _bad(path, 1, name, "column is missing", "add it")
    count = 0
    for line, cells in lines:
        if len(cells) != len(columns):
            raise _bad(path, line, None, f"has {len(cells)} cells, expected {len(columns)}", "mend the row")
        count += 1
        values = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
        yield _row(values, path=path, line=line, signer_name=signer_name)
    if not count:
        raise InputError("holds no events", where=path, mend="add a row for each event")


def _row(values: Mapping[str, str], *, path: Path, line: int, signer_name: str) -> _Row:
    for name in _NEEDED:
        if not values[name]:
            raise _bad(path, line, name, "is empty", "fill it in")
    if values["step"].lower() not in _STEPS:
        known = "made, shipped, received, installed or destroyed"
        raise _bad(path, line, "step", f"{values['step']!r:.40} is not known", f"write {known}")
    step = _STEPS[values["step"].lower()]
    try:
        time = parse_time(values["time"])
    except InputError as error:
        raise _bad(path, line, "time", error.what, error.mend) from error
    counterpart = {Step.SHIPPED: "to", Step.RECEIVED: "from"}.get(step)
    for name in ("to", "from"):
        given = bool(values.get(name))
        if given and name != counterpart:
            raise _bad(path, line, name, f"does not belong to {step}", "leave it empty")
        if not given and name == counterpart:
            raise _bad(path, line, name, f"is empty, but {step} has two parties", "name the other party")
    return _Row(
        line=line,
        step=step,
        chip=values["chip"],
        time=time,
        party=values.get("party") or signer_name,
        other=values[counterpart] if counterpart else None,
        serial=values.get("serial") or None,
        location=values.get("location") or None,
    )


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and cells of each row that is not empty."""
    try:
        if not path.is_file():
            raise InputError("there is no such file", where=path)
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"is larger than {_LARGEST_FILE} bytes", where=path, mend="split it")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(len(cell) > _LARGEST_CELL for cell in cells):
                    raise _bad(path, reader.line_num, None, f"a cell has over {_LARGEST_CELL} characters", None)
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=path, mend="save it as UTF-8") from error
    except csv.Error as error:
        raise _bad(path, reader.line_num, None, f"is not CSV: {error}", "check its quotes") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error


def _bad(path: Path, line: int, column: str | None, what: str, mend: str | None) -> InputError:
    field = f"column {column!r:.60}" if column else None
    return InputError(what, where=f"{path}: line {line}", field=field, mend=mend)
