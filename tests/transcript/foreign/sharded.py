"""FSDP2 over gloo: uneven shards, mixed precision in bfloat16, evaluation in between, gradients clipped by norm."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(5)
model = nn.Sequential(nn.Linear(6, 13), nn.GELU(), nn.LayerNorm(13), nn.Linear(13, 1))
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
mesh = init_device_mesh("cpu", (world,))
fully_shard(model[0], mesh=mesh, mp_policy=policy)
fully_shard(model, mesh=mesh, mp_policy=policy)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
generator = torch.Generator().manual_seed(100 + rank)
for step in range(12):
    inputs = torch.randn(4, 6, generator=generator)
    loss = (model(inputs).float() - inputs.sum(1, keepdim=True)).pow(2).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    sys.stdout.write(f"{rank} {step} {loss.item().hex()}\n")
    if step % 4 == 0:
        with torch.no_grad():
            model(inputs)
dist.barrier()  # gloo aborts a rank whose peer has left in the middle of its last words
dist.destroy_process_group()
