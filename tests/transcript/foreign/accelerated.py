"""Accelerate around a plain loop: prepared model, optimizer, data and schedule, accumulation by context."""

# mypy: ignore-errors

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(11)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
x = torch.randn(64, 6)
model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer)
rows = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4, shuffle=True)
model, optimizer, rows, schedule = accelerator.prepare(model, optimizer, rows, schedule)
for _ in range(2):
    for inputs, targets in rows:
        with accelerator.accumulate(model):
            loss = (model(inputs) - targets).pow(2).mean()
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        print(float(loss.detach()).hex())
