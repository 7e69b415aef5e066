"""arXiv 2511.10783, appendix D: days to a threshold by size, registration; chips that a significant quantity needs."""

import csv
import math
import re
from pathlib import Path

import pytest

from weighbridge.errors import InputError
from weighbridge.planning.timeliness import (
    days_to,
    plan_timeliness,
    regime_of,
    registration_day,
    significant_quantity,
)

VECTORS = Path(__file__).parent.parent / "data" / "significant_quantity_of_compute.csv"
PEAKS = {
    "H100 bf16": 989e12, "H100 fp8": 1979e12, "A100 bf16": 312e12, "B200 bf16": 2250e12, "B200 fp8": 4500e12,
    "Ascend 910C fp16": 800e12, "RTX 5090 fp16/32acc": 209.5e12,
}  # fmt: skip


@pytest.mark.parametrize(
    ("size", "small", "large"),
    [
        (1, "116.9", "11691"), (16, "7.3", "730.7"), (100, "1.2", "116.9"), (1_000, "0.1", "11.7"),
        (10_000, "0.012", "1.2"), (100_000, "0.001", "0.1"),
    ],
)  # fmt: skip
def test_days_by_size(size: float, small: str, large: str) -> None:
    for flop, printed in ((1e22, small), (1e24, large)):
        decimals = len(printed.partition(".")[2])
        assert f"{days_to(flop, h100e=size):.{decimals}f}" == printed


def test_every_significant_quantity() -> None:
    with VECTORS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 175
    for row in rows:
        name, utilisation = re.fullmatch(r"(.+) U=([\d.]+)(?: \(MIRI\))?", row["chip"]).groups()  # type: ignore[union-attr]
        found = significant_quantity(
            float(row["flop"]), days=float(row["days"]), peak=PEAKS[name], utilisation=float(utilisation)
        )
        assert found == int(row["chips_needed"]), row


@pytest.mark.parametrize(
    ("flop", "days", "peak", "utilisation", "chips"),
    [
        (1e25, 180, 989e12, 0.40, 1_626), (1e25, 180, 1979e12, 0.50, 650), (1e25, 180, 4500e12, 0.35, 409),
        (1e26, 180, 989e12, 0.40, 16_254), (1e26, 180, 1979e12, 0.50, 6_499), (1e26, 180, 4500e12, 0.35, 4_083),
        (1e24, 730, 1979e12, 0.50, 17), (1e24, 730, 989e12, 0.40, 41),
    ],
)  # fmt: skip
def test_significant_quantity(flop: float, days: float, peak: float, utilisation: float, chips: int) -> None:
    assert significant_quantity(flop, days=days, peak=peak, utilisation=utilisation) == chips


@pytest.mark.parametrize(("peak", "chips"), [(1_979e12, 50_531), (989.4e12, 101_072)])
def test_chips_of_a_reportable_cluster(peak: float, chips: int) -> None:
    # 1e20 operations a second, for a day: the 8-bit count triggers first. 101,071.36 at 16 bits: one more to reach it.
    assert significant_quantity(1e20 * 86_400, days=1, peak=peak, utilisation=1) == chips


def test_a_quantity_that_comes_out_even_is_not_rounded_up() -> None:
    assert significant_quantity(8.64e22, days=10, peak=1e15, utilisation=0.1) == 1_000


@pytest.mark.parametrize(
    ("size", "regime"),
    [(1_000, "continuous"), (999.9, "monthly"), (100, "monthly"), (99, "yearly"), (16, "yearly"), (15.9, "purchases")],
)
def test_regimes(size: float, regime: str) -> None:
    assert regime_of(size).name == regime


@pytest.mark.parametrize(
    ("size", "day"),
    [(10_001, 1), (10_000, 10), (1_001, 10), (1_000, 100), (101, 100), (100, 730), (16.1, 730), (16, None)],
)  # fmt: skip
def test_registration(size: float, day: int | None) -> None:
    assert registration_day(size) == day
    assert registration_day(size, schedule=((16.0, 120),)) == (None if day is None else 120)


def test_a_look_that_comes_too_late_is_seen() -> None:
    plan = plan_timeliness(1_000, flop=1e24, period=30)
    assert plan.days == pytest.approx(11.69, abs=0.005)
    assert plan.warning_days == pytest.approx(plan.days - 30)
    assert plan_timeliness(100, flop=1e24).warning_days is None


def test_meaningless_figures_are_refused() -> None:
    for size in (0.0, -1.0, math.nan):
        with pytest.raises(InputError):
            plan_timeliness(size, flop=1e24)
    with pytest.raises(InputError, match="too far apart"):
        days_to(1e300, h100e=1e-200, chip_flops=1.0)
    with pytest.raises(InputError, match="utilisation"):
        significant_quantity(1e24, days=1, peak=1e15, utilisation=1.5)
