"""How many chips to inspect: the chip-sampling model of Shavit, arXiv 2303.11341, section 3.2 and appendix B.

A run of H FLOP needs a share b = H / (a T C) of the Prover's C chips (a: FLOP per chip and day). A drawn chip
of the run holds an incriminating snapshot with probability p_w = 1 - e^(-f T_m). Each period T_m, s chips are
drawn. The other forms and the worst of all are in ``weighbridge.planning.chip_forms``.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, get_args

from weighbridge.errors import InputError
from weighbridge.planning.chip_run import ChipRun, log_missed

__all__ = ["ASSUMPTIONS", "ChipPlan", "Form", "assumptions", "linear_samples", "plan_chips", "plan_of"]

Form = Literal["exact", "paper"]
"""``exact``: Eq. 1 as printed. ``paper``: the linear form behind the paper's Table 1, always larger."""

_TWICE: Final = "the guarantee is for runs of at least twice the FLOP given: the first half does not incriminate"
_ALIKE: Final = "every chip that the Prover can use may be drawn, each as likely, each draw for itself"
ASSUMPTIONS: Final = (
    _TWICE,
    _ALIKE,
    "a chip whose log is missing or tampered with counts as caught",
    "full utilisation; at utilisation u, give u times the chips' FLOP/s",
)
_DAYS_PER_YEAR: Final = 365


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

    form: str
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
    run = ChipRun(chips=chips, flop=flop, chip_flops=chip_flops, days=days, period=period, rate=rate)
    share, seen, missed = run.share, run.seen, log_missed(confidence)
    if share * seen >= 1:
        raise InputError(
            "every chip drawn would incriminate the run, so Eq. 1 has no value",
            field="rate",
            mend="one chip per period is enough for a run that is not stretched; form stretched covers both",
        )
    if share * seen == 0:
        raise InputError("the run is too small against the fleet to compute with", field="flop")
    per_draw = -math.log1p(-share * seen) if form == "exact" else share * seen
    return plan_of(run, form=form, per_period=-missed / per_draw / run.periods, missed=missed)


def plan_of(run: ChipRun, *, form: str, per_period: float, missed: float, notes: tuple[str, ...] = ()) -> ChipPlan:
    """Returns the plan that draws ``per_period`` chips in each period, with ``missed`` = ln(1 - p).

    Raises:
        InputError: if the figure is beyond arithmetic.
    """
    if not math.isfinite(per_period):
        raise InputError("the sample is too large to compute with", field="flop")
    return ChipPlan(
        form=form,
        samples_per_period=per_period,
        samples_per_year=_DAYS_PER_YEAR * per_period / run.period,
        share=run.share,
        snapshot_probability=run.seen,
        chips_in_run=run.chips_in_run,
        notes=_notes(run, per_period, missed=missed) + notes,
    )


def linear_samples(*, share: float, snapshot_probability: float, missed: float) -> float:
    """Samples per period in the linear form behind Table 1: -ln(1 - p) / (b p_w), for T = T_m.

    It knows no feasibility: the paper's table prints 7 a year where a run needs 3.8 times the chips.
    """
    return -math.log(missed) / (share * snapshot_probability)


def assumptions(run: ChipRun) -> tuple[str, ...]:
    """Returns what the figures of a run rest on, in words."""
    tampering = ASSUMPTIONS[2]
    if run.tampered is not None:
        tampering = (
            f"{run.tampered:.4g} of the run's chips have logging switched off; inspecting one shows it with chance "
            f"{run.tamper_seen:.4g}"
        )
    elif run.tamper_seen < 1:
        tampering = (
            f"the Prover switches logging off where that pays; inspecting such a chip shows it with chance "
            f"{run.tamper_seen:.4g}"
        )
    use = ASSUMPTIONS[3] if run.utilisation == 1 else f"the run gets {run.utilisation:.4g} of the chips' FLOP/s"
    return _TWICE, _ALIKE, tampering, use


def _notes(run: ChipRun, per_period: float, *, missed: float) -> tuple[str, ...]:
    notes = []
    if not math.isclose(run.periods, round(run.periods), rel_tol=1e-9):
        notes.append(
            f"Eq. 1 divides by {run.periods:.4g} periods; a run overlaps {math.ceil(run.periods)} draws, of which "
            f"{math.floor(run.periods)} follow a complete period"
        )
    if missed < run.census_log_miss * (1 + 1e-12):
        notes.append(
            f"the form promises more than there is: reading every chip each period detects with "
            f"{run.census_detection:.4g} only"
        )
    elif per_period > run.chips:
        notes.append("more draws than chips: with replacement; inspecting every chip each period is enough")
    return tuple(notes)
