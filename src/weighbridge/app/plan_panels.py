"""The charts of a plan: detection against sample size, X against n, cost against detection, and a calendar.

Every curve is computed by the functions that made the plan, asked again for other probabilities or other runs.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import cast

from weighbridge.app.charts import Axis, Calendar, Chart, Mark, Series
from weighbridge.errors import InputError
from weighbridge.planning.chip_forms import AnyForm, in_form
from weighbridge.planning.chip_run import ChipRun, check_reachable, log_missed
from weighbridge.planning.chips import ChipPlan
from weighbridge.planning.imperfect import imperfect_log_miss
from weighbridge.planning.items import ItemPlan, exact_sample
from weighbridge.planning.snapshots import SnapshotPlan, plan_snapshots
from weighbridge.statistics import clopper_pearson_upper, concentrated_chip_time, hypergeometric_miss
from weighbridge.units import SECONDS_PER_DAY, format_quantity

__all__ = ["Panels", "answered", "chip_panels", "item_panels", "snapshot_panels", "whole_numbers"]

_WHOLES = 60
Panels = tuple[str, Sequence[Chart | Calendar]]
"""A picture's title and its charts."""

_DAYS_PER_YEAR = 365
_CHIPS_PER_INSPECTOR = 1000
"""Chips that one inspector reads in a year (Shavit, arXiv 2303.11341, footnote 5)."""

_SURE = tuple(round(1 - 10 ** (-0.3 - 0.15 * step), 4) for step in range(19))
"""Probabilities from a half to 0.999, closer together where more certainty costs more."""
_POINTS = 60
_DETECTION = Axis(label="probability of detection", reach=1.0)


def chip_panels(
    plan: ChipPlan, *, run: ChipRun, confidence: Fraction, stretch: float | None = None, pooled: int | None = None
) -> Panels:
    """Returns the charts of a sample of chips, in the plan's own form.

    Args:
        plan: from :func:`weighbridge.planning.chip_forms.in_form`, or the worst of all forms.
        run: the run to be caught.
        confidence: probability of detection.
        stretch: largest factor by which the run may be stretched.
        pooled: chips of all Provers that may collude.
    """
    form, drawn, sure, period = cast("AnyForm", plan.form), plan.samples_per_period, float(confidence), run.period

    # A plan of at most all chips is one by different chips: no point of its curves goes beyond a census.
    most_chips = (pooled or run.chips) if drawn <= (pooled or run.chips) else math.inf

    def again(flop: float, wanted: Fraction) -> ChipPlan:
        asked = replace(run, flop=flop)
        if most_chips < math.inf:
            check_reachable(asked, missed=log_missed(wanted))
        found = in_form(form, asked, confidence=wanted, stretch=stretch, pooled=pooled)
        if found.samples_per_period <= most_chips:
            return found
        shrunk = most_chips / found.samples_per_period
        return replace(found, samples_per_period=most_chips, samples_per_year=shrunk * found.samples_per_year)

    def inspectors(wanted: float) -> float:
        return again(run.flop, Fraction(repr(wanted))).samples_per_year / _CHIPS_PER_INSPECTOR

    most = min(10 * run.flop, run.flop / run.share * (1 - 1e-9))
    sizes = sorted({run.flop * 10 ** (step / 12 - 1) for step in range(25)} | {most, run.flop})
    needs = answered([flop for flop in sizes if flop <= most], lambda flop: again(flop, confidence).samples_per_period)
    chances = sorted({*(round(step / 20, 2) for step in range(1, 20)), *_SURE, sure})
    takes = answered(chances, lambda wanted: again(run.flop, Fraction(repr(wanted))).samples_per_period)
    sample = f"{math.ceil(drawn):,} chips"
    return f"Chips to inspect: {sample} every {period:g} days", (
        Chart(
            title="Chance that the run is caught",
            x=Axis(label="chips drawn each period"),
            y=_DETECTION,
            series=(Series(name=f"form {form}", points=((0.0, 0.0), *((drawn, wanted) for wanted, drawn in takes))),),
            marks=(Mark(x=drawn, y=sure, label=f"{sample}: {sure:.4g}", rising=True),),
        ),
        Chart(
            title=f"Largest run that escapes with chance {1 - sure:.4g}",
            x=Axis(label="chips drawn each period", log=True),
            y=Axis(label="X, FLOP", log=True),
            series=(Series(name=f"X, form {form}", points=tuple((drawn, flop) for flop, drawn in needs)),),
            marks=(Mark(x=drawn, y=run.flop, label=format_quantity(run.flop, unit="FLOP", digits=3)),),
        ),
        _cost(f"inspectors, at {_CHIPS_PER_INSPECTOR:,} chips a year each", inspectors, sure),
        Calendar(
            title="A year of the plan",
            days=float(_DAYS_PER_YEAR),
            rows=(
                (f"draw {sample}, by a seed that follows the frame", _every(period, _DAYS_PER_YEAR)),
                ("a run begun on day 0 ends", (min(run.days, float(_DAYS_PER_YEAR)),)),
            ),
        ),
    )


def item_panels(plan: ItemPlan, *, population: int, missing: int, confidence: Fraction) -> Panels:
    """Returns the charts of a sample of items.

    Args:
        plan: from :func:`weighbridge.planning.items.plan_items`.
        population: items in the frame.
        missing: items whose absence must be seen.
        confidence: probability of detection.
    """
    frame, gone, chance = population, missing, confidence

    def detection(drawn: int) -> float:
        if plan.seen == 1:
            return 1 - hypergeometric_miss(frame, gone, drawn)
        return -math.expm1(imperfect_log_miss(frame, defective=gone, drawn=drawn, seen=plan.seen))

    # With an imperfect test even the whole frame leaves a doubt; no curve goes beyond it.
    reach = 1.0 if plan.seen == 1 else detection(frame)
    most = min(frame, 3 * plan.sample)
    sizes = sorted({max(1, round(most * step / _POINTS)) for step in range(1, _POINTS + 1)} | {0, plan.sample})

    def escapes(sample: float) -> float:
        # IAEA's form solved for D; the last items are seen with certainty.
        share = plan.seen * sample / frame
        return max(1.0, math.log1p(-float(chance)) / math.log1p(-share)) if share < 1 else 1.0

    return f"Items to inspect: {plan.sample:,} of {frame:,}", (
        Chart(
            title=f"{plan.sample:,} items meet one of {gone:,} with {plan.detection:.6g}",
            x=Axis(label="items drawn"),
            y=_DETECTION,
            series=(
                Series(
                    name="exact, without replacement",
                    points=tuple((float(n), detection(n)) for n in sizes),
                ),
            ),
            marks=(Mark(x=float(plan.sample), y=plan.detection, label=f"{plan.sample:,}", rising=True),),
        ),
        Chart(
            title=f"Most items that can be missing and escape with chance {float(1 - chance):.4g}",
            x=Axis(label="items drawn", log=True),
            y=Axis(label="items missing", log=True),
            series=(
                Series(
                    name="IAEA's form", points=_curve(max(1, plan.sample / 10), min(frame, plan.sample * 10), escapes)
                ),
            ),
            marks=(Mark(x=float(plan.sample), y=escapes(plan.sample), label=f"{plan.sample:,}"),),
        ),
        _cost(
            "items drawn",
            lambda wanted: float(exact_sample(frame, missing=gone, confidence=Fraction(repr(wanted)), seen=plan.seen)),
            float(chance),
            reach=reach,
        ),
        Calendar(
            title="The sample spread over a year, no item twice",
            days=float(_DAYS_PER_YEAR),
            rows=(
                (
                    f"{math.ceil(plan.sample / 12):,} items or fewer, each month",
                    _every(_DAYS_PER_YEAR / 12, _DAYS_PER_YEAR),
                ),
            ),
        ),
    )


def snapshot_panels(plan: SnapshotPlan, *, chips: int, days: float, lost_hours: float | None = None) -> Panels:
    """Returns the charts of a plan of snapshots.

    Args:
        plan: from :func:`weighbridge.planning.snapshots.plan_snapshots`.
        chips: chips of the fleet.
        days: length of the period.
        lost_hours: chip-hours that the plan's freezes cost; without them the price is counted in snapshots.

    Raises:
        InputError: the plan needs no snapshot.
    """
    if plan.snapshots == 0:
        raise InputError(
            "there is nothing to draw: the fleet cannot reach the threshold, so no snapshot is needed",
            field="--picture",
        )
    fleet, length = chips, days
    needed, alpha = plan.snapshots, 1 - plan.confidence
    # A share of all chip-time is met for certain: that cannot be drawn as a logarithm.
    log_miss = math.log1p(-min(plan.share, 1 - 1e-12))
    phi, chip_days = plan.share_read, fleet * length
    rate = plan.capacity / (fleet * length * SECONDS_PER_DAY)

    def audits(wanted: float) -> float:
        found = plan_snapshots(
            fleet,
            chip_flops=rate,
            days=length,
            limit=plan.room,
            confidence=wanted,
            unexplained=plan.unexplained,
            share_read=phi,
        )
        return float(found.snapshots)

    def detection(number: float) -> float:
        if phi is None:
            return -math.expm1(number * log_miss)
        # Hidden work on the fewest chips, each for the whole period: its log is read with chance phi.
        log_seen = math.log1p(phi * math.expm1(-number / (phi * fleet))) if phi < 1 else -number / fleet
        return -math.expm1(min(1.0, plan.share) * fleet * log_seen)

    def hidden_by(number: int) -> float:
        if phi is None:
            return plan.capacity * clopper_pearson_upper(min(plan.unexplained, number), number, alpha)
        bound = concentrated_chip_time(phi, number / (phi * chip_days), length, alpha)
        return plan.capacity * min(1.0, bound / chip_days)

    low, high = max(1 + plan.unexplained, needed // 10), max(needed * 10, 20)
    counts = sorted({round(low * (high / low) ** (step / _POINTS)) for step in range(_POINTS + 1)} | {needed})
    hidden = {n: hidden_by(n) for n in counts}
    return f"Snapshots to audit: {needed:,} in {length:g} days", (
        _detection(
            "snapshots audited",
            float(needed),
            detection(needed),
            detection,
            title=f"Chance to meet {format_quantity(plan.room, unit='FLOP', digits=3)} hidden on the fleet",
        ),
        Chart(
            title=f"X, if {plan.unexplained:,} of n stay unexplained, at {plan.confidence:g}",
            x=Axis(label="snapshots audited", log=True),
            y=Axis(label="X, FLOP", log=True),
            series=(
                Series(name="X", points=tuple((float(n), hidden[n]) for n in counts)),
                Series(
                    name="room between declared work and threshold",
                    points=((float(counts[0]), plan.room), (float(counts[-1]), plan.room)),
                ),
            ),
            marks=(Mark(x=float(needed), y=hidden[needed], label=f"{needed:,} snapshots"),),
        ),
        _cost("snapshots audited", audits, plan.confidence)
        if lost_hours is None
        else _cost(
            "chip-hours lost to freezes, to first order",
            lambda wanted: audits(wanted) / needed * lost_hours,
            plan.confidence,
        ),
        Calendar(
            title=f"The period, at {format_quantity(plan.rate, digits=3)} "
            + ("audited snapshots a chip and day" if phi is None else f"snapshots a chip and day, {phi:g} read"),
            days=length,
            rows=(
                (f"a tenth more of the {needed:,} snapshots has fallen due, on average", _every(length / 10, length)),
                ("claims are fixed in the log; audits are drawn after", (length,)),
            ),
        ),
    )


def _curve(low: float, high: float, value: Callable[[float], float]) -> tuple[tuple[float, float], ...]:
    places = [low * (high / low) ** (step / _POINTS) for step in range(_POINTS + 1)]
    return tuple((place, value(place)) for place in places)


def answered(places: Sequence[float], value: Callable[[float], float]) -> tuple[tuple[float, float], ...]:
    """Returns the curve where there is one: for some probabilities beyond the plan's own no sample is enough."""
    found = []
    for place in places:
        with contextlib.suppress(InputError):
            found.append((place, value(place)))
    return tuple(found)


def _detection(
    label: str, planned: float, sure: float, detection: Callable[[float], float], *, title: str | None = None
) -> Chart:
    places = [3 * planned * step / _POINTS for step in range(_POINTS + 1)]
    return Chart(
        title=title or "Chance that the run is caught",
        x=Axis(label=label),
        y=_DETECTION,
        series=(Series(name="each draw for itself", points=tuple((n, detection(n)) for n in places)),),
        marks=(Mark(x=planned, y=sure, label=f"{format_quantity(planned)}: {sure:.4g}", rising=True),),
    )


def _cost(label: str, cost: Callable[[float], float], sure: float, *, reach: float = 1.0) -> Chart:
    wanted = sorted({*(chance for chance in _SURE if chance < reach), sure})
    return Chart(
        title="What more certainty costs",
        x=_DETECTION,
        y=Axis(label=label),
        series=(Series(name=label, points=answered(wanted, cost)),),
        marks=(Mark(x=sure, y=cost(sure), label=f"{sure:.4g}", rising=True),),
    )


def _every(step: float, until: float) -> tuple[float, ...]:
    # A plan with a draw an hour shows as many marks as fit, not thousands.
    count = min(math.floor(until / step + 1e-9), 400)
    return tuple(step * n for n in range(1, count + 1)) or (min(step, until),)


def whole_numbers(most: int) -> list[int]:
    """Returns whole numbers up to the most, evenly, no more than can be seen."""
    return sorted({round(most * step / _WHOLES) for step in range(_WHOLES + 1)})
