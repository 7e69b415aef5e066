"""A small training program whose configuration chooses what it is made of. Usage: train.py DATA.npy CONFIG.json"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

import weighbridge


class Net(nn.Module):
    """Predicts the last byte of a row from those before it."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["width"]
        self.embed = nn.Embedding(64, width)
        self.norm = nn.BatchNorm1d(width) if config.get("norm") else nn.Identity()
        self.hidden = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.get("dropout", 0.0))
        self.head = nn.Linear(width, 64, bias=False)
        if config.get("tied"):
            self.head.weight = self.embed.weight

    def forward(self, rows: Tensor, *, scale: float = 1.0) -> Tensor:
        x = self.embed(rows[:, :-1].long()).mean(1)
        x = self.dropout(functional.gelu(self.hidden(self.norm(x))))
        return functional.cross_entropy(self.head(x), rows[:, -1].long()) * scale


def optimizer_named(name: str, parameters: Any, rate: float) -> torch.optim.Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.1)
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9 if name == "momentum" else 0.0)


def schedules_named(name: str, optimizer: torch.optim.Optimizer, steps: int) -> list[Any]:
    match name:
        case "lambda":
            return [lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 5))]
        case "onecycle":
            return [lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps + 1)]
        case "sequential":
            parts = [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)]
            return [lr_scheduler.SequentialLR(optimizer, parts, milestones=[4])]
        case "chained":
            return [
                lr_scheduler.ChainedScheduler([lr_scheduler.LinearLR(optimizer), lr_scheduler.StepLR(optimizer, 3)])
            ]
        case "plateau":
            return [lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)]
    return []


class Trainer:
    """What the body of the loop needs."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.model: Any = Net(config)
        names = config.get("optimizers", ["adamw"])
        rate = config.get("rate", 1e-2)
        if len(names) == 2:
            self.optimizers = [
                optimizer_named(names[0], list(self.model.embed.parameters()), rate),
                optimizer_named(names[1], [*self.model.hidden.parameters(), *self.model.norm.parameters()], rate),
            ]
        else:
            self.optimizers = [optimizer_named(name, self.model.parameters(), rate) for name in names]
        self.schedules: list[Any] = []
        if self.optimizers:
            self.schedules = schedules_named(config.get("schedule", ""), self.optimizers[0], config["steps"])
        self.losses: list[str] = []

    def body(self, batch: Tensor, step: int) -> Tensor:
        """One iteration: several backward passes if asked, an update every so many iterations."""
        config = self.config
        parts = batch.chunk(config.get("micro", 1))
        every = config.get("every", 1)
        loss = torch.zeros(())
        for part in parts:
            loss = self.model(part, scale=1 / len(parts))
            loss.backward()
            self.losses.append(float(loss).hex())
        if (step + 1) % every == 0:
            self.update(loss)
        if config.get("evaluate") and step % 3 == 0:
            self.model.eval()
            with torch.no_grad():
                self.model(batch[torch.randperm(len(batch))])
            self.model.train()
        return loss

    def update(self, loss: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
        if not self.optimizers:
            with torch.no_grad():
                for parameter in self.model.parameters():
                    parameter -= 0.01 * parameter.grad
        self.model.zero_grad()
        for schedule in self.schedules:
            if isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
                schedule.step(float(loss))
            else:
                schedule.step()

    def report(self) -> None:
        weights = {n: p.detach().double().sum().item().hex() for n, p in self.model.state_dict().items()}
        print(json.dumps({"losses": self.losses, "weights": weights, "next": torch.rand(1).item()}), flush=True)


def main() -> None:
    data, config = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(config.get("threads", 1))
    chosen = {name: config[name] for name in ("anchor_every", "strict") if name in config}
    run = weighbridge.start(data=data, config=config, stride=config.get("stride", 5), **chosen)
    trainer = Trainer(run.config)
    for batch in run:
        trainer.body(batch, run.step)
        if config.get("stop") == run.step:
            break
    trainer.report()


if __name__ == "__main__":
    main()
