"""The same training without recording, on the same seeds and batches. Usage: unwatched.py DATA.npy CONFIG.json SEED"""

import json
import sys
from pathlib import Path

import torch
from train import Trainer  # type: ignore[import-not-found]

from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.state import seed_generators

config = json.loads(Path(sys.argv[2]).read_text())
torch.set_num_threads(config.get("threads", 1))
seed = bytes.fromhex(sys.argv[3])
data = Dataset.of(sys.argv[1])
seed_generators(seed)
trainer = Trainer(config)
for step, rows in enumerate(data.indices(seed, batch_size=config["batch_size"], start=0, stop=config["steps"])):
    batch = data.batch(rows)
    assert isinstance(batch, torch.Tensor)
    trainer.body(batch, step)
trainer.report()
