"""A run that begins with another run's final weights: how its program gets them, and what a verifier shows it.

Weights come from the bound seed or from a verified parent (protocol section 4.5). Only weights and buffers are handed
on; the optimizer's state before step 1 is derived like any other run's, never supplied.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.journal import Event, read_segment, segment_paths
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["Parent", "parent_anchor", "weights_of"]


@dataclass(frozen=True)
class Parent:
    """A finished run as its own operator sees it.

    Attributes:
        run: its id.
        step: steps that it took.
        anchor: file of its final state.
    """

    run: str
    step: int
    anchor: Path

    @classmethod
    def of(cls, folder: Path) -> "Parent":
        """Reads where a run ended.

        Raises:
            InputError: there is no finished run in the folder.
        """
        try:
            segments = [read_segment(path) for path in segment_paths(folder)]
            name, step = _ending(segments[-1].events[-1])
            run = str(segments[0].events[0].data["run"])
        except (EvidenceError, IndexError, KeyError) as error:
            raise InputError(
                f"holds no finished run ({error})", where=folder, field="parent", mend="name a finished run's folder"
            ) from error
        committed = folder / "commitment.cose"
        if committed.exists():
            run = hashlib.sha256(committed.read_bytes()).hexdigest()
        return cls(run, step, folder / "anchors" / name)

    def contents(self) -> dict[str, Any]:
        """Returns what the child commits to."""
        return {"run": self.run, "step": self.step}


def _ending(event: Event) -> tuple[str, int]:
    if event.type != "end" or not event.data["finished"]:
        raise EvidenceError("did not finish", where="journal")
    return str(event.data["anchor"]), int(event.data["step"])


def weights_of(anchor: Path | None, model: str = "model") -> dict[str, Tensor]:
    """Returns one model's weights and buffers from a state, under the names that its ``load_state_dict`` knows.

    Of tensors that are tied only the first name is there: load with ``strict=False``.

    Args:
        anchor: file of the state; None without a parent.
        model: ``model`` for the first one that the parent's program built, then ``model1``, ...

    Raises:
        InputError: there is no parent, or it had no such model.
    """
    if anchor is None:
        raise InputError("was not given to start", where="parent", mend="pass parent=FOLDER of a finished run")
    prefixes = (f"{model}/parameter/", f"{model}/buffer/")
    found = {
        name.removeprefix(prefix): tensor
        for name, tensor in read_anchor(anchor).tensors.items()
        for prefix in prefixes
        if name.startswith(prefix)
    }
    if not found:
        raise InputError("is no model of the parent", where="parent", field=model)
    return found


def parent_anchor(transcript: Transcript, parent: Transcript) -> Path:
    """Returns the file of the parent's final state, which must be the one that both runs committed to.

    That the parent itself holds is judged elsewhere; this only ties the one run to the other.

    Raises:
        EvidenceError: it is another run, another state, or not the parent that was declared in the open.
    """
    named = transcript.contents["parent"]
    if parent.run != named["run"]:
        raise EvidenceError(f"is run {parent.run[:16]}, not {named['run'][:16]}", where=parent.folder, field="parent")
    if transcript.commitment is not None:
        declared = transcript.commitment.payload.get("declared")
        if not isinstance(declared, dict) or declared.get("parent") != parent.run:
            raise EvidenceError("began with a run that it did not declare", where=transcript.folder, field="parent")
    try:
        name, step = _ending(parent.events[-1])
    except KeyError as error:
        raise EvidenceError("did not finish", where=parent.folder, field="journal") from error
    state = parent.state(name)
    committed = parent.digests.get(step)
    if step != named["step"] or state.plain["step"] != step or state.digest(parent.salt(step)).hex() != committed:
        raise EvidenceError("its final state is not the one committed to", where=parent.folder, field=name)
    return parent.folder / "anchors" / name
