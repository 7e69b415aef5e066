"""What replaying some segments of a transcript detects, and what a Prover gains by trying many seeds."""

import math
from fractions import Fraction

from weighbridge.errors import InputError
from weighbridge.planning.items import exact_sample
from weighbridge.statistics import hypergeometric_miss
from weighbridge.units import check_count

__all__ = ["grinding", "segment_detection", "segments_needed"]


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


def segments_needed(segments: int, *, forged: int, confidence: float | Fraction) -> int:
    """Returns how many segments to replay to meet a forged one with the wanted probability, exactly."""
    return exact_sample(segments, missing=forged, confidence=confidence)


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
