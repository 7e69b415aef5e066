"""What a fleet could hide under regimes of mechanisms: cheap ones with much access against dear ones with little.

Scher and Thiergart (arXiv 2506.15867) describe mechanisms that can stand in for each other. Here each regime's
hidden FLOP X is the least of what its mechanisms bound, each only if what it needs is in the regime too; sites under
different regimes add. Inputs are ranges and every figure is carried at both ends. People, labels and signatures raise
the chance that something is noticed; uncalibrated as they are, they never lower X, and their chances are kept apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site, check_fleet
from weighbridge.planning.interval import Interval
from weighbridge.planning.mechanisms import Catalogue
from weighbridge.planning.portfolio_model import Case, Group, Model
from weighbridge.units import check_fraction, check_quantity

__all__ = ["ASSUMPTIONS", "Case", "Cover", "Group", "Reaches", "assess_cover", "reach"]

Reaches = Literal["yes", "no", "depends on the inputs"]

ASSUMPTIONS: Final = (
    "X counts chips that the fleet lists, at full utilisation; chips elsewhere are unbounded",
    "people, labels and signatures never lower X: their chances are ranges without calibration, combined without "
    "assuming that they are independent (at least the best of them, at most their sum)",
    "level A: chips' firmware and keys are honest; level C: only what inspectors hold counts",
    "a mechanism whose needs are not in the regime bounds nothing",
    "the bound of sampling holds if all audited records were explained; alpha is split over the groups that sample",
)


@dataclass(frozen=True, kw_only=True)
class Cover:
    """A fleet under its regimes.

    Attributes:
        groups: one for each regime used.
        hidden: X of the fleet at level A.
        hidden_c: X of the fleet at level C.
        reaches: whether X stays within the room at level A.
        reaches_c: the same at level C.
        confidence: largest confidence at which it does, at level A; 0 if none, 1 if no sampling decides it.
        noticed: chance that a run is noticed where it is noticed least; never part of X.
        weakest_group: regime of the group with the largest X.
        rests_on: mechanisms of which the loss of any one raises X most; none if none would.
        ready: years until all mechanisms are ready.
        inspector_days: inspector-days a period.
        audits_needed: audited records in each group that samples, so that X fits; None if no number does.
    """

    groups: tuple[Group, ...]
    hidden: Interval
    hidden_c: Interval
    reaches: Reaches
    reaches_c: Reaches
    confidence: Interval
    noticed: Interval
    weakest_group: str
    rests_on: tuple[str, ...]
    ready: Interval
    inspector_days: Interval
    audits_needed: int | None


def assess_cover(sites: Sequence[Site], *, regimes: Mapping[str, str], catalogue: Catalogue, case: Case) -> Cover:
    """Returns what a fleet could hide with each site under the regime that ``regimes`` gives its name.

    Raises:
        InputError: if a figure is meaningless, a site has no regime, or a regime is not known.
    """
    fleet = check_fleet(sites)
    _check(case)
    parts = dict[str, list[Site]]()
    for site in fleet:
        if site.name not in regimes:
            raise InputError("has no regime", where=f"site {site.name!r}", field="regime", mend="give one")
        parts.setdefault(regimes[site.name], []).append(site)
    pieces = [(catalogue.regime(name), members) for name, members in parts.items()]
    model = Model(catalogue=catalogue, case=case, pieces=pieces)
    alpha = 1 - float(case.confidence)
    groups = tuple(model.group(regime, members, alpha=alpha) for regime, members in pieces)
    hidden, hidden_c = model.hidden(alpha), model.hidden(alpha, level="C")
    return Cover(
        groups=groups,
        hidden=hidden,
        hidden_c=hidden_c,
        reaches=reach(hidden, Interval(case.flop, case.flop)),
        reaches_c=reach(hidden_c, Interval(case.flop, case.flop)),
        confidence=Interval(model.confidence("high"), model.confidence("low")),
        noticed=Interval(min(g.noticed.low for g in groups), min(g.noticed.high for g in groups)),
        weakest_group=max(groups, key=lambda g: (g.hidden.high, g.hidden.low)).regime,
        rests_on=model.rests_on(alpha),
        ready=_latest([m.inputs["readiness"].interval for m in model.used()]),
        inspector_days=model.inspector_days(),
        audits_needed=model.audits_needed(alpha),
    )


def reach(hidden: Interval, room: Interval) -> Reaches:
    """Returns whether what could be hidden stays within the room, wherever in their ranges both lie."""
    if hidden.high <= room.low:
        return "yes"
    return "no" if hidden.low > room.high else "depends on the inputs"


def _latest(years: Sequence[Interval]) -> Interval:
    return Interval(max((y.low for y in years), default=0.0), max((y.high for y in years), default=0.0))


def _check(case: Case) -> None:
    check_quantity(case.flop, name="flop")
    check_quantity(case.days, name="days")
    check_quantity(case.declared, name="declared", positive=False)
    check_fraction(case.confidence, name="confidence")
    case.joined.within(0.0, 1.0, name="joined")
