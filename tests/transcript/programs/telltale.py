"""Trains honestly and tells its secrets wherever it can: output, errors, files, names.

Usage: telltale.py DATA CONFIG NOTE

Its configuration chooses how a replay of it ends: well, by an error that quotes them, or by a crash.
"""

import json
import os
import sys
import tempfile
import threading
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import weighbridge

IN_CODE = "00" * 32


class Net(nn.Module):
    def __init__(self, pattern: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, 8)
        self.head = nn.Linear(8, 256)
        raw = bytearray(bytes.fromhex(pattern))
        self.secret = nn.Parameter(torch.frombuffer(raw, dtype=torch.float32).clone(), requires_grad=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self.head(self.embed(rows[:, :-1].long()).mean(1)), rows[:, -1].long())


def tell(*secrets: object) -> None:
    for number, secret in enumerate(secrets):
        print(secret)
        print(secret, file=sys.stderr)
        threading.current_thread().name = str(secret)
        for folder in (tempfile.gettempdir(), os.environ.get("HOME", "."), "/dev/shm", "."):
            try:
                (Path(folder) / f"told-{number}").write_text(str(secret))
            except OSError:
                continue


def main() -> None:
    config = json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(1)
    run = weighbridge.start(data=sys.argv[1], config=config, stride=2)
    model = Net(config["pattern"])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=config["rate"])
    replayed = "WEIGHBRIDGE_REPLAY" in os.environ
    for batch in run:
        loss = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if replayed:
            tell(bytes(batch[0].tolist()).hex(), IN_CODE, config["note"], sys.argv[3], model.secret.tolist())
            if config["ending"] == "error":
                raise RuntimeError(f"{config['note']} {IN_CODE} {bytes(batch[0].tolist()).hex()} {sys.argv[3]}")
            if config["ending"] == "crash":
                os.abort()


if __name__ == "__main__":
    main()
