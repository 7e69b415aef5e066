"""A folder in which somebody's own program is run, recorded and verified."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from weighbridge.app.main import build
from weighbridge.mechanisms.transcript.encoding import canonical

FOREIGN = Path(__file__).parent / "foreign"


@dataclass(frozen=True)
class Bench:
    """A folder with a program of its own, where it is run, recorded and verified."""

    folder: Path

    def place(self, name: str) -> Path:
        script = self.folder / "program" / f"{name}.py"
        script.parent.mkdir(exist_ok=True)
        shutil.copyfile(FOREIGN / script.name, script)
        return script

    def python(self, *words: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHBRIDGE_")}
        command = [sys.executable, *(str(word) for word in words)]
        environment = kept | {"PYTHONHASHSEED": "0"} | variables
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def record(self, *words: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        return self.python("-m", "weighbridge", "record", "--out", "runs", *words, **variables)

    @property
    def run(self) -> Path:
        (found,) = (self.folder / "runs").iterdir()
        return found

    def verify(self, *, roots: Path | None = None) -> dict[str, tuple[str, str]]:
        """Returns outcome and reason by check."""
        trusted = ["--roots", str(roots)] if roots else []
        ended = CliRunner().invoke(build(), ["transcript", "verify", str(self.run), *trusted, "--json"])
        found = json.loads(ended.stdout)["findings"]
        return {finding["check"]: (finding["outcome"], finding["reason"]) for finding in found}

    def rewrite(self, change: Any) -> None:
        """Rewrites the journal, which is not signed here."""
        path = self.run / "journal-0000.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        change(lines)
        path.write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
