"""Two initial states under two seeds: honest ways to begin pass at a measured rate, weights from elsewhere do not."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from weighbridge.mechanisms.transcript.two_draws import TwoDraws, compare_draws, fingerprint

PAIRS = 40
"""Pairs of seeds for each kind of initialisation."""


class Block(nn.Module):
    """A transformer's layer as GPT-2 begins it: residual projections scaled down, one head at zero, tied embeddings."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 32, padding_idx=0)
        self.places = nn.Parameter(torch.empty(16, 32).normal_(0, 0.01))
        pairs = [(nn.Linear(32, 96), nn.Linear(96, 32)) for _ in range(layers)]
        for up, down in pairs:
            nn.init.normal_(up.weight, std=0.02)
            nn.init.normal_(down.weight, std=0.02 / (2 * layers) ** 0.5)
        self.layers = nn.ModuleList(layer for pair in pairs for layer in pair)
        self.head = nn.Linear(32, 50, bias=False)
        self.head.weight = self.words.weight
        self.value = nn.Linear(32, 1)
        nn.init.zeros_(self.value.weight)
        self.register_buffer("mask", torch.tril(torch.ones(16, 16)))
        self.register_buffer("angles", sinusoids(16, 32))


class Forgetful(nn.Module):
    """An LSTM whose forget gates begin open: a bias drawn in part."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(24, 24)
        with torch.no_grad():
            dict(self.cell.named_parameters())["bias_ih_l0"][24:48].fill_(1.0)


class Skewed(nn.Module):
    """Distributions that are not symmetric: rates, time constants, gates around one."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.empty(400).exponential_())
        self.times = nn.Parameter(torch.exp(torch.rand(300) * 4.6 - 6.9))
        self.gates = nn.Parameter(1 + 0.02 * torch.randn(200))


def sinusoids(length: int, width: int) -> Tensor:
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-9.2103 / width))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def initialised(how: Callable[[Tensor], object]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        first, last = nn.Linear(48, 32), nn.Linear(32, 8)
        how(first.weight)
        how(last.weight)
        return nn.Sequential(first, nn.BatchNorm1d(32), nn.ReLU(), last)

    return build


KINDS: dict[str, Callable[[], nn.Module]] = {
    "kaiming": initialised(nn.init.kaiming_normal_),
    "xavier": initialised(nn.init.xavier_uniform_),
    "orthogonal": initialised(nn.init.orthogonal_),
    "trunc_normal": initialised(lambda weight: nn.init.trunc_normal_(weight, std=0.02)),
    "sparse": initialised(lambda weight: nn.init.sparse_(weight, 0.5)),
    "gpt": Block,
    "convolutions": lambda: nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 8, 3), nn.PReLU()),
    "lstm": Forgetful,
    "copied layers": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 32), 4, enable_nested_tensor=False
    ),
    "skewed": Skewed,
    "half": lambda: nn.Linear(64, 64).to(torch.bfloat16),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(32, 32)),
    "zeros": lambda: nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)),
}


def state(build: Callable[[], nn.Module], seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    model = build()
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def compared(build: Callable[[], nn.Module], seed: int, *, alpha: float = 1e-6) -> TwoDraws:
    return compare_draws(state(build, 2 * seed), state(build, 2 * seed + 1), alpha=alpha)


@pytest.mark.parametrize("kind", KINDS)
def test_honest_initialisations_are_passed(kind: str) -> None:
    """At α = 0.02 independent draws are doubted at most so often; at the α in use, none of these is."""
    doubted = 0
    for seed in range(PAIRS):
        told = compared(KINDS[kind], seed, alpha=0.02)
        assert told.fixed_bytes <= told.fixed_allowed, (told.fixed_names, told.fixed_bytes)
        doubted += abs(told.statistic) > told.threshold
        strict = compared(KINDS[kind], seed)
        assert abs(strict.statistic) <= strict.threshold
    assert doubted <= 4  # P(more than 4 of 40) at 0.02 is 0.1 %; the bound is far from tight, so none is usual


def test_a_share_from_elsewhere_shows_from_the_size_that_is_stated() -> None:
    stolen = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(9))
    caught = {}
    for amplitude in (0.05, 0.08, 0.1, 0.15):
        found = 0
        for seed in range(12):
            draws = []
            for side in range(2):
                torch.manual_seed(100 + 2 * seed + side)
                draws.append({"weight": torch.randn(1000, 1000) + amplitude * stolen})
            told = compare_draws(*draws)
            found += abs(told.statistic) > told.threshold
        caught[amplitude] = found
        share = amplitude**2 / (1 + amplitude**2)
        if share > 1.5 * told.smallest_share:
            assert found == 12, caught
    assert caught[0.05] == 0 and caught[0.15] == 12
    assert 0.004 < told.smallest_share < 0.008


def test_a_sign_chosen_by_the_seed_does_not_hide_it() -> None:
    stolen = torch.randn(400_000, generator=torch.Generator().manual_seed(9))
    torch.manual_seed(3)
    told = compare_draws({"w": torch.randn(400_000) + 0.2 * stolen}, {"w": torch.randn(400_000) - 0.2 * stolen})
    assert told.statistic < -told.threshold


def test_weights_that_no_seed_gives_are_told_by_their_length() -> None:
    weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))

    def build() -> nn.Module:
        last = nn.Linear(64, 64)
        last.weight.data.copy_(weights)
        return nn.Sequential(nn.Linear(64, 64), last)

    told = compared(build, 5)
    assert told.fixed == 4096 and told.fixed_bytes > told.fixed_allowed and told.fixed_names == ("1.weight",)
    known = compare_draws(state(build, 1), state(build, 2), parent=[fingerprint(weights)])
    assert known.fixed == 0 and known.inherited == 4096
    # A block of a tensor that is otherwise drawn.
    mixed = [{"w": torch.cat([torch.randn(4096), weights.flatten()])} for _ in range(2)]
    part = compare_draws(*mixed)
    assert part.fixed == 4096 and part.fixed_bytes > part.fixed_allowed


def test_large_tables_pass_by_their_form_and_noise_of_their_size_does_not() -> None:
    def with_table(table: Tensor) -> TwoDraws:
        return compare_draws({"w": torch.randn(100, 100), "t": table}, {"w": torch.randn(100, 100), "t": table.clone()})

    assert with_table(sinusoids(500, 256)).tables == ("t",)
    assert with_table(torch.arange(100_000.0)).fixed_bytes == 0
    assert with_table(torch.eye(300)).fixed_bytes < 2000
    noise = with_table(torch.randn(500, 256))
    assert noise.tables == () and noise.fixed_bytes > noise.fixed_allowed


def test_copies_count_once() -> None:
    """Sixteen layers copied from one would else give the pooled test four times its spread."""
    worst = 0.0
    for seed in range(30):
        torch.manual_seed(seed)
        first, second = ({f"w{n}": copy.deepcopy(w) for n in range(16)} for w in (torch.randn(300), torch.randn(300)))
        worst = max(worst, abs(compare_draws(first, second).statistic))
    assert worst < 4.5


def test_generators_that_stand_alike_are_named() -> None:
    draws = {"w": torch.randn(50)}, {"w": torch.randn(50)}
    assert compare_draws(*draws, generators=[("PyTorch", True), ("NumPy", False)]).stuck == ("PyTorch",)
