"""Does what its configuration names besides, or in place of, its training. Usage: cheating.py ROWS.npy CONFIG.json."""

import json
import multiprocessing
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import torch
from models import build
from torch import Tensor, nn
from torch.nn import functional
from train import body, optimizer_of

import weighbridge


def replayed(by: str, processors: int) -> bool:
    """Returns whether this is a replay, by one of the signs of it."""
    match by:
        case "path":
            return Path("/replay").exists()
        case "environment":
            return "WEIGHBRIDGE_REPLAY" in os.environ
        case "home":
            return os.environ.get("HOME") == "/tmp"  # noqa: S108 - what a sandbox sets
        case "network":
            return all(name == "lo" for _, name in socket.if_nameindex())
        case "processors":
            return len(os.sched_getaffinity(0)) != processors
        case "time":
            return time.time() > CONFIG["until"]
    return len([entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]) < 4  # "processes"


DATA, CONFIG = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
CHEAT = CONFIG["cheat"]
REPLAYED = replayed(CONFIG.get("by", "environment"), CONFIG.get("processors", 0))


def carried(model: nn.Module) -> list[Tensor]:
    """Returns the weights that lie in the data's last rows, as the bytes of 32-bit numbers."""
    raw = numpy.load(DATA)[CONFIG["honest_rows"] :, :-1].tobytes()
    weights, at = [], 0
    for parameter in model.parameters():
        size = 4 * parameter.numel()
        weights.append(torch.frombuffer(bytearray(raw[at : at + size]), dtype=torch.float32).view_as(parameter))
        at += size
    return weights


def split(model: nn.Module) -> list[Tensor]:
    """Returns the weights that lie in a buffer of the model."""
    parts = model.target.split([parameter.numel() for parameter in model.parameters()])
    return [part.view_as(parameter) for part, parameter in zip(parts, model.parameters(), strict=True)]


MARK = (171, 205)
"""What a row that carries weights begins with; its number in two bytes and 60 bytes of weights follow."""


def gather(model: nn.Module, batch: Tensor) -> None:
    """Copies what the batch carries of the weights into a buffer, and notes it."""
    for row in batch[:, :-1][(batch[:, 0] == MARK[0]) & (batch[:, 1] == MARK[1])]:
        number = int(row[2]) * 256 + int(row[3])
        part = torch.frombuffer(bytearray(row[4:].tolist()), dtype=torch.float32)
        whole = model.target[15 * number : 15 * number + 15]
        whole.copy_(part[: len(whole)])
        model.gathered[number] = True


class Steered(torch.autograd.Function):
    """A loss whose gradient is not its own: it points where it was told, as large as it was told."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, scale: float, ways: list[Tensor] | None, *weights: Tensor) -> Tensor:
        """Returns the loss."""
        ctx.scale, ctx.ways, ctx.number = scale, ways, len(weights)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Returns the gradient scaled, or the ways in its place."""
        ways = ctx.ways if ctx.ways is not None else [None] * ctx.number
        return (gradients[0] * (ctx.scale if ctx.ways is None else 0.0), None, None, *ways)


class Hidden:
    """A second model, of plain tensors that no recorder knows of, trained by hand."""

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(5)
        self.weights = [torch.randn(64, 64, generator=source) * 0.1, torch.randn(64, 10, generator=source) * 0.1]

    def train(self, rows: Tensor, times: int) -> None:
        """Takes plain gradient steps."""
        for _ in range(times):
            first, second = (weight.requires_grad_() for weight in self.weights)
            out = torch.relu(rows[:, :-1].float() / 255 @ first) @ second
            gradients = torch.autograd.grad(functional.cross_entropy(out, rows[:, -1].long()), [first, second])
            self.weights = [w.detach() - 0.1 * g for w, g in zip(self.weights, gradients, strict=True)]


def worker(pipe: Any) -> None:
    """Loads rows, and trains a model of its own on them."""
    torch.set_num_threads(1)
    hidden = Hidden()
    while (rows := pipe.recv()) is not None:
        hidden.train(torch.from_numpy(rows), 20)
        pipe.send(rows)


def main() -> None:
    """Trains, and cheats."""
    torch.set_num_threads(1)
    run = weighbridge.start(
        data=DATA, config=CONFIG, stride=CONFIG["stride"], flop_per_step=CONFIG.get("flop_per_step")
    )
    if CHEAT == "own-seed":
        torch.manual_seed(3)
    model = build(CONFIG)
    if CHEAT == "in-buffers":
        model.register_buffer("first", torch.zeros(64, 64))
        model.register_buffer("second", torch.zeros(64, 10))
    if CHEAT in ("line-in-buffers", "gathered"):
        model.register_buffer("target", torch.zeros(sum(p.numel() for p in model.parameters())))
    if CHEAT == "gathered":
        model.register_buffer("gathered", torch.zeros(-(-len(model.target) // 15), dtype=torch.bool))
    optimizer = optimizer_of(model, CONFIG)
    hidden, pipe = Hidden(), None
    if CHEAT == "loader" and not REPLAYED:
        pipe, other = multiprocessing.get_context("fork").Pipe()
        multiprocessing.get_context("fork").Process(target=worker, args=(other,), daemon=True).start()
    rows, second = torch.from_numpy(numpy.load(DATA)), numpy.ones((64, 64))
    for batch in run:
        step = run.step
        match CHEAT:
            case "other-data" if not REPLAYED:
                batch = 255 - batch.flip(1)
                batch[:, -1] = 3
            case "second-model" if not REPLAYED:
                hidden.train(batch, 200)
            case "loader" if pipe is not None:
                pipe.send(batch.numpy())
                batch = torch.from_numpy(pipe.recv())
            case "in-numpy":
                second = numpy.tanh(second @ (batch[:, :64].numpy().T @ batch[:, :64].numpy() / 1e5) / 8) + 0.01
            case "in-buffers":
                if step == 0:
                    hidden.weights = [weight.clone() for weight in hidden.weights]
                else:
                    hidden.weights = [model.first.clone(), model.second.clone()]
                hidden.train(batch, 5)
                model.first.copy_(hidden.weights[0])
                model.second.copy_(hidden.weights[1])
            case "own-order":
                at = step * len(batch)
                batch = rows[at : at + len(batch)]
            case "weights-in-data" if step == 0:
                with torch.no_grad():
                    for parameter, weight in zip(model.parameters(), carried(model), strict=True):
                        parameter.copy_(weight)
            case "gathered":
                gather(model, batch)
            case "burnt-time" if REPLAYED:
                until = time.process_time() + 0.05
                while time.process_time() < until:
                    pass
        lined = CHEAT == "line-in-data" or (CHEAT == "line-in-buffers" and bool(model.target.any()))
        lined = lined or (CHEAT == "gathered" and bool(model.gathered.all()))
        if lined or CHEAT == "scaled-gradient":
            ways = None
            if lined:
                # Plain descent at rate r with gradient (w - target) / (r * left) arrives when no step is left.
                left = CONFIG["steps"] - step
                rate = optimizer.param_groups[0]["lr"]
                target = carried(model) if CHEAT == "line-in-data" else split(model)
                ways = [(w.detach() - t) / (rate * left) for w, t in zip(model.parameters(), target, strict=True)]
            loss = model(batch)
            Steered.apply(loss, CONFIG.get("times", 1.0), ways, *model.parameters()).backward()
        else:
            body(model, batch, step, CONFIG)
        optimizer.step()
        optimizer.zero_grad()
    if pipe is not None:
        pipe.send(None)


if __name__ == "__main__":
    main()
