"""Fixtures of the chip's tests."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chip.chip_world import PaperChip, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    tmp_path.chmod(0o755)
    return World(tmp_path)


@pytest.fixture
def paper(world: World) -> PaperChip:
    return PaperChip(world)


Starter = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Starter]:
    """Starts ``weighbridge chip run`` as a process of its own; whatever is left at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path, command: Sequence[str], *options: str, cwd: Path | None = None) -> Any:
        program = (
            "import sys\nfrom weighbridge.app.chip_commands import app\n"
            "from weighbridge.errors import WeighbridgeError\n"
            "try: app()\nexcept WeighbridgeError as error: sys.exit(f'weighbridge: {error}')"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, "run", str(directory), *options, "--", *command],
            cwd=cwd or tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a command may write, whoever it runs as."""
    folder = tmp_path / "work"
    folder.mkdir()
    folder.chmod(0o777)
    return folder
