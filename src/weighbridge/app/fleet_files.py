"""Fleets from tables: our own CSV, and Epoch AI's list of GPU clusters made into one."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weighbridge.errors import InputError
from weighbridge.planning.fleet import MOST_SITES, Site, check_fleet
from weighbridge.units import parse_count, parse_flop_rate, parse_quantity

__all__ = ["ATTRIBUTION", "COLUMNS", "EpochFleet", "fleet_csv", "read_epoch_clusters", "read_fleet"]

COLUMNS: Final = ("name", "chips", "chip_flops", "visit_days", "regime")
_NEEDED: Final = COLUMNS[:4]
ATTRIBUTION: Final = (
    "Epoch AI, 'GPU Clusters', published at epoch.ai, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/); "
    "modified: sites without a size left out, chips given in H100 equivalents"
)
_EPOCH: Final = ("Name", "Status", "Certainty", "H100 equivalents", "Possible Duplicate")
_LARGEST_FILE: Final = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class EpochFleet:
    """What was taken from Epoch's list.

    Attributes:
        sites: existing clusters with a size of at least the least asked for, largest first.
        left_out: how many rows were left out, by reason.
    """

    sites: tuple[Site, ...]
    left_out: dict[str, int]


def read_fleet(path: Path) -> tuple[Site, ...]:
    """Returns the fleet in a CSV with columns name, chips, chip_flops (FLOP/s of one chip), visit_days and regime.

    ``regime`` may be left out. The first bad cell is named by file, line and column.

    Raises:
        InputError: if the file cannot be read whole, or does not describe a fleet.
    """
    sites = []
    for line, row in _rows(path, needed=_NEEDED, known=COLUMNS, mend="an Epoch list is read by `plan fleet`"):
        where = f"{path}, line {line}: "
        sites.append(
            Site(
                name=row["name"].strip(),
                chips=parse_count(row["chips"], name=f"{where}chips", least=1),
                chip_flops=parse_flop_rate(row["chip_flops"], name=f"{where}chip_flops"),
                visit_days=parse_quantity(row["visit_days"], name=f"{where}visit_days", positive=False),
                regime=row.get("regime", "").strip(),
            )
        )
        if len(sites) > MOST_SITES:
            raise InputError(f"has more than {MOST_SITES:,} sites", where=path, mend="join small ones")
    try:
        return check_fleet(sites)
    except InputError as error:
        raise InputError(error.what, where=path, field=error.where or error.field, mend=error.mend) from error


def read_epoch_clusters(
    path: Path, *, least_h100e: float, h100_flops: float, visit_days: float, unlikely: bool = False
) -> EpochFleet:
    """Returns existing clusters of Epoch AI's list as sites, sized in H100 equivalents (Epoch's: dense 8-bit rate).

    Rows flagged as possible duplicates, superseded, not single clusters by their status, unlikely or without a size
    are left out and counted by reason. Names that occur twice get a number.

    Args:
        path: a download of gpu_clusters.csv; nothing of it is carried here.
        least_h100e: smallest cluster taken.
        h100_flops: FLOP/s that one H100 equivalent stands for, as the rule in question counts them.
        visit_days: inspector-days of a visit; the list knows none.
        unlikely: take clusters whose existence Epoch rates as unlikely, too.

    Raises:
        InputError: if the file is not such a list.
    """
    sites, names, left_out = list[Site](), dict[str, int](), dict[str, int]()
    for line, row in _rows(path, needed=_EPOCH, known=None, mend="download 'GPU Clusters' from epoch.ai"):
        reason = _why_left_out(row, unlikely=unlikely)
        if reason is None:
            size = parse_quantity(
                row["H100 equivalents"], name=f"{path}, line {line}: H100 equivalents", positive=False
            )
            reason = "smaller than asked for" if size < max(least_h100e, 0.5) else None
        if reason is not None:
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        name = " ".join("".join(c if c.isprintable() else " " for c in row["Name"]).strip(' "').split()) or "unnamed"
        names[name] = names.get(name, 0) + 1
        label = name if names[name] == 1 else f"{name} ({names[name]})"
        sites.append(Site(name=label, chips=round(size), chip_flops=h100_flops, visit_days=visit_days))
    if not sites:
        raise InputError("holds no cluster of that size", where=path, mend="ask for smaller ones")
    return EpochFleet(sites=check_fleet(sorted(sites, key=lambda site: -site.chips)), left_out=left_out)


def fleet_csv(sites: tuple[Site, ...]) -> str:
    """Returns the fleet as the CSV that :func:`read_fleet` reads."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for site in sites:
        # A cell that begins like a formula would run in a spreadsheet.
        name = site.name if site.name[0] not in "=+-@" else f"'{site.name}"
        writer.writerow([name, site.chips, repr(site.chip_flops), repr(site.visit_days), site.regime])
    return file.getvalue()


def _why_left_out(row: Mapping[str, str], *, unlikely: bool) -> str | None:
    if row["Status"].strip() != "Existing":
        return f"status {row['Status'].strip()[:20] or 'not given'}"
    if row["Certainty"].strip() == "Unlikely" and not unlikely:
        return "existence unlikely"
    if row["Possible Duplicate"].strip() == "True":
        return "possible duplicate"
    if row.get("Superseded by", "").strip():
        return "superseded by a later phase"
    return None if row["H100 equivalents"].strip() else "no size given"


def _rows(
    path: Path, *, needed: tuple[str, ...], known: tuple[str, ...] | None, mend: str
) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        if not path.is_file():
            raise InputError("there is no such file", where=path)
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"is larger than {_LARGEST_FILE} bytes: no table of sites", where=path)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=path) from error
    if "\0" in text:
        raise InputError("holds zero bytes: no CSV", where=path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, path=path, needed=needed, known=known, mend=mend)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InputError(
                    f"{len(cells)} cells under {len(header)} columns", where=f"{path}, line {reader.line_num}"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"is not CSV: {error}", where=f"{path}, line {reader.line_num}") from error


def _check_header(
    header: list[str], *, path: Path, needed: tuple[str, ...], known: tuple[str, ...] | None, mend: str
) -> None:
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError("is missing", where=path, field=f"column {missing[0]}", mend=mend)
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise InputError("is given twice", where=path, field=f"column {twice[0]}")
    strange = [name for name in header if known is not None and name not in known]
    if strange and known is not None:
        raise InputError("is not known", where=path, field=f"column {strange[0]!r}", mend=f"known: {', '.join(known)}")
