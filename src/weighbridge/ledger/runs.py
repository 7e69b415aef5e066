"""A run against the log: what was fixed before the draw counts, and nothing that was said afterwards.

The seed must be in the log before the first step, each claim on a snapshot record before the close (protocol sections
4.3 and 5). What a transcript's folder holds, and what time a statement gives itself, proves neither.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.records import readable
from weighbridge.ledger.workspace import Logged, Workspace

__all__ = ["audits_of", "fixed_claims", "named_chips", "progress_of", "run_findings"]

CLAIM_DELAY_S = 60.0
"""Seconds between a snapshot record and the claim on it, in the log, beyond which the report says so."""

_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "run": str,
    "chips": list,
    "accepted": bool,
    "findings": list,
    "records": list,
    "claims": list,
    "spans": list,
    "steps": int,
    "replayed_steps": int,
    "step_cpu_s": (int, float),
    "flop_per_step": (int, float),
    "declared_flop_per_step": (int, float),
    "startup_cpu_s": (int, float),
    "baseline_bytes": int,
    "parent": (str, type(None)),
    "format": str,
    "begins_as": list,
}
_INNER: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "claims": {"segment": int, "chip": str, "boot": int, "first": int, "last": int, "step": int},
    "spans": {"segment": int, "chip": str, "boot": int, "steps": int},
    "records": {
        "chip": str,
        "sequence": int,
        "matched": bool,
        "weight_leaves": int,
        "share": (int, float),
        "explained_bytes": dict,
        "zero_bytes": int,
        "unexplained_bytes": int,
        "read_bytes": int,
    },
}


def audits_of(workspace: Workspace) -> list[Mapping[str, Any]]:
    """Returns the payloads of the inspector's logged audits, one a run.

    Raises:
        EvidenceError: a run was audited twice (a second draw is not allowed), was never committed, or was audited
            before the close fixed what could be drawn; or an audit is malformed.
    """
    found: dict[str, Mapping[str, Any]] = {}
    committed = {item.statement.id for item in workspace.of_kind("run-commitment")}
    closed = min((item.index for item in workspace.of_kind("inspection-close")), default=-1)
    for item in workspace.of_kind("run-audit"):
        where = f"log entry {item.index}: run-audit"
        _check_shape(item.payload, where)
        run = str(item.payload["run"])
        if run in found:
            raise EvidenceError(f"run {run[:16]} was audited twice", where=where, mend="one draw per committed run")
        if run not in committed:
            raise EvidenceError(f"run {run[:16]} was never committed to the log", where=where)
        if item.index < closed:
            raise EvidenceError(f"run {run[:16]} was audited before the close", where=where)
        found[run] = item.payload
    return list(found.values())


def _check_shape(payload: Mapping[str, Any], where: str) -> None:
    """Refuses an audit whose fields are absent or of another type, so that nothing later has to guess."""
    _check_fields(payload, _FIELDS, where)
    for name, fields in _INNER.items():
        for entry in payload[name]:
            if not isinstance(entry, dict):
                raise EvidenceError("is not a list of objects", where=where, field=name)
            _check_fields(entry, fields, where)
    for name in ("steps", "step_cpu_s", "flop_per_step", "declared_flop_per_step", "startup_cpu_s", "baseline_bytes"):
        if payload[name] < 0:
            raise EvidenceError("is negative", where=where, field=name)
    try:
        for finding in payload["findings"]:
            Finding.from_dict(finding)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise EvidenceError("holds something that is no finding", where=where, field="findings") from error


def _check_fields(entry: Mapping[str, Any], fields: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    for name, kind in fields.items():
        value = entry.get(name)
        if name not in entry or not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise EvidenceError(f"is {value!r:.40}", where=where, field=name)


def named_chips(item: Logged) -> list[str]:
    """Returns the chips that a commitment names; an operator may have written anything there."""
    named = item.payload.get("chips")
    return [chip for chip in named if isinstance(chip, str)] if isinstance(named, list) else []


def progress_of(workspace: Workspace, item: Logged) -> list[Logged]:
    """Returns the logged progress statements of a run, by the key that committed it and no other."""
    key = item.statement.identity.key_id
    return [
        progress
        for progress in workspace.of_kind("run-progress")
        if progress.payload.get("run") == item.statement.id and progress.statement.identity.key_id == key
    ]


def run_findings(
    workspace: Workspace, runs: Sequence[Logged], audited: Collection[str], chips: Collection[str]
) -> Iterator[Finding]:
    """Yields what the log shows of each run: seed before the first step, every commitment accounted for."""
    for item in runs:
        run = item.statement.id
        nonces = [n for n in workspace.of_kind("run-nonce") if n.payload.get("run") == run]
        early = [p for p in progress_of(workspace, item) if nonces and p.index < nonces[0].index]
        if len(nonces) != 1 or nonces[0].index < item.index or early:
            yield _finding(item, "order", Outcome.FAIL, "its seed was not in the log before its first step")
        else:
            yield _finding(item, "order", Outcome.PASS, "committed, then answered, then trained, by the log")
        if run not in audited:
            yield _finding(
                item,
                "audit",
                Outcome.INCONCLUSIVE,
                "committed and never opened or audited: it covers nothing and counts as one try at a seed",
            )
        for chip in named_chips(item):
            if chip not in chips:
                yield Finding(
                    check="match.custody",
                    subject=run,
                    outcome=Outcome.FAIL,
                    reason=f"declares chip {chip[:16]}, which the directory does not give the operator",
                    evidence=(run,),
                )


def fixed_claims(
    workspace: Workspace, item: Logged, audit: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[Finding]]:
    """Returns an audit without the claims that the log had not fixed when the inspection closed.

    A claim counts if a progress statement with that very claim is in the log, and the record claimed came after the
    run's seed: no memory can hold what follows from a number that did not exist. A segment of which one claim falls
    covers no steps. The chips are those of the commitment.
    """
    progress = progress_of(workspace, item)
    logged = {key: entry.time for entry in progress if (key := _claim_key(entry.payload.get("freeze"))) is not None}
    nonce = max(
        (n.index for n in workspace.of_kind("run-nonce") if n.payload.get("run") == item.statement.id), default=0
    )
    chips = named_chips(item)
    spoken = workspace.chip_records()
    samples = [
        (record, entry)
        for chip in chips
        for record, entry in readable(spoken.get(chip, ()))
        if record.reason == "sample"
    ]
    kept, dropped, foreign, delay = [], [], set(), 0.0
    for claim in audit["claims"]:
        key = (claim["chip"], claim["boot"], claim["first"], claim["last"], claim["step"])
        claimed = [
            entry
            for record, entry in samples
            if (record.chip, record.boot) == key[:2] and key[2] <= record.sequence <= key[3]
        ]
        if claim["chip"] not in chips:
            foreign.add(claim["chip"])
        elif key not in logged or any(entry.index < nonce for entry in claimed):
            dropped.append(claim)
        else:
            kept.append(claim)
            delay = max([delay, *(logged[key] - entry.time for entry in claimed)])
    fallen = {claim["segment"] for claim in audit["claims"]} - {claim["segment"] for claim in kept}
    fallen |= {claim["segment"] for claim in dropped}
    spans = [span for span in audit["spans"] if span["segment"] not in fallen]
    return {**audit, "chips": chips, "claims": kept, "spans": spans}, _about_claims(item, dropped, foreign, delay)


def _claim_key(freeze: Any) -> tuple[str, int, int, int, int] | None:
    try:
        first, last = freeze["sequences"]
        return str(freeze["chip"]), int(freeze["boot"]), int(first), int(last), int(freeze["step"])
    except (KeyError, TypeError, ValueError):
        return None


def _about_claims(
    item: Logged, dropped: Sequence[Mapping[str, Any]], foreign: Collection[str], delay: float
) -> list[Finding]:
    found = []
    if dropped:
        found.append(
            _finding(
                item,
                "claims",
                Outcome.INCONCLUSIVE,
                f"{len(dropped)} of its claims on snapshot records were not in the log when the inspection closed, or"
                " name records older than its seed: they explain nothing",
            )
        )
    found += [
        _finding(
            item,
            "claims",
            Outcome.INCONCLUSIVE,
            f"claims records of chip {chip[:16]}, which its commitment does not name: they explain nothing",
        )
        for chip in sorted(foreign)
    ]
    if delay > CLAIM_DELAY_S:
        found.append(
            _finding(
                item,
                "claims",
                Outcome.INCONCLUSIVE,
                f"a claim reached the log {delay:.0f} s after the record that it explains: nothing was committed while"
                " the run trained",
            )
        )
    return found


def _finding(item: Logged, check: str, outcome: Outcome, reason: str) -> Finding:
    run = item.statement.id
    return Finding(check=f"transcript.{check}", subject=run, outcome=outcome, reason=reason, evidence=(run,))
