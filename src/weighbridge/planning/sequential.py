"""Plans that stop early: snapshots are audited one after another, or in groups, until the question is settled.

The question is whether the share of unexplained snapshots is p0 (losses that honest operators have) or p1 (what a
hidden run would leave). Wald's sequential probability ratio test (1945) stops when the likelihood ratio leaves
(beta / (1 - alpha), (1 - beta) / alpha); the group-sequential plan looks a few times and spends alpha as it goes (Lan
and DeMets 1983), and beta too if it may accept early (Pampallona, Tsiatis and Kim 2001). Their error rates and expected
lengths are computed here exactly, by walking the distribution of the count from draw to draw: Wald's bounds are
approximations, and truncation changes them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Final, Literal, get_args

from weighbridge.errors import InputError
from weighbridge.planning.stop_rule import Look, SequentialPlan, count_after, operating_point
from weighbridge.units import check_count, check_fraction

__all__ = ["Spending", "fixed_plan", "group_sequential", "never_accepting", "spent", "wald"]

Spending = Literal["obrien-fleming", "pocock", "linear"]
"""How alpha is spent with the share t of draws made: 2 - 2 Phi(z / sqrt t), alpha ln(1 + (e - 1) t), or alpha t."""

_MOST_DRAWS: Final = 200_000
_MOST_LOOKS: Final = 200
_LONGER: Final = 3  # a truncated test runs to this multiple of the fixed sample, unless told otherwise


def wald(
    honest: float,
    *,
    hidden: float,
    alpha: float | Fraction = 0.05,
    beta: float | Fraction = 0.05,
    most_draws: int | None = None,
) -> SequentialPlan:
    """Returns Wald's sequential probability ratio test, truncated.

    Args:
        honest: p0, in [0, 1); at 0 the first unexplained snapshot raises the alarm.
        hidden: p1, above p0.
        alpha: chance of a false alarm at p0.
        beta: chance of a miss at p1.
        most_draws: where it is cut off, deciding for the likelier share; three times the fixed sample if not given.

    Raises:
        InputError: if the shares or errors are meaningless.
    """
    a, b = _errors(honest, hidden, alpha, beta)
    longest = _LONGER * fixed_plan(honest, hidden=hidden, alpha=alpha, beta=beta).most_draws
    longest = longest if most_draws is None else check_count(most_draws, name="most-draws", least=1)
    if longest > _MOST_DRAWS:
        raise InputError(
            f"{longest:,} draws are too many to compute with", field="hidden", mend="look for a larger share"
        )
    # With no honest losses at all there is no false alarm to share the error with.
    lower, upper = math.log(b if honest == 0 else b / (1 - a)), math.log((1 - b) / a)
    clean = math.log1p(-hidden) - math.log1p(-honest)
    bad = math.inf if honest == 0 else math.log(hidden / honest)
    looks = []
    for draws in range(1, longest + 1):
        # The ratio after k unexplained of n is k (bad - clean) + n clean, in logarithms; the cut decides by its sign.
        last = draws == longest
        if honest == 0:
            accept = 0 if last or draws * clean <= lower else None
            alarm: int | None = 1
        else:
            accept_at = math.floor(((0.0 if last else lower) - draws * clean) / (bad - clean) + 1e-12)
            alarm_at = accept_at + 1 if last else math.ceil((upper - draws * clean) / (bad - clean) - 1e-12)
            accept = min(accept_at, draws) if accept_at >= 0 else None
            alarm = max(alarm_at, 0) if alarm_at <= draws else None
        looks.append(Look(draws=draws, accept=accept, alarm=alarm))
        if accept is not None and alarm is not None and alarm <= accept + 1:
            break
    return SequentialPlan(kind="wald", honest=honest, hidden=hidden, alpha=a, beta=b, looks=tuple(looks))


def group_sequential(
    honest: float,
    *,
    hidden: float,
    looks: int | Sequence[int],
    alpha: float | Fraction = 0.05,
    beta: float | Fraction = 0.05,
    spending: Spending = "obrien-fleming",
    beta_spending: Spending | None = None,
) -> SequentialPlan:
    """Returns a plan that looks a few times and raises the alarm as soon as a look's bound is reached.

    At each look the alarm is the smallest count whose chance at p0, with those of the looks before, stays within the
    alpha spent so far: exact, so never above alpha. Acceptance is the largest count whose chance at p1, with those of
    the looks before, stays within the beta spent so far. It is not binding: alarms are set as if nobody stopped to
    accept, so an inspector who goes on nevertheless keeps alpha (:func:`never_accepting`); whoever stops has less.

    Args:
        honest: p0, in [0, 1).
        hidden: p1, above p0.
        looks: how many, evenly over the shortest length whose exact chance of a miss is at most ``beta``, looked for
            in steps of a hundredth; or the draws of each, whatever their chance of a miss.
        alpha: chance of a false alarm at p0.
        beta: chance of a miss at p1.
        spending: how alpha is spent.
        beta_spending: how beta is spent; if not given, it accepts at the last look only.

    Raises:
        InputError: if the arguments are meaningless.
    """
    a, b = _errors(honest, hidden, alpha, beta)
    for name, one in (("spending", spending), ("beta-spending", beta_spending)):
        if one not in (*get_args(Spending), None) or (one is None and name == "spending"):
            raise InputError(f"{one!r} is not known", field=name, mend=f"choose one of {', '.join(get_args(Spending))}")

    def grouped(ends: Sequence[int]) -> SequentialPlan:
        return _grouped(honest, hidden, a, b, ends, spending, beta_spending)

    if (looks if isinstance(looks, int) else len(looks)) > _MOST_LOOKS:
        raise InputError(f"are more than {_MOST_LOOKS}", field="looks", mend="look less often, or take sequential wald")
    if not isinstance(looks, int):
        return grouped([check_count(n, name="looks", least=1) for n in looks])
    number = check_count(looks, name="looks", least=1)
    least = max(number, fixed_plan(honest, hidden=hidden, alpha=alpha, beta=beta).most_draws)
    # Counts are whole, so the miss does not fall evenly with the length: step up until it is small enough.
    length = least
    for _ in range(1_000):
        ends = [math.ceil(length * (i + 1) / number) for i in range(number)]
        plan = grouped(ends)
        if operating_point(plan, share=hidden).accept <= b:
            return plan
        length += max(1, least // 100)
    raise InputError(
        "no length was found that is enough", field="looks", mend="look less often, or allow larger errors"
    )


def fixed_plan(
    honest: float, *, hidden: float, alpha: float | Fraction = 0.05, beta: float | Fraction = 0.05
) -> SequentialPlan:
    """Returns the smallest plan that looks once: n draws, alarm above c unexplained, both errors met exactly."""
    from scipy.special import bdtr, bdtrc

    a, b = _errors(honest, hidden, alpha, beta)
    count = 0
    while True:
        low, high = count, count + 1
        while bdtr(count, high, hidden) > b:
            low, high = high, 2 * high
            if high > _MOST_DRAWS:
                raise InputError(
                    f"more than {_MOST_DRAWS:,} draws would be needed", field="hidden", mend="look for a larger share"
                )
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if bdtr(count, middle, hidden) <= b else (middle, high)
        if bdtrc(count, high, honest) <= a:
            look = Look(draws=high, accept=count, alarm=count + 1)
            return SequentialPlan(kind="fixed", honest=honest, hidden=hidden, alpha=a, beta=b, looks=(look,))
        count += 1


def spent(share: float, *, alpha: float, spending: Spending) -> float:
    """Alpha spent once a share of the draws is made (Lan and DeMets 1983)."""
    from scipy.special import ndtr, ndtri

    if not 0 < share <= 1:
        raise InputError(f"{share} does not lie in (0, 1]", field="share")
    if spending == "obrien-fleming":
        return float(2 * ndtr(ndtri(alpha / 2) / math.sqrt(share)))
    return alpha * math.log1p((math.e - 1) * share) if spending == "pocock" else alpha * share


def never_accepting(plan: SequentialPlan) -> SequentialPlan:
    """Returns the same plan for an inspector who goes on to the last look unless there is an alarm."""
    *early, last = plan.looks
    return replace(plan, looks=(*(replace(look, accept=None) for look in early), last))


def _grouped(
    honest: float,
    hidden: float,
    alpha: float,
    beta: float,
    ends: Sequence[int],
    spending: Spending,
    beta_spending: Spending | None,
) -> SequentialPlan:
    import numpy as np

    if any(later <= earlier for earlier, later in pairwise(ends)) or not ends:
        raise InputError("must rise from look to look", field="looks", mend="such as 50,100,200")
    if ends[-1] > _MOST_DRAWS:
        raise InputError(
            f"{ends[-1]:,} draws are too many to compute with", field="looks", mend=f"give {_MOST_DRAWS:,} at most"
        )
    # Under p0 only alarms stop: acceptance is not binding. Under p1 both do.
    counts, missed = np.ones(1), np.ones(1)
    before, used, let_go = 0, 0.0, 0.0
    looks: list[Look] = []
    for end in ends:
        counts, missed = count_after(counts, end - before, honest), count_after(missed, end - before, hidden)
        before, share = end, end / ends[-1]
        allowed = spent(share, alpha=alpha, spending=spending) - used
        tail = np.cumsum(counts[::-1])[::-1]  # chance of at least so many, and no alarm before
        over = np.flatnonzero(tail <= allowed)
        # Counts that no honest operator reaches may raise the alarm for free.
        bound = int(over[0]) if len(over) else len(counts)
        used += float(tail[bound]) if bound < len(counts) else 0.0
        counts, missed = counts[:bound], missed[:bound]
        accept = bound - 1 if end == ends[-1] else None
        if beta_spending is not None and accept is None:
            heads = np.cumsum(missed)
            within = heads <= spent(share, alpha=beta, spending=beta_spending) - let_go
            few = min(int(np.count_nonzero(within)), bound) - 1
            if few >= 0:
                accept, let_go = few, let_go + float(heads[few])
                missed[: few + 1] = 0.0
        looks.append(Look(draws=end, accept=accept, alarm=bound))
        if accept == bound - 1:
            break
    return SequentialPlan(kind="group", honest=honest, hidden=hidden, alpha=alpha, beta=beta, looks=tuple(looks))


def _errors(honest: float, hidden: float, alpha: float | Fraction, beta: float | Fraction) -> tuple[float, float]:
    for name, share in (("honest", honest), ("hidden", hidden)):
        if not 0 <= share < 1:
            raise InputError(f"{share} does not lie in [0, 1)", field=name, mend="for 5 % write 0.05")
    if hidden <= honest:
        raise InputError(
            f"{hidden:g} is not above {honest:g}", field="hidden", mend="give a larger share than --honest"
        )
    a, b = float(check_fraction(alpha, name="alpha")), float(check_fraction(beta, name="beta"))
    if a + b >= 1:
        raise InputError("and beta together reach 1: a coin would do", field="alpha")
    return a, b
