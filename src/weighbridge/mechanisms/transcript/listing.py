"""What lies in a folder of transcripts: a line a run, read without torch, and nothing believed that was not verified.

Every folder is somebody else's bytes: one that is damaged, or is no transcript, becomes an entry that says so.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.receipt import verify_receipt
from weighbridge.evidence.statement import statement_id, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.commitment import COMMITMENT, NONCE, Opening, nonce_of
from weighbridge.mechanisms.transcript.group_record import GroupRecord, is_merged
from weighbridge.mechanisms.transcript.journal import SegmentReader, segment_paths

__all__ = ["BINDINGS", "Entry", "list_runs"]

BINDINGS = {
    "bound": "logged, and answered by an inspector's nonce",
    "unanswered": "signed, but the log's receipts or an inspector's nonce are missing",
    "unsigned": "nobody outside saw it",
}
"""What a run can be bound to, strongest first."""

_MOST_FILES = 100_000
"""Files whose sizes are added up for one run; an honest one has a few for each freeze."""

_TRACES = ("opening.json", "journal-0000.jsonl", "commitment.cose")
"""A folder with none of these is no transcript at all."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One name in the folder.

    Attributes:
        name: the folder's name.
        kind: ``run``, ``merged`` (several ranks' runs as one), ``empty`` (a commitment without a journal: its
            program trained nothing that was seen, or somebody took it away), ``damaged`` (a transcript that cannot be
            read), or ``foreign`` (something else).
        fault: why it is not a run, in words; empty for one.
        rank: which rank of a group it is, in words, by its opening; empty for a run on its own.
        run: the run's id, by its commitment statement or, unsigned, by its journal.
        begun: when the first segment began, seconds since 1970 by the operator's clock.
        steps: updates completed along the run's line.
        planned: steps committed to; None where nobody knew before.
        trained: steps recorded, those trained again after a resumption included.
        segments: starts and resumptions.
        ended: ``finished``, ``stopped early``, or ``unfinished`` (no end: still running, or killed).
        torn: whether the last line lacks its end.
        binding: one of :data:`BINDINGS`.
        verified: whether signatures and receipts behind the binding were verified.
        opened: whether the opening lies beside the journal.
        freezes: claims about snapshots.
        size_bytes: bytes that the folder's files take on the disk; links count as links.
    """

    name: str
    kind: str
    fault: str = ""
    rank: str = ""
    run: str = ""
    begun: float = 0.0
    steps: int = 0
    planned: int | None = 0
    trained: int = 0
    segments: int = 0
    ended: str = ""
    torn: bool = False
    binding: str = ""
    verified: bool = False
    opened: bool = False
    freezes: int = 0
    size_bytes: int = 0

    @property
    def begun_at(self) -> str:
        """The minute of its beginning in UTC; a number that is no date in our age stays a number."""
        try:
            return datetime.fromtimestamp(self.begun, UTC).strftime("%Y-%m-%d %H:%MZ")
        except (OverflowError, ValueError, OSError):
            return f"{self.begun:g}"


def list_runs(folder: Path, roots: TrustRoots | None) -> Iterator[Entry]:
    """Yields what lies in a folder of transcripts, by name. Nothing is written, no link followed.

    Args:
        folder: the store.
        roots: whom to trust; None leaves signatures unread, and bindings as the folders claim them.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"cannot be listed ({error.strerror})", where=folder, mend="name the folder that holds the runs' folders"
        ) from error
    for path in paths:
        shown = os.fsencode(path.name).decode("utf-8", "backslashreplace")
        try:
            yield replace(_entry(path, roots), name=shown)
        except EvidenceError as error:
            yield Entry(name=shown, kind="damaged", fault=_told(error, path))
        except OSError as error:
            yield Entry(name=shown, kind="damaged", fault=f"cannot be read ({error.strerror})")


def _told(error: EvidenceError, folder: Path) -> str:
    """Returns the sentence of an error, the folder's own path left out."""
    return str(error).replace(f"{folder}/", "").removeprefix(f"{folder}: ")


def _entry(path: Path, roots: TrustRoots | None) -> Entry:
    mode = path.lstat().st_mode
    if not stat.S_ISDIR(mode):
        what = "a link, which is not followed" if stat.S_ISLNK(mode) else "no folder"
        return Entry(name="", kind="foreign", fault=f"is {what}")
    if is_merged(path):
        return _merged(path)
    if not any(os.path.lexists(path / trace) for trace in _TRACES):
        return Entry(name="", kind="foreign", fault="holds no transcript")
    if not any(path.glob("journal-*")) and not any(path.glob("anchors/*")):
        fault = "was committed, and has no journal: nothing was recorded, or it was taken away"
        return Entry(name="", kind="empty", fault=fault)
    entry = _journals(path)
    opening = Opening.read(path / "opening.json") if os.path.lexists(path / "opening.json") else None
    run, binding, verified = _binding(path, roots, opening)
    if run and run != entry.run:
        raise EvidenceError("its journal names another run than its commitment", where=path)
    told = opening.contents["config"].get("group") if opening is not None else None
    rank = f"rank {told.get('rank')} of {told.get('world')}" if isinstance(told, dict) else ""
    return replace(
        entry, binding=binding, verified=verified, opened=opening is not None, rank=rank, size_bytes=_size(path)
    )


def _merged(path: Path) -> Entry:
    record = GroupRecord.read(path)
    steps = min(member.steps for member in record.members)
    ended = "finished" if all(member.finished for member in record.members) else "unfinished"
    fault = f"{record.world} ranks of {steps} steps, {ended}: {', '.join(m.run[:16] for m in record.members[:4])}"
    return Entry(name="", kind="merged", run=record.group, steps=steps, ended=ended, fault=fault)


def _journals(path: Path) -> Entry:
    """Reads all segments, one line at a time."""
    paths = segment_paths(path)
    run, begun, steps, trained, freezes, ended, torn = "", 0.0, 0, 0, 0, "", False
    planned: int | None = 0
    for number, journal in enumerate(paths):
        reader = SegmentReader(journal)
        ended = ""
        for event in reader:
            data = event.data
            if not ended:
                if event.type != "segment":
                    raise EvidenceError("does not begin as a segment", where=journal)
                if number == 0:
                    run, begun = str(data["run"]), float(data["time"])
                    planned = None if data["steps"] is None else int(data["steps"])
                elif data["run"] != run:
                    raise EvidenceError("is a segment of another run", where=journal)
                ended = "unfinished"
            if event.type == "step":
                steps, trained = max(steps, int(data["step"]) + 1), trained + 1
            elif event.type == "freeze":
                freezes += 1
            elif event.type == "end":
                ended = "finished" if data["finished"] else "stopped early"
        if not ended:
            raise EvidenceError("has no whole line", where=journal)
        torn = reader.torn
    return Entry(
        name="",
        kind="run",
        run=run,
        begun=begun,
        steps=steps,
        planned=planned,
        trained=trained,
        segments=len(paths),
        ended=ended,
        torn=torn,
        freezes=freezes,
    )


def _binding(path: Path, roots: TrustRoots | None, opening: Opening | None) -> tuple[str, str, bool]:
    """Returns the run's id by its commitment (empty without one), what it is bound to, and whether that was verified.

    Raises:
        EvidenceError: a statement or receipt does not hold.
    """
    if not os.path.lexists(path / "commitment.cose"):
        if os.path.lexists(path / "nonce.cose"):
            raise EvidenceError("has an inspector's answer, but no commitment", where=path)
        return "", "unsigned", False
    raws = {
        name: read_plain(path / f"{name}.cose", limit_bytes=LIMITS.statement_bytes)
        for name in ("commitment", "nonce")
        if os.path.lexists(path / f"{name}.cose")
    }
    receipts = {
        name: read_plain(path / f"{name}.receipt", limit_bytes=LIMITS.receipt_bytes)
        for name in raws
        if os.path.lexists(path / f"{name}.receipt")
    }
    run = statement_id(raws["commitment"])
    if roots is not None:
        commitment = verify_statement(raws["commitment"], roots, kind=COMMITMENT)
        if opening is not None:
            opening.check(commitment.payload)
        if "nonce" in raws:
            answer = verify_statement(raws["nonce"], roots, kind=NONCE, role=Role.INSPECTOR)
            nonce_of(answer.payload, run=run, where="nonce.cose")
        for name, receipt in receipts.items():
            verify_receipt(raws[name], receipt, roots.log_key)
    binding = "bound" if len(receipts) == 2 else "unanswered"
    return run, binding, roots is not None


def _size(path: Path) -> int:
    """Returns the bytes that all files below a folder take: a sparse file's length costs nobody anything.

    Raises:
        EvidenceError: there are more files than any run has.
    """
    total = seen = 0
    waiting = [path]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for item in found:
                seen += 1
                if seen > _MOST_FILES:
                    raise EvidenceError(f"has more than {_MOST_FILES} files", where=path)
                if item.is_dir(follow_symlinks=False):
                    waiting.append(Path(item.path))
                else:
                    total += item.stat(follow_symlinks=False).st_blocks * 512
    return total
