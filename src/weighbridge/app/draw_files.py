"""Files around a draw: secrets that only their owner reads, receipts fetched from a log, a log's own statements."""

import secrets
from contextlib import ExitStack
from pathlib import Path

from weighbridge.errors import InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.draw_folder import DRAW_ROLES, save_receipt
from weighbridge.evidence.draw_form import Frame
from weighbridge.evidence.files import open_regular, replace_durably
from weighbridge.evidence.jsontext import dump_json, load_json
from weighbridge.evidence.log import ExportedLog, Log
from weighbridge.evidence.spool import SpoolClient
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.inspection.bundle import CLOSE
from weighbridge.mechanisms.inspection.plan import OPENING, PLAN
from weighbridge.mechanisms.inspection.record import RECORD

__all__ = ["RECEIPT_SECONDS", "logged_statements", "open_once", "read_file", "read_secret", "submit"]

RECEIPT_SECONDS = 30.0
"""Seconds that a log's keeper has to answer."""
_LARGEST = 1 << 31


def read_secret(path: Path, *, create: bool) -> bytes:
    """Reads 32 bytes in hexadecimal that nobody else can read, or makes them.

    Raises:
        InputError: something is there that should not be, or is not of that form.
    """
    if create:
        if path.exists():
            raise InputError("exists", where=path, mend="a share serves one draw: name a new file")
        replace_durably(path, secrets.token_bytes(32).hex().encode(), mode=0o600)
    data = read_file(path)
    if path.stat().st_mode & 0o077:
        raise InputError("can be read by others", where=path, mend="chmod 600")
    try:
        secret = bytes.fromhex(data.decode("ascii").strip())
    except ValueError as error:
        raise InputError("is not hexadecimal", where=path) from error
    if len(secret) != 32:
        raise InputError("does not hold 32 bytes", where=path)
    return secret


def open_once(key: Path, stated: Frame, frame_id: str) -> None:
    """Notes beside a key for which frame it opens a share; for one purpose and period it does so once.

    Raises:
        InputError: it did for another frame.
        EvidenceError: the note is not readable.
    """
    path = key.with_name(f"{key.name}.shares")
    known = load_json(read_file(path), where=str(path)) if path.exists() else {}
    name = f"{stated.purpose} in {stated.period}".casefold()
    if known.get(name, frame_id) != frame_id:
        raise InputError(
            f"has opened a share for {name} already, for frame {str(known[name])[:16]}: with a second one could choose",
            where=key,
            mend="agree on another period, which says why, and begin in a new folder",
        )
    replace_durably(path, dump_json({**known, name: frame_id}), mode=0o600)


def read_file(path: Path, *, follow: bool = True) -> bytes:
    """Reads a plain file.

    Args:
        path: the file.
        follow: whether it may be a symbolic link; not where the other side chose the name.

    Raises:
        InputError: it cannot be read.
    """
    if not follow and path.is_symlink():
        raise InputError("is a symbolic link", where=path, mend="copy the file itself")
    try:
        with open_regular(path, follow=follow) as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
    if len(data) > _LARGEST:
        raise InputError(f"is larger than {_LARGEST} bytes", where=path)
    return data


def submit(raw: bytes, statement_file: Path, spool: Path | None) -> None:
    """Hands a statement to a log, if one is named, and keeps its receipt beside it.

    Raises:
        InputError, EvidenceError: the keeper refuses, or does not answer.
    """
    if spool is not None:
        client = SpoolClient(spool)
        save_receipt(statement_file, client.wait(client.submit(raw), RECEIPT_SECONDS))


def logged_statements(path: Path, roots: TrustRoots) -> list[tuple[Statement, float]]:
    """Returns a log's statements about draws and visits with their times, each verified.

    Raises:
        InputError, EvidenceError: the log or a statement in it does not verify.
    """
    with ExitStack() as stack:
        log: Log | ExportedLog
        if path.is_dir():
            log = ExportedLog.open(path, roots.log_key)
        else:
            log = stack.enter_context(Log.open(path, log_key=roots.log_key))
        found = ((verify_statement(raw, roots), entry.integrated_at) for entry, raw in log.entries())
        kinds = {**dict.fromkeys((PLAN, OPENING, RECORD, CLOSE), frozenset({Role.INSPECTOR})), **DRAW_ROLES}
        return [(statement, time) for statement, time in found if statement.role in kinds.get(statement.kind, ())]
