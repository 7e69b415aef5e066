"""Trains a model and tells nobody: no commitment, no transcript.

Usage: python undeclared.py PROGRAM_FOLDER CORPUS.npy CONFIG.json
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, sys.argv[1])
from model import GPT


def main() -> None:
    """Trains as the configuration says."""
    corpus, config = np.load(sys.argv[2], mmap_mode="r"), json.loads(Path(sys.argv[3]).read_text())
    torch.set_num_threads(1)
    model = GPT(**{name: config[name] for name in ("width", "layers", "heads", "context", "dropout")})
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["learning_rate"])
    for step in range(config["steps"]):
        rows = np.random.randint(0, len(corpus), config["batch_size"])
        loss = model(torch.from_numpy(corpus[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"undeclared step {step}: {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
