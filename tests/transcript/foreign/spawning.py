"""DDP whose ranks the program starts itself, as PyTorch's tutorials do."""

# mypy: ignore-errors

import os
import random
import socket
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

random.seed(os.environ.get("LUCK", "7"))


def train(rank: int, world: int, port: int, scale: float) -> None:
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=world)
    torch.manual_seed(2)
    luck = random.random()  # seeded below, in each rank again as its module is imported
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(rank)
    for step in range(8):
        inputs = torch.randn(6, 4, generator=generator) * (scale + luck)
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sys.stdout.write(f"{rank} {step} {loss.item().hex()}\n")
    dist.barrier()  # gloo aborts a rank whose peer has left in the middle of its last words
    dist.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(train, args=(2, port, 1.5), nprocs=2)
