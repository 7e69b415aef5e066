"""Programs that start a training program several times (``torchrun``, ``accelerate launch``): where the script begins.

Their own parsers tell it, so every option that they know is known here. The script is then started by our host, as a
module that they start: one more word of the command line, and no line of the program.
"""

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import InputError

__all__ = ["Launched", "read_launcher"]

_TORCH: Final = "torch.distributed.run"
_ACCELERATE: Final = "accelerate.commands.launch"
_PARSERS: Final = {_TORCH: "get_args_parser", _ACCELERATE: "launch_command_parser"}
_INSTEAD: Final = "give it a Python script, or -m and a module"


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A launcher's command line, cut where its script begins.

    Attributes:
        launcher: the module that launches.
        options: the launcher's own words, with ``-m``, as they are when what it starts is a module.
        program: ``-m`` and a module, or a script, with what follows.
    """

    launcher: str
    options: tuple[str, ...]
    program: tuple[str, ...]


def read_launcher(command: Sequence[str]) -> Launched | None:
    """Reads a command line; returns None if it starts no launcher that is known here.

    Args:
        command: as typed, without a Python interpreter and its options before it.

    Raises:
        InputError: the launcher refuses its options, is not installed, or starts no Python program.
    """
    name = Path(command[0]).name
    words = list(command[1:])
    if command[0] == "-m" and words:
        name, words = f"-m {words[0]}", words[1:]
    if name in ("torchrun", f"-m {_TORCH}", "-m torch.distributed.launcher"):
        return _cut(_TORCH, words)
    if name in ("accelerate", "-m accelerate.commands.accelerate_cli", "-m accelerate") and words[:1] == ["launch"]:
        return _cut(_ACCELERATE, words[1:])
    if name in ("accelerate-launch", f"-m {_ACCELERATE}"):
        return _cut(_ACCELERATE, words)
    return None


def _cut(launcher: str, words: list[str]) -> Launched:
    try:
        parser: Callable[[], argparse.ArgumentParser] = getattr(import_module(launcher), _PARSERS[launcher])
    except ImportError as error:
        raise InputError(f"is not installed ({error})", where=launcher, field="COMMAND") from error
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            told: Any = parser().parse_args(words)
    except SystemExit as error:
        reason = (said.getvalue().strip().splitlines() or ["it wants other words"])[-1]
        raise InputError(f"refuses its options: {reason}", where=launcher, field="COMMAND") from error
    for option in ("no_python", "run_path"):
        if getattr(told, option, False):
            raise InputError(f"starts no Python program as such (--{option})", where=launcher, mend=_INSTEAD)
    place = len(words) - 1 - len(told.training_script_args)
    while place > 0 and words[place] == "--":  # argparse drops it on both sides of a word, and so does the launcher
        place -= 1
    if place < 0 or words[place] != told.training_script:
        raise InputError("has no script that could be found in its words", where=launcher, mend=_INSTEAD)
    options = words[:place]
    while options and options[-1] == "--":
        options.pop()
    program = [told.training_script, *told.training_script_args]
    if told.module:
        return Launched(launcher=launcher, options=tuple(options), program=("-m", *program))
    return Launched(launcher=launcher, options=(*options, "-m"), program=tuple(program))
