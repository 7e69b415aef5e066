"""What a program that knows nothing of us is recorded as: its command line, and how it is to be watched.

Free of PyTorch, which such a program imports when and as it likes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import WeighbridgeError

__all__ = ["BOUND", "CODE_SUFFIXES", "WATCHED", "Program", "RecordingStoppedError", "Watch", "is_bound"]

BOUND: Final = {"seeds": "bound"}
"""Configuration of a program whose seeds follow from the run's."""


class RecordingStoppedError(WeighbridgeError):
    """A strict recording could not go on, and ends the training."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program as its command line names it.

    Attributes:
        arguments: the script or module, and its arguments.
        module: whether the first argument is a module's name (``python -m``).
        code: folder of the program's own files.
        launch: what Python's and NumPy's generators were seeded with when the process began (hex); None if every seed
            follows from the run's.
        inside: where the program itself began the recording, and how those generators stood; None if it did not.
        group: what this process shares with the other ranks that train the same model (hex), if there are any.
        spawner: of a process that the program started itself: which it is (``index``), what its parent's generators
            were seeded with (``launch``), and how its own stood when it began (``generators``).
    """

    arguments: tuple[str, ...]
    module: bool
    code: Path
    launch: str | None
    inside: Mapping[str, Any] | None = None
    group: str | None = None
    spawner: Mapping[str, Any] | None = None

    @property
    def config(self) -> dict[str, Any]:
        """Returns what is committed as the run's configuration."""
        if self.inside is not None:
            return {"inside": dict(self.inside)}
        started = {"spawner": dict(self.spawner)} if self.spawner is not None else {}
        return {**(BOUND if self.launch is None else {"launch": self.launch}), **started}


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How a program is to be recorded.

    Attributes:
        store: folder for transcripts.
        stride: steps between committed digests of the full state.
        data: files and folders that the program reads its data from.
        variables: environment variables that the program depends on.
        strict: whether a recording that fails ends the program.
        anchor_every: steps between anchored states; 0 for none but at both ends.
    """

    store: Path
    stride: int
    data: tuple[Path, ...]
    variables: tuple[str, ...]
    strict: bool
    anchor_every: int = 0


CODE_SUFFIXES: Final = (".py", ".json", ".toml", ".yaml", ".yml")
"""Files below a program's folder that are committed as its code."""

WATCHED: Final = "WEIGHBRIDGE_WATCHED"
"""Set in the environment of a program that is watched from outside, so that it does not record itself besides: the id
of the process that is."""


def is_bound(config: Mapping[str, Any]) -> bool:
    """Returns whether a watched program's configuration says that its seeds follow from the run's."""
    return config.get("seeds") == BOUND["seeds"]
