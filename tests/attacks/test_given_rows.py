"""Steps repeated without the rows that they were not given: who reads the file by itself is doubted, never accused."""

import json
import re

import numpy as np
import pytest

from weighbridge.attacks.attempts import FROZEN
from weighbridge.attacks.field import Field
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.given_rows import check_given_rows, stretches
from weighbridge.mechanisms.transcript.masked_data import masked_binds, opened_data
from weighbridge.mechanisms.transcript.transcript import Transcript

pytestmark = pytest.mark.real

SEED = bytes(32)


def test_an_honest_run_passes_and_an_order_of_its_own_is_doubted(field: Field) -> None:
    honest = Transcript.open(field.project(seed=1, dropout=0.1).train(tampering=[FROZEN]).run, field.roots)
    found = check_given_rows(honest, seed=SEED)
    assert found is not None and found.outcome is Outcome.PASS, found
    assert re.search(r"come out the same where all rows but the (80|1\d\d) of 240 due in them are zeros", found.reason)
    project = field.project(seed=1, programs=("cheating.py",), cheat="own-order")
    cheat = Transcript.open(project.train("cheating.py", tampering=[FROZEN]).run, field.roots)
    found = check_given_rows(cheat, seed=SEED)
    assert found is not None and found.outcome is Outcome.INCONCLUSIVE, found
    assert "uses rows that it was not given" in found.reason


def test_the_first_steps_and_one_drawn_segment(field: Field) -> None:
    """From the seed of the draw alone; where a segment is given all rows, its beginning is tried."""
    transcript = Transcript.open(field.project(seed=1).train(tampering=[FROZEN]).run, field.roots)

    def drawn(*, whole: bool) -> set[tuple[tuple[int, int], ...]]:
        seeds = [bytes([number]) * 32 for number in range(60)]
        return {tuple((leg.start, leg.until) for leg in stretches(transcript, seed, whole=whole)) for seed in seeds}

    assert drawn(whole=True) == {((0, 10),), ((0, 5), (10, 20)), ((0, 5), (20, 30)), ((0, 5), (30, 40))}
    assert drawn(whole=False) == {((0, 5),), ((0, 5), (10, 15)), ((0, 5), (20, 25)), ((0, 5), (30, 35))}
    assert stretches(transcript, SEED) == stretches(transcript, SEED)


def test_nothing_to_hide_is_not_tried(field: Field) -> None:
    """Where all rows are due in these steps, none can be left out."""
    transcript = Transcript.open(field.project(seed=1, rows=40, steps=10).train().run, field.roots)
    assert check_given_rows(transcript, seed=SEED) is None


def test_the_file_shown_has_these_rows_and_zeros(field: Field) -> None:
    project = field.project(seed=1, steps=5)
    described = Transcript.open(project.train().run, field.roots).contents["data"]
    dataset = opened_data(described, None)
    assert dataset is not None
    (folder := field.folder / "masked").mkdir()
    (bind,) = masked_binds(described, dataset, {3, 17}, folder)
    whole, shown = np.load(project.data), np.load(bind.host)
    assert bind.place == project.data.resolve()
    assert (shown[[3, 17]] == whole[[3, 17]]).all() and whole[[3, 17]].any()
    assert not np.delete(shown, [3, 17], axis=0).any()
    np.save(project.data, whole[:-1])
    other = opened_data(described, None)
    assert other is not None
    with pytest.raises(ValueError, match="another shape or format than was committed"):
        masked_binds(json.loads(json.dumps(described)), other, {3}, folder)
