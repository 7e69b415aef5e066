"""Replay, seen from inside the sandbox: the same program, resumed at anchors, its states written out for comparison.

Nothing here judges. The program is the operator's and may lie about what it did; what it writes out is compared
outside with digests that were logged before, which this side is never given.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.commitment import salt_for
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.loop import Iteration, LoopHooks
from weighbridge.mechanisms.transcript.state import Subjects, capture, hyperparameters, restore

__all__ = ["Leg", "ReplayPlan", "Replaying"]


@dataclass(frozen=True)
class Leg:
    """One stretch of replay: from the state at ``start`` (``anchor`` None: built from the seed) to ``until``."""

    start: int
    until: int
    anchor: str | None = None


@dataclass(frozen=True)
class ReplayPlan:
    """What one replay process walks. Steps of ``captures`` and ``digests`` are states at the start of that step."""

    seed: bytes
    key: bytes
    legs: tuple[Leg, ...]
    captures: frozenset[int]
    digests: frozenset[int]
    out: Path
    config: Mapping[str, Any]
    steps: int
    batch_size: int
    count_flop: bool = False

    def as_json(self) -> str:
        """Returns the plan as the sandboxed side reads it."""
        return json.dumps(
            {
                "seed": self.seed.hex(),
                "key": self.key.hex(),
                "legs": [[leg.start, leg.until, leg.anchor] for leg in self.legs],
                "captures": sorted(self.captures),
                "digests": sorted(self.digests),
                "out": str(self.out),
                "config": dict(self.config),
                "steps": self.steps,
                "batch_size": self.batch_size,
                "count_flop": self.count_flop,
            }
        )

    @classmethod
    def read(cls, path: Path) -> "ReplayPlan":
        """Reads a plan file."""
        data = json.loads(path.read_text())
        return cls(
            seed=bytes.fromhex(data["seed"]),
            key=bytes.fromhex(data["key"]),
            legs=tuple(Leg(int(a), int(b), c) for a, b, c in data["legs"]),
            captures=frozenset(data["captures"]),
            digests=frozenset(data["digests"]),
            out=Path(data["out"]),
            config=data["config"],
            steps=int(data["steps"]),
            batch_size=int(data["batch_size"]),
            count_flop=bool(data["count_flop"]),
        )


class Replaying:
    """The loop of a replayed program; same surface as a recording. The process ends when the plan is walked."""

    def __init__(self, plan: ReplayPlan, *, data: Dataset, discovery: Discovery, config: dict[str, Any]) -> None:
        self.seed, self.steps, self.config = plan.seed, plan.steps, config
        self.step = plan.legs[0].start
        self._plan, self._data, self._discovery = plan, data, discovery
        self._used: Any = None
        self._hooks: LoopHooks
        self._subjects: Subjects
        self._log: IO[str] = (plan.out / "replay.jsonl").open("w", buffering=1)

    @classmethod
    def from_plan(
        cls, path: Path, *, data: Dataset, config: dict[str, Any], steps: int, batch_size: int
    ) -> "Replaying":
        """Opens the plan and seeds the program.

        Raises:
            InputError: the program asks for another configuration, length or batch than was committed.
        """
        from weighbridge.mechanisms.transcript.recorder import seed_generators

        plan = ReplayPlan.read(path)
        if (config, steps, batch_size) != (dict(plan.config), plan.steps, plan.batch_size):
            raise InputError("the program's configuration is not the committed one", where="config")
        seed_generators(plan.seed)
        return cls(plan, data=data, discovery=Discovery(), config=config)

    def __iter__(self) -> Iterator[Any]:
        """Yields the committed batches leg by leg, and writes out what each step did."""
        self._subjects = self._discovery.close()
        self._hooks = LoopHooks(self._subjects, before_update=self._before_update, after_update=lambda: None)
        self._say({"type": "start", "cpu_ns": time.process_time_ns()})
        self._hooks.install()
        for leg in self._plan.legs:
            yield from self._walk(leg)
        if self._plan.count_flop:
            yield from self._count()
        self._hooks.remove()
        self._say({"type": "end", "cpu_ns": time.process_time_ns()})
        self._log.close()
        sys.stdout.flush()
        os._exit(0)  # what the program does after training is no part of the run

    def _walk(self, leg: Leg) -> Iterator[Any]:
        if leg.anchor is not None and not (leg.start == self.step and leg is not self._plan.legs[0]):
            state = read_anchor(Path(leg.anchor))
            if state.plain["step"] != leg.start:
                raise EvidenceError("is for another step", where=leg.anchor)
            restore(self._subjects, state)
        self.step = leg.start
        self._boundary()
        for taken in self._data.indices(self.seed, batch_size=self._plan.batch_size, start=leg.start, stop=leg.until):
            iteration = self._hooks.iteration = Iteration(self._subjects)
            batch = self._data.batch(taken)
            yielded = dict(batch) if isinstance(batch, dict) else batch
            yield batch
            used = self._used if iteration.updates else hyperparameters(self._subjects)
            digest, where = iteration.batch_digest(yielded, salt_for(self._plan.key, f"batch/{self.step}"))
            self.step += 1
            self._say(
                {
                    "type": "step",
                    "step": self.step - 1,
                    "batch": digest,
                    "seen": where,
                    "loss": iteration.loss_values(),
                    "updates": iteration.updates,
                    "hyperparameters": used,
                }
            )
            self._boundary()
        self._hooks.iteration = None

    def _boundary(self) -> None:
        """Writes the digest or the whole state at a step that the plan names."""
        step = self.step
        state = capture(self._subjects, step=step)
        event: dict[str, Any] = {"type": "state", "step": step, "cpu_ns": time.process_time_ns()}
        if step in self._plan.digests:
            event["digest"] = state.digest(salt_for(self._plan.key, f"state/{step}")).hex()
        if step in self._plan.captures:
            write_anchor(self._plan.out / f"state-{step:07d}.safetensors", state)
        self._say(event)

    def _count(self) -> Iterator[Any]:
        """Runs one more step under PyTorch's FLOP counter; its result is compared with nothing."""
        from torch.utils.flop_counter import FlopCounterMode

        taken = next(self._data.indices(self.seed, batch_size=self._plan.batch_size, start=0, stop=1))
        counter = FlopCounterMode(display=False)
        with counter:
            yield self._data.batch(taken)
        self._say({"type": "flop", "per_step": float(counter.get_total_flops())})

    def _before_update(self) -> None:
        self._used = hyperparameters(self._subjects)

    def _say(self, event: Mapping[str, Any]) -> None:
        self._log.write(json.dumps(event) + "\n")
