"""Canaries: secrets planted in a run, the forms in which they could leave, and a search for them."""

import base64
import hashlib
import json
import os
import secrets
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from blake3 import blake3

from .world import Ended, Project, World


@dataclass(frozen=True)
class Canaries:
    """Random secrets, one for each place; all of 32 bytes."""

    data: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    code: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    note: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    argument: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    weights: bytes = field(
        default_factory=lambda: np.random.default_rng(secrets.randbits(64)).normal(size=8).astype("<f4").tobytes()
    )

    def all(self) -> tuple[bytes, ...]:
        return (self.data, self.code, self.note, self.argument, self.weights)

    def forms(self) -> set[bytes]:
        """Every spelling in which a canary would be found again, and the unsalted digests that would betray a guess."""
        found: set[bytes] = set()
        for canary in self.all():
            for part in (canary, canary[::-1], canary[8:24]):
                found |= {part, part.hex().encode(), part.hex().upper().encode(), str(list(part))[1:-1].encode()}
                found |= {base64.b64encode(b"\0" * shift + part)[4:-4] for shift in range(3)}
                found |= {base64.urlsafe_b64encode(b"\0" * shift + part)[4:-4] for shift in range(3)}
            for spelled in (canary, canary.hex().encode()):
                for digest in (hashlib.sha256(spelled), hashlib.sha512(spelled), hashlib.md5(spelled), blake3(spelled)):
                    found |= {digest.digest(), digest.hexdigest().encode()}
        numbers = struct.unpack("<8f", self.weights)
        return found | {repr(number).encode() for number in numbers} | {number.hex().encode() for number in numbers}

    def project(self, world: World, *, ending: str = "well", rate: float = 1e-2) -> Project:
        """Makes a project in which they are planted."""
        project = world.project(programs=("telltale.py",), steps=4, batch_size=4)
        rows = np.random.default_rng(3).integers(0, 256, (16, 32)).astype(np.uint8)
        rows[:] = np.frombuffer(self.data, np.uint8)  # every row, so that every batch has it
        np.save(project.data, rows)
        source = (project.folder / "telltale.py").read_text().replace('"00" * 32', json.dumps(self.code.hex()))
        (project.folder / "telltale.py").write_text(source)
        project.configure(note=self.note.hex(), pattern=self.weights.hex(), ending=ending, rate=rate)
        return project

    def train(self, world: World, *, ending: str = "well") -> Ended:
        project = self.project(world, ending=ending)
        words = (str(project.data), str(project.folder / "config.json"), self.argument.hex())
        ended = project.train("telltale.py", *words, spool=True)
        assert ended.status == 0, ended.errors
        return ended


@dataclass(frozen=True)
class Left:
    """What was left behind by a command: its output, the files in folders of its own, command lines seen meanwhile."""

    status: int
    output: bytes
    errors: bytes
    files: Mapping[str, bytes]
    lines: frozenset[bytes]

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(content) for name, content in self.files.items()}

    def holding(self, forms: set[bytes]) -> list[str]:
        """Names the places in which one of the forms is found."""
        places = {"output": self.output, "errors": self.errors, **self.files}
        places |= {f"command line {line[:80]!r}": line for line in self.lines}
        return [name for name, content in places.items() if any(form in content for form in forms)]


def run_and_look(folder: Path, *words: object) -> Left:
    """Runs ``weighbridge`` with folders of its own, and collects all that is left of it."""
    for name in ("tmp", "home", "here"):
        (folder / name).mkdir(parents=True)
    began = time.time()
    lines: set[bytes] = set()
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(lines, done))
    watcher.start()
    variables = {"PATH": os.environ["PATH"], "TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home")}
    command = [sys.executable, "-c", "from weighbridge.app.main import main; main()", *map(str, words)]
    try:
        ended = subprocess.run(
            ["sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", *command],
            env=variables,
            cwd=folder / "here",
            capture_output=True,
            check=False,
            timeout=600,
        )
    finally:
        done.set()
        watcher.join()
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    for path in shared_files(began):
        files[str(path)] = path.read_bytes()
    return Left(ended.returncode, ended.stdout, ended.stderr, files, frozenset(lines))


def shared_files(began: float) -> Iterator[Path]:
    """Yields files that lie openly in folders that everybody shares, and are new."""
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        for path in Path(folder).iterdir():
            ours = path.name.startswith(("weighbridge", "told-", "core")) and path.is_file()
            if ours and path.stat().st_mtime >= began - 1:
                yield path


def _watch(lines: set[bytes], done: threading.Event) -> None:
    """Reads every process's command line, as any user of the machine can."""
    while not done.wait(0.02):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    lines.add((entry / "cmdline").read_bytes())
                except OSError:
                    continue
