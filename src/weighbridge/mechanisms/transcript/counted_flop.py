"""FLOP of a step of a program with a loop of its own, counted in a replay that is for nothing else.

PyTorch's counter changes by which code operations are done, and so may change last digits: where each step is compared
bit for bit none can be counted.
"""

from pathlib import Path

from weighbridge.errors import WeighbridgeError
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["count_watched_flop"]


def count_watched_flop(
    transcript: Transcript,
    *,
    data: Path | None = None,
    parent: Path | None = None,
    core: int | None = None,
    scratch: Path | None = None,
) -> float | None:
    """Returns the FLOP of the second step, or of the only one; None where none were counted.

    Args:
        transcript: a run that was recorded by what was seen of it.
        data: what the operator handed over, if not at its committed path.
        parent: file of the declared parent's final state, checked, if the run has one.
        core: processor to pin the process to.
        scratch: folder for temporary files.
    """
    until = 1 if transcript.reached > 1 else 0
    try:
        with replay(
            transcript,
            legs=[Leg(0, until)],
            count_flop=True,
            data=data,
            parent=parent,
            core=core,
            scratch=scratch,
        ) as outcome:
            return outcome.flop_per_step or None
    except WeighbridgeError:
        return None
