"""Programs of several ranks, started as their launchers start them, recorded, merged and verified."""

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from transcript.bench import Bench
from weighbridge.app.main import build
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.transcript import Transcript

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")


@dataclass(frozen=True)
class Ranks(Bench):
    """A folder with a program that several processes run together."""

    def plain(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.python(*TORCHRUN, self.place(name), *words, OMP_NUM_THREADS="1")

    def recorded(
        self, name: str, *words: str, launcher: tuple[str, ...] = (), **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        command = launcher or ("torchrun", "--nproc-per-node", "2")
        variables = {"OMP_NUM_THREADS": "1", **variables}
        return self.record("--stride", "3", "--", *command, self.place(name), *words, **variables)

    def rank(self, number: int, attempt: int = 0) -> Path:
        for folder in sorted((self.folder / "runs").iterdir()):
            group = json.loads((folder / "opening.json").read_text())["contents"]["config"]["group"]
            if (group["rank"], group["attempt"]) == (number, attempt):
                return folder
        raise AssertionError(f"no rank {number}")

    def invoke(self, *words: str | Path) -> tuple[int, str, dict[str, Any]]:
        ended = CliRunner().invoke(build(), ["transcript", *map(str, words), "--json"])
        said = json.loads(ended.stdout) if ended.stdout.startswith("{") else {}
        return ended.exit_code, str(ended.exception), said

    def merged(self) -> dict[str, tuple[str, str]]:
        """Merges the ranks into ``merged`` and returns outcome and reason by check."""
        shutil.rmtree(self.folder / "merged", ignore_errors=True)
        status, said, found = self.invoke("merge", self.folder / "runs", "--out", self.folder / "merged")
        assert found, (status, said)
        return {f["check"].removeprefix("transcript."): (f["outcome"], f["reason"]) for f in found["findings"]}

    def refused(self, *words: str | Path) -> str:
        """Returns why a merge was refused; nothing is written then."""
        status, said, _ = self.invoke("merge", *(words or (self.folder / "runs",)), "--out", self.folder / "refused")
        assert status not in (0, 3) and not (self.folder / "refused").exists()
        return said

    def open(self, number: int) -> Transcript:
        return Transcript.open(self.rank(number), None)

    def edit(self, number: int, change: Callable[[list[dict[str, Any]]], None]) -> None:
        """Rewrites a rank's journal, which is not signed here."""
        path = self.rank(number) / "journal-0000.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        change(lines)
        path.write_bytes(b"".join(canonical(line) + b"\n" for line in lines))

    @contextmanager
    def kept(self) -> Any:
        """Puts every file back afterwards."""
        copy = self.folder.with_name(f"{self.folder.name}-kept")
        shutil.copytree(self.folder, copy)
        try:
            yield self
        finally:
            shutil.rmtree(self.folder)
            copy.rename(self.folder)


def losses(output: str) -> list[str]:
    """Returns the ranks' printed lines in one order: two processes print as they come."""
    return sorted(output.splitlines())
