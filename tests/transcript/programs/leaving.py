"""Trains, and leaves its loop, or uses it, in an unusual way that its configuration names."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import _global_optimizer_pre_hooks
from train import Trainer  # type: ignore[import-not-found]

import weighbridge
from weighbridge.mechanisms.transcript import committing, handover

CONFIG = json.loads(Path(sys.argv[2]).read_text())
LEAVE, AT = CONFIG["leave"], CONFIG["at"]
BEFORE = [torch.autograd.backward, torch.optim.Optimizer.__init__, torch.nn.Module.__setstate__]


def say_hooks() -> None:
    now = [torch.autograd.backward, torch.optim.Optimizer.__init__, torch.nn.Module.__setstate__]
    quiet = not _global_optimizer_pre_hooks
    print("hooks removed:", now == BEFORE and quiet, flush=True)


def train(run: Any) -> Trainer:
    trainer = Trainer(run.config)
    for batch in run:
        if LEAVE == "top" and run.step == AT and "WEIGHBRIDGE_RESUME" not in os.environ:
            torch.rand(3)
            break
        trainer.body(batch, run.step)
        if LEAVE == "bottom" and run.step == AT:
            break
        if LEAVE == "raise" and run.step == AT:
            raise RuntimeError("out of luck")
        if LEAVE == "interrupt" and run.step == AT:
            raise KeyboardInterrupt
        if LEAVE == "forked" and run.step == AT:
            child = os.fork()
            if child == 0:
                sys.exit(0)
            os.waitpid(child, 0)
        if LEAVE == "disk full" and run.step == AT:
            fill_the_disk()
        if LEAVE == "keeper gone" and run.step == AT:
            run._out.handover._spool._in = Path(os.environ["SPOOL_ELSEWHERE"])
    return trainer


def fill_the_disk() -> None:
    original = os.write

    def write(descriptor: int, data: Any) -> int:
        if bytes(data[:1]) == b"{":
            original(descriptor, data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(descriptor, data)

    os.write = write


def main() -> None:
    if LEAVE == "no keeper":
        committing._QUIET_SECONDS = committing._WAIT_SECONDS = 1.0
    handover.RECEIPTS_SECONDS = 2.0 if LEAVE == "keeper gone" else 15.0
    torch.set_num_threads(1)
    run = weighbridge.start(data=sys.argv[1], config=CONFIG, stride=5)
    if LEAVE == "never looped":
        return
    if LEAVE == "iterator kept":
        keep(run)
        return
    try:
        trainer = train(run)
    except RuntimeError:
        say_hooks()
        raise
    if LEAVE == "looped twice":
        list(run)
    if LEAVE == "two runs":
        train(weighbridge.start(data=sys.argv[1], config=CONFIG, stride=5))
    say_hooks()
    trainer.report()


def keep(run: Any) -> None:
    """Takes three batches by hand and keeps the iterator alive to the program's end."""
    trainer = Trainer(run.config)
    sys.modules["__main__"].kept = iterator = iter(run)  # type: ignore[attr-defined]
    for _ in range(3):
        trainer.body(next(iterator), run.step)
    next(iterator)


if __name__ == "__main__":
    main()
