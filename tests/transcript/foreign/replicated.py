"""DDP over gloo: its own sampler for each rank, batch normalisation, dropout, a schedule, accumulation by no_sync."""

import contextlib
import os
import signal
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

dist.init_process_group("gloo")
rank, words = dist.get_rank(), sys.argv[1:]
torch.manual_seed(3)
x = torch.randn(96, 8)
y = x.sum(1, keepdim=True)
torch.manual_seed(3 + rank)  # weights differ until DDP copies those of rank 0; dropout differs for ever
model = DistributedDataParallel(nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 1)))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5)
sampler: DistributedSampler[int] | None = None if "same" in words else DistributedSampler(TensorDataset(x, y), seed=1)
loader = DataLoader(TensorDataset(x, y), batch_size=8, sampler=sampler)
for epoch in range(2):
    if sampler is not None:
        sampler.set_epoch(epoch)
    for number, (inputs, targets) in enumerate(loader):
        waits = "accumulate" in words and number % 2 == 0
        with model.no_sync() if waits else contextlib.nullcontext():
            loss = (model(inputs) - targets).pow(2).mean()
            loss.backward()
        sys.stdout.write(f"{rank} {epoch} {number} {loss.item().hex()}\n")
        if waits:
            continue
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if (epoch, number, rank) == (1, 1, 1) and "killed" in words and first:
            os.kill(os.getpid(), signal.SIGKILL)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
dist.barrier()  # gloo aborts a rank whose peer has left in the middle of its last words
dist.destroy_process_group()
