"""The inspector's work on an opened workspace: check leaf tables, draw, audit every run, find hidden parents."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.draws import draw, draw_seed
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.audit import RunAudit, audit_run
from weighbridge.ledger.baseline import MemoryWatch
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.records import open_tables
from weighbridge.ledger.workspace import Logged, Workspace
from weighbridge.mechanisms.chip.leaves import LeafTable
from weighbridge.mechanisms.chip.record import decode_record
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import same_weights

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
    """
    policy = Policy.from_payload(workspace.single("inspection-plan").payload)
    closed = workspace.single("inspection-close")
    drawn = _draw(workspace, policy, bytes.fromhex(str(closed.payload["nonce_key"])), closed)
    tables = open_tables(workspace)
    opened = [_open(workspace, item, folder) for item, folder in workspace.runs()]
    places = list(cores) or sorted(os.sched_getaffinity(0))
    free = list(places)

    def one(run: _Opened) -> RunAudit:
        core = free.pop()
        try:
            audit = _audit(workspace, run, tables, drawn, core, scratch, policy)
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
    except EvidenceError as error:
        return _Opened(item, folder, None, str(error))


def _draw(workspace: Workspace, policy: Policy, key: bytes, closed: Logged) -> Callable[[str, int], bool]:
    if policy.audits is None:
        return lambda chip, sequence: True
    records = [decode_record(i.statement) for i in workspace.of_kind("chip-record") if i.index < closed.index]
    population = sorted({record.name for record in records if record.reason == "sample"})
    seed = draw_seed("audits", checkpoint_root=workspace.log.root_at(closed.index), secret=key)
    chosen = set(draw(population, min(policy.audits, len(population)), seed=seed))
    return lambda chip, sequence: f"{chip}#{sequence}" in chosen


def _audit(
    workspace: Workspace,
    run: _Opened,
    tables: Mapping[tuple[str, int], LeafTable],
    drawn: Callable[[str, int], bool],
    core: int,
    scratch: Path | None,
    policy: Policy,
) -> RunAudit:
    if run.transcript is None:
        return _unopened(run)
    root = run.transcript.contents.get("data", {}).get("root")
    handed = workspace.folder / "data" / f"{root}.npy"
    leaf_size = next((t.leaf_size for (chip, _), t in tables.items() if chip in _chips(run)), 16_384)
    watch = MemoryWatch(leaf_size=leaf_size)
    return audit_run(
        run.transcript,
        tables,
        drawn=drawn,
        core=core,
        scratch=scratch,
        data=handed if handed.exists() else None,
        observer=watch.observe,
        baseline=watch.nonzero_bytes,
    )


def _chips(run: _Opened) -> list[str]:
    return [str(chip) for chip in dict(run.item.payload).get("chips", [])]  # type: ignore[attr-defined]


def _unopened(run: _Opened) -> RunAudit:
    finding = Finding(
        check="transcript.open",
        subject=run.item.statement.id,
        outcome=Outcome.FAIL,
        reason=f"the transcript cannot be opened: {run.error}",
        evidence=(run.item.statement.id,),
    )
    return RunAudit(
        run=run.item.statement.id,
        chips=tuple(_chips(run)),
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


def _anchored(transcript: Transcript) -> Iterator[TrainingState]:
    """Yields every anchored state of a run, the last first: that is where another would continue."""
    names = [str(event.data["anchor"]) for event in transcript.events if "anchor" in event.data]
    for name in reversed(names):
        try:
            yield transcript.state(name)
        except EvidenceError:
            continue


def _with_parents(opened: Sequence[_Opened], audits: Sequence[RunAudit]) -> list[RunAudit]:
    """Looks whether a run that does not follow from its seed begins with weights that another run had."""
    result = []
    for run, audit in zip(opened, audits, strict=True):
        underived = any(f.check == "transcript.initial-state" and f.outcome is Outcome.FAIL for f in audit.findings)
        if run.transcript is None or not underived:
            result.append(audit)
            continue
        try:
            initial = run.transcript.state(str(run.transcript.events[0].data["anchor"]))
        except (EvidenceError, KeyError):
            result.append(audit)
            continue
        parents = tuple(
            other.item.statement.id
            for other in opened
            if other is not run and other.transcript is not None
            if any(same_weights(initial, state) for state in _anchored(other.transcript))
        )
        result.append(replace(audit, begins_as=parents, findings=(*audit.findings, *_lineage(audit, parents))))
    return result


def _lineage(audit: RunAudit, parents: Sequence[str]) -> list[Finding]:
    return [
        Finding(
            check="ledger.lineage",
            subject=audit.run,
            outcome=Outcome.FAIL,
            reason=f"its initial weights are those of run {parent[:16]}: one longer run was declared as two",
            evidence=(audit.run, parent),
        )
        for parent in parents
    ]


def audit_payloads(audits: Sequence[RunAudit]) -> list[dict[str, Any]]:
    """Returns the audits as plain JSON data, as they are signed."""
    return [audit.as_dict() for audit in audits]
