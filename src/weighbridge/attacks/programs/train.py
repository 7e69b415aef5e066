"""Trains a small model as its configuration says. Usage: train.py ROWS.npy CONFIG.json [PARENT]."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from models import build
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import weighbridge


def optimizer_of(model: nn.Module, config: dict[str, Any]) -> optim.Optimizer:
    """Returns the configured optimizer."""
    rate = config.get("rate", 3e-3)
    match config.get("optimizer", "adamw"):
        case "adamw":
            return optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
        case "adam":
            return optim.Adam(model.parameters(), lr=rate, amsgrad=True)
        case "momentum":
            return optim.SGD(model.parameters(), lr=10 * rate, momentum=0.9, nesterov=True)
        case "rmsprop":
            return optim.RMSprop(model.parameters(), lr=rate / 3)
        case "adagrad":
            return optim.Adagrad(model.parameters(), lr=3 * rate)
    return optim.SGD(model.parameters(), lr=10 * rate)


def schedule_of(optimizer: optim.Optimizer, config: dict[str, Any]) -> Any:
    """Returns the configured schedule, or None."""
    match config.get("schedule"):
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, config["steps"])
        case "warm-up":
            return lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 8))
        case "one-cycle":
            return lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=config["steps"] + 1)
    return None


def augmented(rows: Tensor) -> Tensor:
    """Returns the rows with noise, drawn from the global generator in the loop."""
    noisy = rows.int() + torch.randint(-9, 10, rows.shape)
    noisy[:, -1] = rows[:, -1]
    return noisy.clamp(0, 255).to(torch.uint8)


def body(model: nn.Module, batch: Tensor, step: int, config: dict[str, Any]) -> None:
    """One forward and backward pass."""
    if config.get("augment"):
        batch = augmented(batch)
    if config.get("curriculum"):
        batch = batch[: max(2, min(len(batch), (step + 1) * len(batch) // 10))]
    with torch.autocast("cpu", torch.bfloat16, enabled=bool(config.get("bf16"))):
        loss = model(batch)
    (loss / config.get("accumulate", 1)).backward()
    if config.get("clip"):
        nn.utils.clip_grad_norm_(model.parameters(), config["clip"])


def main() -> None:
    """Trains."""
    data, config = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(1)
    run = weighbridge.start(data=data, config=config, stride=config["stride"], parent=(*sys.argv[3:], None)[0])
    model = build(config)
    if sys.argv[3:]:
        model.load_state_dict(run.parent_weights())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)) if config.get("average") else None
    optimizer = optimizer_of(model, config)
    schedule = schedule_of(optimizer, config)
    for batch in run:
        body(model, batch, run.step, config)
        if (run.step + 1) % config.get("accumulate", 1) == 0:
            optimizer.step()
            optimizer.zero_grad()
            if average is not None:
                average.update_parameters(model)
            if schedule is not None:
                schedule.step()


if __name__ == "__main__":
    main()
