"""A transcript as the inspector opens it: everything read back is verified against what was logged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.commitment import (
    COMMITMENT,
    NONCE,
    PROGRESS,
    Opening,
    derive_seed,
    salt_for,
)
from weighbridge.mechanisms.transcript.environment import CodeTree
from weighbridge.mechanisms.transcript.journal import Event, Segment, read_segment, segment_paths
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["Freeze", "Transcript"]


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
        commitment = nonce = None
        progress: list[Statement] = []
        if roots is not None and (folder / "commitment.cose").exists():
            commitment = verify_statement((folder / "commitment.cose").read_bytes(), roots, kind=COMMITMENT)
            opening.check(commitment.payload)
            if (folder / "nonce.cose").exists():
                nonce = verify_statement((folder / "nonce.cose").read_bytes(), roots, kind=NONCE, role="inspector")
                if nonce.payload.get("run") != commitment.id:
                    raise EvidenceError("answers another run's commitment", where=folder / "nonce.cose")
            for path in sorted((folder / "progress").glob("*.cose")):
                statement = verify_statement(path.read_bytes(), roots, kind=PROGRESS)
                if statement.payload.get("run") != commitment.id:
                    raise EvidenceError("belongs to another run", where=path)
                if statement.identity.key_id != commitment.identity.key_id:
                    raise EvidenceError("is signed by another key than the commitment", where=path)
                progress.append(statement)
        transcript = cls(folder, commitment, nonce, opening, segments, tuple(progress))
        tree = transcript.code
        if tree.digest.hex() != transcript.contents["code"]["digest"]:
            raise EvidenceError(
                "is not the code tree that was committed",
                where=folder / "code",
                mend="ask the operator for the tree whose digest the commitment binds",
            )
        return transcript

    @property
    def run(self) -> str:
        """The run's id: that of its commitment statement."""
        return self.commitment.id if self.commitment else str(self.events[0].data.get("run"))

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
        """The seed that the run must have used, recomputed."""
        nonce = bytes.fromhex(str(self.nonce.payload["nonce"])) if self.nonce else self.opening.nonce
        return derive_seed(commitment_id=self.run, inspector_nonce=nonce)

    @property
    def stride(self) -> int:
        """Steps between committed state digests."""
        return int(self.contents["loop"]["stride"])

    @property
    def steps_taken(self) -> int:
        """Steps that were trained, those redone after a resumption included."""
        return sum(1 for event in self.events if event.type == "step")

    @property
    def reached(self) -> int:
        """The newest state: updates completed along the run's line."""
        return max((int(event.data["step"]) + (event.type == "step") for event in self.events), default=0)

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
                step = int(event.data["step"]) + (1 if event.type == "step" else 0)
                found[step] = str(event.data["state"])
        return found

    @cached_property
    def steps(self) -> dict[int, Mapping[str, Any]]:
        """Step events by step; where a resumption redid steps, the newest."""
        return {int(e.data["step"]): e.data for e in self.events if e.type == "step"}

    def hyperparameters_at(self, step: int) -> Any:
        """Returns the hyperparameters that the journal says the update of ``step`` used."""
        used = None
        for number in sorted(self.steps):
            if number > step:
                break
            used = self.steps[number].get("hyperparameters", used)
        return used

    def salt(self, step: int) -> bytes:
        """Returns the salt of the state digest at ``step``."""
        return salt_for(self.opening.key, f"state/{step}")

    def state(self, anchor: str) -> TrainingState:
        """Reads an anchor of this run by its file's name.

        Raises:
            EvidenceError: the file is missing or malformed, or the name leaves the folder.
        """
        if "/" in anchor or anchor.startswith("."):
            raise EvidenceError("is not a plain file name", where=self.folder, field=anchor)
        return read_anchor(self.folder / "anchors" / anchor)


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
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"a freeze is malformed ({error})", where=where, field="journal") from error
    sizes = [size for _, _, size in freeze.layout]
    if any(size < 0 for size in sizes) or not math.isfinite(sum(sizes)):
        raise EvidenceError("a freeze's layout has a negative size", where=where, field="journal")
    return freeze
