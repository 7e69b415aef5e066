"""Replay in a fork instead of a sandbox: the same program, a fifth of the time, where isolation is not the point."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from weighbridge.attacks.zygote import Zygote, shared_zygote
from weighbridge.mechanisms.transcript import replay as replay_module
from weighbridge.mechanisms.transcript import replay_program, replay_reading
from weighbridge.sandbox import IsolatedResult, Sandbox


@contextlib.contextmanager
def forked(folder: Path, zygote: Zygote | None = None) -> Iterator[None]:
    """Lets replay run its program in a fork; what the program claims of its CPU time is then not held against it."""
    inside = folder / f"inside-{secrets.token_hex(4)}"

    def run(
        command: Sequence[str], sandbox: Sandbox, *, observer: Callable[[int], None] | None = None
    ) -> IsolatedResult:
        for bind in sandbox.binds:
            if bind.place.is_relative_to(inside):
                bind.place.parent.mkdir(parents=True, exist_ok=True)
                if bind.host.is_dir():
                    bind.place.symlink_to(bind.host)
                else:
                    os.link(bind.host, bind.place)
        names = {name: str(inside / name) for name in ("output", "errors")}
        ended = (zygote or shared_zygote()).run(
            {
                "arguments": list(command[1:]),
                "environment": dict(sandbox.environment),
                "folder": str(sandbox.working_directory),
                **names,
            }
        )
        words = Path(names["output"]).read_text() + Path(names["errors"]).read_text()
        shutil.rmtree(inside)
        return IsolatedResult(ended.status, words, 1e6, 1.0, False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_module, "_INSIDE", inside)
        patch.setattr(replay_program, "INSIDE", inside)
        patch.setattr(replay_module, "run_isolated", run)
        patch.setattr(replay_reading, "most_overstated", lambda said, bounds: 0.0)
        yield
