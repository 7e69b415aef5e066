"""Measures one core, as the verifier does before anything runs: peak rate by format, and one training step.

Run as a program of its own, pinned and with one thread: ``python measure.py PROGRAM_FOLDER CONFIG.json``.
"""

import json
import sys
import time
from pathlib import Path

import torch

_FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SIZES = (512, 1024, 2048)
_REPEATS = 5


def peak_rates() -> dict[str, float]:
    """Returns the best matrix-multiplication rate of this thread in each format, in FLOP a CPU second."""
    rates = {}
    for name, kind in _FORMATS.items():
        best = 0.0
        for size in _SIZES:
            left, right = torch.randn(size, size).to(kind), torch.randn(size, size).to(kind)
            left @ right
            for _ in range(_REPEATS):
                began = time.process_time()
                left @ right
                best = max(best, 2 * size**3 / max(time.process_time() - began, 1e-9))
        rates[name] = best
    return rates


def step_cost(program: str, config: dict[str, float]) -> tuple[float, float]:
    """Returns CPU seconds and FLOP of one training step of the demo's model."""
    from torch.utils.flop_counter import FlopCounterMode

    sys.path.insert(0, program)
    from model import GPT  # type: ignore[import-not-found]

    model = GPT(**{name: config[name] for name in ("width", "layers", "heads", "context", "dropout")})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batch = torch.randint(0, 256, (int(config["batch_size"]), int(config["context"]) + 1), dtype=torch.uint8)

    def step() -> None:
        loss = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    times = []
    for _ in range(9):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    with FlopCounterMode(display=False) as counter:
        step()
    return sorted(times)[len(times) // 2], float(counter.get_total_flops())


if __name__ == "__main__":
    torch.set_num_threads(1)
    rates = peak_rates()
    seconds, flop = step_cost(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
    print(json.dumps({"rates": rates, "step_s": seconds, "step_flop": flop}))
