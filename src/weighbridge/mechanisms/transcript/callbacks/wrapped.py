"""What a framework wraps its optimizers and schedules in."""

from typing import Any

import torch

__all__ = ["unwrapped"]


def unwrapped(instance: Any) -> Any:
    """Returns the optimizer or schedule inside a framework's wrapper, or the instance itself."""
    for name in ("optimizer", "scheduler"):
        inner = instance.__dict__.get(name) if hasattr(instance, "__dict__") else None
        is_schedule = isinstance(instance, torch.optim.lr_scheduler.LRScheduler)  # it holds its optimizer, too
        if inner is not None and not is_schedule and type(instance).__module__.partition(".")[0] != "torch":
            return inner
    return instance
