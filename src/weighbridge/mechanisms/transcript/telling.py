"""One side of a comparison: what a run, or one segment of it, tells. Read without torch, and believed in nothing."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.statement import statement_id
from weighbridge.mechanisms.transcript.commitment import Opening, salt_for
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.environment import CodeTree
from weighbridge.mechanisms.transcript.journal import SegmentReader, segment_paths

__all__ = ["Anchored", "Step", "Telling"]

_MOST_CLAIMS = 100_000
"""Kept states that one telling may claim: they are held in memory."""


@dataclass(frozen=True)
class Step:
    """One step as the journal tells it; ``state`` is the digest after it, where one was committed."""

    number: int
    batch: str
    seen: str
    loss: tuple[str, ...]
    updates: int
    hyperparameters: bytes
    state: str | None


@dataclass(frozen=True)
class Anchored:
    """A state that the journal says was kept: its number of completed steps, its digest, the file it should be in."""

    step: int
    state: str
    path: Path


@dataclass(frozen=True)
class Telling:
    """A run along its line, or one of its segments.

    Where a resumption took a run back, the steps that it took back are left out: only the newest telling counts.

    Attributes:
        folder: the run's folder.
        run: the run's id.
        opening: what opens its digests, or None where it is not there.
        paths: the journals read, each with the step from which a later one takes over (None: to its end).
        whole: whether they are all of the run.
    """

    folder: Path
    run: str
    opening: Opening | None
    paths: tuple[tuple[Path, int | None], ...]
    whole: bool

    @classmethod
    def of(cls, folder: Path, *, segment: int | None = None) -> "Telling":
        """Opens a run's folder.

        Args:
            folder: the run's folder.
            segment: the one segment to read; None for the whole run's line.

        Raises:
            EvidenceError: it holds no journal, or no readable one.
            InputError: it has no such segment.
        """
        if not folder.is_dir():
            raise EvidenceError("is not a transcript's folder", where=folder)
        paths = segment_paths(folder)
        if segment is not None and not 0 <= segment < len(paths):
            raise InputError(f"has no segment {segment}, only 0 to {len(paths) - 1}", where=folder)
        firsts = [_first(path) for path in paths]
        begins = [int(data["step"]) for data in firsts]
        bounded = [(path, min(begins[number + 1 :], default=None)) for number, path in enumerate(paths)]
        if segment is not None:
            bounded = [(paths[segment], None)]
        opening = folder / "opening.json"
        commitment = folder / "commitment.cose"
        run = str(firsts[0]["run"])
        if os.path.lexists(commitment):
            run = statement_id(read_plain(commitment, limit_bytes=LIMITS.statement_bytes))
        opened = Opening.read(opening) if os.path.lexists(opening) else None
        return cls(folder, run, opened, tuple(bounded), segment is None)

    def steps(self) -> Iterator[Step]:
        """Yields the steps in ascending order, one line of the journal in memory.

        Raises:
            EvidenceError: a journal is damaged, or its steps are out of order.
        """
        last = -1
        for path, until in self.paths:
            used = b""
            for event in SegmentReader(path):
                data = event.data
                if "hyperparameters" in data:
                    used = canonical(data["hyperparameters"])
                if event.type != "step":
                    continue
                number = int(data["step"])
                if until is not None and number >= until:
                    break
                if number <= last:
                    raise EvidenceError(f"tells step {number} after step {last}", where=path)
                last = number
                loss = tuple(data["loss"])
                yield Step(number, data["batch"], data["seen"], loss, data["updates"], used, data.get("state"))

    @cached_property
    def _kept(self) -> tuple[Mapping[int, Anchored], tuple[int, bool | None]]:
        """What is known once all was read, in one pass: the claims, and how the last segment ended."""
        found: dict[int, Anchored] = {}
        step, finished = 0, None
        for path, until in self.paths:
            for event in SegmentReader(path):
                step = int(event.data["step"]) + (event.type == "step")
                finished = bool(event.data["finished"]) if event.type == "end" else None
                if "anchor" in event.data and (until is None or event.data["step"] <= until):
                    file = self.folder / "anchors" / event.data["anchor"]
                    found[step] = Anchored(step, event.data["state"], file)
                    if len(found) > _MOST_CLAIMS:
                        raise EvidenceError(f"claims more than {_MOST_CLAIMS} kept states", where=path)
        return found, (step, finished)

    @property
    def claims(self) -> Mapping[int, Anchored]:
        """States for which the journal names a file, by step; the newest where there are several."""
        return self._kept[0]

    @property
    def ended(self) -> tuple[int, bool | None]:
        """The last state's step, and whether the run says that it finished; None if it has no end."""
        return self._kept[1]

    @cached_property
    def anchors(self) -> Mapping[int, Anchored]:
        """Those of them whose files are there."""
        return {step: claim for step, claim in self.claims.items() if os.path.lexists(claim.path)}

    @cached_property
    def code(self) -> CodeTree:
        """The code tree beside the journal.

        Raises:
            EvidenceError: it is not there, or no code tree.
        """
        folder = self.folder / "code"
        if folder.is_symlink() or not folder.is_dir():
            raise EvidenceError("is no folder", where=folder)
        try:
            return CodeTree.read(folder)
        except InputError as error:
            raise EvidenceError(error.what, where=error.where) from error

    def salt(self, step: int) -> bytes | None:
        """Returns the salt of the state's digest at ``step``, or None without an opening."""
        return salt_for(self.opening.key, f"state/{step}") if self.opening is not None else None


def _first(path: Path) -> Mapping[str, Any]:
    for event in SegmentReader(path):
        if event.type == "segment":
            return event.data
        break
    raise EvidenceError("does not begin as a segment", where=path)
