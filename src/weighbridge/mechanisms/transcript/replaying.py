"""Replay, seen from inside the sandbox: the same program, resumed at anchors, its states written out for comparison.

Nothing here judges. The program is the operator's and may lie about what it did; what it writes out is compared
outside with digests that were logged before, which this side is never given.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import read_plain
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.commitment import salt_for
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.loop import Iteration, LoopHooks
from weighbridge.mechanisms.transcript.parents import weights_of
from weighbridge.mechanisms.transcript.state import Subjects, capture, hyperparameters, restore, seed_generators

__all__ = ["Leg", "ReplayPlan", "Replaying"]

_PLAN_LIMIT_BYTES = 64 << 20


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
    data_root: str | None = None
    """Root of data that the program makes in memory: it must make the same again."""
    parent: Path | None = None
    """File of the parent's final state."""

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
                "data_root": self.data_root,
                "parent": str(self.parent) if self.parent else None,
            }
        )

    @classmethod
    def read(cls, path: Path) -> "ReplayPlan":
        """Reads a plan file.

        Raises:
            EvidenceError: it is not readable, or no plan.
        """
        try:
            data = json.loads(read_plain(path, limit_bytes=_PLAN_LIMIT_BYTES))
            plan = cls(
                seed=bytes.fromhex(data["seed"]),
                key=bytes.fromhex(data["key"]),
                legs=tuple(Leg(int(a), int(b), None if c is None else str(c)) for a, b, c in data["legs"]),
                captures=frozenset(int(step) for step in data["captures"]),
                digests=frozenset(int(step) for step in data["digests"]),
                out=Path(data["out"]),
                config=dict(data["config"]),
                steps=int(data["steps"]),
                batch_size=int(data["batch_size"]),
                count_flop=bool(data["count_flop"]),
                data_root=data["data_root"],
                parent=Path(data["parent"]) if data["parent"] else None,
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise EvidenceError(f"is not a readable plan ({error})", where=path) from error
        ends = [step for leg in plan.legs for step in (leg.start, leg.until)]
        if not ends or ends != sorted(ends) or ends[0] < 0 or len(plan.key) != 32 or plan.batch_size < 1:
            raise EvidenceError("its stretches are not in ascending order, or its sizes are none", where=path)
        return plan


class Replaying:
    """The loop of a replayed program; same surface as a recording. The process ends when the plan is walked."""

    def __init__(self, plan: ReplayPlan, *, data: Dataset, discovery: Discovery, config: dict[str, Any]) -> None:
        self.seed, self.steps, self.config = plan.seed, plan.steps, config
        self.step = plan.legs[0].start
        self._plan, self._data, self._discovery = plan, data, discovery
        self._used: Any = None
        self._gradients: dict[str, torch.Tensor] = {}
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
        plan = ReplayPlan.read(path)
        if (config, steps, batch_size) != (dict(plan.config), plan.steps, plan.batch_size):
            raise InputError("the program's configuration is not the committed one", where="config")
        if plan.data_root is not None and data.root.hex() != plan.data_root:
            raise InputError(
                "made in memory is not the committed data when the program makes it again",
                where="data",
                mend="seed what makes it, or save it with numpy.save and give start the path",
            )
        seed_generators(plan.seed)
        return cls(plan, data=data, discovery=Discovery(), config=config)

    def parent_weights(self, model: str = "model") -> dict[str, torch.Tensor]:
        """Returns the declared parent's final weights, as the recording did."""
        return weights_of(self._plan.parent, model)

    def __iter__(self) -> Iterator[Any]:
        """Yields the committed batches leg by leg, and writes out what each step did."""
        self._subjects = self._discovery.close()
        self._hooks = LoopHooks(self._subjects, before_update=self._before_update, after_update=lambda: None)
        self._gradients = self._subjects.carried(())
        self._say({"type": "start", "threads": torch.get_num_threads()})
        self._hooks.install()
        for leg in self._plan.legs:
            yield from self._walk(leg)
        if self._plan.count_flop:
            yield from self._count()
        self._end()

    def _end(self) -> None:
        self._say({"type": "end"})
        self._log.close()
        sys.stdout.flush()
        os._exit(0)  # what the program does after training is no part of the run

    def _walk(self, leg: Leg) -> Iterator[Any]:
        if leg.anchor is not None and not (leg.start == self.step and leg is not self._plan.legs[0]):
            state = read_anchor(Path(leg.anchor))
            if state.plain["step"] != leg.start:
                raise EvidenceError("is for another step", where=leg.anchor)
            restore(self._subjects, state)
            self._gradients = self._subjects.carried(())
        self.step = leg.start
        self._boundary()
        for taken in self._data.indices(self.seed, batch_size=self._plan.batch_size, start=leg.start, stop=leg.until):
            iteration = self._hooks.iteration = Iteration(self._subjects, self._gradients)
            batch = self._data.batch(taken)
            yielded = dict(batch) if isinstance(batch, dict) else batch
            yield batch
            used = self._used if iteration.updates else hyperparameters(self._subjects)
            digest, where = iteration.batch_digest(yielded, salt_for(self._plan.key, f"batch/{self.step}"))
            self.step += 1
            self._gradients = self._subjects.carried(iteration.updated)
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
        state = capture(self._subjects, step=step, gradients=self._gradients)
        event: dict[str, Any] = {"type": "state", "step": step}
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
        # A program that leaves its loop here has done the step too.
        with counter, contextlib.suppress(GeneratorExit):
            yield self._data.batch(taken)
        self._say({"type": "flop", "per_step": float(counter.get_total_flops())})
        self._end()

    def _before_update(self) -> None:
        self._used = hyperparameters(self._subjects)

    def _say(self, event: Mapping[str, Any]) -> None:
        """Writes one line, with the CPU time so far: outside, the lines are watched as they appear."""
        self._log.write(json.dumps({**event, "cpu_ns": time.process_time_ns()}) + "\n")
