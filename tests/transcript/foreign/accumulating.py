"""Settings before PyTorch is imported, workers, mixed precision, a scaler, clipping, accumulation, an average."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset[tuple[Tensor, Tensor]]):
    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(index)
        return torch.randn(8, generator=generator) + 0.01 * torch.randn(8), torch.tensor(float(index % 3))


torch.manual_seed(5)
model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
average = torch.optim.swa_utils.AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=24)
scaler = torch.amp.GradScaler("cpu")
for _ in range(2):
    for number, (inputs, targets) in enumerate(DataLoader(Rows(), batch_size=4, shuffle=True, num_workers=2)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = (model(inputs).squeeze() - targets).pow(2).mean() / 2
        scaler.scale(loss).backward()
        if number % 2:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            schedule.step()
            average.update_parameters(model)
        print(float(loss.detach()).hex())
print(float(sum(float(p.detach().sum()) for p in average.parameters())).hex())
