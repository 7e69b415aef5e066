"""What goes into a run of the agent and what comes out of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AgentOptions", "RunResult"]


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """What the operator chooses.

    Attributes:
        leaf_size: bytes of a whole leaf.
        late_limit: seconds of lateness beyond which the agent warns.
        bracket: file with the newest checkpoint or inspector's value, or None.
        cores: processors that the command may use.
        uid_separated: whether the command runs under another user id.
        warn: takes a sentence for the operator.
    """

    leaf_size: int
    late_limit: float
    bracket: Path | None
    cores: frozenset[int]
    uid_separated: bool
    warn: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a watched command went.

    Attributes:
        exit_status: the command's, as a shell gives it (128 + signal if a signal ended it).
        boot: the boot's number.
        samples: stops made.
        active_seconds: chip-active time of this boot.
        frozen_seconds: total length of the stops.
        longest_freeze: the longest stop, seconds.
        latest: the greatest lateness, seconds.
        read_bytes: bytes read at all stops.
        lost: stops of earlier boots that were never taken.
    """

    exit_status: int
    boot: int
    samples: int
    active_seconds: float
    frozen_seconds: float
    longest_freeze: float
    latest: float
    read_bytes: int
    lost: int
