"""What a fleet could hide under regimes of mechanisms: cheap ones with much access against dear ones with little.

Scher and Thiergart (arXiv 2506.15867) describe mechanisms that can stand in for each other. Here each regime's
hidden FLOP X is the least of what its mechanisms bound, each only if what it needs is in the regime too; sites under
different regimes add. Inputs are ranges and every figure is carried at both ends. People, labels and signatures raise
the chance that something is noticed; uncalibrated as they are, they never lower X, and their chances are kept apart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site, check_fleet
from weighbridge.planning.interval import Interval
from weighbridge.planning.mechanisms import Catalogue, Mechanism, Regime
from weighbridge.statistics import share_upper_all_explained
from weighbridge.units import SECONDS_PER_DAY, check_fraction, check_quantity

__all__ = ["ASSUMPTIONS", "Case", "Cover", "Group", "Reaches", "assess_cover", "reach"]

Level = Literal["A", "C"]
Reaches = Literal["yes", "no", "depends on the inputs"]

ASSUMPTIONS: Final = (
    "X counts chips that the fleet lists, at full utilisation; chips elsewhere are unbounded",
    "people, labels and signatures never lower X: their chances are ranges without calibration, combined without "
    "assuming that they are independent (at least the best of them, at most their sum)",
    "level A: chips' firmware and keys are honest; level C: only what inspectors hold counts",
    "a mechanism whose needs are not in the regime bounds nothing",
    "the bound of sampling holds if all audited records were explained; alpha is split over the groups that sample",
)
WHOLE: Final = Interval(1.0, 1.0)
_DAYS_PER_YEAR: Final = 365.0
_SUREST: Final = 1 - 1e-12
_STEPS: Final = 60


@dataclass(frozen=True, kw_only=True)
class Case:
    """The question put to every regime.

    Attributes:
        flop: Y less what is declared: X must not exceed it.
        declared: FLOP declared; it stays when the threshold moves over the years.
        days: length of the period.
        confidence: 1 - alpha, for bounds that rest on sampling.
        adds: the rule sums lineages or merges, so that slower links between pods or sites lower nothing.
        joined: share of the full rate that a run keeps when it is spread over sites.
    """

    flop: float
    days: float
    declared: float = 0.0
    confidence: Fraction | float = 0.95
    adds: bool = True
    joined: Interval = WHOLE


@dataclass(frozen=True, kw_only=True)
class Group:
    """Sites under one regime, and what they could hide.

    Attributes:
        regime: the regime's id.
        sites: how many sites.
        capacity: FLOP of the group in the period.
        hidden: X of the group at level A.
        hidden_c: X of the group at level C.
        by: mechanism that sets X at level A; None if none bounds anything.
        idle: mechanisms that bound nothing here because something that they need is missing.
        noticed: chance, from people, labels and signatures, that a hidden run is noticed; never part of X.
    """

    regime: str
    sites: int
    capacity: float
    hidden: Interval
    hidden_c: Interval
    by: str | None
    idle: tuple[str, ...]
    noticed: Interval


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
    model = _Model(catalogue=catalogue, case=case, pieces=pieces)
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


@dataclass(frozen=True, kw_only=True)
class _Model:
    catalogue: Catalogue
    case: Case
    pieces: Sequence[tuple[Regime, list[Site]]]
    without: str | None = None
    audits: int | None = None

    def used(self) -> list[Mechanism]:
        """The mechanisms of all regimes, once each."""
        ids = dict.fromkeys(name for regime, _ in self.pieces for name in regime.mechanisms)
        return [self.catalogue.mechanisms[name] for name in ids]

    def group(self, regime: Regime, sites: list[Site], *, alpha: float) -> Group:
        bounds = self._bounds(regime, sites, alpha=alpha, level="A")
        best = min(bounds, key=lambda name: (bounds[name].high, bounds[name].low), default=None)
        chances = [m.inputs["chance"].interval for m in self._working(regime) if m.bounds == "chance"]
        working = {m.id for m in self._working(regime)}
        return Group(
            regime=regime.id,
            sites=len(sites),
            capacity=_capacity(sites, self.case.days),
            hidden=self._least(regime, sites, alpha=alpha, level="A"),
            hidden_c=self._least(regime, sites, alpha=alpha, level="C"),
            by=best if best is not None and bounds[best].low < _capacity(sites, self.case.days) else None,
            idle=tuple(name for name in regime.mechanisms if name not in working),
            noticed=_either(chances),
        )

    def hidden(self, alpha: float, *, level: Level = "A") -> Interval:
        """X of the fleet: groups add; a rule that does not add lineages lets a spread run be slowed."""
        each = [(self._least(regime, sites, alpha=alpha, level=level), sites) for regime, sites in self.pieces]
        total = Interval(sum(x.low for x, _ in each), sum(x.high for x, _ in each))
        if self.case.adds:
            return total
        largest = [max(site.capacity(self.case.days) for site in sites) for _, sites in each]
        alone = Interval(
            max(min(x.low, most) for (x, _), most in zip(each, largest, strict=True)),
            max(min(x.high, most) for (x, _), most in zip(each, largest, strict=True)),
        )
        joined = self.case.joined
        return Interval(max(alone.low, joined.low * total.low), max(alone.high, joined.high * total.high))

    def confidence(self, end: Literal["low", "high"]) -> float:
        """Largest confidence at which that end of X fits; 1 stands for bounds that no sampling limits."""

        def fits(alpha: float) -> bool:
            hidden = self.hidden(alpha)
            return (hidden.low if end == "low" else hidden.high) <= self.case.flop

        if fits(1 - _SUREST):
            return 1.0
        if not fits(_SUREST):
            return 0.0
        low, high = math.log(1 - _SUREST), math.log(_SUREST)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if fits(math.exp(middle)) else (middle, high)
        return -math.expm1(high)

    def rests_on(self, alpha: float) -> tuple[str, ...]:
        """The mechanisms without any one of which X is largest."""
        now = self.hidden(alpha)
        lost = {m.id: self._lacking(m.id).hidden(alpha) for m in self.used()}
        worst = max(((x.high, x.low) for x in lost.values()), default=(0.0, 0.0))
        if worst <= (now.high, now.low):
            return ()
        return tuple(name for name, x in lost.items() if (x.high, x.low) == worst)

    def inspector_days(self) -> Interval:
        low = high = 0.0
        for regime, sites in self.pieces:
            for name in regime.mechanisms:
                cost = self.catalogue.mechanisms[name].inputs["days_per_year"].interval
                share = len(sites) * self.case.days / _DAYS_PER_YEAR
                low, high = low + cost.low * share, high + cost.high * share
        return Interval(low, high)

    def audits_needed(self, alpha: float) -> int | None:
        """Fewest audits in each sampling group with which X fits at its upper end."""

        def fits(audits: int) -> bool:
            model = _Model(catalogue=self.catalogue, case=self.case, pieces=self.pieces, audits=audits)
            return model.hidden(alpha).high <= self.case.flop

        if not any(m.bounds == "sample" for regime, _ in self.pieces for m in self._working(regime)):
            return None
        low, high = -1, 1
        while not fits(high):
            low, high = high, high * 2
            if high > 10**12:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high

    def _lacking(self, name: str) -> "_Model":
        return _Model(catalogue=self.catalogue, case=self.case, pieces=self.pieces, without=name, audits=self.audits)

    def _working(self, regime: Regime) -> list[Mechanism]:
        """Mechanisms of the regime whose needs, and their needs in turn, are met."""
        present = {name for name in regime.mechanisms if name != self.without}
        while True:
            met = {name for name in present if set(self.catalogue.mechanisms[name].needs) <= present}
            if met == present:
                return [self.catalogue.mechanisms[name] for name in regime.mechanisms if name in met]
            present = met

    def _least(self, regime: Regime, sites: list[Site], *, alpha: float, level: Level) -> Interval:
        most = _capacity(sites, self.case.days)
        bounds = self._bounds(regime, sites, alpha=alpha, level=level).values()
        return Interval(min([most, *(b.low for b in bounds)]), min([most, *(b.high for b in bounds)]))

    def _bounds(self, regime: Regime, sites: list[Site], *, alpha: float, level: Level) -> dict[str, Interval]:
        found = dict[str, Interval]()
        for mechanism in self._working(regime):
            # At level C nothing that a chip says counts, so neither does what rests on it.
            if level == "C" and mechanism.level == "A":
                continue
            bound = self._bound(mechanism, sites, alpha=alpha)
            if bound is not None:
                found[mechanism.id] = bound
        return found

    def _bound(self, mechanism: Mechanism, sites: list[Site], *, alpha: float) -> Interval | None:
        days, inputs = self.case.days, {name: given.interval for name, given in mechanism.inputs.items()}
        capacity = _capacity(sites, days)
        if mechanism.bounds == "residual":
            return Interval(inputs["residual"].low * capacity, inputs["residual"].high * capacity)
        if mechanism.bounds == "sample":
            few, many = (int(inputs["audits"].low), int(inputs["audits"].high))
            if self.audits is not None:
                few = many = self.audits
            each = alpha / self._samplers()
            return Interval(
                _fastest(sites, share_upper_all_explained(many, each), days),
                _fastest(sites, share_upper_all_explained(few, each), days),
            )
        if mechanism.bounds == "slowdown" and not self.case.adds:
            low, high = (
                max(_largest_pod(sites, chips, days), capacity / slow)
                for chips, slow in (
                    (inputs["pod_chips"].low, inputs["slowdown"].high),
                    (inputs["pod_chips"].high, inputs["slowdown"].low),
                )
            )
            return Interval(low, high)
        return None

    def _samplers(self) -> int:
        return max(1, sum(any(m.bounds == "sample" for m in self._working(regime)) for regime, _ in self.pieces))


def _capacity(sites: Sequence[Site], days: float) -> float:
    return sum(site.capacity(days) for site in sites)


def _fastest(sites: Sequence[Site], share: float, days: float) -> float:
    """FLOP of that share of all chip-time, taken on the fastest chips."""
    left, found = share * sum(site.chips for site in sites), 0.0
    for site in sorted(sites, key=lambda s: -s.chip_flops):
        taken = min(left, site.chips)
        found, left = found + taken * site.chip_flops * SECONDS_PER_DAY * days, left - taken
    return found


def _largest_pod(sites: Sequence[Site], chips: float, days: float) -> float:
    return max(min(chips, site.chips) * site.chip_flops * SECONDS_PER_DAY * days for site in sites)


def _either(chances: Sequence[Interval]) -> Interval:
    """Chance that at least one notices, whatever their dependence: Fréchet's bounds."""
    return Interval(max((c.low for c in chances), default=0.0), min(1.0, sum(c.high for c in chances)))


def _latest(years: Sequence[Interval]) -> Interval:
    return Interval(max((y.low for y in years), default=0.0), max((y.high for y in years), default=0.0))


def _check(case: Case) -> None:
    check_quantity(case.flop, name="flop")
    check_quantity(case.days, name="days")
    check_quantity(case.declared, name="declared", positive=False)
    check_fraction(case.confidence, name="confidence")
    case.joined.within(0.0, 1.0, name="joined")
