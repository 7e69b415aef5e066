"""``snapshot.across_over_memcpy``: how fast another process's memory is read and hashed, against copying as much.

One run measures both: a snapshot of a stopped process with 512 MiB of random bytes, taken as the agent takes it (one
thread, page table scan and leaf digests included), and ``memcpy`` of 512 MiB within one process. The value is the
median of the snapshots' rate over the median of the copies'.
"""

import argparse
import json
import mmap
import os
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

from weighbridge.mechanisms.chip.memory import MemoryReader
from weighbridge.mechanisms.chip.run import DEFAULT_LEAF_SIZE

_TARGET = """
import sys
import numpy as np
held = np.random.default_rng(1).integers(0, 256, int(sys.argv[1]), dtype=np.uint8)
print("ready", flush=True)
sys.stdin.read()
"""


def measure_memcpy(size: int, *, runs: int) -> list[float]:
    """Returns bytes per second of copies between two resident buffers."""
    source = np.random.default_rng(2).integers(0, 256, size, dtype=np.uint8)
    target = np.frombuffer(mmap.mmap(-1, size), dtype=np.uint8)
    rates = []
    for _ in range(runs + 1):  # the first touches the target's pages and is left out
        start = time.perf_counter()
        np.copyto(target, source)
        rates.append(size / (time.perf_counter() - start))
    return rates[1:]


def measure_snapshots(size: int, *, runs: int, leaf_size: int) -> list[float]:
    """Returns bytes per second of snapshots of a stopped process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _TARGET, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        reader = MemoryReader(leaf_size=leaf_size)
        rates = []
        for _ in range(runs + 1):
            start = time.perf_counter()
            snapshot = reader.take([process.pid])
            rates.append(snapshot.read_bytes / (time.perf_counter() - start))
            assert snapshot.read_bytes > size and not snapshot.unread_bytes
        return rates[1:]
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaf-size", type=int, default=DEFAULT_LEAF_SIZE, help="bytes of a leaf")
    parser.add_argument("--mebibytes", type=int, default=512, help="memory of the process that is read")
    parser.add_argument("--runs", type=int, default=7, help="snapshots and copies measured")
    options, _ = parser.parse_known_args()  # run.py leaves its own argument
    size = options.mebibytes << 20
    across = statistics.median(measure_snapshots(size, runs=options.runs, leaf_size=options.leaf_size))
    copied = statistics.median(measure_memcpy(size, runs=options.runs))
    figure = {
        "name": "snapshot.across_over_memcpy",
        "value": round(across / copied, 4),
        "unit": "ratio",
        "against": f"memcpy, one thread each, {options.mebibytes} MiB, leaf size {options.leaf_size} B; "
        f"snapshot {across / 1e9:.2f} GB/s, memcpy {copied / 1e9:.2f} GB/s",
        "runs": options.runs,
    }
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
