"""Jumps and straight lines among simulated histories of weights: honest schedules are not accused, joints are."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from weighbridge.mechanisms.transcript.movement import Stretch, jumps

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda x: 1.0,
    "warm-up, then cosine": lambda x: min(1.0, 20 * x + 0.01) * (0.55 + 0.45 * math.cos(math.pi * x)),
    "drops by ten": lambda x: 0.1 ** int(3 * x),
    "linear to nothing": lambda x: 1.01 - x,
    "warm restarts": lambda x: 0.55 + 0.45 * math.cos(math.pi * (4 * x % 1)),
}


def walked(seed: int, schedule: str, *, drift: float, size: int = 400, joint: str = "") -> list[Stretch]:
    """A walk of 200 steps of weights under a schedule, cut at random anchors; perhaps with a joint in its middle."""
    random = np.random.default_rng(seed)
    rates = [1e-2 * SCHEDULES[schedule](step / 200) for step in range(200)]
    path = [random.normal(0, 1, size)]
    way = random.normal(0, 1, size)
    for step in range(200):
        way = 0.95 * way + math.sqrt(1 - 0.95**2) * random.normal(0, 1, size)
        path.append(path[-1] + rates[step] * (drift * way + random.normal(0, 1, size)))
    cuts = [0, *sorted(random.choice(np.arange(5, 196), 11, replace=False).tolist()), 200]
    states = [path[cut] for cut in cuts]
    if joint in ("glue", "distant glue"):
        shift = random.normal(0, 5.0 if joint == "distant glue" else 1.0, size)
        states[6:] = [state + shift for state in states[6:]]
    elif joint == "interpolated":
        target = states[9] + random.normal(0, 1, size)
        states[5:10] = [states[4] + (target - states[4]) * part / 5 for part in range(1, 6)]
    stretches: list[Stretch] = []
    before = None
    for number, (start, until) in enumerate(pairwise(cuts)):
        moved = states[number + 1] - states[number]
        length = float(np.linalg.norm(moved))
        turn = float(moved @ before / length / np.linalg.norm(before)) if before is not None else math.nan
        rate = sum(rates[start:until]) / (until - start)
        stretches.append(Stretch(start, until, length, {"w": length}, rate, turn))
        before = moved
    return stretches


@pytest.mark.parametrize("drift", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_honest_schedules_are_not_accused(schedule: str, drift: float) -> None:
    accused = [seed for seed in range(60) if jumps(walked(seed, schedule, drift=drift))]
    assert accused == []  # 0 of 60 shows at most 5 % each, and 0.4 % over all fifteen


@pytest.mark.parametrize("schedule", ["constant", "warm-up, then cosine"])
def test_a_joint_of_two_runs_is_a_jump_at_its_place(schedule: str) -> None:
    def found(joint: str) -> int:
        runs = [walked(seed, schedule, drift=0.3, joint=joint) for seed in range(20)]
        return sum(any(stretch is run[5] for stretch, _, _ in jumps(run)) for run in runs)

    # Between runs as far apart as 400 steps of movement all are found; between nearer ones, at anchors of uneven
    # distance, some are not.
    assert found("distant glue") == 20 and found("glue") >= 13


def test_interpolated_states_lie_on_one_line() -> None:
    for seed in range(30):
        stretches = walked(seed, "constant", drift=0.3, joint="interpolated")
        assert {stretch.start for stretch, _, _ in jumps(stretches)} & {s.start for s in stretches[5:9]}


def test_a_joint_spread_thinly_passes_which_is_a_stated_limit() -> None:
    stretches = walked(1, "constant", drift=0.3)
    longer = [Stretch(s.start, s.until, 3.5 * s.moved, s.parts, s.rate, s.turn) for s in stretches]
    assert jumps(longer) == []


def test_weights_that_never_move_and_weights_that_end_in_infinity() -> None:
    still = [Stretch(i, i + 1, 0.0, {"w": 0.0}, 1.0, math.nan) for i in range(5)]
    assert jumps(still) == []
    lost = [Stretch(i, i + 1, 1.0 if i < 4 else math.inf, {"w": 1.0}, 1.0, math.nan) for i in range(5)]
    assert [stretch.start for stretch, _, _ in jumps(lost)] == [4]
