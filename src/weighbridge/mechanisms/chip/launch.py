"""How the command is started under another user id, also where that user cannot reach its interpreter.

A Python below a private home (``/root/.pyenv``) is out of another user's reach. In a mount namespace of the
command's own, the untraversable directory is replaced by an empty one in which only what the command needs
appears, read-only but for its working directory and what the operator names.
"""

import os
import pwd
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import InputError

__all__ = ["Account", "account_of", "locate", "masks_for", "needed_paths"]

DEFAULT_USER = "nobody"


@dataclass(frozen=True)
class Account:
    """A user id and group id for the command."""

    uid: int
    gid: int


def account_of(user: str | int | None) -> Account | None:
    """Finds the account that the command runs under.

    Args:
        user: a name or number; None takes ``nobody`` for an agent that is root, and its own account
        otherwise.

    Returns:
        None if the command keeps the agent's own user id.

    Raises:
        InputError: no such user, or an agent that is not root asks for another.
    """
    if user is None:
        if os.geteuid() != 0:
            return None
        user = DEFAULT_USER
    text = str(user)
    try:
        entry = pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text)
        account = Account(entry.pw_uid, entry.pw_gid)
    except KeyError:
        if not text.isdigit():
            raise InputError(f"no such user: {text}", field="user", mend="name one, or give a number") from None
        account = Account(int(text), int(text))
    if account.uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise InputError("only root can start the command as another user", field="user")
    return account


def locate(program: str, *, search: str | None = None) -> Path:
    """Finds a program as the command's start will.

    Args:
        program: its path, or a name to look up.
        search: the search path, PATH unless given.

    Raises:
        InputError: there is no such program.
    """
    located = shutil.which(program, path=search)
    if located is None:
        raise InputError("no such command", where=program, mend="give its path")
    return Path(located).absolute()


def needed_paths(program: Path) -> tuple[Path, ...]:
    """Returns what a program reads in order to start: itself, an interpreter named in it, their installations."""
    needed: list[Path] = []
    queue, seen = [program], set[Path]()
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        # A program in PREFIX/bin uses PREFIX/lib; elsewhere its own directory is enough.
        needed.append(path.parent.parent if path.parent.name == "bin" else path.parent)
        if path.is_symlink():
            queue.append(path.parent / path.readlink())
        elif (interpreter := _interpreter(path)) is not None:
            queue.append(interpreter)
    # A recorded program imports weighbridge, which may run from sources that lie behind a closed directory.
    needed += [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[3]]
    return tuple(dict.fromkeys(Path(os.path.normpath(path)) for path in needed))


def masks_for(account: Account, *, readable: Iterable[Path], writable: Iterable[Path]) -> list[dict[str, Any]]:
    """Returns what must be hidden so that an account can reach all that it needs.

    Args:
        account: who has to reach it.
        readable: paths to show read-only.
        writable: paths to show as they are.

    Returns:
        Masks for :func:`weighbridge.mechanisms.chip.warden.apply_masks`; empty if everything can be reached.
    """
    masks: dict[Path, dict[Path, bool]] = {}
    for paths, may_write in ((writable, True), (readable, False)):
        for path in paths:
            barrier = _barrier(path, account)
            if barrier is not None and path != barrier:
                shown = masks.setdefault(barrier, {})
                shown[path] = shown.get(path, False) or may_write
    return [
        {"hide": str(barrier), "show": [[str(path), write] for path, write in sorted(shown.items())]}
        for barrier, shown in sorted(masks.items())
    ]


def _interpreter(path: Path) -> Path | None:
    try:
        with path.open("rb") as file:
            line = file.readline(512)
    except OSError:
        return None
    words = line[2:].split()
    if not line.startswith(b"#!") or not words:
        return None
    if words[0].endswith(b"/env") and len(words) > 1:
        found = shutil.which(os.fsdecode(words[1]))
        return None if found is None else Path(found).absolute()
    return Path(os.fsdecode(words[0]))


def _barrier(path: Path, account: Account) -> Path | None:
    """Returns the first directory above ``path`` that the account cannot pass, by its mode bits."""
    for folder in reversed(path.parents):
        try:
            status = folder.stat()
        except OSError:
            return None
        if status.st_uid == account.uid:
            allowed = status.st_mode & 0o100
        elif status.st_gid == account.gid:
            allowed = status.st_mode & 0o010
        else:
            allowed = status.st_mode & 0o001
        if not allowed:
            return folder
    return None
