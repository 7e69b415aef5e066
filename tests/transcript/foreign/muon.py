"""Muon written out by hand (Jordan 2024), beside AdamW for what is no matrix."""

# mypy: ignore-errors
import torch
from torch import nn

torch.manual_seed(5)


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr=0.02, momentum=0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(p.grad)
                x = p.grad.add(buffer, alpha=group["momentum"])
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                p.add_(x, alpha=-group["lr"])


model = nn.Sequential(nn.Embedding(32, 16), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32))
matrices = [p for p in model[2:].parameters() if p.ndim == 2]
others = [p for n, p in model.named_parameters() if p.ndim != 2 or n.startswith("0.")]
optimizers = [Muon(matrices), torch.optim.AdamW(others, lr=3e-3)]
tokens = torch.randint(0, 32, (128, 4))
for _ in range(24):
    batch = tokens[torch.randperm(128)[:16]]
    loss = nn.functional.cross_entropy(model(batch), batch[:, 0])
    model.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    print(loss.item().hex())
