"""Recording: what it writes down, and that it changes no bit of the training."""

from typing import Any

import pytest

from weighbridge.mechanisms.transcript.verify import check_journal

from .world import FREEZES, RICH, Ended, World


@pytest.mark.parametrize("freezes", [[], FREEZES], ids=["undisturbed", "frozen"])
@pytest.mark.parametrize(
    "config",
    [RICH, {"tied": True, "micro": 2, "every": 3, "schedule": "onecycle"}, {"optimizers": [], "norm": True}],
    ids=["rich", "accumulating", "by-hand"],
)
def test_training_is_the_same_bit_for_bit(world: World, config: dict[str, Any], freezes: list[Any]) -> None:
    project = world.project(programs=("train.py", "unwatched.py"), **config)
    recorded = project.train(faults={"freezes": freezes})
    assert recorded.status == 0, recorded.errors
    seed = recorded.open().seed.hex()
    alone = project.train("unwatched.py", str(project.data), str(project.folder / "config.json"), seed)
    assert alone.status == 0, alone.errors
    assert recorded.said == alone.said


def test_losses_and_steps_are_in_the_journal(rich: Ended) -> None:
    transcript = rich.open()
    assert [transcript.steps[step]["loss"] for step in range(20)] == [[loss] for loss in rich.said["losses"]]
    assert sorted(transcript.digests) == [0, 3, 5, 7, 10, 12, 15, 16, 20]
    assert {step["seen"] for step in transcript.steps.values()} == {"forward"}
    assert all(f.outcome == "pass" for f in check_journal(transcript))


def test_each_freeze_is_claimed_at_its_state(rich: Ended) -> None:
    claims = [(f.step, f.updating, f.first, f.last) for f in rich.open().freezes]
    assert claims == [(3, False, 10, 10), (7, False, 11, 11), (12, True, 12, 13), (16, False, 14, 14)]
