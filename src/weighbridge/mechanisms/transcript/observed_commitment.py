"""Committing to a program that knows nothing of us: before it begins if its seeds are bound, else at its first step."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.anchor_plan import planned
from weighbridge.mechanisms.transcript.commitment import Opening, salt_for
from weighbridge.mechanisms.transcript.committing import commit, seed_of, signer_and_spool
from weighbridge.mechanisms.transcript.data_files import DataFiles
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.environment import (
    CONTENTS_LIMIT_BYTES,
    CodeTree,
    describe_environment,
    packages_of,
)
from weighbridge.mechanisms.transcript.journal import read_segment, segment_paths
from weighbridge.mechanisms.transcript.ranks import Group
from weighbridge.mechanisms.transcript.recorder_parts import Committed
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.watched import Program, Watch, is_bound

__all__ = ["MUST_STAND", "commit_observed", "committed_before", "observed_contents", "reopen", "same_beginning"]

MUST_STAND = ("data", "code", "config", "loop", "program")
"""What may not have changed when a watched program is recorded further."""


def observed_contents(program: Program, watch: Watch, group: Group | None = None) -> tuple[dict[str, Any], CodeTree]:
    """Returns what a watched program commits to as it stands now, and its code tree.

    Raises:
        InputError: code or data cannot be read, or the whole is too large.
    """
    tree = CodeTree.read(program.code, without=[watch.store])
    contents: dict[str, Any] = {
        "data": DataFiles.read(watch.data).describe(),
        "code": {"digest": tree.digest.hex(), "root": str(tree.root)},
        "config": program.config | ({"group": group.describe()} if group is not None else {}),
        "environment": describe_environment(packages_of(list(sys.modules))),
        "program": {
            "arguments": list(program.arguments),
            "directory": str(Path.cwd()),
            "module": program.module,
            "variables": {name: os.environ[name] for name in watch.variables if name in os.environ},
        },
        "loop": {
            "mode": "observed",
            "steps": None,
            "batch_size": None,
            "stride": watch.stride,
            **planned(watch.anchor_every or None),
        },
    }
    if (size := len(canonical(contents))) > CONTENTS_LIMIT_BYTES:
        mend = "name fewer files with --data: pack them, or name only those that the program reads"
        raise InputError(f"takes {size} bytes, more than {CONTENTS_LIMIT_BYTES}", where="commitment", mend=mend)
    return contents, tree


def commit_observed(program: Program, watch: Watch, group: Group | None = None) -> Committed:
    """Commits to a program, waits for the log, and keeps its code.

    Raises:
        InputError: code or data cannot be committed.
        EvidenceError: the log refused the commitment or did not answer in time.
    """
    contents, tree = observed_contents(program, watch, group)
    signer, spool = signer_and_spool()
    opening = Opening.fresh(contents)
    chips = [chip] if (chip := os.environ.get("WEIGHBRIDGE_CHIP")) else []
    payload = opening.commitment(chips=chips, public={"steps": None, "flop_per_step": None, "parent": None})
    folder, run, seed = commit(watch.store, payload, opening, signer, spool)
    tree.write(folder / "code")
    return Committed(
        folder=folder,
        run=run,
        seed=seed,
        key=opening.key,
        stride=watch.stride,
        signer=signer,
        spool=spool,
        anchor_every=watch.anchor_every or None,
        strict=watch.strict,
    )


def reopen(folder: Path) -> dict[str, Any]:
    """Returns what a process that goes on with a run begins from: what it was launched with, and the run's seed.

    Raises:
        EvidenceError: the run cannot be read, or its answer is not an inspector's.
        InputError: it is no run of a watched program, or what the environment names cannot be used.
    """
    opening = Opening.read(folder / "opening.json")
    if opening.contents["loop"].get("mode") != "observed":
        mend = "give its program the folder in WEIGHBRIDGE_RESUME"
        raise InputError("is a run of a program that calls weighbridge.start", where=folder, mend=mend)
    config = opening.contents["config"]
    run = str(read_segment(segment_paths(folder)[0]).events[0].data["run"])
    launch = None if is_bound(config) else str(config.get("launch"))
    return {"launch": launch, "seed": seed_of(folder, run, opening).hex()}


def committed_before(folder: Path, run: str, *, watch: Watch) -> Callable[[], Committed]:
    """Returns what opens a commitment that was made before the program began."""

    def opened() -> Committed:
        opening = Opening.read(folder / "opening.json")
        signer, spool = signer_and_spool()
        seed = seed_of(folder, run, opening)
        return Committed(
            folder=folder,
            run=run,
            seed=seed,
            key=opening.key,
            stride=watch.stride,
            signer=signer,
            spool=spool,
            anchor_every=watch.anchor_every or None,
            strict=watch.strict,
        )

    return opened


def same_beginning(folder: Path, opening: Opening, state: TrainingState) -> None:
    """Checks that a program that is to be recorded further has built the very beginning that was recorded.

    Raises:
        InputError: it has not: it may have gone on from a checkpoint of its own.
    """
    first = read_segment(segment_paths(folder)[0]).events[0].data
    if state.digest(salt_for(opening.key, "state/0")).hex() != first["state"]:
        raise InputError(
            "began otherwise: the program builds another first state now; it may have gone on from a checkpoint of its"
            " own",
            where=folder,
            field="--resume",
            mend="let it begin at its beginning, or record a run of its own without --resume and name its checkpoint"
            " with --data",
        )
