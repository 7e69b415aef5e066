"""Shavit, arXiv 2303.11341: Table 1, its print rule, footnote 5, Eq. 1."""

import math
from decimal import ROUND_HALF_EVEN, Context
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.chips import ChipPlan, Form, linear_samples, plan_chips

A_DAY = 1e15 * 86_400
SEEN = -math.expm1(-0.1 * 30)

# H, H/a, chips for one year, and for 1e3, 1e5 and 1e7 chips: b, printed, linear, exact (samples a year).
Cell = tuple[float, str, float, float | None]
TABLE: list[tuple[float, float, int, list[Cell]]] = [
    (3.14e23, 3.634e3, 10, [(0.121142, "243", 243.373, 229.080), (1.21142e-3, "2.43e4", 24_337.3, 24_323.2),
                            (1.21142e-5, "2.43e6", 2_433_726, 2_433_712)]),
    (5.76e23, 6.667e3, 19, [(0.222222, "132", 132.672, 118.111), (2.22222e-3, "1.33e4", 13_267.2, 13_253.2),
                            (2.22222e-5, "1.33e6", 1_326_719, 1_326_705)]),
    (2.56e24, 2.963e4, 82, [(0.987654, "29", 29.8512, 10.0468), (9.87654e-3, "2.98e3", 2_985.12, 2_971.09),
                            (9.87654e-5, "2.99e5", 298_511.7, 298_497.7)]),
    (9.9e24, 1.146e5, 314, [(3.81944, "7", 7.71909, None), (0.0381944, "771", 771.909, 757.815),
                            (3.81944e-4, "7.72e4", 77_190.9, 77_176.9)]),
    (1.27e26, 1.470e6, 4_028, [(48.9969, "-", 0.601724, None), (0.489969, "60", 60.1724, 44.7118),
                               (4.89969e-3, "6.02e3", 6_017.24, 6_003.23)]),
    (1.3e28, 1.505e8, 412_228, [(5_015.43, "-", 0.00588, None), (50.1543, "-", 0.58784, None),
                                (0.501543, "58", 58.7838, 43.2756)]),
]  # fmt: skip
CELLS = [
    (flop, chips, *cell) for flop, _, _, row in TABLE for chips, cell in zip((10**3, 10**5, 10**7), row, strict=True)
]
DAYS_COLUMN = ["3.64e3", "6.67e3", "2.96e4", "1.15e5", "1.47e6", "1.5e8"]
YEAR_COLUMN = ["10", "19", "82", "314", "4.03e3", "4.12e5"]


def plan(flop: float, chips: int, *, form: Form = "exact", chip_flops: float = 1e15) -> ChipPlan:
    return plan_chips(chips, flop=flop, chip_flops=chip_flops, days=30, period=30, rate=0.1, confidence=0.9, form=form)


def printed(whole: int) -> str:
    """The paper's print rule: whole numbers below 1,000, then three significant figures, ties to even."""
    if whole < 1000:
        return str(whole)
    rounded = Context(prec=3, rounding=ROUND_HALF_EVEN).create_decimal(whole)
    return f"{(rounded.scaleb(-rounded.adjusted())).normalize()}e{rounded.adjusted()}"


@pytest.mark.parametrize(("flop", "chips", "share", "print_", "linear", "exact"), CELLS)
def test_table_1(flop: float, chips: int, share: float, print_: str, linear: float, exact: float | None) -> None:
    b = flop / (A_DAY * 30 * chips)
    assert b == pytest.approx(share, rel=5e-6)
    yearly = linear_samples(share=b, snapshot_probability=SEEN, missed=0.1) * 365 / 30
    assert yearly == pytest.approx(linear, rel=5e-6, abs=5e-6)
    assert (printed(math.floor(yearly)) if yearly >= 1 else "-") == print_
    if exact is None:
        for form in ("exact", "paper"):
            with pytest.raises(InputError, match="the run is impossible"):
                plan(flop, chips, form=form)
        return
    assert plan(flop, chips).samples_per_year == pytest.approx(exact, rel=5e-6)
    assert plan(flop, chips, form="paper").samples_per_year == pytest.approx(linear, rel=5e-6)
    assert plan(flop, chips).share == pytest.approx(share, rel=5e-6)
    assert plan(flop, chips).samples_per_year < plan(flop, chips, form="paper").samples_per_year


@pytest.mark.parametrize("row", range(6))
def test_table_1_chip_columns(row: int) -> None:
    flop, chip_days, year_chips, _ = TABLE[row]
    assert flop / A_DAY == pytest.approx(chip_days, rel=4e-4)
    assert math.ceil(flop / (365 * A_DAY)) == year_chips
    assert printed(math.ceil(flop / A_DAY)) == DAYS_COLUMN[row]
    assert printed(math.ceil(flop / (365 * A_DAY))) == YEAR_COLUMN[row]


def test_footnote_5() -> None:
    assert plan(9.9e24, 10**7, chip_flops=3e15).samples_per_year == pytest.approx(231_559, abs=0.5)
    assert plan(9.9e24, 10**7, chip_flops=3e15, form="paper").samples_per_year == pytest.approx(231_573, abs=0.5)
    assert plan(1e25, 10**7, chip_flops=3e15).samples_per_year == pytest.approx(229_243, abs=0.5)


@pytest.mark.parametrize(
    ("utilisation", "yearly"), [(1.0, 13_253.2), (0.5, 6_619.58), (0.4, 5_292.86), (0.3, 3_966.13)]
)
def test_utilisation_scales_the_chip(utilisation: float, yearly: float) -> None:
    assert plan(5.76e23, 10**5, chip_flops=1e15 * utilisation).samples_per_year == pytest.approx(yearly, rel=5e-6)


def test_period_and_year_fit_together() -> None:
    for days, period in ((30.0, 30.0), (365.0, 30.0), (7.0, 30.0), (90.0, 7.0)):
        found = plan_chips(10**5, flop=5.76e23, chip_flops=1e15, days=days, period=period, rate=0.1, confidence=0.9)
        assert found.samples_per_year == pytest.approx(365 * found.samples_per_period / period)
        # Eq. 1 with its factor: s draws in each of T / T_m periods miss with exactly 1 - p.
        miss_one = 1 - found.share * -math.expm1(-0.1 * period)
        assert miss_one ** (found.samples_per_period * days / period) == pytest.approx(0.1)


def test_persistent_run_says_which_periods_it_counts() -> None:
    found = plan_chips(10**5, flop=5.76e23, chip_flops=1e15, days=365, period=30, rate=0.1, confidence=0.9)
    assert found.share == pytest.approx(1.82648e-4, rel=5e-6)
    assert "12.17 periods" in found.notes[0]
    assert plan(5.76e23, 10**5).notes == ()


def test_a_run_that_needs_precisely_all_chips_is_possible() -> None:
    assert plan(2.592e24, 1000).share == 1
    assert plan(2.592e24, 1000).chips_in_run == 1000
    with pytest.raises(InputError, match="impossible"):
        plan(2.5920001e24, 1000)


def test_small_fleets_are_simply_inspected_whole() -> None:
    assert "every chip" in plan(2.5e20, 2).notes[0]


def test_equation_without_value_is_refused() -> None:
    with pytest.raises(InputError, match="no value"):
        plan_chips(1000, flop=2.592e24, chip_flops=1e15, days=30, period=30, rate=10, confidence=0.9)


GOOD: dict[str, Any] = {
    "flop": 5.76e23,
    "chip_flops": 1e15,
    "days": 30.0,
    "period": 30.0,
    "rate": 0.1,
    "confidence": 0.9,
}


@pytest.mark.parametrize("name", sorted(GOOD))
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_meaningless_arguments_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError):
        plan_chips(10**5, **(GOOD | {name: value}))


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"confidence"}))
def test_figures_beyond_arithmetic_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        plan_chips(10**5, **(GOOD | {name: 1e-320}))


@pytest.mark.parametrize("confidence", [1.0, 90.0, 1.5])
def test_confidence_outside_is_refused(confidence: float) -> None:
    with pytest.raises(InputError, match="confidence"):
        plan_chips(10**5, **(GOOD | {"confidence": confidence}))


@pytest.mark.parametrize("chips", [0, -1, 1.5, True, math.nan])
def test_chips_are_whole(chips: int) -> None:
    with pytest.raises(InputError, match="chips"):
        plan_chips(chips, **GOOD)


def test_unknown_form_is_refused() -> None:
    with pytest.raises(InputError, match="exact or paper"):
        plan_chips(10**5, **GOOD, form="both")  # type: ignore[arg-type]


@settings(max_examples=300)
@given(
    chips=st.integers(1, 10**9), flop=st.floats(1, 1e30), chip_flops=st.floats(1, 1e20),
    days=st.floats(1e-3, 1e4), period=st.floats(1e-3, 1e4), rate=st.floats(1e-6, 1e3),
    confidence=st.floats(1e-6, 0.999999),
)  # fmt: skip
def test_a_plan_or_one_clear_error(
    chips: int, flop: float, chip_flops: float, days: float, period: float, rate: float, confidence: float
) -> None:
    arguments: dict[str, Any] = {
        "flop": flop, "chip_flops": chip_flops, "days": days, "period": period, "rate": rate,
        "confidence": confidence,
    }  # fmt: skip
    try:
        exact, paper = plan_chips(chips, **arguments), plan_chips(chips, **arguments, form="paper")
    except InputError:
        return
    assert 0 < exact.samples_per_period <= paper.samples_per_period * (1 + 1e-12)
    assert 0 < exact.share <= 1
    assert exact.chips_in_run <= chips
