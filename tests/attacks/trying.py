"""Each forgery, run once: it does what it is for, and the named check catches it, or nothing does and that is said."""

from pathlib import Path

from transcript.forked import forked
from weighbridge.attacks.trial import Attack

IN_A_SANDBOX = ("replay-seen-by-path", "replay-seen-by-network", "replay-seen-by-processes")
"""What these programs look for, a fork has not."""


def always(attacks: tuple[Attack, ...]) -> dict[str, Attack]:
    """Returns those that are caught always or never; what depends on a draw is counted in test_field.py."""
    return {attack.name: attack for attack in attacks if not attack.name.endswith("-drawn")}


def as_expected(attack: Attack, folder: Path, *, seed: int = 0) -> None:
    """Runs an attack once and checks that it reached what it was for, and what caught it."""
    folder.chmod(0o755)
    if attack.name in IN_A_SANDBOX:
        trial = attack.attempt(seed, folder)
    else:
        with forked(folder):
            trial = attack.attempt(seed, folder)
    assert trial.reproduced is not False, trial.original
    assert trial.detected is bool(trial.caught_by)
    assert 0 < trial.verifier_cost <= 1
    if attack.expected is None:
        assert trial.caught_by == ()
    else:
        assert attack.expected in trial.caught_by
