"""Visits in an assessment: what inspectors saw on site counts for the operator whose chip it was.

Closed visits lie in the workspace as bundles, ``visits/NAME``. A bundle that does not hold as a whole (its draw, its
team, its chain, its files), or that is not closed, says nothing about anybody: it is named, and counts neither for nor
against. A visit whose plan the log holds and whose bundle is not there is named too: whoever dislikes what was seen
would leave it out.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.visits import judge_bundle
from weighbridge.ledger.workspace import Logged, Workspace
from weighbridge.mechanisms.inspection.bundle import Bundle
from weighbridge.mechanisms.inspection.plan import PLAN

__all__ = ["Visited", "visits_of"]

_WHOLE = (
    "draw.",
    "visit.draw",
    "visit.team",
    "visit.chain",
    "visit.time",
    "visit.scope",
    "visit.replacement",
    "visit.single",
    "visit.log",
    "visit.quota",
    "visit.bundle",
)
"""Checks on the visit itself, which its inspectors answer for; all others are about those visited."""

_NO_PROOF = ("visit.seal", "visit.tamper", "visit.item")
"""Seals and tamper signs say where to look and convict nobody (protocol section 6); an item's outcome repeats them."""


@dataclass(frozen=True)
class Visited:
    """What the visits of a workspace show.

    Attributes:
        visits: for each visit that holds, the items that it was about and every finding on it.
        void: a finding for each visit that does not hold.
    """

    visits: tuple[tuple[frozenset[str], tuple[Finding, ...]], ...] = ()
    void: tuple[Finding, ...] = ()

    def of(self, chips: Collection[str]) -> Iterator[Finding]:
        """Yields what was found of these chips, and of the places where they stand (access, cameras, refusals)."""
        for items, findings in self.visits:
            if not items.isdisjoint(chips):
                yield from (_weighed(f) for f in findings if f.subject in chips or f.subject not in items)

    def of_nobody(self, chips: Collection[str]) -> Iterator[Finding]:
        """Yields a finding for each visit to none of these chips: what was seen there counts for nobody here."""
        for items, findings in self.visits:
            if items.isdisjoint(chips):
                yield Finding(
                    check="visit.absent",
                    subject=next((f.subject for f in findings if f.check == "visit.sample"), "visits/"),
                    outcome=Outcome.INCONCLUSIVE,
                    reason=f"none of the {len(items)} items of this visit is the id of a chip that an operator holds",
                )


def _weighed(finding: Finding) -> Finding:
    if finding.outcome is Outcome.FAIL and finding.check in _NO_PROOF:
        return replace(finding, outcome=Outcome.INCONCLUSIVE)
    return finding


def visits_of(workspace: Workspace, *, closed: float) -> Visited:
    """Judges every visit in the workspace, as of the inspection's close.

    Args:
        workspace: the opened evidence.
        closed: when the inspection closed, by the log's clock: what was due later is not late.
    """
    parent = workspace.folder / "visits"
    visits, void, plans = [], [], set()
    for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
        try:
            plan, items, findings = _judged(workspace, folder, closed)
        except WeighbridgeError as error:
            void.append(_void(folder, str(error)))
            continue
        plans.add(plan)
        broken = next((f for f in findings if f.outcome is Outcome.FAIL and f.check.startswith(_WHOLE)), None)
        if broken is not None:
            void.append(_void(folder, f"{broken.check}: {broken.reason}"))
        else:
            visits.append((items, findings))
    void += [_absent(item) for item in workspace.of_kind(PLAN) if item.statement.id not in plans]
    return Visited(tuple(visits), tuple(void))


def _judged(workspace: Workspace, folder: Path, closed: float) -> tuple[str, frozenset[str], tuple[Finding, ...]]:
    """Returns a visit's id, its items, drawn or standing in for one, and every finding on it."""
    told = [
        (item.statement, item.time)
        for kind, items in workspace.by_kind.items()
        if kind.startswith(("draw-", "visit-"))
        for item in items
    ]
    log = sorted(told, key=lambda pair: pair[1])
    judged = judge_bundle(Bundle(folder), workspace.roots, now=closed, log=log)
    if judged.visit.close is None:
        raise EvidenceError("is not closed: its files and records may still change", where=folder)
    return judged.visit.id, frozenset(item.item for item in judged.judgement.items), judged.findings


def _absent(planned: Logged) -> Finding:
    return Finding(
        check="visit.absent",
        subject=planned.statement.id,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"the log holds the plan of a visit to {planned.payload.get('site')!s:.80}, and it is not in visits/",
        evidence=(planned.statement.id,),
    )


def _void(folder: Path, why: str) -> Finding:
    return Finding(
        check="visit.bundle",
        subject=folder.name,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"this visit does not hold, so it counts for nothing: {why}",
        redo=f"weighbridge inspect check visits/{folder.name} --roots ROOTS",
    )
