"""The charts of plans over sites: where to look, at what cost, when, and how soon a threshold could be crossed."""

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from weighbridge.app.charts import Axis, Calendar, Chart, Mark, Series
from weighbridge.app.plan_panels import Panels, whole_numbers
from weighbridge.planning.effort import person_days
from weighbridge.planning.sites import SitePlan, two_stage_detection
from weighbridge.planning.timeliness import Timeliness, days_to
from weighbridge.units import format_flop

__all__ = ["equal_site_panels", "site_panels", "timeliness_panels"]

_STEPS = 60
_PLANS_AGAIN = 8
"""Numbers of visits for which a fleet's plan is made again."""
_CHANCE = Axis(label="probability of detection", reach=1.0)


def equal_site_panels(
    detection: float, *, sites: int, visited: int, site_size: int, missing: int, drawn: int, seen: Fraction
) -> Panels:
    """Returns the charts of a two-stage plan over equal sites: against visits, and against chips drawn at each."""

    def found(count: int, chips: int) -> float:
        return two_stage_detection(sites, visited=count, site_size=site_size, missing=missing, drawn=chips, seen=seen)

    visits = sorted({*whole_numbers(sites), visited})
    shown = whole_numbers(min(site_size, 4 * max(drawn, 1)))
    return f"Sites to visit: {visited:,} of {sites:,}", (
        Chart(
            title=f"{missing:,} chips gone from one site, {drawn:,} drawn at each",
            x=Axis(label="sites visited"),
            y=_CHANCE,
            series=(Series(name="two-stage", points=tuple((float(n), found(n, drawn)) for n in visits)),),
            marks=(Mark(x=float(visited), y=detection, label=f"{detection:.4g}"),),
        ),
        Chart(
            title=f"The same with {visited:,} visits: drawing more at a site soon adds nothing",
            x=Axis(label="chips drawn at a site"),
            y=_CHANCE,
            series=(
                Series(
                    name="two-stage",
                    points=tuple((float(n), found(visited, n)) for n in shown),
                ),
            ),
            marks=(Mark(x=float(drawn), y=detection, label=f"{drawn:,} chips", below=detection > 0.5),),
        ),
        _visits_bought(
            ((n, found(n, drawn)) for n in visits),
            Mark(x=person_days(visited), y=detection, label=f"{visited:,} visits", below=detection > 0.5),
        ),
        _year_of_visits(visited),
    )


def _visits_bought(points: Iterable[tuple[int, float]], mark: Mark) -> Chart:
    """Returns cost against detection: person-days at the IAEA's rate of 2021."""
    return Chart(
        title="What visits cost, and what they buy",
        x=Axis(label="person-days, at the IAEA's rate of 2021"),
        y=_CHANCE,
        series=(Series(name="worst case", points=tuple((person_days(n), found) for n, found in points)),),
        marks=(mark,),
    )


def _year_of_visits(visits: int) -> Calendar:
    months = tuple(30.4 * month for month in range(12))
    return Calendar(
        title="A year of the plan",
        days=365.0,
        rows=(
            ("sites drawn for the month, by a seed that follows the frame", months),
            (f"{visits:,} visits, about {math.ceil(visits / 12):,} a month", tuple(day + 15.0 for day in months)),
        ),
    )


def site_panels(plan: SitePlan, *, visits: int, again: Callable[[int], SitePlan]) -> Panels:
    """Returns the charts of a plan over a fleet: each site's chance of a visit and of detection, cost, calendar.

    Args:
        plan: the plan.
        visits: visits of the period.
        again: makes the same plan with another number of visits.
    """
    worst = min(plan.worst, plan.split)
    most = len(plan.visits)
    others = {plan.census + round((most - plan.census) * step / _PLANS_AGAIN) for step in range(_PLANS_AGAIN + 1)}
    bought = {n: min(other.worst, other.split) for n in sorted(others - {0, visits}) for other in (again(n),)}
    bought[visits] = worst
    able = [visit for visit in plan.visits if visit.detection is not None]
    shown = (
        Series(name="visited", points=tuple((v.h100e, v.visited) for v in plan.visits), dots=True),
        Series(
            name="a diversion there is seen",
            points=tuple((v.h100e, v.detection) for v in able if v.detection is not None),
            dots=True,
        ),
    )
    return f"Sites: {plan.census:,} always, {plan.drawn_sites:,} drawn", (
        Chart(
            title=f"Worst case {plan.worst:.4g}, in {plan.worst_site[:40]}",
            x=Axis(label="size of the site, H100 equivalents", log=True),
            y=Axis(label="probability", reach=1.0),
            series=tuple(series for series in shown if series.points),
        ),
        _visits_bought(
            sorted(bought.items()),
            Mark(x=person_days(visits), y=worst, label=f"{visits:,} visits", below=worst > 0.5),
        ),
        _year_of_visits(visits),
    )


def timeliness_panels(
    found: Sequence[tuple[str, Timeliness]], *, flop: float, chip_flops: float, period: float | None
) -> Panels:
    """Returns the chart of times to a threshold by size of site, with the time between two looks."""
    sizes = sorted(one.h100e for _, one in found)
    low, high = min(sizes[0], sizes[-1] / 10), max(sizes[-1], sizes[0] * 10)
    places = [low * (high / low) ** (step / _STEPS) for step in range(_STEPS + 1)]
    series = [
        Series(name="time", points=tuple((x, days_to(flop, h100e=x, chip_flops=chip_flops)) for x in places)),
        Series(name="sites", points=tuple((one.h100e, one.days) for _, one in found), dots=True),
    ]
    if period is not None:
        series.append(Series(name=f"{period:g} days between two looks", points=((low, period), (high, period))))
    return f"Time to {format_flop(flop)}", (
        Chart(
            title="What lies below the time between two looks fits between them",
            x=Axis(label="size of the site, H100 equivalents", log=True),
            y=Axis(label="days to the threshold", log=True),
            series=tuple(series),
        ),
        *(() if period is None else (_looks(found, period=period),)),
    )


def _looks(found: Sequence[tuple[str, Timeliness]], *, period: float) -> Calendar:
    """Returns when looks come, and when the largest site could have crossed the threshold, from day 0 on."""
    largest = max((one for _, one in found), key=lambda one: one.h100e)
    length = max(12 * period, min(largest.days, 24 * period))
    looks = tuple(period * number for number in range(1, int(length / period) + 1))
    reached = (largest.days,) if largest.days <= length else ()
    rows = [("a look", looks), (f"{largest.h100e:,.0f} H100 equivalents reach the threshold", reached)]
    return Calendar(title="Looks, and the threshold", days=length, rows=tuple(row for row in rows if row[1]))
