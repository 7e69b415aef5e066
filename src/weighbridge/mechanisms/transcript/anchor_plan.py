"""When a run writes anchors by plan: known before training, and committed to."""

import math

from weighbridge.errors import InputError

__all__ = ["anchor_due", "anchor_interval", "planned"]

_LEAST_STEPS, _LEAST_DIGESTS = 100, 10
_LONG_RUN = 1000
"""Steps from which on a share of the run is worth drawing by."""
_LONG_STEPS, _LONG_DIGESTS = 60, 6
"""So many, and a run's folder stays below a fifth of checkpoints every ten steps (recording.md)."""
_MOST_ANCHORS = 200
"""Of so many segments, 1 % of the run pays for one with half as much again to spare (``spending.DEARER``)."""


def anchor_interval(given: int | None, *, steps: int | None, stride: int) -> int | None:
    """Returns the steps between anchors of a run, or None for none but those at its ends and after freezes.

    Unless chosen, an anchor comes with every tenth digest at most, at least 100 steps apart; in a run of 1000 steps or
    more with every sixth, at least 60 apart; and at most 200 times. So it adds no more to a step's time than digests
    do (writing a state takes three to six times as long as digesting it), a run keeps at most 201 states whatever its
    length, and from 12,000 steps on 1 % of the run pays for replaying a whole segment. Where nobody knows the steps
    before, there are none.

    Args:
        given: what was asked for; 0 for none, None for the choice above.
        steps: steps that the run will take, if known.
        stride: steps between digests.

    Raises:
        InputError: a negative number.
    """
    if given is not None:
        if given < 0:
            raise InputError("must not be negative", where="anchor_every", mend="0 writes none between the ends")
        return given or None
    if steps is None:
        return None
    apart, digests = (_LONG_STEPS, _LONG_DIGESTS) if steps >= _LONG_RUN else (_LEAST_STEPS, _LEAST_DIGESTS)
    least = max(apart, digests * stride, math.ceil(steps / _MOST_ANCHORS))
    every = math.ceil(least / stride) * stride
    return every if every < steps else None


def planned(every: int | None) -> dict[str, int]:
    """Returns what a run's committed loop says of its anchors: nothing where there are none by plan."""
    return {} if every is None else {"anchor_every": every}


def anchor_due(step: int, *, every: int | None, steps: int | None) -> bool:
    """Returns whether the state after ``step`` steps is anchored by plan; the last one is anchored as the end."""
    return every is not None and step > 0 and step % every == 0 and step != steps
