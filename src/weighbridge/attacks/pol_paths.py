"""Checkpoints that nobody trained, laid on a path from random weights to stolen ones, for a proof of learning.

The prover knows the final weights and the data, and nothing of the run that made them. All three take what the
published verifier leaves to the prover: how far checkpoints lie apart, the optimizer's state with the learning rate,
and which segments change most.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor

from weighbridge.attacks.original import GENTLE, STEEP, Honest, Reproduction, Stopwatch, honest_run, looks_random
from weighbridge.attacks.proof_of_learning import (
    Checkpoint,
    Proof,
    Recipe,
    Thresholds,
    checkpoint_of,
    distances,
    draw_order,
    fresh,
    run_segment,
    vector,
    verify,
)

__all__ = ["evading_top", "infinitesimal", "path", "straight_momentum"]

_TINY_RATE: Final = 1e-9
_WITHIN: Final = 0.9
"""Share of each threshold that a step of the path may take: replay adds a little of its own."""
_SHRINKING: Final = 0.7
"""Weight decay of the segments that are meant to be seen: their changes are the largest."""
_MOST_EPOCHS: Final = 6


def infinitesimal(seed: int) -> Reproduction:
    """Steps so small that replay, at a rate of nearly nothing, stays within the thresholds (Fang et al. 2023)."""
    honest = honest_run(STEEP, seed)
    watch = Stopwatch()
    begin, optimizer = _own_start(honest)
    tiny = _with_options(optimizer, lr=_TINY_RATE)
    states = path(begin, honest.last.network, honest.thresholds)
    checkpoints = {step: Checkpoint(state, tiny) for step, state in enumerate(states)}
    recipe = Recipe(**{**vars(STEEP), "steps": len(states) - 1, "interval": 1})
    order = draw_order(recipe, len(honest.images), seed)
    lie = Proof(recipe=recipe, order=order, checkpoints=checkpoints, hash=honest.proof.hash)
    cost = watch.seconds / honest.cpu_s
    verdict = verify(lie, honest.images)
    idle = replace(lie, checkpoints={0: checkpoints[0], 1: Checkpoint(honest.last.network, tiny)})
    jump = verify(idle, honest.images).accepted
    stolen = torch.equal(vector(states[-1]), honest.final)
    words = f"{'accepted' if verdict.accepted else 'rejected'}: stolen weights in {recipe.steps} steps, each run again"
    words += f" to L2 {verdict.furthest:.2g}; one step instead is {'accepted' if jump else 'rejected'}"
    return Reproduction(succeeded=verdict.accepted and stolen and not jump, words=words, cost=cost)


def evading_top(seed: int) -> Reproduction:
    """In each epoch one honest segment with the largest change, and jumps to the stolen weights in the others.

    "Blindfold top-Q" of Fang et al. 2023. The honest segment's weight decay, the prover's word, makes its change the
    largest by all four distances.
    """
    honest = honest_run(STEEP, seed)
    watch = Stopwatch()
    recipe = Recipe(**{**vars(STEEP), "steps": _MOST_EPOCHS * STEEP.epoch})
    order = draw_order(recipe, len(honest.images), seed)
    begin, optimizer = _own_start(honest)
    shrinking = _with_options(optimizer, weight_decay=_SHRINKING)
    checkpoints = {0: Checkpoint(begin, shrinking)}
    step, target = 0, honest.last.network
    while checkpoints[step].network is not target and step < recipe.steps:
        checkpoints[step] = Checkpoint(checkpoints[step].network, shrinking)
        seen = step + recipe.interval
        ended = run_segment(recipe, honest.images, order[step:seen], checkpoints[step])
        checkpoints[seen] = checkpoint_of(*ended)
        largest = distances(vector(checkpoints[step].network), vector(checkpoints[seen].network))
        step += recipe.epoch
        for at in range(seen, step, recipe.interval):
            state = _jump(checkpoints[at].network, target, largest)
            checkpoints[at + recipe.interval] = Checkpoint(state, optimizer)
    recipe = Recipe(**{**vars(recipe), "steps": step})
    lie = Proof(recipe=recipe, order=order[:step], checkpoints=checkpoints, hash=honest.proof.hash)
    cost = watch.seconds / honest.cpu_s
    drawn, whole = verify(lie, honest.images, top=1), verify(lie, honest.images)
    stolen = torch.equal(vector(checkpoints[recipe.steps].network), honest.final)
    words = f"top-1 of each epoch: {'accepted' if drawn.accepted else 'rejected'}, {len(drawn.replayed)} of"
    words += f" {len(lie.segments)} segments run again; all segments: {'accepted' if whole.accepted else 'rejected'}"
    succeeded = drawn.accepted and stolen and not whole.accepted
    return Reproduction(succeeded=succeeded, words=words, cost=cost)


def straight_momentum(seed: int, *, segments: int = 4) -> Reproduction:
    """Momentum buffers that carry the weights in a straight line to the stolen ones, a few segments long.

    Gradients of the claimed data disturb the line; what they do is seen in one replay and taken into the buffer.
    """
    honest = honest_run(GENTLE, seed)
    watch = Stopwatch()
    recipe = Recipe(**{**vars(GENTLE), "steps": segments * GENTLE.interval})
    order = draw_order(recipe, len(honest.images), seed)
    begin, optimizer = _own_start(honest)
    states = [_between(begin, honest.last.network, number / segments) for number in range(segments + 1)]
    checkpoints = {}
    for number in range(segments):
        first = number * recipe.interval
        batches, wanted = order[first : first + recipe.interval], vector(states[number + 1])
        buffer = (vector(states[number]) - wanted) / _reach(recipe)
        for _ in range(4):
            checkpoint = Checkpoint(states[number], _with_momentum(recipe, states[number], optimizer, buffer))
            ended, _ = run_segment(recipe, honest.images, batches, checkpoint)
            missed = vector(ended.state_dict()) - wanted
            if all(honest.thresholds.passed(distances(wanted, vector(ended.state_dict())))):
                break
            buffer = buffer + missed / _reach(recipe)
        checkpoints[first] = checkpoint
    checkpoints[recipe.steps] = Checkpoint(states[-1], optimizer)
    lie = Proof(recipe=recipe, order=order, checkpoints=checkpoints, hash=honest.proof.hash)
    cost = watch.seconds / honest.cpu_s
    verdict = verify(lie, honest.images)
    moved = min(distances(vector(a), vector(b))[1] for a, b in pairwise(states))
    words = f"{'accepted' if verdict.accepted else 'rejected'} at {verdict.furthest / moved:.1%} of the distance"
    words += f" that each of {segments} segments goes to the stolen weights"
    succeeded = verdict.accepted and verdict.furthest < 0.25 * moved
    return Reproduction(succeeded=succeeded, words=words, cost=cost)


def path(begin: Mapping[str, Tensor], end: Mapping[str, Tensor], thresholds: Thresholds) -> list[dict[str, Tensor]]:
    """Returns states from one to the other, as few as the thresholds allow if a replay stays where it begins.

    Along the great circle between the two directions, since the published cosine distance counts changes of length.
    """
    bounds = (thresholds.l1, thresholds.l2, thresholds.largest, thresholds.cosine)
    within = Thresholds(**dict(zip(vars(thresholds), (bound * _WITHIN for bound in bounds), strict=True)))
    count = 48
    while True:
        states = [_around(begin, end, number / count) for number in range(count + 1)]
        vectors = [vector(state) for state in states]
        pairs = pairwise(vectors)
        if all(all(within.passed(distances(after, before))) for before, after in pairs):
            return states
        count = math.ceil(count * 1.25)


def _around(begin: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    if share in (0.0, 1.0):
        return dict(end if share else begin)
    one, other = vector(begin).double(), vector(end).double()
    angle = math.acos(float((one @ other) / (one.norm() * other.norm())))
    length = float(one.norm() ** (1 - share) * other.norm() ** share)
    first, second = (math.sin(part * angle) / math.sin(angle) * length for part in (1 - share, share))
    return {
        name: (first / float(one.norm()) * begin[name] + second / float(other.norm()) * end[name]).to(end[name].dtype)
        for name in end
    }


def _between(begin: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    if share == 1:
        return dict(end)
    return {name: ((1 - share) * begin[name] + share * end[name]).to(end[name].dtype) for name in end}


def _jump(
    begin: Mapping[str, Tensor], target: Mapping[str, Tensor], largest: tuple[float, ...]
) -> Mapping[str, Tensor]:
    """Returns the state furthest towards the target to which a change stays below the largest by every distance."""
    if begin is target:
        return target
    share = 1.0
    while share > 1e-3:
        state = target if share == 1 else _between(begin, target, share)
        moved = distances(vector(begin), vector(state))
        if all(one < _WITHIN * other for one, other in zip(moved, largest, strict=True)):
            return state
        share *= 0.8
    return dict(begin)


def _own_start(honest: Honest) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns random weights that are not those of the stolen run, and an optimizer that has done nothing."""
    network, optimizer = fresh(honest.recipe, looks_random(honest.recipe, honest.seed + 500))
    begin = checkpoint_of(network, optimizer)
    return dict(begin.network), dict(begin.optimizer)


def _with_options(state: Mapping[str, Any], **options: float) -> dict[str, Any]:
    return {**state, "param_groups": [{**group, **options} for group in state["param_groups"]]}


def _with_momentum(
    recipe: Recipe, network: Mapping[str, Tensor], state: Mapping[str, Any], buffer: Tensor
) -> dict[str, Any]:
    """Returns an optimizer's state with this momentum, cut into the parameters' shapes."""
    shapes = [parameter.shape for parameter in fresh(recipe, 0)[0].parameters()]
    parts = torch.split(buffer, [math.prod(shape) for shape in shapes])
    kept = {at: {"momentum_buffer": p.view(s).clone()} for at, (p, s) in enumerate(zip(parts, shapes, strict=True))}
    return {**state, "state": kept}


def _reach(recipe: Recipe) -> float:
    """Returns how far a unit of momentum carries a weight over a segment without gradients."""
    return recipe.rate * sum(recipe.momentum ** (step + 1) for step in range(recipe.interval))
