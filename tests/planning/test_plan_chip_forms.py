"""Shavit, arXiv 2303.11341: the variants of Eq. 1, appendix C's evasions, and the paper's slips."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.chip_forms import (
    every_form,
    in_form,
    persistent_detection,
    plain_detection,
    spread_detection,
    stretched_detection,
    without_replacement_detection,
)
from weighbridge.planning.chip_run import ChipRun

A_DAY = 1e15 * 86_400


def run(**change: Any) -> ChipRun:
    """Chinchilla on 100,000 chips."""
    given: dict[str, Any] = {
        "chips": 10**5, "flop": 5.76e23, "chip_flops": 1e15, "days": 30.0, "period": 30.0, "rate": 0.1,
    }  # fmt: skip
    return ChipRun(**(given | change))


@pytest.mark.parametrize(("flop", "snapshots"), [(3.14e23, 363.4), (5.76e23, 666.7), (2.56e24, 2_963.0)])
def test_expected_snapshots_of_a_run(flop: float, snapshots: float) -> None:
    assert run().seen == pytest.approx(0.950213, abs=5e-7)
    for chips in (10**5, 10**7):
        assert run(flop=flop, chips=chips).incriminating_snapshots == pytest.approx(snapshots, rel=2e-4)


@pytest.mark.parametrize(
    ("utilisation", "yearly"), [(1.0, 13_253.2), (0.5, 6_619.58), (0.4, 5_292.86), (0.3, 3_966.13)]
)
def test_utilisation(utilisation: float, yearly: float) -> None:
    plan = in_form("exact", run(utilisation=utilisation), confidence=0.9)
    assert plan.samples_per_year == pytest.approx(yearly, rel=5e-6)


@pytest.mark.parametrize(("periods", "kept", "plain"), [(12, 0.196068, 0.188024), (13, 0.210620, 0.201995)])
def test_persistent_log(periods: int, kept: float, plain: float) -> None:
    year = run(days=365.0)
    assert year.share == pytest.approx(1.82648e-4, rel=5e-6)
    assert persistent_detection(year, samples=100, periods=periods) == pytest.approx(kept, abs=5e-7)
    assert plain_detection(year, samples=100, periods=periods) == pytest.approx(plain, abs=5e-7)


def test_persistent_plan_meets_its_confidence() -> None:
    year = run(days=365.0)
    plan = in_form("persistent", year, confidence=0.9)
    assert year.draws == 13
    assert persistent_detection(year, samples=plan.samples_per_period, periods=13) == pytest.approx(0.9)
    assert run().draws == 1


@pytest.mark.parametrize(
    ("samples", "different", "again"),
    [(500, 0.654629, 0.652471), (1_000, 0.881325, 0.879224), (1_090, 0.902137, 0.900147)],
)
def test_without_replacement(samples: int, different: float, again: float) -> None:
    assert run().chips_in_run == 223
    assert without_replacement_detection(run(), samples=samples) == pytest.approx(different, abs=5e-7)
    assert plain_detection(run(), samples=samples, periods=1) == pytest.approx(again, abs=5e-7)


def test_without_replacement_by_simulation() -> None:
    # 200,000 histories: one standard error is 0.0011.
    generator = np.random.default_rng(5)
    marked = generator.binomial(223, run().seen, size=200_000)
    met = generator.hypergeometric(marked, 100_000 - marked, 500)
    assert float(np.mean(met > 0)) == pytest.approx(0.654629, abs=0.005)


def test_without_replacement_is_the_smallest_whole_number() -> None:
    plan = in_form("without-replacement", run(), confidence=0.9)
    samples = int(plan.samples_per_period)
    assert samples == plan.samples_per_period
    assert without_replacement_detection(run(), samples=samples) >= 0.9
    assert without_replacement_detection(run(), samples=samples - 1) < 0.9


@pytest.mark.parametrize(
    ("tampered", "tamper_seen", "detected"),
    [(0.0, 1.0, 0.879224), (1.0, 1.0, 0.891900), (1.0, 0.9, 0.864935), (0.5, 0.5, 0.800641), (1.0, 0.5, 0.671010)],
)
def test_tampering(tampered: float, tamper_seen: float, detected: float) -> None:
    found = plain_detection(run(tampered=tampered, tamper_seen=tamper_seen), samples=1_000, periods=1)
    assert found == pytest.approx(detected, abs=5e-7)


def test_tampering_that_nobody_can_see_hides_everything() -> None:
    for hidden in (run(tampered=1.0, tamper_seen=0.0), run(tamper_seen=0.0)):
        with pytest.raises(InputError, match="no sample is enough"):
            plain_detection(hidden, samples=1_000, periods=1)


def test_a_prover_tampers_where_the_check_is_worse_than_the_log() -> None:
    logged = run().seen
    assert run(tamper_seen=logged + 0.01).seen == logged
    assert run(tamper_seen=logged - 0.01).seen == logged - 0.01


@pytest.mark.parametrize(
    ("gap", "days", "seen"), [(30, 7, 0.2081), (30, 30, 0.6321), (30, 90, 0.9502), (7, 30, 0.9862)]
)
def test_short_use(gap: float, days: float, seen: float) -> None:
    assert run(period=365.0, rate=1 / gap, log_days=days).seen == pytest.approx(seen, abs=5e-5)


STRETCHED = [
    (0.9, 0.01, 0.9994, 0.9988, 0.9987, 0.9987), (0.9, 0.1, 0.9931, 0.9876, 0.9863, 0.9862),
    (0.9, 0.2, 0.9848, 0.9729, 0.9703, 0.9700), (0.9, 0.4, 0.9625, 0.9347, 0.9287, 0.9280),
    (0.9, 0.6, 0.9261, 0.8764, 0.8662, 0.8651), (0.9, 0.8, 0.8535, 0.7741, 0.7590, 0.7574),
    (0.9, 0.9, 0.7750, 0.6784, 0.6612, 0.6594), (0.5, 0.2, 0.9607, 0.9322, 0.9261, 0.9255),
    (0.99, 0.2, 0.9970, 0.9945, 0.9939, 0.9938),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "share", "twice", "ten", "hundred", "endless"), STRETCHED)
def test_stretching(wanted: float, share: float, twice: float, ten: float, hundred: float, endless: float) -> None:
    # Many snapshots: p_w is 1 to fifteen digits, as in appendix C.1.
    often = run(flop=share * A_DAY * 30 * 10**5, rate=2.0)
    samples = math.log(1 - wanted) / math.log(1 - share)
    for stretch, ratio in ((2, twice), (10, ten), (100, hundred), (math.inf, endless)):
        found = stretched_detection(often, samples=samples, stretch=stretch) / wanted
        assert found == pytest.approx(ratio, abs=5e-5)
    # The paper's "under 5 %" holds for b up to 0.2 at p = 0.9, not beyond.
    if wanted == 0.9:
        assert (hundred > 0.95) == (share <= 0.2)


@pytest.mark.parametrize("stretch", [None, 1.0, 2.0, 100.0])
@pytest.mark.parametrize("share", [0.01, 0.4, 0.9])
def test_a_plan_for_the_stretched_run_catches_it(share: float, stretch: float | None) -> None:
    big = run(flop=share * A_DAY * 30 * 10**5)
    plan = in_form("stretched", big, confidence=0.9, stretch=stretch)
    for factor in (1.0, 2.0, 10.0, 100.0, math.inf):
        found = stretched_detection(big, samples=plan.samples_per_period, stretch=factor)
        if factor <= (stretch or math.inf):
            assert found >= 0.9 - 1e-12
        else:
            assert found < 0.9
    if stretch is None:
        assert plan.samples_per_period == in_form("paper", big, confidence=0.9).samples_per_period


@pytest.mark.parametrize(
    ("days", "chips", "detected"),
    [(30, 222.2, 0.879224), (15, 444.4, 0.968530), (7, 952.4, 0.991819), (1, 6_666.7, 0.998278)],
)  # fmt: skip
def test_theorem_1(days: float, chips: float, detected: float) -> None:
    assert run().share * 10**5 * 30 / days == pytest.approx(chips, abs=0.05)
    assert spread_detection(run(), samples=1_000, days=days) == pytest.approx(detected, abs=5e-7)


def test_spreading_over_more_chips_than_there_are_is_impossible() -> None:
    with pytest.raises(InputError, match="times the chips"):
        spread_detection(run(), samples=1, days=0.05)


RUNS = st.builds(
    run, chips=st.integers(100, 10**6), flop=st.floats(1e22, 1e24), days=st.sampled_from([30.0, 45.0, 90.0, 365.0]),
    rate=st.floats(0.01, 1.0), tamper_seen=st.floats(0.3, 1.0),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(RUNS, st.sampled_from([0.5, 0.9]))
def test_the_worst_case_holds_against_all(which: ChipRun, confidence: float) -> None:
    try:
        forms = every_form(which, confidence=confidence)
    except InputError:
        return
    worst = forms.worst.samples_per_period
    assert worst == max(plan.samples_per_period for plan in forms.plans.values())
    assert plain_detection(which, samples=worst, periods=which.periods) >= confidence - 1e-9
    assert persistent_detection(which, samples=worst, periods=which.draws) >= confidence - 1e-9
    for stretch in (1.0, 3.0, 1e6):
        assert stretched_detection(which, samples=worst, stretch=stretch) >= confidence - 1e-9
    # Relays and spreading never ask for more than the run without them (Theorem 1).
    for form in ("spread", "relayed"):
        assert forms.plans[form].samples_per_period <= forms.plans["exact"].samples_per_period * (1 + 1e-9)


@settings(max_examples=80, deadline=None)
@given(
    chips=st.integers(1, 10**9), flop=st.floats(1, 1e30), chip_flops=st.floats(1, 1e20),
    days=st.floats(1e-3, 1e4), period=st.floats(1e-3, 1e4), rate=st.floats(1e-6, 1e3),
    tampered=st.none() | st.floats(0, 1), tamper_seen=st.floats(0, 1), log_days=st.none() | st.floats(1e-3, 1e3),
    stretch=st.none() | st.floats(1, 100), confidence=st.floats(1e-6, 0.999999),
)  # fmt: skip
def test_a_plan_or_one_clear_error(stretch: float | None, confidence: float, **given: Any) -> None:
    try:
        forms = every_form(ChipRun(**given), confidence=confidence, stretch=stretch, pooled=10**9)
    except InputError:
        return
    assert all(0 < plan.samples_per_period <= forms.worst.samples_per_period for plan in forms.plans.values())


def test_draws_by_the_minute_are_refused() -> None:
    with pytest.raises(InputError, match="too many to add up"):
        in_form("persistent", run(days=365.0, period=0.001), confidence=0.9)


def test_full_logs_see_no_more() -> None:
    often = run(days=3_000.0, period=1.0, rate=0.5)
    by_hand = sum(math.log1p(-often.share * -math.expm1(-0.5 * r)) for r in range(1, 3_001))
    assert persistent_detection(often, samples=7, periods=3_000) == pytest.approx(-math.expm1(7 * by_hand), rel=1e-12)


def test_relays_never_help() -> None:
    # A relay of m legs inside one draw is the run on m times the chips for an m-th of the time.
    for legs in (1, 2, 5, 30):
        assert spread_detection(run(), samples=1_000, days=30 / legs) >= 0.879224 - 5e-7


def test_provers_that_collude_are_one() -> None:
    forms = every_form(run(), confidence=0.9, pooled=10**6)
    assert forms.worst.form == "colluding"
    alone = every_form(run(chips=10**6), confidence=0.9)
    assert forms.worst.samples_per_year == alone.worst.samples_per_year
    assert forms.not_counted == {}
    with pytest.raises(InputError, match="pooled"):
        every_form(run(), confidence=0.9, pooled=10)


def test_no_sample_is_refused_rather_than_promised() -> None:
    tiny = run(chips=10, flop=2e21)  # one chip, which shows nothing with chance 0.05
    assert tiny.chips_in_run == 1
    with pytest.raises(InputError, match="reading every chip each period would detect with"):
        every_form(tiny, confidence=0.99)
    exact = in_form("exact", tiny, confidence=0.99)
    assert "detects with 0.9502 only" in exact.notes[0]


def test_slips_of_the_paper() -> None:
    # 1. Appendix B's printed 1 - (1 - p_n)^(T / T_m) falls with more periods if p_n is the miss of one period.
    miss = (1 - run().share * run().seen) ** 1_000
    assert plain_detection(run(), samples=1_000, periods=12) == pytest.approx(1 - miss**12)
    assert 1 - (1 - miss) ** 12 != pytest.approx(1 - miss**12, rel=0.1)
    # 3. e^(-f T) inside p_w, as appendix B has it, would ask for fewer chips than Eq. 1's e^(-f T_m).
    year = run(days=365.0)
    assert year.seen == run().seen < year.seen_after(365.0)
    # 4. Lemma 1: d/dg [g (1 - b^(1/g))] = 1 - e^(-x) (1 + x) with x = -ln(b) / g, never negative.
    for share in (0.01, 0.5, 0.99):
        for g in (0.5, 1.0, 7.0):
            step = 1e-6
            slope = ((g + step) * (1 - share ** (1 / (g + step))) - (g - step) * (1 - share ** (1 / (g - step)))) / (
                2 * step
            )
            x = -math.log(share) / g
            assert slope == pytest.approx(1 - math.exp(-x) * (1 + x), rel=1e-4, abs=1e-8)
            assert slope >= 0
    # 8. Eq. 1 counts 12.17 periods for a year; complete ones are 12, draws met 13.
    assert year.periods == pytest.approx(12.17, abs=0.005)
    assert year.draws == 13


@pytest.mark.parametrize(
    "change",
    [
        {"utilisation": 0.0}, {"utilisation": 1.5}, {"log_days": 0.0}, {"tampered": -0.1}, {"tampered": 1.1},
        {"tamper_seen": math.nan}, {"days": math.inf}, {"chips": 0},
    ],
)  # fmt: skip
def test_meaningless_runs_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        run(**change)


def test_meaningless_forms_are_refused() -> None:
    with pytest.raises(InputError, match="choose one of"):
        in_form("both", run(), confidence=0.9)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="stretch"):
        in_form("stretched", run(), confidence=0.9, stretch=0.5)
    with pytest.raises(InputError, match="impossible"):
        every_form(run(chips=100), confidence=0.9)
