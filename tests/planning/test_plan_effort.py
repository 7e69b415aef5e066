"""People: footnote 5's inspectors, and the arithmetic of real regimes."""

import pytest

from weighbridge.errors import InputError
from weighbridge.planning.effort import IAEA_2021, NEW_START_VISITS_PER_SIDE, inspectors_needed, person_days


def test_footnote_5() -> None:
    for yearly in (231_559, 231_573, 231_001):
        assert inspectors_needed(yearly, per_inspector=1_000) == 232
    assert inspectors_needed(229_243, per_inspector=1_000) == 230
    assert inspectors_needed(231_559, per_inspector=1_000) < IAEA_2021.inspectors == 280


def test_real_regimes() -> None:
    assert IAEA_2021.person_days_per_verification == pytest.approx(12_767 / 3_042) == pytest.approx(4.197, abs=5e-4)
    assert IAEA_2021.verifications_per_facility == pytest.approx(2.280, abs=5e-4)
    assert IAEA_2021.person_days_per_inspector == pytest.approx(45.6, abs=0.05)
    assert person_days(3_042) == pytest.approx(12_767)
    assert NEW_START_VISITS_PER_SIDE == 18


def test_meaningless_figures_are_refused() -> None:
    for call in (lambda: inspectors_needed(1.0, per_inspector=0), lambda: person_days(-1)):
        with pytest.raises(InputError):
            call()
