"""The chip plan in every form and against every way round it that Shavit names; the worst of them is the plan.

| form | what it is |
|---|---|
| exact | Eq. 1 as printed |
| paper | the linear form behind Table 1 |
| without-replacement | s different chips each period: P(miss) = E[C(C-K, s) / C(C, s)], K ~ Binomial(c, p_w); where c
  is no whole number, its last chip runs for that part of each period |
| persistent | logs are kept, and read also at the first draw after the run's end: R = ceil(T / T_m) draws miss with
  prod over r = 1..R of (1 - b (1 - e^(-f min(r T_m, T))))^s |
| stretched | fewer chips for k times as long (appendix C.1): P(miss) = (1 - b p_w / k)^(k s) |
| spread | more chips for less time t (appendix C.2, Theorem 1): share b T / t, p_w = 1 - e^(-f t) |
| relayed | m legs, each on chips of its own: share m b a period of m legs, p_w of a leg's time |
| colluding | Provers that pool their chips are one Prover with all of them, who may stretch too |

As k grows the stretched form tends to the linear one, so Table 1's rounding up is what stretching forces.

No form promises more than a census gives (``ChipRun.census_detection``); a confidence above it is refused. For s
different chips a period, however the run is laid out: with u_i chip-days on chip i in a period, ln P(miss) is at most
the sum of ln(1 - (s/C)(1 - e^(-f u_i))), each convex in u_i and 0 at 0, so P(miss) <= (1 - (s/C) p_w)^(H / (a T_m)).
That is at most the stretched form's value and, at s = C, the census. So a form that asks for more than C draws with
replacement is answered by the C chips. Only ``exact`` and ``paper`` print the paper's numbers as they are.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal, get_args

from weighbridge.errors import InputError
from weighbridge.planning.chip_run import ChipRun, check_reachable, log_missed
from weighbridge.planning.chips import ChipPlan, plan_of
from weighbridge.planning.imperfect import imperfect_log_miss
from weighbridge.statistics import hypergeometric_log_miss
from weighbridge.units import check_count, check_quantity

__all__ = [
    "AnyForm",
    "ChipForms",
    "every_form",
    "in_form",
    "persistent_detection",
    "plain_detection",
    "spread_detection",
    "stretched_detection",
    "without_replacement_detection",
]

AnyForm = Literal["exact", "paper", "without-replacement", "persistent", "stretched", "spread", "relayed", "colluding"]
# Where figures tie, an adversary says more than a formula.
_ORDER: Final[tuple[AnyForm, ...]] = (
    "colluding", "stretched", "without-replacement", "persistent", "spread", "relayed", "exact", "paper",
)  # fmt: skip
_PRINTED: Final = ("exact", "paper")  # as the paper prints them, whatever a census gives
_CERTAIN: Final = "every chip drawn would incriminate a run that is not stretched"
_MOST_DRAWS: Final = 20_000
_FULL: Final = 40.0  # e^-40 is nothing beside 1
_CHOICES: Final = 33  # lengths and numbers of legs that the worst case is looked for among


@dataclass(frozen=True, kw_only=True)
class ChipForms:
    """The plan in every form.

    Attributes:
        worst: the largest sample of all forms, at most a census: the plan that holds against every Prover considered.
        plans: each form's plan.
        not_counted: forms that were not counted, each with the reason.
    """

    worst: ChipPlan
    plans: Mapping[str, ChipPlan]
    not_counted: Mapping[str, str]


def every_form(
    run: ChipRun, *, confidence: float | Fraction, stretch: float | None = None, pooled: int | None = None
) -> ChipForms:
    """Returns the plan in every form, and the worst of them.

    Args:
        run: the run to be caught.
        confidence: p, wanted probability of detection.
        stretch: largest factor k by which a run may be stretched; without limit if not given.
        pooled: chips of all Provers that may collude, those of ``run`` included.

    Raises:
        InputError: if a form has no answer: the plan would hold against some Provers only.
    """
    missed = log_missed(confidence)
    check_reachable(run, missed=missed)
    plans: dict[str, ChipPlan] = {}
    not_counted: dict[str, str] = {}
    for form in get_args(AnyForm):
        if form == "colluding" and pooled is None:
            not_counted[form] = "the chips of all Provers that may collude were not given"
            continue
        plan = _in_form(form, run, missed=missed, stretch=stretch, pooled=pooled)
        if plan is None:
            not_counted[form] = f"{_CERTAIN}, so it asks for any draw at all"
        else:
            plans[form] = plan
    # Eq. 1 and the linear form may ask for more draws than there are chips: the plan does not.
    held = dict(plans)
    for form in _PRINTED:
        if form in plans and (asked := plans[form].samples_per_period) > run.chips:
            held[form] = plan_of(run, form=form, per_period=float(run.chips), missed=missed, notes=_census(asked))
    worst = max(_ORDER, key=lambda form: held[form].samples_per_period if form in held else -1.0)
    return ChipForms(worst=held[worst], plans=plans, not_counted=not_counted)


def in_form(
    form: AnyForm,
    run: ChipRun,
    *,
    confidence: float | Fraction,
    stretch: float | None = None,
    pooled: int | None = None,
) -> ChipPlan:
    """Returns the plan in one form.

    Raises:
        InputError: if the form is not known, the run impossible, or no sample is enough.
    """
    plan = _in_form(form, run, missed=log_missed(confidence), stretch=stretch, pooled=pooled)
    if plan is None:
        raise InputError(
            f"{_CERTAIN}, so the form {form} has no value",
            field="rate",
            mend="one chip per period is enough for a run that is not stretched; form stretched covers both",
        )
    return plan


def _in_form(
    form: AnyForm, run: ChipRun, *, missed: float, stretch: float | None, pooled: int | None
) -> ChipPlan | None:
    """Returns the plan in one form; none where any draw at all would be enough."""
    notes: tuple[str, ...] = ()
    if form == "colluding":
        if pooled is None:
            raise InputError("is needed", field="pooled", mend="give the chips of all Provers that may collude")
        if check_count(pooled, name="pooled", least=1) < run.chips:
            raise InputError(
                f"{pooled:,} is fewer than the Prover's own {run.chips:,} chips",
                field="pooled",
                mend="count the Prover's own chips too",
            )
        run = replace(run, chips=pooled)
        notes = (f"drawn among all {pooled:,} chips of the Provers that may collude",)
    if stretch is not None and check_quantity(stretch, name="stretch") < 1:
        raise InputError(f"{stretch:g} is below 1", field="stretch", mend="2 is a run twice as long")
    forms: dict[str, Callable[[ChipRun, float], float]] = {
        "exact": _equation_1,
        "paper": _linear,
        "without-replacement": _without_replacement,
        "persistent": _persistent,
        "stretched": lambda run, missed: _stretched(run, missed, stretch),
        "spread": _spread,
        "relayed": _relayed,
        "colluding": lambda run, missed: _stretched(run, missed, stretch),
    }
    if form not in forms:
        raise InputError(f"{form!r} is not known", field="form", mend=f"choose one of {', '.join(forms)}")
    if form not in _PRINTED:
        check_reachable(run, missed=missed)
    per_period = forms[form](run, missed)
    if per_period == 0:
        return None
    if form not in _PRINTED and per_period > run.chips:
        notes += _census(per_period)
        per_period = float(run.chips)
    return plan_of(run, form=form, per_period=per_period, missed=missed, notes=notes)


def _census(asked: float) -> tuple[str, ...]:
    return (f"every chip each period: a census; the form asks for {asked:,.6g} draws with replacement",)


def plain_detection(run: ChipRun, *, samples: float, periods: float) -> float:
    """Probability of detection of Eq. 1's model over ``periods`` draws: 1 - (1 - b p_w)^(s periods)."""
    return _detected(samples * periods, _log_miss(run, run.share * run.seen))


def persistent_detection(run: ChipRun, *, samples: float, periods: int) -> float:
    """Probability of detection if logs are kept: 1 - prod over r = 1..R of (1 - b (1 - e^(-f r T_m)))^s.

    ``periods`` is R: with ceil(T / T_m) the last draw may come after the run's end, with floor(T / T_m) all come
    before it.
    """
    return _detected(samples, _persistent_log_miss(run, check_count(periods, name="periods", least=1)))


def without_replacement_detection(run: ChipRun, *, samples: int) -> float:
    """Probability that one draw of ``samples`` different chips catches the run."""
    return -math.expm1(_different_log_miss(run, samples))


def stretched_detection(run: ChipRun, *, samples: float, stretch: float) -> float:
    """Probability of detection over a run's whole length if it takes ``stretch`` times as long on fewer chips.

    1 - (1 - b p_w / k)^(k s T / T_m); an infinite stretch gives 1 - e^(-b p_w s T / T_m).
    """
    return _detected(samples * run.periods, _stretched_log_miss(run, stretch))


def spread_detection(run: ChipRun, *, samples: float, days: float) -> float:
    """Probability that one draw catches the run if it takes only ``days`` on more chips (Theorem 1).

    Raises:
        InputError: if there are not that many chips.
    """
    return _detected(samples, _spread_log_miss(run, check_quantity(days, name="days")))


def _detected(samples: float, log_miss: float) -> float:
    return 0.0 if samples == 0 else -math.expm1(samples * log_miss)


def _log_miss(run: ChipRun, chance: float) -> float:
    if chance == 0:
        raise InputError("the run is too small against the fleet to compute with", field="flop")
    return math.log1p(-chance) if chance < 1 else -math.inf


def _persistent_log_miss(run: ChipRun, periods: int) -> float:
    if periods > _MOST_DRAWS:
        raise InputError(
            f"{periods:.3g} draws during one run are too many to add up", field="period", mend="draw less often"
        )
    share = run.share
    # Once logs are full of the run, later draws see no more; all snapshots are there to double precision.
    full = min(periods, math.ceil(_FULL / (run.rate * run.period)))
    total = math.fsum(_log_miss(run, share * run.seen_after(min(r * run.period, run.days))) for r in range(1, full + 1))
    if periods == full:
        return total
    return total + (periods - full) * _log_miss(run, share * run.seen_after(run.days))


def _equation_1(run: ChipRun, missed: float) -> float:
    return missed / _log_miss(run, run.share * run.seen) / run.periods


def _persistent(run: ChipRun, missed: float) -> float:
    # A log that holds only some days of the run keeps nothing for later draws.
    return missed / _persistent_log_miss(run, run.draws) if run.log_days is None else _equation_1(run, missed)


def _linear(run: ChipRun, missed: float) -> float:
    # No value where Eq. 1 has none.
    return -missed / (run.share * run.seen) / run.periods if _equation_1(run, missed) > 0 else 0.0


def _without_replacement(run: ChipRun, missed: float) -> float:
    """Returns the smallest whole number of different chips that is enough over T / T_m draws."""
    wanted = missed / run.periods
    low, high = 0, run.chips
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _different_log_miss(run, middle) <= wanted else (middle, high)
    return float(high)


def _different_log_miss(run: ChipRun, samples: int) -> float:
    # Which of the run's chips hold a snapshot and which are drawn may be decided in either order.
    whole = math.floor(run.exact_share * run.chips)
    part = float(run.exact_share * run.chips - whole)
    if part == 0:
        return _met_log_miss(run.chips, whole, samples, seen=run.seen)
    # The last chip runs for a part of each period. It is drawn with the rest, or it is not.
    drawn, seen = samples / run.chips, run.seen_after(part * run.log_window)
    missed_last = -math.inf if drawn * (1 - seen) == 0 else math.log(drawn * (1 - seen))
    with_last = missed_last + _met_log_miss(run.chips - 1, whole, samples - 1, seen=run.seen) if samples else -math.inf
    if samples == run.chips:
        return with_last
    without = math.log1p(-drawn) + _met_log_miss(run.chips - 1, whole, samples, seen=run.seen)
    high, low = max(with_last, without), min(with_last, without)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _met_log_miss(chips: int, involved: int, samples: int, *, seen: float) -> float:
    if involved == 0 or samples == 0:
        return 0.0
    if seen == 1:
        return hypergeometric_log_miss(chips, involved, samples)
    return imperfect_log_miss(chips, defective=involved, drawn=samples, seen=seen)


def _stretched(run: ChipRun, missed: float, stretch: float | None) -> float:
    if stretch is None:
        return -missed / (run.share * run.seen) / run.periods
    return missed / _stretched_log_miss(run, stretch) / run.periods


def _stretched_log_miss(run: ChipRun, stretch: float) -> float:
    chance = run.share * run.seen
    return -chance if stretch == math.inf else stretch * _log_miss(run, chance / stretch)


def _spread(run: ChipRun, missed: float) -> float:
    # The Prover's worst for us, looked for rather than quoted from the theorem: from all chips at once to T.
    shortest = run.share * run.days
    lengths = [shortest * (run.days / shortest) ** (i / (_CHOICES - 1)) for i in range(1, _CHOICES - 1)]
    return max(missed / _spread_log_miss(run, days) for days in [*lengths, run.days])


def _spread_log_miss(run: ChipRun, days: float) -> float:
    share = run.share * run.days / days
    if share > 1:
        raise InputError(f"in {days:g} days the run needs {share:.4g} times the chips", field="days")
    seen = run.seen_after(min(days, run.log_window))
    return max(1.0, days / run.period) * _log_miss(run, share * seen)


def _relayed(run: ChipRun, missed: float) -> float:
    # Legs within one period: more would be the same again in the next.
    most = min(_CHOICES, math.floor(1 / run.share))
    span = min(run.period, run.days)
    return max(
        missed
        / (max(1.0, run.periods) * _log_miss(run, legs * run.share * run.seen_after(min(span / legs, run.log_window))))
        for legs in range(1, most + 1)
    )
