"""A program that knows nothing of us, under a chip's agent: bound and audited, its steps cover chip-time."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ledger.real import check, make_watched_bundle
from weighbridge.evidence.findings import Outcome
from weighbridge.ledger.audit import audit_run
from weighbridge.mechanisms.transcript.transcript import Transcript

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
layers = [nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True) for _ in range(2)]
model = nn.Sequential(nn.Embedding(256, 64), *layers, nn.Linear(64, 256))
if len(sys.argv) > 2:
    with torch.no_grad():
        model[-1].weight[:128] = torch.from_numpy(np.load(sys.argv[2]))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for epoch in range(2):
    for (batch,) in loader:
        loss = nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
STEPS = 80
# Two matrix products of each weight, and of the two of each head's attention, forward, and twice that backward.
WEIGHTS = 2 * (4 * 64 * 64 + 2 * 64 * 128) + 64 * 256
FLOP = 6 * 8 * 64 * WEIGHTS + 2 * 6 * 2 * 8 * 64 * 64 * 64


@pytest.fixture
def scratch() -> Iterator[Path]:
    # Not below pytest's own folder, which other users may not enter: the operator's programs run as one.
    folder = Path(tempfile.mkdtemp(prefix="weighbridge-watched-"))
    source = np.random.default_rng(3)
    np.save(folder / "corpus.npy", source.integers(0, 256, (320, 65)).astype(np.uint8))
    np.save(folder / "theirs.npy", source.normal(size=(128, 64)).astype(np.float32))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_its_steps_cover_time_and_its_snapshots_are_explained(scratch: Path) -> None:
    watched = make_watched_bundle(scratch, script=SCRIPT, corpus=scratch / "corpus.npy")
    assert not (scratch / "corpus.npy").exists()  # the auditor had it from what was handed over
    audits: list[dict[str, Any]] = [dict(item.payload) for item in watched.open().by_kind["run-audit"]]
    (audit,) = audits
    assert audit["accepted"] and audit["steps"] == audit["replayed_steps"] == STEPS, audit["findings"]
    assert {f["check"] for f in audit["findings"] if f["outcome"] != "pass"} <= {"transcript.environment"}
    assert audit["flop_per_step"] == pytest.approx(FLOP, rel=0.02)
    assert audit["records"] and all(record["matched"] for record in audit["records"])
    (span,) = audit["spans"]
    assert 0 < span["steps"] < STEPS and audit["step_cpu_s"] > 0
    (operator,) = watched.body()["operators"]
    covered = [c for c in operator["account"]["coverages"] if c["use"] == "declared run"]
    assert sum(c["seconds"] for c in covered) == pytest.approx(span["steps"] * audit["step_cpu_s"], rel=1e-6)
    assert operator["declared_flop"] == pytest.approx(STEPS * audit["flop_per_step"])
    hidden = operator["account"]["hidden_flop"]
    assert hidden["A"] < hidden["C"]
    assert check(watched).status == 0


def test_weights_that_come_from_its_data_cover_nothing(scratch: Path) -> None:
    program = scratch / "program" / "train.py"
    program.parent.mkdir()
    program.write_text(SCRIPT)
    given = [str(scratch / "corpus.npy"), str(scratch / "theirs.npy")]
    shown = [word for path in given for word in ("--data", path)]
    command = [sys.executable, "-m", "weighbridge", "record", "--out", "runs", "--bind", *shown, "--"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHBRIDGE_")}
    ended = subprocess.run(
        [*command, "python", str(program), *given], cwd=scratch, env=kept, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    (run,) = (scratch / "runs").iterdir()
    audit = audit_run(Transcript.open(run, None), {})
    assert not audit.accepted and audit.replayed_steps == 0
    (doubt,) = [f for f in audit.findings if f.check == "transcript.second-seed"]
    assert doubt.outcome is Outcome.INCONCLUSIVE and "model" in doubt.reason, doubt
