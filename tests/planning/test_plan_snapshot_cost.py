"""The stall of a freeze, digests kept, the concentrated form turned round, and the count of records."""

import math

import numpy as np
import pytest

from weighbridge.errors import InputError
from weighbridge.planning.snapshot_cost import (
    concentrated_rate,
    count_limits,
    count_test,
    record_bytes,
    snapshot_cost,
    stall_share,
)
from weighbridge.statistics import concentrated_chip_time

PER_FREEZE = 80 / 50  # 80 GB at 50 GB/s


@pytest.mark.parametrize(
    ("together", "stall", "overlapping"), [(10**3, 0.00185, 0.00185), (10**4, 0.0185, 0.0183), (10**5, 0.185, 0.169)]
)
def test_stall(together: int, stall: float, overlapping: float) -> None:
    assert stall_share(together, rate=0.1, freeze_seconds=PER_FREEZE) == pytest.approx(stall, rel=3e-3)
    cost = snapshot_cost(
        round(0.1 * together * 30), chips=together, days=30, freeze_seconds=PER_FREEZE, together=together
    )
    assert cost.stall == pytest.approx(stall, rel=3e-3)
    assert cost.share_lost == pytest.approx(overlapping, rel=4e-3)
    assert cost.chip_hours_lost == pytest.approx(cost.share_lost * together * 720)


def test_overlapping_stops_by_simulation() -> None:
    # Stops begin as Poisson(N f); the time that at least one lasts is 1 - e^(-rho): 20,000 stops, error about 1e-3.
    generator = np.random.default_rng(3)
    starts = np.cumsum(generator.exponential(1.0, size=20_000))
    last = 0.185
    gaps = np.diff(starts)
    stalled = np.minimum(gaps, last).sum() / gaps.sum()
    assert stalled == pytest.approx(-math.expm1(-last), abs=0.006)


def test_many_chips_a_trigger_stall_less_and_count_once() -> None:
    one = snapshot_cost(100, chips=1_000, days=30, freeze_seconds=1.6, together=1_000)
    all_ = snapshot_cost(100, chips=1_000, days=30, freeze_seconds=1.6, together=1_000, per_trigger=1_000)
    assert all_.triggers == one.triggers == 100
    assert all_.chip_freezes == 1_000 * one.chip_freezes
    assert all_.rate_per_chip == 1_000 * one.rate_per_chip
    assert all_.chip_hours_lost == one.chip_hours_lost


def test_a_trigger_that_touches_many_jobs_stops_them_all() -> None:
    def waiting(together: int, per_trigger: int) -> float:
        cost = snapshot_cost(10, chips=1_000, days=1, freeze_seconds=86.4, together=together, per_trigger=per_trigger)
        return cost.stall * 100_000  # 10 triggers of a thousandth of a day

    assert [waiting(1, 1), waiting(1, 100), waiting(100, 1)] == pytest.approx([1, 100, 100])
    assert [waiting(100, 5), waiting(100, 50), waiting(600, 2)] == pytest.approx([500, 1_000, 1_000])


def test_anchors_and_steps() -> None:
    cost = snapshot_cost(30, chips=4_000, days=30, freeze_seconds=1.6, anchor_bytes=5 * 10**12, stride=10)
    assert (cost.anchor_bytes, cost.replayed_steps) == (150 * 10**12, 600)
    bare = snapshot_cost(30, chips=4_000, days=30, freeze_seconds=1.6)
    assert (bare.anchor_bytes, bare.replayed_steps) == (None, None)


def test_digests_of_a_chip_year() -> None:
    assert record_bytes(0.1) / 32 == pytest.approx(36.5)
    assert record_bytes(0.1) == pytest.approx(1_168)


@pytest.mark.parametrize(("phi", "period"), [(0.01, 30.0), (0.1, 30.0), (0.01, 365.0), (1.0, 30.0)])
def test_rate_for_a_share_read_inverts_the_bound(phi: float, period: float) -> None:
    bound = concentrated_chip_time(phi, 0.1, period, 0.05)
    rate = concentrated_rate(phi, chip_days=bound, period=period)
    # Once every chip's log holds something, more snapshots bound nothing more: the bound comes back, not always f.
    assert concentrated_chip_time(phi, rate, period, 0.05) == pytest.approx(bound, rel=1e-9)
    assert rate == pytest.approx(0.1, rel=1e-9 if period < 100 else 0.02)


@pytest.mark.parametrize(("phi", "period", "times"), [(0.01, 30.0, 3.14), (0.1, 30.0, 3.00), (0.01, 365.0, 36.3)])
def test_the_naive_form_is_too_small(phi: float, period: float, times: float) -> None:
    naive = -math.log(0.05) / (0.1 * phi)
    assert concentrated_chip_time(phi, 0.1, period, 0.05) / naive == pytest.approx(times, rel=3e-3)


def test_too_small_a_share_is_refused_with_the_share_that_would_do() -> None:
    with pytest.raises(InputError, match="read more than 0"):
        concentrated_rate(0.05, chip_days=900, period=30)
    assert concentrated_rate(0.1, chip_days=900, period=30) > 0.09


def test_count_of_records() -> None:
    assert count_test(100, seen=75)[0] == pytest.approx(0.0055, abs=5e-5)
    assert count_test(100, seen=130)[1] == pytest.approx(0.0023, abs=5e-5)
    assert count_test(3, seen=0)[0] == pytest.approx(math.exp(-3))
    assert count_test(3, seen=0)[1] == 1


def test_meaningless_costs_are_refused() -> None:
    for change in ({"chips": 0}, {"days": 0.0}, {"together": 5_000}, {"per_trigger": 0}, {"freeze_seconds": -1.0}):
        with pytest.raises(InputError):
            snapshot_cost(1, **({"chips": 4_000, "days": 30, "freeze_seconds": 1.6} | change))
    for phi in (0.0, 1.1, math.nan):
        with pytest.raises(InputError, match="share-read"):
            concentrated_rate(phi, chip_days=900, period=30)


@pytest.mark.parametrize(("expected", "alpha"), [(100, 0.05), (3, 0.05), (20, 0.001), (1e6, 0.05), (0.01, 0.5)])
def test_limits_of_a_count_are_the_outermost(expected: float, alpha: float) -> None:
    few, many = count_limits(expected, alpha=alpha)
    assert count_test(expected, seen=many)[1] <= alpha / 2 < count_test(expected, seen=many - 1)[1]
    if few is None:
        assert count_test(expected, seen=0)[0] > alpha / 2
    else:
        assert count_test(expected, seen=few)[0] <= alpha / 2 < count_test(expected, seen=few + 1)[0]


def test_limits_of_a_count_by_simulation() -> None:
    # 200,000 honest logs: one standard error is at most 0.0005.
    few, many = count_limits(100)
    assert few is not None
    seen = np.random.default_rng(37).poisson(100, size=200_000)
    assert float(np.mean((seen <= few) | (seen >= many))) < 0.05 + 0.002
    assert float(np.mean((seen <= few + 1) | (seen >= many - 1))) > 0.05 + 0.002
