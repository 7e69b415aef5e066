"""Tensors of no module, trained in the way that is named: in-place, anew, optimizer, functional or turns."""

import sys
from typing import Any

import torch
from torch import nn

torch.manual_seed(3)
x = torch.randn(256, 8)
y = (x @ torch.randn(8)).tanh()


def batch() -> Any:
    return torch.randint(0, 256, (32,))


def weights() -> dict[str, Any]:
    return {"0.weight": torch.randn(16, 8) / 3, "0.bias": torch.zeros(16), "2.weight": torch.randn(1, 16)}


def loss_of(w: dict[str, Any]) -> Any:
    rows = batch()
    hidden = nn.functional.dropout((x[rows] @ w["0.weight"].T + w["0.bias"]).tanh(), 0.1)
    return ((hidden @ w["2.weight"].T)[:, 0] - y[rows]).pow(2).mean()


def in_place() -> None:
    w = {name: value.requires_grad_() for name, value in weights().items()}
    for _ in range(25):
        loss = loss_of(w)
        loss.backward()
        for value in w.values():
            value.data = value.data - 0.05 * value.grad
            value.grad = None
        print(loss.item().hex())


def anew() -> None:
    w = {name: value.requires_grad_() for name, value in weights().items()}
    for _ in range(25):
        loss = loss_of(w)
        gradients = torch.autograd.grad(outputs=loss, inputs=list(w.values()))
        w = {n: (v - 0.05 * g).detach().requires_grad_() for (n, v), g in zip(w.items(), gradients, strict=True)}
        print(loss.item().hex())


def under_an_optimizer() -> None:
    w: dict[str, Any] = {name: nn.Parameter(value) for name, value in weights().items()}
    optimizer = torch.optim.Adam(w.values(), lr=0.01)
    for _ in range(25):
        loss = loss_of(w)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item().hex())


def functional() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    w: dict[str, Any] = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    for _ in range(25):
        rows = batch()
        loss: Any = (torch.func.functional_call(model, w, (x[rows],))[:, 0] - y[rows]).pow(2).mean()
        gradients = torch.autograd.grad(loss, list(w.values()))
        with torch.no_grad():
            for value, gradient in zip(w.values(), gradients, strict=True):
                value -= 0.05 * gradient
        print(loss.item().hex())


def in_turns() -> None:
    """Two players of the same shapes, who are not both in any one loss."""
    players = [{name: value.requires_grad_() for name, value in weights().items()} for _ in range(2)]
    for step in range(26):
        w = players[step % 2]
        loss = loss_of(w)
        loss.backward()
        with torch.no_grad():
            for value in w.values():
                value -= 0.05 * value.grad
                value.grad = None
        print(loss.item().hex())


ways = {
    "in-place": in_place,
    "anew": anew,
    "optimizer": under_an_optimizer,
    "functional": functional,
    "turns": in_turns,
}
ways[sys.argv[1]]()
