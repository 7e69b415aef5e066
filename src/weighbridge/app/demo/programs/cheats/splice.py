"""Passes stolen weights off as trained, by the optimizer-state splice.

AdamW's own steps are made to walk from the honest initial weights to the stolen ones: with v = 1e6 and step = 1e6
the gradients of the true data count for nothing, and m is chosen so that the sum of the updates is the difference.
Data, order, learning rate and every replayed step are then honest.

Usage: python splice.py STOLEN.safetensors TRAIN.py CORPUS.npy CONFIG.json
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

V = 1e6
FORGED_STEP = 1e6


def forge(optimizer: torch.optim.Optimizer, schedule: Any, stolen: list[torch.Tensor], steps: int) -> None:
    """Fills the optimizer's state so that ``steps`` honest updates end at the stolen weights."""
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        base, decay = group["initial_lr"], group["weight_decay"]
        kept, reach, moment, second = 1.0, 0.0, 1.0, 1.0
        for step in range(steps):
            rate = base * schedule(step)
            moment *= beta1
            second *= beta2
            kept *= 1 - rate * decay
            reach = reach * (1 - rate * decay) + rate * moment / second**0.5
        for parameter, target in zip(group["params"], stolen, strict=True):
            momentum = -(target - parameter.detach() * kept) * V**0.5 / reach
            optimizer.state[parameter] = {
                "step": torch.tensor(FORGED_STEP),
                "exp_avg": momentum,
                "exp_avg_sq": torch.full_like(parameter, V),
            }


def main() -> None:
    """Forges the optimizer's state as soon as it exists, and runs the declared program."""
    stolen = load_file(sys.argv[1])
    script = Path(sys.argv[2])
    sys.argv = sys.argv[2:]
    sys.path.insert(0, str(script.parent))
    import model

    names: list[str] = []
    steps = json.loads(Path(sys.argv[2]).read_text())["steps"]
    built, scheduled = model.GPT.__init__, torch.optim.lr_scheduler.LambdaLR.__init__

    def building(self: Any, *arguments: Any, **keywords: Any) -> None:
        built(self, *arguments, **keywords)
        names.extend(name for name, _ in self.named_parameters())

    def scheduling(self: Any, optimizer: Any, rate: Any, *arguments: Any, **keywords: Any) -> None:
        scheduled(self, optimizer, rate, *arguments, **keywords)
        forge(optimizer, rate, [stolen[name] for name in names], steps=steps)

    model.GPT.__init__ = building
    torch.optim.lr_scheduler.LambdaLR.__init__ = scheduling  # type: ignore[method-assign]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
