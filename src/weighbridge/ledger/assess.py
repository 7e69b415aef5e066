"""The assessment: one inspection's evidence and audits in, one verdict an operator out. Replays nothing itself.

Everything here can be recomputed by anybody from the workspace; the audits are the inspector's signed statements, and
whoever doubts them makes them again with :func:`weighbridge.ledger.inspect.audit_all`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.account import Samples, account_for
from weighbridge.ledger.chips import ChipTime, chip_time
from weighbridge.ledger.custody import Holdings, holdings
from weighbridge.ledger.drawing import audit_draw, revealed_key
from weighbridge.ledger.limits import known_limits
from weighbridge.ledger.lineage import lineages_of, unknown_parents
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.records import readable, record_findings
from weighbridge.ledger.runs import audits_of, fixed_claims, run_findings
from weighbridge.ledger.verdict import LEVELS, Lineage, rule_on, sentence
from weighbridge.ledger.visited import Visited, visits_of
from weighbridge.ledger.workspace import Logged, Workspace
from weighbridge.mechanisms.transcript.commitment import inspector_nonce
from weighbridge.rules import (
    TRAINING_POLICIES,
    Rule,
    RuleBook,
    count,
    load_rules,
    policy_applies_to_hidden,
)

__all__ = ["assess", "audits_of"]

_DAY = 86_400.0


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
    if closed.index < planned.index:
        raise EvidenceError("was logged before the plan", where="inspection-close")
    common = [*_check_seeds(workspace, policy, closed), *_check_stray(workspace)]
    where = holdings(workspace, policy.operators, began=planned.time, closed=closed.time)
    records = workspace.chip_records()
    ours = where.attributed
    seen = visits_of(workspace, closed=closed.time)
    common += [*seen.void, *seen.of_nobody(ours)]
    common += [_nobodys(chip, items) for chip, items in sorted(records.items()) if chip not in ours]
    audits, about = _fixed(workspace, audits)
    try:
        drawn = audit_draw(workspace, policy)
    except EvidenceError:  # named by _check_seeds; without the key every claim has to hold

        def drawn(chip: str, sequence: int) -> bool:
            return True

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
            about=about,
            seen=seen,
            drawn=drawn,
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
    records: Mapping[str, Sequence[Logged]],
    policy: Policy,
    window_s: float,
) -> dict[str, float]:
    """Returns X summed over operators, who may collude, with the processors of chips that nobody is known to hold."""
    processors = [
        max([1, *(record.cores for record, _ in readable(records[chip]))]) for chip in set(records) - where.attributed
    ]
    nobody = sum(processors) * window_s * policy.capacity.flop_per_s
    return {level: sum(o["rulings"][level]["hidden_flop"] for o in operators) + nobody for level in LEVELS}


def _check_seeds(workspace: Workspace, policy: Policy, closed: Logged) -> list[Finding]:
    """Checks what concerns every operator: every seed followed from the committed key."""
    try:
        key = revealed_key(closed, policy)
    except EvidenceError as error:
        return [_common("inspection.nonce-key", Outcome.FAIL, error.what, closed)]
    wrong = [
        item
        for item in workspace.of_kind("run-nonce")
        if item.payload.get("nonce") != inspector_nonce(key, item.statement.subject).hex()
        or item.payload.get("run") != item.statement.subject
    ]
    reason = (
        f"{len(wrong)} nonces do not follow from the committed key"
        if wrong
        else "every run's nonce follows from the key that the inspector committed to before any run"
    )
    return [_common("inspection.nonce-key", Outcome.FAIL if wrong else Outcome.PASS, reason, closed)]


def _check_stray(workspace: Workspace) -> list[Finding]:
    """Names the statements in the log that count for nothing."""
    found = []
    for items, check, reason in (
        (workspace.misplaced, "inspection.misplaced", "not its signer's to make"),
        (workspace.late, "inspection.late", "logged after the close"),
    ):
        for item in items[:100]:
            made = f"a {item.statement.kind} by {item.statement.issuer} ({item.statement.role})"
            found.append(_common(check, Outcome.INCONCLUSIVE, f"{made}, {reason}: it counts for nothing", item))
    return found


def _nobodys(chip: str, items: Sequence[Logged]) -> Finding:
    return Finding(
        check="ledger.unattributed-chip",
        subject=chip,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"a maker certified this chip and it signed {len(items)} records here, but nothing says whose it is: it"
        " counts at capacity for all operators together",
        figure=float(len(items)),
        unit="records",
        evidence=tuple(item.statement.id for item in items[:3]),
    )


def _fixed(
    workspace: Workspace, audits: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], dict[str, list[Finding]]]:
    """Returns the audits with those claims only that the log had fixed, and what was dropped, by run."""
    kept, about = [], {}
    committed = {item.statement.id: item for item in workspace.of_kind("run-commitment")}
    for audit in audits:
        if (item := committed.get(audit["run"])) is not None:
            fixed, about[audit["run"]] = fixed_claims(workspace, item, audit)
            kept.append(fixed)
    return kept, about


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
    about: Mapping[str, Sequence[Finding]],
    seen: Visited,
    drawn: Callable[[str, int], bool],
    planned: Logged,
    closed: Logged,
    common: Sequence[Finding],
) -> dict[str, Any]:
    chips = where.of(name)
    runs = [item for item in workspace.of_kind("run-commitment") if item.statement.issuer == name]
    ids = {item.statement.id for item in runs}
    own = [audit for audit in audits if audit["run"] in ids]
    findings = [*common, *where.findings_of(name), *seen.of(chips)]
    findings += [
        _common("inspection.plan-first", Outcome.FAIL, "a run was committed before the plan was logged", item)
        for item in runs
        if item.index < planned.index
    ]
    findings += run_findings(workspace, runs, {audit["run"] for audit in own}, chips)
    for audit in own:
        findings += [Finding.from_dict(data) for data in audit["findings"]]
        findings += about[audit["run"]]
    findings += unknown_parents(own, audits)
    times = []
    for chip in chips:
        findings += record_findings(workspace, chip, records.get(chip, ()), policy)
        challenges: dict[str, float] = {}
        for item in workspace.of_kind("inspection-challenge"):
            if item.payload.get("chip") == chip:
                challenges.setdefault(str(item.payload.get("nonce")), item.time)
        time = chip_time(
            chip,
            records.get(chip, ()),
            own,
            policy=policy,
            began=planned.time,
            closed=closed.time,
            challenges=challenges,
            drawn=drawn,
        )
        times.append(time)
        findings += time.findings
        if not records.get(chip):
            findings.append(_never_spoke(chip))
    processors = sum(time.cores for time in times)
    account = account_for(
        [boot for time in times for boot in time.boots],
        _samples(times),
        chips=processors,
        capacity=policy.capacity,
        window_s=closed.time - planned.time,
        alpha=policy.alpha,
    )
    lineages = lineages_of(audits, ids)
    rulings = rule_on(
        book,
        rule,
        lineages=lineages,
        hidden_flop=account.hidden_flop,
        hidden_format=policy.capacity.format,
        findings=findings,
    )
    speed = max(processors, 1) * policy.capacity.flop_per_s * _DAY
    speed = float(policy_applies_to_hidden(book.counting_of(rule.id), speed, policy.capacity.format))
    until = f"{datetime.fromtimestamp(closed.time, UTC):%Y-%m-%d %H:%M:%S} UTC"
    declared_seconds = sum(c.seconds for c in account.coverages if c.use == "declared run")
    declared = sum(float(item.operations) for lineage in lineages for item in lineage.work)
    every = [record for chip in chips for record, _ in readable(records.get(chip, ()))]
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
                days_to_threshold=max(0.0, ruling.threshold - ruling.declared_flop - ruling.hidden_flop) / speed,
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
        "rulings_by_policy": _by_policy(
            lineages, account.hidden_flop["A"], policy.capacity.format, limit=float(rule.limit)
        ),
        "limits": known_limits(
            policy=policy,
            declared_seconds=declared_seconds,
            declared_flop=declared,
            off_seconds=sum(time.off_s(closed.time - planned.time) for time in times),
            attempts=len(runs),
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


def _samples(times: Sequence[ChipTime]) -> Samples:
    declared = [time for time in times if time.due]
    return Samples(
        rate_hz=min((time.rate_hz for time in declared), default=0.0),
        due=sum(time.due for time in declared),
        audited=sum(time.audited for time in declared),
        unexplained=sum(time.unexplained for time in declared),
        windows=sum(time.windows for time in times),
    )


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


def _by_policy(lineages: Sequence[Lineage], hidden: float, number_format: str, *, limit: float) -> list[dict[str, Any]]:
    """Returns declared work and X under each counting policy: the same run can pass one and break another."""
    rows = []
    for name in TRAINING_POLICIES:
        declared = max((float(count(name, lineage.work)) for lineage in lineages), default=0.0)
        counted = float(policy_applies_to_hidden(name, hidden, number_format))
        rows.append(
            {
                "policy": name,
                "declared_flop": declared,
                "hidden_flop": counted,
                "within": declared + counted <= limit,
            }
        )
    return rows
