"""Inside the sandbox: starts the ranks of a group, as a launcher would, and ends them all when one fails.

``python -m weighbridge.mechanisms.transcript.group_host FILE``; the file lists a command and an environment a rank.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["MEETING", "main", "meet"]

MEETING: Final = "WEIGHBRIDGE_REPLAY_MEETING"
"""Folder in which ranks that have walked their plans say so."""

_LONGEST_S: Final = 600.0
_PAUSE_S: Final = 0.01


def meet(folder: Path, rank: int, world: int) -> None:
    """Says that this rank has walked its plan, and waits until all have: a peer may still be reading from it."""
    (folder / f"done-{rank}").touch()
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until and not all((folder / f"done-{other}").exists() for other in range(world)):
        time.sleep(_PAUSE_S)


def main(arguments: Sequence[str]) -> int:
    """Starts all ranks and waits for them; returns the first status that is not 0."""
    ranks = json.loads(Path(arguments[0]).read_bytes())
    running = [
        subprocess.Popen(rank["command"], env={**os.environ, **rank["environment"]}, stdin=subprocess.DEVNULL)
        for rank in ranks
    ]
    while True:
        statuses = [process.poll() for process in running]
        failed = [status for status in statuses if status]
        if failed:
            for process in running:
                process.kill()
            return abs(failed[0])
        if all(status == 0 for status in statuses):
            return 0
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
