"""Two models, two optimizers, in turn."""

import torch
from torch import nn

torch.manual_seed(5)
maker = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
judge = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 1))
making = torch.optim.Adam(maker.parameters(), 1e-3)
judging = torch.optim.Adam(judge.parameters(), 1e-3)
criterion = nn.BCEWithLogitsLoss()
for _ in range(20):
    real, fake = torch.randn(16, 2) * 0.1 + 1, maker(torch.randn(16, 4))
    loss = criterion(judge(real), torch.ones(16, 1)) + criterion(judge(fake.detach()), torch.zeros(16, 1))
    judging.zero_grad()
    loss.backward()
    judging.step()
    print(float(loss.detach()).hex())
    loss = criterion(judge(fake), torch.ones(16, 1))
    making.zero_grad()
    loss.backward()
    making.step()
    print(float(loss.detach()).hex())
