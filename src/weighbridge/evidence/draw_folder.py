"""A draw on disk: one folder that holds all that anybody needs to recompute it, offline.

========================= =====================================================================
population.json           the list with its salt; not public while the list is not
KIND-ID.cose              signed statements: ``draw-commitment``, ``draw-frame``, ``draw-share``, ``draw``
KIND-ID.receipt           the log's receipt for one of them, if there is a log
========================= =====================================================================
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.draw_evidence import DrawEvidence
from weighbridge.evidence.draw_form import COMMITMENT, DRAW, FRAME, SHARE, Frame
from weighbridge.evidence.draw_value import Parties
from weighbridge.evidence.files import read_plain, replace_durably
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.population import ITEM_BYTES, Population
from weighbridge.evidence.receipt import verify_receipt
from weighbridge.evidence.statement import Statement, statement_id, verify_statement
from weighbridge.evidence.trust import TrustRoots

__all__ = ["DRAW_ROLES", "copy_draw", "load_draw", "load_parties", "save_receipt", "save_statement"]

DRAW_ROLES = {
    COMMITMENT: frozenset({Role.INSPECTOR, Role.OPERATOR}),
    FRAME: frozenset({Role.INSPECTOR}),
    SHARE: frozenset({Role.INSPECTOR, Role.OPERATOR}),
    DRAW: frozenset({Role.INSPECTOR}),
}
"""Who may say what for a draw."""
_MOST_STATEMENTS = 256  # files of one draw; two parties need six
_LIST_BYTES = 1 << 31


def save_statement(folder: Path, raw: bytes, *, kind: str) -> Path:
    """Writes a statement and returns its file.

    Raises:
        InputError: the folder cannot be written.
    """
    path = folder / f"{kind}-{statement_id(raw)[:16]}.cose"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_durably(path, raw)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=path) from error
    return path


def save_receipt(statement_file: Path, receipt: bytes) -> Path:
    """Writes a statement's receipt beside it and returns its file."""
    path = statement_file.with_suffix(".receipt")
    replace_durably(path, receipt)
    return path


def copy_draw(folder: Path, target: Path) -> None:
    """Copies what belongs to a draw, and nothing else that somebody may have laid there.

    Raises:
        EvidenceError: a file of it is no plain file.
        InputError: the target cannot be written.
    """
    statements = sorted(folder.glob("*.cose"))
    receipts = [path.with_suffix(".receipt") for path in statements]
    for path in (folder / "population.json", *statements, *receipts):
        if path.is_symlink() or path.exists():
            try:
                replace_durably(target / path.name, read_plain(path, limit_bytes=_LIST_BYTES))
            except OSError as error:
                raise InputError(f"cannot be written: {error.strerror}", where=target / path.name) from error


def load_parties(folder: Path, roots: TrustRoots) -> tuple[list[Statement], dict[str, float]]:
    """Reads and verifies every statement of a draw's folder, with the log's times where receipts lie beside them.

    Raises:
        EvidenceError: one does not verify, or is not its signer's to make.
        InputError: no such folder, or one with too many files.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=folder, mend="make a draw with: weighbridge inspect frame")
    files = sorted(folder.glob("*.cose"))
    if len(files) > _MOST_STATEMENTS:
        raise InputError(f"holds more than {_MOST_STATEMENTS} statements", where=folder)
    found, times = [], {}
    for path in files:
        raw = read_plain(path, limit_bytes=LIMITS.statement_bytes)
        try:
            statement = verify_statement(raw, roots)
        except EvidenceError as error:
            raise EvidenceError(str(error), where=path) from error
        allowed = DRAW_ROLES.get(statement.kind)
        if allowed is None or statement.role not in allowed:
            raise EvidenceError(
                f"is a {statement.kind} by {statement.issuer}, {statement.role}",
                where=path,
                mend="such a statement does not belong to a draw"
                if allowed is None
                else f"it is for {' or '.join(sorted(allowed))} to sign: begin again in a new folder",
            )
        found.append(statement)
        receipt = path.with_suffix(".receipt")
        if receipt.is_file():
            verified = verify_receipt(
                statement.raw, read_plain(receipt, limit_bytes=LIMITS.receipt_bytes), roots.log_key
            )
            times[statement.id] = verified.integrated_at
    return found, times


def load_draw(folder: Path, roots: TrustRoots, *, log: Sequence[tuple[Statement, float]] | None = None) -> DrawEvidence:
    """Reads and verifies a draw's folder.

    Args:
        folder: the folder.
        roots: whom to trust.
        log: the log's statements of a draw's kinds with their times, if a log is at hand.

    Raises:
        EvidenceError, InputError: as :func:`load_parties`; no frame, or two.
    """
    statements, times = load_parties(folder, roots)
    frames = [s for s in statements if s.kind == FRAME]
    if len(frames) != 1:
        raise EvidenceError(f"holds {len(frames)} frames, not one", where=folder)
    file = folder / "population.json"
    # No more than the frozen list can take: what somebody put in its place is not read through first.
    limit = min(_LIST_BYTES, (Frame.from_statement(frames[0]).size + 1) * (ITEM_BYTES + 1))
    population = Population.from_json(read_plain(file, limit_bytes=limit), where=file) if file.is_file() else None
    evidence = DrawEvidence(
        frame=frames[0],
        population=population,
        parties=Parties(
            commitments=[s for s in statements if s.kind == COMMITMENT],
            shares=[s for s in statements if s.kind == SHARE],
        ),
        draws=[s for s in statements if s.kind == DRAW],
        logged_at=times,
    )
    if log is None:
        return evidence
    allowed = [(s, time) for s, time in log if s.role in DRAW_ROLES.get(s.kind, ())]
    logged = {s.id: time for s, time in allowed}
    return replace(evidence, logged_at={**times, **logged}, log=[s for s, _ in allowed])
