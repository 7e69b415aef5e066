"""Replay, seen from outside: the operator's program in a sandbox, in an environment that the verifier built.

The interpreter and its packages are those that run this very code, never the operator's. Inside are the committed
code tree, the data whose root was committed, the anchors of the plan, and nothing else: no network, no other file.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.replaying import Leg, ReplayPlan
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.sandbox import Bind, IsolatedResult, Sandbox, interpreter_binds, run_isolated

__all__ = ["Replay", "ReplayedState", "replay"]

_OUTPUT_LIMIT_BYTES = 256 << 20


@dataclass(frozen=True)
class ReplayedState:
    """The program at the start of one step: the digest, if the plan asked, and its CPU time so far."""

    step: int
    digest: str | None
    cpu_ns: int


@dataclass(frozen=True)
class Replay:
    """What a replayed program wrote out. Its own words: compare them, never trust them.

    Attributes:
        states: per leg, the states passed through, in order.
        steps: what each step did, by step.
        flop_per_step: FLOP of one step by PyTorch's counter, if asked and possible.
        startup_cpu_s: CPU seconds before the first step.
        result: how the process ended.
        folder: where captured states lie, until the context closes.
    """

    states: tuple[tuple[ReplayedState, ...], ...]
    steps: Mapping[int, Mapping[str, Any]]
    flop_per_step: float | None
    startup_cpu_s: float
    result: IsolatedResult
    folder: Path

    def captured(self, step: int) -> TrainingState:
        """Reads the state captured at ``step``."""
        return read_anchor(self.folder / f"state-{step:07d}.safetensors")

    @property
    def digests(self) -> dict[int, str]:
        """Digests by step."""
        return {s.step: s.digest for leg in self.states for s in leg if s.digest is not None}

    @property
    def step_cpu_s(self) -> list[float]:
        """CPU seconds of each step replayed, what replay itself wrote out included, in order."""
        return [(after.cpu_ns - before.cpu_ns) / 1e9 for leg in self.states for before, after in pairwise(leg)]


@contextmanager
def replay(
    transcript: Transcript,
    *,
    legs: Iterable[Leg],
    captures: Iterable[int] = (),
    digests: Iterable[int] = (),
    data: Path | None = None,
    without_data: bool = False,
    count_flop: bool = False,
    core: int | None = None,
    seconds: float = 900.0,
    scratch: Path | None = None,
    observer: Callable[[int], None] | None = None,
) -> Iterator[Replay]:
    """Replays legs of a run in one process and yields what it wrote out.

    Args:
        transcript: the opened run.
        legs: stretches in ascending order; an anchor is a file's name in the transcript, None derives the state.
        captures: steps whose whole state is written out.
        digests: steps whose salted digest is written out.
        data: the file that the operator handed over, if not at its committed path.
        without_data: show zeros in place of the data (for the initial state, so that nothing can be smuggled).
        count_flop: count one more step's FLOP at the end.
        core: processor to pin the process to.
        seconds: wall-clock limit.
        scratch: folder for temporary files.
        observer: called with the sandbox's process id, a hundred times a second, while it runs.

    Raises:
        EvidenceError: data or code are not what was committed, or the program did not walk the plan.
        InputError: the data was given as an array in memory and cannot be shown to a sandbox.
    """
    walked = tuple(legs)
    contents = transcript.contents
    work = Path(tempfile.mkdtemp(prefix="weighbridge-replay-", dir=scratch))
    try:
        (out := work / "out").mkdir()
        transcript.code.write(work / "code")
        plan = ReplayPlan(
            seed=transcript.seed,
            key=transcript.opening.key,
            legs=tuple(
                Leg(leg.start, leg.until, f"/replay/anchors/{leg.anchor}" if leg.anchor else None) for leg in walked
            ),
            captures=frozenset(captures),
            digests=frozenset(digests),
            out=Path("/replay/out"),
            config=contents["config"],
            steps=int(contents["loop"]["steps"]),
            batch_size=int(contents["loop"]["batch_size"]),
            count_flop=count_flop,
        )
        (work / "plan.json").write_text(plan.as_json())
        binds = [*interpreter_binds(), Bind(work / "plan.json", Path("/replay/plan.json"))]
        binds.append(Bind(work / "code", Path(contents["code"]["root"])))
        binds.append(Bind(out, Path("/replay/out"), writable=True))
        binds.append(_data_bind(contents["data"], data, work if without_data else None))
        for leg in walked:
            if leg.anchor:
                host = transcript.folder / "anchors" / Path(leg.anchor).name
                binds.append(Bind(host, Path(f"/replay/anchors/{leg.anchor}")))
        result = run_isolated(
            [sys.executable, *_arguments(contents["program"])],
            Sandbox(
                binds=tuple(binds),
                environment=_environment(contents["environment"]),
                working_directory=Path(contents["program"]["directory"]),
                seconds=seconds,
                core=core,
            ),
            observer=observer,
        )
        yield _read(out, result, walked)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _arguments(program: Mapping[str, Any]) -> list[str]:
    arguments = [str(argument) for argument in program["arguments"]]
    if not arguments or not arguments[0]:
        raise EvidenceError("names no script to run", where="opening.json", field="program")
    return arguments


def _environment(recorded: Mapping[str, Any]) -> dict[str, str]:
    variables = {str(k): str(v) for k, v in dict(recorded.get("variables", {})).items()}
    variables.setdefault("OMP_NUM_THREADS", str(recorded.get("threads", 1)))
    return variables | {
        "WEIGHBRIDGE_REPLAY": "/replay/plan.json",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108 - a private tmpfs inside
    }


def _data_bind(described: Mapping[str, Any], given: Path | None, zeros_in: Path | None) -> Bind:
    """Returns the bind that shows the committed data, or zeros of its shape, at the path that the program reads."""
    path = described.get("path")
    if path is None:
        raise InputError(
            "was given as an array in memory",
            where="data",
            mend="give start the path of a .npy file, so that the verifier can show it to the program",
        )
    inside = Path(path)
    if zeros_in is not None:
        array = described["arrays"]["data"]
        stand_in = zeros_in / "zeros.npy"
        with stand_in.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": array["format"], "fortran_order": False, "shape": tuple(array["shape"])}
            )
            size = int(np.prod(array["shape"])) * np.dtype(array["format"]).itemsize
            file.truncate(file.tell() + size)
        return Bind(stand_in, inside)
    host = given or inside
    if not host.exists():
        raise InputError("is not there", where=host, mend="pass the file that the operator handed over")
    root = Dataset.of(host).root.hex()
    if root != described["root"]:
        raise EvidenceError(f"has root {root[:16]}…, not the committed {described['root'][:16]}…", where=host)
    return Bind(host, inside)


def _read(out: Path, result: IsolatedResult, legs: tuple[Leg, ...]) -> Replay:
    log = out / "replay.jsonl"
    if not log.is_file() or log.is_symlink() or log.stat().st_size > _OUTPUT_LIMIT_BYTES:
        raise EvidenceError(
            "the program did not reach its loop when replayed; it ended with"
            f" status {result.returncode}{' at the time limit' if result.timed_out else ''}:"
            f" {result.output.strip().splitlines()[-1:] or ['no output']}",
            where="replay",
        )
    states: list[list[ReplayedState]] = []
    steps: dict[int, Mapping[str, Any]] = {}
    flop: float | None = None
    startup = 0.0
    ended = False
    try:
        for line in log.read_text().splitlines():
            event = json.loads(line)
            match event["type"]:
                case "start":
                    startup = int(event["cpu_ns"]) / 1e9
                case "state":
                    seen = ReplayedState(int(event["step"]), event.get("digest"), int(event["cpu_ns"]))
                    if not states or (seen.step != states[-1][-1].step + 1):
                        states.append([])
                    states[-1].append(seen)
                case "step":
                    steps[int(event["step"])] = event
                case "flop":
                    flop = float(event["per_step"])
                case "end":
                    ended = True
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"the replayed program wrote nonsense ({error})", where="replay") from error
    reached = {s.step for leg in states for s in leg}
    missing = [step for leg in legs for step in (leg.start, leg.until) if step not in reached]
    if missing or not ended:
        raise EvidenceError(
            f"the replayed program stopped before step {missing[0] if missing else 'the end'};"
            f" its last words: {result.output.strip()[-400:]}",
            where="replay",
        )
    return Replay(tuple(tuple(leg) for leg in states), steps, flop, startup, result, out)
