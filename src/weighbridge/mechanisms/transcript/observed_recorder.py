"""The recorder of a program that others drive: it ends well if they do, and counts what it could not watch."""

import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.draws import UPDATE, note_draw
from weighbridge.mechanisms.transcript.free_tensors import graph_of
from weighbridge.mechanisms.transcript.group_notes import rank_note
from weighbridge.mechanisms.transcript.loop import Iteration
from weighbridge.mechanisms.transcript.ranks import Group, is_late
from weighbridge.mechanisms.transcript.recorder import Recorder
from weighbridge.mechanisms.transcript.recorder_parts import Committed, Resumption
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["ObservedRecorder"]


class ObservedRecorder(Recorder):
    """A recorder of what others drive: it ends well if they do, and counts what it could not watch."""

    ended_well = False
    ends_with_process = False

    def __init__(
        self,
        committed: Committed,
        *,
        discovery: Discovery,
        resumption: Resumption | None,
        packages: dict[str, list[str]],
        system_random: Callable[[], int],
        asked: Callable[[], str] | None,
        group: Group | None = None,
    ) -> None:
        super().__init__(committed, steps=None, discovery=discovery, resumption=resumption)
        self._group = group
        self._late: list[weakref.ref[Any]] = []
        self._packages, self._system_random, self._asked = packages, system_random, asked
        self._drawn: list[dict[str, str]] = []
        self._lost = 0

    def note_optimizer(self, optimizer: Any) -> None:
        """Notes an optimizer that was built after the first step: what it does is in no committed state."""
        if any(optimizer is known for known in self._subjects.optimizers.values()):
            return
        if any(optimizer is known() for known in self._late):
            return
        self._late.append(weakref.ref(optimizer))
        self._guarded(
            lambda: self.miss(
                "an optimizer was built after the first step; its state, and the model built for it, are in no"
                " committed state",
                1,
            )
        )

    def follow(self, roots: Sequence[Tensor]) -> None:
        """Takes up what the program made in the place of what it trained."""
        if self.discovery.follows is not None:
            self._guarded(lambda: self._follow(*graph_of(roots)))

    def _follow(self, leaves: Sequence[Tensor], nodes: Sequence[Any]) -> None:
        for words, count in self._beside.carried(nodes, step=self.step):
            self.miss(words, count)
        held, before = self.discovery.follows, self._lost
        assert held is not None
        moved = held.moved
        self._lost = max(before, held.follow(leaves))
        if self._lost > before:
            words = "gradients are taken for tensors that no state holds, made while it trained"
            self.miss(words, self._lost - before)
        if held.moved and not moved:
            self.miss(
                "what is trained is made anew in each step, so what the last step makes of it will be in no state: keep"
                " the tensors, and change them in place",
                1,
            )

    def miss_one(self, words: str) -> None:
        """Says that something more is trained which is in no recorded state."""
        self._guarded(lambda: self.miss(words, 1))

    def met(self, point: str) -> None:
        """The program is about to draw what outlives a step."""
        self._guarded(lambda: self._drawn.append(note_draw(point)))

    def warn_if_late(self) -> None:
        """Says that a run which committed to no group came to train with others."""
        if self._group is None and is_late():
            print(
                "weighbridge: THIS RANK CANNOT BE JOINED TO OTHERS: torch.distributed began after the first step, and"
                " the run had been committed as one on its own before",
                file=sys.stderr,
            )

    @property
    def finished(self) -> bool:
        """Whether the program came to its own end."""
        return self.ended_well

    def _about_the_start(self) -> dict[str, Any]:
        told: dict[str, Any] = {"packages": self._packages, "system_random": self._system_random()}
        told["asked"] = self._asked() if self._asked is not None else ""
        return {name: value for name, value in told.items() if value}

    def _about_the_step(self, step: int) -> dict[str, Any]:
        drawn, self._drawn = self._drawn, []
        return {"draws": drawn} if drawn else {}

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        return rank_note(self._group, self._subjects, iteration, state, begins=self._state == "new")

    def _after_update(self) -> None:
        super()._after_update()
        # Batches are fetched ahead, by one step at most in the loaders known: from here on as they were.
        every = self._anchor_every
        if every and any((self.step + ahead) % every == 0 for ahead in (1, 2)):
            self.met(UPDATE)
