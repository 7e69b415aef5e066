"""A program that knows nothing of us, under a chip's agent: bound and audited, its steps cover chip-time."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ledger.real import Bundle, make_watched_bundle

pytestmark = pytest.mark.real

SCRIPT = """
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)
rows = torch.from_numpy(np.load(sys.argv[1])).long()
loader = DataLoader(TensorDataset(rows), batch_size=8, shuffle=True)
layers = [nn.TransformerEncoderLayer(64, 4, 256, dropout=0.1, batch_first=True) for _ in range(4)]
model = nn.Sequential(nn.Embedding(256, 64), *layers, nn.Linear(64, 256))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for epoch in range(3):
    for (batch,) in loader:
        loss = nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(loss.item())
"""


@pytest.fixture(scope="module")
def watched() -> Iterator[Bundle]:
    scratch = Path(tempfile.mkdtemp(prefix="weighbridge-watched-"))
    try:
        corpus = scratch / "corpus.npy"
        np.save(corpus, np.random.default_rng(3).integers(0, 256, (400, 65)).astype(np.uint8))
        corpus.chmod(0o644)
        yield make_watched_bundle(scratch, script=SCRIPT, corpus=corpus)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def test_its_steps_cover_time_and_its_snapshots_are_explained(watched: Bundle) -> None:
    workspace = watched.open()
    (audit,) = [item.payload for item in workspace.by_kind["run-audit"]]
    print(json.dumps(audit, indent=1)[:6000])
    print(json.dumps(watched.body(), indent=1)[:6000])
    assert audit["accepted"], audit["findings"]
    assert False
