"""Reading a chip's directory, or a copy of it, for verification. Nothing is trusted, nothing is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weighbridge.errors import EvidenceError
from weighbridge.evidence.cbor import read, read_sign1
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.receipt import verify_receipt
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.chip.leaves import LeafTable, read_leaf_table
from weighbridge.mechanisms.chip.record import KIND, ChipRecord, decode_payload
from weighbridge.mechanisms.chip.store import SALT_BYTES, leaf_path, receipt_path, record_path, salt_path, sequences

__all__ = ["Collected", "LeafFiles", "collect", "peek"]


def peek(raw: bytes, *, chip: str, where: str) -> ChipRecord:
    """Reads a record for display, its signature unverified.

    Raises:
        EvidenceError: it is no record of this chip.
    """
    content = read_sign1(raw, where=where)[2]
    return decode_payload(read(content or b"", where=where), chip=chip, where=where)


class LeafFiles(Mapping[int, LeafTable]):
    """Leaf tables of a directory, read when asked for: one of them may have a million leaves.

    Args:
        directory: the chip's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __getitem__(self, sequence: int) -> LeafTable:
        path = leaf_path(self._directory, sequence)
        if not path.is_file():
            raise KeyError(sequence)
        return read_leaf_table(path)

    def __iter__(self) -> Iterator[int]:
        found = [path.stem for path in (self._directory / "leaves").glob("*.leaves")]
        return iter(sorted(int(stem) for stem in found if stem.isdecimal()))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a chip's directory holds.

    Attributes:
        statements: the records whose signature and chain verify.
        findings: what does not verify, by record.
        receipts: times of verified receipts by statement id.
        leaves: leaf tables by sequence.
        salts: salts by sequence.
    """

    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]
    receipts: Mapping[str, float]
    leaves: Mapping[int, LeafTable]
    salts: Mapping[int, bytes]


def collect(directory: Path, roots: TrustRoots, *, chip: str) -> Collected:
    """Reads and verifies records and receipts.

    Args:
        directory: the chip's directory or a copy.
        roots: trust roots from outside.
        chip: the chip's id, for naming what cannot be read.
    """
    statements: list[Statement] = []
    findings: list[Finding] = []
    receipts: dict[str, float] = {}
    salts: dict[int, bytes] = {}
    for sequence in sequences(directory):
        name = f"{chip}#{sequence}"
        try:
            raw = read_plain(record_path(directory, sequence), limit_bytes=LIMITS.statement_bytes)
            statement = verify_statement(raw, roots, kind=KIND, role="chip")
        except EvidenceError as error:
            findings.append(_fault("chip.record", name, f"is not a record that this chip signed: {error}"))
            continue
        statements.append(statement)
        path = receipt_path(directory, sequence)
        if path.is_file():
            try:
                receipt = verify_receipt(raw, read_plain(path, limit_bytes=LIMITS.receipt_bytes), roots.log_key)
                receipts[statement.id] = receipt.integrated_at
            except EvidenceError as error:
                findings.append(_fault("chip.brackets", name, f"its receipt does not hold: {error}"))
        path = salt_path(directory, sequence)
        if path.is_file():
            try:
                salts[sequence] = read_plain(path, limit_bytes=SALT_BYTES)
            except EvidenceError as error:
                findings.append(_fault("chip.leaves", name, f"its salt does not hold: {error}"))
    findings += _strays(directory, chip)
    return Collected(
        statements=tuple(statements),
        findings=tuple(findings),
        receipts=receipts,
        leaves=LeafFiles(directory),
        salts=salts,
    )


def _strays(directory: Path, chip: str) -> Sequence[Finding]:
    """A receipt, leaf table or salt without its record shows that a record was there."""
    present = set(sequences(directory))
    found: dict[int, str] = {}
    for folder, suffix in (("leaves", "leaves"), ("salts", "salt"), ("receipts", "receipt")):
        for path in (directory / folder).glob(f"*.{suffix}"):
            if path.stem.isdecimal() and int(path.stem) not in present:
                found[int(path.stem)] = path.name
    # A stop under way when the agent was killed leaves a table or salt with the next number.
    following = max(present, default=-1) + 1
    return [
        _fault("chip.sequence", f"{chip}#{sequence}", f"the record is missing, though {name} is there")
        for sequence, name in sorted(found.items())
        if sequence != following or name.endswith(".receipt")
    ]


def _fault(check: str, subject: str, reason: str) -> Finding:
    return Finding(check=check, subject=subject, outcome=Outcome.FAIL, reason=reason)
