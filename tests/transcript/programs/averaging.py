"""Keeps a running average of its weights, updated after the optimizer. Usage: averaging.py DATA.npy CONFIG.json"""

import json
import sys
from pathlib import Path

from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import weighbridge


class Net(nn.Sequential):
    pass


config = json.loads(Path(sys.argv[2]).read_text())
run = weighbridge.start(data=sys.argv[1], config=config)
net = Net(nn.Linear(9, 16), nn.Tanh(), nn.Linear(16, 1))
average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))  # type: ignore[no-untyped-call]
optimizer = optim.AdamW(net.parameters(), lr=0.01)
for batch in run:
    loss = net(batch.float() / 64).square().mean()
    loss.backward()
    optimizer.step()
    net.zero_grad()
    average.update_parameters(net)
