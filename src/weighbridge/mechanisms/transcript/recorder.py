"""Recording: the loop that a training program runs over, watched from inside and committed as it goes.

Recording reads and never writes: it draws from no generator of the program, reorders nothing and changes no bit of
the training. What it costs is printed when the loop ends.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.errors import InputError
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.spool import SpoolClient
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.transcript.anchors import layout_of, write_anchor
from weighbridge.mechanisms.transcript.commitment import PROGRESS, salt_for
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.journal import Journal
from weighbridge.mechanisms.transcript.loop import Iteration, LoopHooks
from weighbridge.mechanisms.transcript.notices import NoticeBoard
from weighbridge.mechanisms.transcript.state import (
    Subjects,
    TrainingState,
    capture,
    generator_states,
    hyperparameters,
    restore,
)

__all__ = ["Recording", "Resumption"]


@dataclass(frozen=True)
class Resumption:
    """Where a new segment continues: the parent's file and head, and the anchor it starts from."""

    segment: int
    parent: str
    parent_head: str
    anchor: str
    step: int
    state: TrainingState
    lost_steps: int


@dataclass
class _Costs:
    """Seconds and bytes that recording took, by part."""

    hashing: float = 0.0
    anchoring: float = 0.0
    anchors: int = 0
    anchor_bytes: int = 0
    began: float = field(default_factory=time.monotonic)


class Recording:
    """One run being recorded. Loop over it: each item is a batch; train on it in the body.

    Attributes:
        seed: the run's seed (32 bytes), from which generators and order follow.
        step: updates completed so far.
        steps: steps that the run will take.
        folder: where the transcript is written.
        config: the committed configuration, as plain data.
    """

    def __init__(
        self,
        *,
        folder: Path,
        run: str,
        seed: bytes,
        key: bytes,
        data: Dataset,
        steps: int,
        batch_size: int,
        stride: int,
        discovery: Discovery,
        signer: Signer | None,
        spool: SpoolClient | None,
        resumption: Resumption | None,
        config: dict[str, Any],
    ) -> None:
        self.folder, self.run, self.seed, self.steps, self.config = folder, run, seed, steps, config
        self.step = resumption.step if resumption else 0
        self._key, self._data, self._batch_size, self._stride = key, data, batch_size, stride
        self._discovery, self._signer, self._spool, self._resumption = discovery, signer, spool, resumption
        notice = os.environ.get("WEIGHBRIDGE_CHIP_NOTICE")
        self._board = NoticeBoard(Path(notice) if notice else None)
        self._chip = os.environ.get("WEIGHBRIDGE_CHIP", "")
        self._costs = _Costs()
        self._iteration: Iteration | None = None
        self._updating = False
        self._claimed = -1
        self._hyperparameters: Any = None
        self._used: Any = None
        self._subjects: Subjects
        self._journal: Journal
        self._submitted: list[tuple[str, str]] = []
        self._looped = False

    def __iter__(self) -> Iterator[Any]:
        """Yields batches in the order that the seed fixes, and records each step as it was taken."""
        if self._looped:
            raise InputError("a run is looped over once", where="weighbridge run", mend="call start again")
        self._looped = True
        self._subjects = self._discovery.close()
        hooks = LoopHooks(self._subjects, before_update=self._before_update, after_update=self._after_update)
        self._open_segment()
        hooks.install()
        try:
            indices = self._data.indices(self.seed, batch_size=self._batch_size, start=self.step, stop=self.steps)
            for taken in indices:
                hooks.iteration = self._iteration = Iteration(self._subjects)
                batch = self._data.batch(taken)
                salt = salt_for(self._key, f"batch/{self.step}")
                yielded = batch if not isinstance(batch, dict) else dict(batch)
                yield batch
                self._end_step(yielded, salt)
        finally:
            hooks.iteration = self._iteration = None
            hooks.remove()
            self._close_segment()

    # --- segments

    def _open_segment(self) -> None:
        resumption = self._resumption
        number = resumption.segment if resumption else 0
        self._journal = Journal(self.folder / f"journal-{number:04d}.jsonl")
        if resumption:
            restore(self._subjects, resumption.state)
        state = capture(self._subjects, step=self.step)
        first = f"state-{number:04d}-{self.step:07d}.safetensors"
        write_anchor(self.folder / "anchors" / first, state)
        event = {
            "type": "segment",
            "segment": number,
            "run": self.run,
            "step": self.step,
            "steps": self.steps,
            "stride": self._stride,
            "state": self._digest(state),
            "anchor": first,
            "names": sorted(name for name, _ in self._subjects.parameters()),
            "hyperparameters": hyperparameters(self._subjects),
            "parent": None
            if resumption is None
            else {
                "journal": resumption.parent,
                "head": resumption.parent_head,
                "anchor": resumption.anchor,
                "lost_steps": resumption.lost_steps,
            },
            **self._where(),
        }
        notice = self._board.look()
        if notice is not None:
            event["startup_until"] = notice.sequence
            self._claimed = notice.sequence
        self._journal.append(event)
        self._progress({"state": event["state"], "step": self.step})

    def _close_segment(self) -> None:
        finished = self.step >= self.steps
        notice = self._board.look()
        if notice is not None:
            self._claim(notice.sequence, self.step, "still", capture(self._subjects, step=self.step))
        state = capture(self._subjects, step=self.step)
        number = self._resumption.segment if self._resumption else 0
        last = f"state-{number:04d}-{self.step:07d}-end.safetensors"
        write_anchor(self.folder / "anchors" / last, state)
        digest = self._digest(state)
        self._journal.append(
            {
                "type": "end",
                "step": self.step,
                "finished": finished,
                "state": digest,
                "anchor": last,
                "claimed_until": self._claimed,
                **self._where(),
            }
        )
        self._progress({"state": digest, "step": self.step, "finished": finished})
        self._journal.close()
        self._collect_receipts()
        self._report_costs()

    def _collect_receipts(self) -> None:
        """Stores every receipt; the training is over, so waiting costs it nothing."""
        if self._spool is None:
            return
        for identifier, name in self._submitted:
            receipt = self._spool.wait(identifier, timeout=60.0)
            (self.folder / "progress" / f"{name}.receipt").write_bytes(receipt)

    def _report_costs(self) -> None:
        costs, took = self._costs, time.monotonic() - self._costs.began
        spent = costs.hashing + costs.anchoring
        print(
            f"weighbridge: {self.step} steps recorded in {self.folder}; recording took {spent:.2f} s of {took:.1f} s"
            f" ({costs.hashing:.2f} s hashing, {costs.anchors} anchors of"
            f" {costs.anchor_bytes / max(1, costs.anchors) / 1e6:.1f} MB in {costs.anchoring:.2f} s)",
            file=sys.stderr,
        )

    # --- one step

    def _before_update(self) -> None:
        self._used = hyperparameters(self._subjects)
        assert self._iteration is not None
        notice = self._board.look()
        if notice is not None:
            state = capture(self._subjects, step=self.step, generators=self._iteration.generators)
            tensors = dict(state.tensors) | self._iteration.buffers
            self._claim(notice.sequence, self.step, "still", TrainingState(tensors, state.plain))

    def _after_update(self) -> None:
        if self._board.look() is not None:
            self._updating = True

    def _end_step(self, batch: Any, salt: bytes) -> None:
        assert self._iteration is not None
        iteration, before = self._iteration, self.step
        self.step += 1
        digest, where = iteration.batch_digest(batch, salt)
        event: dict[str, Any] = {
            "type": "step",
            "step": before,
            "batch": digest,
            "seen": where,
            "loss": iteration.loss_values(),
            "updates": iteration.updates,
            "cpu_ns": time.process_time_ns(),
            "monotonic_ns": time.monotonic_ns(),
        }
        used = self._used if iteration.updates else hyperparameters(self._subjects)
        if used != self._hyperparameters:
            event["hyperparameters"] = self._hyperparameters = used
        strided = self.step % self._stride == 0
        if strided:
            event["state"] = self._digest(capture(self._subjects, step=self.step))
        self._journal.append(event)
        if strided:
            self._progress({"state": event["state"], "step": self.step})
        looked = self._board.look()
        newest = self._board.newest
        if newest is not None and (looked is not None or self._updating):
            phase = "updating" if self._updating else "still"
            self._updating = False
            self._claim(newest.sequence, self.step, phase, capture(self._subjects, step=self.step))

    # --- freezes

    def _claim(self, sequence: int, step: int, phase: str, state: TrainingState) -> None:
        """Anchors the state in which a freeze found the memory, and names the record."""
        began = time.monotonic()
        name = f"freeze-{sequence:06d}.safetensors"
        path = self.folder / "anchors" / name
        write_anchor(path, state)
        self._costs.anchoring += time.monotonic() - began
        self._costs.anchors += 1
        self._costs.anchor_bytes += path.stat().st_size
        digest = self._digest(state)
        notice = self._board.newest
        assert notice is not None
        claim = {
            "chip": notice.chip,
            "boot": notice.boot,
            "sequences": [self._claimed + 1, sequence],
            "step": step,
            "phase": phase,
            "anchor": name,
            "state": digest,
        }
        self._claimed = sequence
        layout = layout_of(self._subjects, state)
        arrays = [
            [f"data/{name}", array.__array_interface__["data"][0], array.nbytes]
            for name, array in self._data.arrays.items()
            if self._data.path is None and array.flags.c_contiguous
        ]
        self._journal.append({"type": "freeze", "layout": layout, "data": arrays, **claim, **self._where()})
        self._progress({"state": digest, "step": step, "freeze": claim})

    # --- commitments

    def _digest(self, state: TrainingState) -> str:
        began = time.monotonic()
        digest = state.digest(salt_for(self._key, f"state/{state.plain['step']}")).hex()
        self._costs.hashing += time.monotonic() - began
        return digest

    def _where(self) -> dict[str, Any]:
        return {
            "chip": self._chip,
            "process": os.getpid(),
            "cpu_ns": time.process_time_ns(),
            "monotonic_ns": time.monotonic_ns(),
            "time": time.time(),
        }

    def _progress(self, public: dict[str, Any]) -> None:
        """Signs where the run stands and hands it to the log without waiting."""
        if self._signer is None:
            return
        payload = {**public, "run": self.run, "journal": self._journal.head.hex()}
        raw = sign_statement(self._signer, kind=PROGRESS, subject=self.run, payload=payload)
        name = f"{len(list((self.folder / 'progress').glob('*.cose'))):06d}"
        (self.folder / "progress" / f"{name}.cose").write_bytes(raw)
        if self._spool is not None:
            self._submitted.append((self._spool.submit(raw), name))


def seed_generators(seed: bytes) -> None:
    """Seeds Python's, NumPy's and PyTorch's global generators from the run's seed."""
    import random

    import numpy as np
    import torch

    from weighbridge.mechanisms.transcript.commitment import generator_seeds

    seeds = generator_seeds(seed)
    random.seed(seeds["python"])
    np.random.seed(seeds["numpy"])
    torch.manual_seed(seeds["torch"])
    assert generator_states()["torch"].numel()
