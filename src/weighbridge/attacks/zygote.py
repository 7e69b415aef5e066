"""Starts training programs as processes of their own without paying for torch's import each time.

One JSON object a line on standard input; the program runs in a fork of a process that has imported everything, and
its exit status and CPU time are answered. What an operator with root changes in its own recorder is called in the
fork, before the program: ``tampering`` lists functions as ``module:function`` with their arguments.
"""

import atexit
import functools
import importlib
import json
import os
import random
import runpy
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Exit", "Zygote", "shared_zygote"]


@dataclass(frozen=True)
class Exit:
    """How a program ended: status as a shell gives it, and CPU seconds that it and its children used."""

    status: int
    cpu_seconds: float


class Zygote:
    """The process from which programs are forked; hold it open for as long as programs run.

    Args:
        path: folders that tampering functions are imported from, besides the package's own.
    """

    def __init__(self, *, path: Sequence[Path] = ()) -> None:
        source = [str(folder) for folder in (*path, Path(__file__).resolve().parents[2])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(source)},
        )

    def run(self, order: Mapping[str, Any]) -> Exit:
        """Runs one program to its end.

        Args:
            order: ``arguments`` (a script or ``-m`` and a module, and its own), ``environment``, ``folder``, files for
                ``output`` and ``errors``, ``tampering``.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        status, cpu_seconds = json.loads(self._process.stdout.readline())
        return Exit(int(status), float(cpu_seconds))

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # it holds nothing that would be lost
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@functools.cache
def shared_zygote() -> Zygote:
    """Returns one that is started when first asked for and ends with this process."""
    zygote = Zygote()
    atexit.register(zygote.close)
    return zygote


def _run(order: Mapping[str, Any]) -> int:
    import numpy
    import torch

    from weighbridge.errors import WeighbridgeError

    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    for descriptor, name in ((1, "output"), (2, "errors")):
        handle = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, descriptor)
    as_module = order["arguments"][0] == "-m"
    sys.argv = list(order["arguments"][as_module:])
    sys.path.insert(0, order["folder"] if as_module else str(Path(sys.argv[0]).parent))
    seed = int.from_bytes(os.urandom(4), "big")  # as fresh as a new process would be
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    for name, arguments in order.get("tampering", ()):
        module, _, function = name.partition(":")
        getattr(importlib.import_module(module), function)(**arguments)
    try:
        if as_module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except WeighbridgeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _main() -> None:
    import torch
    import torch._dynamo  # torch's optimizers import it when the first is built, which takes a second

    import weighbridge.mechanisms.transcript.start

    torch.set_num_threads(1)
    assert weighbridge.mechanisms.transcript.start
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = _run(order)
                atexit._run_exitfuncs()  # what the interpreter would do at its end
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, ended, usage = os.wait4(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(ended), usage.ru_utime + usage.ru_stime]), flush=True)


if __name__ == "__main__":
    _main()
