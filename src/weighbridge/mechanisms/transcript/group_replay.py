"""Replay of several ranks: all of them in one sandbox, which has no network but its own loopback.

Each rank runs the committed program with its own plan; they meet at an address inside. What each wrote out is read as
that of a run on its own (:mod:`.replay`), and is its own word.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.allowance import Allowance
from weighbridge.mechanisms.transcript.data_files import DataFiles
from weighbridge.mechanisms.transcript.group_host import MEETING
from weighbridge.mechanisms.transcript.launch import SPAWNED
from weighbridge.mechanisms.transcript.outside import MEND_WATCHED, Shown
from weighbridge.mechanisms.transcript.ranks import Group
from weighbridge.mechanisms.transcript.replay import (
    OWN_BYTES,
    OWN_FILES,
    Replay,
    make_room,
    recorded_seconds,
)
from weighbridge.mechanisms.transcript.replay_data import INSIDE, place_inside
from weighbridge.mechanisms.transcript.replay_plan import Leg, ReplayPlan
from weighbridge.mechanisms.transcript.replay_program import program_command, program_environment
from weighbridge.mechanisms.transcript.replay_reading import read_outcome
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.witness import Witness
from weighbridge.sandbox import Bind, Sandbox, interpreter_binds, run_isolated

__all__ = ["replay_group"]

_HOST: Final = "weighbridge.mechanisms.transcript.group_host"
_PORT: Final = 29500  # the sandbox's own: nobody outside sees it


@contextmanager
def replay_group(
    ranks: Sequence[Transcript], *, until: int, seconds: float = 900.0, scratch: Path | None = None
) -> Iterator[list[Replay]]:
    """Replays all ranks of a group from their beginning, and yields what each wrote out, in the ranks' order.

    Args:
        ranks: the opened runs of all ranks, in order.
        until: steps to replay, which every rank has.
        seconds: wall-clock limit; longer where the recording took longer.
        scratch: folder for temporary files.

    Raises:
        EvidenceError: data or code are not what was committed, or the program did not walk the plans.
        InputError: the data is not there.
        OutsideError: a rank ended for want of a path that was not committed.
    """
    first = ranks[0]
    work = Path(tempfile.mkdtemp(prefix="weighbridge-replay-", dir=scratch))
    try:
        first.code.write(work / "code")
        (out := work / "out").mkdir()
        folders = [out / f"rank-{number}" for number in range(len(ranks))]
        walks = [_plan(transcript, until, number) for number, transcript in enumerate(ranks)]
        indices = _indices(ranks)
        names = [f"plan-{number}.json" for number in (indices or range(len(ranks)))]
        (work / "plans").mkdir()
        for folder, plan, name in zip(folders, walks, names, strict=True):
            folder.mkdir()
            (work / "plans" / name).write_text(plan.as_json())
        if indices:  # the program starts its ranks itself
            commands = [_program(first)]
        else:
            commands = [_rank(transcript, number, len(ranks)) for number, transcript in enumerate(ranks)]
        (work / "hosts").write_text("127.0.0.1 localhost\n")
        (work / "ranks.json").write_text(json.dumps(commands))
        shown = DataFiles.binds(first.contents["data"])
        program = Bind(work / "code", place_inside(first.contents["code"]["root"], "code.root"), writable=True)
        directory = place_inside(first.contents["program"]["directory"], "program.directory")
        interpreter = interpreter_binds()
        make_room(program, directory, is_file=False)
        for bind in (*shown, *interpreter):
            make_room(program, bind.place, is_file=bind.host.is_file())
        plans = [Bind(work / name, Path(INSIDE / name)) for name in ("ranks.json", "plans")]
        witnesses = [Witness(folder / "replay.jsonl") for folder in folders]

        def watch(pid: int) -> None:
            for witness in witnesses:
                witness.look(pid)

        allowed = [
            Allowance.of(
                transcript.folder / "anchors",
                first=str(transcript.events[0].data["anchor"]),
                states=len(plan.captures),
                data_bytes=sum(bind.host.stat().st_size for bind in shown),
            )
            for transcript, plan in zip(ranks, walks, strict=True)
        ]
        environment = program_environment(first.contents, None)
        environment.pop("WEIGHBRIDGE_REPLAY")
        binds = (
            *interpreter,
            program,
            *shown,
            *plans,
            Bind(work / "hosts", Path("/etc/hosts")),
            Bind(out, Path(INSIDE / "out"), writable=True),
        )
        inside = Shown(binds, directory, MEND_WATCHED)
        result = run_isolated(
            [sys.executable, "-m", _HOST, str(INSIDE / "ranks.json")],
            Sandbox(
                binds=binds,
                environment=environment,
                working_directory=directory,
                seconds=max(seconds, *(recorded_seconds(transcript) for transcript in ranks)),
                memory_bytes=max(allowance.memory_bytes for allowance in allowed),
                file_bytes=max(allowance.file_bytes for allowance in allowed),
                written_bytes=sum(allowance.written_bytes for allowance in allowed) + OWN_BYTES,
                written_files=sum(allowance.written_files for allowance in allowed) + OWN_FILES,
            ),
            observer=watch,
        )
        for witness in witnesses:
            witness.close(result.cpu_seconds)
        outcomes = []
        for number, (folder, plan, witness) in enumerate(zip(folders, walks, witnesses, strict=True)):
            try:
                outcomes.append(
                    read_outcome(folder, result, plan.legs, plan.digests, witness, mend=None, shown=inside, of_any=True)
                )
            except EvidenceError as error:
                raise EvidenceError(f"{error.what} (rank {number})", where=error.where, mend=error.mend) from error
        yield outcomes
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _plan(transcript: Transcript, until: int, number: int) -> ReplayPlan:
    contents = transcript.contents
    return ReplayPlan(
        seed=transcript.seed,
        key=transcript.opening.key,
        legs=(Leg(0, until),),
        captures=frozenset({0, until}),
        digests=frozenset(step for step in transcript.digests if step <= until),
        out=Path(INSIDE / "out" / f"rank-{number}"),
        config=contents["config"],
        steps=0,
        batch_size=1,
    )


def _indices(ranks: Sequence[Transcript]) -> list[int]:
    """Returns which of the processes that the program started each rank was; nothing if a launcher started them.

    Raises:
        EvidenceError: the ranks were started in different ways.
    """
    told = [transcript.contents["config"].get("spawner") for transcript in ranks]
    if not any(told):
        return []
    indices = [one.get("index") if isinstance(one, dict) else None for one in told]
    launches = {str(one.get("launch")) for one in told if isinstance(one, dict)}
    if len(launches) != 1 or len(set(indices)) < len(indices) or not all(type(i) is int and i >= 0 for i in indices):
        raise EvidenceError("were not all started by one process of the program", where="ranks")
    return [index for index in indices if index is not None]


_COMMON: Final = {
    "TORCHELASTIC_USE_AGENT_STORE": "False",
    "GLOO_SOCKET_IFNAME": "lo",
    MEETING: str(INSIDE / "out"),
}


def _program(transcript: Transcript) -> dict[str, Any]:
    """Returns how a program that starts its ranks itself is started."""
    environment = program_environment(transcript.contents, None)
    del environment["WEIGHBRIDGE_REPLAY"]
    environment |= _COMMON | {SPAWNED: str(INSIDE / "plans")}
    return {"command": [sys.executable, *program_command(transcript.contents)], "environment": environment}


def _rank(transcript: Transcript, number: int, world: int) -> dict[str, Any]:
    """Returns how one rank is started: with what its launcher told it, but at an address inside the sandbox."""
    group = Group.of(transcript.contents["config"], where=transcript.folder)
    assert group is not None
    environment = program_environment(transcript.contents, None)
    environment |= dict(group.variables)
    environment |= _COMMON | {
        "RANK": str(number),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_PORT),
        "WEIGHBRIDGE_REPLAY": str(INSIDE / "plans" / f"plan-{number}.json"),
    }
    return {"command": [sys.executable, *program_command(transcript.contents)], "environment": environment}
