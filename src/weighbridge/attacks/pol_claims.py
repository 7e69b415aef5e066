"""Lies about an honest run that a proof of learning does not notice: other data, other rate, spoilt buffers, nothing.

Each function changes one thing in an honest proof, or trains otherwise than it says, and lets the published verifier
judge; it returns whether the lie passed, in which form, and at what price.
"""

from dataclasses import replace

import numpy as np
import torch

from weighbridge.attacks.image_task import Images
from weighbridge.attacks.original import GENTLE, STEEP, Honest, Reproduction, Stopwatch, honest_run
from weighbridge.attacks.proof_of_learning import (
    Checkpoint,
    Proof,
    Recipe,
    checkpoint_of,
    data_hash,
    distances,
    draw_order,
    run_segment,
    train,
    vector,
    verify,
)

__all__ = [
    "changed_pixel",
    "idle",
    "other_data",
    "other_labels",
    "other_order",
    "smuggled_rate",
    "spoilt_buffers",
]


def other_data(seed: int) -> Reproduction:
    """Claims random other rows for every batch."""
    honest = honest_run(GENTLE, seed)
    watch = Stopwatch()
    lie = replace(honest.proof, order=draw_order(GENTLE, len(honest.images), honest.seed + 7))
    cost = watch.seconds / honest.cpu_s
    verdict = verify(lie, honest.images)
    share = verdict.furthest / _update(honest)
    words = f"accepted with a distance of {share:.0%} of the update" if verdict.accepted else "rejected"
    return Reproduction(succeeded=verdict.accepted and share > 0.1, words=words, cost=cost)


def idle(seed: int) -> Reproduction:
    """Trains nothing: every checkpoint is the first. The published figure is three of the four distances."""
    honest = honest_run(GENTLE, seed)
    watch = Stopwatch()
    lie = replace(honest.proof, checkpoints=dict.fromkeys(honest.proof.checkpoints, honest.proof.checkpoints[0]))
    cost = watch.seconds / honest.cpu_s
    verdict = verify(lie, honest.images)
    steep = honest_run(STEEP, seed)
    same = replace(steep.proof, checkpoints=dict.fromkeys(steep.proof.checkpoints, steep.proof.checkpoints[0]))
    at_twice = verify(same, steep.images).kinds_passed
    words = f"passes {verdict.kinds_passed} of 4 distances at the published rate, {at_twice} of 4 at twice the rate"
    return Reproduction(succeeded=verdict.kinds_passed >= 3, words=words, cost=cost)


def spoilt_buffers(seed: int) -> Reproduction:
    """Multiplies the averages that normalisation keeps by 1,000 in the last checkpoint."""
    honest = honest_run(GENTLE, seed)
    watch = Stopwatch()
    spoilt = {name: t * 1000 if "running" in name else t for name, t in honest.last.network.items()}
    last = Checkpoint(spoilt, honest.last.optimizer)
    cost = watch.seconds / honest.cpu_s
    verdict = verify(replace(honest.proof, checkpoints={**honest.proof.checkpoints, GENTLE.steps: last}), honest.images)
    before, after = honest.accuracy_of(honest.last), honest.accuracy_of(last)
    accepted = "accepted" if verdict.accepted else "rejected"
    words = f"{accepted} at distance {verdict.furthest:.2g}; accuracy {before:.1%} → {after:.1%}"
    return Reproduction(succeeded=verdict.accepted and after < before / 2, words=words, cost=cost)


def smuggled_rate(seed: int) -> Reproduction:
    """Trains at half the declared rate; the rate stands in the optimizer's state, which replay loads."""
    honest = honest_run(GENTLE, seed)
    watch = Stopwatch()
    slower = Recipe(**{**vars(GENTLE), "rate": GENTLE.rate / 2})
    run, _ = train(slower, honest.images, seed=honest.seed)
    cost = watch.seconds / honest.cpu_s
    verdict = verify(replace(run, recipe=GENTLE), honest.images)
    accepted = "accepted" if verdict.accepted else "rejected"
    words = f"half the declared rate is {accepted} at distance {verdict.furthest:.2g}"
    return Reproduction(succeeded=verdict.accepted and verdict.furthest == 0, words=words, cost=cost)


def changed_pixel(seed: int) -> Reproduction:
    """Changes every image where NumPy does not print it, beside which the hash stays what it was."""
    honest = honest_run(GENTLE, seed)
    watch = Stopwatch()
    pixels = honest.images.pixels.clone()
    pixels[:, :, 3:-3, :] += torch.randn(pixels[:, :, 3:-3, :].shape, generator=torch.Generator().manual_seed(seed))
    other = honest.images.with_pixels(pixels)
    cost = watch.seconds / honest.cpu_s
    same = data_hash(other) == honest.proof.hash
    shown = np.prod((6, 6, 3)) / honest.images.pixels[0].numel()
    pixel_share = float((pixels != honest.images.pixels).float().mean())
    words = f"{pixel_share:.0%} of all numbers changed, the hash {'is the same' if same else 'differs'}: it covers"
    return Reproduction(succeeded=same, words=f"{words} {shown:.1%} of them", cost=cost)


def other_labels(seed: int) -> Reproduction:
    """Changes every label: the hash has none."""
    honest = honest_run(GENTLE, seed)
    watch = Stopwatch()
    other = Images(honest.images.pixels, (honest.images.classes + 1) % 10)
    cost = watch.seconds / honest.cpu_s
    same = data_hash(other) == honest.proof.hash
    words = f"every label changed, the hash {'is the same' if same else 'differs'}"
    return Reproduction(succeeded=same, words=words, cost=cost)


def other_order(seed: int) -> Reproduction:
    """Trains easy images first, in an order of its own choice, and says that it was drawn: nothing binds an order."""
    honest = honest_run(GENTLE, seed)
    watch = Stopwatch()
    by_class = torch.argsort(honest.images.classes, stable=True).tolist()
    rows = (by_class * 2)[: GENTLE.steps * GENTLE.batch]
    order = tuple(tuple(rows[at : at + GENTLE.batch]) for at in range(0, len(rows), GENTLE.batch))
    first = GENTLE.interval
    network, optimizer = run_segment(GENTLE, honest.images, order[:first], honest.proof.checkpoints[0])
    cost = watch.seconds / honest.cpu_s
    proof = _one_segment(honest, order, network, optimizer)
    verdict = verify(proof, honest.images)
    accepted = "accepted" if verdict.accepted else "rejected"
    words = f"batches of one class each, {accepted} at distance {verdict.furthest:.2g}"
    return Reproduction(succeeded=verdict.accepted, words=words, cost=cost * GENTLE.steps / first)


def _one_segment(
    honest: Honest, order: tuple[tuple[int, ...], ...], network: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Proof:
    first = honest.recipe.interval
    checkpoints = {0: honest.proof.checkpoints[0], first: checkpoint_of(network, optimizer)}
    return replace(honest.proof, order=order[:first], checkpoints=checkpoints)


def _update(honest: Honest) -> float:
    """Returns the L2 length of the longest segment's change."""
    ends = [[vector(honest.proof.checkpoints[step].network) for step in segment] for segment in honest.proof.segments]
    return max(distances(*pair)[1] for pair in ends)
