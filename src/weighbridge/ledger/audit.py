"""The audit of one run: replay in a sandbox, and every drawn snapshot explained by what replay passed through."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.match import Explanation, PlacedBytes, explain
from weighbridge.mechanisms.chip.leaves import LeafTable
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.plans import plan_freezes
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.state import TrainingState, tensor_bytes
from weighbridge.mechanisms.transcript.transcript import Freeze, Transcript
from weighbridge.mechanisms.transcript.verify import (
    check_environment,
    check_initial_state,
    check_journal,
    compare_replay,
)

__all__ = ["RecordAudit", "RunAudit", "audit_run", "lower_envelope"]

BLOCK_STEPS = 10
"""Steps whose mean CPU time is compared: shorter blocks would take a lucky step for the price of all."""


@dataclass(frozen=True, kw_only=True)
class RecordAudit:
    """One snapshot record explained, or not, by a run's replayed states."""

    chip: str
    sequence: int
    steps: tuple[int, ...]
    explanation: Explanation

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "chip": self.chip,
            "sequence": self.sequence,
            "steps": list(self.steps),
            **self.explanation.as_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class RunAudit:
    """What the verifier found out about one run.

    Attributes:
        run: run id.
        chips: chips that the commitment names.
        accepted: whether it may cover anything: no check of it failed.
        findings: every check made.
        records: the drawn snapshot records, explained.
        claims: record sequences that the transcript claims, by chip, with the boot.
        spans: steps trained on each chip and boot, by the claims of the segment that trained them.
        steps: steps trained, redone ones included.
        replayed_steps: steps replayed.
        step_cpu_s: least CPU seconds a step needs, measured in replay.
        flop_per_step: counted by the verifier.
        declared_flop_per_step: the operator's word.
        startup_cpu_s: CPU seconds of the replayed program before its first step.
        baseline_bytes: most non-zero bytes that the replayed program held beside its explained state; 0 unmeasured.
        parent: declared parent's run id.
        format: number format of the weights.
        begins_as: other runs whose anchored weights this run's initial weights equal.
    """

    run: str
    chips: tuple[str, ...]
    accepted: bool
    findings: tuple[Finding, ...]
    records: tuple[RecordAudit, ...]
    claims: tuple[dict[str, Any], ...]
    spans: tuple[dict[str, Any], ...]
    steps: int
    replayed_steps: int
    step_cpu_s: float
    flop_per_step: float
    declared_flop_per_step: float
    startup_cpu_s: float
    baseline_bytes: int
    parent: str | None
    format: str
    begins_as: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data: the payload of the inspector's audit statement."""
        return {
            **self.__dict__,
            "chips": list(self.chips),
            "begins_as": list(self.begins_as),
            "findings": [finding.as_dict() for finding in self.findings],
            "records": [record.as_dict() for record in self.records],
            "claims": list(self.claims),
            "spans": list(self.spans),
        }


def lower_envelope(step_cpu_s: Sequence[float]) -> float:
    """Returns the least mean CPU time a step over blocks of ten: what the declared steps need at least.

    The spread between blocks is the honest slack; taking the least charges it to the operator instead of forgiving
    it (protocol section 4.4).
    """
    blocks = [step_cpu_s[i : i + BLOCK_STEPS] for i in range(0, len(step_cpu_s), BLOCK_STEPS)]
    whole = [block for block in blocks if len(block) == BLOCK_STEPS] or blocks
    return min((sum(block) / len(block) for block in whole if block), default=0.0)


def audit_run(
    transcript: Transcript,
    tables: Mapping[tuple[str, int], LeafTable],
    *,
    drawn: Callable[[str, int], bool] = lambda chip, sequence: True,
    core: int | None = None,
    scratch: Path | None = None,
    data: Path | None = None,
    observer: Callable[[int], None] | None = None,
    baseline: Callable[[], int] = lambda: 0,
) -> RunAudit:
    """Audits one run against the snapshot records of its chips.

    Args:
        transcript: the opened run.
        tables: leaf tables by chip and sequence, already checked against the signed roots.
        drawn: which records are audited.
        core: processor that the chip was, so that times compare.
        scratch: folder for temporary files.
        data: the training data as handed over, if not at its committed path.
        observer: called with the sandbox's process id while replay runs (to measure its memory).
        baseline: returns the most non-zero bytes that the observer saw the replayed program hold.
    """
    findings = [*check_journal(transcript), check_environment(transcript)]
    findings.append(check_initial_state(transcript, core=core, scratch=scratch))
    public = transcript.commitment.payload if transcript.commitment else {}
    declared = public.get("declared") or {}
    common: dict[str, Any] = {
        "run": transcript.run,
        "chips": tuple(str(chip) for chip in public.get("chips", [])),
        "claims": tuple(
            {"chip": f.chip, "boot": f.boot, "first": f.first, "last": f.last, "step": f.step}
            for f in transcript.freezes
        ),
        "spans": tuple(_spans(transcript)),
        "steps": transcript.steps_taken,
        "declared_flop_per_step": float(declared.get("flop_per_step") or 0.0),
        "parent": declared.get("parent"),
        "format": _format(transcript),
    }
    wanted = [f for f in transcript.freezes if any(drawn(f.chip, s) for s in range(f.first, f.last + 1))]
    failed = [f for f in findings if f.outcome is Outcome.FAIL]
    if failed:
        return _rejected(common, findings)
    plan = plan_freezes(transcript, wanted)
    try:
        with replay(
            transcript,
            legs=plan.legs,
            captures=plan.captures,
            digests=plan.digests,
            data=data,
            count_flop=True,
            core=core,
            scratch=scratch,
            observer=observer,
        ) as outcome:
            findings += compare_replay(transcript, outcome)
            records = tuple(_explain_all(transcript, outcome, wanted, tables, drawn, data))
    except WeighbridgeError as error:
        findings.append(_failed_replay(transcript, str(error)))
        return _rejected(common, findings)
    return RunAudit(
        **common,
        accepted=not any(f.outcome is Outcome.FAIL for f in findings),
        findings=tuple(findings),
        records=records,
        replayed_steps=plan.steps,
        step_cpu_s=lower_envelope(outcome.step_cpu_s),
        flop_per_step=outcome.flop_per_step or 0.0,
        startup_cpu_s=outcome.startup_cpu_s,
        baseline_bytes=_beside(baseline(), records),
    )


_FORMATS = {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def _format(transcript: Transcript) -> str:
    """Returns the widest format among the weights before step 1; fp32 where they cannot be read."""
    try:
        state = transcript.state(str(transcript.events[0].data["anchor"]))
    except (EvidenceError, KeyError, IndexError):
        return "fp32"
    present = {tensor.dtype for name, tensor in state.tensors.items() if "/parameter/" in name}
    return next((word for dtype, word in _FORMATS.items() if dtype in present), "fp32")


def _spans(transcript: Transcript) -> Iterator[dict[str, Any]]:
    """Yields the steps of each segment with the one chip and boot that its freezes name; others cover no chip."""
    for segment in transcript.segments:
        places = {(e.data["chip"], e.data["boot"]) for e in segment.events if e.type == "freeze"}
        if len(places) == 1:
            chip, boot = next(iter(places))
            steps = sum(1 for event in segment.events if event.type == "step")
            yield {"chip": str(chip), "boot": int(boot), "steps": steps}


def _beside(nonzero: int, records: Sequence[RecordAudit]) -> int:
    """Returns non-zero bytes beside the explained ones: what an honest run of this program leaves unexplained."""
    explained = [sum(r.explanation.explained_bytes.values()) for r in records if r.explanation.matched]
    return max(0, nonzero - min(explained)) if nonzero and explained else 0


def _rejected(common: Mapping[str, Any], findings: Sequence[Finding]) -> RunAudit:
    return RunAudit(
        **common,
        accepted=False,
        findings=tuple(findings),
        records=(),
        replayed_steps=0,
        step_cpu_s=0.0,
        flop_per_step=0.0,
        startup_cpu_s=0.0,
        baseline_bytes=0,
    )


def _failed_replay(transcript: Transcript, reason: str) -> Finding:
    return Finding(
        check="transcript.replay",
        subject=transcript.run,
        outcome=Outcome.FAIL,
        reason=f"the run could not be replayed: {reason}",
        evidence=(transcript.commitment.id,) if transcript.commitment else (),
        redo=f"weighbridge transcript verify {transcript.folder.name}",
    )


def _explain_all(
    transcript: Transcript,
    outcome: Replay,
    freezes: Sequence[Freeze],
    tables: Mapping[tuple[str, int], LeafTable],
    drawn: Callable[[str, int], bool],
    data: Path | None,
) -> Iterator[RecordAudit]:
    arrays = _committed_arrays(transcript, data) if any(f.data for f in freezes) else {}
    for freeze in freezes:
        candidates = [list(_placed(freeze, outcome.captured(step), arrays)) for step in freeze.candidates]
        for sequence in range(freeze.first, freeze.last + 1):
            table = tables.get((freeze.chip, sequence))
            if table is not None and drawn(freeze.chip, sequence):
                yield RecordAudit(
                    chip=freeze.chip,
                    sequence=sequence,
                    steps=freeze.candidates,
                    explanation=explain(table, candidates),
                )


def _committed_arrays(transcript: Transcript, data: Path | None) -> dict[str, memoryview]:
    path = data or transcript.contents["data"]["path"]
    if path is None:
        return {}
    dataset = Dataset.of(path)
    return {f"data/{name}": array.reshape(-1).view("u1").data for name, array in dataset.arrays.items()}


def _placed(freeze: Freeze, state: TrainingState, arrays: Mapping[str, memoryview]) -> Iterator[PlacedBytes]:
    for name, address, size in freeze.layout:
        tensor = state.tensors.get(name)
        if tensor is not None and tensor.numel() * tensor.element_size() == size:
            yield PlacedBytes(_kind(name), address, tensor_bytes(tensor))
    for name, address, size in freeze.data:
        content = arrays.get(name)
        if content is not None and len(content) == size:
            yield PlacedBytes("data", address, content)


def _kind(name: str) -> str:
    if "/parameter/" in name:
        return "weights"
    return "buffers" if "/buffer/" in name else name.split("/")[0].rstrip("0123456789")
