"""Verifying a merged run: its record, each rank's transcript, the ranks between themselves, and all of them replayed.

1. Read the record; find the members, whose journals must have the heads that it names.
2. Join them again from their own transcripts, and compare with what the record says.
3. Read each member as a run on its own (:mod:`.reading`).
4. Replay all ranks together in a sandbox, and compare each with its journal (:func:`.verify.compare_replay`), and what
   it noted for the group with what the replayed states give.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.group_notes import state_note
from weighbridge.mechanisms.transcript.group_record import GroupRecord
from weighbridge.mechanisms.transcript.group_replay import replay_group
from weighbridge.mechanisms.transcript.merging import Joined, group_of, join, notes_of
from weighbridge.mechanisms.transcript.replay import Replay
from weighbridge.mechanisms.transcript.spending import DEARER, Budget
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verification import Request, Verification
from weighbridge.mechanisms.transcript.verify import (
    check_environment,
    check_initial_state,
    check_journal,
    check_log,
    check_receipts,
    compare_replay,
)

__all__ = ["compare_group", "members_of", "verify_group"]


def members_of(folder: Path, record: GroupRecord) -> list[Path]:
    """Returns the members' folders: where the record names them, or else beside it by their runs' ids.

    Raises:
        InputError: one is not there.
    """
    found = []
    for member in record.members:
        places = [folder / member.folder, folder / member.run[:16], folder.parent / member.run[:16]]
        place = next((path for path in places if (path / "opening.json").is_file()), None)
        if place is None:
            mend = f"put the transcript {member.run[:16]} beside the record"
            raise InputError(f"rank {member.rank} is not there", where=folder, mend=mend)
        found.append(place)
    return found


def verify_group(
    folder: Path, request: Request, *, tell: Callable[[str], None] = lambda sentence: None
) -> Verification:
    """Verifies a merged run.

    Args:
        folder: the folder of its record.
        request: what is at hand, and what may be spent; ``budget`` counts steps of each rank.
        tell: told, in a few words, what takes long.

    Raises:
        InputError: a member's transcript is not there.
    """
    subject, until = folder.name, 0
    findings: list[Finding] = []
    try:
        record = GroupRecord.read(folder)
        subject = record.group
        joined = join(members_of(folder, record), request.roots, beside=folder, only=record.group)
        findings += [*_check_record(folder, record, joined, request), *joined.findings]
        for transcript in joined.ranks:
            findings += _read(transcript, request)
        until = _until(joined, request)
        if until:
            tell(f"replaying {until} steps of {record.world} ranks in a sandbox …")
            findings += _replay(joined, until)
        findings += _share(joined, until)
    except EvidenceError as error:
        reason = f"the merged run cannot be opened: {error}"
        findings.append(Finding(check="transcript.open", subject=subject, outcome=Outcome.FAIL, reason=reason))
    drawn = ((0, until),) if until else ()
    return Verification(run=subject, segments=1, drawn=drawn, findings=tuple(findings))


def _finding(joined: Joined, check: str, outcome: Outcome, reason: str) -> Finding:
    return Finding(check=f"transcript.{check}", subject=joined.record.group, outcome=outcome, reason=reason)


def _check_record(folder: Path, record: GroupRecord, joined: Joined, request: Request) -> Iterator[Finding]:
    """Compares the record with what its members make, and looks at who signed it."""
    for said, made in zip(record.members, joined.record.members, strict=False):
        if (said.run, said.head) != (made.run, made.head):
            reason = f"the journal of rank {said.rank} is not the one that was merged"
            yield _finding(joined, "group-members", Outcome.FAIL, reason)
            return
        if (said.segments, said.steps, said.finished) != (made.segments, made.steps, made.finished):
            reason = f"the record tells otherwise of rank {said.rank} than its journal does"
            yield _finding(joined, "group-members", Outcome.FAIL, reason)
            return
    again = joined.record
    told = (record.group, record.attempt, record.world, record.wrapped, dict(record.logical))
    if told != (again.group, again.attempt, again.world, again.wrapped, dict(again.logical)):
        reason = "the record names other logical digests, attempt or size than its members make"
        yield _finding(joined, "group-members", Outcome.FAIL, reason)
        return
    reason = f"all {record.world} ranks are there, with the journals that were merged"
    yield _finding(joined, "group-members", Outcome.PASS, reason)
    if record.abandoned:
        reason = f"{len(record.abandoned)} transcripts of earlier attempts are named, and are not verified here"
        yield _finding(joined, "group-attempts", Outcome.INCONCLUSIVE, reason)
    if request.roots is None:
        return
    statement = record.statement(folder, request.roots)
    if statement is None:
        reason = "nobody signed which runs are its ranks"
        yield _finding(joined, "group-signed", Outcome.INCONCLUSIVE, reason)
        return
    if any(transcript.commitment is None for transcript in joined.ranks):
        reason = f"{statement.issuer} signed which runs are its ranks, and not all of them were committed to by a key"
        yield _finding(joined, "group-signed", Outcome.INCONCLUSIVE, reason)
        return
    others = {t.commitment.identity.key_id for t in joined.ranks if t.commitment is not None}
    if others != {statement.identity.key_id}:
        reason = "the record is signed by another key than its ranks' commitments"
        yield _finding(joined, "group-signed", Outcome.FAIL, reason)
        return
    yield _finding(joined, "group-signed", Outcome.PASS, f"{statement.issuer} signed which runs are its ranks")


def _read(transcript: Transcript, request: Request) -> Iterator[Finding]:
    """Makes the checks of one rank that need no replay."""
    yield from check_journal(transcript)
    yield check_environment(transcript)
    if request.roots is not None and request.roots.log_key is not None:
        yield check_receipts(transcript, request.roots.log_key)
    if request.logged is not None:
        yield check_log(transcript, request.logged)
    yield check_initial_state(transcript)


def _until(joined: Joined, request: Request) -> int:
    """Returns how many steps to replay: all that every rank has, or up to a common digest within the budget."""
    reached = min(transcript.reached for transcript in joined.ranks)
    if request.segments == 0:
        return 0
    if request.budget is None:
        return reached
    budget = request.budget if isinstance(request.budget, Budget) else Budget(steps=request.budget)
    most = budget.steps if budget.share is None else math.floor(budget.share * reached / DEARER)
    if most is None or most >= reached:
        return reached
    common = set.intersection(*(set(transcript.digests) for transcript in joined.ranks))
    return max((step for step in common if step <= most), default=0)


def _replay(joined: Joined, until: int) -> list[Finding]:
    try:
        with replay_group(joined.ranks, until=until) as outcomes:
            return compare_group(joined, outcomes, until)
    except EvidenceError as error:
        return [_finding(joined, "replay", Outcome.FAIL, f"the ranks could not be replayed: {error}")]
    except WeighbridgeError as error:
        return [_finding(joined, "replay", Outcome.INCONCLUSIVE, f"the ranks cannot be replayed here: {error}")]


def compare_group(joined: Joined, outcomes: Sequence[Replay], until: int) -> list[Finding]:
    """Compares the replay of all ranks with what each committed to, bit for bit, and with what it noted."""
    found: list[Finding] = []
    for transcript, outcome in zip(joined.ranks, outcomes, strict=True):
        found += compare_replay(transcript, outcome)
    return [*found, _compare_notes(joined, outcomes, until)]


def _compare_notes(joined: Joined, outcomes: Sequence[Replay], until: int) -> Finding:
    """Compares what each rank noted for the group: sums by the replayed states, batches by what replay saw.

    At both ends the sums are computed here from the states that the replay wrote out.
    """
    compared = 0
    for rank, (transcript, outcome) in enumerate(zip(joined.ranks, outcomes, strict=True)):
        group = group_of(transcript)
        assert group is not None
        try:
            replayed = {
                number + 1: _sums(seen["group"]) for number, seen in outcome.steps.items() if _sums(seen.get("group"))
            }
            for step in (0, until):
                replayed[step] = state_note(group, outcome.captured(step), wrapped=joined.record.wrapped)
            for step, note in notes_of(transcript):
                if step <= until and _sums(note) != replayed.get(step):
                    reason = f"rank {rank} noted other sums at step {step} than its replayed state gives"
                    return _finding(joined, "group-replay", Outcome.FAIL, reason)
                compared += 1
            pieces = outcome.captured(0).plain.get("pieces", {})
            if pieces != transcript.events[0].data.get("group", {}).get("pieces", {}):
                reason = f"rank {rank} noted other pieces of its weights than its replay holds"
                return _finding(joined, "group-replay", Outcome.FAIL, reason)
        except EvidenceError as error:
            reason = f"a state that the replay of rank {rank} wrote out cannot be read: {error}"
            return _finding(joined, "group-replay", Outcome.FAIL, reason)
        for number, seen in sorted(outcome.steps.items()):
            said = transcript.steps.get(number, {}).get("group", {}).get("batch")
            if said != (seen.get("group") or {}).get("batch"):
                reason = f"rank {rank} noted another batch at step {number} than its replay was given"
                return _finding(joined, "group-replay", Outcome.FAIL, reason)
            compared += 1
    reason = f"what all ranks noted for the group is what their replay gives, {compared} notes of them"
    return _finding(joined, "group-replay", Outcome.PASS, reason)


def _sums(note: Any) -> dict[str, Any]:
    """Returns what a note says of a state."""
    return {name: note[name] for name in ("sums", "part", "fault") if name in note} if isinstance(note, dict) else {}


def _share(joined: Joined, until: int) -> list[Finding]:
    """Says what was not replayed."""
    reached = max(transcript.reached for transcript in joined.ranks)
    if until >= reached:
        return []
    reason = f"the first {until} of {reached} steps were replayed, on all {len(joined.ranks)} ranks, from the beginning"
    reason += f": nothing is drawn, and a step forged after step {until} is never met"
    return [
        Finding(
            check="transcript.replay-share",
            subject=joined.record.group,
            outcome=Outcome.INCONCLUSIVE,
            reason=reason,
            figure=until / reached if reached else 0.0,
            unit="share",
        )
    ]
