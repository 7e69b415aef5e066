"""The operators: real processes under chip agents, two live at a time, each doing what its role says."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.app.demo.scene import CONFIG, RATE_HZ, Cast, Cheat, Sizes
from weighbridge.app.demo.world import OperatorPlace, World, say
from weighbridge.errors import WeighbridgeError

__all__ = ["Operator", "corpus_file", "make_operators", "run_operators"]

_PROGRAMS = Path(__file__).parent / "programs"


@dataclass
class Operator:
    """One operator, its room and its chips' folders."""

    role: Cheat
    place: OperatorPlace
    chips: list[Path] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    finished: threading.Event = field(default_factory=threading.Event)

    def runs(self) -> list[Path]:
        """Returns the folders of the operator's transcripts, oldest first."""
        return sorted((self.place.folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def corpus_file(path: Path, *, context: int) -> None:
    """Writes this machine's Python standard library as rows of ``context + 1`` bytes."""
    import sysconfig

    import numpy as np

    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = np.frombuffer(b"".join(source.read_bytes() for source in sources), np.uint8)
    rows = len(text) // (context + 1)
    np.save(path, text[: rows * (context + 1)].reshape(rows, context + 1))
    path.chmod(0o644)


def make_operators(world: World, cast: Cast) -> list[Operator]:
    """Makes rooms and chips; the registrar learns of every chip but those that one operator got past it."""
    operators = []
    serial = cast.serial_base
    for number, (name, role) in enumerate(cast.roles.items()):
        operator = Operator(role, world.operator(name, number))
        count = 2 if role in (Cheat.HONEST, Cheat.UNDECLARED, Cheat.UNLISTED) else 1
        for index in range(count):
            serial += 1
            folder = world.scratch / "chips" / f"{name}-{index}"
            folder.parent.mkdir(exist_ok=True)
            made = world.make_chip(folder, rate_hz=RATE_HZ)
            operator.chips.append(folder)
            operator.ids.append(made.chip)
            if role is Cheat.UNLISTED and index == 1:
                world.ship(made.chip, operator.place)
            else:
                world.deliver(made.chip, operator.place, serial=f"SN{serial}")
        operators.append(operator)
    return operators


def run_operators(
    world: World, operators: Sequence[Operator], cast: Cast, sizes: Sizes, *, corpus: Path, cores: Sequence[int]
) -> None:
    """Runs everything that the operators do, at most one job a core.

    Raises:
        WeighbridgeError: a program failed.
    """
    by_role = {operator.role: operator for operator in operators}
    free = list(cores)
    lock = threading.Lock()

    def on_core(work: Callable[[int], None]) -> None:
        with lock:
            core = free.pop()
        try:
            work(core)
        finally:
            with lock:
                free.append(core)

    scripts = _Scripts(world, sizes, corpus)
    honest = by_role[Cheat.HONEST]
    chores: list[Callable[[int], None]] = [
        lambda core: scripts.declared(honest, 0, sizes.honest, core),
        lambda core: scripts.chained(by_role[Cheat.CHAIN], core),
        lambda core: scripts.second_model(by_role[Cheat.SECOND_MODEL], core),
        lambda core: scripts.undeclared(by_role[Cheat.UNDECLARED], core),
        lambda core: scripts.undeclared(by_role[Cheat.UNLISTED], core),
        lambda core: scripts.splice(by_role[Cheat.SPLICE], honest, core),
        lambda core: scripts.declared(by_role[Cheat.UNDECLARED], 0, sizes.token, core),
        lambda core: scripts.declared(by_role[Cheat.UNLISTED], 0, sizes.token, core),
    ]
    with ThreadPoolExecutor(len(cores)) as pool:
        for future in [pool.submit(on_core, chore) for chore in chores]:
            future.result()


class _Scripts:
    """What each role does, as commands under chip agents."""

    def __init__(self, world: World, sizes: Sizes, corpus: Path) -> None:
        self._world, self._sizes, self._corpus = world, sizes, corpus

    def _program(self, operator: Operator, name: str, steps: int) -> Path:
        """Lays out the operator's training program with its configuration, and returns the script."""
        folder = operator.place.folder / name
        shutil.copytree(_PROGRAMS / "gpt", folder, ignore=shutil.ignore_patterns("__pycache__"))
        config: dict[str, Any] = {**CONFIG, "steps": steps, "flop_per_step": self._sizes.flop_per_step}
        (folder / "config.json").write_text(json.dumps(config))
        return folder / "train.py"

    def _cheat(self, operator: Operator, name: str) -> str:
        target = operator.place.folder / "other" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(_PROGRAMS / "cheats" / name, target)
        return str(target)

    def declared(self, operator: Operator, chip: int, steps: int, core: int, *before: str, name: str = "gpt") -> None:
        """Trains the declared program, with a cheat's script and arguments before it, if any."""
        script = self._program(operator, name, steps)
        arguments = [*before, str(script), str(self._corpus), str(script.parent / "config.json")]
        self._under_agent(operator, chip, arguments, core, f"{steps} steps declared")

    def undeclared(self, operator: Operator, core: int) -> None:
        """Trains on the second chip and tells nobody."""
        script = self._program(operator, "quiet", self._sizes.hidden)
        arguments = [
            self._cheat(operator, "undeclared.py"),
            str(script.parent),
            str(self._corpus),
            str(script.parent / "config.json"),
        ]
        self._under_agent(operator, 1, arguments, core, f"{self._sizes.hidden} steps")

    def second_model(self, operator: Operator, core: int) -> None:
        """Trains a second model inside the declared process."""
        self.declared(operator, 0, self._sizes.beside, core, self._cheat(operator, "second_model.py"))

    def chained(self, operator: Operator, core: int) -> None:
        """Trains one run, then another from its end under a claimed fresh seed."""
        self.declared(operator, 0, self._sizes.chained, core, name="first")
        end = next((operator.runs()[0] / "anchors").glob("*-end.safetensors"))
        self.declared(
            operator, 0, self._sizes.chained, core, self._cheat(operator, "chain.py"), str(end), name="second"
        )

    def splice(self, operator: Operator, victim: Operator, core: int) -> None:
        """Steals the honest operator's weights and passes them off as trained."""
        from safetensors.torch import load_file, save_file

        victim.finished.wait()
        anchor = next((victim.runs()[0] / "anchors").glob("*-end.safetensors"))
        prefix = "model/parameter/"
        weights = {n.removeprefix(prefix): t for n, t in load_file(anchor).items() if n.startswith(prefix)}
        loot = operator.place.folder / "loot.safetensors"
        save_file(weights, loot)
        loot.chmod(0o644)
        self.declared(operator, 0, self._sizes.splice, core, self._cheat(operator, "splice.py"), str(loot))

    def _under_agent(self, operator: Operator, chip: int, arguments: list[str], core: int, what: str) -> None:
        command = [sys.executable, "-m", "weighbridge", "chip", "run", str(operator.chips[chip])]
        command += ["--spool", str(self._world.spool), "--core", str(core)]
        command += ["--bracket", str(self._world.roots_folder / "plan")]
        if operator.place.user is not None:
            command += ["--user", str(operator.place.user)]
        say(f"{operator.place.name}: chip {operator.ids[chip][:8]} runs on core {core} ({what})")
        ended = subprocess.run(
            [*command, "--", sys.executable, *arguments],
            env=operator.place.environment(self._world),
            cwd=operator.place.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        (self._world.scratch / f"{operator.place.name}-{chip}.log").write_text(ended.stdout + ended.stderr)
        operator.finished.set()
        if ended.returncode != 0:
            tail = (ended.stdout + ended.stderr).strip()[-1500:]
            raise WeighbridgeError(
                f"its program ended with status {ended.returncode}: {tail}", where=operator.place.name
            )


def available_cores() -> list[int]:
    """Returns at most two processors of this machine: a chip is one of them."""
    return sorted(os.sched_getaffinity(0))[:2]
