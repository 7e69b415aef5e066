"""A loop with shuffled epochs, dropout and a schedule, which stops dead in the middle if a file says so."""

import os
import signal
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
x = torch.randn(96, 8)
rows = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, shuffle=True)
model = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=float(os.environ.get("LEARNING_RATE", "1e-2")))
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 48)
step = 0
for _ in range(4):
    order = np.random.permutation(4)
    for number, (inputs, targets) in enumerate(rows):
        inputs = inputs + 0.01 * torch.randn_like(inputs) * float(order[number % 4])
        loss = (model(inputs) - targets).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step += 1
        print(step, float(loss.detach()).hex(), flush=True)
        if step == 31 and Path("die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
    torch.save(model.state_dict(), "checkpoint.pt")
