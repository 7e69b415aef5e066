"""What beginning a replay costs, measured before a budgeted share is drawn: starting the program, and walking.

Each drawn stretch is replayed in a sandbox of its own, so a start is paid for each; a program that drives its own loop
walks besides to where the stretch begins (:mod:`.ghost`), which costs the more the later it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from weighbridge.errors import WeighbridgeError
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.spending import Account
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["measure_start", "recorded_start_s"]

LEAST_START_S: Final = 1.0
"""CPU seconds that importing PyTorch takes at least: with less left, nothing is begun, not even to measure it."""

_WHAT: Final = "start of a replay"


def recorded_start_s(transcript: Transcript) -> float:
    """Returns the CPU seconds that starting the program took when recorded, and at least an import of PyTorch."""
    return max(LEAST_START_S, int(transcript.segments[0].events[0].data["cpu_ns"]) / 1e9)


def measure_start(
    transcript: Transcript,
    every: Sequence[Leg],
    account: Account,
    *,
    left_s: float,
    data: Path | None = None,
    parent: Path | None = None,
    core: int | None = None,
) -> None:
    """Notes in the account what a start and a walked step of a watched program cost; the measuring is charged too.

    Args:
        transcript: a run that was recorded by what was seen of it.
        every: its segments.
        account: what was spent, and where it is noted.
        left_s: CPU seconds that the budget leaves.
        data: as :func:`~.replay.replay`.
        parent: as there.
        core: as there.
    """
    account.starts_s = max(account.starts_s, LEAST_START_S)
    first = next((leg for leg in every if leg.start > 0), None)
    if left_s < account.starts_s:
        return
    leg = Leg(0, 0) if first is None else Leg(first.start, first.start, first.anchor)
    walked_s = 0.0
    try:
        with (
            account.timed(_WHAT),
            replay(transcript, legs=[leg], data=data, parent=parent, core=core) as outcome,
        ):
            # The program's own count of its start, which shifts cost between start and walk and hides none.
            walked_s = max(0.0, outcome.result.cpu_seconds - outcome.startup_cpu_s) if leg.start else 0.0
    except WeighbridgeError:
        return  # the replay itself says why
    finally:
        account.starts_s = max(LEAST_START_S, account.entries.get(_WHAT, 0.0) - walked_s)
    account.walk_s = walked_s / leg.start if leg.start else 0.0
