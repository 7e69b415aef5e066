"""What recording costs: time of the same steps with it over without, in interleaved runs of one program.

A state of at least 100 MB (weights and AdamW's two moments), two threads, steps of 100 to 350 ms, a full-state digest
every ten steps, and one freeze's anchor in the middle: written as after a real freeze, since the program sees a notice
file replaced as an agent replaces it. Measured from the first step's beginning to the last one's end; the anchors
before the first step and after the last are not in it, nor is the start-up.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

STEPS = 40
PAIRS = 3

PROGRAM = """
import json, os, sys, time
import torch
from torch import nn
import weighbridge

torch.set_num_threads(2)
steps, recorded, notice = int(sys.argv[2]), sys.argv[3] == "recorded", sys.argv[4]

def model_of():
    layers = [nn.Linear(256, 1024), nn.GELU()]
    for _ in range(8):
        layers += [nn.Linear(1024, 1024), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(1024, 1))

if recorded:
    loop = weighbridge.start(data=sys.argv[1], config={"steps": steps, "batch_size": 1024}, stride=10)
else:
    import numpy as np
    rows = np.load(sys.argv[1], mmap_mode="r")
    torch.manual_seed(0)
    loop = (torch.from_numpy(np.array(rows[np.arange(i * 1024, (i + 1) * 1024) % len(rows)])) for i in range(steps))
model = model_of()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
began, ends = 0.0, []
for number, batch in enumerate(loop):
    began = began or time.perf_counter()
    if number == steps // 2:
        with open(notice + ".new", "w") as file:
            file.write(json.dumps({"chip": "0" * 64, "boot": 1, "sequence": 1}) + "\\n")
        os.replace(notice + ".new", notice)
    loss = model(batch).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ends.append(time.perf_counter())
size = sum(p.numel() * 12 for p in model.parameters())
print(json.dumps({"seconds": ends[-1] - began, "state_bytes": size}))
"""


def run_once(folder: Path, *, recorded: bool) -> dict[str, float]:
    """Runs the program once, in a process of its own."""
    notice = folder / "notice"
    notice.unlink(missing_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHBRIDGE_")}
    place = {"WEIGHBRIDGE_RUNS": str(folder / "runs"), "WEIGHBRIDGE_CHIP_NOTICE": str(notice)}
    word = "recorded" if recorded else "plain"
    ended = subprocess.run(
        [sys.executable, str(folder / "program" / "train.py"), str(folder / "data.npy"), str(STEPS), word, str(notice)],
        env=kept | place,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Prints the figure."""
    with tempfile.TemporaryDirectory(prefix="weighbridge-bench-") as name:
        folder = Path(name)
        (folder / "program").mkdir()
        (folder / "program" / "train.py").write_text(PROGRAM)
        np.save(folder / "data.npy", np.random.default_rng(1).normal(size=(8192, 256)).astype(np.float32))
        plain, recorded = [], []
        state = 0.0
        for _ in range(PAIRS):
            plain.append(run_once(folder, recorded=False)["seconds"])
            result = run_once(folder, recorded=True)
            recorded.append(result["seconds"])
            state = result["state_bytes"]
    step_ms = statistics.median(plain) / STEPS * 1e3
    print(
        json.dumps(
            {
                "name": "record.time_ratio",
                "value": round(statistics.median(recorded) / statistics.median(plain), 4),
                "unit": "ratio",
                "against": f"the same {STEPS} steps without recording: {step_ms:.0f} ms a step, {state / 1e6:.0f} MB of"
                " state, a digest every 10 steps and one freeze's anchor",
                "runs": PAIRS,
            }
        )
    )


if __name__ == "__main__":
    main()
