"""What a journal says of steps that are walked through, for whoever walks: states of generators, backward passes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from weighbridge.mechanisms.transcript.ghost import Hints
from weighbridge.mechanisms.transcript.journal import Event, read_segment, segment_paths

__all__ = ["hints_of", "told_of_walked"]


def told_of_walked(events: Iterable[Event], *, until: int) -> dict[str, Any]:
    """Returns what a plan says of the steps before ``until``; of steps trained twice, what was said last."""
    draws: dict[str, list[list[str]]] = {}
    passes: dict[str, int] = {}
    for event in events:
        if event.type == "step" and (step := int(event.data["step"])) < until:
            passes[str(step)] = len(event.data["loss"])
            draws.pop(str(step), None)
            if drawn := event.data.get("draws"):
                draws[str(step)] = [[point["point"], point["states"]] for point in drawn]
    return {"draws": draws, "passes": {step: count for step, count in passes.items() if count != 1}}


def hints_of(folder: Path, *, until: int) -> Hints:
    """Reads a run's journal for who walks to step ``until``.

    Raises:
        EvidenceError: the journal cannot be read.
    """
    segments = [read_segment(path) for path in segment_paths(folder)]
    return Hints.of(told_of_walked((event for segment in segments for event in segment.events), until=until))
