"""A loop whose own variables follow from its losses: it halves its rate when they are high."""

import torch
from torch import nn

torch.manual_seed(3)
x = torch.randn(64, 8)
model = nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
best = float("inf")
for _ in range(24):
    loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    if loss.item() < 0.99 * best:
        best = loss.item()
    else:
        optimizer.param_groups[0]["lr"] *= 0.5
    optimizer.step()
    print(loss.item().hex())
