"""What the published attacks on proofs of learning are run on, in small: a residual network that classifies images.

Images are made, not downloaded: ten blurred patterns in noise, 20 by 20 in three colours, so that one image has more
numbers (1,200) than NumPy prints. The network has the form of those for CIFAR-10 (He et al. 2016, section 4.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CLASSES", "Images", "ResidualNetwork", "accuracy", "loss_of", "make_images"]

CLASSES: Final = 10
_SIDE: Final = 20
_COARSE: Final = 5
_NOISE: Final = 0.8


@dataclass(frozen=True)
class Images:
    """Images with their classes.

    Attributes:
        pixels: float32, images × 3 × 20 × 20.
        classes: int64, one an image.
    """

    pixels: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def rows(self, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns the chosen images and their classes, as a batch."""
        index = torch.tensor(list(chosen))
        return self.pixels[index], self.classes[index]

    def with_pixels(self, pixels: Tensor) -> "Images":
        """Returns other images of the same classes."""
        return replace(self, pixels=pixels)


def make_images(seed: int, count: int, *, patterns: int = 0) -> Images:
    """Returns images of ten classes.

    Args:
        seed: of the noise and of which class comes when.
        count: how many.
        patterns: seed of the ten patterns; two sets with the same show the same things.
    """
    shapes = torch.Generator().manual_seed(patterns)
    coarse = torch.randn(CLASSES, 3, _COARSE, _COARSE, generator=shapes)
    prototypes = functional.interpolate(coarse, size=(_SIDE, _SIDE), mode="bilinear")
    source = torch.Generator().manual_seed(seed + 1_000_003)
    classes = torch.randint(0, CLASSES, (count,), generator=source)
    noise = torch.randn(count, 3, _SIDE, _SIDE, generator=source)
    return Images(prototypes[classes] + _NOISE * noise, classes)


class _Block(nn.Module):
    """Two convolutions around which the input is led (He et al. 2016, option A: no weights on the way around)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.more = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        around = x[:, :, :: self.stride, :: self.stride]
        if self.more:
            around = functional.pad(around, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        inside = functional.relu(self.bn1(self.conv1(x)))
        out: Tensor = functional.relu(self.bn2(self.conv2(inside)) + around)
        return out


class ResidualNetwork(nn.Module):
    """A residual network of 6 × ``blocks`` + 2 layers: ``blocks`` = 3 and ``width`` = 16 is ResNet-20."""

    def __init__(self, *, blocks: int = 1, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        layers, before = [], width
        for stage in range(3):
            after = width << stage
            for number in range(blocks):
                layers.append(_Block(before, after, 2 if stage and not number else 1))
                before = after
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(before, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the classes' logits."""
        x = self.layers(functional.relu(self.bn1(self.conv1(x))))
        out: Tensor = self.linear(x.mean((2, 3)))
        return out


def loss_of(network: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
    """Returns the cross-entropy, in nats."""
    return functional.cross_entropy(network(pixels), classes)


def accuracy(network: nn.Module, images: Images) -> float:
    """Returns the share of images that the network classifies right, with its kept averages."""
    training = network.training
    network.eval()
    with torch.no_grad():
        right = float((network(images.pixels).argmax(1) == images.classes).float().mean())
    network.train(training)
    return right
