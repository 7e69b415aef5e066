"""A classifier on rows and labels, given to ``start`` as files, or as arrays in memory.

Usage: python labelled.py files X.npy Y.npy | made | unseeded | read X.npy Y.npy
"""

import sys
from typing import Any

import numpy as np
from torch import nn, optim

import weighbridge

kind, *paths = sys.argv[1:]
data: dict[str, Any]
if kind == "files":
    data = {"rows": paths[0], "labels": paths[1]}
elif kind == "read":
    data = {"rows": np.load(paths[0]), "labels": np.load(paths[1])}
else:
    source = np.random.default_rng(5 if kind == "made" else None)
    data = {"rows": source.standard_normal((40, 6)).astype(np.float32), "labels": source.integers(0, 3, 40)}

run = weighbridge.start(data=data, config={"steps": 6, "batch_size": 8}, stride=2)
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = optim.Adam(model.parameters(), lr=0.01)
for batch in run:
    loss = nn.functional.cross_entropy(model(batch["rows"]), batch["labels"])
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
