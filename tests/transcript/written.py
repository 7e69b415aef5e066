"""Transcripts written line by line, without training: what a test of reading needs, in milliseconds."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.environment import CodeTree

RUN = "ab" * 32

WHERE = {"chip": "", "process": 7, "cpu_ns": 1, "monotonic_ns": 1, "time": 1_700_000_000.5}


def beginning(**fields: Any) -> dict[str, Any]:
    """The first line of a segment."""
    return {
        "type": "segment",
        "segment": 0,
        "run": RUN,
        "step": 0,
        "steps": 8,
        "stride": 4,
        "state": "00" * 32,
        "anchor": "state-0000-0000000.safetensors",
        "names": ["model/parameter/weight"],
        "hyperparameters": {"optimizer": [{"lr": 0.5}]},
        "threads": 1,
        "environment": [],
        "parent": None,
        **WHERE,
        **fields,
    }


def step(number: int, *losses: float, **fields: Any) -> dict[str, Any]:
    return {
        "type": "step",
        "step": number,
        "batch": f"{number:064x}",
        "seen": "forward",
        "loss": [float(loss).hex() for loss in losses],
        "updates": 1,
        "cpu_ns": 10 * number,
        "monotonic_ns": 20 * number,
        **fields,
    }


def freeze(number: int, first: int, last: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "freeze",
        "boot": 1,
        "sequences": [first, last],
        "step": number,
        "phase": "still",
        "anchor": f"freeze-0000-{last:06d}.safetensors",
        "state": "11" * 32,
        "layout": [],
        "data": [],
        **WHERE,
        "chip": "c0" * 32,
        **fields,
    }


def end(number: int, *, finished: bool = True, **fields: Any) -> dict[str, Any]:
    return {"type": "end", "step": number, "finished": finished, "claimed_until": -1, **WHERE, **fields}


def contents(**parts: Any) -> dict[str, Any]:
    """What a run's opening says."""
    array = {"format": "|u1", "shape": [60, 9], "path": "/data/corpus.npy"}
    return {
        "data": {"root": "dd" * 32, "arrays": {"data": array}, "single": True},
        "code": {"digest": CodeTree(Path(), {}).digest.hex(), "root": "/program"},
        "config": {"width": 16},
        "environment": {"threads": 1, "variables": {}},
        "program": {"arguments": ["/program/train.py"], "directory": "/program"},
        "loop": {"steps": 8, "batch_size": 4, "stride": 4},
        **parts,
    }


def lines(events: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(canonical(event) + b"\n" for event in events)


def whole(*losses: float) -> list[dict[str, Any]]:
    """A finished run, a step for each loss."""
    return [beginning(), *(step(n, loss) for n, loss in enumerate(losses)), end(len(losses))]


def written(
    folder: Path,
    *segments: Iterable[Mapping[str, Any]],
    key: bytes = b"k" * 32,
    opened: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a run's folder."""
    folder.mkdir(parents=True)
    (folder / "anchors").mkdir()
    (folder / "code").mkdir()
    opening = {"key": key.hex(), "nonce": "22" * 32, "contents": contents() if opened is None else dict(opened)}
    (folder / "opening.json").write_text(json.dumps(opening))
    for number, events in enumerate(segments):
        (folder / f"journal-{number:04d}.jsonl").write_bytes(lines(events))
    return folder


def snapshot(folder: Path) -> dict[str, Any]:
    """Everything below a folder, to be compared after a command that must write nothing."""

    def walk() -> Iterator[tuple[str, Any]]:
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            plain = path.is_file() and not path.is_symlink()
            yield os.fsencode(path).hex(), (status.st_mode, status.st_mtime_ns, path.read_bytes() if plain else None)

    return dict(walk())
