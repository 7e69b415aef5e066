"""What replaying some segments of a transcript detects, what trying many seeds gains, and how copied ids show."""

import math
from dataclasses import dataclass
from fractions import Fraction

from weighbridge.errors import InputError
from weighbridge.planning.chip_run import log_missed
from weighbridge.planning.items import exact_sample
from weighbridge.statistics import hypergeometric_miss
from weighbridge.units import check_count, check_fraction

__all__ = [
    "SegmentPlan",
    "clone_detection",
    "clone_share",
    "grinding",
    "plan_segments",
    "seed_bits_lost",
    "segment_detection",
    "segments_needed",
    "tolerable_chance",
]


@dataclass(frozen=True, kw_only=True)
class SegmentPlan:
    """What replaying ``drawn`` of a run's segments detects.

    Attributes:
        segments: m, segments of the run.
        forged: g, forged segments.
        drawn: N, segments replayed.
        detection: chance that an honest draw meets a forged one.
        detection_ground: the same against a Prover that may choose the best of ``tries`` seeds.
        tries: seeds that can be tried.
        joint: N / m, chance that a single glued joint is met: test all joints cheaply.
        cost: N / m, share of the run's compute that replay costs.
    """

    segments: int
    forged: int
    drawn: int
    detection: float
    detection_ground: float
    tries: int
    joint: float
    cost: float


def plan_segments(
    segments: int,
    *,
    forged: int,
    confidence: float | Fraction | None = None,
    drawn: int | None = None,
    tries: int = 1,
) -> SegmentPlan:
    """Returns how many segments to replay, or what replaying ``drawn`` of them detects.

    Args:
        segments: segments m of the run.
        forged: forged segments g.
        confidence: wanted probability of detection; or
        drawn: segments N that are replayed.
        tries: seeds that a Prover can try before one counts: commitments started and abandoned.

    Raises:
        InputError: if the numbers do not fit together, or neither or both of confidence and drawn are given.
    """
    if confidence is not None and drawn is None:
        drawn = segments_needed(segments, forged=forged, confidence=confidence, tries=tries)
    elif confidence is not None or drawn is None:
        raise InputError("exactly one is needed", field="confidence or drawn")
    caught = segment_detection(segments, forged=forged, drawn=drawn)
    return SegmentPlan(
        segments=segments,
        forged=forged,
        drawn=drawn,
        detection=caught,
        detection_ground=1 - grinding(hypergeometric_miss(segments, forged, drawn), tries=tries),
        tries=tries,
        joint=drawn / segments,
        cost=drawn / segments,
    )


def segment_detection(segments: int, *, forged: int, drawn: int) -> float:
    """Probability that ``drawn`` of ``segments`` include a forged one: 1 - C(m-g, N) / C(m, N).

    Args:
        segments: segments m of the run.
        forged: forged segments g. Stolen weights may be joined on in a single one: test all joints cheaply.
        drawn: segments N that are replayed, drawn after the transcript was committed.

    Returns:
        The probability.

    Raises:
        InputError: if the numbers do not fit together.
    """
    check_count(segments, name="segments", least=1)
    return 1 - hypergeometric_miss(segments, forged, drawn)


def segments_needed(segments: int, *, forged: int, confidence: float | Fraction, tries: int = 1) -> int:
    """Returns how many segments to replay to meet a forged one with the wanted probability, exactly.

    Args:
        segments: segments m of the run.
        forged: forged segments g.
        confidence: wanted probability of detection.
        tries: seeds that a Prover can try: each may miss with 1 - confidence^(1/tries) only.
    """
    sure = check_fraction(confidence, name="confidence")
    if check_count(tries, name="tries", least=1) > 1:
        # ln(confidence) by ln(1 - p)'s function, which is exact near 1 too.
        miss = -math.expm1(log_missed(1 - sure) / tries)
        if miss == 0:
            raise InputError("seeds are too many for this confidence to compute with", field="tries")
        sure = 1 - Fraction(repr(miss))
    return exact_sample(segments, missing=forged, confidence=sure)


def grinding(chance: float, *, tries: int) -> float:
    """Chance of success of a Prover that may choose the best of ``tries`` seeds: 1 - (1 - chance)^tries.

    Args:
        chance: chance of one honest draw, in [0, 1].
        tries: seeds that can be tried: every commitment started and abandoned is one.

    Returns:
        The chance over all tries.
    """
    check_count(tries, name="tries")
    if not 0 <= chance <= 1:
        raise InputError(f"{chance} does not lie in [0, 1]", field="chance")
    return float(tries > 0) if chance == 1 else -math.expm1(tries * math.log1p(-chance))


def tolerable_chance(delta: float | Fraction, *, tries: int) -> float:
    """Chance of one draw that keeps the chance over ``tries`` seeds at most ``delta``: delta / tries."""
    return float(check_fraction(delta, name="delta")) / check_count(tries, name="tries", least=1)


def seed_bits_lost(tries: int) -> float:
    """Bits of a seed that trying ``tries`` of them gives away: log2(tries)."""
    return math.log2(check_count(tries, name="tries", least=1))


def clone_detection(clones: int, *, inspected: float, copies: int = 2) -> float:
    """Probability that inspecting meets two copies of one id, of ``clones`` ids that have ``copies`` each.

    One id shows with 1 - (1-q)^c - c q (1-q)^(c-1), at two copies q^2; all K of them with 1 - (1 - that)^K. Fresh
    challenges to all chips at the same time find all; challenges in turn let one device answer for two.

    Args:
        clones: K, duplicated ids.
        inspected: q, chance that any one copy is inspected, in [0, 1].
        copies: c, devices with the same id.

    Returns:
        The probability.

    Raises:
        InputError: if an argument is meaningless.
    """
    check_count(clones, name="clones")
    check_count(copies, name="copies", least=2)
    if not 0 <= inspected <= 1:
        raise InputError(f"{inspected} does not lie in [0, 1]", field="inspected")
    if copies == 2:
        return grinding(inspected**2, tries=clones)
    from scipy.special import betainc

    # P(two or more of c): the difference above would cancel for small q.
    return grinding(float(betainc(2.0, copies - 1.0, inspected)), tries=clones)


def clone_share(clones: int, *, confidence: float | Fraction, copies: int = 2) -> float:
    """Share of all devices to inspect so that two copies of one id are met with the wanted probability.

    Args:
        clones: K, duplicated ids, at least one.
        confidence: wanted probability.
        copies: c, devices with the same id.

    Returns:
        The smallest q, to double precision; at two copies sqrt(1 - (1 - confidence)^(1/K)).

    Raises:
        InputError: if an argument is meaningless.
    """
    check_count(clones, name="clones", least=1)
    wanted = float(check_fraction(confidence, name="confidence"))
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        enough = clone_detection(clones, inspected=middle, copies=copies) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high
