"""How many chips to inspect: the chip-sampling model of Shavit, arXiv 2303.11341, section 3.2 and appendix B.

A run of H FLOP needs a share b = H / (a T C) of the Prover's C chips (a: FLOP per chip and day). A drawn chip
of the run holds an incriminating snapshot with probability p_w = 1 - e^(-f T_m). Each period T_m, s chips are
drawn.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, get_args

from weighbridge.errors import InputError
from weighbridge.units import SECONDS_PER_DAY, check_count, check_fraction, check_quantity

__all__ = ["ASSUMPTIONS", "ChipPlan", "Form", "linear_samples", "plan_chips"]

Form = Literal["exact", "paper"]
"""``exact``: Eq. 1 as printed. ``paper``: the linear form behind the paper's Table 1, always larger."""

ASSUMPTIONS: Final = (
    "the guarantee is for runs of at least twice the FLOP given: the first half does not incriminate",
    "every chip that the Prover can use may be drawn, each as likely, each draw for itself",
    "a chip whose log is missing or tampered with counts as caught",
    "full utilisation; at utilisation u, give u times the chips' FLOP/s",
)
_DAYS_PER_YEAR: Final = 365
_WORTH_PRINTING: Final = 10**9


@dataclass(frozen=True, kw_only=True)
class ChipPlan:
    """How many chips to draw.

    Attributes:
        form: which formula.
        samples_per_period: chips to draw in each monitoring period, unrounded.
        samples_per_year: the same for 365 days: 365 x samples_per_period / period.
        share: b, the run's share of the chips.
        snapshot_probability: p_w, chance that a drawn chip of the run incriminates.
        chips_in_run: fewest chips that can do the run in its time.
        notes: what to know before using the figures.
    """

    form: Form
    samples_per_period: float
    samples_per_year: float
    share: float
    snapshot_probability: float
    chips_in_run: int
    notes: tuple[str, ...]


def plan_chips(
    chips: int,
    *,
    flop: float,
    chip_flops: float,
    days: float,
    period: float,
    rate: float,
    confidence: float | Fraction,
    form: Form = "exact",
) -> ChipPlan:
    """Returns the sample that catches a run of ``flop`` with the wanted probability.

    Eq. 1: s >= ln(1 - p) / ln(1 - b (1 - e^(-f T_m))) x T_m / T.

    Args:
        chips: C, chips of the Prover (of all Provers together, if they may collude).
        flop: H, FLOP of the run to be caught.
        chip_flops: FLOP/s of one chip.
        days: T, length of the run.
        period: T_m, days from one draw to the next.
        rate: f, snapshots per chip and day.
        confidence: p, wanted probability of detection.
        form: ``exact`` or ``paper``.

    Returns:
        The plan; samples are unrounded.

    Raises:
        InputError: if an argument is meaningless or no such run is possible.
    """
    if form not in get_args(Form):
        raise InputError(f"{form!r} is not known", field="form", mend="choose exact or paper")
    check_count(chips, name="chips", least=1)
    for name, value in (("flop", flop), ("chip-flops", chip_flops), ("days", days), ("period", period)):
        check_quantity(value, name=name)
    check_quantity(rate, name="rate")
    missed = 1 - check_fraction(confidence, name="confidence")
    # Exact in the decimals that were typed: a run that needs precisely all chips is possible.
    per_chip = _decimal(chip_flops) * SECONDS_PER_DAY * _decimal(days)
    exact_share = _decimal(flop) / (per_chip * chips)
    if exact_share > 1:
        raise InputError(
            f"the run is impossible: in {days:g} days it needs {_times(exact_share)} times {chips:,} chips",
            field="chips",
            mend="give more chips, more days or a smaller run",
        )
    share = float(exact_share)
    seen = -math.expm1(-rate * period)
    if share * seen >= 1:
        raise InputError(
            "every chip drawn would incriminate the run, so Eq. 1 has no value",
            field="rate",
            mend="one chip per period is enough",
        )
    log_missed = math.log(missed)
    if share * seen == 0:
        raise InputError("the run is too small against the fleet to compute with", field="flop")
    periods = days / period
    per_draw = -math.log1p(-share * seen) if form == "exact" else share * seen
    per_period = -log_missed / per_draw / periods
    if not math.isfinite(per_period):
        raise InputError("the sample is too large to compute with", field="flop")
    return ChipPlan(
        form=form,
        samples_per_period=per_period,
        samples_per_year=_DAYS_PER_YEAR * per_period / period,
        share=share,
        snapshot_probability=seen,
        chips_in_run=math.ceil(exact_share * chips),
        notes=_notes(per_period, periods=periods, chips=chips),
    )


def linear_samples(*, share: float, snapshot_probability: float, missed: float) -> float:
    """Samples per period in the linear form behind Table 1: -ln(1 - p) / (b p_w), for T = T_m.

    It knows no feasibility: the paper's table prints 7 a year where a run needs 3.8 times the chips.
    """
    return -math.log(missed) / (share * snapshot_probability)


def _notes(per_period: float, *, periods: float, chips: int) -> tuple[str, ...]:
    notes = []
    if not math.isclose(periods, round(periods), rel_tol=1e-9):
        notes.append(
            f"Eq. 1 divides by {periods:.4g} periods; a run overlaps {math.ceil(periods)} draws, of which "
            f"{math.floor(periods)} follow a complete period"
        )
    if per_period > chips:
        notes.append("more draws than chips: with replacement; inspecting every chip each period is enough")
    return tuple(notes)


def _times(share: Fraction) -> str:
    return f"{float(share):.4g}" if share < _WORTH_PRINTING else f"more than {_WORTH_PRINTING:.0e}"


def _decimal(value: float) -> Fraction:
    return Fraction(repr(float(value)))
