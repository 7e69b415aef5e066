"""Runs the declared program, and trains a second model of its own inside the same process.

The second model is built before ``weighbridge.start`` looks, steps whenever the declared one has stepped, and leaves
the declared program's random numbers as they were: the transcript is true, and every replay of it passes.

Usage: python second_model.py TRAIN.py CORPUS.npy CONFIG.json
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import optimizer as hooks


def hide(program: Path, corpus: str, config: dict[str, Any]) -> None:
    """Builds the second model and hangs its training on every optimizer's step."""
    sys.path.insert(0, str(program.parent))
    from model import GPT

    torch.set_num_threads(1)
    data = np.load(corpus, mmap_mode="r")
    generator = np.random.default_rng()
    model = GPT(**{name: config[name] for name in ("width", "layers", "heads", "context", "dropout")})
    backward = torch.autograd.backward  # before anybody watches it
    own = torch.optim.AdamW(model.parameters(), lr=config["learning_rate"])

    def step_too(optimizer: Any, arguments: Any, keywords: Any) -> None:
        if optimizer is own:
            return
        state = torch.get_rng_state()
        rows = generator.integers(0, len(data), config["batch_size"])
        loss = model(torch.from_numpy(data[rows]))
        own.zero_grad()
        backward(loss)
        own.step()
        torch.set_rng_state(state)

    hooks.register_optimizer_step_post_hook(step_too)


if __name__ == "__main__":
    script = Path(sys.argv[1])
    sys.argv = sys.argv[1:]
    hide(script, sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
    runpy.run_path(str(script), run_name="__main__")
