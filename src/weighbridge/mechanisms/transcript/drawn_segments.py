"""Which segments of a run are replayed: drawn one after the other from a seed, within a budget."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace

from weighbridge.evidence.draws import draw
from weighbridge.mechanisms.transcript.replay_plan import Leg

__all__ = ["draw_segments"]


def draw_segments(
    every: Sequence[Leg], count: int | None, budget: int | None, seed: bytes, *, digests: Collection[int] = ()
) -> list[Leg]:
    """Draws segments one after the other, until there are ``count`` or their steps reach the budget.

    The last one drawn is cut short at a committed digest if it does not fit: passing it over for a shorter one would
    let long segments hide.

    Args:
        every: the run's segments.
        count: how many; None for all.
        budget: steps, or None.
        seed: seed of the draw.
        digests: steps whose states were committed.

    Returns:
        What to replay, in the run's order.
    """
    waiting = {f"{leg.start:020d}": leg for leg in every}
    chosen: list[Leg] = []
    spent = 0
    while waiting and (count is None or len(chosen) < count):
        turn = hashlib.sha256(b"weighbridge/segment/1" + len(chosen).to_bytes(8, "big") + seed).digest()
        leg = waiting.pop(draw(list(waiting), 1, seed=turn)[0])
        if budget is not None and spent + leg.until - leg.start > budget:
            ends = [step for step in digests if leg.start < step <= leg.start + budget - spent]
            if ends:
                chosen.append(replace(leg, until=max(ends)))
            break
        spent += leg.until - leg.start
        chosen.append(leg)
    return sorted(chosen, key=lambda leg: leg.start)
