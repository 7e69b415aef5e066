"""The FLOP that an operator declared for a step, against three other figures of it.

1. What PyTorch's counter counted in a replayed step (:class:`torch.utils.flop_counter.FlopCounterMode`): matrix
   products and convolutions, recomputation included. It counts inside the operator's own program, which can hide work
   from it.
2. What the shapes of the weights allow: each element of a matrix is used at most once for each number of an item, at
   six FLOP a use (two forward, four backward: Kaplan et al. 2020, arXiv 2001.08361, section 2.1), and the smallest
   matrix at least once an item, forward. Wide, but no program can shift it.
3. Time: the rate that the declaration implies over the recorded CPU time, against the rate at which the verifier's own
   machine did the counted operations.

Declared too low hides training under a threshold; declared too high makes room for other work on the same chips. What
differs honestly: conventions (embeddings count six FLOP a parameter in 6ND and none in the counter; recomputed
activations are counted and not declared), which is why nothing here fails.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay import Replay
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["FlopBounds", "check_declared_flop", "declared_flop", "flop_from_shapes"]

TOLERANCE: Final = (0.7, 2.0)
"""Declared over counted: gradient checkpointing counts a fourth more than is declared; 6ND of a small language model
with large embeddings declares up to twice what is counted."""

SLOWER: Final = 4.0
"""Times the verifier's CPU time that a recorded step may have taken on other hardware."""

SHORTEST_S: Final = 0.02
"""CPU seconds a step below which recording and replaying weigh more than training."""


@dataclass(frozen=True)
class FlopBounds:
    """FLOP of one step that the shapes of weights and data allow."""

    least: float
    most: float


def flop_from_shapes(tensors: Mapping[str, Tensor], *, items: int, elements: int) -> FlopBounds:
    """Returns what one step can take at least and at most.

    Args:
        tensors: a state's tensors by name; parameters of two and more dimensions are counted as matrices.
        items: rows of data in a step.
        elements: numbers in a row.
    """
    matrices = [t.numel() for name, t in tensors.items() if "/parameter/" in name and t.dim() > 1]
    # Embeddings are looked up, and weights may be frozen: of one matrix alone it is sure that it is multiplied by.
    least = 2.0 * items * min(matrices, default=0)
    return FlopBounds(least=least, most=6.0 * items * max(1, elements) * sum(matrices))


def declared_flop(transcript: Transcript) -> float | None:
    """Returns what the operator declared for a step, in FLOP; None where nothing was declared or it is no number."""
    public = transcript.commitment.payload.get("declared") if transcript.commitment else None
    value = public.get("flop_per_step") if isinstance(public, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def check_declared_flop(transcript: Transcript, outcome: Replay, *, counted: float | None) -> list[Finding]:
    """Holds the declaration against what a replay counted, what shapes allow, and how long steps took.

    Args:
        transcript: the run.
        outcome: a replay of it.
        counted: FLOP of a step as counted, in that replay or another.
    """
    declared = declared_flop(transcript)
    findings: list[Finding] = []
    if declared is not None:
        findings.append(_against_count(transcript, declared, counted))
    findings += _against_time(transcript, declared, counted, outcome)
    return findings


def _against_count(transcript: Transcript, declared: float, counted: float | None) -> Finding:
    bounds = _bounds(transcript)
    if bounds is not None and declared > bounds.most:
        reason = f"{declared:.3g} FLOP a step are declared, and weights and data of these shapes take at most"
        return transcript_finding(
            transcript,
            "declared-flop",
            Outcome.INCONCLUSIVE,
            f"{reason} {bounds.most:.3g}, if every weight meets every number of every item: room for other work",
            figure=declared / bounds.most,
            unit="declared over possible",
        )
    if not counted:
        reason = f"{declared:.3g} FLOP a step are declared, and none were counted in a replay"
        return transcript_finding(transcript, "declared-flop", Outcome.INCONCLUSIVE, reason)
    if bounds is not None and counted < bounds.least:
        reason = f"{counted:.3g} FLOP were counted in a replayed step, fewer than the smallest of its matrices takes"
        return transcript_finding(
            transcript,
            "declared-flop",
            Outcome.INCONCLUSIVE,
            f"{reason} ({bounds.least:.3g}): it was hidden from the counter",
            figure=counted / bounds.least,
            unit="counted over needed",
        )
    ratio = declared / counted
    low, high = TOLERANCE
    word = "fewer than were" if ratio < low else "more than were"
    fits = low <= ratio <= high
    reason = f"{declared:.3g} FLOP a step are declared, and {counted:.3g} were counted in a replayed one"
    return transcript_finding(
        transcript,
        "declared-flop",
        Outcome.PASS if fits else Outcome.INCONCLUSIVE,
        reason if fits else f"{reason}: {word} done, beyond what conventions of counting explain",
        figure=ratio,
        unit="declared over counted",
    )


def _against_time(
    transcript: Transcript, declared: float | None, counted: float | None, outcome: Replay
) -> list[Finding]:
    """Compares CPU time a step, the verifier's and the recorded one; says nothing of steps too short to compare."""
    replayed, recorded = outcome.step_cpu_s, _recorded_cpu(transcript)
    if not replayed or not recorded:
        return []
    here = sorted(replayed)[len(replayed) // 2]
    there = sorted(recorded)[len(recorded) // 2]
    if min(here, there) < SHORTEST_S:
        return []
    ratio = there / here
    rate = f"; the verifier's machine did {counted / here:.3g} FLOP a CPU second" if counted else ""
    if declared is not None:
        rate += f", the recorded time implies {declared / there:.3g} by the declaration"
    fits = 1 / SLOWER <= ratio <= SLOWER
    return [
        transcript_finding(
            transcript,
            "step-time",
            Outcome.PASS if fits else Outcome.INCONCLUSIVE,
            f"a step took {there:.3g} CPU seconds when recorded and {here:.3g} when replayed{rate}",
            figure=ratio,
            unit="recorded over replayed",
        )
    ]


def _recorded_cpu(transcript: Transcript) -> list[float]:
    """Returns the CPU seconds of the steps that follow another of the same segment, by the operator's word."""
    found: list[float] = []
    for segment in transcript.segments:
        before: tuple[int, int] | None = None
        for event in segment.events:
            if event.type != "step":
                before = None
                continue
            step, now = int(event.data["step"]), int(event.data["cpu_ns"])
            if before is not None and before[0] == step - 1 and now >= before[1]:
                found.append((now - before[1]) / 1e9)
            before = step, now
    return found


def _bounds(transcript: Transcript) -> FlopBounds | None:
    """Returns what shapes allow; None where the loop's batches or the first state are not known."""
    if transcript.observed:
        return None
    try:
        state = transcript.state(str(transcript.events[0].data["anchor"]))
        elements = sum(_elements(array) for array in _arrays(transcript.contents["data"]))
        items = int(transcript.contents["loop"]["batch_size"])
    except (EvidenceError, KeyError, TypeError, ValueError, OverflowError):
        return None
    return flop_from_shapes(state.tensors, items=items, elements=elements)


def _arrays(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(described["arrays"].values())


def _elements(array: Mapping[str, Any]) -> int:
    return math.prod(int(length) for length in array["shape"][1:])
