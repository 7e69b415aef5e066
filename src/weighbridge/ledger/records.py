"""A chip's records against its certificate, the log's times, and the leaf tables opened in the sealed room."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.findings import Finding
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.workspace import Logged, Workspace
from weighbridge.mechanisms.chip.collect import LeafFiles
from weighbridge.mechanisms.chip.leaves import LeafTable, read_leaf_table
from weighbridge.mechanisms.chip.record import ChipRecord, decode_record
from weighbridge.mechanisms.chip.store import SALT_BYTES, leaf_path, salt_path
from weighbridge.mechanisms.chip.verify import VerifyLimits, verify

__all__ = ["Place", "open_tables", "readable", "record_findings"]


def readable(logged: Iterable[Logged]) -> list[tuple[ChipRecord, Logged]]:
    """Returns one chip's records by sequence; what is no record, or a second one of a number, is left out.

    What is left out covers nothing, and :func:`record_findings` names it.
    """
    placed: dict[int, tuple[ChipRecord, Logged]] = {}
    for item in logged:
        try:
            record = decode_record(item.statement)
        except EvidenceError:
            continue
        placed.setdefault(record.sequence, (record, item))
    return [placed[sequence] for sequence in sorted(placed)]


def _open(workspace: Workspace, record: ChipRecord) -> LeafTable:
    place = workspace.folder / "chips" / record.chip
    try:
        salt = read_plain(salt_path(place, record.sequence), limit_bytes=SALT_BYTES)
    except EvidenceError as error:
        raise EvidenceError(f"its salt cannot be read ({error.what})", where=record.name) from error
    if hashlib.sha256(salt).hexdigest() != record.salt_commitment:
        raise EvidenceError("its salt is not the committed one", where=record.name)
    table = read_leaf_table(leaf_path(place, record.sequence))
    if table.leaf_size != record.leaf_size or table.root(salt).hex() != record.root:
        raise EvidenceError("its leaf table does not give the root that the chip signed", where=record.name)
    return table


Place = tuple[str, int, int]
"""Chip, boot and sequence number of a record."""


def open_tables(workspace: Workspace) -> dict[Place, LeafTable]:
    """Returns every leaf table that gives its signed root, by place.

    One that is lost or edited is left out: its record then stays unexplained, and :func:`record_findings` says why.
    """
    tables = {}
    for logged in workspace.chip_records().values():
        for record, _ in readable(logged):
            if record.root:
                try:
                    tables[record.chip, record.boot, record.sequence] = _open(workspace, record)
                except EvidenceError:
                    continue
    return tables


def _salts(place: Path) -> dict[int, bytes]:
    found = {}
    for path in sorted((place / "salts").glob("*.salt")):
        if path.stem.isdecimal() and path.is_file():
            with path.open("rb") as file:
                found[int(path.stem)] = file.read(64)
    return found


def record_findings(workspace: Workspace, chip: str, logged: Sequence[Logged], policy: Policy) -> list[Finding]:
    """Returns what the chip mechanism finds in one chip's records, with the log's times and the opened tables."""
    if not logged:
        return []
    place = workspace.folder / "chips" / chip
    brackets = {
        hashlib.sha256(item.statement.id.encode()).hexdigest(): item.time
        for item in workspace.of_kind("inspection-plan")
    }
    verification = verify(
        [item.statement for item in logged],
        chip=chip,
        receipts={item.statement.id: item.time for item in logged},
        brackets=brackets,
        leaves=LeafFiles(place),
        salts=_salts(place),
        limits=VerifyLimits(late_s=policy.late_limit_s),
    )
    return list(verification.findings)
