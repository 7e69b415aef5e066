"""A transcript as the inspector opens it: everything read back is verified against what was logged."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.commitment import (
    COMMITMENT,
    NONCE,
    PROGRESS,
    Opening,
    derive_seed,
    nonce_of,
    salt_for,
)
from weighbridge.mechanisms.transcript.environment import CodeTree
from weighbridge.mechanisms.transcript.events import is_anchor_name
from weighbridge.mechanisms.transcript.journal import Event, Segment, read_segment, segment_paths
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.watched import is_bound

__all__ = ["Freeze", "Transcript"]

_MOST_RECORDS = 10_000
"""Records that one claim may cover: they are counted one by one."""


@dataclass(frozen=True)
class Freeze:
    """The operator's claim about one snapshot record: which state of the run it found, and where that state lay."""

    chip: str
    boot: int
    first: int
    last: int
    step: int
    updating: bool
    anchor: str
    state: str
    layout: tuple[tuple[str, int, int], ...]
    data: tuple[tuple[str, int, int], ...]

    @property
    def candidates(self) -> tuple[int, ...]:
        """States that the memory may show: two where the freeze fell inside an update."""
        return (self.step - 1, self.step) if self.updating and self.step > 0 else (self.step,)


@dataclass(frozen=True)
class Transcript:
    """One run: its statements, its opening, its segments.

    Attributes:
        folder: where it lies.
        commitment: the logged commitment, or None for a run that was bound to nothing.
        nonce: the inspector's answer.
        opening: what opens the salted digests.
        segments: one a start or resumption.
        progress: signed statements of where the run stood, in order.
    """

    folder: Path
    commitment: Statement | None
    nonce: Statement | None
    opening: Opening
    segments: tuple[Segment, ...]
    progress: tuple[Statement, ...]

    @classmethod
    def open(cls, folder: Path, roots: TrustRoots | None) -> "Transcript":
        """Reads a transcript and verifies signatures, the opening and the code tree.

        Args:
            folder: the run's folder.
            roots: whom to trust; None reads an unbound run, whose statements stay unread.

        Raises:
            EvidenceError: something was edited, or does not belong to this run.
        """
        if not folder.is_dir():
            raise EvidenceError("is not a transcript's folder", where=folder)
        opening = Opening.read(folder / "opening.json")
        segments = tuple(read_segment(path) for path in segment_paths(folder))
        if not all(segment.events for segment in segments):
            raise EvidenceError("has an empty segment", where=folder)
        if (folder / "code").is_symlink():
            raise EvidenceError("is a link", where=folder / "code")
        commitment = nonce = None
        progress: list[Statement] = []
        bound = (folder / "commitment.cose").exists()
        if roots is not None and bound:
            commitment = _statement(folder / "commitment.cose", roots, COMMITMENT)
            opening.check(commitment.payload)
            if (folder / "nonce.cose").exists():
                nonce = _statement(folder / "nonce.cose", roots, NONCE, role=Role.INSPECTOR)
                nonce_of(nonce.payload, run=commitment.id, where=folder / "nonce.cose")
            for path in sorted((folder / "progress").glob("*.cose")):
                statement = _statement(path, roots, PROGRESS)
                if statement.payload.get("run") != commitment.id:
                    raise EvidenceError("belongs to another run", where=path)
                if statement.identity.key_id != commitment.identity.key_id:
                    raise EvidenceError("is signed by another key than the commitment", where=path)
                progress.append(statement)
        elif (folder / "nonce.cose").exists() and roots is not None:
            raise EvidenceError("has an inspector's answer, but no commitment", where=folder)
        transcript = cls(folder, commitment, nonce, opening, segments, tuple(progress))
        try:
            digest = transcript.code.digest.hex()
        except InputError as error:
            raise EvidenceError(error.what, where=error.where, mend=error.mend) from error
        if digest != transcript.contents["code"]["digest"]:
            raise EvidenceError(
                "is not the code tree that was committed",
                where=folder / "code",
                mend="ask the operator for the tree whose digest the commitment binds",
            )
        return transcript

    @property
    def run(self) -> str:
        """The run's id: that of its commitment statement."""
        return self.commitment.id if self.commitment else str(self.segments[0].events[0].data.get("run"))

    @property
    def contents(self) -> Mapping[str, Any]:
        """What the operator opened: data, code, configuration, environment, program, loop."""
        return self.opening.contents

    @cached_property
    def code(self) -> CodeTree:
        """The committed code tree, as the operator handed it over."""
        return CodeTree.read(self.folder / "code")

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Every event of every segment, in order."""
        return tuple(event for segment in self.segments for event in segment.events)

    @property
    def seed(self) -> bytes:
        """The seed that the run must have used, recomputed.

        Raises:
            EvidenceError: an inspector answered the run, and the transcript was opened without trust roots.
        """
        if self.nonce is not None:
            return derive_seed(
                commitment_id=self.run, inspector_nonce=nonce_of(self.nonce.payload, run=self.run, where="nonce.cose")
            )
        if (self.folder / "nonce.cose").exists():
            raise EvidenceError(
                "the seed follows from an inspector's answer, which cannot be verified without trust roots",
                where=self.folder,
                mend="name them with --roots",
            )
        return derive_seed(commitment_id=self.run, inspector_nonce=self.opening.nonce)

    @property
    def stride(self) -> int:
        """Steps between committed state digests."""
        return int(self.contents["loop"]["stride"])

    @property
    def anchor_every(self) -> int | None:
        """Steps between anchors by plan; None where none were committed to."""
        every = self.contents["loop"].get("anchor_every")
        return None if every is None else int(every)

    @property
    def observed(self) -> bool:
        """Whether the run was recorded by what was seen of it: its loop and its order of data are its own."""
        return bool(self.contents["loop"].get("mode") == "observed")

    @property
    def bound(self) -> bool:
        """Whether every seed that the program asked for, or what it began from, followed from the run's."""
        return not self.observed or is_bound(self.contents["config"])

    @property
    def planned(self) -> int | None:
        """Steps that the run committed to; None where nobody knew before."""
        steps = self.contents["loop"]["steps"]
        return None if steps is None else int(steps)

    @property
    def steps_taken(self) -> int:
        """Steps that were trained, those redone after a resumption included."""
        return sum(1 for event in self.events if event.type == "step")

    @cached_property
    def reached(self) -> int:
        """The newest state: updates completed along the run's line."""
        return max((state_step(event) for event in self.events), default=0)

    @cached_property
    def freezes(self) -> tuple[Freeze, ...]:
        """The claims about snapshot records, in order."""
        return tuple(_freeze(event.data, self.folder) for event in self.events if event.type == "freeze")

    @cached_property
    def digests(self) -> dict[int, str]:
        """Committed state digests by step; where a resumption redid steps, the newest."""
        found: dict[int, str] = {}
        for event in self.events:
            if "state" in event.data:
                found[state_step(event)] = str(event.data["state"])
        return found

    @cached_property
    def steps(self) -> dict[int, Mapping[str, Any]]:
        """Step events by step; where a resumption redid steps, the newest."""
        return {int(e.data["step"]): e.data for e in self.events if e.type == "step"}

    def hyperparameters_at(self, step: int) -> Any:
        """Returns the hyperparameters that the journal says the update of ``step`` used."""
        steps, told = self._changes
        place = bisect_right(steps, step)
        return told[place - 1] if place else None

    @cached_property
    def _changes(self) -> tuple[list[int], list[Any]]:
        """The steps at which the journal tells of hyperparameters, and what it tells."""
        steps = [step for step in sorted(self.steps) if "hyperparameters" in self.steps[step]]
        return steps, [self.steps[step]["hyperparameters"] for step in steps]

    def salt(self, step: int) -> bytes:
        """Returns the salt of the state digest at ``step``."""
        return salt_for(self.opening.key, f"state/{step}")

    def state(self, anchor: str) -> TrainingState:
        """Reads an anchor of this run by its file's name.

        Raises:
            EvidenceError: the file is missing or malformed, or the name leaves the folder.
        """
        if not is_anchor_name(anchor):
            raise EvidenceError("is not a plain file name", where=self.folder, field=repr(anchor)[:200])
        return read_anchor(self.folder / "anchors" / anchor)


def state_step(event: Event) -> int:
    """Returns the number of completed steps that an event speaks of."""
    return int(event.data["step"]) + (event.type == "step")


def _statement(path: Path, roots: TrustRoots, kind: str, role: str | None = None) -> Statement:
    return verify_statement(read_plain(path, limit_bytes=LIMITS.statement_bytes), roots, kind=kind, role=role)


def _freeze(data: Mapping[str, Any], where: Path) -> Freeze:
    try:
        first, last = (int(s) for s in data["sequences"])
        freeze = Freeze(
            chip=str(data["chip"]),
            boot=int(data["boot"]),
            first=first,
            last=last,
            step=int(data["step"]),
            updating=data["phase"] == "updating",
            anchor=str(data["anchor"]),
            state=str(data["state"]),
            layout=tuple((str(n), int(a), int(b)) for n, a, b in data["layout"]),
            data=tuple((str(n), int(a), int(b)) for n, a, b in data["data"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise EvidenceError(f"a freeze is malformed ({error})", where=where, field="journal") from error
    if last - first > _MOST_RECORDS:
        raise EvidenceError(f"a freeze claims {last - first + 1} records at once", where=where, field="journal")
    return freeze
