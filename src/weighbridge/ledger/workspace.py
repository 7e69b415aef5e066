"""The evidence of one inspection, opened and verified: the log first, then everything that it names.

A workspace is a folder::

    log/                 the exported log; every statement is in it, and nothing counts that is not
    chips/CHIP/          leaves/SEQUENCE.leaves and salts/SEQUENCE.salt, opened in the sealed room
    runs/RUN/            transcripts (the first 16 digits of the run's id)
    data/ROOT.npy        training data that operators handed over, by data root; of several arrays ROOT/NAME.npy
    audits/RUN.cose      the inspector's audits, if made
    visits/NAME/         closed visits, as signed bundles
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.draw_folder import DRAW_ROLES
from weighbridge.evidence.log import ExportedLog
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots

__all__ = ["AFTER_CLOSE", "KINDS", "Logged", "Workspace"]

KINDS: Mapping[str, frozenset[Role]] = {
    "chip-record": frozenset({Role.CHIP}),
    "run-commitment": frozenset({Role.OPERATOR}),
    "run-progress": frozenset({Role.OPERATOR}),
    "run-group": frozenset({Role.OPERATOR}),
    "run-nonce": frozenset({Role.INSPECTOR}),
    "inspection-plan": frozenset({Role.INSPECTOR}),
    "inspection-challenge": frozenset({Role.INSPECTOR}),
    "inspection-close": frozenset({Role.INSPECTOR}),
    "run-audit": frozenset({Role.INSPECTOR}),
    "query-registration": frozenset({Role.INSPECTOR}),
    "query-budget": frozenset({Role.OPERATOR}),
    "query-spend": frozenset({Role.INSPECTOR}),
    "query-answer": frozenset({Role.INSPECTOR}),
    "sealed-agreement": frozenset({Role.INSPECTOR, Role.OPERATOR}),
    "sealed-verdict": frozenset({Role.INSPECTOR, Role.OPERATOR}),
    **DRAW_ROLES,
    "visit-plan": frozenset({Role.INSPECTOR}),
    "visit-opening": frozenset({Role.INSPECTOR}),
    "visit-record": frozenset({Role.INSPECTOR}),
    "visit-close": frozenset({Role.INSPECTOR}),
    "custody-event": frozenset(
        {Role.MAKER, Role.REGISTRAR, Role.DISTRIBUTOR, Role.OPERATOR, Role.INSPECTOR, Role.INSPECTORATE}
    ),
}
"""Who may say what: a statement of another kind, or by another role, is no evidence."""

AFTER_CLOSE = frozenset(
    {
        "run-audit",
        "inspection-close",
        "inspection-plan",
        "query-registration",
        "query-budget",
        "query-spend",
        "query-answer",
        "sealed-agreement",
        "sealed-verdict",
    }
)
"""What is read after the close: audits belong there, and a second plan or close must not go unseen."""


@dataclass(frozen=True)
class Logged:
    """A verified statement, and where and when the log took it."""

    statement: Statement
    index: int
    time: float

    @property
    def payload(self) -> Mapping[str, object]:
        """The statement's payload."""
        return self.statement.payload


@dataclass(frozen=True)
class Workspace:
    """An opened workspace: its log verified whole, every statement's signature and role checked.

    Attributes:
        folder: where it lies.
        roots: whom to trust.
        log: the verified log.
        by_kind: the statements that count, by kind, in the order of the log.
        misplaced: statements of a kind that is unknown or not their signer's to make: anybody whom the roots vouch
            for may have put one there, so they count for nothing and spoil nothing.
        late: statements that came after the close, audits aside: they count for nothing.
    """

    folder: Path
    roots: TrustRoots
    log: ExportedLog
    by_kind: Mapping[str, tuple[Logged, ...]] = field(repr=False)
    misplaced: tuple[Logged, ...] = field(default=(), repr=False)
    late: tuple[Logged, ...] = field(default=(), repr=False)

    @classmethod
    def open(cls, folder: Path, roots: TrustRoots) -> "Workspace":
        """Opens and verifies.

        1. The folder holds plain files and folders only.
        2. The log's export is whole and signed by the trusted log key.
        3. It extends the checkpoint that the inspector kept, if the trust roots have one.
        4. Every statement verifies to the trust roots; of a kind that its signer's role may say, and before the
           close, it counts.

        Raises:
            EvidenceError, InputError: naming what does not hold.
        """
        if not (folder / "log").is_dir():
            raise InputError("has no log/", where=folder, mend="name a workspace or a report's folder")
        if roots.log_key is None:
            raise InputError("name no log key", where="trust roots", mend="add log.vkey")
        for path in folder.rglob("*"):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise EvidenceError("is neither a plain file nor a folder", where=path, mend="remove it")
        log = ExportedLog.open(folder / "log", roots.log_key)
        if roots.checkpoint is not None:
            log.consistent_with(roots.checkpoint)
        entries = ((verify_statement(raw, roots), entry) for entry, raw in log.entries())
        logged = [Logged(statement, entry.index, entry.integrated_at) for statement, entry in entries]
        return cls.sort(folder, roots, log, logged)

    @classmethod
    def sort(cls, folder: Path, roots: TrustRoots, log: ExportedLog, logged: Iterable[Logged]) -> "Workspace":
        """Sorts verified statements, in the order of the log, into what counts and what does not."""
        by_kind: dict[str, list[Logged]] = {}
        misplaced: list[Logged] = []
        late: list[Logged] = []
        for item in logged:
            kind = item.statement.kind
            if item.statement.role not in KINDS.get(kind, ()):
                misplaced.append(item)
            elif "inspection-close" in by_kind and kind not in AFTER_CLOSE:
                late.append(item)
            else:
                by_kind.setdefault(kind, []).append(item)
        counting = {kind: tuple(items) for kind, items in by_kind.items()}
        return cls(folder, roots, log, counting, tuple(misplaced), tuple(late))

    def of_kind(self, kind: str) -> tuple[Logged, ...]:
        """Returns the log's statements of one kind, in order."""
        return self.by_kind.get(kind, ())

    def single(self, kind: str) -> Logged:
        """Returns the one statement of a kind.

        Raises:
            EvidenceError: there is none, or more than one (a second plan or close would be a second draw).
        """
        found = self.of_kind(kind)
        if len(found) != 1:
            raise EvidenceError(f"has {len(found)} statements of kind {kind}, not one", where=self.folder / "log")
        return found[0]

    @cached_property
    def by_id(self) -> Mapping[str, Logged]:
        """Every statement by its id."""
        return {item.statement.id: item for items in self.by_kind.values() for item in items}

    def chip_records(self) -> dict[str, tuple[Logged, ...]]:
        """Returns each chip's records in the order of the log."""
        found: dict[str, list[Logged]] = {}
        for item in self.of_kind("chip-record"):
            found.setdefault(item.statement.identity.key_id, []).append(item)
        return {chip: tuple(items) for chip, items in found.items()}

    def runs(self) -> Iterator[tuple[Logged, Path]]:
        """Yields each committed run and the folder where its transcript should lie."""
        for item in self.of_kind("run-commitment"):
            yield item, self.folder / "runs" / item.statement.id[:16]
