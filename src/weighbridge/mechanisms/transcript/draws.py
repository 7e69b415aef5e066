"""Where a program draws what outlives a step: the order of an epoch, the seeds of workers.

Such draws depend on how far the global generators have come, which nobody knows who did not train the steps before.
So a recording notes the generators' states where an iterator of a DataLoader is made, or begun again (its workers may
outlive an epoch), where something is shuffled outside any module, and after the last updates before an anchor, from
where on the batches of the next steps are fetched. Whoever walks to the middle of a run without training puts them
back there (:mod:`.ghost`).

What is noted is the operator's word, like every line of the journal: a replay that trains those very steps compares it.
"""

import base64
import functools
import json
import os
import random
import sys
import threading
import zlib
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final

import numpy as np
import torch
from blake3 import blake3
from torch import nn
from torch.utils.data import dataloader

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.compiled import compiling
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.state import generator_states

__all__ = [
    "LOADER",
    "LOADER_AGAIN",
    "UPDATE",
    "Points",
    "digest_generators",
    "note_draw",
    "pack_generators",
    "set_generators",
    "unpack_generators",
]

LOADER: Final = "loader"
LOADER_AGAIN: Final = "loader-again"
UPDATE: Final = "update"
_LONGEST_STREAK: Final = 8
"""Steps in a row that shuffle something: then it is a step's own business, and outlives none."""
_MOST_BYTES: Final = 1 << 20


def _plain_states(states: Mapping[str, Any]) -> bytes:
    version, internal, gauss = states["python"]
    name, keys, position, has_gauss, cached = states["numpy"]
    told = canonical([version, gauss, str(name), int(position), int(has_gauss), float(cached).hex()])
    parts = [
        told,
        np.array(internal, dtype="<u4").tobytes(),
        np.asarray(keys, dtype="<u4").tobytes(),
        states["torch"].numpy().tobytes(),
    ]
    return canonical([len(part) for part in parts]) + b"\n" + b"".join(parts)


def digest_generators(states: Mapping[str, Any]) -> str:
    """Returns the digest of the global generators' states (hex)."""
    return blake3(_plain_states(states)).hexdigest()


def pack_generators(states: Mapping[str, Any]) -> str:
    """Returns the global generators' states as text, about 10 KB."""
    return base64.b64encode(zlib.compress(_plain_states(states), 6)).decode()


def unpack_generators(text: str) -> dict[str, Any]:
    """Returns states as :func:`.state.generator_states` gives them.

    Raises:
        EvidenceError: the text holds no states of generators.
    """
    try:
        whole = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
        sizes, _, rest = whole.partition(b"\n")
        parts, place = [], 0
        for size in json.loads(sizes):
            parts.append(rest[place : place + size])
            place += size
        told, internal, keys, torched = parts
        version, gauss, name, position, has_gauss, cached = json.loads(told)
        return {
            "python": (version, tuple(np.frombuffer(internal, dtype="<u4").tolist()), gauss),
            "numpy": (
                name,
                np.frombuffer(keys, dtype="<u4").astype(np.uint32),
                position,
                has_gauss,
                float.fromhex(cached),
            ),
            "torch": torch.frombuffer(bytearray(torched), dtype=torch.uint8),
        }
    except (ValueError, TypeError, KeyError, zlib.error, RecursionError) as error:
        raise EvidenceError(f"holds no states of generators ({error})", where="journal", field="draws") from error


def set_generators(states: Mapping[str, Any]) -> None:
    """Puts states of the global generators back."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].clone())


class Points:
    """Tells of each point at which a program draws what outlives a step, before it draws.

    Args:
        met: told the kind of point, in the process and thread that watches.

    Attributes:
        step: steps completed so far, as whoever watches keeps it.
    """

    def __init__(self, met: Callable[[str], None]) -> None:
        self._met = met
        self._place = os.getpid(), threading.get_ident()
        self._streaks: dict[str, tuple[int, int]] = {}
        self._undo: list[Callable[[], None]] = []
        self.step = 0

    def install(self) -> None:
        """Begins to look."""
        self._wrap(dataloader._BaseDataLoaderIter, "__init__", lambda *a, **k: LOADER)
        self._wrap(dataloader._MultiProcessingDataLoaderIter, "_reset", _begun_again)
        for module, names in ((torch, ["randperm"]), (np.random, ["permutation", "shuffle"]), (random, ["shuffle"])):
            for name in names:
                self._wrap(module, name, functools.partial(self._shuffle, f"{module.__name__}.{name}"))

    def remove(self) -> None:
        """Stops looking."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str, kind: Callable[..., str | None]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def noting(*arguments: Any, **keywords: Any) -> Any:
            here = (os.getpid(), threading.get_ident()) == self._place and not compiling()
            if here and (found := kind(*arguments, **keywords)):
                self._met(found)
            return original(*arguments, **keywords)

        setattr(owner, name, noting)

        def undo() -> None:
            if getattr(owner, name, None) is noting:
                setattr(owner, name, original)

        self._undo.append(undo)

    def _shuffle(self, name: str, *arguments: Any, generator: Any = None, **keywords: Any) -> str | None:
        if generator is not None or _inside_a_module():
            return None
        last, length = self._streaks.get(name, (-2, 0))
        if last != self.step:
            length = length + 1 if last == self.step - 1 else 1
            self._streaks[name] = self.step, length
        return name if length <= _LONGEST_STREAK else None


def _begun_again(iterator: Any, loader: Any = None, first_iter: bool = False) -> str | None:
    return None if first_iter else LOADER_AGAIN


def _inside_a_module() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is nn.Module._call_impl.__code__:
            return True
        frame = frame.f_back
    return False


def note_draw(point: str) -> dict[str, str]:
    """Returns what the journal says of a point: its kind, and the generators as they stand."""
    states = generator_states()
    return {"point": point, "digest": digest_generators(states), "states": pack_generators(states)}
