"""Processes that a program starts itself (``torch.multiprocessing.spawn``, ``Process``): watched from their start.

What a program hands to a new process is wrapped, so that the new process begins to look before it runs that function.
It learns from its parent what to do. Only functions of the program's own, and PyTorch's own starter of ranks, are
wrapped. Workers of pools are listened to, and those of data loaders and managers left alone. This imports no torch: a
process that needs none gets none.
"""

import hashlib
import multiprocessing.process
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weighbridge.mechanisms.transcript.elsewhere import Listening

__all__ = ["Orders", "Starts", "derived_launch", "noted_generators", "restore_generators"]

_STARTERS: Final = ("torch.multiprocessing.spawn",)
_POOLS: Final = ("multiprocessing.pool", "concurrent.futures.process", "joblib")
_HELPERS: Final = ("multiprocessing", "torch", "concurrent", "joblib", "numpy", "datasets")


_BASE: Any = multiprocessing.process.BaseProcess


@dataclass(frozen=True)
class Orders:
    """What a new process is told.

    Attributes:
        command: the program and its arguments, as its parent was started.
        module: whether the first word is a module's name.
        settings: how to record; empty in a replay.
        launch: what the parent's generators were seeded with (hex).
        plans: folder of the plans of a replay; empty when recording.
        index: which of the processes of its parent it is, counted from 0.
    """

    command: tuple[str, ...]
    module: bool
    settings: dict[str, Any]
    launch: str
    plans: str
    index: int


def noted_generators() -> dict[str, Any]:
    """Returns the states of Python's generator, and of NumPy's and PyTorch's where they are imported, as plain data."""
    version, internal, gauss = random.getstate()
    noted: dict[str, Any] = {"python": [version, list(internal), gauss]}
    if (numpy := sys.modules.get("numpy")) is not None:
        name, keys, *rest = numpy.random.get_state(legacy=True)
        noted["numpy"] = [str(name), [int(key) for key in keys], *(float(value) for value in rest)]
    if (torch := sys.modules.get("torch")) is not None:
        noted["torch"] = torch.get_rng_state().numpy().tobytes().hex()
    return noted


def restore_generators(noted: Mapping[str, Any]) -> None:
    """Puts the states back that were noted."""
    version, internal, gauss = noted["python"]
    random.setstate((version, tuple(internal), gauss))
    if "numpy" in noted and (numpy := sys.modules.get("numpy")) is not None:
        name, keys, position, has_gauss, cached = noted["numpy"]
        numpy.random.set_state((name, keys, int(position), int(has_gauss), cached))
    if "torch" in noted and (torch := sys.modules.get("torch")) is not None:
        torch.set_rng_state(torch.frombuffer(bytearray.fromhex(noted["torch"]), dtype=torch.uint8))


def derived_launch(launch: str, index: int) -> str:
    """Returns what NumPy is seeded with in a new process that imports it later (hex): another for each process."""
    return hashlib.sha256(f"weighbridge/spawned/1/{index}/{launch}".encode()).hexdigest()


class Starts:
    """Wraps what the program hands to new processes, and counts those that it cannot.

    Args:
        orders: what to tell a process, by its number.
        marker: the file that a process of a pool leaves if it trains.

    Attributes:
        watched: processes that were told to look.
        missed: classes of processes that run code of their own, which cannot be wrapped.
    """

    def __init__(self, orders: Callable[[int], Orders], *, marker: Path) -> None:
        self._marker = marker
        self.watched = 0
        self.missed: list[str] = []
        self._orders = orders
        self._original = original = _BASE.start

        def start(process: Any) -> None:
            self._look(process)
            original(process)

        self._ours = _BASE.start = start

    def _look(self, process: Any) -> None:
        kind, target = type(process), getattr(process, "_target", None)
        if kind.run is not _BASE.run and not _helps(kind.__module__):
            self.missed.append(kind.__qualname__)
        if target is None or isinstance(target, (_Watched, Listening)):
            return
        home = str(getattr(target, "__module__", "") or "")
        if home in _STARTERS or not _helps(home):
            process._target = _Watched(target, self._orders(self.watched))
            self.watched += 1
        elif home.startswith(_POOLS):
            process._target = Listening(target, self._marker)

    def stop(self) -> None:
        """Stops looking."""
        if _BASE.start is self._ours:
            _BASE.start = self._original


def _helps(module: str) -> bool:
    return module.partition(".")[0] in _HELPERS


class _Watched:
    """A function that runs watched, in a process of its own."""

    def __init__(self, target: Callable[..., Any], orders: Orders) -> None:
        self._target, self._orders = target, orders

    def __call__(self, *arguments: Any, **keywords: Any) -> None:
        from weighbridge.mechanisms.transcript.launch import watch_spawned

        host = watch_spawned(self._orders)
        well = False
        try:
            self._target(*arguments, **keywords)
            well = True
        except SystemExit as error:
            well = error.code in (None, 0)
            raise
        finally:
            host.close(well=well)
