"""Programs that cheat: what was committed does something else when it is replayed, or openly does what it should not.

Replay repeats what a program does, so it catches only a program that does otherwise when replayed. What the committed
code does openly every time is for whoever reads it, for chip-time (the ledger), and for statistics that raise doubts.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from weighbridge.attacks.attempts import FROZEN, distance, end_anchor, opened, stolen, trial_of
from weighbridge.attacks.field import Project
from weighbridge.attacks.trial import Attack, Trial
from weighbridge.mechanisms.transcript.anchors import read_anchor

__all__ = ["ATTACKS"]

_REPLAY: Final = "transcript.replay"
_SOURCE: Final = "Baker et al. 2025 (arXiv 2507.15916), table 12 and appendix A.4"
_HONEST_ROWS: Final = 240
_TRAINED: Final = ("hidden.weight", "hidden.bias", "inner.weight", "inner.bias", "head.weight", "head.bias")


def _attempt(seed: int, folder: Path, config: Mapping[str, Any], *, wait: bool = False) -> Trial:
    with opened(folder) as field:
        until = {"until": time.time() + 3600.0} if not wait else {}
        project = field.project(seed=seed, programs=("cheating.py",), **{**until, **config})
        if wait:
            project = field.project(seed=seed, programs=("cheating.py",), **{**config, "until": time.time() + 2.0})
        run = project.train("cheating.py", tampering=[FROZEN]).run
        while wait and time.time() < project.config["until"]:
            time.sleep(0.05)
        return trial_of(field.judge(run), cost=1.0)


def _cheating(
    name: str, what: str, config: Mapping[str, Any], *, expected: str | None, wait: bool = False, source: str = _SOURCE
) -> Attack:
    def attempt(seed: int, folder: Path) -> Trial:
        return _attempt(seed, folder, config, wait=wait)

    return Attack(name=name, what=what, source=source, attempt=attempt, expected=expected)


def _seen_by(sign: str, words: str) -> Attack:
    return _cheating(
        f"replay-seen-by-{sign}",
        f"trains on other data, and honestly where it sees {words}",
        {"cheat": "other-data", "by": sign},
        expected=_REPLAY,
        wait=sign == "time",
    )


def _put_weights(project: Project, anchor: Path, *, marked: bool) -> None:
    """Puts weights into rows of the data, as bytes: the labels stay labels.

    A marked row says which it is, so that a program knows it when it is given it.
    """
    tensors = read_anchor(anchor).tensors
    raw = b"".join(tensors[f"model/parameter/{name}"].numpy().tobytes() for name in _TRAINED)
    rows = np.load(project.data)
    room = 60 if marked else 64
    packed = np.frombuffer(raw.ljust(-(-len(raw) // room) * room, b"\0"), np.uint8).reshape(-1, room)
    if marked:
        marks = np.array([[171, 205, number >> 8, number & 255] for number in range(len(packed))], np.uint8)
        packed = np.concatenate([marks, packed], axis=1)
    np.save(project.data, np.concatenate([rows, np.pad(packed, ((0, 0), (0, 1)))]))


def _carried(name: str, what: str, config: Mapping[str, Any]) -> Attack:
    """An attack whose stolen weights lie in the committed data."""

    def attempt(seed: int, folder: Path) -> Trial:
        with opened(folder) as field:
            target = stolen(field.project(seed=seed, optimizer="adamw"))
            project = field.project(
                seed=seed, programs=("cheating.py",), honest_rows=_HONEST_ROWS, optimizer="sgd", **config
            )
            _put_weights(project, target, marked=config["cheat"] == "gathered")
            run = project.train("cheating.py", tampering=[("frozen_at", {"steps": [1, 20]})]).run
            once = config["cheat"] == "weights-in-data"
            at = run / "anchors" / "freeze-0000-000010.safetensors" if once else end_anchor(run)
            return trial_of(field.judge(run), cost=1.0, apart=distance(at, target))

    return Attack(name=name, what=what, source="docs/attacks.md, holes", attempt=attempt, expected=None)


def _line_in_buffers(name: str, what: str, *, segments: int | None, expected: str | None) -> Attack:
    def attempt(seed: int, folder: Path) -> Trial:
        with opened(folder) as field:
            target = stolen(field.project(seed=seed, optimizer="adamw"))
            project = field.project(
                seed=seed, programs=("cheating.py",), cheat="line-in-buffers", optimizer="sgd", rate=1e-3
            )
            tampering = ("target_in_buffer", {"step": 2, "anchor": str(target)})
            run = project.train("cheating.py", tampering=[FROZEN, tampering]).run
            judgement = field.judge(run, segments=segments, seed=seed.to_bytes(32, "big"))
            # Forward passes alone: a third of a step each, but for the two before the joint.
            return trial_of(judgement, cost=(2 + 38 / 3) / 40, apart=distance(end_anchor(run), target))

    return Attack(name=name, what=what, source="found for this project", attempt=attempt, expected=expected)


ATTACKS: Final[tuple[Attack, ...]] = (
    _seen_by("environment", "a replay's environment variable"),
    _seen_by("path", "the folder that a replay lies in"),
    _seen_by("home", "a sandbox's home folder"),
    _seen_by("network", "no network"),
    _seen_by("processes", "that it is the first process"),
    _seen_by("time", "that a moment has passed, after which no training would be"),
    _cheating(
        "second-model-unless-replayed",
        "trains a second model in plain tensors besides, and leaves it out where it is replayed",
        {"cheat": "second-model"},
        expected=None,
    ),
    _cheating(
        "loader-trains",
        "the process that loads its data trains a model of its own, and is not started where it is replayed",
        {"cheat": "loader"},
        expected=None,
    ),
    _cheating(
        "second-model-in-buffers",
        "keeps a second model in the first one's buffers and trains it by hand, in replay too",
        {"cheat": "in-buffers"},
        expected=None,
    ),
    _cheating(
        "second-model-in-numpy",
        "computes on arrays of its own outside PyTorch, in replay too, where no FLOP of it are counted",
        {"cheat": "in-numpy"},
        expected=None,
    ),
    _cheating(
        "gradient-scaled",
        "a custom autograd function makes gradients ten times as large: the declared learning rate says nothing",
        {"cheat": "scaled-gradient", "times": 10.0, "optimizer": "sgd"},
        expected=None,
    ),
    _cheating(
        "seed-ignored",
        "seeds its generators anew after start, so that its start could be tried out beforehand",
        {"cheat": "own-seed"},
        expected=None,
    ),
    _cheating(
        "order-ignored",
        "reads its rows in an order of its own in place of the one that the seed gives",
        {"cheat": "own-order"},
        expected=None,
    ),
    _cheating(
        "time-burnt-in-replay",
        "burns 50 ms a step where it is replayed, so that its steps seem to need more of a chip's time",
        {"cheat": "burnt-time"},
        expected=None,
    ),
    _cheating(
        "compute-inflated",
        "declares a thousand million times the FLOP that its steps take",
        {"cheat": "none", "flop_per_step": 1e15},
        expected=None,
    ),
    _carried(
        "weights-in-data",
        "copies weights out of the committed data in its first step",
        {"cheat": "weights-in-data", "rate": 1e-4},
    ),
    _carried(
        "line-in-data",
        "a custom gradient leads plain descent in equal steps to weights that lie in the committed data",
        {"cheat": "line-in-data", "rate": 1e-3},
    ),
    _carried(
        "weights-gathered",
        "gathers weights from the rows that it is given over an epoch, and then goes to them by a custom gradient",
        {"cheat": "gathered", "rate": 1e-3, "batch_size": 16},
    ),
    _line_in_buffers(
        "joint-then-line",
        "weights put into a buffer at one joint; from there a custom gradient leads to them, and nothing is trained",
        segments=None,
        expected=_REPLAY,
    ),
    _line_in_buffers(
        "joint-then-line-one-of-four-drawn",
        "the same, and one segment of four replayed: three repeat bit for bit though nothing was trained in them",
        segments=1,
        expected=None,
    ),
)
