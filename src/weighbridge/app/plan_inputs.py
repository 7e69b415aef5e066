"""What several plan commands read: shares, lists of numbers, tables in CSV files."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

from weighbridge.errors import InputError
from weighbridge.planning.sites import Site
from weighbridge.planning.timeliness import H100E_FLOPS
from weighbridge.units import parse_count, parse_flop_rate, parse_fraction, parse_quantity

__all__ = ["check_idle", "check_once", "parse_list", "parse_share", "parse_signed", "read_fleet", "read_table"]

_LARGEST_TABLE: Final = 64 << 20


def check_idle(given: Mapping[str, bool], *, needs: str) -> None:
    """Refuses options that would be passed over in silence.

    Args:
        given: each option, and whether it was typed.
        needs: what they go with, in words.

    Raises:
        InputError: if one was typed.
    """
    for name, typed in given.items():
        if typed:
            raise InputError("would have no effect", field=name, mend=f"it goes with {needs}")


def check_once(names: Iterable[str], *, where: Path, what: str) -> None:
    """Refuses a table in which something is counted twice.

    Raises:
        InputError: if a name is there twice.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(
                f"{name[:60]!r} is there twice", where=where, field=what, mend="give each a name of its own"
            )
        seen.add(name)


def parse_share(text: str, *, name: str) -> Fraction:
    """Reads a share in (0, 1], exactly.

    Raises:
        InputError: if it is none.
    """
    return Fraction(1) if parse_quantity(text, name=name) == 1 else parse_fraction(text, name=name)


def parse_signed(text: str, *, name: str) -> float:
    """Reads a plain number that may be negative, such as a correlation.

    Raises:
        InputError: if it is no number.
    """
    stripped = text.strip()
    size = parse_quantity(stripped.removeprefix("-"), name=name, positive=False)
    return -size if stripped.startswith("-") else size


def parse_list(text: str, *, name: str) -> list[str]:
    """Splits what was typed at its commas.

    Raises:
        InputError: if a part is empty.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"{text!r} has an empty part", field=name, mend="write 16,100,1000")
    return parts


def read_table(path: Path, *, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each row of a CSV file with the line on which it ends.

    Args:
        path: the file, UTF-8, with a header line.
        columns: columns that must be there; others are passed on too.

    Raises:
        InputError: if there is no such file, or it is no such table.
    """
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    if path.stat().st_size > _LARGEST_TABLE:
        raise InputError("is larger than 64 MiB", where=path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if not reader.fieldnames:
                raise InputError("is empty", where=path, mend=f"begin with the line {','.join(columns)}")
            check_once(reader.fieldnames, where=path, what="columns")
            for column in columns:
                if column not in reader.fieldnames:
                    raise InputError(
                        "there is no such column",
                        where=path,
                        field=column,
                        mend=f"columns: {', '.join(reader.fieldnames)[:300]}",
                    )
            for row in reader:
                if None in row or None in row.values():
                    raise InputError("has not as many cells as the header", where=f"{path}: line {reader.line_num}")
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is no CSV table in UTF-8: {error}", where=path) from error


def read_fleet(
    path: Path,
    *,
    name: str = "name",
    size: str = "h100e",
    chips: str | None = None,
    only: str | None = None,
    skip_unsized: bool = False,
) -> tuple[list[Site], int]:
    """Reads the sites of a fleet.

    The table of ``plan best`` serves too: without a column of sizes, they follow from ``chips`` and ``chip_flops``.

    Args:
        path: a CSV file with a header line.
        name: column with the site's name.
        size: column with its size in H100 equivalents.
        chips: column with its number of chips; the size rounded up if not given.
        only: ``COLUMN=VALUE``, rows to keep.
        skip_unsized: leave out rows without a size, instead of refusing the file.

    Returns:
        The sites, and how many rows were left out for want of a size.

    Raises:
        InputError: if the file or a cell cannot be used.
    """
    column, kept = (only or "").partition("=")[::2]
    if only is not None and (not column or "=" not in only):
        raise InputError(f"{only!r} is not COLUMN=VALUE", field="--only", mend="such as Status=Existing")
    by_chips = _sized_by_chips(path, size)
    needed = tuple(word for word in (name, *(() if by_chips else (size,)), chips, column) if word)
    sites, unsized = [], 0
    for line, row in read_table(path, columns=needed):
        if column and row[column].strip() != kept:
            continue
        if by_chips:
            where = f"{path}: line {line}: "
            count = parse_count(row["chips"], name=f"{where}chips", least=1)
            rate = parse_flop_rate(row["chip_flops"], name=f"{where}chip_flops")
            sites.append(Site(name=" ".join(row[name].split()), h100e=count * rate / H100E_FLOPS, chips=count))
            continue
        if not row[size].strip() and skip_unsized:
            unsized += 1
            continue
        where = f"{path}: line {line}: {size}"
        h100e = parse_quantity(row[size], name=where)
        number = math.ceil(h100e) if chips is None else math.ceil(parse_quantity(row[chips], name=where))
        sites.append(Site(name=" ".join(row[name].split()), h100e=h100e, chips=number))
    if not sites:
        raise InputError("has no sites", where=path, mend="check --only and the columns")
    return sites, unsized


def _sized_by_chips(path: Path, size: str) -> bool:
    """Returns whether a table names its sites' chips and their FLOP/s, and not their size."""
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        header = set(next(csv.reader([file.readline(10_000)]), []))
    return size not in header and {"chips", "chip_flops"} <= header
