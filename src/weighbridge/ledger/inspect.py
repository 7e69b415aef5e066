"""The inspector's work on an opened workspace: check leaf tables, draw, audit every run, find hidden parents."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.audit import RunAudit, audit_run
from weighbridge.ledger.baseline import MemoryWatch
from weighbridge.ledger.binding import check_against_log
from weighbridge.ledger.drawing import audit_draw
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.records import Place, open_tables
from weighbridge.ledger.runs import named_chips
from weighbridge.ledger.workspace import Logged, Workspace
from weighbridge.mechanisms.chip.leaves import LeafTable
from weighbridge.mechanisms.transcript.parents import parent_anchor
from weighbridge.mechanisms.transcript.state import TrainingState, digest_tensor
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["audit_all"]

Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Opened:
    item: Logged
    folder: Path
    transcript: Transcript | None
    error: str | None


def audit_all(
    workspace: Workspace,
    *,
    cores: Sequence[int] = (),
    scratch: Path | None = None,
    progress: Progress = lambda line: None,
) -> list[RunAudit]:
    """Audits every committed run whose transcript lies in the workspace, a process a run, a core each.

    Which records are audited is drawn only now, when the log has fixed every claim: the draw's seed follows from the
    root of the log and the key that the inspector committed to before any run.

    Args:
        workspace: the opened evidence, its inspection closed.
        cores: processors to replay on, one process each; default all that this process may use.
        scratch: folder for temporary files.
        progress: called with a line for people.

    Raises:
        EvidenceError: the plan or the close is missing, or the close reveals another key than was committed to.
    """
    policy = Policy.from_payload(workspace.single("inspection-plan").payload)
    drawn = audit_draw(workspace, policy)
    tables = open_tables(workspace)
    opened = [_open(workspace, item, folder) for item, folder in workspace.runs()]
    places = list(cores) or sorted(os.sched_getaffinity(0))
    free = list(places)

    def one(run: _Opened) -> RunAudit:
        core = free.pop()
        try:
            audit = _audit(workspace, run, opened, tables, drawn, core, scratch, policy)
        finally:
            free.append(core)
        word = "accepted" if audit.accepted else "rejected"
        matched = sum(record.explanation.matched for record in audit.records)
        progress(
            f"run {audit.run[:12]} of {run.item.statement.issuer}: {word}, {audit.replayed_steps} steps replayed,"
            f" {matched} of {len(audit.records)} snapshots matched"
        )
        return audit

    with ThreadPoolExecutor(len(places)) as pool:
        audits = list(pool.map(one, opened))
    return _with_parents(opened, audits)


def _open(workspace: Workspace, item: Logged, folder: Path) -> _Opened:
    try:
        return _Opened(item, folder, Transcript.open(folder, workspace.roots), None)
    except Exception as error:  # what an operator handed over may fail in any way, and must not stop the others' audits
        return _Opened(item, folder, None, _words(error))


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, WeighbridgeError) else f"it is malformed ({type(error).__name__}: {error})"


def _audit(
    workspace: Workspace,
    run: _Opened,
    opened: Sequence[_Opened],
    tables: Mapping[Place, LeafTable],
    drawn: Callable[[str, int], bool],
    core: int,
    scratch: Path | None,
    policy: Policy,
) -> RunAudit:
    if run.transcript is None:
        return _unopened(run, run.error or "")
    try:
        root = bytes.fromhex(run.transcript.contents["data"]["root"]).hex()
        handed = workspace.folder / "data" / root
        handed = handed if handed.is_dir() else handed.with_name(f"{root}.npy")
        chips = named_chips(run.item)
        leaf_size = next((table.leaf_size for place, table in tables.items() if place[0] in chips), 16_384)
        watch = MemoryWatch(leaf_size=leaf_size)
        return audit_run(
            run.transcript,
            tables,
            drawn=drawn,
            whole=policy.audits is None,
            before=check_against_log(workspace, run.item, run.transcript),
            core=core,
            scratch=scratch,
            data=handed,
            parent=_begins_with(run.transcript, opened),
            observer=watch.observe,
            baseline=watch.nonzero_bytes,
        )
    except Exception as error:  # as above
        return _unopened(run, _words(error))


def _begins_with(transcript: Transcript, opened: Sequence[_Opened]) -> Path | None:
    """Returns the file of the final state with which a run says that it began; None if that run is not at hand.

    Raises:
        EvidenceError: it is not what both runs committed to.
    """
    named = transcript.contents.get("parent")
    if not named:
        return None
    for other in opened:
        if other.transcript is not None and other.transcript.run == named["run"]:
            return parent_anchor(transcript, other.transcript)
    return None


def _unopened(run: _Opened, why: str) -> RunAudit:
    finding = Finding(
        check="transcript.open",
        subject=run.item.statement.id,
        outcome=Outcome.FAIL,
        reason=f"the transcript cannot be opened: {why}",
        evidence=(run.item.statement.id,),
    )
    return RunAudit(
        run=run.item.statement.id,
        chips=tuple(named_chips(run.item)),
        accepted=False,
        findings=(finding,),
        records=(),
        claims=(),
        spans=(),
        steps=0,
        replayed_steps=0,
        step_cpu_s=0.0,
        flop_per_step=0.0,
        declared_flop_per_step=0.0,
        startup_cpu_s=0.0,
        baseline_bytes=0,
        parent=None,
        format="fp32",
    )


def _digest_of_weights(state: TrainingState) -> bytes:
    """Returns a digest of a state's weights and buffers alone."""
    parts = [
        hashlib.sha256(name.encode()).digest() + digest_tensor(tensor)
        for name, tensor in sorted(state.tensors.items())
        if name.startswith("model")
    ]
    return hashlib.sha256(b"".join(parts)).digest()


@dataclass(frozen=True)
class _Weights:
    """Digests of one run's anchored weights: those before its first step, and all later ones."""

    initial: bytes | None
    later: frozenset[bytes]


def _weights(run: _Opened) -> _Weights:
    initial, later = None, set()
    if run.transcript is not None:
        try:
            anchors = {str(e.data["anchor"]): int(e.data["step"]) for e in run.transcript.events if "anchor" in e.data}
        except Exception:  # as above: a journal of another form has no anchors
            anchors = {}
        for name, step in anchors.items():
            with contextlib.suppress(EvidenceError, ValueError):
                digest = _digest_of_weights(run.transcript.state(name))
                if step == 0:
                    initial = digest
                else:
                    later.add(digest)
    return _Weights(initial, frozenset(later))


def _with_parents(opened: Sequence[_Opened], audits: Sequence[RunAudit]) -> list[RunAudit]:
    """Looks which runs begin with weights that another run had after training, whatever they say of themselves."""
    held = [_weights(run) for run in opened]
    result = []
    for run, audit, own in zip(opened, audits, held, strict=True):
        parents = tuple(
            other.item.statement.id
            for other, theirs in zip(opened, held, strict=True)
            if other is not run and own.initial in theirs.later
        )
        result.append(replace(audit, begins_as=parents, findings=(*audit.findings, *_lineage(audit, parents))))
    return result


def _lineage(audit: RunAudit, parents: Sequence[str]) -> list[Finding]:
    """Returns a finding for every run with whose weights this one began and that it did not declare."""
    return [
        Finding(
            check="ledger.lineage",
            subject=audit.run,
            outcome=Outcome.FAIL,
            reason=f"its initial weights are those of run {parent[:16]}: one longer run was declared as two",
            evidence=(audit.run, parent),
        )
        for parent in parents
        if parent != audit.parent
    ]
