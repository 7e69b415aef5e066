"""The command's side of the agent: starting it through the warden, hearing from it, ending it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.errors import InputError
from weighbridge.mechanisms.chip import warden as warden_module
from weighbridge.mechanisms.chip.enclosure import Enclosure
from weighbridge.mechanisms.chip.launch import Account

__all__ = ["Launch", "WatchedCommand"]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a command is to be started.

    Attributes:
        command: the program and its arguments.
        environment: its whole environment.
        directory: where it starts.
        account: the user it runs as; None keeps the agent's.
        core: the one processor it is pinned to, or None.
        masks: directories to hide, see :func:`weighbridge.mechanisms.chip.warden.apply_masks`.
        nice: its scheduling priority.
        oom_score: how likely the kernel ends it when memory runs out, as in ``oom_score_adj``.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    account: Account | None = None
    core: int | None = None
    masks: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    nice: int = 0
    oom_score: str = "0"


class WatchedCommand:
    """A command inside its enclosure, below its warden. It waits for :meth:`go`.

    Args:
        launch: what to start.
        enclosure: where to keep it.

    Raises:
        InputError: it cannot be started, in words.
    """

    def __init__(self, launch: Launch, enclosure: Enclosure) -> None:
        self._enclosure = enclosure
        self._buffer = b""
        self._ended = False
        self.exit_code: int | None = None
        self.failure: InputError | None = None
        control_read, self._control = os.pipe2(os.O_CLOEXEC)
        self.status, status_write = os.pipe2(os.O_CLOEXEC)
        try:
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", warden_module.__file__, str(control_read), str(status_write)],
                pass_fds=(control_read, status_write),
                env=dict(launch.environment),
                start_new_session=True,
            )
        finally:
            os.close(control_read)
            os.close(status_write)
        enclosure.attach(self._warden.pid)
        account = launch.account
        config = {
            "command": list(launch.command),
            "cwd": str(launch.directory),
            "uid": None if account is None else account.uid,
            "gid": None if account is None else account.gid,
            "core": launch.core,
            "cgroup": None if enclosure.cgroup is None else str(enclosure.cgroup),
            "masks": list(launch.masks),
            "nice": launch.nice,
            "oom_score": launch.oom_score,
        }
        os.write(self._control, json.dumps(config).encode() + b"\n")
        self._launch = launch
        words = self._line().split(" ", 1)
        if words[0] != "ready":
            self.end()
            raise self._failure(words[-1])
        self.pid = int(words[1])

    def go(self) -> None:
        """Lets the command begin."""
        os.write(self._control, b"go\n")

    def hear(self) -> None:
        """Takes what the warden has said; call when ``status`` is readable."""
        more = os.read(self.status, 1 << 16)
        self._buffer += more
        self._ended = not more
        if self._ended and self.exit_code is None:
            # The warden is gone, so nothing would end the command with the agent: it counts as killed.
            self.exit_code = -signal.SIGKILL
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "reaped":
                self._enclosure.reaped(int(rest))
            elif word == "exit":
                self.exit_code = int(rest)
            elif word == "failed":
                self.failure, self.exit_code = self._failure(rest), 127

    def signal(self, number: int) -> None:
        """Sends a signal to the command's first process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self) -> None:
        """Kills what is left, waits for the warden, releases everything."""
        self._enclosure.kill()
        os.close(self._control)
        try:
            self._warden.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
        while select.select([self.status], [], [], 0)[0] and not self._ended:
            self.hear()
        os.close(self.status)

    def _line(self) -> str:
        while b"\n" not in self._buffer:
            more = os.read(self.status, 1 << 16)
            if not more:
                return "failed warden: it ended without a word"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def _failure(self, reason: str) -> InputError:
        where, mend = self._launch.command[0], None
        if reason.startswith("working directory"):
            where, mend = str(self._launch.directory), "let the command's user enter it, or choose --user"
        elif reason.startswith("command: Permission"):
            mend = "let the command's user read and execute it, name what it needs with --expose"
        return InputError(f"the command cannot start ({reason})", where=where, mend=mend)
