"""What a recorded program opens elsewhere, said while it is recorded: where it is replayed, that will not be there.

Heard by an audit hook, once for what it reads and once for what it writes, and never surely complete: libraries written
in C open files unheard, and so do processes that the program starts. Nothing of what the program does changes, and what
the hook cannot tell it leaves unsaid: a file in a system's folder or a cache, one that this process wrote itself, a
folder that it made. An audit hook cannot be taken away: this one looks at nothing once it has said its two sentences.
"""

import contextlib
import functools
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from weighbridge.mechanisms.transcript.watched import CODE_SUFFIXES
from weighbridge.sandbox import interpreter_binds

__all__ = ["READS", "READS_STARTED", "WRITES", "Opens"]

READS: Final = "neither in its folder nor named with --data, so a replay will not find it: name it with --data"
READS_STARTED: Final = (
    "neither in its folder nor given to start as data, so a replay will not find it: keep settings as .json, .toml or"
    " .yaml in the program's folder, and give start the paths of arrays"
)
WRITES: Final = (
    "in a folder that a replay will not have: write below the program's own folder, or let the program make the folder"
)

_SYSTEM: Final = ("/dev", "/etc", "/proc", "/run", "/sys")
_CACHES: Final = (".cache", ".config", ".git", ".local", ".nv", ".triton", "__pycache__")
_COMPILED: Final = "torchinductor_"
_TICK_S: Final = 0.1
"""The system tells the beginning of a process to a hundredth of a second."""
_WRITING: Final = os.O_WRONLY | os.O_RDWR


class Opens:
    """Listens to what this process opens, from its making until :meth:`close`.

    Args:
        code: folder of the program's own files.
        data: files and folders that were committed as its data.
        own: files and folders of the recording itself.
        reads: what to say of a file that a replay will not find.
    """

    def __init__(self, *, code: Path, data: Iterable[Path], own: Iterable[Path], reads: str = READS) -> None:
        self._over, self._process = False, os.getpid()
        self._began = _process_began()
        self._left = {True: WRITES, False: reads}
        named = [Path(value).absolute() for name, value in os.environ.items() if name.startswith("WEIGHBRIDGE_")]
        seen: list[str | Path] = [*_SYSTEM, *named, *own, *(bind.place for bind in interpreter_binds())]
        self._code = _below(code)
        self._seen = tuple({place for path in seen for place in (*_below(path), *_below(os.path.realpath(path)))})
        self._data = tuple(place for path in data for place in _below(path))
        self._there = (tempfile.gettempdir(), str(Path.cwd()))
        self._made: set[str] = set()
        self._undo: Callable[[], None] = lambda: None
        sys.addaudithook(self._heard)

    def hear_saves(self) -> None:
        """Hears ``torch.save`` too, which opens its file unheard; PyTorch must be there."""
        torch: Any = sys.modules["torch"]
        original = torch.save

        @functools.wraps(original)
        def noting(*arguments: Any, **keywords: Any) -> Any:
            target = arguments[1] if len(arguments) > 1 else keywords.get("f")
            if isinstance(target, (str, os.PathLike)):
                self._heard("open", (target, None, os.O_WRONLY))
            return original(*arguments, **keywords)

        torch.save = noting

        def undo() -> None:
            if torch.save is noting:
                torch.save = original

        self._undo = undo

    def close(self) -> None:
        """Stops listening."""
        self._over = True
        self._undo()

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._over or (event != "open" and event != "os.mkdir") or isinstance(arguments[0], int):
            return
        with contextlib.suppress(Exception):  # whatever it is: the program goes on
            if os.getpid() == self._process:
                path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - in the way of each file opened
                if event == "os.mkdir":
                    self._made |= {path, os.path.realpath(path)}
                    return
                flags = arguments[2]
                self._look(path, writing=bool(flags & _WRITING) if isinstance(flags, int) else False)

    def _look(self, path: str, *, writing: bool) -> None:
        if writing not in self._left or self._fine(path, writing=writing):
            return
        real = os.path.realpath(path)
        if self._fine(real, writing=writing):
            return
        if writing:
            if os.path.isdir(real) or not os.path.isdir(os.path.dirname(real)):  # noqa: PTH112, PTH120 - as above
                return
        else:
            status = os.stat(real)  # noqa: PTH116
            if not stat.S_ISREG(status.st_mode) or status.st_ctime >= self._began:
                return
        said = self._left.pop(writing)
        self._over = not self._left
        print(f"weighbridge: the program {'writes to' if writing else 'reads'} {path}, {said}", file=sys.stderr)

    def _fine(self, path: str, *, writing: bool) -> bool:
        if path.startswith(self._seen) or _COMPILED in path or any(f"/{name}/" in path for name in _CACHES):
            return True
        if not writing:
            return path.startswith(self._data) or (path.startswith(self._code) and path.endswith(CODE_SUFFIXES))
        folder = os.path.dirname(path)  # noqa: PTH120
        below_made = any(f"{folder}/".startswith(f"{made}/") for made in self._made)
        above_code = any(place.startswith(f"{folder}/") for place in self._code)  # a sandbox has it for their sake
        return path.startswith(self._code) or folder in self._there or above_code or below_made


def _below(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns what a path that is this one, or lies below it, begins with."""
    text = os.fspath(path).rstrip("/")
    return (f"{text}/",) if not os.path.isfile(text) else (text,)  # noqa: PTH113


def _process_began() -> float:
    """Returns when this process began; now, where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot) - _TICK_S
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()
