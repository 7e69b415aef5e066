"""What a rule's program sees of an opened transcript, and how it answers; for use inside the room's sandbox alone.

A program of a query begins so::

    from weighbridge.mechanisms.transcript.sealed.opened import Opened

    opened = Opened.here()
    opened.answer(share=...)

It sees the run's folder, the data, its own files and its parameters, all read-only, has no network, and writes one
answer. What it says is rounded to the registered levels before it leaves.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["INSIDE", "Opened"]

INSIDE = Path("/opened")
"""Where a program finds everything."""


@dataclass(frozen=True)
class Opened:
    """An opened transcript.

    Attributes:
        folder: where it lies.
        about: run id, seed of draws, parameters, measurements.
    """

    folder: Path
    about: Mapping[str, Any]

    @classmethod
    def here(cls, folder: Path = INSIDE) -> "Opened":
        """Opens what the sandbox shows."""
        return cls(folder, json.loads((folder / "about.json").read_bytes()))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The query's parameters, as registered."""
        found: Mapping[str, Any] = self.about["parameters"]
        return found

    @property
    def measured(self) -> Mapping[str, float]:
        """What the room measured for the query."""
        found: Mapping[str, float] = self.about["measured"]
        return found

    @property
    def declared(self) -> Mapping[str, Any]:
        """What the operator declared in the open: steps, FLOP of a step, parent."""
        found: Mapping[str, Any] = self.about["declared"]
        return found

    @property
    def seed(self) -> int:
        """Seed of this query's draws: it follows from the registration and from the nonce that answered the run.

        Nobody chose it: the nonce was unknown when the run was committed, and the registration is fixed by its id.
        """
        return int(self.about["seed"], 16)

    @cached_property
    def transcript(self) -> Transcript:
        """The transcript; the room has verified its signatures, and that it opens."""
        return Transcript.open(self.folder / "run", None)

    @cached_property
    def data(self) -> Dataset:
        """The committed data, its root checked by the room.

        Raises:
            InputError: the run's data are not arrays of rows, or were not handed over.
        """
        described = self.transcript.contents["data"]
        if not described["arrays"] or not (self.folder / "data").is_dir():
            raise InputError("are not there as arrays of rows", where="data")
        return Dataset.handed_over(self.folder / "data", described)

    def rows(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yields the committed items in their order, each a row of every array, by name."""
        for index in range(len(self.data)):
            yield {name: np.asarray(array[index]) for name, array in self.data.arrays.items()}

    def trained_on(self) -> npt.NDArray[np.int64]:
        """Returns the indices of the items that the steps taken were given, in order, with repetitions."""
        loop = self.transcript.contents["loop"]
        batches = self.data.indices(
            bytes.fromhex(self.about["run_seed"]),
            batch_size=int(loop["batch_size"]),
            start=0,
            stop=self.transcript.reached,
        )
        return np.concatenate([np.zeros(0, np.int64), *batches])

    def anchors(self) -> dict[int, str]:
        """Returns the states that are at hand and are those committed to, by step."""
        found: dict[int, str] = {}
        for event in self.transcript.events:
            if "anchor" in event.data:
                name, step = str(event.data["anchor"]), int(event.data["step"])
                if (self.transcript.folder / "anchors" / name).is_file():
                    found[step] = name
        return found

    def state(self, step: int) -> TrainingState:
        """Reads a committed state.

        Raises:
            EvidenceError: it is not at hand, or not the one committed to.
        """
        state = self.transcript.state(self.anchors().get(step, ""))
        if state.digest(self.transcript.salt(step)).hex() != self.transcript.digests.get(step):
            raise EvidenceError("is not the state committed to", where="anchors", field=str(step))
        return state

    def part(self, name: str) -> ModuleType:
        """Loads one of the query's own files: a detector, an evaluator.

        Raises:
            InputError: there is none of that name.
        """
        path = self.folder / "program" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"query_{name}", path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise InputError("is no file of the query", where=f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def answer(self, **values: float) -> None:
        """Says the answers, by their registered names; calling it again replaces them."""
        (self.folder / "out" / "answer.json").write_text(json.dumps(values))
