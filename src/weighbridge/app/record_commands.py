"""``weighbridge record``: runs a training program that knows nothing of us, and records it."""

import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighbridge.errors import InputError

if TYPE_CHECKING:
    from weighbridge.mechanisms.transcript.launchers import Launched

__all__ = ["mount"]

_LAUNCH = "weighbridge.mechanisms.transcript.launch"
_INTERPRETERS = ("python", "python3", f"python3.{sys.version_info.minor}")
_LAUNCHERS = ("torchrun", "accelerate", "accelerate-launch")
_GROUP = "WEIGHBRIDGE_GROUP"
_MEND = "give it after --, as in: weighbridge record -- python train.py --lr 0.1"


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(context_settings={"allow_interspersed_args": False})(record)


def record(
    command: Annotated[list[str], typer.Argument(help="The program, after --, as you would start it.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for transcripts.", envvar="WEIGHBRIDGE_RUNS")] = Path(
        "weighbridge-runs"
    ),
    data: Annotated[
        list[Path] | None,
        typer.Option(help="A file or folder that the program reads its data from; repeat it. Replay sees no other."),
    ] = None,
    code: Annotated[
        Path | None, typer.Option(help="Folder of the program's own files; default the script's, or for -m this one.")
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Steps between digests of the full state.")] = 10,
    variable: Annotated[
        list[str] | None, typer.Option(help="An environment variable that the program depends on; repeat it.")
    ] = None,
    anchor_every: Annotated[
        int, typer.Option(min=0, help="Steps between states kept whole, at which replay can begin; 0 for none.")
    ] = 0,
    bind: Annotated[
        bool,
        typer.Option("--bind", help="Let every seed that the program asks for follow from one that it cannot choose."),
    ] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of an interrupted run to go on with; options are those of that run.")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="End the program if it cannot be recorded, or no longer; fail if nothing was caught."
        ),
    ] = False,
) -> None:
    """Records a PyTorch program without a line changed in it: it runs as ever, and leaves a transcript.

    Nothing of the training changes, seeds included, unless you say --bind: so the run is bound to no seed that others
    chose, and the transcript says so. With --bind the commitment is made before the program begins, and each seed that
    it asks for is replaced by one that follows from the inspector's answer. Verify it with ``weighbridge transcript
    verify``: the program runs again, and every committed state must come out bit for bit; from states kept with
    --anchor-every on, if you like. What the program reads besides its own code must be named with --data.

    Several processes that torchrun or accelerate launch starts are recorded each for itself, and joined afterwards by
    ``weighbridge transcript merge``.

    Example: weighbridge record --bind --anchor-every 100 --data corpus.txt -- python train.py --steps 1000
    """
    interpreter, options, program = _split(command)
    launched = _launched(program)
    if launched is not None:
        program = list(launched.program)
    module = program[0] == "-m"
    script = Path(program[1] if module else program[0])
    if not module and not script.is_file():
        raise InputError("is not there", where=script, field="COMMAND", mend=_MEND)
    for path in data or []:
        if not path.exists():
            raise InputError("is not there", where=path, field="--data", mend="name the files that hold the data")
    settings: dict[str, Any] = {
        "store": str(out.resolve()),
        "code": str((code or (Path.cwd() if module else script.resolve().parent)).resolve()),
        "data": [str(path.resolve()) for path in data or []],
        "stride": stride,
        "variables": variable or [],
        "strict": strict,
        "anchor_every": anchor_every,
        "bind": bind,
        "group": _group(),
    }
    if launched is not None and (bind or resume is not None):
        option = "--bind" if bind else "--resume"
        mend = "leave it away: ranks have the seeds that they ask for, and are replayed from their beginning"
        raise InputError("is not for several ranks", where=option, mend=mend)
    if resume is not None:
        settings |= _committed(resume)
    elif not bind and os.environ.get("WEIGHBRIDGE_SPOOL"):
        print(
            "weighbridge: an inspector listens (WEIGHBRIDGE_SPOOL), but the program's seeds are its own: the run will"
            " cover no chip-time. Say --bind to let them follow from the inspector's answer",
            file=sys.stderr,
        )
    launcher = ["-m", launched.launcher, *launched.options] if launched is not None else ["-m"]
    host = [_LAUNCH, *(["-m"] if module else []), *_program(program, module=module)]
    arguments = [interpreter, *options, *launcher, *host]
    # Sets are walked in the order of hashes: the same order in every process, unless the user chose one.
    environment = {"PYTHONHASHSEED": "0"} | os.environ | {"WEIGHBRIDGE_RECORD": json.dumps(settings)}
    os.execve(interpreter, arguments, environment)  # noqa: S606 - no shell


def _committed(run: Path) -> dict[str, Any]:
    """Returns the settings with which a run was committed to."""
    from weighbridge.mechanisms.transcript.commitment import Opening

    contents = Opening.read(run / "opening.json").contents
    return {
        "resume": str(run.resolve()),
        "store": str(run.resolve().parent),
        "code": contents["code"]["root"],
        "data": list(contents["data"].get("files", {})),
        "stride": contents["loop"]["stride"],
        "anchor_every": contents["loop"].get("anchor_every", 0),
        "variables": list(contents["program"].get("variables", {})),
    }


def _split(command: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """Returns the interpreter, its own options, and the script or ``-m`` with what follows."""
    first, rest = command[0], list(command[1:])
    if first in _INTERPRETERS or Path(first).name.startswith("python"):
        interpreter = sys.executable if first in _INTERPRETERS else first
        if shutil.which(interpreter) is None:
            raise InputError("is no program", where=first, field="COMMAND", mend=_MEND)
        options = []
        while rest and rest[0].startswith("-") and rest[0] != "-m":
            if rest[0].startswith("-c"):
                mend = "put it into a file: its code is committed as a file"
                raise InputError("runs text that is in no file", where="-c", field="COMMAND", mend=mend)
            options.append(rest.pop(0))
        if not rest or rest == ["-m"]:
            raise InputError("names no program", where=" ".join(command), field="COMMAND", mend=_MEND)
        return interpreter, options, rest
    if Path(first).suffix == ".py":
        return sys.executable, [], list(command)
    if Path(first).name in _LAUNCHERS:
        beside = Path(first).with_name("python")  # the environment that it was named from
        return str(beside) if Path(first).is_absolute() and beside.exists() else sys.executable, [], list(command)
    mend = "start the Python program itself: weighbridge record -- python train.py, or -- python -m MODULE"
    raise InputError("is no Python program that is started here", where=first, field="COMMAND", mend=mend)


def _launched(program: Sequence[str]) -> "Launched | None":
    """Returns the launcher's words and the program that it starts, if a launcher starts it."""
    if Path(program[0]).name not in _LAUNCHERS and not (
        program[0] == "-m" and program[1].startswith(("torch.distributed.run", "accelerate"))
    ):
        return None
    from weighbridge.mechanisms.transcript.launchers import read_launcher  # imports the launcher, which brings torch

    return read_launcher(program)


def _group() -> str:
    """Returns what the ranks of one run share: drawn here, or given where several machines share a run."""
    given = os.environ.get(_GROUP)
    if given is None:
        return secrets.token_hex(32)
    if re.fullmatch(r"[0-9a-f]{64}", given) is None:
        raise InputError("is not 64 hexadecimal digits", where=_GROUP, mend="draw them once, for all machines of a run")
    return given


def _program(program: Sequence[str], *, module: bool) -> list[str]:
    return list(program[1:]) if module else [str(Path(program[0]).resolve()), *program[1:]]
