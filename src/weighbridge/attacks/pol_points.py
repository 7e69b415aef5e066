"""Points optimised so that given weights follow from given weights: Zhang et al. 2022 (arXiv 2108.09454).

As an adversarial example is found by descending along the gradient with respect to the input, so are points whose
*training gradient* is what the forger needs. Nothing was learnt from them. The forger knows the stolen weights, begins
at random ones of its own, and hands over the points as its data.

1. The points' gradient is what leads from each checkpoint to the next.
2. Checkpoints lie so close that standing still would do; the points' gradient is next to nothing.
3. As 2, with one batch for all steps of a longer segment, so that few checkpoints are stored.

Read from the paper's abstract and from descriptions by others; details of the third variant may differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from weighbridge.attacks.image_task import Images, loss_of
from weighbridge.attacks.original import STEEP, Reproduction, Stopwatch, honest_run, looks_random
from weighbridge.attacks.pol_paths import path
from weighbridge.attacks.proof_of_learning import (
    Checkpoint,
    Proof,
    Recipe,
    Thresholds,
    data_hash,
    fresh,
    vector,
    verify,
)

__all__ = ["directed_points", "quiet_points", "quiet_points_of_segments"]

_BATCH: Final = 4
_ROUNDS: Final = 8
"""Descents between which the forger looks whether the segment would be accepted."""
_TURNS: Final = 8
_RATE: Final = 0.2
_SHARE_OF_PATH: Final = 0.5
"""Share of the thresholds that the path's steps take; the rest is left to what the points' gradients miss."""


def directed_points(seed: int, *, segments: int = 6) -> Reproduction:
    """Variant 1."""
    return _attempt(seed, segments=segments, interval=1, directed=True, rate=0.3)


def quiet_points(seed: int, *, segments: int = 6) -> Reproduction:
    """Variant 2."""
    return _attempt(seed, segments=segments, interval=1, directed=False, rate=0.3)


def quiet_points_of_segments(seed: int, *, segments: int = 6) -> Reproduction:
    """Variant 3."""
    return _attempt(seed, segments=segments, interval=2, directed=False, rate=0.2)


def _attempt(seed: int, *, segments: int, interval: int, directed: bool, rate: float) -> Reproduction:
    """Forges segments spread over the whole path; the published verifier judges them, and those without optimising.

    Segments are judged each by itself, so that some of them tell the price of all.
    """
    honest = honest_run(STEEP, seed)
    watch = Stopwatch()
    bounds = Thresholds(**{name: bound * _SHARE_OF_PATH for name, bound in vars(honest.thresholds).items()})
    network, _ = fresh(STEEP, looks_random(STEEP, honest.seed + 500))
    states = path(network.state_dict(), honest.last.network, bounds)
    recipe = Recipe(
        **{**vars(STEEP), "batch": _BATCH, "rate": rate, "momentum": 0.0, "decay": 0.0}
        | {"interval": interval, "steps": interval}
    )
    network, optimizer = fresh(recipe, 0)
    found = _Found(before=[], after=[], forged=0, plain=0)
    laid = watch.seconds
    judging = 0.0
    count = len(states) - 1
    chosen = [count * number // segments for number in range(segments)]
    for number in chosen:
        begin, end = states[number], states[number + 1]
        network.load_state_dict(begin)
        drawn = Images(*honest.images.rows([(number * _BATCH + row) % len(honest.images) for row in range(_BATCH)]))
        aim = (vector(begin) - vector(end)) / (rate * interval) if directed else None
        ends = {0: Checkpoint(begin, optimizer.state_dict()), interval: Checkpoint(end, optimizer.state_dict())}
        points, first, last = drawn.pixels, 0.0, 0.0
        for turn in range(_TURNS):
            points, before, last = _optimised(network, (points, drawn.classes), aim)
            first = first if turn else before
            if _holds(recipe, drawn.with_pixels(points), ends, start=number == 0):
                break
        found.before.append(first)
        found.after.append(last)
        judge = Stopwatch()
        found.forged += _holds(recipe, drawn.with_pixels(points), ends, start=number == 0)
        found.plain += _holds(recipe, drawn, ends, start=number == 0)
        judging += judge.seconds
    cost = (laid + (watch.seconds - laid - judging) * count / len(chosen)) / honest.cpu_s
    words = f"{found.forged} of {len(chosen)} segments of a path of {count} are accepted, {found.plain} with points as"
    words += f" drawn; optimising takes what their gradient misses from {_mean(found.before):.2g} to"
    words += f" {_mean(found.after):.2g}"
    succeeded = found.forged == len(chosen) and found.plain <= len(chosen) / 2
    return Reproduction(succeeded=succeeded, words=words, cost=cost)


@dataclass
class _Found:
    """Aims before and after, and segments accepted with optimised points and with points as drawn."""

    before: list[float]
    after: list[float]
    forged: int
    plain: int


def _holds(recipe: Recipe, images: Images, ends: Mapping[int, Checkpoint], *, start: bool) -> bool:
    """Returns whether one segment is accepted, the first with the test of its start."""
    order = (tuple(range(_BATCH)),) * recipe.steps
    verdict = verify(Proof(recipe=recipe, order=order, checkpoints=ends, hash=data_hash(images)), images)
    return verdict.data and (verdict.start or not start) and all(all(four) for four in verdict.passed)


def _optimised(network: nn.Module, batch: tuple[Tensor, Tensor], aim: Tensor | None) -> tuple[Tensor, float, float]:
    """Returns points with their aim before and after: length of the gradient, or of what it misses of ``aim``."""
    pixels, classes = batch[0].clone().requires_grad_(), batch[1]
    optimizer = torch.optim.Adam([pixels], lr=_RATE)
    parameters = list(network.parameters())
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()

    def missed() -> Tensor:
        gradient = torch.autograd.grad(loss_of(network, pixels, classes), parameters, create_graph=True)
        flat = torch.cat([part.flatten() for part in gradient])
        length: Tensor = torch.linalg.vector_norm(flat if aim is None else flat - aim)
        return length

    first = last = missed()
    for _ in range(_ROUNDS):
        optimizer.zero_grad()
        torch.autograd.backward(last, inputs=[pixels])
        optimizer.step()
        last = missed()
    network.load_state_dict(kept)
    return pixels.detach(), first.item(), last.item()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
