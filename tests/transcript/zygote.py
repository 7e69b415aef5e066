"""Starts training programs as processes of their own without paying for torch's import each time.

One JSON object a line on standard input: arguments, environment, folder, files for output, faults. The program runs in
a fork of this process, which has imported everything; its exit status is answered.
"""

import json
import os
import random
import runpy
import sys
import traceback
from pathlib import Path

import numpy
import torch
import torch._dynamo  # torch's optimizers import it when the first is built, which takes a second

import weighbridge.mechanisms.transcript.start
from weighbridge.errors import WeighbridgeError

from .faults import install


def run(order: dict[str, object]) -> int:
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    os.chdir(str(order["folder"]))
    for descriptor, name in ((1, "output"), (2, "errors")):
        handle = os.open(str(order[name]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, descriptor)
    sys.argv = list(order["arguments"])  # type: ignore[call-overload]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    seed = int.from_bytes(os.urandom(4), "big")  # as fresh as a new process would be
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    install(order["faults"])  # type: ignore[arg-type]
    try:
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


def main() -> None:
    torch.set_num_threads(1)
    assert weighbridge.mechanisms.transcript.start
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = run(order)
                import atexit

                atexit._run_exitfuncs()  # what the interpreter would do at its end
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
