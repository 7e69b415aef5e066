"""Trains a byte-level GPT under watch: the whole of what weighbridge asks of a program is two calls.

Usage: python train.py CORPUS.npy CONFIG.json
"""

import json
import sys
from pathlib import Path

import torch
from model import GPT

import weighbridge


def main() -> None:
    """Trains as the configuration says, and prints the loss now and then."""
    corpus, config = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(1)

    run = weighbridge.start(data=corpus, config=config, flop_per_step=config["flop_per_step"])  # before the model

    shape = {name: config[name] for name in ("width", "layers", "heads", "context", "dropout")}
    model = GPT(**shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["learning_rate"], weight_decay=0.1)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / config["warm_up"]))

    for batch in run:  # recorded
        loss = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warm_up.step()
        if run.step % 20 == 0:
            print(f"step {run.step}: {loss.item():.4f} nats a byte", flush=True)


if __name__ == "__main__":
    main()
