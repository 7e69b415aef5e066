"""Keeps its settings and its checkpoints elsewhere than beside itself. Usage: elsewhere.py WAY PATH"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import nn

way, path = sys.argv[1], Path(sys.argv[2])
if "RANK" in os.environ:
    torch.distributed.init_process_group("gloo")
rate = 0.05
if way == "setting":
    rate = json.loads(path.read_text())["rate"]
elif way == "making":
    path.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
rows = torch.randn(16, 4)
model = nn.Linear(4, 1)
wrapped = nn.parallel.DistributedDataParallel(model) if "RANK" in os.environ else model
optimizer = torch.optim.SGD(model.parameters(), lr=rate)
for step in range(20):
    loss = wrapped(rows).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex(), flush=True)
    if step == 12:
        if way in ("saving", "making"):
            torch.save(model.state_dict(), path / "checkpoint.pt")
        elif way == "noting":
            (path / "notes.txt").write_text("half way")
        elif way == "raising" and "WEIGHBRIDGE_REPLAY" in os.environ:
            raise RuntimeError(f"No such file or directory: '{path}'")
        elif way == "pretending" and "WEIGHBRIDGE_REPLAY" in os.environ:
            raise FileNotFoundError(2, "No such file or directory", __file__)
        elif way == "choosing" and "WEIGHBRIDGE_REPLAY" in os.environ:
            raise FileNotFoundError(2, "No such file or directory", str(path))
