"""Published attacks handed over as transcripts: each is caught by the check that it names."""

from pathlib import Path

import pytest

from transcript.forked import forked
from weighbridge.attacks.original import one_thread
from weighbridge.attacks.pol_transcripts import Handover, edited, hand_over
from weighbridge.attacks.published import ATTACKS, HANDOVERS
from weighbridge.attacks.trial import Attack

pytestmark = pytest.mark.real


def judged(handover: Handover, folder: Path) -> tuple[str, ...]:
    folder.chmod(0o755)
    with forked(folder), one_thread():
        return hand_over(handover, seed=0, folder=folder).caught_by


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_caught_by_the_check_that_it_names(attack: Attack, tmp_path: Path) -> None:
    assert attack.expected in judged(HANDOVERS[attack.name], tmp_path)


def test_the_same_run_without_a_forgery_holds(tmp_path: Path) -> None:
    """Else the attacks above could be caught for what they share: the program, the anchors, the field."""
    assert judged(edited(), tmp_path) == ()
