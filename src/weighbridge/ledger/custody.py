"""Who holds which chip, joined with which chips speak: registry and chip meet here and nowhere else."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

from weighbridge.errors import WeighbridgeError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.runs import named_chips
from weighbridge.ledger.workspace import Workspace
from weighbridge.mechanisms.chip.record import claimed_name
from weighbridge.mechanisms.registry.custody import CustodyEvent, History
from weighbridge.mechanisms.registry.epcis import Step, read_event
from weighbridge.mechanisms.registry.findings import judge, judge_serials
from weighbridge.mechanisms.registry.fold import fold

__all__ = ["Holdings", "holdings"]


@dataclass(frozen=True)
class Holdings:
    """Chips by operator.

    Attributes:
        listed: chips that the directory gives each operator.
        unlisted: chips found with an operator beyond the directory.
        findings: what does not add up, by operator.
        attributed: every chip that an operator answers for.
    """

    listed: Mapping[str, tuple[str, ...]]
    unlisted: Mapping[str, tuple[str, ...]]
    findings: Mapping[str, tuple[Finding, ...]] = field(repr=False)

    @property
    def attributed(self) -> frozenset[str]:
        """Chips that some operator answers for."""
        return frozenset(chip for chips in (*self.listed.values(), *self.unlisted.values()) for chip in chips)

    def of(self, operator: str) -> tuple[str, ...]:
        """Returns every chip that the operator answers for, listed or not."""
        return (*self.listed.get(operator, ()), *self.unlisted.get(operator, ()))

    def unlisted_of(self, operator: str) -> tuple[str, ...]:
        """Returns the operator's chips that the directory does not give it."""
        return self.unlisted.get(operator, ())

    def findings_of(self, operator: str) -> tuple[Finding, ...]:
        """Returns what does not add up about the operator's chips."""
        return self.findings.get(operator, ())


def holdings(workspace: Workspace, operators: Collection[str], *, began: float, closed: float) -> Holdings:
    """Works out who answers for each chip at any time of the window, from the log's custody events and records.

    An operator answers for a chip that it held at any time between plan and close, one that was shipped to it by
    somebody who is not inspected himself, and one that its own runs name. It stops answering when somebody else's
    receipt is in the log: what time that gives itself counts only if it is later. Whoever held a chip by what the log
    said at the plan held it then, whatever is said, dated back or taken back afterwards. A chip that speaks and is
    nobody's stays unattributed, and is reported so. One whose destruction an inspector had certified before the plan,
    and that has been silent since, is no longer anybody's.
    """
    histories = _histories(workspace)
    planned = _histories(workspace, until=began)
    speaking = workspace.chip_records()
    listed: dict[str, list[str]] = {name: [] for name in operators}
    unlisted: dict[str, list[str]] = {name: [] for name in operators}
    findings: dict[str, list[Finding]] = {name: [] for name in operators}
    for chip, history in sorted(histories.items()):
        holders, gone = _holders(workspace, history, began)
        if chip in planned and planned[chip].states:
            holders.add(planned[chip].states[-1].holder)
        addressees = {
            event.body.other
            for event in history.events
            if event.body.step is Step.SHIPPED and event.speaks_for_party and event.body.party not in operators
        }
        found = [(finding, _sayers(workspace, finding, history)) for finding in judge(history, now=closed)]
        for name in operators:
            if name in holders and not _destroyed(workspace, chip, planned.get(chip)):
                listed[name].append(chip)
            elif name in addressees and name not in (*holders, *gone):
                unlisted[name].append(chip)
            else:
                findings[name] += [f for f, sayers in found if name in sayers and f.outcome is Outcome.FAIL]
                continue
            findings[name] += [_word_of(sayers, f) if sayers and name not in sayers else f for f, sayers in found]
            findings[name] += _speaks_out_of_turn(workspace, chip, history)
    for item in workspace.of_kind("run-commitment"):
        name = item.statement.issuer
        for chip in named_chips(item):
            if name in listed and chip not in (*listed[name], *unlisted[name]):
                unlisted[name].append(chip)
    for name, chips in unlisted.items():
        for chip in chips:
            if chip in speaking:
                findings[name].append(_not_listed(workspace, chip))
    for finding in judge_serials(histories.values()):
        for name in operators:
            if finding.subject in (*listed[name], *unlisted[name]):
                findings[name].append(finding)
    return Holdings(
        {name: tuple(chips) for name, chips in listed.items()},
        {name: tuple(chips) for name, chips in unlisted.items()},
        {name: tuple(found) for name, found in findings.items()},
    )


def _holders(workspace: Workspace, history: History, began: float) -> tuple[set[str], set[str]]:
    """Returns who held a chip at any time of the window, and who had passed it on before.

    Nothing that the log took before the close is too late to count: a receipt dated later than it was logged is early.
    """
    holders, gone = set(), set()
    turns = [list(states) for _, states in groupby(history.states, key=lambda state: state.holder)]
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        holder = turn[0].holder
        if following is not None:
            logged = [workspace.by_id[e].time for e in following[0].evidence if e in workspace.by_id]
            if max([following[0].since, *logged]) < began:
                gone.add(holder)
                continue
        holders.add(holder)
    return holders, gone - holders


def _destroyed(workspace: Workspace, chip: str, history: History | None) -> bool:
    """Returns whether a chip was destroyed for good, by the log at the plan, and has not spoken since."""
    if history is None or not history.states or not history.states[-1].certified:
        return False
    since = history.states[-1].since
    return all(item.time <= since for item in workspace.chip_records().get(chip, ()))


def _sayers(workspace: Workspace, finding: Finding, history: History) -> frozenset[str]:
    """Returns the operators on whose word alone a finding about a chip rests; empty if it rests on more.

    Where a chip comes from is for its holder to show, whoever spoke of it first.
    """
    said = [workspace.by_id[e].statement for e in finding.evidence if e in workspace.by_id]
    if any(statement.role is not Role.OPERATOR for statement in said):
        return frozenset()
    if finding.check == "registry.origin" and not history.makers:
        return frozenset()
    return frozenset(statement.issuer for statement in said)


def _word_of(sayers: Collection[str], finding: Finding) -> Finding:
    """Returns a finding for whoever holds the chip and said nothing of the kind: no fault of his, and not hidden."""
    word = f"{finding.reason}: that is the word of {' and '.join(sorted(sayers))} alone"
    outcome = Outcome.INCONCLUSIVE if finding.outcome is Outcome.FAIL else finding.outcome
    return replace(finding, outcome=outcome, reason=word)


def _histories(workspace: Workspace, *, until: float = math.inf) -> dict[str, History]:
    """Returns each chip's history by what the log had taken until a time."""
    events: dict[str, list[CustodyEvent]] = {}
    for item in workspace.of_kind("custody-event"):
        if item.time > until:
            break
        statement = item.statement
        try:
            body = read_event(statement.payload, where=f"statement {statement.id[:16]}")
        except WeighbridgeError:
            continue  # says nothing about any chip; whoever signed it is no better off
        event = CustodyEvent(
            statement=statement.id,
            body=body,
            issuer=statement.issuer,
            role=statement.role,
            issued_at=float(statement.issued_at),
        )
        for chip in event.body.chips:
            events.setdefault(chip, []).append(event)
    return {chip: fold(chip, items) for chip, items in events.items()}


def _speaks_out_of_turn(workspace: Workspace, chip: str, history: History) -> list[Finding]:
    """A destroyed chip that signs a record again."""
    if history.destroyed_at is None:
        return []
    late = [item for item in workspace.chip_records().get(chip, ()) if item.time > history.destroyed_at]
    return [
        Finding(
            check="ledger.destroyed-chip",
            subject=claimed_name(item.statement),
            outcome=Outcome.FAIL,
            reason="the directory says that this chip was destroyed, and it signed a record afterwards",
            evidence=(item.statement.id, *(event.statement for event in history.events)),
        )
        for item in late[:1]
    ]


def _not_listed(workspace: Workspace, chip: str) -> Finding:
    records = workspace.chip_records()[chip]
    return Finding(
        check="ledger.unlisted-chip",
        subject=chip,
        outcome=Outcome.FAIL,
        reason=(
            f"a maker certified this chip and it signed {len(records)} records, but the directory does not give it"
            " to the operator to whom it leads"
        ),
        figure=float(len(records)),
        unit="records",
        evidence=tuple(item.statement.id for item in records[:3]),
        redo="weighbridge assess . --logged-audits",
    )
