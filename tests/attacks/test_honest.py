"""Honest runs of the kinds that attacks imitate, each once: none is accused."""

from pathlib import Path

import pytest

from transcript.forked import forked
from weighbridge.attacks.honest import CONTROLS
from weighbridge.attacks.trial import Control

pytestmark = pytest.mark.real


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_not_accused(control: Control, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with forked(tmp_path):
        trial = control.attempt(1, tmp_path)
    assert not trial.detected, trial.caught_by
    assert trial.adversary_cost is None
