"""A program that knows nothing of us, recorded and replayed by what an observer sees of its steps.

Nothing of the program is changed: its seeds, its data order and its loop are its own. So the seed binds nothing
(whoever ran it may have tried others), steps and batches are not known before, and nothing can be resumed in the
middle: a replay runs the program from its beginning. What was committed before the first step are its files, data,
arguments and environment.
"""

import os
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.commitment import Opening
from weighbridge.mechanisms.transcript.committing import commit, signer_and_spool
from weighbridge.mechanisms.transcript.data_files import DataFiles
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.environment import (
    CONTENTS_LIMIT_BYTES,
    CodeTree,
    describe_environment,
    packages_of,
)
from weighbridge.mechanisms.transcript.group_host import MEETING, meet
from weighbridge.mechanisms.transcript.group_notes import batch_note, state_note
from weighbridge.mechanisms.transcript.loop import Iteration
from weighbridge.mechanisms.transcript.ranks import Group, is_late, wrapped_as
from weighbridge.mechanisms.transcript.recorder import Recorder
from weighbridge.mechanisms.transcript.recorder_parts import Committed
from weighbridge.mechanisms.transcript.replay_plan import ReplayPlan
from weighbridge.mechanisms.transcript.replayer import Replayer
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState

__all__ = ["ObservedRecording", "ObservedReplay", "Program", "Watch"]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program as its command line names it.

    Attributes:
        arguments: the script or module, and its arguments.
        module: whether the first argument is a module's name (``python -m``).
        code: folder of the program's own files.
        launch: what Python's and NumPy's generators were seeded with when the process began (hex).
        group: what this process shares with the other ranks that train the same model (hex), if there are any.
        spawner: of a process that the program started itself: which it is (``index``), what its parent's generators
            were seeded with (``launch``), and how its own stood when it began (``generators``).
    """

    arguments: tuple[str, ...]
    module: bool
    code: Path
    launch: str
    group: str | None = None
    spawner: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How a program is to be recorded.

    Attributes:
        store: folder for transcripts.
        stride: steps between committed digests of the full state.
        data: files and folders that the program reads its data from.
        variables: environment variables that the program depends on.
        strict: whether a recording that fails ends the program.
    """

    store: Path
    stride: int
    data: tuple[Path, ...]
    variables: tuple[str, ...]
    strict: bool


class ObservedRecording:
    """Records a program by what is seen of it; commits when its first step is about to begin."""

    def __init__(self, program: Program, watch: Watch) -> None:
        self._program, self._watch = program, watch
        self._discovery = Discovery()
        self._recorder: _Recorder | None = None

    @property
    def recorder(self) -> "_Recorder | None":
        """What records, once the first step has begun."""
        return self._recorder

    def begin(self) -> None:
        """Commits, and anchors the state before the first step.

        Raises:
            InputError: code or data cannot be committed, or nothing was built that could be recorded.
            EvidenceError: the log refused the commitment or did not answer in time.
        """
        group = Group.here(self._program.group)
        committed = _commit(self._program, self._watch, group)
        self._recorder = _Recorder(committed, discovery=self._discovery, group=group)
        self._recorder.begin()

    def begin_step(self) -> None:
        """A step begins."""
        assert self._recorder is not None
        self._recorder.begin_step()

    def end_step(self, batch: Any) -> None:
        """A step ended."""
        assert self._recorder is not None
        self._recorder.end_step(batch)

    def note_optimizer(self, optimizer: Any) -> None:
        """An optimizer is about to step."""
        assert self._recorder is not None
        self._recorder.note_optimizer(optimizer)

    @property
    def has_optimizer(self) -> bool:
        """Whether the program has built an optimizer."""
        return self._discovery.has_optimizer

    @property
    def updated(self) -> bool:
        """Whether the step under way has changed the weights."""
        return self._recorder is not None and self._recorder.updated

    @property
    def updating(self) -> bool:
        """Whether an optimizer is at work."""
        return self._recorder is not None and self._recorder.updating

    def close(self, *, well: bool) -> None:
        """Ends the transcript; ``well`` says whether the program came to its own end."""
        self._discovery.stop()
        if self._recorder is not None:
            self._recorder.warn_if_late()
            self._recorder.ended_well = well
            self._recorder.finish()


class _Recorder(Recorder):
    """A recorder of what others drive: it ends well if they do, and counts what it could not watch."""

    ended_well = False

    def __init__(self, committed: Committed, *, discovery: Discovery, group: Group | None) -> None:
        super().__init__(committed, steps=None, discovery=discovery)
        self._group = group
        self._late: list[weakref.ref[Any]] = []

    def note_optimizer(self, optimizer: Any) -> None:
        """Notes an optimizer that was built after the first step: what it does is in no committed state."""
        if any(optimizer is known for known in self._subjects.optimizers.values()):
            return
        if any(optimizer is known() for known in self._late):
            return
        self._late.append(weakref.ref(optimizer))
        print(
            "weighbridge: PART OF THE TRAINING IS NOT RECORDED: an optimizer was built after the first step; its state,"
            " and the model built for it, are in no committed state",
            file=sys.stderr,
        )

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

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        return _noted(self._group, self._subjects, iteration, state, begins=self._state == "new")

    def _about_the_end(self) -> dict[str, Any]:
        return {"unwatched": len(self._late) + self._subjects.strangers()}


class ObservedReplay(Replayer):
    """Replays a program by what is seen of it; the process ends when the plan is walked."""

    @property
    def has_optimizer(self) -> bool:
        """Whether the program has built an optimizer."""
        return self._discovery.has_optimizer

    @classmethod
    def from_plan(cls, path: Path) -> "ObservedReplay":
        """Opens the plan.

        Raises:
            EvidenceError: it is no plan.
        """
        return cls(ReplayPlan.read(path), discovery=Discovery())

    def begin(self) -> None:
        """Names what was built, and writes out the state before the first step."""
        super().begin()
        self.boundary()
        self._end_if_walked()

    def end_step(self, batch: Any) -> None:
        """Writes out the step, and ends the process where the plan ends."""
        super().end_step(batch)
        self._end_if_walked()

    def note_optimizer(self, optimizer: Any) -> None:
        """An optimizer is about to step: nothing to write out."""

    def _about_the_group(self, iteration: Iteration | None, state: TrainingState | None) -> dict[str, Any]:
        group = Group.of(self._plan.config, where="plan")
        return _noted(group, self._subjects, iteration, state, begins=False)

    def end(self) -> None:
        """Ends the process; one rank of several waits for the others to be done, who may still need it."""
        if (meeting := os.environ.get(MEETING)) is not None:
            self._say({"type": "end"})
            group = Group.of(self._plan.config, where="plan")
            if group is not None:
                meet(Path(meeting), group.rank, group.world)
            sys.stdout.flush()
            os._exit(0)
        super().end()

    def _end_if_walked(self) -> None:
        if self.step >= self._plan.legs[-1].until:
            self.end()


def _noted(
    group: Group | None,
    subjects: Subjects,
    iteration: Iteration | None,
    state: TrainingState | None,
    *,
    begins: bool,
) -> dict[str, Any]:
    if group is None:
        return {}
    wrapped = wrapped_as(subjects.modules)
    note: dict[str, Any] = batch_note(group, iteration) if iteration is not None else {}
    if state is not None:
        note |= state_note(group, state, wrapped=wrapped)
    if begins and state is not None:
        note |= {"wrapped": wrapped, "pieces": state.plain.get("pieces", {})}
    return {"group": note}


def _commit(program: Program, watch: Watch, group: Group | None) -> Committed:
    tree = CodeTree.read(program.code, without=[watch.store])
    contents: dict[str, Any] = {
        "data": DataFiles.read(watch.data).describe(),
        "code": {"digest": tree.digest.hex(), "root": str(tree.root)},
        "config": {
            "launch": program.launch,
            **({"group": group.describe()} if group is not None else {}),
            **({"spawner": program.spawner} if program.spawner is not None else {}),
        },
        "environment": describe_environment(packages_of(list(sys.modules))),
        "program": {
            "arguments": list(program.arguments),
            "directory": str(Path.cwd()),
            "module": program.module,
            "variables": {name: os.environ[name] for name in watch.variables if name in os.environ},
        },
        "loop": {"mode": "observed", "steps": None, "batch_size": None, "stride": watch.stride},
    }
    if (size := len(canonical(contents))) > CONTENTS_LIMIT_BYTES:
        mend = "name fewer files with --data: pack them, or name only those that the program reads"
        raise InputError(f"takes {size} bytes, more than {CONTENTS_LIMIT_BYTES}", where="commitment", mend=mend)
    signer, spool = signer_and_spool()
    opening = Opening.fresh(contents)
    chips = [chip] if (chip := os.environ.get("WEIGHBRIDGE_CHIP")) else []
    payload = opening.commitment(chips=chips, public={"steps": None, "flop_per_step": None, "parent": None})
    folder, run, seed = commit(watch.store, payload, opening, signer, spool)
    tree.write(folder / "code")
    return Committed(
        folder=folder, run=run, seed=seed, key=opening.key, stride=watch.stride, signer=signer, spool=spool
    )
