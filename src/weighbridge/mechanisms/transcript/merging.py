"""Joins the transcripts of several ranks to one run: what must agree between them, and what they make together.

What does not belong together is refused: a rank missing, twice, of another run, of another program. What joins is
then judged from the journals alone; that the journals are true is for the replay of all ranks to show.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.environment import differences
from weighbridge.mechanisms.transcript.group_notes import KINDS
from weighbridge.mechanisms.transcript.group_record import GroupRecord, Member
from weighbridge.mechanisms.transcript.logical_digest import LogicalSum
from weighbridge.mechanisms.transcript.ranks import Group
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["Joined", "folders_of", "group_of", "join", "notes_of"]

_PROMISING = ("ddp", "fsdp2")
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Several ranks as one run.

    Attributes:
        record: what is written.
        ranks: the members' transcripts, in order.
        findings: what was checked between them.
    """

    record: GroupRecord
    ranks: tuple[Transcript, ...]
    findings: tuple[Finding, ...]


def folders_of(given: Iterable[Path]) -> list[Path]:
    """Returns the transcripts' folders: those given, and those right below a given folder that is none itself.

    Raises:
        InputError: one holds no transcript.
    """
    found: list[Path] = []
    for path in given:
        below = (
            [path] if os.path.lexists(path / "opening.json") else sorted(p.parent for p in path.glob("*/opening.json"))
        )
        if not below:
            raise InputError(
                "holds no transcript", where=path, mend="name runs' folders, or the folder that holds them"
            )
        found += below
    resolved = [path.resolve() for path in found]
    for path in resolved:
        if resolved.count(path) > 1:
            raise InputError("is named twice", where=path)
    return found


def group_of(transcript: Transcript) -> Group | None:
    """Returns the group that a transcript committed to, or None for a run on its own."""
    return Group.of(transcript.contents["config"], where=transcript.folder / "opening.json")


def join(folders: Sequence[Path], roots: TrustRoots | None, *, beside: Path, only: str | None = None) -> Joined:
    """Joins the ranks of one run.

    Args:
        folders: transcripts' folders.
        roots: whom to trust; None leaves signatures unread.
        beside: the record's folder, from which members are named.
        only: first digits of the group's id, where the folders hold several groups.

    Raises:
        EvidenceError: a transcript cannot be opened, or the ranks do not belong together.
        InputError: the folders hold no group, or several.
    """
    opened = [Transcript.open(folder, roots) for folder in folders]
    grouped = [(transcript, group) for transcript in opened if (group := group_of(transcript)) is not None]
    if only is not None:
        grouped = [(transcript, group) for transcript, group in grouped if group.id.startswith(only)]
    elif len(grouped) < len(opened):
        alone = next(t for t in opened if group_of(t) is None)
        raise InputError("is a run on its own, and no rank of a group", where=alone.folder, mend="leave it out")
    if not grouped:
        raise InputError("is in none of the transcripts", where=f"group {only or ''}".strip())
    ids = sorted({group.id for _, group in grouped})
    if len(ids) > 1:
        names = " and ".join(identifier[:16] for identifier in ids[:3])
        raise InputError(f"are of different runs: groups {names}", where="ranks", mend="choose one with --group")
    attempt = max(group.attempt for _, group in grouped)
    latest = [(transcript, group) for transcript, group in grouped if group.attempt == attempt]
    ranks = _in_order(latest)
    _same_program(ranks)
    finder = _Finder(ids[0], ranks)
    earlier = sorted(
        (group.attempt, group.rank, transcript.run, transcript.reached)
        for transcript, group in grouped
        if group.attempt < attempt
    )
    logical = finder.logical()
    record = GroupRecord(
        group=ids[0],
        attempt=attempt,
        world=len(ranks),
        wrapped=finder.wrapped,
        members=tuple(_member(rank, transcript, beside) for rank, transcript in enumerate(ranks)),
        logical=logical,
        abandoned=tuple(earlier),
    )
    findings = [*finder.attempts(attempt, earlier), *finder.judged()]
    return Joined(record=record, ranks=tuple(ranks), findings=tuple(findings))


def _member(rank: int, transcript: Transcript, beside: Path) -> Member:
    last = transcript.segments[-1]
    return Member(
        rank=rank,
        run=transcript.run,
        folder=os.path.relpath(transcript.folder.resolve(), beside.resolve()),
        head=last.head.hex(),
        segments=len(transcript.segments),
        steps=transcript.reached,
        finished=_finished(transcript),
    )


def _finished(transcript: Transcript) -> bool:
    last = transcript.segments[-1]
    return last.complete and bool(last.events[-1].data.get("finished"))


def _in_order(members: Sequence[tuple[Transcript, Group]]) -> list[Transcript]:
    """Returns the ranks' transcripts in order: all of them, each once."""
    worlds = sorted({group.world for _, group in members})
    if len(worlds) > 1:
        raise EvidenceError(f"committed to groups of {worlds[0]} and of {worlds[1]} ranks", where="ranks")
    by_rank: dict[int, Transcript] = {}
    for transcript, group in members:
        if group.rank in by_rank:
            other = by_rank[group.rank]
            what = f"is rank {group.rank}, and so is {other.folder}"
            raise EvidenceError(what, where=transcript.folder, mend="one of them is no part of this run")
        by_rank[group.rank] = transcript
    missing = [rank for rank in range(worlds[0]) if rank not in by_rank]
    if missing:
        listed = ", ".join(map(str, missing[:_MOST_NAMED]))
        what = f"{len(missing)} of {worlds[0]} are missing: rank {listed}"
        raise EvidenceError(what, where="ranks", mend="ask for the transcript of every rank of this attempt")
    return [by_rank[rank] for rank in range(worlds[0])]


def _same_program(ranks: Sequence[Transcript]) -> None:
    """Refuses ranks that committed to different code, data, programs or strides."""
    first = ranks[0].contents
    for rank, transcript in enumerate(ranks[1:], 1):
        contents = transcript.contents
        parts = {
            "code": (first["code"], contents["code"]),
            "data": (first["data"], contents["data"]),
            "program": (first["program"], contents["program"]),
            "loop": (first["loop"], contents["loop"]),
        }
        for part, (left, right) in parts.items():
            if left != right:
                differing = (
                    differences(left, right)[0].replace(": recorded", ": rank 0").replace(", here", f", {rank}:")
                )
                what = f"rank {rank} committed to another {part} than rank 0 ({differing:.300})"
                raise EvidenceError(what, where=transcript.folder)


def notes_of(transcript: Transcript) -> list[tuple[int, Mapping[str, Any]]]:
    """Returns the steps at which a rank committed to a state, and what it noted of each for its group, in order."""
    return [
        (int(event.data["step"]) + (event.type == "step"), event.data.get("group", {}))
        for event in transcript.events
        if "state" in event.data and event.type != "freeze"
    ]


class _Finder:
    """Makes the checks between ranks that belong together."""

    def __init__(self, group: str, ranks: Sequence[Transcript]) -> None:
        self._group, self._ranks = group, ranks
        self._notes = [dict(notes_of(transcript)) for transcript in ranks]
        self._first = [transcript.events[0].data.get("group", {}) for transcript in ranks]
        said = {str(note.get("wrapped", "none")) for note in self._first}
        self.wrapped = said.pop() if len(said) == 1 else "other"
        self._steps = sorted(set.intersection(*(set(notes) for notes in self._notes)))
        self._faults: list[tuple[str, Outcome, str]] = []

    def _finding(self, check: str, outcome: Outcome, reason: str, **figure: Any) -> Finding:
        return Finding(check=f"transcript.group-{check}", subject=self._group, outcome=outcome, reason=reason, **figure)

    def attempts(self, attempt: int, earlier: Sequence[tuple[int, int, str, int]]) -> list[Finding]:
        """Says which earlier attempts are no part of the merged run."""
        if not attempt and not earlier:
            return []
        runs = f"{len(earlier)} transcripts of earlier attempts are at hand, of at most"
        runs += f" {max((steps for *_, steps in earlier), default=0)} steps"
        reason = (
            f"the launcher had restarted all ranks {attempt} times before; {runs}: their work is no part of this run"
        )
        return [self._finding("attempts", Outcome.INCONCLUSIVE, reason, figure=float(attempt), unit="restarts")]

    def judged(self) -> list[Finding]:
        """Makes every check that journals allow; call :meth:`logical` before."""
        return [self._length(), self._shards(), *self._weights(), self._batches(), self._environments()]

    def _length(self) -> Finding:
        reached = [transcript.reached for transcript in self._ranks]
        if len(set(reached)) > 1:
            short = reached.index(min(reached))
            reason = f"rank {short} has {min(reached)} steps, others up to {max(reached)}: the rest is compared with"
            reason += " nothing"
            return self._finding("steps", Outcome.INCONCLUSIVE, reason, figure=float(min(reached)), unit="steps")
        unfinished = [rank for rank, transcript in enumerate(self._ranks) if not _finished(transcript)]
        if unfinished:
            reason = f"rank {unfinished[0]} did not come to its own end, after {reached[0]} steps"
            return self._finding("steps", Outcome.INCONCLUSIVE, reason)
        return self._finding("steps", Outcome.PASS, f"all {len(reached)} ranks have the same {reached[0]} steps")

    def _environments(self) -> Finding:
        first = self._ranks[0].contents["environment"]
        for rank, transcript in enumerate(self._ranks[1:], 1):
            if found := differences(first, transcript.contents["environment"]):
                reason = f"rank {rank} ran in another environment than rank 0: {found[0]:.300}"
                return self._finding("environment", Outcome.INCONCLUSIVE, reason)
        return self._finding("environment", Outcome.PASS, "all ranks ran in the same environment")

    def _shards(self) -> Finding:
        """Whether the pieces of every tensor fit together, without overlap or hole."""
        tables = [note.get("pieces", {}) for note in self._first]
        names = sorted({name for table in tables for name in table})
        if not names:
            return self._finding("shards", Outcome.PASS, "no weight lies in pieces: each rank holds all of them")
        for name in names:
            if fault := _fits([table.get(name) for table in tables]):
                outcome = Outcome.INCONCLUSIVE if fault.startswith("is cut") else Outcome.FAIL
                return self._finding("shards", outcome, f"{name} {fault}")
        reason = f"the pieces of {len(names)} tensors fit together on {len(tables)} ranks, with no overlap and no hole"
        return self._finding("shards", Outcome.PASS, reason, figure=float(len(names)), unit="tensors")

    def logical(self) -> dict[int, dict[str, str]]:
        """Returns the logical digests by step, and remembers where ranks contradict each other."""
        found: dict[int, dict[str, str]] = {}
        for step in self._steps:
            notes = [notes[step] for notes in self._notes]
            faults = [str(note["fault"]) for note in notes if "fault" in note]
            if faults:
                self._faults.append(
                    ("weights", Outcome.INCONCLUSIVE, f"step {step} has no logical digest: {faults[0]}")
                )
                continue
            for kind in KINDS:
                try:
                    digest = self._joined(notes, kind)
                except EvidenceError as error:
                    certain = self.wrapped in _PROMISING and kind == "weights"
                    outcome = Outcome.FAIL if certain else Outcome.INCONCLUSIVE
                    self._faults.append((kind, outcome, f"step {step}: {error.what}"))
                else:
                    found.setdefault(step, {})[kind] = digest
        return found

    def _joined(self, notes: Sequence[Mapping[str, Any]], kind: str) -> str:
        """Returns the logical digest of one kind at one step."""
        try:
            sums = [note["sums"][kind] for note in notes]
            wholes = [str(one["whole"]) for one in sums]
            places = [tuple(int(number) for number in note.get("part", (0, 1, 0))) for note in notes]
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceError(f"a rank's sums are malformed ({error})") from error
        for rank, whole in enumerate(wholes):
            if whole != wholes[0]:
                raise EvidenceError(f"ranks 0 and {rank} hold different {kind} where both hold all of them")
        if not any("sum" in one for one in sums):
            return wholes[0]
        parts: dict[int, tuple[int, str]] = {}
        for rank, (one, (part, _, _)) in enumerate(zip(sums, places, strict=True)):
            if not isinstance(one.get("sum"), str):
                raise EvidenceError(f"rank {rank} has no sum over its pieces of the {kind}, and others have")
            other = parts.setdefault(part, (rank, one["sum"]))
            if other[1] != one["sum"]:
                raise EvidenceError(
                    f"ranks {other[0]} and {rank} hold different copies of the same piece of the {kind}"
                )
        counts = {count for _, count, _ in places}
        if counts != {len(parts)} or sorted(parts) != list(range(len(parts))):
            raise EvidenceError(f"the pieces of the {kind} are not all there: {sorted(parts)} of {sorted(counts)}")
        return LogicalSum.joined(LogicalSum.parse(text) for _, text in parts.values()).digest

    def _weights(self) -> list[Finding]:
        """Whether the ranks held one model at every step that all of them committed to."""
        faults = {kind: next(((o, r) for k, o, r in self._faults if k == kind), None) for kind in KINDS}
        findings = []
        for kind, fault in faults.items():
            if fault is not None:
                outcome, reason = fault
                if outcome is Outcome.INCONCLUSIVE and self.wrapped not in _PROMISING:
                    reason += f"; they are kept alike by nothing that was seen ({self.wrapped}), so that may be honest"
                findings.append(self._finding(kind, outcome, reason))
            elif not self._steps:
                reason = "the ranks committed to no state at a common step"
                findings.append(self._finding(kind, Outcome.INCONCLUSIVE, reason))
            else:
                reason = f"the ranks make one set of {kind} at {len(self._steps)} common steps ({self.wrapped})"
                findings.append(self._finding(kind, Outcome.PASS, reason, figure=float(len(self._steps)), unit="steps"))
        return findings

    def _batches(self) -> Finding:
        """Whether two ranks were given the same batch, which would be work declared twice."""
        seen: dict[str, int] = {}
        batches = shared = 0
        for rank, transcript in enumerate(self._ranks):
            for event in transcript.steps.values():
                digest = event.get("group", {}).get("batch")
                if digest is None:
                    continue
                batches += 1
                shared += seen.setdefault(str(digest), rank) != rank
        if not batches:
            return self._finding("batches", Outcome.INCONCLUSIVE, "no rank was seen to give its model a batch")
        if shared:
            reason = f"{shared} of {batches} batches were given to a lower rank too: the same data counts several times"
            return self._finding("batches", Outcome.INCONCLUSIVE, reason, figure=shared / batches, unit="share")
        reason = f"no two ranks were given the same batch, of {batches} (batches that share some items are not seen)"
        return self._finding("batches", Outcome.PASS, reason, figure=float(batches), unit="batches")


def _fits(pieces: Sequence[Any]) -> str:
    """Returns what is wrong with one tensor's pieces on all ranks; nothing where they fit together."""
    spans: dict[int, tuple[int, int]] = {}
    shapes, counts = [], set()
    for rank, piece in enumerate(pieces):
        try:
            shape, start, stop, part, parts, _, fault = piece
            numbers = [int(number) for number in (start, stop, part, parts, *shape)]
        except (TypeError, ValueError):
            return f"lies in pieces on other ranks than {rank}"
        if fault:
            return str(fault)[:300] if str(fault).startswith("is cut") else f"on rank {rank} {fault:.300}"
        shapes.append(shape)
        counts.add(numbers[3])
        if spans.setdefault(numbers[2], (numbers[0], numbers[1])) != (numbers[0], numbers[1]):
            return f"has copies of piece {part} that hold different rows"
    if any(shape != shapes[0] for shape in shapes):
        return f"has shape {shapes[0]} on rank 0 and another elsewhere"
    if counts != {len(spans)}:
        return f"has {len(spans)} pieces where {sorted(counts)} were said"
    reached = 0
    for part in sorted(spans):
        start, stop = spans[part]
        if start != reached or stop < start:
            return f"has rows {reached} to {start} on no rank or on two"
        reached = stop
    return "" if reached == shapes[0][0] else f"has rows {reached} to {shapes[0][0]} on no rank"
