"""Where replays run: in this process, on processes of this machine, or on a Ray cluster; one path for the last two.

Ray is imported only here. A cluster of this machine's own is started with a token and a folder of its own, both gone
when it ends. On a cluster that exists already, every node must see the run's folder and data at the same paths, have
this very package, and bubblewrap.
"""

import contextlib
import functools
import importlib.util
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import InputError, MissingToolError

__all__ = ["Workers"]

_LOCAL = re.compile(r"local:([1-9][0-9]{0,3})", re.ASCII)
_CLUSTER = re.compile(r"ray:(//)?([A-Za-z0-9_.\-\[\]:]+:[0-9]{1,5}|auto)", re.ASCII)
_ANSWER_S = 10.0
_ENDING_S = 10.0
"""Longest that processes of an ended cluster may keep its folder alive."""
_LONGEST = 24
_RETRIES = 3
"""Times that a task is run again whose worker was killed."""


@dataclass(frozen=True)
class Workers:
    """Processes of this machine (``count``), or a cluster's address."""

    count: int = 0
    address: str = ""

    @classmethod
    def parse(cls, text: str, *, where: str = "--workers") -> "Workers":
        """Reads ``local:2``, ``ray://HOST:PORT`` or ``ray:auto``.

        Raises:
            InputError: it is none of them.
        """
        if found := _LOCAL.fullmatch(text):
            return cls(count=int(found[1]))
        if (found := _CLUSTER.fullmatch(text)) and not (found[1] and found[2] == "auto"):
            return cls(address=f"ray://{found[2]}" if found[1] else found[2])
        raise InputError(
            f"{text[:60]!r} names no workers", where=where, mend="write local:2, ray://HOST:PORT or ray:auto"
        )

    def map(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Runs ``work`` on every item and yields (place of the item, result) as they end.

        A worker that dies takes nothing with it: its item is begun again on another, a few times.

        Raises:
            MissingToolError: Ray is not installed.
            InputError: no cluster answers at the address, or an item ended every worker that took it.
        """
        if importlib.util.find_spec("ray") is None:
            raise MissingToolError(
                "Ray is not installed, and --workers runs on it",
                mend="pip install 'weighbridge[scale]', or leave it out",
            )
        with self._cluster() as ray:
            task = ray.remote(max_retries=_RETRIES, num_cpus=1)(work)
            waiting = {task.remote(item): place for place, item in enumerate(items)}
            while waiting:
                done, _ = ray.wait(list(waiting), num_returns=1)
                place = waiting.pop(done[0])
                try:
                    result = ray.get(done[0])
                except ray.exceptions.RayError as error:
                    words = str(error).strip().splitlines() or [type(error).__name__]
                    raise InputError(
                        f"task {place} could not be finished ({words[-1][:300]})",
                        where="--workers",
                        mend="look at the workers' memory, or use fewer",
                    ) from error
                del done
                yield place, result

    @contextmanager
    def _cluster(self) -> Iterator[Any]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
        own = Path(tempfile.mkdtemp(prefix="weighbridge-ray-", dir=_folder())) if self.count else None
        token = "RAY_AUTH_TOKEN" if self.count and "RAY_AUTH_TOKEN" not in os.environ else ""
        if token:
            os.environ[token] = _own_token()
        import ray

        try:
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
            if own is not None:
                ray.init(num_cpus=self.count, include_dashboard=False, _temp_dir=str(own), **quiet)
            else:
                _join(ray, self.address, quiet)
            with contextlib.redirect_stdout(sys.stderr):  # what Ray says of its workers is no part of the result
                yield ray
        finally:
            try:
                ray.shutdown()
            finally:
                if own is not None:
                    _removed(own)
                if token:
                    os.environ.pop(token, None)


def _removed(folder: Path) -> None:
    """Removes a folder in which processes that are being ended may still write for a moment."""
    deadline = time.monotonic() + _ENDING_S
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _own_token() -> str:
    """Returns this process's token for clusters of its own: Ray keeps the first that it was given until the end."""
    return secrets.token_hex(32)


def _folder() -> str:
    """Returns where Ray's folder goes: sockets in it must have names of at most 107 bytes."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _LONGEST else "/tmp"  # noqa: S108


def _join(ray: Any, address: str, quiet: dict[str, Any]) -> None:
    """Joins a cluster: by Ray's client where that is installed, else as a program on one of its nodes."""
    client = importlib.util.find_spec("grpc") is not None
    direct = address if client else address.removeprefix("ray://")
    try:
        if address != "auto":  # Ray itself would go on trying for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
        ray.init(address=direct, **quiet)
    except Exception as error:  # Ray raises what its layers below raise
        words = str(error).strip().splitlines() or [type(error).__name__]
        mend = "start Ray there, and give its token in RAY_AUTH_TOKEN"
        if address.startswith("ray://") and not client:
            mend += "; from a machine outside the cluster, install 'ray[client]'"
        raise InputError(f"no cluster answers ({words[0][:300]})", where=f"--workers {address}", mend=mend) from error
