"""Lineages: runs that continue each other's weights count as one, whoever trained them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.verdict import Lineage
from weighbridge.rules import WorkItem

__all__ = ["lineages_of", "unknown_parents"]

_Audits = Sequence[Mapping[str, Any]]


def lineages_of(audits: _Audits, own: Collection[str]) -> list[Lineage]:
    """Returns the lineages that contain a run of ours, each with all its work, that of other operators included.

    Args:
        audits: payloads of every operator's audits; rejected runs declare nothing.
        own: ids of the runs of the operator that is judged.
    """
    accepted = {audit["run"]: audit for audit in audits if audit["accepted"]}
    leader = {run: run for run in accepted}

    def find(run: str) -> str:
        while leader[run] != run:
            run = leader[run]
        return run

    for run, audit in accepted.items():
        for parent in (audit["parent"], *audit["begins_as"]):
            if parent in accepted:
                leader[find(run)] = find(parent)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run, audit in accepted.items():
        groups.setdefault(find(run), []).append(audit)
    return [
        Lineage(tuple(audit["run"] for audit in members), tuple(_work(audit) for audit in members))
        for members in groups.values()
        if any(audit["run"] in own for audit in members)
    ]


def unknown_parents(own: _Audits, audits: _Audits) -> Iterator[Finding]:
    """Yields a finding for each run whose declared parent nobody verified: what went into its weights is unknown."""
    accepted = {audit["run"] for audit in audits if audit["accepted"]}
    for audit in own:
        if audit["parent"] is not None and audit["parent"] not in accepted:
            yield Finding(
                check="ledger.lineage",
                subject=audit["run"],
                outcome=Outcome.FAIL,
                reason=f"it declares parent {audit['parent'][:16]}, which is no verified run here: what was spent on"
                " its weights before is unknown",
                evidence=(audit["run"],),
            )


def _work(audit: Mapping[str, Any]) -> WorkItem:
    operations = max(audit["flop_per_step"], audit["declared_flop_per_step"]) * audit["steps"]
    return WorkItem("training", format=audit["format"], operations=operations, label=audit["run"][:16])
