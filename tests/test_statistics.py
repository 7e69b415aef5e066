import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge import statistics as stats
from weighbridge.errors import InputError


@pytest.mark.parametrize(
    ("n", "share", "exposure"),
    [
        (10, 0.258866, 0.299573),
        (59, 0.049508, 0.050775),
        (100, 0.029513, 0.029957),
        (299, 0.0099691, 0.0100192),
        (1000, 0.0029912, 0.0029957),
    ],
)
def test_all_explained(n: int, share: float, exposure: float) -> None:
    assert stats.share_upper_all_explained(n, 0.05) == pytest.approx(share, rel=2e-5)
    assert stats.poisson_upper(0, 0.05) / n == pytest.approx(exposure, rel=2e-5)


@pytest.mark.parametrize(
    ("n", "k", "alpha", "share", "exposure"),
    [
        (100, 1, 0.05, 0.046560, 0.047439),
        (300, 1, 0.05, 0.015715, 0.015813),
        (300, 3, 0.05, 0.025641, 0.025846),
        (1000, 0, 0.01, 0.0045946, 0.0046052),
        (230, 0, 0.1, 0.0099613, 0.0100112),
    ],
)
def test_some_unexplained(n: int, k: int, alpha: float, share: float, exposure: float) -> None:
    assert stats.clopper_pearson_upper(k, n, alpha) == pytest.approx(share, rel=4e-5)
    assert stats.poisson_upper(k, alpha) / n == pytest.approx(exposure, rel=4e-5)


def test_protocol_figures() -> None:
    assert stats.poisson_upper(0, 0.05) == pytest.approx(3.0, abs=0.005)
    assert stats.poisson_upper(1, 0.05) == pytest.approx(4.74, abs=0.005)
    # All logs read, f = 0.1 a day: 29.957 chip-days, 2.560e21 FLOP at 989e12 FLOP/s.
    chip_days = stats.poisson_upper(0, 0.05) / 0.1
    assert chip_days == pytest.approx(29.957, rel=2e-5)
    assert chip_days * 989e12 * 86_400 == pytest.approx(2.560e21, rel=2e-4)


@pytest.mark.parametrize(
    ("phi", "period", "chip_days", "naive"),
    [(0.01, 30, 9413, 2996), (0.1, 30, 900.1, 299.6), (0.01, 365, 108_797, 2996)],
)
def test_share_of_chips_read(phi: float, period: float, chip_days: float, naive: float) -> None:
    assert stats.concentrated_chip_time(phi, 0.1, period, 0.05) == pytest.approx(chip_days, rel=6e-5)
    assert -math.log(0.05) / (0.1 * phi) == pytest.approx(naive, rel=2e-4)


def test_share_of_chips_in_flop() -> None:
    chip_days = stats.concentrated_chip_time(0.01, 0.1, 30, 0.05)
    assert chip_days * 989e12 * 86_400 == pytest.approx(8.04e23, rel=1e-3)
    assert chip_days / 2996 == pytest.approx(3.14, abs=0.005)


def test_all_chips_read_is_the_exposure_form() -> None:
    for period in (1.0, 30.0, 1e6):
        assert stats.concentrated_chip_time(1.0, 0.1, period, 0.05) == pytest.approx(29.957, rel=2e-5)


def test_nothing_read_shows_nothing() -> None:
    assert stats.share_upper_all_explained(0, 0.05) == 1
    assert stats.clopper_pearson_upper(0, 0, 0.05) == 1
    assert stats.clopper_pearson_upper(5, 5, 0.05) == 1


def test_closed_forms_agree_with_the_quantiles() -> None:
    from scipy.stats import beta, chi2

    for alpha in (0.2, 0.05, 1e-6):
        for k in (0, 1, 7, 100):
            assert stats.poisson_upper(k, alpha) == pytest.approx(float(chi2.isf(alpha, 2 * (k + 1))) / 2, rel=1e-9)
            assert stats.clopper_pearson_upper(k, 300, alpha) == pytest.approx(
                float(beta.isf(alpha, k + 1, 300 - k)), rel=1e-9
            )


def test_coverage_of_the_exposure_bound() -> None:
    # Snapshots fall as Poisson(f) on hidden chip-time u. The bound must lie below u at most 5 % of the time,
    # whatever u is. 200,000 histories a value: one standard error is 0.0005, so 0.0525 lies five of them
    # above 0.05.
    generator = np.random.default_rng(20261121)
    rate, alpha, histories = 0.1, 0.05, 200_000
    worst = 0.0
    for hidden in (1.0, 10.0, 29.9, 30.0, 47.0, 200.0):
        seen = generator.poisson(rate * hidden, size=histories)
        limit = np.array([stats.poisson_upper(k, alpha) / rate for k in range(int(seen.max()) + 1)])
        escaped = float(np.mean(limit[seen] < hidden))
        assert escaped < alpha + 0.0025
        worst = max(worst, escaped)
    assert worst > 0.045  # the bound is tight somewhere, or it would waste the operator's room


def test_coverage_of_the_concentrated_bound() -> None:
    # An adversary that packs the bound (30.003 chips) on whole chips escapes with chance alpha; one that
    # spreads the same work thinly is caught more often. 200,000 histories: one standard error is 0.0005.
    generator = np.random.default_rng(7)
    phi, rate, period, alpha, histories = 0.1, 0.1, 30.0, 0.05, 200_000
    chips = round(stats.concentrated_chip_time(phi, rate, period, alpha) / period)

    def escaped(number: int, days: float) -> float:
        caught_chips = generator.binomial(number, phi * -math.expm1(-rate * days), size=histories)
        return float(np.mean(caught_chips == 0))

    assert escaped(chips, period) == pytest.approx(alpha, abs=0.0025)
    assert escaped(chips * 30, period / 30) < escaped(chips, period) / 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.poisson_upper(-1, 0.05),
        lambda: stats.poisson_upper(True, 0.05),
        lambda: stats.poisson_upper(0, 0.0),
        lambda: stats.poisson_upper(0, 1.0),
        lambda: stats.poisson_upper(0, math.nan),
        lambda: stats.clopper_pearson_upper(3, 2, 0.05),
        lambda: stats.share_upper_all_explained(-1, 0.05),
        lambda: stats.concentrated_chip_time(0.0, 0.1, 30, 0.05),
        lambda: stats.concentrated_chip_time(1.1, 0.1, 30, 0.05),
        lambda: stats.concentrated_chip_time(0.5, math.nan, 30, 0.05),
        lambda: stats.concentrated_chip_time(0.5, 0.1, math.inf, 0.05),
        lambda: stats.hypergeometric_miss(10, 11, 1),
        lambda: stats.hypergeometric_miss(10, 1, 11),
        lambda: stats.hypergeometric_miss(10, -1, 1),
    ],
)
def test_meaningless_arguments_are_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(InputError):
        call()


@settings(max_examples=200)
@given(st.data())
def test_hypergeometric_miss_against_exact_integers(data: st.DataObject) -> None:
    population = data.draw(st.integers(1, 2000))
    defective = data.draw(st.integers(0, population))
    drawn = data.draw(st.integers(0, population))
    exact = math.comb(population - defective, drawn) / math.comb(population, drawn)
    assert stats.hypergeometric_miss(population, defective, drawn) == pytest.approx(exact, rel=1e-11, abs=1e-300)


def test_hypergeometric_miss_at_the_hard_boundary() -> None:
    exact = [math.comb(10_000_000 - n, 2) / math.comb(10_000_000, 2) for n in (6_837_721, 6_837_722)]
    assert exact[0] > 0.1 >= exact[1]
    assert stats.hypergeometric_miss(10_000_000, 2, 6_837_722) == pytest.approx(exact[1], rel=1e-14)


def test_import_brings_no_scipy() -> None:
    code = (
        "import sys, weighbridge.statistics, weighbridge.units\n"
        "sys.exit(any(name in sys.modules for name in ('scipy', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
