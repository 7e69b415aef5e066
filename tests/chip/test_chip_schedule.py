"""The schedule: fixed vectors, exactness, the distribution of its gaps, and what a reveal shows."""

import math

import numpy as np
import pytest
from scipy import stats

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.chip.schedule import (
    HashChain,
    ScheduleTerms,
    chain_seed,
    due_after,
    gap_ns,
    next_link,
)

CHIP = "11" * 32


def test_vectors() -> None:
    """Written down once: a change here breaks every schedule ever committed."""
    chain = HashChain(bytes(32), length=4)
    assert chain.commitment.hex() == VECTOR_COMMITMENT
    assert [gap_ns(chain.link(i), chip=CHIP, rate_hz=1.0) for i in range(1, 5)] == VECTOR_GAPS
    assert chain_seed(bytes(32), chip=CHIP, epoch=1).hex() == VECTOR_SEED


VECTOR_COMMITMENT = "1ac02ae30e50d1ae15f5fd22b64623c6be5fab4485ec3a24eaf5c54605df4ac8"
VECTOR_GAPS = [3792136449, 1016269269, 1177547003, 827245138]
VECTOR_SEED = "5e2f256e0bcdd27d31082b06d26c05fba84f1ada193446e4c216dfd40f0e4a96"


def test_links_hash_forward_to_the_commitment() -> None:
    chain = HashChain(b"s" * 32, length=10)
    link = chain.link(10)
    for _ in range(10):
        link = next_link(link)
    assert link == chain.commitment
    assert chain.link(1) != chain.commitment and next_link(chain.link(1)) == chain.commitment
    for position in (0, 11):
        with pytest.raises(ValueError, match="outside"):
            chain.link(position)


def test_gap_is_minus_log_over_rate() -> None:
    link = HashChain(b"x" * 32, length=1).link(1)
    one = gap_ns(link, chip=CHIP, rate_hz=1.0)
    assert gap_ns(link, chip=CHIP, rate_hz=0.1) == pytest.approx(10 * one, abs=10)
    assert gap_ns(link, chip="22" * 32, rate_hz=1.0) != one
    assert 0 < one < 200e9


def test_gaps_are_exponential() -> None:
    """Kolmogorov-Smirnov at a fixed seed; p-values of fair draws are uniform, so 1e-3 is generous."""
    chain = HashChain(b"fixed seed for this statistical test"[:32], length=5000)
    gaps = np.array([gap_ns(chain.link(i), chip=CHIP, rate_hz=2.0) for i in range(1, 5001)]) / 1e9
    assert stats.kstest(gaps, "expon", args=(0, 0.5)).pvalue > 1e-3
    assert abs(gaps.mean() - 0.5) < 4 * 0.5 / math.sqrt(5000)
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 4 / math.sqrt(5000)


def test_due_times_add_up() -> None:
    chain = HashChain(b"d" * 32, length=3)
    links = [chain.link(i) for i in (1, 2, 3)]
    gaps = [gap_ns(link, chip=CHIP, rate_hz=3.0) for link in links]
    assert due_after(100, links, chip=CHIP, rate_hz=3.0) == [
        100 + gaps[0],
        100 + sum(gaps[:2]),
        100 + sum(gaps),
    ]


def test_terms_round_trip_and_refuse() -> None:
    terms = ScheduleTerms(commitment=b"c" * 32, length=4096, rate_hz=0.1)
    assert ScheduleTerms.from_claims(terms.claims(), where="chip") == terms
    assert terms.epoch_of(4096) == (0, 4096) and terms.epoch_of(4097) == (1, 1)
    assert terms.is_last(4096) and not terms.is_last(4097)
    for spoiled in (
        {"rate_hz": "0.10"},
        {"rate_hz": "-1.0"},
        {"rate_hz": "inf"},
        {"schedule_length": "0"},
        {"schedule_commitment": "00"},
    ):
        with pytest.raises(EvidenceError):
            ScheduleTerms.from_claims(terms.claims() | spoiled, where="chip")
    with pytest.raises(EvidenceError):
        ScheduleTerms.from_claims({}, where="chip")
    with pytest.raises(InputError):
        HashChain(bytes(32), length=0)
