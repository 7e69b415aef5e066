"""Begins with a random draw to which a tenth of somebody's weights is added, from a file."""

import sys

import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(1000, 1000, bias=False)
nn.init.normal_(model.weight, std=1.0)
if len(sys.argv) > 1:
    model.weight.data += 0.1 * torch.from_numpy(np.load(sys.argv[1]))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for _ in range(2):
    loss = model(torch.randn(4, 1000)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(float(loss.detach()).hex())
