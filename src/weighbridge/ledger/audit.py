"""The audit of one run: replay in a sandbox, and every drawn snapshot explained by what replay passed through."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.match import Explanation, PlacedBytes, explain
from weighbridge.ledger.records import Place
from weighbridge.ledger.replayed import (
    check_states,
    decayed,
    failed_replay,
    freezes_by_segment,
    plan_audit,
    spans,
    step_cpu,
    unreplayed,
)
from weighbridge.ledger.watched import count_flop, unauditable, where_weights_come_from
from weighbridge.mechanisms.chip.leaves import LeafTable
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.outside import OutsideError
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.state import TrainingState, tensor_bytes
from weighbridge.mechanisms.transcript.transcript import Freeze, Transcript
from weighbridge.mechanisms.transcript.verify import (
    check_environment,
    check_initial_state,
    check_journal,
    compare_replay,
)

__all__ = ["RecordAudit", "RunAudit", "audit_run"]

_LARGEST_NUMBER = 1 << 53
"""Largest whole number that every reader of JSON keeps."""


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
        accepted: whether it may cover anything: its start was rebuilt, its steps were replayed, and no check failed.
        findings: every check made.
        records: the drawn snapshot records, explained.
        claims: record sequences that the transcript claims, by segment and chip, with the boot.
        spans: replayed steps of each segment on its one chip and boot, between its first and its last claim.
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
            "findings": [finding.as_dict() | {"reason": _encodable(finding.reason)} for finding in self.findings],
            "records": [record.as_dict() for record in self.records],
            "claims": list(self.claims),
            "spans": list(self.spans),
        }


def audit_run(
    transcript: Transcript,
    tables: Mapping[Place, LeafTable],
    *,
    drawn: Callable[[str, int], bool] = lambda chip, sequence: True,
    whole: bool = True,
    before: Sequence[Finding] = (),
    core: int | None = None,
    scratch: Path | None = None,
    data: Path | None = None,
    parent: Path | None = None,
    observer: Callable[[int], None] | None = None,
    baseline: Callable[[], int] = lambda: 0,
) -> RunAudit:
    """Audits one run against the snapshot records of its chips.

    Args:
        transcript: the opened run.
        tables: leaf tables by chip, boot and sequence, already checked against the signed roots.
        drawn: which records are audited.
        whole: replay every step, from the seed on; of a watched program always. The stretches after freezes alone are
            where the operator knows that somebody will look: steps between them stay a claim, and cover nothing.
        before: findings on the transcript made before; with a failure among them nothing is replayed.
        core: processor that the chip was, so that times compare.
        scratch: folder for temporary files.
        data: the training data as handed over, if not at its committed path.
        parent: file of the declared parent's final state, checked, if there is one at hand.
        observer: called with the sandbox's process id while replay runs (to measure its memory).
        baseline: returns the most non-zero bytes that the observer saw the replayed program hold.
    """
    common = _common(transcript)
    if _failed(before):
        return _rejected(common, before)
    if transcript.observed and (why := unauditable(transcript)) is not None:
        return _rejected(common, [*before, why])
    findings = [*before, *check_journal(transcript), check_environment(transcript)]
    findings.append(check_initial_state(transcript, core=core, scratch=scratch, parent=parent, data=data))
    # What could not be rebuilt may be anybody's: a program may end itself where its data are zeros, and nowhere else.
    if _failed(findings) or findings[-1].outcome is not Outcome.PASS:
        return _rejected(common, findings)
    watched_flop = 0.0
    if transcript.observed:
        shown: dict[str, Any] = {"core": core, "scratch": scratch, "parent": parent, "data": data}
        watched_flop, uncounted = count_flop(transcript, **shown)
        initial = findings[-1]
        findings += [where_weights_come_from(transcript, **shown), *([uncounted] if uncounted else [])]
        if any(f.outcome is not Outcome.PASS for f in findings[findings.index(initial) :]):
            return _rejected(common, findings)
    records = _Records(tables, drawn)
    wanted = [freeze for freeze in transcript.freezes if any(True for _ in records.of(freeze))]
    # A program with a loop of its own gets to its middle only by a walk, after which no difference is a failure.
    plan = plan_audit(transcript, wanted, whole=whole or transcript.observed)
    try:
        with replay(
            transcript,
            legs=plan.legs,
            captures=plan.captures,
            digests=plan.digests,
            data=data,
            parent=parent,
            count_flop=not transcript.observed,
            core=core,
            scratch=scratch,
            observer=observer,
        ) as outcome:
            findings += [*compare_replay(transcript, outcome), *check_states(transcript, outcome, plan)]
            explained = tuple(_explain_all(transcript, outcome, wanted, records, data))
    except OutsideError as error:
        return _rejected(common, [*findings, unreplayed(transcript, str(error))])
    except WeighbridgeError as error:
        findings.append(failed_replay(transcript, f"the run could not be replayed: {error}"))
        return _rejected(common, findings)
    step_cpu_s, tampered = step_cpu(transcript, outcome)
    findings += tampered
    return RunAudit(
        **common | {"spans": tuple(spans(transcript, plan))},
        accepted=not _failed(findings),
        findings=tuple(findings),
        records=explained,
        replayed_steps=plan.steps,
        step_cpu_s=step_cpu_s,
        flop_per_step=outcome.flop_per_step or watched_flop,
        startup_cpu_s=outcome.startup_cpu_s,
        baseline_bytes=_beside(baseline(), explained),
    )


def _failed(findings: Sequence[Finding]) -> bool:
    return any(finding.outcome is Outcome.FAIL for finding in findings)


def _encodable(text: str) -> str:
    """Returns text that can be signed: an operator's own words may hold what UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _amount(value: object) -> float:
    """Returns a declared figure; 0 for what is none."""
    figure = value if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    return float(figure) if 0 <= figure < 1e300 else 0.0


def _common(transcript: Transcript) -> dict[str, Any]:
    """Returns what an audit says of a run whether or not it is accepted; figures beyond all sense are left out."""
    public = transcript.commitment.payload if transcript.commitment else {}
    declared = public.get("declared")
    declared = declared if isinstance(declared, dict) else {}
    chips = public.get("chips")
    parent = declared.get("parent")
    claims: list[dict[str, Any]] = [
        {"segment": number, "chip": f.chip, "boot": f.boot, "first": f.first, "last": f.last, "step": f.step}
        for number, f in freezes_by_segment(transcript)
    ]
    return {
        "run": transcript.run,
        "chips": tuple(chip for chip in chips if isinstance(chip, str)) if isinstance(chips, list) else (),
        "claims": tuple(c for c in claims if all(type(v) is str or 0 <= v <= _LARGEST_NUMBER for v in c.values())),
        "spans": (),
        "steps": transcript.steps_taken,
        "declared_flop_per_step": _amount(declared.get("flop_per_step")),
        "parent": parent if isinstance(parent, str) else None,
        "format": _format(transcript),
    }


class _Records:
    """The drawn snapshot records whose leaf tables are at hand."""

    def __init__(self, tables: Mapping[Place, LeafTable], drawn: Callable[[str, int], bool]) -> None:
        self._tables = tables
        self._by_boot: dict[tuple[str, int], list[int]] = {}
        for chip, boot, sequence in sorted(tables):
            if drawn(chip, sequence):
                self._by_boot.setdefault((chip, boot), []).append(sequence)

    def of(self, freeze: Freeze) -> Iterator[tuple[int, LeafTable]]:
        """Yields those that a claim names. The range claimed may be absurd: only records that exist are walked."""
        for sequence in self._by_boot.get((freeze.chip, freeze.boot), ()):
            if freeze.first <= sequence <= freeze.last:
                yield sequence, self._tables[freeze.chip, freeze.boot, sequence]


_FORMATS = {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def _format(transcript: Transcript) -> str:
    """Returns the widest format among the weights before step 1; fp32 where they cannot be read."""
    try:
        state = transcript.state(str(transcript.events[0].data["anchor"]))
    except (EvidenceError, KeyError, IndexError):
        return "fp32"
    present = {tensor.dtype for name, tensor in state.tensors.items() if "/parameter/" in name}
    return next((word for dtype, word in _FORMATS.items() if dtype in present), "fp32")


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


def _explain_all(
    transcript: Transcript,
    outcome: Replay,
    freezes: Sequence[Freeze],
    records: _Records,
    data: Path | None,
) -> Iterator[RecordAudit]:
    arrays = _committed_arrays(transcript, data) if any(f.data for f in freezes) else {}
    done: set[tuple[str, int]] = set()
    for freeze in freezes:
        states = [outcome.captured(step) for step in freeze.candidates]
        if freeze.updating:
            states += decayed(states[0], transcript.hyperparameters_at(freeze.candidates[0]))
        candidates = [list(_placed(freeze, state, arrays)) for state in states]
        for sequence, table in records.of(freeze):
            if (freeze.chip, sequence) not in done:  # of two claims on one record the first counts
                done.add((freeze.chip, sequence))
                yield RecordAudit(
                    chip=freeze.chip,
                    sequence=sequence,
                    steps=freeze.candidates,
                    explanation=explain(table, candidates),
                )


def _committed_arrays(transcript: Transcript, data: Path | None) -> dict[str, memoryview]:
    """Returns the bytes of data that the program held in memory, if the operator handed the committed data over."""
    described = transcript.contents["data"]
    if data is None or not data.exists():
        return {}
    dataset = Dataset.handed_over(data, described)
    if dataset.root.hex() != described["root"]:
        return {}
    return {f"data/{name}": array.reshape(-1).view("u1").data for name, array in dataset.arrays.items()}


def _placed(freeze: Freeze, state: TrainingState, arrays: Mapping[str, memoryview]) -> Iterator[PlacedBytes]:
    """Yields the replayed tensors at the addresses claimed for them; weights without a fitting claim lie nowhere."""
    claimed: dict[str, tuple[int, int]] = {}
    for name, address, size in (*freeze.layout, *freeze.data):
        claimed.setdefault(name, (address, size))
    contents = {name: tensor_bytes(tensor) for name, tensor in state.tensors.items()}
    for name, content in (*contents.items(), *arrays.items()):
        address, size = claimed.get(name, (0, -1))
        kind = "data" if name in arrays and name not in contents else _kind(name)
        if size == len(content):
            yield PlacedBytes(kind, address, content, name)
        elif kind == "weights":
            yield PlacedBytes(kind, None, content, name)


def _kind(name: str) -> str:
    if "/parameter/" in name:
        return "weights"
    return "buffers" if "/buffer/" in name else name.split("/")[0].rstrip("0123456789")
