"""The planning figures side by side, as functions of a few settings: what the calculator page shows.

One closed form each, so that a page without a server can compute the same; where this library has the function, it is
the one used here.
"""

import math
from dataclasses import dataclass, fields
from typing import Final

from weighbridge.errors import InputError
from weighbridge.statistics import concentrated_chip_time
from weighbridge.units import SECONDS_PER_DAY

__all__ = ["ASSUMPTIONS", "SLIDERS", "Outcome", "Settings", "Slider", "calculate"]

_DAYS_PER_YEAR: Final = 365.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set; units as in :data:`SLIDERS`."""

    chips: float = 1e5
    chip_flops: float = 1e15
    utilisation: float = 1.0
    threshold: float = 1e25
    run_days: float = 30.0
    period_days: float = 30.0
    confidence: float = 0.9
    rate: float = 0.1
    freeze_seconds: float = 1.6
    inspectors: float = 30.0
    chips_per_inspector: float = 1000.0
    inspector_cost: float = 3e5
    progress: float = 3.0
    years: float = 0.0

    def __post_init__(self) -> None:
        """Refuses values outside what the sliders span."""
        for slider in SLIDERS:
            value = getattr(self, slider.name)
            if not slider.least <= value <= slider.most:
                raise InputError(
                    f"{value:g} does not lie between {slider.least:g} and {slider.most:g}", field=slider.name
                )


@dataclass(frozen=True, kw_only=True)
class Slider:
    """One setting that can be moved.

    Attributes:
        name: the field of :class:`Settings`.
        label: in words.
        unit: as printed behind the value.
        least: smallest value.
        most: largest value.
        default: value at first.
        logarithmic: whether equal ways are equal factors.
    """

    name: str
    label: str
    unit: str
    least: float
    most: float
    default: float
    logarithmic: bool


def _slider(name: str, label: str, unit: str, *, least: float, most: float, logarithmic: bool) -> Slider:
    start = float(getattr(Settings, name))
    return Slider(name=name, label=label, unit=unit, least=least, most=most, default=start, logarithmic=logarithmic)


SLIDERS: Final = (
    _slider("chips", "Chips in the fleet", "chips", least=1e2, most=1e8, logarithmic=True),
    _slider("chip_flops", "One chip", "FLOP/s", least=1e13, most=1e17, logarithmic=True),
    _slider("utilisation", "Utilisation", "", least=0.05, most=1.0, logarithmic=False),
    _slider("threshold", "Threshold of one run", "FLOP", least=1e20, most=1e29, logarithmic=True),
    _slider("run_days", "Length of the run", "days", least=1, most=730, logarithmic=True),
    _slider("period_days", "Between two inspections", "days", least=1, most=365, logarithmic=True),
    _slider("confidence", "Confidence", "", least=0.5, most=0.999, logarithmic=False),
    _slider("rate", "Freezes of a chip", "a day", least=1e-4, most=100.0, logarithmic=True),
    _slider("freeze_seconds", "Length of a freeze", "s", least=0.01, most=100.0, logarithmic=True),
    _slider("inspectors", "Budget: inspectors", "people", least=0.1, most=1e4, logarithmic=True),
    _slider("chips_per_inspector", "Chips an inspector reads", "a year", least=10, most=1e6, logarithmic=True),
    _slider("inspector_cost", "Cost of an inspector", "USD a year", least=1e4, most=1e7, logarithmic=True),
    _slider(
        "progress", "Compute for the same capability falls by", "times a year", least=1.0, most=10.0, logarithmic=True
    ),
    _slider("years", "Years from now", "years", least=0.0, most=10.0, logarithmic=False),
)
"""Shavit's footnote 5 has 1,000 chips a year for an inspector; cost and progress are examples to be moved."""

ASSUMPTIONS: Final = (
    "every chip of the fleet is known, may be drawn, and is as likely as another; colluding fleets count as one",
    "a chip whose record is missing, unreadable or unexplained counts as caught",
    "records are read honestly: chips' firmware and keys hold (trust level A)",
    "the first half of a run does not incriminate: halve the threshold to keep it (Shavit 2023, footnote 3)",
    "worst case: the run is stretched over ever fewer chips and ever more periods; splitting it never helps it",
    "no sample meets a run more often than reading every chip each period: a run leaves only so many records in all",
    "X is what could stay hidden over all the days of the run, its periods together; a longer time needs more days",
    "X with all records read is the exposure form at no unexplained record; with a share read, the form for work"
    " packed onto the fewest chips",
    "algorithmic progress divides the threshold that matters; it is a guess, and yours to set",
    "the chips of one run stop together whenever one of them is frozen",
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What follows. None where the run is impossible.

    Attributes:
        threshold_then: FLOP that give the same capability by then.
        breakout_days: days in which the whole fleet reaches that.
        share: b, share of the fleet that the run needs.
        chips_in_run: chips that the run needs.
        snapshot_probability: p_w, chance that a chip of the run holds an incriminating record when read.
        samples_per_year: chips that the inspectors read.
        detection_most: chance that the run is met if every chip is read each period: no sample has more.
        detection: chance that a chip that is read belongs to the run, by Eq. 1; with all chips read, that most.
        detection_worst: the same against a run stretched without end.
        needed_per_year: chips to read for the confidence, by Eq. 1, all chips at most; none if no number is enough.
        needed_per_year_worst: the same against a run stretched without end.
        inspectors_needed: people for that.
        cost: USD a year of the inspectors.
        cost_needed: USD a year of those needed.
        hidden_all: X in FLOP over the days of the run if all records are read, at level A.
        hidden_read: X in FLOP over the days of the run if only the chips that the inspectors read are.
        snapshots_due: freezes of the fleet over the days of the run.
        snapshots_needed: audited snapshots that keep X below the threshold.
        stall: share of the run's time that its freezes cost.
    """

    threshold_then: float
    breakout_days: float
    share: float
    chips_in_run: float
    snapshot_probability: float
    samples_per_year: float
    detection_most: float | None
    detection: float | None
    detection_worst: float | None
    needed_per_year: float | None
    needed_per_year_worst: float | None
    inspectors_needed: float | None
    cost: float
    cost_needed: float | None
    hidden_all: float
    hidden_read: float
    snapshots_due: float
    snapshots_needed: float
    stall: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Returns plain JSON data."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def calculate(settings: Settings) -> Outcome:
    """Returns all figures at once.

    Sampling: Shavit 2023 (arXiv 2303.11341), Eq. 1, with C.1's limit of ever fewer chips for the worst case:
    1 - (1 - (b/k) p_w)^(k s T/T_m) falls to 1 - e^(-b p_w s T/T_m). Bounds: :mod:`weighbridge.statistics`.
    The most is 1 - e^(-f H / (a mu)): the run leaves Poisson(f H / (a mu)) records in all
    (:attr:`weighbridge.planning.chip_run.ChipRun.census_detection`); beyond all chips more draws read nothing more.
    """
    s = settings
    missed = 1.0 - s.confidence
    chip_day = s.chip_flops * s.utilisation * SECONDS_PER_DAY
    then = s.threshold / s.progress**s.years
    fleet_day = s.chips * chip_day
    share = then / (fleet_day * s.run_days)
    seen = -math.expm1(-s.rate * s.period_days)
    periods = s.run_days / s.period_days
    a_year = s.inspectors * s.chips_per_inspector
    drawn = a_year * s.period_days / _DAYS_PER_YEAR
    possible = share <= 1.0
    caught = min(1.0, share * seen)
    exact = math.log1p(-caught) if caught < 1.0 else -math.inf
    census = -s.rate * then / chip_day
    needed = needed_worst = None
    if possible and math.log(missed) >= census:
        once_a_period = _DAYS_PER_YEAR / s.period_days
        needed = math.log(missed) / exact / periods * once_a_period if caught < 1.0 else once_a_period
        needed_worst = -math.log(missed) / caught / periods * once_a_period
        needed, needed_worst = (min(number, s.chips * once_a_period) for number in (needed, needed_worst))
    read = min(1.0, drawn / s.chips)
    met, met_worst = (census, census) if read == 1.0 else (drawn * periods * exact, -drawn * periods * caught)
    most_days = s.chips * s.run_days
    return Outcome(
        threshold_then=then,
        breakout_days=then / fleet_day,
        share=share,
        chips_in_run=share * s.chips,
        snapshot_probability=seen,
        samples_per_year=a_year,
        detection_most=-math.expm1(census) if possible else None,
        detection=-math.expm1(met) if possible else None,
        detection_worst=-math.expm1(met_worst) if possible else None,
        needed_per_year=needed,
        needed_per_year_worst=needed_worst,
        inspectors_needed=None if needed_worst is None else math.ceil(needed_worst / s.chips_per_inspector),
        cost=s.inspectors * s.inspector_cost,
        cost_needed=None
        if needed_worst is None
        else math.ceil(needed_worst / s.chips_per_inspector) * s.inspector_cost,
        hidden_all=min(-math.log(missed) / s.rate, most_days) * chip_day,
        # Work is packed onto chips for whole periods, or for all of a shorter run, in as many periods as it takes.
        hidden_read=min(concentrated_chip_time(read, s.rate, min(s.period_days, s.run_days), missed), most_days)
        * chip_day,
        snapshots_due=s.rate * most_days,
        snapshots_needed=0.0 if share >= 1.0 else math.ceil(math.log(missed) / math.log1p(-share)),
        stall=-math.expm1(-share * s.chips * s.rate * s.freeze_seconds / SECONDS_PER_DAY) if possible else None,
    )
