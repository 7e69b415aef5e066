"""The charts of balances: what is measured against its spread, sums over periods, pairs, records, losses."""

from collections.abc import Sequence
from fractions import Fraction

from weighbridge.app.charts import Axis, Chart, Mark, Series
from weighbridge.app.plan_panels import Panels
from weighbridge.planning.balance import MeasuredBalance, PairedStatistic, detectable
from weighbridge.planning.cusum import CusumAlarm, CusumPath, CusumPower, Errors, alarm_power, sum_quantiles
from weighbridge.planning.losses import LossAlarm, loss_alarm
from weighbridge.planning.snapshot_cost import count_test
from weighbridge.units import format_quantity

__all__ = ["loss_panels", "measured_panels", "pair_panels", "period_panels", "record_panels"]

_STEPS = 60
_ALARM = Axis(label="probability of the alarm", reach=1.0)
_HISTORIES = 20_000
"""Histories behind each point of a curve, the same for all: an error of 0.0035 at most, which no picture shows."""


def measured_panels(
    found: MeasuredBalance, *, unit: str, alpha: Fraction, power: Fraction, declared: bool = True
) -> Panels:
    """Returns the charts of one balance: what raises the alarm, and what each spread would let see.

    Args:
        found: the balance.
        unit: of its figures.
        alpha: chance of a false alarm.
        power: chance of the alarm at what is detectable.
        declared: whether there is a balance, and not only a spread.
    """
    sigma = found.sigma
    chances = sorted({alpha, power, *(Fraction(n, 100) for n in range(1, 100)), Fraction(999, 1000)})
    seen = [(detectable(sigma, alpha=alpha, power=chance), float(chance)) for chance in chances if chance >= alpha]
    widest = 2 * max(sigma, abs(found.unaccounted) / 4)
    lines = {
        "alarm above": found.alarm_at / sigma,
        f"seen with {float(power):g}": found.detectable / sigma,
    }
    title, verdict = f"Seen with {float(power):g}: {format_quantity(found.detectable, unit=unit, digits=3)}", ""
    if declared:
        title = f"Unaccounted for: {format_quantity(found.unaccounted, unit=unit, digits=3)}"
        verdict = ": alarm" if found.alarm else ": no alarm"
    return title, (
        Chart(
            title=f"Chance of the alarm at a standard deviation of {format_quantity(sigma, digits=3)}",
            x=Axis(label=f"hidden, {unit}"),
            y=_ALARM,
            series=(Series(name="alarm", points=tuple(seen)),),
            marks=(
                Mark(
                    x=found.detectable,
                    y=float(power),
                    label=f"{format_quantity(found.detectable, digits=3)}: {float(power):g}",
                    below=True,
                ),
            ),
        ),
        Chart(
            title=f"The balance against its spread{verdict}",
            x=Axis(label=f"standard deviation, {unit}"),
            y=Axis(label=f"unaccounted for, {unit}"),
            series=tuple(
                Series(name=name, points=((0.0, 0.0), (widest, times * widest))) for name, times in lines.items()
            ),
            marks=(Mark(x=sigma, y=found.unaccounted, label="this balance", below=True),) if declared else (),
        ),
    )


def period_panels(level: CusumAlarm, *, power: CusumPower, errors: Errors, observed: CusumPath | None) -> Panels:
    """Returns the charts of sums over periods: paths against the alarm level, and what a steady loss does."""

    def sums(quantile: float, shift: float) -> tuple[tuple[float, float], ...]:
        found = sum_quantiles(
            level.periods, quantile=quantile, shift=shift, k=level.k, errors=errors, histories=_HISTORIES
        )
        return tuple((float(n), value) for n, value in enumerate(found, start=1))

    most = max(2.0, 2 * power.shift)
    shifts = sorted({most * step / 40 for step in range(41)})
    curve = [
        alarm_power(level.periods, shift=shift, level=level.level, k=level.k, errors=errors, histories=_HISTORIES)
        for shift in shifts
    ]
    ends = (1.0, float(level.periods))
    paths = [
        Series(name=f"alarm level {level.level:.4g}", points=tuple((end, level.level) for end in ends)),
        Series(name="honest: 19 of 20 sums lie below", points=sums(0.95, 0.0)),
        Series(name=f"a loss of {power.shift:g} sigma a period: half of the sums", points=sums(0.5, power.shift)),
    ]
    if observed is not None:
        paths.append(
            Series(
                name="the file", points=tuple((float(n), s) for n, s in enumerate(observed.sums, start=1)), dots=True
            )
        )
    waits = tuple((one.shift, one.mean_periods) for one in curve if one.mean_periods is not None)
    return f"Alarm at {level.level:.4g} over {level.periods:,} periods", (
        Chart(
            title="Cumulative sums against the alarm level",
            x=Axis(label="period"),
            y=Axis(label="cumulative sum, sigma"),
            series=tuple(paths),
        ),
        Chart(
            title=f"Chance of the alarm within {level.periods:,} periods",
            x=Axis(label="steady loss of each period, sigma"),
            y=_ALARM,
            series=(Series(name="alarm", points=tuple((one.shift, one.detection) for one in curve)),),
            marks=(Mark(x=power.shift, y=power.detection, label=f"{power.detection:.3g}", below=True),),
        ),
        Chart(
            title="How long it takes, where it comes",
            x=Axis(label="steady loss of each period, sigma"),
            y=Axis(label="periods to the alarm, on average"),
            series=(Series(name="of the histories with an alarm", points=waits),),
        ),
    )


def pair_panels(found: PairedStatistic, *, pairs: Sequence[tuple[float, float]], population: int) -> Panels:
    """Returns the chart of differences item by item, with their mean and the mean that raises the alarm."""
    ends = (1.0, float(max(2, found.items)))
    mean, limit = found.difference / population, found.alarm_at / population
    return f"Operator against inspector: {'alarm' if found.alarm else 'no alarm'}", (
        Chart(
            title="The operator's figure less the inspector's",
            x=Axis(label="item, in the order of the file"),
            y=Axis(label="difference"),
            series=(
                Series(
                    name="items", points=tuple((float(n), o - i) for n, (o, i) in enumerate(pairs, start=1)), dots=True
                ),
                Series(name="their mean", points=tuple((end, mean) for end in ends)),
                Series(name="a mean that raises the alarm", points=tuple((end, limit) for end in ends)),
            ),
        ),
    )


def record_panels(expected: float, *, few: int | None, many: int, seen: int | None) -> Panels:
    """Returns the chart of a count of records: the chance of each alarm if other chip-time was really used."""
    shares = [step / 40 for step in range(1, 81)]
    curves = []
    if few is not None:
        low = few
        curves.append(Series(name="too few", points=tuple((s, count_test(s * expected, seen=low)[0]) for s in shares)))
    curves.append(Series(name="too many", points=tuple((s, count_test(s * expected, seen=many)[1]) for s in shares)))
    limits = f"from {0 if few is None else few + 1:,} to {many - 1:,}"
    title = f"Records: {limits} are no alarm" + ("" if seen is None else f"; there are {seen:,}")
    return title, (
        Chart(
            title=f"Chance of the alarm, {format_quantity(expected)} records expected",
            x=Axis(label="chip-time really sampled, as a share of what was declared", reach=0.0),
            y=_ALARM,
            series=tuple(curves),
        ),
    )


def loss_panels(found: LossAlarm, *, chips: int, lost: int | None) -> Panels:
    """Returns the charts of losses: the chance of the alarm by chips diverted, and the alarm by size of the site."""
    most = max(1, min(found.alarm, 3 * found.detectable))
    diverted = sorted({round(most * step / _STEPS) for step in range(_STEPS + 1)} | {found.detectable})
    each = found.expected / chips
    sizes = sorted({max(1, round(chips * 10 ** (step / 10 - 2))) for step in range(31)} | {chips})
    alarms = [(float(n), loss_alarm(n, yearly=each, chance=found.chance, power=found.power)) for n in sizes]
    return f"Losses: alarm from {found.alarm:,} of {chips:,} chips", (
        Chart(
            title="Chance of the alarm if chips are diverted as losses",
            x=Axis(label="chips diverted, beside true losses"),
            y=_ALARM,
            series=(
                Series(
                    name="alarm",
                    points=tuple(
                        (float(n), count_test(found.expected, seen=max(0, found.alarm - n))[1]) for n in diverted
                    ),
                ),
            ),
            marks=(
                Mark(
                    x=float(found.detectable),
                    y=count_test(found.expected, seen=max(0, found.alarm - found.detectable))[1],
                    label=f"{found.detectable:,} chips",
                    below=True,
                ),
            ),
        ),
        Chart(
            title="The alarm by size of the site",
            x=Axis(label="chips of the site", log=True),
            y=Axis(label="losses in the time", log=True),
            series=(
                Series(name="alarm from", points=tuple((n, float(one.alarm)) for n, one in alarms)),
                Series(name="expected", points=tuple((n, one.expected) for n, one in alarms)),
                Series(name="twice as many", points=tuple((n, 2 * one.expected) for n, one in alarms)),
            ),
            marks=() if not lost else (Mark(x=float(chips), y=float(lost), label=f"{lost:,} lost"),),
        ),
    )
