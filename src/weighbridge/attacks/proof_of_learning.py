"""Proof-of-Learning (Jia et al. 2021, arXiv 2103.05633) as its published code does it: what the attacks were made for.

Written anew from a description of what that code does, its faults included, since they are what attacks succeed by:

- A proof is a checkpoint every ``interval`` steps (network and optimizer, hyperparameters among the latter), the rows
  of each batch, and a hash of the data, taken over the printed form of every item in its natural order.
- The first checkpoint is tested layer by layer against the distribution that initialisation draws from
  (Kolmogorov–Smirnov, rejected where any p-value is below 0.01).
- All segments are run again, or in each epoch those with the ``top`` largest changes by any of the four distances.
- Distances are taken over parameters, without buffers: L1, L2, L-infinity, and a cosine distance that divides by the
  first vector's squared length. The proof holds if none exceeds its threshold.

Of the published parts, random crops and flips are left out: they are not recorded there and make honest proofs fail
by 41 % of an update, so leaving them out favours the verifier.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

from weighbridge.attacks.image_task import Images, ResidualNetwork, loss_of

__all__ = [
    "PUBLISHED_PARAMETERS",
    "Checkpoint",
    "Proof",
    "Recipe",
    "Thresholds",
    "Verdict",
    "checkpoint_of",
    "data_hash",
    "distances",
    "draw_order",
    "fresh",
    "run_segment",
    "start_holds",
    "start_p_values",
    "train",
    "vector",
    "verify",
]

_PUBLISHED: Final = (1000.0, 10.0, 0.1, 0.001)
"""Default thresholds of the published verifier for L1, L2, L-infinity and cosine."""

PUBLISHED_PARAMETERS: Final = 269_722
"""Parameters of ResNet-20 (He et al. 2016, option A), for which they are the defaults."""

_P_VALUE: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: stochastic gradient descent with momentum.

    Attributes:
        blocks, width: of :class:`~weighbridge.attacks.image_task.ResidualNetwork`.
        rate, momentum, decay: of the optimizer.
        batch: images a step.
        steps: steps of the run.
        interval: steps between checkpoints.
        epoch: steps of an epoch.
    """

    blocks: int = 1
    width: int = 8
    rate: float = 0.01
    momentum: float = 0.9
    decay: float = 1e-4
    batch: int = 16
    steps: int = 80
    interval: int = 10
    epoch: int = 40

    def build(self) -> tuple[nn.Module, torch.optim.SGD]:
        """Returns a network with fresh weights, from PyTorch's generator, and its optimizer."""
        network = ResidualNetwork(blocks=self.blocks, width=self.width)
        rate, momentum, decay = self.rate, self.momentum, self.decay
        return network, torch.optim.SGD(network.parameters(), lr=rate, momentum=momentum, weight_decay=decay)


@dataclass(frozen=True)
class Checkpoint:
    """What is saved of a step: state of network and optimizer, both as PyTorch gives them."""

    network: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a prover hands over.

    Attributes:
        recipe: architecture and hyperparameters, the prover's word.
        order: rows of each step's batch.
        checkpoints: by step, 0 and the last among them.
        hash: of the data.
    """

    recipe: Recipe
    order: tuple[tuple[int, ...], ...]
    checkpoints: Mapping[int, Checkpoint]
    hash: str

    @property
    def segments(self) -> list[tuple[int, int]]:
        """Steps between which each segment lies."""
        steps = sorted(self.checkpoints)
        return list(pairwise(steps))


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Largest distances of an accepted segment."""

    l1: float
    l2: float
    largest: float
    cosine: float

    @classmethod
    def published(cls, parameters: int) -> "Thresholds":
        """Returns the published defaults, made smaller for a smaller network, which favours the verifier.

        With equal errors in every weight, L1 grows with their number, L2 with its root.
        """
        share = parameters / PUBLISHED_PARAMETERS
        l1, l2, largest, cosine = _PUBLISHED
        return cls(l1=l1 * share, l2=l2 * math.sqrt(share), largest=largest, cosine=cosine)

    def passed(self, measured: Sequence[float]) -> tuple[bool, ...]:
        """Returns which of the four distances are within."""
        bounds = (self.l1, self.l2, self.largest, self.cosine)
        return tuple(value <= bound for value, bound in zip(measured, bounds, strict=True))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the verifier finds.

    Attributes:
        start: whether the first checkpoint looks random.
        data: whether the data have the hash.
        replayed: segments run again.
        distances: of each, L1, L2, L-infinity and cosine.
        passed: of each, which were within their thresholds.
    """

    start: bool
    data: bool
    replayed: tuple[tuple[int, int], ...]
    distances: tuple[tuple[float, ...], ...]
    passed: tuple[tuple[bool, ...], ...]

    @property
    def accepted(self) -> bool:
        """Whether the proof holds."""
        return self.start and self.data and all(all(four) for four in self.passed)

    @property
    def kinds_passed(self) -> int:
        """How many of the four distances are within their thresholds in every segment run again."""
        return sum(all(four[kind] for four in self.passed) for kind in range(4))

    @property
    def furthest(self) -> float:
        """The largest L2 distance."""
        return max((four[1] for four in self.distances), default=0.0)


def fresh(recipe: Recipe, seed: int) -> tuple[nn.Module, torch.optim.SGD]:
    """Returns a network initialised from a seed, and its optimizer; PyTorch's generator stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return recipe.build()


def draw_order(recipe: Recipe, images: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Returns the rows of each step: every epoch a fresh shuffle."""
    source = torch.Generator().manual_seed(seed)
    rows: list[int] = []
    while len(rows) < recipe.steps * recipe.batch:
        rows += torch.randperm(images, generator=source).tolist()
    return tuple(tuple(rows[at : at + recipe.batch]) for at in range(0, recipe.steps * recipe.batch, recipe.batch))


def train(recipe: Recipe, images: Images, *, seed: int) -> tuple[Proof, nn.Module]:
    """Trains honestly, and returns the proof and the network."""
    network, optimizer = fresh(recipe, seed)
    order = draw_order(recipe, len(images), seed)
    checkpoints = {0: checkpoint_of(network, optimizer)}
    for first in range(0, recipe.steps, recipe.interval):
        until = min(first + recipe.interval, recipe.steps)
        _steps(network, optimizer, images, order[first:until])
        checkpoints[until] = checkpoint_of(network, optimizer)
    return Proof(recipe=recipe, order=order, checkpoints=checkpoints, hash=data_hash(images)), network


def checkpoint_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> Checkpoint:
    """Returns what is saved of a step, copied."""
    return Checkpoint(_copied(network.state_dict()), _copied(optimizer.state_dict()))


def run_segment(
    recipe: Recipe, images: Images, order: Sequence[Sequence[int]], begin: Checkpoint
) -> tuple[nn.Module, torch.optim.SGD]:
    """Goes on from a checkpoint over the batches given. Hyperparameters are those in the optimizer's state."""
    network, optimizer = fresh(recipe, 0)
    network.load_state_dict(begin.network)
    optimizer.load_state_dict(_copied(begin.optimizer))
    _steps(network, optimizer, images, order)
    return network, optimizer


def verify(proof: Proof, images: Images, *, top: int | None = None, thresholds: Thresholds | None = None) -> Verdict:
    """Verifies a proof as the published code does.

    Args:
        proof: what the prover handed over.
        images: the data, handed over too.
        top: segments to run again in each epoch, those with the largest changes; None for all.
        thresholds: largest distances; the published ones unless given.
    """
    thresholds = thresholds or Thresholds.published(vector(proof.checkpoints[0].network).numel())
    chosen = proof.segments if top is None else _largest(proof, top)
    measured = []
    for first, until in chosen:
        network, _ = run_segment(proof.recipe, images, proof.order[first:until], proof.checkpoints[first])
        measured.append(distances(vector(proof.checkpoints[until].network), vector(network.state_dict())))
    return Verdict(
        start=start_holds(proof),
        data=data_hash(images) == proof.hash,
        replayed=tuple(chosen),
        distances=tuple(measured),
        passed=tuple(thresholds.passed(four) for four in measured),
    )


def vector(state: Mapping[str, Tensor]) -> Tensor:
    """Returns all parameters of a network's state as one vector; averages that normalisation keeps are none."""
    kept = ("running_mean", "running_var", "num_batches_tracked")
    return torch.cat([tensor.flatten() for name, tensor in state.items() if not name.endswith(kept)])


def distances(one: Tensor, other: Tensor) -> tuple[float, float, float, float]:
    """Returns L1, L2, L-infinity and what the published code calls cosine: 1 − ⟨a, b⟩ / ‖a‖²."""
    apart = (one - other).double()
    cosine = 1 - float(one.double() @ other.double()) / max(float(one.double() @ one.double()), 1e-300)
    return float(apart.abs().sum()), float(apart.norm()), float(apart.abs().max()), cosine


def data_hash(images: Images) -> str:
    """Returns SHA-256 over the printed form of each image; NumPy prints six of a long axis's numbers."""
    digest = hashlib.sha256()
    for image in images.pixels.permute(0, 2, 3, 1).numpy():
        digest.update(str(image).encode())
    return digest.hexdigest()


def start_holds(proof: Proof) -> bool:
    """Returns whether every layer of the first checkpoint passes the test of initialisation, each at 0.01."""
    return min(start_p_values(proof.checkpoints[0].network)) >= _P_VALUE


def start_p_values(state: Mapping[str, Tensor]) -> list[float]:
    """Returns each layer's p-value: weights against Kaiming's normal law, a bias against its uniform one."""
    from scipy.stats import kstest

    found = []
    for name, tensor in state.items():
        if name.endswith("weight") and tensor.dim() > 1:
            spread = math.sqrt(2 / tensor[0].numel())
            found.append(float(kstest(tensor.flatten().numpy() / spread, "norm").pvalue))
        elif name == "linear.bias":
            bound = 1 / math.sqrt(state["linear.weight"].shape[1])
            found.append(float(kstest(tensor.numpy(), "uniform", args=(-bound, 2 * bound)).pvalue))
    return found


def _largest(proof: Proof, top: int) -> list[tuple[int, int]]:
    """Returns, of each epoch, the segments with the ``top`` largest changes by any of the distances."""
    epochs: dict[int, list[tuple[int, int]]] = {}
    for segment in proof.segments:
        epochs.setdefault(segment[0] // proof.recipe.epoch, []).append(segment)
    chosen: set[tuple[int, int]] = set()
    for segments in epochs.values():
        moved = {
            segment: distances(*(vector(proof.checkpoints[step].network) for step in segment)) for segment in segments
        }
        for kind in range(4):
            chosen.update(sorted(segments, key=lambda segment: -moved[segment][kind])[:top])
    return sorted(chosen)


def _steps(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Images, order: Sequence[Sequence[int]]
) -> None:
    network.train()
    for rows in order:
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(network, *images.rows(rows)))
        optimizer.step()


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, Mapping):
        return {key: _copied(value) for key, value in state.items()}
    return [_copied(value) for value in state] if isinstance(state, list | tuple) else state
