"""A DataLoader whose workers outlive an epoch: the second epoch's order is drawn where no iterator is made."""

# mypy: ignore-errors

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    """Rows to which a worker adds noise of its own, which follows from the loader's seed."""

    def __len__(self):
        return 48

    def __getitem__(self, index):
        x = torch.linspace(-1, 1, 8) * (index + 1) / 48
        return x + torch.randn(8) / 100, x.sum().reshape(1)


def main():
    torch.manual_seed(5)
    loader = DataLoader(Noisy(), batch_size=6, shuffle=True, num_workers=2, persistent_workers=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(4):
        for inputs, targets in loader:
            loss = (model(inputs) - targets).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(loss.item().hex())


if __name__ == "__main__":
    main()
