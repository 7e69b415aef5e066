"""What cheap checks cost, in CPU seconds, before they are made: under a small budget even they are dear."""

import time
from collections.abc import Sequence
from typing import Final

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.spending import Account
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["LIGHT_SHARE", "reading_cost", "sweep_cost"]

LIGHT_SHARE: Final = 0.25
"""Share of what a budget leaves that one cheap check may take."""

_LEAST_ROWS = 12
"""Rows of each stretch that a sweep looks at, whatever its share."""
_DEARER = 2.0
"""Times as much as reading and digesting a state that comparing it with the one before it, too, is taken to cost."""


def reading_cost(transcript: Transcript, segments: Sequence[Leg]) -> float:
    """Returns what it takes to compare all anchors, from the time that reading and digesting the smallest takes."""
    anchors = sorted({leg.anchor for leg in segments if leg.anchor is not None})
    sizes = {}
    for anchor in anchors:
        path = transcript.folder / "anchors" / anchor
        sizes[anchor] = path.stat().st_size if path.is_file() else 0
    present = {anchor: size for anchor, size in sizes.items() if size}
    if not present:
        return 0.0
    least = min(present, key=lambda anchor: present[anchor])
    began = time.process_time()
    try:
        transcript.state(least).digest(bytes(32))
    except EvidenceError:
        return 0.0  # the check itself says what is wrong with it
    return _DEARER * (time.process_time() - began) * sum(present.values()) / present[least]


def sweep_cost(transcript: Transcript, segments: Sequence[Leg], account: Account, *, share: float) -> float:
    """Returns what a sweep takes: a start of the program, and forward passes at both ends of each stretch.

    A forward pass is a third of a step (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).
    """
    batch = int(transcript.contents["loop"]["batch_size"] or 1)
    steps = max(share * account.run_steps, _LEAST_ROWS * len(segments) / batch)
    return account.starts_s + 2 / 3 * steps * account.step_cpu_s
