"""A DataLoader, batch normalisation, dropout, a schedule, evaluation in between; the loop is its own."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
x = torch.randn(256, 8)
y = x.sum(1, keepdim=True)
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
criterion = nn.MSELoss()
for _ in range(3):
    for inputs, targets in loader:
        loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(float(loss.detach()).hex())
    schedule.step()
    model.eval()
    with torch.no_grad():
        print(float(criterion(model(x), y)).hex())
    model.train()
torch.save(model.state_dict(), "checkpoint.pt")
