"""The arithmetic of the cheap checks, by simulation with fixed seeds and against published figures."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.initial_statistics import ERROR, judge_initial_weights
from weighbridge.mechanisms.transcript.memorisation import memory_of, odd_ones, pooled, share_left_out
from weighbridge.mechanisms.transcript.subtraction import fraction_below, subtraction_bound
from weighbridge.mechanisms.transcript.tolerance import Repeat, Tolerance, tolerance_factor

STARTS: dict[str, Callable[[Tensor], object]] = {
    "default": lambda p: nn.init.kaiming_uniform_(p, a=math.sqrt(5)),
    "xavier uniform": nn.init.xavier_uniform_,
    "xavier normal": nn.init.xavier_normal_,
    "kaiming uniform": nn.init.kaiming_uniform_,
    "kaiming normal": nn.init.kaiming_normal_,
    "normal 0.02": lambda p: nn.init.normal_(p, 0, 0.02),
    "normal 1": nn.init.normal_,
    "cut normal": lambda p: nn.init.trunc_normal_(p, 0, 0.02, -0.04, 0.04),
    "orthogonal": nn.init.orthogonal_,
    "sparse": lambda p: nn.init.sparse_(p, 0.3),
    "identity": nn.init.eye_,
    "uniform above zero": lambda p: nn.init.uniform_(p, 0, 1),
    "bfloat16 normal": lambda p: p.copy_(torch.randn(p.shape).bfloat16()),
}


def fresh(start: Callable[[Tensor], object], width: int) -> dict[str, Tensor]:
    """A model's tensors: embedding with a row of padding, two matrices, biases, norms."""
    tensors = {
        "embed": torch.empty(64, width),
        "up": torch.empty(2 * width, width),
        "down": torch.empty(width, 2 * width),
        "bias": torch.empty(1, 2 * width),
        "norm": torch.ones(width),
        "zero": torch.zeros(width),
    }
    for name in ("embed", "up", "down"):
        start(tensors[name])
    nn.init.uniform_(tensors["bias"], -0.1, 0.1)
    tensors["embed"][0] = 0.0
    return tensors


def test_honest_starts_are_doubted_no_more_often_than_stated() -> None:
    torch.manual_seed(20)
    doubted, models = [], 0
    for _ in range(10):
        for name, start in STARTS.items():
            for width in (12, 24, 48, 64):
                models += 1
                if judge_initial_weights(fresh(start, width)).p_value < ERROR:
                    doubted.append(name)
    # Of 520 at most 5.2 are expected; 13 or more would come by chance in 0.3 % of such tests.
    assert models == 520 and len(doubted) <= 12, doubted


@pytest.mark.parametrize("start", ["default", "xavier normal", "normal 0.02", "cut normal", "orthogonal"])
@pytest.mark.parametrize("steps", [200, 600])
def test_trained_weights_are_told_from_a_start(start: str, steps: int) -> None:
    torch.manual_seed(21)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    teacher = torch.randn(32, 8)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                STARTS[start](parameter)
    assert judge_initial_weights(dict(model.named_parameters())).p_value > ERROR
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        x = torch.randn(64, 32)
        loss = nn.functional.cross_entropy(model(x), (x @ teacher).argmax(1))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    found = judge_initial_weights(dict(model.named_parameters()))
    assert found.p_value < (ERROR if steps == 200 else 1e-6) and found.doubted


def test_who_shuffles_every_tensor_passes_which_is_a_stated_limit() -> None:
    torch.manual_seed(22)
    values = torch.randn(64, 64) * torch.rand(64, 1)  # rows of different size, as training leaves them
    assert judge_initial_weights({"w": values}).p_value < 1e-6
    shuffled = values.flatten()[torch.randperm(values.numel())]
    like_normal = torch.randn(values.numel()).sort().values[shuffled.argsort().argsort()]  # ranks kept, sizes replaced
    assert judge_initial_weights({"w": like_normal.reshape(64, 64)}).p_value > ERROR


def test_numbers_that_are_none_are_doubted_and_small_tensors_say_nothing() -> None:
    assert judge_initial_weights({"w": torch.full((9, 9), math.nan)}).p_value == 0.0
    found = judge_initial_weights({"w": torch.ones(3), "n": torch.arange(100)})
    assert (found.tested, found.untested, found.p_value) == (0, 2, 1.0)


@pytest.mark.parametrize(("below", "points", "limit"), [(30, 1000, 0.4047), (55, 1000, 0.6837), (10, 200, 0.8334)])
def test_the_bound_on_left_out_rows_is_the_published_one_where_the_quantile_is_known(
    below: int, points: int, limit: float
) -> None:
    assert subtraction_bound(below, points, quantile=0.1).share == pytest.approx(limit, abs=6e-5)


def test_the_bound_on_left_out_rows_holds_with_the_quantile_taken_from_a_sample() -> None:
    random = np.random.default_rng(23)
    for left_out in (0.0, 0.3, 1.0):
        missed = 0
        for _ in range(600):
            points = random.normal(1.5, 1.0, 300)
            points[: int(300 * left_out)] -= 1.5
            held_out = random.normal(0.0, 1.0, 200)
            below, _ = fraction_below(points.tolist(), held_out.tolist(), 0.1)
            missed += subtraction_bound(below, 300, quantile=0.1, held_out=200).share < left_out
        assert missed <= 45, left_out  # 5 % of 600 is 30; more than 45 by chance in 0.3 %
    with pytest.raises(InputError, match="held-out"):
        fraction_below([1.0], [], 0.1)


def test_what_is_remembered_shows_and_what_was_not_trained_on_stands_out() -> None:
    random = np.random.default_rng(24)
    memories = [
        memory_of(number, random.normal(0.0 if number == 5 else 1.2, 1, 60).tolist(), random.normal(0, 1, 60).tolist())
        for number in range(12)
    ]
    assert [memory.start for memory in odd_ones(memories)] == [5]
    assert pooled(memories) < 1e-9 and share_left_out(memories) < 0.8
    none = [memory_of(0, random.normal(0, 1, 60).tolist(), random.normal(0, 1, 60).tolist()) for _ in range(400)]
    assert sum(memory.p_value < 0.05 for memory in none) <= 33  # 20 expected; by chance 0.2 %
    assert share_left_out(none[:12]) == 1.0


def test_the_pooled_bound_holds_if_every_stretch_left_out_the_same_share() -> None:
    random = np.random.default_rng(25)
    missed = 0
    for _ in range(150):
        memories = []
        for number in range(8):
            points = random.normal(2.0, 1.0, 40)
            points[:16] -= 2.0
            memories.append(memory_of(number, points.tolist(), random.normal(0, 1, 40).tolist()))
        missed += share_left_out(memories) < 0.4
    assert missed <= 15  # 7.5 expected at most; by chance 0.4 %


@pytest.mark.parametrize(
    ("repeats", "coverage", "confidence", "factor"),
    [(3, 0.95, 0.95, 7.656), (3, 0.99, 0.95, 10.553), (10, 0.9, 0.95, 2.355), (43, 0.9, 0.99, 1.874)],
)
def test_the_tolerance_factor_is_the_published_one(
    repeats: int, coverage: float, confidence: float, factor: float
) -> None:
    assert tolerance_factor(repeats, coverage=coverage, confidence=confidence) == pytest.approx(factor, abs=6e-4)


@pytest.mark.parametrize("repeats", [3, 6, 10])
def test_the_tolerance_covers_what_it_says(repeats: int) -> None:
    random = np.random.default_rng(26)
    short = 0
    for _ in range(1000):
        seen = [Repeat(str(i), 0, 16, {"weights": math.exp(random.normal(-12, 0.4)) * 4}) for i in range(repeats)]
        share = 0.5 * math.erfc(-(math.log(Tolerance.of("weights", seen).bound(1)) + 12) / 0.4 / math.sqrt(2))
        short += share < 0.999
    assert 25 <= short <= 78  # 50 expected: its confidence is 95 %, and not 100 %


def test_a_tolerance_scales_with_length_and_is_refused_where_little_was_seen() -> None:
    seen = [
        Repeat(name, 0, steps, {"weights": size * steps**0.5})
        for name, size in (("a", 1e-6), ("b", 2e-6), ("c", 1.5e-6))
        for steps in (4, 16)
    ]
    tolerance = Tolerance.of("weights", seen)
    assert tolerance.repeats == 3 and tolerance.exponent == pytest.approx(0.5)
    assert tolerance.bound(64) == pytest.approx(4 * tolerance.bound(4)) and tolerance.bound(1) > 2e-6
    with pytest.raises(InputError, match="needs 3"):
        Tolerance.of("weights", seen[:4])
    with pytest.raises(InputError, match="1 of 3 repeats differ"):
        Tolerance.of("weights", [Repeat(n, 0, 1, {"weights": s}) for n, s in (("a", 0.0), ("b", 0.0), ("c", 1e-6))])
    equal = Tolerance.of("weights", [Repeat(name, 0, 1, {"weights": 0.0}) for name in "abc"])
    assert equal.bound(100) == 0.0
