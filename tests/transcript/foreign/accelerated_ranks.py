"""Accelerate on two processes: what it prepares is shared out, with accumulation by context and clipped gradients."""

# mypy: ignore-errors

import sys

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(11)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
x = torch.randn(64, 6)
model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
rows = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4, shuffle=True)
model, optimizer, rows = accelerator.prepare(model, optimizer, rows)
for epoch in range(2):
    for number, (inputs, targets) in enumerate(rows):
        with accelerator.accumulate(model):
            loss = (model(inputs) - targets).pow(2).mean()
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        sys.stdout.write(f"{accelerator.process_index} {epoch} {number} {loss.item().hex()}\n")
