"""CSV tables, read whole or refused in words."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from weighbridge.errors import InputError

__all__ = ["read_table"]

_LARGEST_TABLE: Final = 64 * 2**20
_OTHER_SEPARATORS: Final = (";", "\t", "|")


def read_table(
    path: Path, *, columns: Sequence[str], known: Sequence[str] | None = None, mend: str | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each row of a CSV file that is not blank, with the line on which it ends.

    Args:
        path: the file, UTF-8, with a header line.
        columns: columns that must be there.
        known: all columns that may be there; none if any others are passed on too.
        mend: what to do if a column is missing.

    Raises:
        InputError: if there is no such file, or it is no such table.
    """
    try:
        if path.is_dir():
            raise InputError("is a folder", where=path, mend="name the CSV file in it")
        if not path.is_file():
            if path.is_dir():
                raise InputError("is a folder", where=path, mend="give a CSV file")
            raise InputError("there is no such file", where=path, mend="give a CSV file")
        if path.stat().st_size > _LARGEST_TABLE:
            raise InputError(f"is larger than {_LARGEST_TABLE >> 20} MiB", where=path)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"is no CSV table in UTF-8: {error}", where=path) from error
    if "\0" in text:
        raise InputError("holds zero bytes: no CSV", where=path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, path=path, columns=columns, known=known, mend=mend)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                where = f"{path}, line {reader.line_num}"
                raise InputError(f"{len(cells)} cells under {len(header)} columns", where=where)
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"is not CSV: {error}", where=f"{path}, line {reader.line_num}") from error


def _check_header(
    header: list[str], *, path: Path, columns: Sequence[str], known: Sequence[str] | None, mend: str | None
) -> None:
    if not any(header):
        raise InputError("is empty", where=path, mend=f"begin with the line {','.join(columns)}")
    missing = [name for name in columns if name not in header]
    if missing:
        other = [mark for mark in _OTHER_SEPARATORS if len(header) == 1 and mark in header[0]]
        if other:
            mend = f"cells are separated by {other[0]!r}: separate them by commas"
        there = f"columns: {', '.join(header)[:300]}"
        raise InputError("there is no such column", where=path, field=f"column {missing[0]}", mend=mend or there)
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise InputError("is given twice", where=path, field=f"column {twice[0]}")
    strange = [name for name in header if known is not None and name not in known]
    if strange and known is not None:
        raise InputError("is not known", where=path, field=f"column {strange[0]!r}", mend=f"known: {', '.join(known)}")
