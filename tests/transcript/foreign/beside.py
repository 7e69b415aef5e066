"""A module under an optimizer, and beside it leaves of the loss that some of these programs train.

``beside.py in-place | data | anew | late`` train them by hand; ``attacked | penalty | meta | frozen`` do not.
"""

import sys
from typing import Any

import torch
from torch import nn

torch.manual_seed(3)
x = torch.randn(64, 8)
y = (x @ torch.randn(8)).tanh()[:, None]
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
w: Any = torch.randn(8, 1).requires_grad_()
late: list[Any] = []
way = sys.argv[1]


def by_hand() -> Any:
    if way == "late" and step == 2:
        late.append(nn.Linear(8, 1))
    added = late[0](x) if late else x @ w
    return (model(x) + added - y).pow(2).mean()


def attacked() -> Any:
    """Projected gradient descent on the inputs, all of them in every step: they are alike and made anew."""
    near = (x + 0.1 * torch.rand_like(x)).requires_grad_()
    for _ in range(3):
        (slope,) = torch.autograd.grad((model(near) - y).pow(2).mean(), near)
        near = (near + 0.02 * slope.sign()).detach().requires_grad_()
    return (model(near) - y).pow(2).mean()


def penalty() -> Any:
    near = (x + 0.1 * torch.rand_like(x)).requires_grad_()
    answer = model(near)
    (slope,) = torch.autograd.grad(outputs=answer.sum(), inputs=near, create_graph=True)
    return (answer - y).pow(2).mean() + slope.pow(2).mean()


def meta() -> Any:
    """First-order meta-learning: the inner step's weights are leaves, and made from the recorded ones each time."""
    inner = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    loss = (torch.func.functional_call(model, inner, (x[:32],)) - y[:32]).pow(2).mean()
    slopes = torch.autograd.grad(loss, list(inner.values()))
    moved = {n: (v - 0.01 * s).detach().requires_grad_() for (n, v), s in zip(inner.items(), slopes, strict=True)}
    (torch.func.functional_call(model, moved, (x[32:],)) - y[32:]).pow(2).mean().backward()
    for name, value in model.named_parameters():
        value.grad = moved[name].grad
    return sum((value * 0).sum() for value in model.parameters())


def frozen() -> Any:
    """What a frozen part puts out is made a leaf, as adapters have it for checkpointed layers."""
    embedded = (x + 0.0).requires_grad_()
    return (model[2](model[1](model[0](embedded))) - y).pow(2).mean()


make = {"attacked": attacked, "penalty": penalty, "meta": meta, "frozen": frozen}.get(way, by_hand)
for step in range(25):
    optimizer.zero_grad()
    loss = make()
    loss.backward()
    optimizer.step()
    if way == "in-place":
        with torch.no_grad():
            w -= 0.05 * w.grad
            w.grad = None
    elif way == "data":
        w.data, w.grad = w.data - 0.05 * w.grad, None
    elif way == "anew":
        w = (w - 0.05 * w.grad).detach().requires_grad_()
    elif way == "late":
        for parameter in (p for module in late for p in module.parameters()):
            parameter.data -= 0.05 * parameter.grad
            parameter.grad = None
    print(step, loss.item().hex())
