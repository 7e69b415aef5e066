"""What each mechanism of a regime bounds, and how bounds join: the arithmetic under a portfolio."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

from weighbridge.planning.fleet import Site
from weighbridge.planning.interval import Interval
from weighbridge.planning.mechanisms import Catalogue, Mechanism, Regime
from weighbridge.statistics import share_upper_all_explained
from weighbridge.units import SECONDS_PER_DAY

__all__ = ["WHOLE", "Case", "Group", "Model"]

Level = Literal["A", "C"]

WHOLE: Final = Interval(1.0, 1.0)
_DAYS_PER_YEAR: Final = 365.0
_SUREST: Final = 1 - 1e-12
_STEPS: Final = 60
_MOST_AUDITS: Final = 10**12


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
class Model:
    """Regimes on sites, and every figure that follows.

    Attributes:
        catalogue: mechanisms.
        case: the question.
        pieces: regimes, each with its sites.
        without: a mechanism to leave out.
        audits: audited records in place of those of the catalogue.
    """

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
        """Returns what the sites of one regime could hide."""
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
        """Inspector-days a period."""
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
            return replace(self, audits=audits).hidden(alpha).high <= self.case.flop

        if not any(m.bounds == "sample" for regime, _ in self.pieces for m in self._working(regime)):
            return None
        low, high = -1, 1
        while not fits(high):
            low, high = high, high * 2
            if high > _MOST_AUDITS:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high

    def _lacking(self, name: str) -> "Model":
        return replace(self, without=name)

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
