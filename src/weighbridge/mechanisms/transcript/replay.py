"""Replay, seen from outside: the operator's program in a sandbox, in an environment that the verifier built.

The interpreter and its packages are those that run this very code, never the operator's. Inside are the committed
code tree, the data whose root was committed, the anchors of the plan, and nothing else: no network, no other file.
What the program writes out is read only when the last of its processes is gone, and never trusted.
"""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.allowance import Allowance
from weighbridge.mechanisms.transcript.anchor_delta import is_delta, unpacked
from weighbridge.mechanisms.transcript.data_files import DataFiles
from weighbridge.mechanisms.transcript.masked_data import masked_binds, opened_data
from weighbridge.mechanisms.transcript.outside import (
    MEND_STARTED,
    MEND_WATCHED,
    Shown,
)
from weighbridge.mechanisms.transcript.replay_data import INSIDE, committed_paths, data_binds, place_inside
from weighbridge.mechanisms.transcript.replay_outcome import Replay, ReplayedState, gather_states, join_replays
from weighbridge.mechanisms.transcript.replay_plan import Leg, Probe, ReplayPlan
from weighbridge.mechanisms.transcript.replay_program import program_command, program_environment
from weighbridge.mechanisms.transcript.replay_reading import read_outcome
from weighbridge.mechanisms.transcript.rollouts import FOLDER, kept_folder
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.walked import told_of_walked
from weighbridge.mechanisms.transcript.witness import Witness
from weighbridge.sandbox import Bind, Sandbox, interpreter_binds, run_isolated

__all__ = [
    "OWN_BYTES",
    "OWN_FILES",
    "Replay",
    "ReplayedState",
    "make_room",
    "recorded_seconds",
    "replay",
    "sure_until",
    "walks",
]

_INSIDE = INSIDE
_PARENT = "parent.safetensors"
OWN_BYTES = 16 << 30
OWN_FILES = 20_000
"""What a program that writes as it likes may write beside its code, and the files of the code itself."""
_STARTED_BYTES = 2 << 30
"""What one that loops over ours may write there: its states are kept for it."""
_LONGEST_S = 7 * 86_400.0
_SLOWER = 4.0
"""Times as long as recorded that a replay may take from the program's beginning."""
_MAKE_AGAIN = "its data was an array in memory, and no file of it can be shown: give start the paths of .npy files"


@contextmanager
def replay(
    transcript: Transcript,
    *,
    legs: Iterable[Leg],
    captures: Iterable[int] = (),
    digests: Iterable[int] = (),
    data: Path | None = None,
    parent: Path | None = None,
    without_data: bool = False,
    only_rows: Sequence[int] | None = None,
    count_flop: bool = False,
    core: int | None = None,
    threads: int | None = None,
    variables: Mapping[str, str] | None = None,
    seconds: float = 900.0,
    scratch: Path | None = None,
    observer: Callable[[int], None] | None = None,
    seed: bytes | None = None,
    probes: Sequence[Probe] = (),
) -> Iterator[Replay]:
    """Replays legs of a run in one process and yields what it wrote out.

    Args:
        transcript: the opened run.
        legs: stretches in ascending order; an anchor is a file's name in the transcript, None derives the state.
        captures: steps whose whole state is written out; the ends of the legs always are.
        digests: steps whose salted digest is written out.
        data: what the operator handed over, if not at its committed path: a file, or a folder of NAME.npy.
        parent: file of the parent's final state, checked (:func:`~.parents.parent_anchor`), if the run has a parent.
        without_data: show zeros in place of the data (for the initial state, so that nothing can be smuggled).
        only_rows: show zeros in place of all other rows of the data (:mod:`.masked_data`).
        count_flop: count one more step's FLOP at the end.
        core: processor to pin the process to.
        threads: threads to ask for in place of the recorded count; the last digits then differ.
        variables: environment variables besides, the verifier's own: they choose instructions.
        seconds: wall-clock limit.
        scratch: folder for temporary files.
        observer: called with the sandbox's process id, a hundred times a second, while it runs.
        seed: another seed than the run's (:mod:`.second_seed`).
        probes: rows whose losses to find at anchored states, after the legs; none trains anything.

    Raises:
        EvidenceError: data, code or anchors are not what was committed, or the program did not walk the plan.
        InputError: the data is not there, or the parent was not given.
        OutsideError: the program ended for want of a path that was not committed.
    """
    walked = tuple(legs)
    captured = frozenset(captures) | frozenset(leg.until for leg in walked)
    wanted = frozenset(digests)
    parts = _apart(walked) if not probes else [walked]
    shared: dict[str, Any] = {
        "data": data,
        "parent": parent,
        "without_data": without_data,
        "only_rows": only_rows,
        "core": core,
        "threads": threads,
        "variables": variables,
        "seconds": seconds,
        "scratch": scratch,
        "observer": observer,
        "seed": seed,
        "probes": probes,
    }
    folder = Path(tempfile.mkdtemp(prefix="weighbridge-replays-", dir=scratch))
    try:
        outcomes = []
        for number, part in enumerate(parts):
            with _replay_in_one(
                transcript,
                walked=part,
                captured=frozenset(step for step in captured if part[0].start <= step <= part[-1].until),
                wanted=frozenset(step for step in wanted if part[0].start <= step <= part[-1].until),
                count_flop=count_flop and number == 0,
                **shared,
            ) as outcome:
                gather_states(outcome.folder, folder)
                outcomes.append(outcome)
        joined = dataclasses.replace(outcomes[0], folder=folder)
        if len(outcomes) > 1:
            joined = join_replays(outcomes, folder)
        yield dataclasses.replace(joined, sure_until=sure_until(walked)) if walks(transcript, walked) else joined
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _apart(legs: Sequence[Leg]) -> list[tuple[Leg, ...]]:
    """Returns the legs by sandbox: none sees a later stretch's anchor, where a program could look up what is to come.

    Legs that meet are walked through by one process, and only the first of them needs its anchor.
    """
    parts: list[list[Leg]] = []
    for leg in legs:
        if parts and parts[-1][-1].until == leg.start:
            parts[-1].append(dataclasses.replace(leg, anchor=None))
        else:
            parts.append([leg])
    return [tuple(part) for part in parts]


@contextmanager
def _replay_in_one(
    transcript: Transcript,
    *,
    walked: tuple[Leg, ...],
    captured: frozenset[int],
    wanted: frozenset[int],
    data: Path | None,
    parent: Path | None,
    without_data: bool,
    only_rows: Sequence[int] | None,
    count_flop: bool,
    core: int | None,
    threads: int | None,
    variables: Mapping[str, str] | None,
    seconds: float,
    scratch: Path | None,
    observer: Callable[[int], None] | None,
    seed: bytes | None,
    probes: Sequence[Probe],
) -> Iterator[Replay]:
    """Replays legs in one sandbox; as :func:`replay`."""
    contents = transcript.contents
    shown_states = {leg.anchor: leg for leg in (*walked, *(Leg(p.step, p.step, p.anchor) for p in probes))}
    anchors = [*_anchors(transcript, list(shown_states.values())), *_parent_bind(contents.get("parent"), parent)]
    work = Path(tempfile.mkdtemp(prefix="weighbridge-replay-", dir=scratch))
    try:
        (out := work / "out").mkdir()
        transcript.code.write(work / "code")
        plan = ReplayPlan(
            seed=transcript.seed if seed is None else seed,
            key=transcript.opening.key,
            legs=tuple(
                Leg(leg.start, leg.until, str(_INSIDE / "anchors" / leg.anchor) if leg.anchor else None)
                for leg in walked
            ),
            captures=captured,
            digests=wanted,
            out=Path(_INSIDE / "out"),
            config=contents["config"],
            steps=transcript.planned or 0,
            batch_size=int(contents["loop"]["batch_size"] or 1),
            count_flop=count_flop,
            data_root=contents["data"]["root"]
            if not (transcript.observed or committed_paths(contents["data"]))
            else None,
            parent=Path(_INSIDE / _PARENT) if contents.get("parent") else None,
            walked=told_of_walked(transcript.events, until=walked[-1].start) if walks(transcript, walked) else {},
            probes=tuple(
                replace(probe, anchor=str(_INSIDE / "anchors" / probe.anchor) if probe.anchor else None)
                for probe in probes
            ),
        )
        (work / "plan.json").write_text(plan.as_json())
        if transcript.observed:
            shown = DataFiles.binds(contents["data"], data)
        elif only_rows is not None and (dataset := opened_data(contents["data"], data)) is not None:
            shown = masked_binds(contents["data"], dataset, only_rows, work)
        else:
            shown = data_binds(contents["data"], data, work if without_data else None)
        # A program writes what it likes (checkpoints, say) beside its code: into a copy.
        program = Bind(work / "code", place_inside(contents["code"]["root"], "code.root"), writable=True)
        directory = place_inside(contents["program"]["directory"], "program.directory")
        anchors = [Bind(_plain(bind.host, work), bind.place) for bind in anchors]
        interpreter = interpreter_binds()
        for place, is_file in [
            (directory, False),
            *((bind.place, bind.host.is_file()) for bind in (*shown, *interpreter)),
        ]:
            make_room(program, place, is_file=is_file)
        binds = [*interpreter, program, *shown, Bind(work / "plan.json", Path(_INSIDE / "plan.json"))]
        binds += [Bind(out, Path(_INSIDE / "out"), writable=True), *anchors]
        if not without_data and (kept := kept_folder(transcript)) is not None:
            binds.append(Bind(kept, Path(_INSIDE / FOLDER)))
        witness = Witness(out / "replay.jsonl")

        def watch(pid: int) -> None:
            witness.look(pid)
            if observer is not None:
                observer(pid)

        allowance = Allowance.of(
            transcript.folder / "anchors",
            first=str(transcript.events[0].data["anchor"]),
            states=len(captured),
            data_bytes=sum(bind.host.stat().st_size for bind in shown),
        )
        result = run_isolated(
            [sys.executable, *program_command(contents)],
            Sandbox(
                binds=tuple(binds),
                environment={**program_environment(contents, threads), **(variables or {})},
                working_directory=directory,
                seconds=max(seconds, recorded_seconds(transcript)),
                memory_bytes=allowance.memory_bytes,
                resident_bytes=allowance.memory_bytes,
                file_bytes=allowance.file_bytes,
                written_bytes=allowance.written_bytes + (OWN_BYTES if transcript.observed else _STARTED_BYTES),
                written_files=allowance.written_files + OWN_FILES,
                core=core,
            ),
            observer=watch,
        )
        witness.close(result.cpu_seconds)
        mend = _MAKE_AGAIN if not shown and not transcript.observed else None
        inside = Shown(tuple(binds), directory, MEND_WATCHED if transcript.observed else MEND_STARTED)
        yield read_outcome(out, result, walked, wanted, witness, probes=probes, mend=mend, shown=inside)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def walks(transcript: Transcript, legs: Sequence[Leg]) -> bool:
    """Returns whether a program has to walk without training to where a leg begins."""
    return transcript.observed and sure_until(legs) < legs[-1].until


def sure_until(legs: Sequence[Leg]) -> int:
    """Returns how far legs go from the run's beginning without a gap; -1 if they begin later."""
    reached = -1
    for leg in legs:
        if leg.start > max(reached, 0):
            break
        reached = leg.until
    return reached


def recorded_seconds(transcript: Transcript) -> float:
    """Returns how long a replay from the beginning may take, by the recording's own clock; 0 where nothing is said."""
    first, last = transcript.segments[0].events[0].data, transcript.segments[-1].events[-1].data
    took = (int(last.get("monotonic_ns", 0)) - int(first.get("monotonic_ns", 0))) / 1e9
    return min(_LONGEST_S, _SLOWER * max(took, 0.0)) if transcript.observed else 0.0


def _anchors(transcript: Transcript, legs: Sequence[Leg]) -> list[Bind]:
    """Returns the binds that show the anchors, each of which is the committed state and nothing else."""
    binds = []
    for leg in legs:
        if leg.anchor is None:
            continue
        state = transcript.state(leg.anchor)
        if state.plain["step"] != leg.start:
            raise EvidenceError(f"is the state of step {state.plain['step']}, not {leg.start}", where=leg.anchor)
        if state.digest(transcript.salt(leg.start)).hex() != transcript.digests.get(leg.start):
            raise EvidenceError("is not the state that was committed", where=leg.anchor)
        binds.append(Bind(transcript.folder / "anchors" / leg.anchor, Path(_INSIDE / "anchors" / leg.anchor)))
    return binds


def _plain(anchor: Path, work: Path) -> Path:
    """Returns a plain file of an anchor, for the sandbox, which has no other: written into ``work`` if need be."""
    if not is_delta(anchor):
        return anchor
    (folder := work / "plain" / anchor.stem).mkdir(parents=True)
    return unpacked(anchor, folder)


def _parent_bind(named: Mapping[str, Any] | None, anchor: Path | None) -> list[Bind]:
    if not named:
        return []
    if anchor is None:
        raise InputError(f"begins with the weights of run {named['run'][:16]}", where="run", mend="show that run too")
    return [Bind(anchor, Path(_INSIDE / _PARENT))]


def make_room(program: Bind, place: Path, *, is_file: bool) -> None:
    """Makes the point below the code tree at which something else is shown."""
    if place == program.place or not place.is_relative_to(program.place):
        return
    point = program.host / place.relative_to(program.place)
    try:
        (point.parent if is_file else point).mkdir(parents=True, exist_ok=True)
        if is_file:
            point.touch()
    except OSError as error:
        raise EvidenceError("lies where the code tree has a file", where="opening.json", field=str(place)) from error
