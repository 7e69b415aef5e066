"""The honest run on which attacks on proofs of learning are tried first, and what came of one against its target."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from weighbridge.attacks.image_task import Images, accuracy, make_images
from weighbridge.attacks.proof_of_learning import (
    Checkpoint,
    Proof,
    Recipe,
    Thresholds,
    fresh,
    start_holds,
    train,
    vector,
)

__all__ = ["GENTLE", "STEEP", "Honest", "Reproduction", "Stopwatch", "honest_run", "looks_random", "one_thread"]

GENTLE = Recipe()
"""The published learning rate, 0.01."""

STEEP = Recipe(rate=0.02)
"""Steps so large that doing nothing is rejected: what is accepted here is accepted for what it does."""

_IMAGES, _TESTED = 640, 300


@dataclass(frozen=True, kw_only=True)
class Honest:
    """An honest run.

    Attributes:
        recipe: how it was trained.
        images: on what.
        tested: images that it has not seen.
        proof: its proof of learning.
        network: the trained network.
        cpu_s: CPU seconds of its training, on one thread.
        seed: of its initialisation and order.
    """

    recipe: Recipe
    images: Images
    tested: Images
    proof: Proof
    network: nn.Module
    cpu_s: float
    seed: int

    @property
    def final(self) -> Tensor:
        """The trained weights as one vector."""
        return vector(self.last.network)

    @property
    def last(self) -> Checkpoint:
        """The last checkpoint."""
        return self.proof.checkpoints[self.recipe.steps]

    @property
    def thresholds(self) -> Thresholds:
        """The published ones, for a network of this size."""
        return Thresholds.published(self.final.numel())

    def accuracy_of(self, checkpoint: Checkpoint) -> float:
        """Returns the share of unseen images that a checkpoint's network classifies right."""
        network, _ = fresh(self.recipe, 0)
        network.load_state_dict(checkpoint.network)
        return accuracy(network, self.tested)


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What came of an attack against its original target.

    Attributes:
        succeeded: whether it did what was published.
        words: what was seen, with figures.
        cost: CPU time of the forgery as a share of honest training's.
    """

    succeeded: bool
    words: str
    cost: float


class Stopwatch:
    """CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self._began = time.process_time()

    @property
    def seconds(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self._began


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes on one thread: with more, last digits change, and CPU times mean less."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=4)
def honest_run(recipe: Recipe, seed: int) -> Honest:
    """Trains honestly and measures what it took; the last few runs are kept, since many attacks begin with one.

    The verifier's test of initialisation rejects one honest start in twelve of this network, so a prover takes the
    first start after ``1000 × seed`` that it does not reject.
    """
    images, tested = make_images(seed, _IMAGES, patterns=seed), make_images(seed + 500_000, _TESTED, patterns=seed)
    start = looks_random(recipe, 1000 * seed)
    train(Recipe(**{**vars(recipe), "steps": recipe.interval}), images, seed=start)  # what only the first run pays
    watch = Stopwatch()
    proof, network = train(recipe, images, seed=start)
    cpu_s = watch.seconds
    return Honest(recipe=recipe, images=images, tested=tested, proof=proof, network=network, cpu_s=cpu_s, seed=start)


def looks_random(recipe: Recipe, seed: int) -> int:
    """Returns the first seed from ``seed`` on whose initial weights the verifier takes for random."""
    while True:
        network, _ = fresh(recipe, seed)
        start = Checkpoint(network.state_dict(), {})
        if start_holds(Proof(recipe=recipe, order=(), checkpoints={0: start}, hash="")):
            return seed
        seed += 1
