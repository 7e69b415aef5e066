"""Trained weights that are claimed to be random ones (Shavit 2023, footnote 18), against the test of initial weights.

The published test looks at each layer's law alone. Weights can be given exactly that law, rank by rank, which moves
them little, since training hardly changes it.
"""

import math
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from weighbridge.attacks.original import STEEP, Honest, Reproduction, Stopwatch, honest_run
from weighbridge.attacks.proof_of_learning import (
    Checkpoint,
    Proof,
    Recipe,
    checkpoint_of,
    draw_order,
    fresh,
    run_segment,
    start_p_values,
    verify,
)

__all__ = ["claimed_start", "honest_starts_rejected"]

_RESNET20: Final = Recipe(blocks=3, width=16)
_STARTS: Final = 24


def claimed_start(seed: int) -> Reproduction:
    """Claims trained weights, given the law of random ones, as the start of a short run."""
    honest = honest_run(STEEP, seed)
    watch = Stopwatch()
    start = _as_if_random(honest)
    short = Recipe(**{**vars(STEEP), "steps": STEEP.interval})
    order = draw_order(short, len(honest.images), seed)
    ended = run_segment(short, honest.images, order, start)
    checkpoints = {0: start, short.steps: checkpoint_of(*ended)}
    proof = Proof(recipe=short, order=order, checkpoints=checkpoints, hash=honest.proof.hash)
    cost = watch.seconds / honest.cpu_s
    verdict = verify(proof, honest.images)
    plain = min(start_p_values(honest.last.network))
    first, trained = honest.accuracy_of(start), honest.accuracy_of(honest.last)
    rejected, tests = honest_starts_rejected()
    words = f"{'accepted' if verdict.accepted else 'rejected'}: a start with accuracy {first:.1%} (trained:"
    words += f" {trained:.1%}; smallest p {min(start_p_values(start.network)):.2g}, {plain:.2g} as trained); the test"
    words += f" rejects {rejected} of {_STARTS} honest starts of ResNet-20 ({1 - 0.99**tests:.0%} expected)"
    return Reproduction(succeeded=verdict.accepted and first > 0.8 * trained, words=words, cost=cost)


@lru_cache(maxsize=1)
def honest_starts_rejected() -> tuple[int, int]:
    """Returns how many of 24 honest starts of ResNet-20 the published test rejects, and the tests of each."""
    rejected, tests = 0, 0
    for seed in range(_STARTS):
        network, _ = fresh(_RESNET20, seed)
        values = start_p_values(network.state_dict())
        rejected, tests = rejected + (min(values) < 0.01), len(values)
    return rejected, tests


def _as_if_random(honest: Honest) -> Checkpoint:
    """Returns the trained state with each layer's weights exactly as drawn from the initial law, and their ranks kept.

    The averages that normalisation keeps are taken again over the data.
    """
    state: dict[str, Tensor] = dict(honest.last.network)
    for name, tensor in state.items():
        if name.endswith("weight") and tensor.dim() > 1:
            state[name] = _with_law(tensor, _normal(tensor))
        elif name == "linear.bias":
            bound = 1 / math.sqrt(state["linear.weight"].shape[1])
            state[name] = _with_law(tensor, bound * (2 * _middles(tensor.numel()) - 1))
    network, optimizer = fresh(honest.recipe, 0)
    network.load_state_dict(state)
    network.train()
    with torch.no_grad():
        for first in range(0, len(honest.images), 64):
            network(honest.images.pixels[first : first + 64])
    return checkpoint_of(network, optimizer)


def _with_law(tensor: Tensor, values: Tensor) -> Tensor:
    ordered = torch.empty_like(tensor).flatten()
    ordered[tensor.flatten().argsort()] = values.to(tensor.dtype)
    return ordered.view_as(tensor)


def _normal(tensor: Tensor) -> Tensor:
    spread = math.sqrt(2 / tensor[0].numel())
    return spread * math.sqrt(2) * torch.erfinv(2 * _middles(tensor.numel()) - 1)


def _middles(count: int) -> Tensor:
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count
