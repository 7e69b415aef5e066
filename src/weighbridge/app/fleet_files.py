"""Fleets from tables: our own CSV, and Epoch AI's list of GPU clusters made into one."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weighbridge.app.tables import read_table
from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site, check_fleet
from weighbridge.planning.timeliness import H100E_FLOPS
from weighbridge.units import parse_count, parse_flop_rate, parse_quantity

__all__ = ["ATTRIBUTION", "COLUMNS", "EpochFleet", "fleet_csv", "read_epoch_clusters", "read_fleet", "read_sizes"]

COLUMNS: Final = ("name", "chips", "chip_flops", "visit_days", "regime")
_NEEDED: Final = COLUMNS[:4]
ATTRIBUTION: Final = (
    "Epoch AI, 'GPU Clusters', published at epoch.ai, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/); "
    "modified: sites without a size left out, chips given in H100 equivalents"
)
_EPOCH: Final = ("Name", "Status", "Certainty", "H100 equivalents", "Possible Duplicate")


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
    for line, row in read_table(path, columns=_NEEDED, known=COLUMNS, mend="an Epoch list is read by `plan fleet`"):
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
    try:
        return check_fleet(sites)
    except InputError as error:
        raise InputError(error.what, where=path, field=error.where or error.field, mend=error.mend) from error


def read_sizes(
    path: Path,
    *,
    name: str = "name",
    size: str = "h100e",
    chips: str | None = None,
    only: str | None = None,
    skip_unsized: bool = False,
) -> tuple[list[Site], int]:
    """Reads sites that a table gives by their sizes, or by chips and their rate as :func:`read_fleet` does.

    Args:
        path: a CSV file with a header line.
        name: column with the site's name.
        size: column with its size in H100 equivalents; without it, ``chips`` and ``chip_flops`` give the size.
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
    sites, unsized = [], 0
    for line, row in read_table(path, columns=[name, *([column] if column else [])]):
        where = f"{path}, line {line}: "
        if column and row[column].strip() != kept:
            continue
        label = " ".join(row[name].split())
        if size not in row and {"chips", "chip_flops"} <= set(row):
            count = parse_count(row["chips"], name=f"{where}chips", least=1)
            rate = parse_flop_rate(row["chip_flops"], name=f"{where}chip_flops")
            sites.append(Site(name=label, chips=count, chip_flops=rate))
            continue
        for needed in (size, chips):
            if needed is not None and needed not in row:
                mend = f"columns: {', '.join(row)[:300]}"
                raise InputError("there is no such column", where=path, field=f"column {needed}", mend=mend)
        if not row[size].strip() and skip_unsized:
            unsized += 1
            continue
        h100e = parse_quantity(row[size], name=f"{where}{size}")
        count = math.ceil(h100e if chips is None else parse_quantity(row[chips], name=f"{where}{chips}"))
        sites.append(Site(name=label, chips=count, chip_flops=h100e * H100E_FLOPS / count))
    if not sites:
        raise InputError("has no sites", where=path, mend="check --only and the columns")
    return sites, unsized


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
    for line, row in read_table(path, columns=_EPOCH, mend="download 'GPU Clusters' from epoch.ai"):
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
