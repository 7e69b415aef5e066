"""A visit on disk: one folder that needs no log, no network and nobody else to be read and checked.

================== ============================================================================
draw/              the draw's folder, copied
plan.cose          the plan; opening.cose, close.cose likewise
records/0000.cose  the records, numbered
files/SHA256       photographs, footage lists, chips' answers and logs, each by its digest
findings.json      what the visit was judged to show when it was closed
manifest.json      every file above but the close, with its digest; the close signs the manifest's
================== ============================================================================
"""

import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.files import open_regular, read_plain, replace_durably, sync_directory
from weighbridge.evidence.jsontext import dump_json, load_json
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.inspection.plan import OPENING, PLAN, Opening, VisitPlan
from weighbridge.mechanisms.inspection.record import RECORD, VisitRecord, is_time
from weighbridge.mechanisms.inspection.visit import Close, Visit

__all__ = ["CLOSE", "Bundle"]

CLOSE = "visit-close"
_RECORDS = re.compile(r"[0-9]{4,6}\.cose")
_FILES = re.compile(r"[0-9a-f]{64}")
_LARGEST = 1 << 31  # bytes of one photograph or listing
_MOST_FILES = 200_000  # a visit of 5,000 chips with forty records of each
_MOST_RECORDS = 50_000  # each is verified: a minute
_PIECE = 1 << 20  # bytes hashed at once
_CLOSE_FIELDS = frozenset(Close.__dataclass_fields__)


@dataclass(frozen=True)
class Bundle:
    """A visit's folder."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Makes an empty bundle.

        Raises:
            InputError: something is there already.
        """
        if folder.exists():
            raise InputError("exists", where=folder, mend="name a new folder: a visit is never overwritten")
        for name in ("draw", "records", "files"):
            (folder / name).mkdir(parents=True)
        return cls(folder)

    def put(self, name: str, raw: bytes) -> Path:
        """Writes a file that is not there yet.

        Raises:
            InputError: it is.
        """
        path, fresh = self.folder / name, self.folder / f".{secrets.token_hex(8)}.new"
        if path.exists() or path.is_symlink():
            raise InputError("is there already", where=path, mend="what is on record stays as it is")
        try:
            replace_durably(fresh, raw)
            try:
                # A link is refused where a file is: two inspectors who write at once cannot overwrite each other.
                os.link(fresh, path)
            except FileExistsError:
                raise InputError("is there already", where=path, mend="try again: it is another's record") from None
            except OSError:  # a stick whose file system knows no links
                fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        sync_directory(path.parent)
        return path

    def keep(self, data: bytes) -> str:
        """Keeps a file under its digest and returns that, hex; the same bytes twice are kept once."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / "files" / digest
        if not path.exists():
            replace_durably(path, data)
        return digest

    def file(self, digest: str) -> bytes:
        """Returns a kept file.

        Raises:
            EvidenceError: it is not there, or was changed.
        """
        if not _FILES.fullmatch(digest):
            raise EvidenceError("is no digest", where=digest[:80])
        data = read_plain(self.folder / "files" / digest, limit_bytes=_LARGEST)
        if hashlib.sha256(data).hexdigest() != digest:
            raise EvidenceError("was changed: its digest is another", where=self.folder / "files" / digest)
        return data

    def require(self, digest: str) -> None:
        """Reads a kept file through, however large.

        Raises:
            EvidenceError: it is not there, or was changed.
        """
        path = self.folder / "files" / digest
        if not _FILES.fullmatch(digest) or _digest(path) != digest:
            raise EvidenceError("was changed: its digest is another", where=path)

    def visit(self, roots: TrustRoots, *, unread: list[str] | None = None) -> Visit:
        """Reads and verifies every statement of the visit; the draw's folder is the caller's to check.

        Args:
            roots: whom to trust.
            unread: takes a sentence for each record that does not verify, which is then left out: one such record must
                not hide what the others show. None: it is an error, as it is to whoever signs what comes after.

        Raises:
            EvidenceError: a statement does not verify, or is by another than an inspector.
            InputError: no visit there.
        """
        if not (self.folder / "plan.cose").is_file():
            raise InputError("is no visit", where=self.folder, mend="plan one with: weighbridge inspect plan")
        plan_statement = self._statement("plan.cose", PLAN, roots)
        opened = self._optional("opening.cose", OPENING, roots)
        closed = self._optional("close.cose", CLOSE, roots)
        records = []
        for name in ("draw", "records", "files"):
            path = self.folder / name
            if path.is_symlink() or not path.is_dir():
                raise EvidenceError("is no folder of its own", where=path, mend="a visit lies in one folder, whole")
        paths = sorted(itertools.islice((self.folder / "records").iterdir(), _MOST_RECORDS + 1))
        if len(paths) > _MOST_RECORDS:
            raise EvidenceError(f"holds more than {_MOST_RECORDS:,} records", where=self.folder / "records")
        for path in paths:
            if not _RECORDS.fullmatch(path.name):
                raise EvidenceError("does not belong here", where=path)
            raw = read_plain(path, limit_bytes=LIMITS.statement_bytes)
            try:
                statement = self.read(raw, RECORD, roots)
                records.append((VisitRecord.from_statement(statement), statement))
            except EvidenceError as error:
                if unread is None:
                    raise EvidenceError(str(error), where=path) from error
                unread.append(f"records/{path.name} does not verify: {error}")
        records.sort(key=lambda pair: pair[0].sequence)
        return Visit(
            plan_statement=plan_statement,
            plan=VisitPlan.from_statement(plan_statement),
            opening_statement=opened,
            opening=None if opened is None else Opening.from_statement(opened),
            records=records,
            close_statement=closed,
            close=None if closed is None else _close(closed),
        )

    def manifest(self) -> bytes:
        """Returns the digests of every file but the manifest and the close, as they lie there now.

        Raises:
            EvidenceError: something that is neither a plain file nor a folder.
        """
        digests = {}
        paths = sorted(itertools.islice(self.folder.rglob("*"), _MOST_FILES + 1))
        if len(paths) > _MOST_FILES:
            raise EvidenceError(f"holds more than {_MOST_FILES:,} files", where=self.folder)
        for path in paths:
            name = path.relative_to(self.folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise EvidenceError("is neither a plain file nor a folder", where=path)
            if path.is_file() and name not in ("manifest.json", "close.cose", "close.receipt"):
                digests[name] = _digest(path)
        return dump_json({"files": digests})

    def check_manifest(self, close: Close) -> list[str]:
        """Returns what differs between the folder and what the close signed: one sentence each, none if nothing.

        Raises:
            EvidenceError: the manifest itself cannot be read.
        """
        path = self.folder / "manifest.json"
        signed = read_plain(path, limit_bytes=_LARGEST)
        if hashlib.sha256(signed).hexdigest() != close.manifest:
            return ["manifest.json is not the one that the close signs"]
        listed = load_json(signed, where=str(path)).get("files")
        present = load_json(self.manifest(), where=str(self.folder))["files"]
        if not isinstance(listed, Mapping):
            return ["manifest.json lists no files"]
        faults = [f"{name} is missing" for name in sorted(set(listed) - set(present))]
        faults += [f"{name} was added after the close" for name in sorted(set(present) - set(listed))]
        faults += [f"{name} was changed" for name in sorted(listed) if listed[name] != present.get(name, listed[name])]
        return faults

    def findings(self) -> list[Any] | None:
        """Returns the findings that were printed at the close, or None before it."""
        path = self.folder / "findings.json"
        if not path.is_file():
            return None
        found = load_json(read_plain(path, limit_bytes=_LARGEST), where=str(path)).get("findings")
        return found if isinstance(found, list) else []

    def _optional(self, name: str, kind: str, roots: TrustRoots) -> Statement | None:
        path = self.folder / name
        return self._statement(name, kind, roots) if path.exists() or path.is_symlink() else None

    @staticmethod
    def read(raw: bytes, kind: str, roots: TrustRoots) -> Statement:
        """Returns a statement of a visit, verified.

        Raises:
            EvidenceError: it does not verify, or is by another than an inspector.
        """
        return verify_statement(raw, roots, kind=kind, role=Role.INSPECTOR)

    def _statement(self, name: str, kind: str, roots: TrustRoots) -> Statement:
        raw = read_plain(self.folder / name, limit_bytes=LIMITS.statement_bytes)
        try:
            return self.read(raw, kind, roots)
        except EvidenceError as error:
            raise EvidenceError(str(error), where=self.folder / name) from error


def _close(statement: Statement) -> Close:
    payload = statement.payload
    where = f"close {statement.id[:16]}"
    texts = [payload.get(name) for name in ("visit", "head", "manifest")]
    if set(payload) != _CLOSE_FIELDS or not all(isinstance(text, str) and _FILES.fullmatch(text) for text in texts):
        raise EvidenceError("is no visit's close", where=where)
    if not is_time(payload["at"]) or type(payload["records"]) is not int:
        raise EvidenceError("has no whole numbers where they belong", where=where)
    if not isinstance(payload["summary"], dict):
        raise EvidenceError("has no summary", where=where, field="summary")
    return Close(**payload)


def _digest(path: Path) -> str:
    found, size = hashlib.sha256(), 0
    try:
        with open_regular(path) as file:
            while piece := file.read(_PIECE):
                found.update(piece)
                size += len(piece)
                if size > _LARGEST:
                    raise EvidenceError(f"is larger than {_LARGEST} bytes", where=path)
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror}", where=path) from error
    return found.hexdigest()
