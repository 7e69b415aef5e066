"""Trains from another run's final weights. Usage: tuning.py DATA.npy CONFIG.json PARENT declared|taken|given-up"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from train import Net  # type: ignore[import-not-found]

import weighbridge

data, configuration, parent, how = sys.argv[1:]
config = json.loads(Path(configuration).read_text())
run = weighbridge.start(data=data, config=config, parent=None if how == "taken" else parent)
model = Net(config)
if how == "taken":
    anchor = next(Path(parent, "anchors").glob("*-end.safetensors"))
    prefix = "model/parameter/"
    model.load_state_dict({n.removeprefix(prefix): t for n, t in load_file(anchor).items() if n.startswith(prefix)})
elif how == "declared":
    model.load_state_dict(run.parent_weights())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for batch in run:
    optimizer.zero_grad()
    model(batch).backward()
    optimizer.step()
