"""What replayed programs wrote out, and several such replays put together as one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.sandbox import IsolatedResult

__all__ = ["Replay", "ReplayedState", "gather_states", "join_replays"]

_STATE = re.compile(r"state-[0-9]{7}\.safetensors")


@dataclass(frozen=True)
class ReplayedState:
    """The program at the start of one step: the digest, if the plan asked, and its CPU time so far."""

    step: int
    digest: str | None
    cpu_ns: int


@dataclass(frozen=True)
class Replay:
    """What a replayed program wrote out. Its own words: compare them, never trust them.

    Attributes:
        states: per leg, the states passed through, in order.
        steps: what each step did, by step.
        flop_per_step: FLOP of one step by PyTorch's counter, if asked and possible.
        startup_cpu_s: CPU seconds before the first step, by the program's own count.
        result: how the process ended.
        folder: where captured states lie, until the context closes.
        threads: threads that PyTorch used.
        ends: steps at which a leg ends: their whole states were written out.
        overstated_s: CPU seconds by which the program overstated some stretch beyond what was seen from outside.
        sure_until: the last step of what was trained from the run's beginning, where the program walked on from there
            without training (:mod:`.ghost`): what differs later may be honest. None if it did not.
        asked: digest of the seeds that the program asked for before its first step, if they are bound (hex).
        probes: losses of each probe's lists of rows, by the probe's step.
    """

    states: tuple[tuple[ReplayedState, ...], ...]
    steps: Mapping[int, Mapping[str, Any]]
    flop_per_step: float | None
    startup_cpu_s: float
    result: IsolatedResult
    folder: Path
    threads: int
    ends: tuple[int, ...]
    overstated_s: float
    sure_until: int | None = None
    probes: Mapping[int, Sequence[Sequence[str]]] = field(default_factory=dict)
    asked: str = ""

    def captured(self, step: int) -> TrainingState:
        """Reads the state captured at ``step``.

        Raises:
            EvidenceError: what the program wrote there is no state.
        """
        state = read_anchor(self.folder / f"state-{step:07d}.safetensors")
        if state.plain["step"] != step:
            raise EvidenceError(f"says step {state.plain['step']}, not {step}", where="replayed state")
        return state

    @property
    def digests(self) -> dict[int, str]:
        """Digests by step."""
        return {s.step: s.digest for leg in self.states for s in leg if s.digest is not None}

    @property
    def step_cpu_s(self) -> list[float]:
        """CPU seconds of each step replayed, what replay itself wrote out included, in order.

        The program's own count; :attr:`overstated_s` says whether what was seen from outside allows it.
        """
        return [(after.cpu_ns - before.cpu_ns) / 1e9 for leg in self.states for before, after in pairwise(leg)]


def gather_states(source: Path, target: Path) -> None:
    """Moves the states that a replay wrote out into another folder of the same disk."""
    for path in source.iterdir():
        if _STATE.fullmatch(path.name):
            path.rename(target / path.name)


def join_replays(replays: Sequence[Replay], folder: Path) -> Replay:
    """Returns several replays as one: where two stretches meet, the state is the one that the first reached.

    Args:
        replays: in the run's order.
        folder: where the states of all of them lie.
    """
    states: list[tuple[ReplayedState, ...]] = []
    for one in replays:
        for walked in one.states:
            met = states and states[-1][-1].step == walked[0].step
            states.append((replace(walked[0], digest=None), *walked[1:]) if met else walked)
    first, results = replays[0], [one.result for one in replays]
    return Replay(
        states=tuple(states),
        steps={step: event for one in replays for step, event in one.steps.items()},
        flop_per_step=first.flop_per_step,
        startup_cpu_s=sum(one.startup_cpu_s for one in replays),
        result=IsolatedResult(
            returncode=max(result.returncode for result in results),
            output="\n".join(result.output for result in results)[-20_000:],
            cpu_seconds=sum(result.cpu_seconds for result in results),
            wall_seconds=sum(result.wall_seconds for result in results),
            timed_out=any(result.timed_out for result in results),
        ),
        folder=folder,
        threads=next((one.threads for one in replays if one.threads != first.threads), first.threads),
        ends=tuple(end for one in replays for end in one.ends),
        overstated_s=max(one.overstated_s for one in replays),
        asked=first.asked,
    )
