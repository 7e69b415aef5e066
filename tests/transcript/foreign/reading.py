"""Reads its rows from a file, takes its learning rate from a variable, and may be told to do something else."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
rows = torch.from_numpy(np.loadtxt(sys.argv[1], dtype=np.float32))
model = nn.Linear(rows.shape[1], 1)
optimizer = torch.optim.SGD(model.parameters(), lr=float(os.environ.get("LEARNING_RATE", "0.1")))
mode = sys.argv[2] if len(sys.argv) > 2 else ""
for step in range(30):
    loss = model(rows).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(float(loss.detach()).hex(), flush=True)
    if mode == "slow":
        time.sleep(0.05)
    if mode == "raise" and step == 12:
        raise RuntimeError("out of luck")
    if mode == "freeze" and step == 12:  # as the chip's agent does while the program stands still
        notice = Path(os.environ["WEIGHBRIDGE_CHIP_NOTICE"])
        notice.with_suffix(".new").write_text(json.dumps({"chip": "c0" * 32, "boot": 1, "sequence": 4}) + "\n")
        notice.with_suffix(".new").replace(notice)
    if mode == "second" and step == 12:
        other = nn.Linear(4, 1)
        late = torch.optim.SGD(other.parameters(), lr=0.1)
        other(torch.ones(1, 4)).sum().backward()
        late.step()
