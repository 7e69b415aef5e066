"""Compiled models in the ways in which people compile them: dropout inside, a DataLoader that shuffles."""

# mypy: ignore-errors

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

way = sys.argv[1]
torch.manual_seed(11)
torch.set_num_threads(1)
rows = torch.randn(64, 16)
loader = DataLoader(TensorDataset(rows, rows.sum(1, keepdim=True)), batch_size=8, shuffle=True)
model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)


def loss_of(x, y):
    return nn.functional.mse_loss(model(x), y)


step = optimizer.step
if way == "module":
    model = torch.compile(model)
elif way == "part":
    model[1:3].compile()
    model[0] = torch.compile(model[0])
elif way == "in-place":
    model.compile()
elif way == "function":  # traced in full, and run by PyTorch's own kernels: C++ takes a minute to compile
    loss_of = torch.compile(loss_of, backend="aot_eager")
elif way == "optimizer":
    model = torch.compile(model)
    step = torch.compile(optimizer.step)
elif way == "step":
    step = torch.compile(lambda: optimizer.step(), backend="aot_eager")


def whole(x, y):
    loss = loss_of(x, y)
    optimizer.zero_grad()
    loss.backward()
    step()
    return loss


if way == "whole":
    whole = torch.compile(whole, backend="aot_eager")
for _ in range(3):
    for x, y in loader:
        print(whole(x, y).item().hex())
