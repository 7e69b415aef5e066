"""The loop of a replayed program: committed batches, leg by leg, from anchors or from the seed."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.compiled import CompiledCalls
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.loop import InputHook
from weighbridge.mechanisms.transcript.parents import weights_of
from weighbridge.mechanisms.transcript.probing import Probing
from weighbridge.mechanisms.transcript.replay_plan import Leg, ReplayPlan
from weighbridge.mechanisms.transcript.replayer import Replayer
from weighbridge.mechanisms.transcript.restoring import restore
from weighbridge.mechanisms.transcript.rollouts import FOLDER, Rollouts
from weighbridge.mechanisms.transcript.state import seed_generators

__all__ = ["Replaying"]


class Replaying(Replayer):
    """The loop of a replayed program; same surface as a recording. The process ends when the plan is walked."""

    def __init__(self, plan: ReplayPlan, *, data: Dataset, discovery: Discovery, config: dict[str, Any]) -> None:
        super().__init__(plan, discovery=discovery)
        self.seed, self.steps, self.config = plan.seed, plan.steps, config
        self._data = data
        self._compiled = CompiledCalls(self.note_call, ours=lambda hook: isinstance(hook, InputHook))
        self._rollouts = Rollouts(plan.key, plan.out.parent / FOLDER, replayed=True)

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

    def rollout(self, generate: Callable[[], Any], *, generator: nn.Module, keep: bool = False) -> Any:
        """Generates a batch again, or takes the one that was kept, as the recording did."""
        self._hooks.iteration, iteration = None, self._hooks.iteration
        try:
            return self._rollouts.take(self.step, generate, generator=generator, keep=keep)
        finally:
            self._hooks.iteration = iteration

    def _about_the_step(self, step: int) -> dict[str, Any]:
        return self._rollouts.of(step)

    def __iter__(self) -> Iterator[Any]:
        """Yields the committed batches leg by leg, and writes out what each step did."""
        self.begin()
        for leg in self._plan.legs:
            yield from self._walk(leg)
        if self._plan.probes:
            yield from self._probe()
        if self._plan.count_flop:
            yield from self._count()
        self.end()

    def _walk(self, leg: Leg) -> Iterator[Any]:
        if leg.anchor is not None and not (leg.start == self.step and leg is not self._plan.legs[0]):
            state = read_anchor(Path(leg.anchor))
            if state.plain["step"] != leg.start:
                raise EvidenceError("is for another step", where=leg.anchor)
            restore(self._subjects, state)
            self._gradients = self._subjects.carried(())
        self.step = leg.start
        self.boundary()
        for taken in self._data.indices(self.seed, batch_size=self._plan.batch_size, start=leg.start, stop=leg.until):
            self.begin_step()
            batch = self._data.batch(taken)
            yielded = dict(batch) if isinstance(batch, dict) else batch
            yield batch
            self.end_step(yielded)
        self._hooks.iteration = None

    def _probe(self) -> Iterator[Any]:
        probing = Probing(self._subjects, self._hooks, self._data, self._say)
        probing.hold_still()
        for probe in self._plan.probes:
            self.step = probe.step
            yield from probing.walk(probe)

    def _count(self) -> Iterator[Any]:
        """Runs one more step under PyTorch's FLOP counter; its result is compared with nothing."""
        from torch.utils.flop_counter import FlopCounterMode

        taken = next(self._data.indices(self.seed, batch_size=self._plan.batch_size, start=0, stop=1))
        counter = FlopCounterMode(display=False)
        # A program that leaves its loop here has done the step too.
        with counter, contextlib.suppress(GeneratorExit):
            yield self._data.batch(taken)
        self._say({"type": "flop", "per_step": float(counter.get_total_flops())})
        self.end()
