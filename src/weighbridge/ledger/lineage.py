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

    A lineage is a run that nobody continued, with everything that went into its weights. Two runs from one parent
    are two lineages: each has the parent's work, and neither that of the other.

    Args:
        audits: payloads of every operator's audits; rejected runs declare nothing.
        own: ids of the runs of the operator that is judged.
    """
    accepted = {audit["run"]: audit for audit in audits if audit["accepted"]}
    parents = {
        run: {parent for parent in (audit["parent"], *audit["begins_as"]) if parent in accepted}
        for run, audit in accepted.items()
    }
    children: dict[str, set[str]] = {run: set() for run in accepted}
    for run, named in parents.items():
        for parent in named:
            children[parent].add(run)
    found: dict[frozenset[str], None] = {}
    for run in accepted:
        if children[run] <= (ancestry := _reached(run, parents)):  # else a lineage of its children holds it whole
            found[ancestry] = None
    return [
        Lineage(members, tuple(_work(accepted[run]) for run in members))
        for ancestry in found
        if not ancestry.isdisjoint(own)
        for members in [tuple(run for run in accepted if run in ancestry)]
    ]


def _reached(run: str, parents: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Returns a run with all its ancestors; runs may name each other."""
    reached, ahead = {run}, [run]
    while ahead:
        new = set(parents[ahead.pop()]) - reached
        reached |= new
        ahead += new
    return frozenset(reached)


def unknown_parents(own: _Audits, audits: _Audits) -> Iterator[Finding]:
    """Yields a finding for each run whose declared parent nobody verified: what went into its weights is unknown.

    Such a lineage may hold any amount of work, so its rule is neither kept nor broken (protocol section 4.5).
    """
    accepted = {audit["run"] for audit in audits if audit["accepted"]}
    for audit in own:
        if audit["parent"] is not None and audit["parent"] not in accepted:
            yield Finding(
                check="ledger.lineage",
                subject=audit["run"],
                outcome=Outcome.INCONCLUSIVE,
                reason=f"it declares parent {audit['parent'][:16]}, which is no verified run here: what was spent on"
                " its weights before is unknown",
                evidence=(audit["run"],),
            )


def _work(audit: Mapping[str, Any]) -> WorkItem:
    operations = max(audit["flop_per_step"], audit["declared_flop_per_step"]) * audit["steps"]
    return WorkItem("training", format=audit["format"], operations=operations, label=audit["run"][:16])
