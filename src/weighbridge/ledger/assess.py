"""The assessment: one inspection's evidence and audits in, one verdict an operator out. Replays nothing itself.

Everything here can be recomputed by anybody from the workspace; the audits are the inspector's signed statements, and
whoever doubts them makes them again with :func:`weighbridge.ledger.inspect.audit_all`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.account import Samples, account_for
from weighbridge.ledger.chips import ChipTime, chip_time
from weighbridge.ledger.custody import Holdings, holdings
from weighbridge.ledger.limits import known_limits
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.records import record_findings
from weighbridge.ledger.verdict import LEVELS, Lineage, rule_on, sentence
from weighbridge.ledger.workspace import Logged, Workspace
from weighbridge.mechanisms.chip.record import decode_record
from weighbridge.mechanisms.transcript.commitment import inspector_nonce
from weighbridge.rules import Rule, RuleBook, WorkItem, load_rules

__all__ = ["assess", "audits_of"]

_DAY = 86_400.0


def audits_of(workspace: Workspace) -> list[Mapping[str, Any]]:
    """Returns the payloads of the inspector's logged audits, one a run; the first counts, a second is a defect.

    Raises:
        EvidenceError: a run was audited twice: a second draw is not allowed.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for item in workspace.of_kind("run-audit"):
        run = str(item.payload.get("run"))
        if run in found:
            raise EvidenceError(f"run {run[:16]} was audited twice", where="log", mend="one draw per committed run")
        found[run] = item.payload
    return list(found.values())


def assess(workspace: Workspace, audits: Sequence[Mapping[str, Any]], *, rule_id: str | None = None) -> dict[str, Any]:
    """Returns the report's body as plain JSON data.

    Args:
        workspace: the opened evidence.
        audits: payloads of run audits.
        rule_id: another rule to apply; default the one that the plan names.

    Raises:
        EvidenceError: the plan or the close is missing or malformed.
        InputError: no such rule, or FLOP alone cannot decide it.
    """
    planned, closed = workspace.single("inspection-plan"), workspace.single("inspection-close")
    policy = Policy.from_payload(planned.payload)
    book = load_rules()
    book = book if policy.rule.id in {rule.id for rule in book} else book.with_rule(policy.rule)
    rule = book.rule(rule_id) if rule_id else policy.rule
    common = _check_order(workspace, policy, planned, closed)
    where = holdings(workspace, policy.operators, closed=closed.time)
    records = workspace.chip_records()
    operators = [
        _operator(
            name,
            workspace,
            policy,
            book=book,
            rule=rule,
            where=where,
            records=records,
            audits=audits,
            planned=planned,
            closed=closed,
            common=common,
        )
        for name in policy.operators
    ]
    return {
        "schema": "weighbridge/report/1",
        "rule": rule.model_dump(mode="json", exclude_none=True),
        "counting": book.counting_of(rule.id),
        "alpha": policy.alpha,
        "alpha_together": policy.alpha_together,
        "capacity": {"flop_per_s": policy.capacity.flop_per_s, "format": policy.capacity.format},
        "unexplained_limit": {"bytes": policy.unexplained_limit_bytes, "flop": policy.unexplained_limit_flop},
        "window": {"began": planned.time, "closed": closed.time, "seconds": closed.time - planned.time},
        "log": {
            "origin": workspace.log.log_key.origin,
            "size": workspace.log.size,
            "root": workspace.log.root.hex(),
        },
        "levels": dict(LEVELS),
        "operators": operators,
        "unattributed_chips": sorted(set(records) - where.attributed),
        "findings": [finding.as_dict() for finding in common],
        "hidden_flop_together": _together(operators, where, records, policy, closed.time - planned.time),
    }


def _together(
    operators: Sequence[Mapping[str, Any]],
    where: Holdings,
    records: Mapping[str, Any],
    policy: Policy,
    window_s: float,
) -> dict[str, float]:
    """Returns X summed over operators, who may collude, with the chips that nobody is known to hold."""
    nobody = len(set(records) - where.attributed) * window_s * policy.capacity.flop_per_s
    return {level: sum(o["rulings"][level]["hidden_flop"] for o in operators) + nobody for level in LEVELS}


def _check_order(workspace: Workspace, policy: Policy, planned: Logged, closed: Logged) -> list[Finding]:
    """Checks what concerns every operator: the plan came first, and every seed followed from the committed key."""
    findings = []
    before = [k for k in ("run-commitment", "run-nonce") for i in workspace.of_kind(k) if i.index < planned.index]
    if before:
        findings.append(
            _common("inspection.plan-first", Outcome.FAIL, "a run was committed before the plan was logged", planned)
        )
    try:
        key = bytes.fromhex(str(closed.payload.get("nonce_key", "")))
    except ValueError:
        key = b""
    if hashlib.sha256(key).hexdigest() != policy.nonce_commitment:
        findings.append(
            _common(
                "inspection.nonce-key", Outcome.FAIL, "the key that the close reveals is not the committed one", closed
            )
        )
        return findings
    wrong = [
        item
        for item in workspace.of_kind("run-nonce")
        if item.payload.get("nonce") != inspector_nonce(key, str(item.payload.get("run"))).hex()
    ]
    findings.append(
        _common(
            "inspection.nonce-key",
            Outcome.FAIL if wrong else Outcome.PASS,
            f"{len(wrong)} nonces do not follow from the committed key"
            if wrong
            else "every run's nonce follows from the key that the inspector committed to before any run",
            closed,
        )
    )
    return findings


def _common(check: str, outcome: Outcome, reason: str, item: Logged) -> Finding:
    return Finding(check=check, subject="inspection", outcome=outcome, reason=reason, evidence=(item.statement.id,))


def _operator(
    name: str,
    workspace: Workspace,
    policy: Policy,
    *,
    book: RuleBook,
    rule: Rule,
    where: Holdings,
    records: Mapping[str, tuple[Logged, ...]],
    audits: Sequence[Mapping[str, Any]],
    planned: Logged,
    closed: Logged,
    common: Sequence[Finding],
) -> dict[str, Any]:
    chips = where.of(name)
    runs = [item for item in workspace.of_kind("run-commitment") if item.statement.issuer == name]
    ids = {item.statement.id for item in runs}
    own = [audit for audit in audits if audit["run"] in ids]
    findings = [*common, *where.findings_of(name)]
    findings += _run_order(workspace, runs, own, chips)
    for audit in own:
        findings += [Finding.from_dict(data) for data in audit["findings"]]
    times = []
    for chip in chips:
        findings += record_findings(workspace, chip, records.get(chip, ()), policy)
        challenges = [
            str(item.payload.get("nonce"))
            for item in workspace.of_kind("inspection-challenge")
            if item.payload.get("chip") == chip
        ]
        time = chip_time(chip, records.get(chip, ()), own, policy=policy, closed=closed.time, challenges=challenges)
        times.append(time)
        findings += time.findings
        if not records.get(chip):
            findings.append(_never_spoke(chip))
    account = account_for(
        [boot for time in times for boot in _whole_window(time, closed.time - planned.time)],
        _samples(times),
        chips=len(chips),
        capacity=policy.capacity,
        window_s=closed.time - planned.time,
        alpha=policy.alpha,
    )
    lineages = _lineages(own)
    rulings = rule_on(
        book,
        rule,
        lineages=lineages,
        hidden_flop=account.hidden_flop,
        hidden_format=policy.capacity.format,
        findings=findings,
    )
    speed = max(len(chips), 1) * policy.capacity.flop_per_s * _DAY
    until = f"{closed.time:.0f} (Unix seconds)"
    declared_seconds = sum(c.seconds for c in account.coverages if c.use == "declared run")
    declared = sum(float(item.operations) for lineage in lineages for item in lineage.work)
    every = [decode_record(item.statement) for chip in chips for item in records.get(chip, ())]
    return {
        "name": name,
        "verdict": rulings["A"].verdict.value,
        "rule": rule.id,
        "chips": list(chips),
        "unlisted_chips": list(where.unlisted_of(name)),
        "declared_flop": rulings["A"].declared_flop,
        "hidden_flop": rulings["A"].hidden_flop,
        "hidden_flop_by_level": {level: ruling.hidden_flop for level, ruling in rulings.items()},
        "rulings": {level: ruling.as_dict() for level, ruling in rulings.items()},
        "sentences": {
            level: sentence(
                ruling,
                alpha=policy.alpha if level == "A" else 0.0,
                evidence_until=until,
                days_to_threshold=max(0.0, ruling.threshold - ruling.declared_flop) / speed,
            )
            for level, ruling in rulings.items()
        },
        "confidence": 1 - policy.alpha,
        "audited": account.samples.audited,
        "due": account.samples.due,
        "unexplained": account.samples.unexplained,
        "rate_hz": account.samples.rate_hz,
        "account": account.as_dict(),
        "runs": [_run(audit) for audit in own],
        "attempts": len(runs),
        "records": [status.as_dict() for time in times for status in time.records],
        "findings": [finding.as_dict() for finding in findings],
        "rulings_by_policy": _by_policy(book, lineages, account.hidden_flop["A"], policy),
        "limits": known_limits(
            policy=policy,
            declared_seconds=declared_seconds,
            declared_flop=declared,
            protections=sorted({i.statement.protection for chip in chips for i in records.get(chip, ())}),
            separated=all(r.uid_separated for r in every if r.reason == "boot"),
            accounting=sorted({r.accounting for r in every}),
        ),
    }


def _never_spoke(chip: str) -> Finding:
    return Finding(
        check="chip.silent",
        subject=chip,
        outcome=Outcome.INCONCLUSIVE,
        reason="the directory gives the operator this chip, and it never spoke: the whole window counts at capacity",
    )


def _whole_window(time: ChipTime, window_s: float) -> list[Any]:
    """Charges the whole window for a chip that never spoke."""
    if time.records:
        return list(time.boots)
    return [replace(boot, active_s=window_s, compute_s=window_s) for boot in time.boots]


def _samples(times: Sequence[ChipTime]) -> Samples:
    declared = [time for time in times if time.due]
    return Samples(
        rate_hz=min((time.rate_hz for time in declared), default=0.0),
        due=sum(time.due for time in declared),
        audited=sum(time.audited for time in declared),
        unexplained=sum(time.unexplained for time in declared),
    )


def _run_order(
    workspace: Workspace, runs: Sequence[Logged], audits: Sequence[Mapping[str, Any]], chips: Sequence[str]
) -> list[Finding]:
    """Checks each run against the log: seed before the first step, every commitment accounted for."""
    findings = []
    audited = {audit["run"] for audit in audits}
    for item in runs:
        run = item.statement.id
        nonces = [n for n in workspace.of_kind("run-nonce") if n.payload.get("run") == run]
        steps = [p for p in workspace.of_kind("run-progress") if p.payload.get("run") == run]
        if len(nonces) != 1 or nonces[0].index < item.index or any(p.index < nonces[0].index for p in steps):
            findings.append(
                _on_run(item, "transcript.order", Outcome.FAIL, "its seed was not in the log before its first step")
            )
        else:
            findings.append(
                _on_run(item, "transcript.order", Outcome.PASS, "committed, then answered, then trained, by the log")
            )
        if run not in audited:
            findings.append(
                _on_run(
                    item,
                    "transcript.audit",
                    Outcome.INCONCLUSIVE,
                    "committed and never opened or audited: it covers nothing and counts as one try at a seed",
                )
            )
        strangers = [chip for chip in item.payload.get("chips", []) if chip not in chips]  # type: ignore[attr-defined]
        if strangers:
            findings.append(
                _on_run(
                    item,
                    "match.custody",
                    Outcome.FAIL,
                    f"declares chip {strangers[0][:16]}, which the directory does not give the operator",
                )
            )
    return findings


def _on_run(item: Logged, check: str, outcome: Outcome, reason: str) -> Finding:
    return Finding(
        check=check, subject=item.statement.id, outcome=outcome, reason=reason, evidence=(item.statement.id,)
    )


def _work(audit: Mapping[str, Any]) -> WorkItem:
    operations = max(audit["flop_per_step"], audit["declared_flop_per_step"]) * audit["steps"]
    return WorkItem("training", format=audit["format"], operations=operations, label=audit["run"][:16])


def _lineages(audits: Sequence[Mapping[str, Any]]) -> list[Lineage]:
    """Returns accepted runs joined with the runs whose weights they start from, declared or found."""
    accepted = {audit["run"]: audit for audit in audits if audit["accepted"]}
    leader = {run: run for run in accepted}

    def find(run: str) -> str:
        while leader[run] != run:
            run = leader[run]
        return run

    for run, audit in accepted.items():
        for parent in [audit["parent"], *audit["begins_as"]]:
            if parent in accepted:
                leader[find(run)] = find(parent)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run, audit in accepted.items():
        groups.setdefault(find(run), []).append(audit)
    return [Lineage(tuple(a["run"] for a in members), tuple(_work(a) for a in members)) for members in groups.values()]


def _run(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the report says of one run."""
    return {
        name: audit[name]
        for name in (
            "run",
            "accepted",
            "chips",
            "steps",
            "replayed_steps",
            "step_cpu_s",
            "startup_cpu_s",
            "flop_per_step",
            "declared_flop_per_step",
            "baseline_bytes",
            "parent",
            "begins_as",
        )
    } | {"records": len(audit["records"]), "matched": sum(bool(r["matched"]) for r in audit["records"])}


def _by_policy(book: RuleBook, lineages: Sequence[Lineage], hidden: float, policy: Policy) -> list[dict[str, Any]]:
    """Returns declared work and X under each counting policy: the same run can pass one rule and break another."""
    from weighbridge.rules import TRAINING_POLICIES, count, policy_applies_to_hidden

    rows = []
    for name in TRAINING_POLICIES:
        declared = max((float(count(name, lineage.work)) for lineage in lineages), default=0.0)
        counted = float(policy_applies_to_hidden(name, hidden, policy.capacity.format))
        rows.append(
            {
                "policy": name,
                "declared_flop": declared,
                "hidden_flop": counted,
                "within": declared + counted <= float(policy.rule.limit),
            }
        )
    return rows
