"""A replayed program that ended because it asked for a path of which nothing is shown inside.

An honest program reads a configuration elsewhere, or writes its checkpoints to another disk: it cannot be run in a
sandbox, which says nothing of its training. So its replay is inconclusive, with the path, where every other error that
ends a program is a failure. Whether the path is missing inside is looked up here; that the program really needs it is
its own word, as all that it prints. A cheat may end every replay so, and wins what he wins by withholding his data: his
run is never verified, and covers nothing.
"""

import ast
import errno
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weighbridge.errors import InputError
from weighbridge.sandbox import Bind, is_place

__all__ = ["OutsideError", "Shown", "path_asked_for"]

MEND_WATCHED: Final = (
    "name what it reads with --data, let it write below its own folder and make the folders that it writes into, and"
    " record it again"
)
MEND_STARTED: Final = (
    "give the paths of its arrays to start as data, keep what it reads besides, and what it writes, below its own"
    " folder, and record it again"
)

_HEADER: Final = "Traceback (most recent call last):"
_CAUSED: Final = "The above exception was the direct cause of the following exception:"
_RANK: Final = re.compile(r"^(\[rank\d+\]:\s?)+")
_SYSTEM: Final = re.compile(r"^(?:\w+\.)*(?:FileNotFoundError|PermissionError|NotADirectoryError|OSError): (.*)$")
_NUMBERED: Final = re.compile(r"\[Errno (\d+)\] (.*)$")
_QUOTED: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_UNNUMBERED: Final = re.compile(r"No such file or directory: (?P<after>.+)$|^(?P<before>.+) not found\.$")
_SAVING: Final = re.compile(r"^RuntimeError: Parent directory (.+) does not exist\.$")
_SERIALIZING: Final = re.compile(r'^(?:\w+\.)*SafetensorError: .*\(os error (\d+)\) at path "(.+)"$')

_MISSING: Final = (errno.ENOENT, errno.ENOTDIR)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class OutsideError(InputError):
    """A replayed program asked for a path that it was neither shown nor may write to."""


@dataclass(frozen=True)
class Shown:
    """What a sandbox shows of the host.

    Attributes:
        binds: its binds.
        directory: where the program starts.
        mend: what the operator can do about a path that is not shown.
    """

    binds: Sequence[Bind]
    directory: Path
    mend: str

    def refuses(self, path: Path, error: int) -> bool:
        """Returns whether a path gives this error inside because of what is shown, and not of the program's doing."""
        if not is_place(str(path)):  # /proc and /dev are there as anywhere
            return False
        over = [bind for bind in self.binds if path.is_relative_to(bind.place)]
        if not over:
            return True
        nearest = max(over, key=lambda bind: len(bind.place.parts))
        if error in _FORBIDDEN:
            return not nearest.writable
        return not (nearest.host / path.relative_to(nearest.place)).exists()


def path_asked_for(output: str, shown: Shown, *, of_any: bool = False) -> Path | None:
    """Returns the path for which a program ended, if it is one that a sandbox refuses; None if it ended otherwise.

    Args:
        output: the end of what the program printed.
        shown: what it was shown.
        of_any: whether several processes printed, of which one may have ended the others.
    """
    found = list(_endings(output))
    for chain in found if of_any else found[-1:]:
        for line in chain:
            for path, error in _complaints(line):
                whole = Path(os.path.normpath(shown.directory / path))
                if shown.refuses(whole, error):
                    return whole
    return None


def _endings(output: str) -> Iterator[list[str]]:
    """Yields the last line of each traceback, with those of its direct causes before it."""
    chain: list[str] = []
    inside = caused = False
    for raw in output.splitlines():
        line = _RANK.sub("", raw)
        if line.endswith(_HEADER):  # "Original Traceback" too: of a loader's worker
            if chain and not caused:
                yield chain
                chain = []
            inside, caused = True, False
        elif line.startswith(_CAUSED):
            caused = True
        elif inside and line and not line[0].isspace():
            chain.append(line)
            inside = False
    if chain:
        yield chain


def _complaints(line: str) -> Iterator[tuple[str, int]]:
    """Yields each path that an exception's line complains of, with the system's number of the error."""
    if saving := _SAVING.match(line):
        yield saving[1], errno.ENOENT
    elif serializing := _SERIALIZING.match(line):
        yield serializing[2], int(serializing[1])
    elif system := _SYSTEM.match(line):
        if numbered := _NUMBERED.match(system[1]):
            if int(numbered[1]) in (*_MISSING, *_FORBIDDEN):
                for quoted in _QUOTED.findall(numbered[2]):
                    yield str(ast.literal_eval(quoted)), int(numbered[1])
        elif unnumbered := _UNNUMBERED.search(system[1]):
            yield (unnumbered["after"] or unnumbered["before"]).strip("\"'"), errno.ENOENT
