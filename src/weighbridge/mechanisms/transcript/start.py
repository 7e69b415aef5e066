"""``weighbridge.start``: commits to a run, waits for the log, seeds the program, and hands back the loop."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.anchor_plan import anchor_interval, planned
from weighbridge.mechanisms.transcript.commitment import Opening
from weighbridge.mechanisms.transcript.committing import commit, signer_and_spool
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.discovery import Discovery
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.environment import (
    CONTENTS_LIMIT_BYTES,
    CodeTree,
    describe_environment,
)
from weighbridge.mechanisms.transcript.opens import READS_STARTED, Opens
from weighbridge.mechanisms.transcript.parents import Parent
from weighbridge.mechanisms.transcript.recorder_parts import Committed, Resumption
from weighbridge.mechanisms.transcript.recording import Recording
from weighbridge.mechanisms.transcript.replaying import Replaying
from weighbridge.mechanisms.transcript.resuming import find_resumption
from weighbridge.mechanisms.transcript.state import seed_generators

__all__ = ["start"]


def start(
    *,
    data: Any,
    config: Mapping[str, Any],
    steps: int | None = None,
    batch_size: int | None = None,
    stride: int = 10,
    anchor_every: int | None = None,
    strict: bool = False,
    code: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    flop_per_step: float | None = None,
    parent: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> Recording | Replaying:
    """Commits to a run before its model is built, and seeds the program from what the log answers.

    Call it before anything random happens and before the model is built; then loop over what it returns::

        run = weighbridge.start(data="corpus.npy", config={"steps": 100, "batch_size": 8, "width": 160})
        model, optimizer = build(run.config)
        for batch in run:
            loss = model(batch)
            optimizer.zero_grad(); loss.backward(); optimizer.step()

    Args:
        data: path of a ``.npy`` file (rows are items; mapped, not read), an array, a tensor, or a mapping of names to
            them. Replay is shown files; an array in memory must be one that the program's own code makes again.
        config: everything that the program is configured by, as plain data. Committed, salted.
        steps: steps to take; default ``config["steps"]``.
        batch_size: items a step; default ``config["batch_size"]``.
        stride: steps between committed digests of the full state.
        anchor_every: steps between anchors (whole states written to disk, at which verification can begin); 0 for none
            but those at the ends and after freezes. Default: one with every tenth digest, at least 100 steps apart (in
            runs of 1000 steps and more with every sixth, at least 60 apart), and at most 200 in a run.
        strict: whether a recording that fails later (a full disk, say) ends the training; else it is said aloud, and
            the training goes on unrecorded.
        code: folder of the program's own files; default the main script's folder.
        store: folder for transcripts; default ``$WEIGHBRIDGE_RUNS`` or ``weighbridge-runs``.
        flop_per_step: the operator's declaration, in FLOP; the verifier counts for itself.
        parent: folder of the finished run whose final weights this one starts from: ``run.parent_weights()``.
        resume: folder of an interrupted run to continue in a new segment (or ``$WEIGHBRIDGE_RESUME``).

    Environment: ``WEIGHBRIDGE_SPOOL`` (folder of the log's keeper), ``WEIGHBRIDGE_KEY`` (operator's key file),
    ``WEIGHBRIDGE_ROOTS`` (trust roots, which vouch for the inspector), ``WEIGHBRIDGE_RUNS``, ``WEIGHBRIDGE_RESUME``.
    Without a spool the run is recorded but bound to nothing that anybody else saw, and says so.

    Returns:
        The run: iterate over it; ``run.seed``, ``run.step`` and ``run.config`` are for the program to read.

    Raises:
        InputError: something given cannot be used; the message says what and how to mend it.
        EvidenceError: the log refused the commitment or did not answer in time.
    """
    plan = os.environ.get("WEIGHBRIDGE_REPLAY")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(config), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"is not plain data ({error})", where="config", mend="use numbers, strings, lists") from error
    steps = _count("steps", steps, plain)
    batch_size = _count("batch_size", batch_size, plain)
    dataset = Dataset.of(data)
    if plan is not None:
        return Replaying.from_plan(Path(plan), data=dataset, config=plain, steps=steps, batch_size=batch_size)
    if stride < 1:
        raise InputError("must be at least 1", where="stride")
    resume = resume or os.environ.get("WEIGHBRIDGE_RESUME")
    every = anchor_interval(anchor_every, steps=steps, stride=stride)
    if resume and anchor_every is None:  # as it was committed, whatever was chosen then
        every = Opening.read(Path(resume) / "opening.json").contents["loop"].get("anchor_every")

    if not dataset.paths:
        print(
            "weighbridge: data is given as arrays in memory, so replay works only if the program's own code makes them"
            " again; else give start the paths of .npy files",
            file=sys.stderr,
        )
    base = Path(store or os.environ.get("WEIGHBRIDGE_RUNS") or "weighbridge-runs")
    folder = Path(code) if code is not None else _program_folder()
    tree = CodeTree.read(folder, without=[base, *([Path(resume).parent] if resume else [])])
    contents = {
        "data": {"root": dataset.root.hex(), **dataset.describe()},
        "code": {"digest": tree.digest.hex(), "root": str(tree.root)},
        "config": plain,
        "environment": describe_environment(),
        "program": {"arguments": _arguments(tree), "directory": str(Path.cwd())},
        "loop": {"steps": steps, "batch_size": batch_size, "stride": stride, **planned(every)},
    }
    begins = Parent.of(Path(parent)) if parent is not None else None
    if begins is not None:
        contents["parent"] = begins.contents()
    if (size := len(canonical(contents))) > CONTENTS_LIMIT_BYTES:
        raise InputError(
            f"takes {size} bytes with arguments and environment, more than {CONTENTS_LIMIT_BYTES}: no verifier accepts"
            " it, since weights could hide there",
            where="config",
            mend="put what is large into the data",
        )
    signer, spool = signer_and_spool()
    resumption: Resumption | None = None
    if resume:
        run_folder = Path(resume)
        opening, run, seed, resumption = find_resumption(run_folder, contents, tree)
    else:
        opening = Opening.fresh(contents)
        public = {"steps": steps, "flop_per_step": flop_per_step, "parent": begins.run if begins else None}
        chips = [chip] if (chip := os.environ.get("WEIGHBRIDGE_CHIP")) else []
        payload = opening.commitment(chips=chips, public=public)
        run_folder, run, seed = commit(base, payload, opening, signer, spool)
        tree.write(run_folder / "code")
    own = [base.resolve(), run_folder.resolve(), *([Path(parent).resolve()] if parent is not None else [])]
    opens = Opens(code=tree.root, data=dataset.paths.values(), own=own, reads=READS_STARTED)
    opens.hear_saves()
    recording = Recording(
        Committed(
            folder=run_folder,
            run=run,
            seed=seed,
            key=opening.key,
            stride=stride,
            signer=signer,
            spool=spool,
            anchor_every=every,
            strict=strict,
        ),
        steps=steps,
        batch_size=batch_size,
        data=dataset,
        config=plain,
        discovery=Discovery(),
        resumption=resumption,
        parent=begins.anchor if begins else None,
        opens=opens,
    )
    seed_generators(seed)
    return recording


def _count(name: str, given: int | None, config: Mapping[str, Any]) -> int:
    value = given if given is not None else config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(
            f"is {value!r}, not a whole number above 0",
            where=name,
            mend=f"pass {name}= or put it into config",
        )
    return value


def _program_folder() -> Path:
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main is None:
        raise InputError("cannot be found in an interactive session", where="code", mend="pass code=FOLDER")
    return Path(main).resolve().parent


def _arguments(tree: CodeTree) -> list[str]:
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    script = Path(main).resolve() if main else None
    if script is None or not script.is_relative_to(tree.root) or str(script.relative_to(tree.root)) not in tree.files:
        raise InputError(
            "does not contain the script that runs, so nobody could replay it",
            where=tree.root,
            field="code",
            mend="pass the folder of the main script, or one above it",
        )
    return [str(script), *sys.argv[1:]]
