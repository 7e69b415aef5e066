"""Each forgery, run once: it does what it is for, and the named check catches it, or nothing does and that is said."""

from pathlib import Path

import pytest

from weighbridge.attacks import adversarial, declarations, joints, paper
from weighbridge.attacks.trial import Attack

from .forked import forked

pytestmark = pytest.mark.real

IN_A_SANDBOX = ("replay-seen-by-path", "replay-seen-by-network", "replay-seen-by-processes")
"""What these programs look for, a fork has not."""

DRAWN = {
    attack.name: attack
    for module in (joints, adversarial)
    for attack in module.ATTACKS
    if attack.name.endswith("-drawn")
}

ALL = {
    attack.name: attack
    for module in (joints, declarations, paper, adversarial)
    for attack in module.ATTACKS
    if attack.name not in DRAWN
}


def tried(attack: Attack, folder: Path, *, seed: int = 0) -> tuple[str, ...]:
    """Runs an attack once, checks that it reached what it was for, and returns what caught it."""
    folder.chmod(0o755)
    if attack.name in IN_A_SANDBOX:
        trial = attack.attempt(seed, folder)
    else:
        with forked(folder):
            trial = attack.attempt(seed, folder)
    assert trial.reproduced is not False, trial.original
    assert trial.detected is bool(trial.caught_by)
    assert 0 < trial.verifier_cost <= 1
    return trial.caught_by


@pytest.mark.parametrize("name", ALL)
def test_caught_by_what_it_names_or_by_nothing(name: str, tmp_path: Path) -> None:
    attack = ALL[name]
    caught_by = tried(attack, tmp_path)
    if attack.expected is None:
        assert caught_by == ()
    else:
        assert attack.expected in caught_by
