"""What recording costs: time of the same steps with it over without, and bytes over those of a Proof-of-Learning.

The workload is pinned: a state of 104 MB (weights and AdamW's two moments), two threads, 200 steps of 100 to 350 ms.
A plain run and one for each stride train in turns of ten steps, each in a process of its own that waits while another
trains, so that a machine that becomes slower for a while does so for all of them: whole runs one after the other
differed by a fifth among themselves. Turns change between two digests, where no anchor is being written. Measured is
everything from the first step's beginning until the loop has ended: digests, anchors by plan every 100 steps, the end's
digest and anchor, batches' digests and the journal. Only the start (commitment and first anchor) is not in it.

``record.bytes_over_pol``: the whole folder of the run recorded every ten steps, over checkpoints of net, optimizer and
scheduler by ``torch.save`` at step 0, every ten steps and at the end, as the code of the Proof-of-Learning paper (Jia
et al. 2021, cleverhans-lab) writes them. Both tell at every tenth step whether a replay has left the run, and in which
tensor.

``record.hash_over_memcpy``: rate at which the state is digested over that of copying memory on one thread, both in the
recorded process.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

STEPS = 200
ROUNDS = 3
STRIDES = (10, 1, 100)
INTERVAL = 10
"""Steps between checkpoints of the Proof-of-Learning paper."""

PROGRAM = """
import io, json, os, statistics, sys, time
import torch
from torch import nn
import weighbridge

torch.set_num_threads(2)
steps, stride = int(sys.argv[2]), int(sys.argv[3])

def model_of():
    layers = [nn.Linear(256, 1024), nn.GELU()]
    for _ in range(8):
        layers += [nn.Linear(1024, 1024), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(1024, 1))

if stride:
    loop = weighbridge.start(data=sys.argv[1], config={"steps": steps, "batch_size": 768}, stride=stride)
else:
    import numpy as np
    rows = np.load(sys.argv[1], mmap_mode="r")
    torch.manual_seed(0)
    loop = (torch.from_numpy(np.array(rows[np.arange(i * 768, (i + 1) * 768) % len(rows)])) for i in range(steps))
model = model_of()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1000)

def saved():
    file = io.BytesIO()
    parts = {"net": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(parts, file)
    return file.getbuffer().nbytes

def turn():
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    sys.stdin.readline()
    return time.perf_counter()

first, began = saved(), time.perf_counter()
for step, batch in enumerate(loop):
    if step == 0 or step % 10 == 5:
        began = turn()
    loss = model(batch).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
said = {"seconds": time.perf_counter() - began, "first_bytes": first, "checkpoint_bytes": saved()}
said["state_bytes"] = sum(p.numel() * 12 for p in model.parameters())
if stride:
    from weighbridge.mechanisms.transcript.costs import memcpy_rate
    from weighbridge.mechanisms.transcript.state import digest_tensors
    tensors = {f"{n}/{key}": t for n, state in enumerate(optimizer.state.values()) for key, t in state.items()}
    tensors |= dict(model.named_parameters())
    times = []
    for _ in range(9):
        start = time.perf_counter()
        digest_tensors(tensors)
        times.append(time.perf_counter() - start)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    said |= {"hash_rate": size / statistics.median(times), "memcpy_rate": memcpy_rate()}
print(json.dumps(said))
"""


class Run:
    """One run of the program in a process of its own, which trains when it has its turn; stride 0 records nothing."""

    def __init__(self, folder: Path, *, stride: int) -> None:
        self._runs = Path(tempfile.mkdtemp(dir=folder))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHBRIDGE_")}
        program, data = folder / "program" / "train.py", folder / "data.npy"
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(data), str(STEPS), str(stride)],
            env=kept | {"WEIGHBRIDGE_RUNS": str(self._runs)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._read()  # it waits before its first step
        self.seconds: list[float] = []

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        told: dict[str, float] = json.loads(self._process.stdout.readline())
        return told

    def turn(self) -> dict[str, float] | None:
        """Lets it train for a turn; returns what it says of the whole run after the last one."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        told = self._read()
        self.seconds.append(told["seconds"])
        return told if "state_bytes" in told else None

    def end(self, told: dict[str, float]) -> dict[str, float]:
        """Returns the run's figures, and removes its anchors."""
        _, errors = self._process.communicate()
        said = re.search(r"recording took ([0-9.]+) s", errors)
        files = [path for path in self._runs.rglob("*") if path.is_file()]
        result = {
            **told,
            "seconds": sum(self.seconds),
            "inside": float(said[1]) / sum(self.seconds) if said else 0.0,
            "proof_bytes": sum(path.stat().st_size for path in files),
        }
        for path in files:
            path.unlink()
        return result


def run_in_turns(folder: Path, strides: Sequence[int]) -> dict[int, dict[str, float]]:
    """Runs the program once for each stride, turn by turn, and returns what came of each."""
    runs = {stride: Run(folder, stride=stride) for stride in strides}
    order = list(strides)
    found: dict[int, dict[str, float]] = {}
    while len(found) < len(order):
        for stride in order:
            told = runs[stride].turn()
            if told is not None:
                found[stride] = runs[stride].end(told)
        order.append(order.pop(0))
    return found


def figures(strides: Sequence[int], rounds: int) -> list[dict[str, object]]:
    """Runs everything, alternating, and returns the figures."""
    found: dict[int, list[dict[str, float]]] = {stride: [] for stride in (0, *strides)}
    with tempfile.TemporaryDirectory(prefix="weighbridge-bench-") as name:
        folder = Path(name)
        (folder / "program").mkdir()
        (folder / "program" / "train.py").write_text(PROGRAM)
        np.save(folder / "data.npy", np.random.default_rng(1).normal(size=(8192, 256)).astype(np.float32))
        for _ in range(rounds):
            for stride, result in run_in_turns(folder, list(found)).items():
                found[stride].append(result)
                print(f"stride {stride}: {result['seconds']:.2f} s, {result['inside']:.2%} of it", file=sys.stderr)

    def median(stride: int, what: str) -> float:
        return statistics.median(result[what] for result in found[stride])

    plain = median(0, "seconds")
    pairs = {
        stride: [a["seconds"] / b["seconds"] for a, b in zip(found[stride], found[0], strict=True)]
        for stride in strides
    }
    against = f"the same {STEPS} steps without: {plain / STEPS * 1e3:.0f} ms a step, state"
    against += f" {median(0, 'state_bytes') / 1e6:.0f} MB"
    lines: list[dict[str, object]] = [
        {
            "name": "record.time_ratio" + ("" if stride == INTERVAL else f".stride{stride}"),
            "value": round(median(stride, "seconds") / plain, 4),
            "unit": "ratio",
            "against": f"{against}, a digest every {stride} steps; by round {min(pairs[stride]):.4f} to"
            f" {max(pairs[stride]):.4f}; inside the run itself the recording counts {median(stride, 'inside'):.2%}",
            "runs": rounds,
        }
        for stride in strides
    ]
    chosen = INTERVAL if INTERVAL in strides else strides[0]
    last = found[chosen][-1]
    if chosen == INTERVAL:
        checkpoints = last["first_bytes"] + STEPS / INTERVAL * last["checkpoint_bytes"]
        lines.append(
            {
                "name": "record.bytes_over_pol",
                "value": round(last["proof_bytes"] / checkpoints, 4),
                "unit": "ratio",
                "against": f"{checkpoints / 1e6:.0f} MB of checkpoints every {INTERVAL} steps of {STEPS}; recording"
                f" wrote {last['proof_bytes'] / 1e6:.0f} MB",
                "runs": 1,
            }
        )
    rate, copied = median(chosen, "hash_rate"), median(chosen, "memcpy_rate")
    lines.append(
        {
            "name": "record.hash_over_memcpy",
            "value": round(rate / copied, 4),
            "unit": "ratio",
            "against": f"memcpy on one thread {copied / 1e9:.2f} GB/s, digests of the state {rate / 1e9:.2f} GB/s",
            "runs": rounds,
        }
    )
    return lines


def main() -> None:
    """Prints a JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stride", type=int, action="append", help="only these strides")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of each kind")
    options, _ = parser.parse_known_args()  # run.py leaves its own argument
    for line in figures(options.stride or STRIDES, options.rounds):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
