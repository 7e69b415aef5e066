"""A folder in which somebody's own program is run, recorded and verified."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from transcript.forked import forked
from weighbridge.app.main import build
from weighbridge.attacks.zygote import Zygote
from weighbridge.mechanisms.transcript.encoding import canonical

FOREIGN = Path(__file__).parent / "foreign"
FAULTS = f"{FOREIGN.parent.name}.faults"


@dataclass(frozen=True)
class Bench:
    """A folder with a program of its own, where it is run, recorded and verified.

    Attributes:
        zygote: the process from which programs are forked, where neither how Python starts nor the sandbox is the
            point; None: each is a process of its own, and replay a sandbox.
    """

    folder: Path
    zygote: Zygote | None = None

    def place(self, name: str) -> Path:
        script = self.folder / "program" / f"{name}.py"
        script.parent.mkdir(exist_ok=True)
        shutil.copyfile(FOREIGN / script.name, script)
        return script

    def python(self, *words: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHBRIDGE_")}
        command = [sys.executable, *(str(word) for word in words)]
        # One thread: on tensors this small, the others would only wait, at full speed.
        environment = kept | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"} | variables
        if self.zygote is not None:
            return self._forked(self.zygote, command, environment)
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def _forked(
        self, zygote: Zygote, command: list[str], environment: dict[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: Path(folder, name) for name in ("output", "errors")}
            order: dict[str, Any] = {"arguments": command[1:], "environment": environment, "folder": str(self.folder)}
            order["tampering"] = [[f"{FAULTS}:run_in_place", {}]]
            ended = zygote.run(order | {name: str(path) for name, path in paths.items()})
            texts = [path.read_text() if path.exists() else "" for path in paths.values()]
        return subprocess.CompletedProcess(command, ended.status, *texts)

    def record(self, *words: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        return self.python("-m", "weighbridge", "record", "--out", "runs", *words, **variables)

    @property
    def run(self) -> Path:
        (found,) = (self.folder / "runs").iterdir()
        return found

    def replaying(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which replays run as this bench runs programs."""
        return contextlib.nullcontext() if self.zygote is None else forked(self.folder, self.zygote)

    def verify(self, *, roots: Path | None = None) -> dict[str, tuple[str, str]]:
        """Returns outcome and reason by check."""
        trusted = ["--roots", str(roots)] if roots else []
        with self.replaying():
            ended = CliRunner().invoke(build(), ["transcript", "verify", str(self.run), *trusted, "--json"])
        found = json.loads(ended.stdout)["findings"]
        return {finding["check"]: (finding["outcome"], finding["reason"]) for finding in found}

    def rewrite(self, change: Any) -> None:
        """Rewrites the journal, which is not signed here."""
        path = self.run / "journal-0000.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        change(lines)
        path.write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
