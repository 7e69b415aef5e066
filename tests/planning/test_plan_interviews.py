"""Interviews: who is met by a draw, what a site's refusals show, and how far answers agree."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.imperfect import approximate_detection
from weighbridge.planning.interviews import PATTERN, agreement_low, refusal_chance
from weighbridge.planning.items import detection, plan_items


def test_people_who_would_know() -> None:
    # 30 of 300 drawn, 10 of them know.
    assert detection(300, missing=10, drawn=30) == pytest.approx(0.6572, abs=5e-5)
    assert approximate_detection(300, defective=10, drawn=30) == pytest.approx(0.6513, abs=5e-5)
    needed = plan_items(300, missing=10, confidence=0.9).sample
    assert detection(300, missing=10, drawn=needed) >= 0.9 > detection(300, missing=10, drawn=needed - 1)


def test_refusals() -> None:
    found = refusal_chance(10, refused=8, base=0.2)
    assert found == pytest.approx(7.79e-5, abs=5e-8)
    assert found < PATTERN
    assert refusal_chance(1, refused=1, base=0.2) > PATTERN
    assert (refusal_chance(5, refused=0, base=0.0), refusal_chance(5, refused=1, base=0.0)) == (1.0, 0.0)


@given(st.integers(1, 40), st.data())
def test_refusals_by_hand(asked: int, data: st.DataObject) -> None:
    refused, base = data.draw(st.integers(0, asked)), data.draw(st.floats(0.01, 0.99))
    by_hand = sum(math.comb(asked, k) * base**k * (1 - base) ** (asked - k) for k in range(refused, asked + 1))
    assert refusal_chance(asked, refused=refused, base=base) == pytest.approx(by_hand, rel=1e-9)


def test_agreement() -> None:
    low = agreement_low(20, agreeing=18)
    assert low == pytest.approx(0.717, abs=5e-4)
    # At the limit, so many or more agree with chance alpha.
    assert sum(math.comb(20, k) * low**k * (1 - low) ** (20 - k) for k in (18, 19, 20)) == pytest.approx(0.05)
    assert agreement_low(0, agreeing=0) == 0
    assert agreement_low(59, agreeing=59) == pytest.approx(0.05 ** (1 / 59))


def test_meaningless_figures_are_refused() -> None:
    for asked, refused, base in ((5, 6, 0.1), (-1, 0, 0.1), (5, 1, 1.1), (5, 1, math.nan)):
        with pytest.raises(InputError):
            refusal_chance(asked, refused=refused, base=base)
    for agreeing, confidence in ((6, 0.95), (1, 1.0)):
        with pytest.raises(InputError):
            agreement_low(5, agreeing=agreeing, confidence=confidence)
