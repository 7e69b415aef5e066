"""A small training in the unusual setting that is named: in a thread, a fork or a pool, by the clock, …"""

import atexit
import multiprocessing
import os
import sys
import threading
import time
from typing import Any

import torch
from torch import nn

way = sys.argv[1]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(20, 8, sparse=way == "sparse")
        self.out = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(self.words(x))


def train(steps: int) -> None:
    torch.manual_seed(time.time_ns() % 2**31 if way == "seeds" else 1)
    net = Net()
    kind: Any = torch.optim.SparseAdam if way == "sparse" else torch.optim.Adam
    optimizers = [kind(net.words.parameters(), lr=0.02), torch.optim.SGD(net.out.parameters(), lr=0.1)]
    beside: Any = torch.randn(3)
    began, step = time.monotonic(), 0
    while time.monotonic() - began < 1 if way == "clock" else step < steps:
        x = torch.randint(0, 20, (16, 5))
        loss = (net(x) - x.sum(1, keepdim=True) / 50).pow(2).mean()
        if way == "carried":
            loss = loss + (beside - 1).pow(2).sum()
            beside = beside.requires_grad_() if step == 0 else beside
            (slope,) = torch.autograd.grad((beside - 1).pow(2).sum(), beside)
            beside = beside - 0.1 * slope
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward(retain_graph=way == "carried")
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        if way != "clock":
            print(step, loss.item().hex(), flush=True)
        else:
            time.sleep(0.05)


if __name__ == "__main__":
    train(12)
    if way == "thread":
        thread = threading.Thread(target=train, args=(5,))
        thread.start()
        thread.join()
    elif way == "fork":
        if (child := os.fork()) == 0:
            train(5)
            os._exit(0)
        os.waitpid(child, 0)
    elif way in ("pool", "spawn"):
        with multiprocessing.get_context("fork" if way == "pool" else "spawn").Pool(1) as pool:
            pool.map(train, [5])
    elif way == "exit":
        atexit.register(train, 5)
