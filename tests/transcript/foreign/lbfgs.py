"""An optimizer whose step runs the model itself, several times."""

import torch
from torch import nn

torch.manual_seed(1)
x = torch.randn(64, 4)
y = torch.sin(x).sum(1, keepdim=True)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)


def closure() -> torch.Tensor:
    optimizer.zero_grad()
    loss: torch.Tensor = (model(x) - y).pow(2).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


for _ in range(12):
    print(float(optimizer.step(closure).detach()).hex())  # type: ignore[no-untyped-call]
