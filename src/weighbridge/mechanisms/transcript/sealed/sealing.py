"""A verification in the sealed room: what is shown to it, what it is asked, and the one record that comes back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.sealed.agreement import OUTPUT_BYTES, Output, Terms
from weighbridge.mechanisms.transcript.sealed.record import RECORD_BYTES, SealedRecord
from weighbridge.mechanisms.transcript.sealed.room import INSIDE, Room, committed_files, run_room
from weighbridge.sandbox import Bind

__all__ = ["Sealed", "verify_agreed", "verify_sealed"]


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """What is at hand outside the room, by path; as in :class:`~..verification.Request`.

    Attributes:
        seed: seed of the draw (bytes).
        roots: folder of trust roots.
        log: folder of an exported log.
        segments: segments to replay; None for all.
        budget: steps to replay at most.
        data: training data as handed over, if not at its committed path.
        parent: folder of the transcript of the run with whose final weights this one began.
        core: processor to replay on.
        pad_seconds: when the answer is given, in seconds from the start; what is not done then is never done.
    """

    seed: bytes = bytes(32)
    roots: Path | None = None
    log: Path | None = None
    segments: int | None = None
    budget: int | None = None
    data: Path | None = None
    parent: Path | None = None
    core: int | None = None
    pad_seconds: float | None = None

    def shown(self, run: Path) -> tuple[Bind, ...]:
        """Returns what the room is shown of a run.

        Raises:
            InputError: something that was named is not there; said outside, since it depends on no secret.
        """
        named = {"run": run, "roots": self.roots, "log": self.log, self._data: self.data, "parent": self.parent}
        binds = [Bind(path.resolve(), INSIDE / name) for name, path in named.items() if path is not None]
        for bind in binds:
            if not bind.host.exists():
                raise InputError("is not there", where=bind.host)
        if not run.is_dir():
            raise InputError("is no folder", where=run)
        return (*binds, *(() if self.data is not None else committed_files(run / "opening.json")))

    def request(self) -> dict[str, Any]:
        """Returns what the room is asked, beside its task."""
        if (self.log is not None) > (self.roots is not None):
            raise InputError("needs trust roots that name the log's key", where="--log", mend="name them with --roots")
        return {
            "seed": self.seed.hex(),
            "roots": self.roots is not None,
            "log": self.log is not None,
            "segments": self.segments,
            "budget": self.budget,
            "data": self._data if self.data is not None else None,
            "parent": self.parent is not None,
            "core": self.core,
        }

    @property
    def _data(self) -> str:
        """Name of the data inside: a file keeps its ending, which tells its kind."""
        return "data.npy" if self.data is not None and self.data.is_file() else "data"


def verify_sealed(run: Path, sealed: Sealed) -> SealedRecord:
    """Verifies a run in the room; a room that breaks gives the record that says nothing.

    Raises:
        InputError: something that was named is not there.
        MissingToolError: no room can be made on this machine.
    """
    answer = run_room(
        Room(
            shown=sealed.shown(run),
            request={"task": "verify", **sealed.request()},
            answer_bytes=RECORD_BYTES,
            seconds=sealed.pad_seconds,
        )
    )
    try:
        return SealedRecord.decode(answer or b"", "room")
    except EvidenceError:
        return SealedRecord.nothing()


def verify_agreed(run: Path, sealed: Sealed, terms: Terms) -> Output:
    """Verifies a run under agreed terms, by a build that the room measures and compiles anew.

    Raises:
        EvidenceError: the room gave no output under these terms: this build is not agreed, or the room broke.
        InputError: the seed is not the one agreed, or something that was named is not there.
        MissingToolError: no room can be made on this machine.
    """
    terms.check_seed(sealed.seed)
    answer = run_room(
        Room(
            shown=sealed.shown(run),
            request={"task": "agreed", "terms": terms.payload(), **sealed.request()},
            answer_bytes=OUTPUT_BYTES,
            seconds=terms.pad_seconds,
            own_bytecode=True,
        )
    )
    if answer is None:
        raise EvidenceError(
            "gave no output: this build is none that was agreed, its time was too short, or it broke",
            where="room",
            mend="compare weighbridge sealed build with the terms",
        )
    return Output.decode(answer, terms, "room")
