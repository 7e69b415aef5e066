"""A run's FLOP against the chip-hours in which it was recorded.

Shavit 2023 (arXiv 2303.11341) closes the gap of withheld transcripts by accounting: chip-hours, times the rate that a
chip can reach, must be explained by declared operations. Here for one run: what it declared may not exceed what its
chips can do in its time, and what they could have done besides is said in FLOP. The time is the operator's own clock;
chips and their rate are what the verifier knows of them, from a register or a visit.
"""

from dataclasses import dataclass

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.units import format_flop

__all__ = ["Chips", "check_chip_time", "recorded_seconds"]


@dataclass(frozen=True, kw_only=True)
class Chips:
    """The chips that a run was trained on.

    Attributes:
        count: how many.
        peak: FLOP/s of one at full use, in the format that the run computes in.
    """

    count: int
    peak: float

    def capacity(self, seconds: float) -> float:
        """Returns the FLOP that they can do in so many seconds."""
        return self.count * self.peak * seconds


def recorded_seconds(transcript: Transcript) -> float:
    """Returns how long the run trained by its own clock, in seconds: the time that its segments span, added up."""
    spans = []
    for segment in transcript.segments:
        times = [int(event.data["monotonic_ns"]) for event in segment.events if "monotonic_ns" in event.data]
        spans.append(max(times) - min(times) if times else 0)
    return sum(spans) / 1e9


def check_chip_time(transcript: Transcript, chips: Chips, *, declared: float | None, counted: float | None) -> Finding:
    """Holds a run's FLOP against its chip-hours.

    Args:
        transcript: the run.
        chips: what it was trained on.
        declared: FLOP a step by the operator's word, if any.
        counted: FLOP of a replayed step, if any was counted.

    Returns:
        Inconclusive where more is declared than the chips can do; else passed, with the share of their capacity that
        the run explains as its figure, and the FLOP that it leaves to other work as ``hidden_flop``.
    """
    seconds, steps = recorded_seconds(transcript), transcript.steps_taken
    capacity = chips.capacity(seconds)
    hours = f"{chips.count * seconds / 3600:.3g} chip-hours at {chips.peak:.3g} FLOP/s do {format_flop(capacity)}"
    unit = "share of the chips' capacity"
    if capacity <= 0 or (declared is None and counted is None):
        missing = "no FLOP were declared or counted" if capacity > 0 else "its journal spans no time"
        return transcript_finding(transcript, "chip-hours", Outcome.INCONCLUSIVE, f"{missing}, and {hours}")
    if declared is not None and declared * steps > capacity:
        reason = f"{format_flop(declared * steps)} are declared for {steps} steps, and {hours}: nobody can have done it"
        figure = declared * steps / capacity
        return transcript_finding(transcript, "chip-hours", Outcome.INCONCLUSIVE, reason, figure=figure, unit=unit)
    known = [figure for figure in (declared, counted) if figure is not None]
    # The lower of two words: what is only declared, or only counted by the operator's program, explains nothing.
    explained = min(min(known) * steps, capacity)
    return transcript_finding(
        transcript,
        "chip-hours",
        Outcome.PASS,
        f"{steps} steps explain {format_flop(explained)}, and {hours}: room for {format_flop(capacity - explained)}",
        figure=explained / capacity,
        unit=unit,
        hidden_flop=capacity - explained,
    )
