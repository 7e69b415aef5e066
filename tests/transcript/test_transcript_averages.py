"""Weights that change in a step after the optimizer's update: a stop may fall on either side of that change."""

import pytest

from .judging import initial, replayed
from .world import Ended, World


@pytest.fixture(scope="module")
def averaged(world: World) -> Ended:
    freezes = [[2, "forward"], [4, "after"], [6, "inside"], [8, "fetching"]]
    ended = world.project(programs=("averaging.py",)).train("averaging.py", faults={"freezes": freezes})
    assert ended.status == 0, ended.errors
    return ended


def test_a_stop_before_the_average_moves_is_claimed_with_both_states(averaged: Ended) -> None:
    claims = [(freeze.candidates, freeze.first) for freeze in averaged.open().freezes]
    assert claims == [((2,), 10), ((4, 5), 11), ((6, 7), 12), ((8,), 13)]


def test_the_average_is_part_of_the_state_and_replays(averaged: Ended) -> None:
    transcript = averaged.open()
    names = transcript.state(transcript.freezes[0].anchor).tensors
    assert "model1/parameter/module.0.weight" in names or "model/parameter/module.0.weight" in names
    assert initial(averaged).outcome == "pass"
    assert replayed(averaged).outcome == "pass"
