"""What one chip's records say about its time, joined with what audits found in them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.account import BootUse
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.workspace import Logged
from weighbridge.mechanisms.chip.record import ChipRecord, decode_record

__all__ = ["ChipTime", "RecordStatus", "chip_time"]


@dataclass(frozen=True)
class RecordStatus:
    """One record and what became of it: ``matched``, ``unmatched``, ``outside`` (charged), ``boot``, ..."""

    record: ChipRecord
    statement_id: str
    time: float
    status: str
    run: str | None = None
    share: float | None = None
    explained: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data for the report."""
        record = self.record
        return {
            "chip": record.chip,
            "sequence": record.sequence,
            "boot": record.boot,
            "reason": record.reason,
            "statement": self.statement_id,
            "time": self.time,
            "active_s": record.active_ns / 1e9,
            "cpu_s": record.cpu_ns / 1e9,
            "freeze_s": record.freeze_ns / 1e9,
            "late_s": record.late_ns / 1e9,
            "read_bytes": record.resident_bytes,
            "writable_bytes": record.writable_bytes,
            "status": self.status,
            "run": self.run,
            "share": self.share,
            "explained": dict(self.explained),
        }


@dataclass(frozen=True)
class ChipTime:
    """One chip's records, boots and samples, ready for the account."""

    chip: str
    records: tuple[RecordStatus, ...]
    boots: tuple[BootUse, ...]
    findings: tuple[Finding, ...]
    due: int
    audited: int
    unexplained: int
    rate_hz: float


@dataclass(frozen=True)
class _Window:
    """The records of a boot between which declared steps may be counted."""

    first: int
    last: int
    runs: frozenset[str]


def chip_time(
    chip: str,
    logged: Sequence[Logged],
    audits: Sequence[Mapping[str, Any]],
    *,
    policy: Policy,
    closed: float,
    challenges: Collection[str],
) -> ChipTime:
    """Joins one chip's records with the audits of the runs that claim them.

    A declared span of a boot reaches from the last sample before the first claimed one to the first sample after
    the last claimed one. Samples outside it are not counted, because all chip-time outside it is charged in full;
    inside it every sample counts, and those that no audit matched are unexplained.

    Args:
        chip: chip id.
        logged: its record statements, in the order of the log.
        audits: payloads of the run audits.
        policy: the logged plan.
        closed: when the inspection closed, by the log's clock.
        challenges: nonces that the inspector gave this chip.
    """
    pairs = sorted(((decode_record(item.statement), item) for item in logged), key=lambda p: p[0].sequence)
    matched, claims = _claims(chip, audits)
    findings: list[Finding] = []
    statuses: list[RecordStatus] = []
    boots: list[BootUse] = []
    due = audited = unexplained = 0
    numbers = sorted({record.boot for record, _ in pairs if record.reason != "challenge"})
    for number in numbers:
        members = [(r, item) for r, item in pairs if r.boot == number and r.reason != "challenge"]
        samples = [r for r, _ in members if r.reason == "sample"]
        window = _window(samples, claims)
        inside = {r.sequence for r in samples if window and window.first < r.sequence < window.last}
        for record, item in members:
            status = _status(record, inside, window, matched)
            audit, detail = matched.get(record.sequence, (None, {}))
            statuses.append(
                RecordStatus(record, item.statement.id, item.time, status, audit, detail.get("share"), _bytes(detail))
            )
            if record.sequence in inside:
                due += 1
                audited += status == "matched"
                unexplained += status == "unmatched"
            if status == "unmatched":
                findings.append(_unmatched(record, item, window is not None, detail))
            elif status == "matched":
                findings += _bytes_finding(record, item, detail, audits, audit, policy)
        later = [item.time for r, item in pairs if r.boot > number and r.reason == "boot"]
        use, more = _boot_use(chip, number, members, window, audits, policy, min([*later, closed]))
        boots.append(use)
        findings += more
        lost = sum(r.lost for r, _ in pairs if r.boot == number + 1 and r.reason == "boot")
        due, unexplained = due + lost, unexplained + lost
    answered = {r.nonce for r, _ in pairs if r.reason == "challenge"}
    for record, item in pairs:
        if record.reason == "challenge":
            statuses.append(RecordStatus(record, item.statement.id, item.time, "answered"))
    findings += _closing(chip, challenges, answered)
    if not set(challenges) <= answered or not challenges:
        last = max((item.time for _, item in pairs), default=None)
        boots.append(_silent(chip, closed - last if last is not None else 0.0))
    statuses.sort(key=lambda s: s.record.sequence)
    rates = [r.rate_hz for r, _ in pairs]
    return ChipTime(
        chip,
        tuple(statuses),
        tuple(boots),
        tuple(findings),
        due,
        audited,
        unexplained,
        min(rates) if rates else 0.0,
    )


def _claims(
    chip: str, audits: Sequence[Mapping[str, Any]]
) -> tuple[dict[int, tuple[str, Mapping[str, Any]]], dict[int, str]]:
    """Returns matched records by sequence, and the accepted run that claims each sequence.

    A record that two runs claim explains neither: one record, one run.
    """
    explained: dict[int, tuple[str, Mapping[str, Any]]] = {}
    claimed: dict[int, list[str]] = {}
    for audit in audits:
        if not audit["accepted"]:
            continue
        for claim in audit["claims"]:
            if claim["chip"] == chip:
                for sequence in range(claim["first"], claim["last"] + 1):
                    claimed.setdefault(sequence, []).append(audit["run"])
        for record in audit["records"]:
            if record["chip"] == chip:
                explained[record["sequence"]] = (audit["run"], record)
    single = {sequence: runs[0] for sequence, runs in claimed.items() if len(runs) == 1}
    return {s: e for s, e in explained.items() if s in single}, single


def _window(samples: Sequence[ChipRecord], claims: Mapping[int, str]) -> _Window | None:
    claimed = [r.sequence for r in samples if r.sequence in claims]
    if not claimed:
        return None
    before = [r.sequence for r in samples if r.sequence < claimed[0]]
    after = [r.sequence for r in samples if r.sequence > claimed[-1]]
    return _Window(
        before[-1] if before else -1,
        after[0] if after else 1 << 62,
        frozenset(claims[sequence] for sequence in claimed),
    )


def _status(
    record: ChipRecord,
    inside: Collection[int],
    window: _Window | None,
    matched: Mapping[int, tuple[str, Mapping[str, Any]]],
) -> str:
    if record.reason != "sample":
        return record.reason
    if record.sequence in inside:
        found = matched.get(record.sequence)
        return "matched" if found is not None and found[1]["matched"] else "unmatched"
    return "outside" if window else "unmatched"


def _bytes(detail: Mapping[str, Any]) -> dict[str, int]:
    if not detail:
        return {}
    return {
        **detail["explained_bytes"],
        "zero": detail["zero_bytes"],
        "unexplained": detail["unexplained_bytes"],
        "read": detail["read_bytes"],
    }


def _unmatched(record: ChipRecord, item: Logged, declared: bool, detail: Mapping[str, Any]) -> Finding:
    if detail:
        reason = f"only {detail['share']:.0%} of the declared weights were resident at this freeze"
    elif declared:
        reason = "a freeze inside the declared span that no transcript explains"
    else:
        reason = "memory that no accepted transcript explains: nothing declared ran on this chip in this boot"
    return Finding(
        check="match.record",
        subject=record.name,
        outcome=Outcome.FAIL,
        reason=reason,
        figure=detail.get("share") if detail else None,
        unit="share" if detail else None,
        evidence=(item.statement.id,),
        redo=f"weighbridge assess . --chip {record.chip[:16]}",
    )


def _bytes_finding(
    record: ChipRecord,
    item: Logged,
    detail: Mapping[str, Any],
    audits: Sequence[Mapping[str, Any]],
    run: str | None,
    policy: Policy,
) -> list[Finding]:
    baseline = next((a["baseline_bytes"] for a in audits if a["run"] == run), 0)
    excess = detail["unexplained_bytes"] - baseline
    if not baseline or excess <= policy.unexplained_limit_bytes:
        return []
    parameters = excess / 16
    return [
        Finding(
            check="match.unexplained-bytes",
            subject=record.name,
            outcome=Outcome.FAIL,
            reason=(
                f"{excess / 1e6:.0f} MB of non-zero memory beyond what the declared program holds when replayed:"
                f" room to train a model of {parameters:.2g} parameters beside the declared one"
            ),
            figure=float(excess),
            unit="byte",
            hidden_flop=120.0 * parameters**2,
            evidence=(item.statement.id,),
        )
    ]


def _boot_use(
    chip: str,
    number: int,
    members: Sequence[tuple[ChipRecord, Logged]],
    window: _Window | None,
    audits: Sequence[Mapping[str, Any]],
    policy: Policy,
    until: float,
) -> tuple[BootUse, list[Finding]]:
    first, last = members[0][0], members[-1][0]
    active = (last.active_ns - first.active_ns) / 1e9
    cores = max(1, last.cores)
    trusted_count = last.accounting == "cgroup2"
    compute = last.cpu_ns / 1e9 / cores if trusted_count else active
    tail = 0.0 if last.reason == "shutdown" else max(0.0, until - members[-1][1].time)
    evidence = tuple(item.statement.id for _, item in members)
    if window is None:
        busy = last.cpu_ns / 1e9
        use = BootUse(
            chip=chip,
            boot=number,
            active_s=active,
            compute_s=compute,
            needed_s=0.0,
            declared_active_s=0.0,
            tail_s=tail,
            use="uncovered",
            evidence=evidence,
            reason=f"nothing declared explains this boot; {busy:.1f} s of CPU time were used",
        )
        return use, []

    def reading(record: ChipRecord) -> float:
        return record.cpu_ns / 1e9 / cores if trusted_count else (record.active_ns - first.active_ns) / 1e9

    by_sequence = {r.sequence: r for r, _ in members}
    begin = reading(by_sequence[window.first]) if window.first in by_sequence else 0.0
    end = reading(by_sequence[window.last]) if window.last in by_sequence else compute
    concerned = [audit for audit in audits if audit["run"] in window.runs]
    steps, needed = 0, 0.0
    for audit in concerned:
        taken = sum(s["steps"] for s in audit["spans"] if s["chip"] == chip and s["boot"] == number)
        steps += taken
        needed += audit["step_cpu_s"] * taken / cores
    names = ", ".join(sorted(run[:16] for run in window.runs))
    use = BootUse(
        chip=chip,
        boot=number,
        active_s=active,
        compute_s=compute,
        needed_s=min(needed, max(0.0, end - begin)),
        declared_active_s=active,
        tail_s=tail,
        use="declared run",
        evidence=evidence,
        reason=f"{steps} declared steps of run {names}, which need {needed:.1f} chip-seconds in replay",
    )
    startup = min((audit["startup_cpu_s"] for audit in concerned), default=0.0)
    return use, _time_finding(use, startup, steps, needed, policy)


def _time_finding(use: BootUse, startup_s: float, steps: int, needed: float, policy: Policy) -> list[Finding]:
    """Compares signed CPU time a step with what replay needs, start-up set aside."""
    if steps == 0 or needed <= 0:
        return []
    spent = max(0.0, use.compute_s - startup_s)
    ratio = spent / needed
    if ratio > policy.cpu_ratio_limit:
        outcome = Outcome.FAIL
        reason = (
            f"signed CPU time a step is {ratio:.2f} times what replay needs"
            f" ({spent / steps:.3f} s against {needed / steps:.3f} s): the chip did more than it declared"
        )
    elif ratio < 1 / policy.cpu_ratio_limit:
        outcome = Outcome.FAIL
        reason = (
            f"signed CPU time a step is {ratio:.2f} times what replay needs: the declared steps cannot all have"
            " run here, or the program works harder when it is replayed"
        )
    else:
        outcome, reason = Outcome.PASS, f"signed CPU time a step is {ratio:.2f} times what replay needs"
    return [
        Finding(
            check="account.time-per-step",
            subject=use.chip,
            outcome=outcome,
            reason=reason,
            figure=ratio,
            unit="ratio",
            evidence=use.evidence[-1:],
        )
    ]


def _closing(chip: str, challenges: Collection[str], answered: Collection[str]) -> list[Finding]:
    open_nonces = [nonce for nonce in challenges if nonce not in answered]
    if not challenges:
        return [
            Finding(
                check="inspection.challenge",
                subject=chip,
                outcome=Outcome.INCONCLUSIVE,
                reason="the chip was not challenged when the inspection closed: later records could be missing",
            )
        ]
    return [
        Finding(
            check="inspection.challenge",
            subject=chip,
            outcome=Outcome.FAIL if open_nonces else Outcome.PASS,
            reason="the chip did not answer the inspector's closing challenge"
            if open_nonces
            else "the chip answered the closing challenge with its next counter, so no record is missing at the end",
        )
    ]


def _silent(chip: str, seconds: float) -> BootUse:
    return BootUse(
        chip=chip,
        boot=-1,
        active_s=seconds,
        compute_s=seconds,
        needed_s=0.0,
        declared_active_s=0.0,
        tail_s=0.0,
        use="silent",
        reason="between the last record and the close nothing shows what the chip did",
    )
