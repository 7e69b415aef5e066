"""What tests do to a program from inside: kill it at a chosen moment, stop it as a chip's agent would."""

import atexit
import contextlib
import ctypes
import os
import runpy
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from weighbridge.mechanisms.chip.notice import Notice
from weighbridge.mechanisms.transcript import anchors, handover, journal, recorder
from weighbridge.mechanisms.transcript.data import Dataset

CHIP = "c0" * 32


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def install(faults: Mapping[str, Any]) -> None:
    """Installs what the test asked for: ``kill`` with ``at``, and ``freezes`` as a list of [step, place]."""
    if "kill" in faults:
        _MOMENTS[faults["kill"]](faults["at"])
    if "full" in faults:
        _full(**faults["full"])
    if "freezes" in faults:
        _freezes(faults["freezes"], boot=faults.get("boot", 1), first=faults.get("first", 10))


def run_in_place() -> None:
    """Lets a program that would become another Python program (``weighbridge record``) run it in this very process."""

    def execve(path: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        if path != sys.executable or arguments[1] != "-m":
            raise OSError(f"{path} {arguments[1]} is no module of this Python")
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = list(arguments[2:])
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        sys.exit()

    os.execve = execve  # type: ignore[assignment]


def _counted(at: int) -> Callable[[], bool]:
    seen = [0]

    def due() -> bool:
        seen[0] += 1
        return seen[0] == at

    return due


def _kill_before_line(at: int) -> None:
    original, due = journal.Journal.append, _counted(at)

    def append(self: Any, event: Any) -> bytes:
        if due():
            kill()
        return original(self, event)

    journal.Journal.append = append  # type: ignore[method-assign]


def _kill_after_line(at: int) -> None:
    original, due = journal.Journal.append, _counted(at)

    def append(self: Any, event: Any) -> bytes:
        head = original(self, event)
        if due():
            kill()
        return head

    journal.Journal.append = append  # type: ignore[method-assign]


def _kill_inside_line(at: int) -> None:
    append, write, due = journal.Journal.append, os.write, _counted(at)
    appending = [False]  # others write through os.write too

    def noting(self: Any, event: Any) -> bytes:
        appending[0] = True
        try:
            return append(self, event)
        finally:
            appending[0] = False

    def torn(descriptor: int, data: Any) -> int:
        if appending[0] and due():
            write(descriptor, data[: len(data) // 2])
            kill()
        return write(descriptor, data)

    journal.Journal.append = noting  # type: ignore[method-assign]
    os.write = torn


def _kill_inside_anchor(at: int) -> None:
    inside: Any = anchors
    original, due = inside.save_file, _counted(at)

    def save(tensors: Any, path: Path, **keywords: Any) -> None:
        original(tensors, path, **keywords)
        if due():
            os.truncate(path, path.stat().st_size // 2)
            kill()

    inside.save_file = save


def _kill_after_signing(at: int) -> None:
    original, due = handover.Handover.sign, _counted(at)

    def sign(self: Any, public: Any, *, head: bytes) -> None:
        original(self, public, head=head)
        if due():
            kill()

    handover.Handover.sign = sign  # type: ignore[method-assign]


def _kill_at_io(at: int) -> None:
    """Kills at the nth time that the run's folder is touched, once the loop has begun: half of a write is done."""
    write, due = os.write, _counted(at)
    begun = [False]
    opening = recorder.Recorder._open_segment

    def begin(self: Any) -> None:
        begun[0] = True
        opening(self)

    def torn(descriptor: int, data: Any) -> int:
        if begun[0] and due():
            write(descriptor, data[: len(data) // 2])
            kill()
        return write(descriptor, data)

    def audit(event: str, arguments: Any) -> None:
        touched = event in ("open", "os.link", "os.rename", "os.remove") and "-runs/" in str(arguments[0])
        if begun[0] and touched and due():
            kill()

    recorder.Recorder._open_segment = begin  # type: ignore[method-assign]
    os.write = torn
    sys.addaudithook(audit)


def _full(*, folder: str, out: str, step: int, pages: int) -> None:
    """Puts a small file system of its own at ``folder``, filled at a step to so many pages; copies it out at last."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None):  # NEWNS; REC and PRIVATE
        raise OSError(ctypes.get_errno(), "no mount namespace")
    if libc.mount(b"none", folder.encode(), b"tmpfs", 0, b"size=8m"):
        raise OSError(ctypes.get_errno(), "no tmpfs")
    atexit.register(shutil.copytree, folder, out, ignore=shutil.ignore_patterns("filler"))
    batch, seen = Dataset.batch, [-1]

    def fetching(self: Any, indices: Any) -> Any:
        seen[0] += 1
        if seen[0] == step:
            filler = Path(folder) / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)) == 4096:
                    pass
            os.truncate(filler, filler.stat().st_size // 4096 * 4096 - 4096 * pages)
        return batch(self, indices)

    Dataset.batch = fetching  # type: ignore[method-assign]


_MOMENTS = {
    "at-io": _kill_at_io,
    "before-line": _kill_before_line,
    "after-line": _kill_after_line,
    "inside-line": _kill_inside_line,
    "inside-anchor": _kill_inside_anchor,
    "after-signing": _kill_after_signing,
}


def _freezes(places: list[list[Any]], *, boot: int, first: int) -> None:
    """Replaces the notice file as the chip's agent does, at chosen places of chosen steps."""
    notice = Notice(chip=CHIP, boot=boot)
    os.environ.update(notice.variables())
    sequence = [first]
    step = [-1]

    def stop(place: str) -> None:
        for _ in range(sum([step[0], place] == wanted for wanted in places)):
            notice.write(sequence[0])
            sequence[0] += 1

    if [-1, "startup"] in places:
        stop("startup")
    batch = Dataset.batch

    def fetching(self: Any, indices: Any) -> Any:
        step[0] += 1
        stop("fetching")
        return batch(self, indices)

    Dataset.batch = fetching  # type: ignore[method-assign]

    def forward(module: Any, arguments: Any) -> None:
        if type(module).__name__ == "Net":
            stop("forward")

    torch.nn.modules.module.register_module_forward_pre_hook(forward)
    for kind in (torch.optim.AdamW, torch.optim.SGD):
        _stop_inside(kind, stop)
    zero = torch.nn.Module.zero_grad

    def zeroing(self: Any, *arguments: Any, **keywords: Any) -> None:
        zero(self, *arguments, **keywords)
        stop("after")

    torch.nn.Module.zero_grad = zeroing  # type: ignore[method-assign]
    closing = recorder.Recorder._close_segment

    def close(self: Any, left: Any) -> None:
        step[0] = -2
        stop("closing")
        closing(self, left)

    recorder.Recorder._close_segment = close  # type: ignore[method-assign]


def _stop_inside(kind: Any, stop: Callable[[str], None]) -> None:
    original = kind.step

    def stepping(self: Any, *arguments: Any, **keywords: Any) -> Any:
        result = original(self, *arguments, **keywords)
        stop("inside")
        return result

    kind.step = stepping
