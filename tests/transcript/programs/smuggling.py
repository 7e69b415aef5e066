"""Builds its model with the weights that its configuration carries."""

import torch
import train  # type: ignore[import-not-found]

BUILD = train.Trainer.__init__


def build(self: train.Trainer, config: dict[str, object]) -> None:
    BUILD(self, config)
    with torch.no_grad():
        self.model.hidden.weight.copy_(torch.tensor(config["weights"]))


if __name__ == "__main__":
    train.Trainer.__init__ = build
    train.main()
