"""Cumulative sums: the simulated alarm level against Markov chains, numerical integration and closed forms."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from weighbridge.errors import InputError
from weighbridge.planning.cusum import Errors, alarm_level, alarm_power, run_cusum, sum_quantiles

Array = np.ndarray[Any, np.dtype[np.float64]]


def markov_no_alarm(periods: int, *, level: float, k: float, shift: float = 0.0, cells: int = 1_500) -> float:
    """Chance of no alarm by Brook and Evans' chain: the sum is rounded to one of many cells."""
    from scipy.special import ndtr

    width = level / (cells - 0.5)
    at = np.arange(cells) * width
    edges = at[None, :] - at[:, None] + k - shift
    moves = ndtr(edges + width / 2) - ndtr(edges - width / 2)
    moves[:, 0] = ndtr(edges[:, 0] + width / 2)
    state = np.zeros(cells)
    state[0] = 1.0
    for _ in range(periods):
        state = state @ moves
    return float(state.sum())


@pytest.mark.parametrize(("periods", "k"), [(12, 0.5), (60, 0.5), (12, 0.25)])
def test_alarm_level_against_the_markov_chain(periods: int, k: float) -> None:
    found = alarm_level(periods, k=k, histories=50_000, seed=4)
    assert found.low < found.level < found.high
    assert found.error == pytest.approx(math.sqrt(0.05 * 0.95 / 50_000))
    real = 1 - markov_no_alarm(periods, level=found.level, k=k)
    assert real == pytest.approx(0.05, abs=4 * found.error)
    assert 1 - markov_no_alarm(periods, level=found.low, k=k) > 1 - markov_no_alarm(periods, level=found.high, k=k)


def test_the_same_seed_gives_the_same_level() -> None:
    assert alarm_level(12, histories=5_000, seed=1) == alarm_level(12, histories=5_000, seed=1)
    assert alarm_level(12, histories=5_000, seed=1).level != alarm_level(12, histories=5_000, seed=2).level


def test_the_known_run_length() -> None:
    # Siegmund's approximation 1985 for the average run length: k = 0.5, h = 5 gives 938 (tables: 930).
    level = 5.0
    escaped = 1 - alarm_power(200, shift=0.0, level=level, histories=20_000).detection
    assert escaped == pytest.approx(math.exp(-200 / 930), abs=0.015)


def test_steady_losses_are_found() -> None:
    level = alarm_level(24, histories=20_000).level
    power = [alarm_power(24, shift=shift, level=level, histories=20_000) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert [p.detection for p in power] == sorted(p.detection for p in power)
    assert power[0].detection == pytest.approx(0.05, abs=0.01)
    assert power[2].detection > 0.98
    assert power[3].mean_periods is not None and power[2].mean_periods is not None
    assert power[3].mean_periods < power[2].mean_periods
    for one in power:
        assert 1 - markov_no_alarm(24, level=level, k=0.5, shift=one.shift) == pytest.approx(one.detection, abs=0.01)


def test_cumulative_sums_by_hand() -> None:
    path = run_cusum([1.0, -2.0, 1.5, 1.5, 2.0], level=3.0)
    assert path.sums == pytest.approx([0.5, 0.0, 1.0, 2.0, 3.5])
    assert path.alarm == 5
    assert run_cusum([0.0], level=3.0).alarm is None


def integrated_no_alarm(periods: int, *, level: float, k: float, correlation: float) -> float:
    """Chance of no alarm with correlated errors, by integrating backwards over (sum, error): no simulation."""
    from scipy.interpolate import RegularGridInterpolator

    nodes, weights = np.polynomial.legendre.leggauss(80)
    sums, errors = np.linspace(0, level, 121), np.linspace(-8, 8, 161)

    def step(total: Array, mean: Array, deviation: float, later: Array | None) -> Array:
        # The sum stays below the level for errors up to level + k - total, and is 0 up to k - total.
        value = np.zeros(total.shape)
        kink, limit = (np.clip(edge - total, mean - 9 * deviation, mean + 9 * deviation) for edge in (k, level + k))
        for low, high in ((mean - 9 * deviation, kink), (kink, limit)):
            for node, weight in zip(nodes, weights, strict=True):
                error = low + (high - low) * (node + 1) / 2
                density = np.exp(-(((error - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))
                kept = np.ones(total.shape)
                if later is not None:
                    at = np.stack([np.clip(total + error - k, 0, level), np.clip(error, -8, 8)], axis=-1)
                    kept = RegularGridInterpolator((sums, errors), later)(at)
                value += weight * (high - low) / 2 * density * kept
        return value

    grid_sum, grid_error = np.meshgrid(sums, errors, indexing="ij")
    later = None
    for _ in range(periods - 1):
        later = step(grid_sum, correlation * grid_error, math.sqrt(1 - correlation**2), later)
    return float(step(np.zeros(1), np.zeros(1), 1.0, later)[0])


@pytest.mark.parametrize("correlation", [0.6, -0.4, 0.0])
def test_correlated_errors_against_integration(correlation: float) -> None:
    found = alarm_level(8, errors=Errors(correlation=correlation), histories=50_000, seed=6)
    real = 1 - integrated_no_alarm(8, level=found.level, k=0.5, correlation=correlation)
    assert real == pytest.approx(0.05, abs=4 * found.error)
    if correlation == 0:
        assert real == pytest.approx(1 - markov_no_alarm(8, level=found.level, k=0.5), abs=2e-4)


def test_an_error_that_only_lasts_has_a_closed_form() -> None:
    # S_t = t (B - k): the alarm comes at the last period, if B is above k + h / t.
    found = alarm_level(12, errors=Errors(lasting=1.0), histories=50_000, seed=3)
    exact = 12 * (1.6448536 - 0.5)
    assert found.low <= exact <= found.high
    power = alarm_power(12, shift=1.0, level=exact, errors=Errors(lasting=1.0), histories=50_000)
    assert power.detection == pytest.approx(0.5 * math.erfc((1.6448536 - 1) / math.sqrt(2)), abs=4 * power.error)


def test_hanging_together_raises_the_level() -> None:
    levels = [
        alarm_level(24, errors=errors, histories=20_000).level
        for errors in (Errors(correlation=-0.5), Errors(), Errors(correlation=0.5), Errors(lasting=0.5))
    ]
    assert levels == sorted(levels)
    assert levels[2] > 1.5 * levels[1] < levels[3]
    # A level for independent errors is no level for others: an honest meter that reads a little high is accused.
    wrong = alarm_power(24, shift=0.0, level=levels[1], errors=Errors(lasting=0.5), histories=20_000)
    assert wrong.detection > 0.15


def test_each_period_keeps_its_standard_deviation() -> None:
    # With k = 0 the first sum is max(0, z), whatever hangs together: its 0.975 quantile is 1.96.
    for errors in (Errors(), Errors(correlation=0.9), Errors(lasting=0.8), Errors(correlation=-0.5, lasting=0.3)):
        first = sum_quantiles(1, quantile=0.975, k=0.0, errors=errors, histories=100_000)
        assert first[0] == pytest.approx(1.96, abs=0.03)


def test_quantiles_of_sums() -> None:
    honest = sum_quantiles(24, quantile=0.95, histories=20_000)
    assert len(honest) == 24
    assert honest[0] == pytest.approx(1.645 - 0.5, abs=0.03)
    assert all(later > earlier - 0.1 for earlier, later in pairwise(honest))
    lossy = sum_quantiles(24, quantile=0.5, shift=2.0, histories=20_000)
    assert lossy[-1] == pytest.approx(24 * 1.5, rel=0.02)


def test_meaningless_sums_are_refused() -> None:
    for call in (
        lambda: run_cusum([], level=1.0), lambda: run_cusum([math.nan], level=1.0), lambda: run_cusum([1.0], level=0.0),
        lambda: alarm_level(0), lambda: alarm_level(12, false_alarm=1e-6), lambda: alarm_level(10**6),
        lambda: alarm_level(12, histories=10), lambda: alarm_power(1, shift=-1, level=1.0),
        lambda: alarm_level(3, k=6.0, histories=2_000),
        lambda: Errors(correlation=1.0), lambda: Errors(correlation=math.nan), lambda: Errors(lasting=1.1),
        lambda: Errors(lasting=-0.1), lambda: sum_quantiles(5, quantile=1.0), lambda: sum_quantiles(0, quantile=0.5),
    ):  # fmt: skip
        with pytest.raises(InputError):
            call()
