"""What a verification may spend, and what it has spent: steps, or a share of the run's own compute.

A share is of the CPU time that the journal counts between each segment's first line and its last: the operator's word,
which bounds the verifier's cost and proves nothing. What was spent is measured here, by the kernel's count.
"""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["DEARER", "Account", "Budget"]

DEARER = 1.5
"""Times as much as a recorded step that a replayed one is taken to cost, reading and digesting its states included.

Assumed: about 1.05 where steps take seconds, 1.7 measured for steps of 20 ms with states of 14 MB.
"""

_STEPS = re.compile(r"[0-9]{1,15}", re.ASCII)
_SHARE = re.compile(r"[0-9]*\.?[0-9]*(e-?[0-9]{1,3})?%?", re.ASCII | re.IGNORECASE)
_MEND = "write steps as a whole number (200), a share as 0.01 or 1%"


@dataclass(frozen=True)
class Budget:
    """What may be spent: steps of replay, or a share of the run's compute with everything counted in."""

    steps: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, text: str, *, where: str = "--budget") -> "Budget":
        """Reads ``200`` (steps), ``0.01`` or ``1%`` (a share; ``1.0`` is the whole run).

        Raises:
            InputError: it is neither.
        """
        if _STEPS.fullmatch(text):
            return cls(steps=int(text))
        if text.startswith("-"):
            raise InputError("must not be negative", where=where, mend=_MEND)
        try:
            if not _SHARE.fullmatch(text):
                raise ValueError(text)
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError as error:
            raise InputError(f"{text[:40]!r} is no budget", where=where, mend=_MEND) from error
        if not 0 <= share <= 1:
            raise InputError(f"{text[:40]!r} is more than the whole run", where=where, mend=_MEND)
        return cls(share=share)


@dataclass
class Account:
    """What was spent on one run.

    Attributes:
        run_cpu_s: CPU seconds of the run, by its journal.
        run_steps: steps that it trained, those redone after a resumption included.
        entries: what was spent on what, in CPU seconds.
        starts_s: CPU seconds that starting the program took here.
        walk_s: CPU seconds that walking one step without training took here; 0 for a program that never walks.
        later_s: CPU seconds set aside for what is done after the draw, beside the replay.
    """

    run_cpu_s: float
    run_steps: int
    entries: dict[str, float] = field(default_factory=dict)
    starts_s: float = 0.0
    walk_s: float = 0.0
    later_s: float = 0.0

    @classmethod
    def of(cls, transcript: Transcript) -> "Account":
        """Opens the account of a run."""
        total = 0.0
        for segment in transcript.segments:
            counts = [int(event.data["cpu_ns"]) for event in segment.events if "cpu_ns" in event.data]
            total += max(0, counts[-1] - counts[0]) / 1e9 if counts else 0.0
        return cls(run_cpu_s=total, run_steps=transcript.steps_taken)

    @property
    def step_cpu_s(self) -> float:
        """CPU seconds of a step of the run, by its journal."""
        return self.run_cpu_s / self.run_steps if self.run_steps else 0.0

    @property
    def spent_cpu_s(self) -> float:
        """CPU seconds spent so far."""
        return sum(self.entries.values())

    def charge(self, what: str, cpu_seconds: float) -> None:
        """Adds what was spent elsewhere (by a worker, say)."""
        self.entries[what] = self.entries.get(what, 0.0) + cpu_seconds

    @contextmanager
    def timed(self, what: str, *, children: bool = True) -> Iterator[None]:
        """Charges the CPU time of this process and, if ``children``, of the processes that it waits for meanwhile."""
        counts, before = 4 if children else 2, os.times()
        try:
            yield
        finally:
            self.charge(what, sum(os.times()[:counts]) - sum(before[:counts]))

    def in_steps(self, cpu_seconds: float) -> int:
        """Returns how many replayed steps cost so much, rounded up; endless where its journal counts no time."""
        if cpu_seconds <= 0:
            return 0
        return math.ceil(cpu_seconds / self.step_cpu_s / DEARER) if self.step_cpu_s > 0 else 1 << 62

    @property
    def walk(self) -> float:
        """Replayed steps that walking one step costs."""
        return self.walk_s / self.step_cpu_s / DEARER if self.step_cpu_s > 0 else 0.0

    def left_s(self, share: float) -> float:
        """Returns the CPU seconds that a share of the run leaves after what was spent; below 0 if more was spent."""
        return share * self.run_cpu_s - self.spent_cpu_s

    def left_steps(self, share: float) -> int:
        """Returns the steps that a share of the run leaves to replay, after what was spent already.

        A replayed step is taken to cost :data:`DEARER` times a recorded one.
        """
        if self.step_cpu_s <= 0:
            return 0
        left = self.left_s(share) - self.later_s
        return max(0, math.floor(left / self.step_cpu_s / DEARER + 1e-9))

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data, CPU times in seconds."""
        return {
            "run_cpu_s": self.run_cpu_s,
            "step_cpu_s": self.step_cpu_s,
            "cpu_s": dict(self.entries),
            "total_cpu_s": self.spent_cpu_s,
            "share": self.spent_cpu_s / self.run_cpu_s if self.run_cpu_s else None,
        }
