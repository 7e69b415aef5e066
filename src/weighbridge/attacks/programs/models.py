"""Three small models: a transformer on tokens, convolutions with normalisation on images, a perceptron on rows."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES, SIDE, VOCABULARY = 10, 8, 32


class Transformer(nn.Module):
    """Predicts each token of a row from those before it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Embedding(VOCABULARY, width)
        self.place = nn.Parameter(torch.randn(24, width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "one": nn.LayerNorm(width),
                    "mix": nn.Linear(width, 3 * width),
                    "out": nn.Linear(width, width),
                    "two": nn.LayerNorm(width),
                    "up": nn.Linear(width, 2 * width),
                    "down": nn.Linear(2 * width, width),
                }
            )
            for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Returns the loss."""
        tokens = (rows[:, :25] // 8).long()
        x = self.embed(tokens[:, :-1]) + self.place
        for block in self.blocks:
            query, key, value = block["mix"](block["one"](x)).chunk(3, -1)
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + self.dropout(block["out"](mixed))
            x = x + self.dropout(block["down"](functional.gelu(block["up"](block["two"](x)))))
        return functional.cross_entropy(self.head(x).flatten(0, 1), tokens[:, 1:].flatten())


class Convolution(nn.Module):
    """Names the class of an image."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(width * 9, CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        """Returns the loss."""
        images = (rows[:, :-1].float().reshape(-1, 1, SIDE, SIDE) - 120) / 50
        return functional.cross_entropy(self.head(self.body(images)), rows[:, -1].long())


class Perceptron(nn.Module):
    """Names the class of a row."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(SIDE * SIDE, width)
        self.inner = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        """Returns the loss."""
        x = functional.relu(self.hidden((rows[:, :-1].float() - 120) / 50))
        x = self.dropout(functional.relu(self.inner(x)))
        return functional.cross_entropy(self.head(x), rows[:, -1].long())


KINDS = {"transformer": Transformer, "convolution": Convolution, "perceptron": Perceptron}


def build(config: dict[str, Any]) -> nn.Module:
    """Returns the configured model."""
    return KINDS[config["model"]](config["width"], config.get("dropout", 0.0))
