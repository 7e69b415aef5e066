"""The plan of visits that makes the safest hidden run least safe: a maximin, solved by linear programmes.

The plan gives each site i the chance q_ik of a look of mode k in a period; the adversary knows all chances and
answers with the safest way to hide its run (:mod:`weighbridge.planning.adversary`). Ways already found are rows of a
linear programme over q (Kelley's cutting planes; the double oracle of McMahan, Gordon and Blum, ICML 2003), solved by
HiGHS; its duals are the resources' shadow prices.

Exact: the adversary's answer, and the plan wherever each way fits one site, for then a way's chance of being met is
linear in q. Where a run must be spread, -ln(1 - D) is convex in q and is replaced by its tangent at the last plan,
which never promises too much; branch and bound (:mod:`weighbridge.planning.best_bound`) finds better plans and a figure
that no plan exceeds. Depths of looks are refined around the plan (:mod:`weighbridge.planning.best_search`); chances mix
them. The bound holds for all depths: by a menu that none beats (:func:`weighbridge.planning.best_menu.build_menu`), and
for freezes by :mod:`weighbridge.planning.best_depths`. Budgets hold on average over the draw. Freezes are fixed before
the draw, so they are paid at every site that could be looked at so deeply; where they are fewer than the sites, a lot
decides which site is frozen, so that a look of n < 1 draws is one whose record exists with chance n: it misses work of
share s with 1 - n s <= e^(-n s).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from weighbridge.errors import InputError
from weighbridge.planning.best_menu import Budget, Effort, Reading, check_effort, limits_of
from weighbridge.planning.best_search import Found, Setting
from weighbridge.planning.fleet import Site, check_fleet
from weighbridge.units import check_count, check_quantity

__all__ = ["ASSUMPTIONS", "MOST_SITES", "BestPlan", "Hideout", "SitePlan", "plan_best"]

ASSUMPTIONS: Final = (
    "the adversary knows every chance in the plan, not the draw; it works at full utilisation",
    "each site is drawn for itself; a draw that keeps the number of visits fixed (dependent rounding) catches no less",
    "a look comes after the period and draws from all its records; what runs later belongs to the next period",
    "a missing, unreadable or unmatched record counts as caught",
    "budgets hold on average over the draw; freezes are paid in full",
    "hidden work lies in chips that the fleet lists",
)
MOST_SITES: Final = 2_000
"""Sites that a plan weighs one by one, in half a minute or so; public lists of clusters hold under a thousand."""
_UNUSED: Final = 1e-7
_MOST_CELLS: Final = 20_000
_ROUNDING: Final = 1e-9
_MORE: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class SitePlan:
    """What the plan gives one site in a period.

    Attributes:
        name: the site.
        visit: chance of a visit.
        looks: (draws, chance) of each depth used; chances sum to ``visit``. Draws below 1: a freeze by lot.
        freezes: freezes that must have fallen due there by then, over all its chips.
        detection: chance that hidden work of the run's size, or as much as fits, is met there.
    """

    name: str
    visit: float
    looks: tuple[tuple[float, float], ...]
    freezes: float
    detection: float


@dataclass(frozen=True, kw_only=True)
class Hideout:
    """What the adversary's best answer puts at one site.

    Attributes:
        name: the site.
        flop: FLOP there.
        chips: fewest chips that do it, working the whole time: stretched as far as it goes.
    """

    name: str
    flop: float
    chips: int


@dataclass(frozen=True, kw_only=True)
class BestPlan:
    """A plan, what it catches, and what its resources are worth.

    Attributes:
        detection: chance that the run is noticed under the best answer that the search found.
        detection_bound: no answer has a lower chance: the figure to rely on; equal to ``detection`` where the search
            was complete, which it is for all but large fleets with runs that must be spread.
        most: no plan detects more, whatever its depths and chances: a bound that always holds.
        uniform: detection if every site has the same chance and depth, the best of all such plans within the budget.
        by_capacity: the same with chances in proportion to capacity.
        sites: the plan, in the fleet's order.
        hideouts: the adversary's best answer.
        spent: each resource's use on average (freezes: in full).
        prices: detection gained per further unit of each limited resource, at the margin; of freezes, by one more, or a
            hundredth more if that is larger.
        flop: FLOP of the run.
        days: length of a period.
        periods: periods over which the run may be stretched.
        reading: what is drawn at a look.
    """

    detection: float
    detection_bound: float
    most: float
    uniform: float
    by_capacity: float
    sites: tuple[SitePlan, ...]
    hideouts: tuple[Hideout, ...]
    spent: dict[str, float]
    prices: dict[str, float]
    flop: float
    days: float
    periods: int
    reading: Reading


def plan_best(
    sites: Sequence[Site], *, flop: float, days: float, budget: Budget, effort: Effort | None = None, periods: int = 1
) -> BestPlan:
    """Returns the plan whose worst case over all ways to hide a run is best.

    Args:
        sites: the fleet.
        flop: FLOP of the hidden run that must be caught: the rule's threshold, less what is declared.
        days: length of a period; chip-time that one period's looks cover.
        budget: what a period may cost; visits or inspector-days must be limited.
        effort: what is drawn at a look, and what it costs.
        periods: periods over which the adversary may stretch the run, each planned alike.

    Raises:
        InputError: if a figure is meaningless, nothing limits the visits, or the fleet cannot do such a run.
    """
    fleet, effort = check_fleet(sites), effort or Effort()
    check_quantity(flop, name="flop")
    check_quantity(days, name="days")
    check_count(periods, name="periods", least=1)
    if periods * len(fleet) > _MOST_CELLS:
        raise InputError(
            f"{periods:,} periods of {len(fleet):,} sites are too many", field="periods", mend="plan longer periods"
        )
    if len(fleet) > MOST_SITES:
        raise InputError(f"has {len(fleet):,} sites, more than {MOST_SITES:,}", field="fleet", mend="join small ones")
    limits = limits_of(budget)
    check_effort(effort)
    capacity = np.array([site.capacity(days) for site in fleet])
    if capacity.sum() * periods < flop * (1 - _ROUNDING):
        raise InputError(
            f"all sites together can do {capacity.sum() * periods:.4g} FLOP, less than {flop:.4g}",
            field="flop",
            mend="nothing needs inspecting; or give more periods, or a smaller run",
        )
    setting = Setting(fleet=fleet, flop=flop, days=days, periods=periods, effort=effort, limits=limits)
    found = setting.search()
    game, plan = found.game, found.plan
    answer = game.answer(plan.chances)
    alone = game.looks(plan.chances).seen(np.minimum(capacity, flop))
    freezes = game.freezes(plan.chances)
    return BestPlan(
        detection=float(-np.expm1(-answer.loss)),
        detection_bound=float(-np.expm1(-answer.bound)),
        most=max(setting.most(found), float(-np.expm1(-answer.loss))),
        uniform=-math.expm1(-found.uniform),
        by_capacity=-math.expm1(-found.by_capacity),
        sites=tuple(
            SitePlan(
                name=site.name,
                visit=float(min(1.0, plan.chances[i].sum())),
                looks=tuple(
                    (_depth(game.menu.draws[i, k]), float(q)) for k, q in enumerate(plan.chances[i]) if q > _UNUSED
                ),
                freezes=float(freezes[i]),
                detection=float(alone[i]),
            )
            for i, site in enumerate(fleet)
        ),
        hideouts=tuple(
            Hideout(name=site.name, flop=float(hidden), chips=_fewest_chips(site, hidden, days=days * periods))
            for site, hidden in zip(fleet, answer.hidden, strict=True)
            if hidden > 0
        ),
        spent={name: float((cost * plan.chances).sum()) for name, cost in game.menu.costs.items()}
        | {"freezes": float(freezes.sum())},
        prices={name: price * float(np.exp(-answer.loss)) for name, price in plan.prices.items()}
        | _price_of_freezes(setting, found),
        flop=flop,
        days=days,
        periods=periods,
        reading=effort.reading,
    )


def _fewest_chips(site: Site, hidden: float, *, days: float) -> int:
    return min(site.chips, math.ceil(hidden / (site.capacity(days) / site.chips) - _ROUNDING))


def _depth(draws: float) -> float:
    """Returns a depth that reads as an integer where it is one."""
    return int(draws) if draws == int(draws) else float(draws)


def _price_of_freezes(setting: Setting, found: Found) -> dict[str, float]:
    """Returns what one freeze more, or a hundredth more, adds to the best plan found, per freeze."""
    if "freezes" not in setting.limits:
        return {}
    more = max(1.0, _MORE * setting.limits["freezes"])
    richer = replace(setting, limits=setting.limits | {"freezes": setting.limits["freezes"] + more})
    return {"freezes": max(0.0, math.exp(-found.loss) - math.exp(-richer.loss_from(found))) / more}
