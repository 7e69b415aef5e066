"""Sequential plans: exact operating characteristics against paths counted one by one, and against simulation."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.sequential import (
    Spending,
    fixed_plan,
    group_sequential,
    never_accepting,
    spent,
    wald,
)
from weighbridge.planning.stop_rule import Look, SequentialPlan, operating_point


def simulate(plan: SequentialPlan, share: float, *, histories: int, seed: int) -> tuple[float, float]:
    """Returns the share of histories with an alarm, and the mean number of draws."""
    generator = np.random.default_rng(seed)
    counts = np.zeros(histories, dtype=np.int64)
    running = np.ones(histories, dtype=bool)
    alarm = np.zeros(histories, dtype=bool)
    draws = np.zeros(histories)
    before = 0
    for look in plan.looks:
        counts += generator.binomial(look.draws - before, share, size=histories)
        before = look.draws
        hit = running & (counts >= look.alarm) if look.alarm is not None else np.zeros_like(running)
        fine = running & (counts <= look.accept) if look.accept is not None else np.zeros_like(running)
        alarm |= hit
        draws[hit | fine] = look.draws
        running &= ~(hit | fine)
    assert not running.any()
    return float(alarm.mean()), float(draws.mean())


PLANS = [
    wald(0.01, hidden=0.05),
    wald(0.0, hidden=0.05),
    wald(0.1, hidden=0.3, alpha=0.1, beta=0.2),
    wald(0.01, hidden=0.05, most_draws=60),
    group_sequential(0.02, hidden=0.08, looks=4),
    group_sequential(0.02, hidden=0.08, looks=4, spending="pocock"),
    group_sequential(0.0, hidden=0.05, looks=3, spending="linear"),
    group_sequential(0.02, hidden=0.08, looks=5, beta_spending="obrien-fleming"),
    group_sequential(0.05, hidden=0.15, looks=3, beta_spending="pocock", spending="pocock", alpha=0.1, beta=0.2),
    never_accepting(group_sequential(0.02, hidden=0.08, looks=5, beta_spending="linear")),
    fixed_plan(0.02, hidden=0.08),
]


@pytest.mark.parametrize("plan", PLANS, ids=range(len(PLANS)))
def test_computed_and_simulated_agree(plan: SequentialPlan) -> None:
    # 20,000 histories: one standard error of a share is at most 0.0036.
    for share in (plan.honest, (plan.honest + plan.hidden) / 2, plan.hidden):
        point = operating_point(plan, share=share)
        assert point.alarm + point.accept == pytest.approx(1)
        alarm, draws = simulate(plan, share, histories=20_000, seed=17)
        assert alarm == pytest.approx(point.alarm, abs=0.0145)
        assert draws == pytest.approx(point.expected_draws, rel=0.04)


def test_every_path_counted() -> None:
    plan = SequentialPlan(
        kind="wald", honest=0.1, hidden=0.5, alpha=0.1, beta=0.1,
        looks=(Look(draws=2, accept=None, alarm=2), Look(draws=5, accept=0, alarm=3), Look(draws=7, accept=2, alarm=3)),
    )  # fmt: skip
    share, alarm, expected = 0.3, 0.0, 0.0
    for path in product((0, 1), repeat=7):
        chance = math.prod(share if step else 1 - share for step in path)
        for look in plan.looks:
            count = sum(path[: look.draws])
            if look.alarm is not None and count >= look.alarm:
                alarm += chance
            elif look.accept is None or count > look.accept:
                continue
            expected += chance * look.draws
            break
    point = operating_point(plan, share=share)
    assert [point.alarm, point.expected_draws] == pytest.approx([alarm, expected])


def test_wald_keeps_its_errors_and_is_shorter() -> None:
    plan = wald(0.01, hidden=0.05)
    fixed = fixed_plan(0.01, hidden=0.05).most_draws
    honest, hidden = operating_point(plan, share=0.01), operating_point(plan, share=0.05)
    # Wald's bounds promise alpha / (1 - beta) and beta / (1 - alpha), apart from the cut at three times the fixed plan.
    assert honest.alarm <= 0.05 / 0.95
    assert hidden.accept <= 0.05 / 0.95
    assert honest.expected_draws < 0.75 * fixed
    assert hidden.expected_draws < 0.75 * fixed
    points = [operating_point(plan, share=share).alarm for share in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 1.0)]
    assert points == sorted(points)
    assert points[0] == 0
    assert points[-1] == pytest.approx(1)


def test_without_honest_losses_it_is_the_clean_sample() -> None:
    plan = wald(0.0, hidden=0.05)
    assert plan.most_draws == 59 == fixed_plan(0.0, hidden=0.05).most_draws  # 1 - 0.05^(1/59) < 5 %
    assert all(look.alarm == 1 for look in plan.looks)
    assert operating_point(plan, share=0.0).alarm == 0
    assert operating_point(plan, share=0.05).accept == pytest.approx(0.95**59)
    assert operating_point(plan, share=0.05).expected_draws == pytest.approx((1 - 0.95**59) / 0.05)


def test_fixed_plan_is_the_smallest() -> None:
    from scipy.stats import binom

    plan = fixed_plan(0.02, hidden=0.08)
    (look,) = plan.looks
    assert look.accept is not None
    assert binom.sf(look.accept, look.draws, 0.02) <= 0.05
    assert binom.cdf(look.accept, look.draws, 0.08) <= 0.05
    for draws in range(1, look.draws):
        for count in range(draws):
            assert not (binom.sf(count, draws, 0.02) <= 0.05 and binom.cdf(count, draws, 0.08) <= 0.05)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock", "linear"])
def test_groups_spend_no_more_than_alpha(spending: Spending) -> None:
    plan = group_sequential(0.02, hidden=0.08, looks=5, spending=spending)
    used = 0.0
    for i, look in enumerate(plan.looks):
        cut = SequentialPlan(
            kind="group", honest=0.02, hidden=0.08, alpha=0.05, beta=0.05,
            looks=(*plan.looks[:i], Look(draws=look.draws, accept=(look.alarm or 0) - 1, alarm=look.alarm)),
        )  # fmt: skip
        used = operating_point(cut, share=0.02).alarm
        assert used <= spent(look.draws / plan.most_draws, alpha=0.05, spending=spending) + 1e-12
        # One fewer would spend too much: the bound is the smallest there is.
        lower = SequentialPlan(
            kind="group", honest=0.02, hidden=0.08, alpha=0.05, beta=0.05,
            looks=(*plan.looks[:i], Look(draws=look.draws, accept=(look.alarm or 0) - 2, alarm=(look.alarm or 0) - 1)),
        )  # fmt: skip
        assert operating_point(lower, share=0.02).alarm > spent(
            look.draws / plan.most_draws, alpha=0.05, spending=spending
        )
    assert used <= 0.05
    assert operating_point(plan, share=0.08).accept <= 0.05


def paths(plan: SequentialPlan, share: Fraction) -> tuple[list[Fraction], list[Fraction]]:
    """Returns the chances of an alarm and of acceptance by each look, every path of every draw counted."""
    alarm, accept = [Fraction(0)] * len(plan.looks), [Fraction(0)] * len(plan.looks)
    for path in product((0, 1), repeat=plan.most_draws):
        chance = share ** sum(path) * (1 - share) ** (len(path) - sum(path))
        for i, look in enumerate(plan.looks):
            count = sum(path[: look.draws])
            if look.alarm is not None and count >= look.alarm:
                alarm[i:] = [one + chance for one in alarm[i:]]
            elif look.accept is not None and count <= look.accept:
                accept[i:] = [one + chance for one in accept[i:]]
            else:
                continue
            break
    return alarm, accept


SPENDINGS = st.sampled_from(get_args(Spending))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=4, unique=True).map(sorted), st.integers(0, 12),
    st.integers(1, 7), st.floats(0.02, 0.49), st.floats(0.02, 0.49), SPENDINGS, SPENDINGS,
)  # fmt: skip
def test_early_acceptance_against_every_path(
    ends: list[int], low: int, more_hidden: int, alpha: float, beta: float, spending: Spending, beta_spending: Spending
) -> None:
    p0, p1 = Fraction(low, 20), Fraction(low + more_hidden, 20)
    plan = group_sequential(
        float(p0), hidden=float(p1), looks=ends, alpha=alpha, beta=beta, spending=spending, beta_spending=beta_spending
    )
    alarms, accepts = paths(never_accepting(plan), p0)[0], paths(plan, p1)[1]
    for i, look in enumerate(plan.looks):
        made = look.draws / ends[-1]
        assert alarms[i] <= spent(made, alpha=alpha, spending=spending) + 1e-12
        allowed = spent(made, alpha=beta, spending=beta_spending)
        if look is plan.looks[-1]:
            continue
        assert accepts[i] <= allowed + 1e-12
        # One more would be too many: the bound is the largest there is, and lies below the alarm.
        assert look.alarm is not None
        more = -1 if look.accept is None else look.accept
        if more + 2 <= look.alarm:
            bolder = replace(plan, looks=(*plan.looks[:i], replace(look, accept=more + 1)))
            if bolder.most_draws == look.draws:
                assert paths(bolder, p1)[1][i] > allowed - 1e-12
    for share in (p0, p1):
        point = operating_point(plan, share=float(share))
        alarm, accept = paths(plan, share)
        assert [point.alarm, point.accept] == pytest.approx([float(alarm[-1]), float(accept[-1])], abs=1e-12)


def test_early_acceptance_is_shorter_for_the_honest_and_keeps_both_errors() -> None:
    late = group_sequential(0.02, hidden=0.08, looks=5)
    for spending in get_args(Spending):
        early = group_sequential(0.02, hidden=0.08, looks=5, beta_spending=spending)
        honest, hidden = (operating_point(early, share=share) for share in (0.02, 0.08))
        assert honest.expected_draws < 0.85 * operating_point(late, share=0.02).expected_draws
        assert hidden.accept <= 0.05
        # Not binding: who never stops to accept keeps alpha, who does has less.
        assert honest.alarm <= operating_point(never_accepting(early), share=0.02).alarm <= 0.05
    assert [look.accept for look in late.looks[:-1]] == [None] * 4


def test_bounds_that_meet_end_the_plan() -> None:
    plan = group_sequential(0.01, hidden=0.5, looks=[10, 300, 400], beta_spending="linear")
    assert plan.most_draws == 300
    last = plan.looks[-1]
    assert last.accept is not None and last.alarm == last.accept + 1
    point = operating_point(plan, share=0.5)
    assert point.alarm + point.accept == pytest.approx(1)


def test_spending() -> None:
    for spending in ("obrien-fleming", "pocock", "linear"):
        assert spent(1.0, alpha=0.05, spending=spending) == pytest.approx(0.05)
    # Half way, alpha 0.05: 2 - 2 Phi(1.96 / sqrt 0.5) = 0.00557; 0.05 ln(1 + (e - 1) / 2) = 0.0310.
    assert spent(0.5, alpha=0.05, spending="obrien-fleming") == pytest.approx(0.00557, abs=5e-6)
    assert spent(0.5, alpha=0.05, spending="pocock") == pytest.approx(0.0310, abs=5e-5)
    with pytest.raises(InputError):
        spent(0.0, alpha=0.05, spending="linear")


def test_looks_of_ones_own() -> None:
    plan = group_sequential(0.02, hidden=0.08, looks=[50, 150, 300])
    assert [look.draws for look in plan.looks] == [50, 150, 300]
    assert [look.accept for look in plan.looks[:2]] == [None, None]


def test_meaningless_plans_are_refused() -> None:
    for call in (
        lambda: wald(0.05, hidden=0.05), lambda: wald(-0.1, hidden=0.05), lambda: wald(0.0, hidden=1.0),
        lambda: wald(0.1, hidden=0.2, alpha=0.5, beta=0.5), lambda: wald(math.nan, hidden=0.2),
        lambda: wald(0.0, hidden=1e-7), lambda: wald(0.1, hidden=0.2, most_draws=0),
        lambda: group_sequential(0.1, hidden=0.2, looks=[5, 5]), lambda: group_sequential(0.1, hidden=0.2, looks=0),
        lambda: group_sequential(0.1, hidden=0.2, looks=2, spending="none"),  # type: ignore[arg-type]
        lambda: group_sequential(0.1, hidden=0.2, looks=2, beta_spending="none"),  # type: ignore[arg-type]
        lambda: group_sequential(0.1, hidden=0.2, looks=2, spending=None),  # type: ignore[arg-type]
        lambda: group_sequential(0.1, hidden=0.2, looks=[]), lambda: operating_point(PLANS[0], share=1.1),
    ):  # fmt: skip
        with pytest.raises(InputError):
            call()
