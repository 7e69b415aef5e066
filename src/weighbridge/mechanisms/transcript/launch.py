"""Runs a Python program as ``python SCRIPT`` or ``python -m MODULE`` would, watched from its first step to its last.

``python -m weighbridge.mechanisms.transcript.launch [-m] PROGRAM ARGUMENTS``; what to do is in the environment. PyTorch
is imported by the program, when and as it likes (its settings may come before), and watched from then on.
"""

import atexit
import functools
import json
import os
import random
import runpy
import secrets
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import WeighbridgeError
from weighbridge.mechanisms.transcript.asked_seeds import AskedSeeds, count_system_random
from weighbridge.mechanisms.transcript.elsewhere import Marker
from weighbridge.mechanisms.transcript.opens import Opens
from weighbridge.mechanisms.transcript.spawning import (
    Orders,
    Starts,
    derived_launch,
    noted_generators,
    restore_generators,
)
from weighbridge.mechanisms.transcript.watched import WATCHED, Program, RecordingStoppedError, Watch, is_bound
from weighbridge.mechanisms.transcript.when_imported import when_imported

if TYPE_CHECKING:
    from weighbridge.mechanisms.transcript.observed import ObservedRecording
    from weighbridge.mechanisms.transcript.observing import Observer

__all__ = ["SPAWNED", "main", "watch_spawned"]

SETTINGS = "WEIGHBRIDGE_RECORD"
ONLY_SEEDS = "WEIGHBRIDGE_ONLY_SEEDS"
"""Names a run's seed (hex), from which every seed that is asked for follows, in a program that is not recorded."""
SPAWNED = "WEIGHBRIDGE_REPLAY_SPAWNED"
"""Folder of the plans of ranks that the program starts itself."""
_NOT_ALL_CAUGHT = 3
_REFUSED = 2


def main(arguments: Sequence[str]) -> None:
    """Runs the program; ends as it does, but with 3 where a strict recording caught nothing, or not all."""
    module = arguments[0] == "-m"
    command = list(arguments[1:] if module else arguments)
    only = os.environ.pop(ONLY_SEEDS, None)
    if only is not None:  # for comparisons: the seeds of a run, and nothing watched
        _bind(bytes.fromhex(only))
        _run(command, module=module)
        return
    host = _Host(command, module=module)
    host.prepare()
    well = False
    try:
        _run(command, module=module)
        well = True
    except SystemExit as error:
        well = error.code in (None, 0)
        raise
    except RecordingStoppedError as error:
        print(f"weighbridge: {error}", file=sys.stderr)
        sys.exit(_NOT_ALL_CAUGHT)
    finally:
        _run_exit_handlers()
        host.close(well=well)


def _run_exit_handlers() -> None:
    """Runs what the program left to be done at its exit: it is a part of the program, and is watched.

    Not where threads of the program still run, for which its exit would wait first.
    """
    others = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if not others:
        atexit._run_exitfuncs()


def _run(command: list[str], *, module: bool) -> None:
    sys.argv = command
    if module:
        sys.path[0] = str(Path.cwd())
    else:
        sys.path[0] = str(Path(command[0]).resolve().parent)
    if module:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(command[0], run_name="__main__")


class _Host:
    """Holds what watches the program, from the moment at which PyTorch is there."""

    def __init__(self, command: Sequence[str], *, module: bool, orders: Orders | None = None) -> None:
        self._command, self._module, self._orders = tuple(command), module, orders
        self._plans = orders.plans if orders is not None else os.environ.get(SPAWNED, "")
        self._plan: str | None = None
        if orders is not None:
            self._settings: dict[str, Any] = orders.settings
            plan = Path(orders.plans) / f"plan-{orders.index}.json"
            self._plan = str(plan) if orders.plans and plan.exists() else None
        else:
            self._settings = json.loads(os.environ.pop(SETTINGS, "{}"))
            self._plan = os.environ.get("WEIGHBRIDGE_REPLAY")
        self._launch: str | None = secrets.token_hex(32)
        self._system_random: Callable[[], int] = lambda: 0
        self._asked: Callable[[], str] | None = None
        self._prepared: dict[str, Any] = {}
        self._starts: Starts | None = None
        self._marker = Marker()
        self._spawner: dict[str, Any] | None = None
        self._observer: Observer | None = None
        self._recording: ObservedRecording | None = None
        self._fault: Exception | None = None
        self._opens: Opens | None = None

    def prepare(self) -> None:
        """Sees to the program's seeds, before anything of it is loaded; commits, if they are to be bound."""
        if self._orders is not None:
            os.environ[WATCHED] = str(os.getpid())
            self._begin_spawned(self._orders)
            when_imported("torch", self.arm)
            return
        seed = b""
        if self._plan is not None:
            plan = json.loads(Path(self._plan).read_bytes())
            if "inside" in plan["config"]:  # the program itself will begin to watch, where it did
                return
            self._launch = None if is_bound(plan["config"]) else str(plan["config"]["launch"])
            seed = bytes.fromhex(plan["seed"])
        elif self._plans:
            first = min(Path(self._plans).glob("plan-*.json"))
            self._launch = str(json.loads(first.read_bytes())["config"]["spawner"]["launch"])
        elif self._settings.get("resume"):
            self._prepared = _aside(self._reopen)
            self._launch, seed = self._prepared["launch"], bytes.fromhex(self._prepared["seed"])
        elif self._settings["bind"]:
            self._launch = None
            self._prepared = _aside(self._commit)
            seed = bytes.fromhex(self._prepared["seed"])
            self._system_random = count_system_random(Path(self._settings["code"]))
        if self._launch is None:
            self._asked = _bind(seed).heard
        else:
            launch = self._launch
            # A program that leaves these unseeded is another every time: now it can be repeated.
            random.seed(launch)
            when_imported("numpy", lambda: _seed_numpy(launch))
            when_imported("torch", lambda: _seed_torch(launch))
        os.environ[WATCHED] = str(os.getpid())
        when_imported("torch", self.arm)
        if self._plan is None and not self._plans:
            told = self._watch
            own = [told.store, *([Path(self._settings["resume"])] if self._settings.get("resume") else [])]
            self._opens = Opens(code=Path(self._settings["code"]), data=told.data, own=own)
            when_imported("torch", self._opens.hear_saves)
        if self._plan is None:
            self._starts = Starts(self._ordered, marker=self._marker.path)

    def _begin_spawned(self, orders: Orders) -> None:
        """Notes the generators of a process that the program started, or sets those that were noted.

        The program may have seeded them, in its parent or while it was imported here: they are left as they are.
        """
        launch = self._launch = derived_launch(orders.launch, orders.index)
        if self._plan is not None:
            config = json.loads(Path(self._plan).read_bytes())["config"]
            restore_generators(config["spawner"]["generators"])
        self._spawner = {"launch": orders.launch, "index": orders.index, "generators": noted_generators()}
        for name, seed in (("numpy", _seed_numpy), ("torch", _seed_torch)):
            if name not in sys.modules:
                when_imported(name, functools.partial(seed, launch))

    def _ordered(self, index: int) -> Orders:
        return Orders(self._command, self._module, self._settings, self._launch or "", self._plans, index)

    def _commit(self) -> dict[str, Any]:
        from weighbridge.mechanisms.transcript.observed_commitment import commit_observed

        committed = commit_observed(self._program, self._watch)
        return {"folder": str(committed.folder), "run": committed.run, "seed": committed.seed.hex()}

    def _reopen(self) -> dict[str, Any]:
        from weighbridge.mechanisms.transcript.observed_commitment import reopen

        return reopen(Path(self._settings["resume"]))

    @property
    def _program(self) -> Program:
        return Program(
            arguments=self._command,
            module=self._module,
            code=Path(self._settings["code"]),
            launch=self._launch,
            group=self._settings.get("group"),
            spawner=self._spawner,
        )

    @property
    def _watch(self) -> Watch:
        told = self._settings
        return Watch(
            store=Path(told["store"]),
            stride=int(told["stride"]),
            data=tuple(Path(path) for path in told["data"]),
            variables=tuple(told["variables"]),
            strict=bool(told["strict"]),
            anchor_every=int(told["anchor_every"]),
        )

    def arm(self) -> None:
        """Begins to look, PyTorch being imported."""
        if self._plans and self._plan is None:  # the replay of a program whose ranks are other processes
            return
        from weighbridge.mechanisms.transcript.observed import ObservedRecording
        from weighbridge.mechanisms.transcript.observed_commitment import committed_before
        from weighbridge.mechanisms.transcript.observed_replay import ObservedReplay
        from weighbridge.mechanisms.transcript.observing import Observer

        if self._plan is not None:
            self._observer = Observer(ObservedReplay.from_plan(Path(self._plan), asked=self._asked), failed=_raise)
            return
        told, resume = self._prepared, self._settings.get("resume")
        before = None
        if told and not resume:
            before = committed_before(Path(told["folder"]), told["run"], watch=self._watch)
        self._recording = ObservedRecording(
            self._program,
            self._watch,
            committed=before,
            resumed=Path(resume) if resume else None,
            system_random=self._system_random,
            asked=self._asked,
            marker=self._marker,
        )
        self._observer = Observer(self._recording, failed=self._failed, forked=self._marker.leave)

    def _failed(self, error: Exception) -> None:
        self._fault = error
        if self._settings.get("resume"):  # what it was told to go on with, it may not begin anew
            print(f"weighbridge: {error}", file=sys.stderr, flush=True)
            os._exit(_REFUSED)
        if self._settings["strict"]:
            raise RecordingStoppedError(f"NOTHING IS RECORDED: {error}. The program ends too: strict was chosen")
        print(f"weighbridge: NOTHING IS RECORDED: {error}. The program goes on", file=sys.stderr)

    def close(self, *, well: bool) -> None:
        """Ends the transcript, or says that there is none."""
        began = self._observer is not None and self._observer.began
        if self._observer is not None:
            self._observer.close()
        if self._recording is not None:
            self._recording.close(well=well)
        if self._starts is not None:
            self._starts.stop()
            for kind in self._starts.missed:
                print(
                    f"weighbridge: PART OF THE PROGRAM IS NOT RECORDED: a process of class {kind} ran code of its own",
                    file=sys.stderr,
                )
        if began and self._settings.get("strict") and self._recording is not None and self._recording.missed and well:
            sys.exit(_NOT_ALL_CAUGHT)
        if began or self._plan is not None or self._plans or self._fault is not None or self._orders is not None:
            return
        if self._starts is not None and self._starts.watched:
            print(
                f"weighbridge: this process trained nothing; the {self._starts.watched} processes that it started were"
                " watched, each for itself, and say what was recorded",
                file=sys.stderr,
            )
            return
        why = self._observer.saw if self._observer is not None else "it never imported PyTorch"
        print(f"weighbridge: NOTHING WAS RECORDED: in this process the program ran, and {why}", file=sys.stderr)
        if well and self._settings.get("strict"):
            sys.exit(_NOT_ALL_CAUGHT)


def _aside(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Does work in a process of its own, so that this one imports nothing that the program has not asked for.

    Ends this process in words where the work cannot be done: nothing of the program has begun.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            words: dict[str, Any] = work()
        except WeighbridgeError as error:
            words = {"error": str(error)}
        with os.fdopen(writing, "w") as telling:
            json.dump(words, telling)
        sys.stderr.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as listening:
        told = listening.read()
    os.waitpid(child, 0)
    answer: dict[str, Any] = json.loads(told) if told else {"error": "what has to be done before it begins failed"}
    if "error" in answer:
        print(f"weighbridge: {answer['error']}", file=sys.stderr)
        sys.exit(_REFUSED)
    return answer


def _bind(seed: bytes) -> AskedSeeds:
    """Lets every seed that is asked for in this process follow from one."""
    seeds = AskedSeeds(seed)
    seeds.bind_python()
    when_imported("numpy", seeds.bind_numpy)
    when_imported("torch", seeds.bind_torch)
    return seeds


def watch_spawned(orders: Orders) -> _Host:
    """Begins to watch a process that the program started itself."""
    host = _Host(orders.command, module=orders.module, orders=orders)
    host.prepare()
    return host


def _seed_numpy(launch: str) -> None:
    import numpy as np

    np.random.seed(int(launch[:8], 16))


def _seed_torch(launch: str) -> None:
    import torch

    torch.manual_seed(int(launch[:15], 16))


def _raise(error: Exception) -> None:
    raise error


if __name__ == "__main__":
    main(sys.argv[1:])
