"""Visits in an assessment: what inspectors saw on site counts for the operator whose chip it was.

Closed visits lie in the workspace as bundles, ``visits/NAME``. A bundle that does not hold as a whole (its draw, its
team, its chain, its files) says nothing about anybody: it is named, and counts neither for nor against.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from weighbridge.errors import WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.visits import judge_bundle
from weighbridge.ledger.workspace import Workspace
from weighbridge.mechanisms.inspection.bundle import Bundle

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
    visits, void = [], []
    for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
        try:
            items, findings = _judged(workspace, folder, closed)
        except WeighbridgeError as error:
            void.append(_void(folder, str(error)))
            continue
        broken = next((f for f in findings if f.outcome is Outcome.FAIL and f.check.startswith(_WHOLE)), None)
        if broken is not None:
            void.append(_void(folder, f"{broken.check}: {broken.reason}"))
        else:
            visits.append((items, findings))
    return Visited(tuple(visits), tuple(void))


def _judged(workspace: Workspace, folder: Path, closed: float) -> tuple[frozenset[str], tuple[Finding, ...]]:
    """Returns the items of a visit, drawn or in reserve, and every finding on it."""
    told = [
        (item.statement, item.time)
        for kind, items in workspace.by_kind.items()
        if kind.startswith(("draw-", "visit-"))
        for item in items
    ]
    # A visit of which nothing was logged was kept without a log: its draw has to hold by itself.
    log = sorted(told, key=lambda pair: pair[1]) or None
    judged = judge_bundle(Bundle(folder), workspace.roots, now=closed, log=log)
    plan = judged.visit.plan
    return frozenset(str(row["id"]) for row in (*plan.items, *plan.reserves)), judged.findings


def _void(folder: Path, why: str) -> Finding:
    return Finding(
        check="visit.bundle",
        subject=folder.name,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"this visit does not hold, so it counts for nothing: {why}",
        redo=f"weighbridge inspect check visits/{folder.name} --roots ROOTS",
    )
