"""A small GPT, or a network with batch normalisation, whose arithmetic follows OMP_NUM_THREADS.

Usage: rounding.py DATA.npy CONFIG.json
"""

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import weighbridge


class Block(nn.Module):
    """Causal attention and a feed-forward part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        # A bias of the keys has no gradient but rounding, which AdamW would make whole steps of.
        self.mix, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.view(*t.shape[:2], 4, -1).transpose(1, 2) for t in self.mix(self.first(x)).chunk(3, -1))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        fed: Tensor = self.down(functional.gelu(self.up(self.second(x))))
        return x + fed


class Gpt(nn.Module):
    """Predicts each byte of a row from those before it."""

    changed = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(64, width), nn.Embedding(512, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.head = nn.Linear(width, 64, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        rows = rows.long()
        if self.changed:
            rows[0, 5] = (rows[0, 5] + 1) % 64
        x = self.embed(rows[:, :-1]) + self.place(torch.arange(rows.shape[1] - 1))
        for block in self.blocks:
            x = block(x)
        loss: Tensor = functional.cross_entropy(self.head(x).flatten(0, 1), rows[:, 1:].flatten())
        return loss


class Pictures(nn.Module):
    """Convolutions with batch normalisation; the first number of a row is its class."""

    changed = False

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [1, width, width, width]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in self.layers)
        self.head = nn.Linear(width, 64)

    def forward(self, rows: Tensor) -> Tensor:
        x = rows[:, 1:].float().view(len(rows), 1, 16, -1) / 64
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.relu(norm(layer(x)))
        return functional.cross_entropy(self.head(x.mean((2, 3))), rows[:, 0].long())


def main() -> None:
    data, config = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    threads = os.environ["OMP_NUM_THREADS"] if "WEIGHBRIDGE_REPLAY" in os.environ else config.get("threads", 1)
    torch.set_num_threads(int(threads))
    run = weighbridge.start(data=data, config=config, stride=2)
    chosen: dict[str, Any] = run.config
    model = Pictures(chosen["width"]) if chosen.get("pictures") else Gpt(chosen["width"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=chosen.get("rate", 1e-3))
    # What an operator would do who has the recorder say what he declared. No replay is told of it.
    forged = os.environ.get("FORGED")
    for batch in run:
        model.changed = forged == "token" and run.step == chosen["at"]
        before = [parameter.detach().clone() for parameter in model.parameters()]
        loss = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if forged == "rate":
            with torch.no_grad():
                for parameter, old in zip(model.parameters(), before, strict=True):
                    parameter.add_(0.001 * (parameter - old))
    print(json.dumps({"loss": float(loss)}))


if __name__ == "__main__":
    main()
