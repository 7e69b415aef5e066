"""Training that happens where nothing is watched: in another thread, or in a process that the program started.

Nothing of it can be recorded, and nothing of it may pass unsaid. A process tells the one that is recorded by a file.
"""

import functools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["Elsewhere", "Listening", "Marker", "leave"]

_PASSES: Final = 2
"""Backward passes from which on a thread or process trains; the slope of something may be asked for once."""


class Elsewhere:
    """Counts what trains in a place that nothing watches, and tells of it once.

    Args:
        tell: told when it is clear, in the thread that trains.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._passes = 0
        self.found = False

    def stepped(self) -> None:
        """An optimizer steps there."""
        if not self.found:
            self.found = True
            self._tell()

    def passed(self) -> None:
        """A backward pass is made there."""
        self._passes += 1
        if self._passes >= _PASSES:
            self.stepped()


class Marker:
    """A file of which this process and those that it starts know the name."""

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir(), f"weighbridge-{os.getpid()}-{os.urandom(6).hex()}")

    def leave(self) -> None:
        """Says, in a process that trains unwatched, that it does."""
        leave(self.path)

    def take(self) -> bool:
        """Returns whether a process said so, and takes the file away."""
        found = self.path.exists()
        self.path.unlink(missing_ok=True)
        return found


def leave(path: Path) -> None:
    """Says that this process trains and is recorded in nothing, to who reads it and to the process that is."""
    print(
        f"weighbridge: PART OF THE TRAINING IS NOT RECORDED: process {os.getpid()} trains, which the program started"
        " and nothing watches",
        file=sys.stderr,
        flush=True,
    )
    try:
        path.touch()
    except OSError as error:
        print(f"weighbridge: and the transcript cannot be told of it ({error})", file=sys.stderr)


class Listening:
    """A function for a process of a pool, where it is told of whether that process trains. Pickled with its name."""

    def __init__(self, target: Callable[..., Any], path: Path) -> None:
        self._target, self._path = target, path

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Runs the function, listening from the moment at which PyTorch is there."""
        from weighbridge.mechanisms.transcript.when_imported import when_imported

        when_imported("torch", self._listen)
        return self._target(*arguments, **keywords)

    def _listen(self) -> None:
        import torch
        from torch.optim import optimizer as optimizer_hooks

        seen = Elsewhere(lambda: leave(self._path))
        optimizer_hooks.register_optimizer_step_pre_hook(lambda *given: seen.stepped())
        original = torch.autograd.backward

        @functools.wraps(original)
        def noting(*arguments: Any, **keywords: Any) -> None:
            seen.passed()
            original(*arguments, **keywords)

        torch.autograd.backward = noting
