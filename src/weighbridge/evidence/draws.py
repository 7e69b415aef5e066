"""Draws that the checked cannot foresee and the checker can recompute."""

import hashlib
from collections.abc import Sequence

from weighbridge.errors import InputError

__all__ = ["draw", "draw_order", "draw_seed", "frame_seed"]


def draw_seed(purpose: str, *, checkpoint_root: bytes, secret: bytes) -> bytes:
    """Returns the seed of one draw (32 bytes): the log's root fixes the population, the secret nobody could steer.

    The secret's hash must have been logged before the population; a root alone is no seed, since filler entries
    steer it (protocol section 5).
    """
    return hashlib.sha256(b"weighbridge/draw/1/" + purpose.encode() + b"\0" + checkpoint_root + secret).digest()


def frame_seed(frame: bytes, *, source: str, value: bytes, purpose: str, period: str) -> bytes:
    """Returns the seed of a draw from a frozen frame (32 bytes).

    The fields are hashed with their lengths, so that no two sets of them run together. The frame says beforehand
    which source and which round, key or commitments will give the value.

    Args:
        frame: id of the statement that froze the population, 32 bytes.
        source: name of the source of chance.
        value: what the source gave, known only after the frame was fixed.
        purpose: what is drawn for.
        period: for which period.
    """
    fields = (frame, source.encode(), value, purpose.encode(), period.encode())
    joined = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return hashlib.sha256(b"weighbridge/frame-draw/1\0" + joined).digest()


def draw(population: Sequence[str], count: int, *, seed: bytes) -> list[str]:
    """Draws ``count`` distinct items uniformly and returns them sorted; see :func:`draw_order`."""
    return sorted(draw_order(population, count, seed=seed))


def draw_order(population: Sequence[str], count: int, *, seed: bytes) -> list[str]:
    """Draws ``count`` distinct items uniformly, in the order drawn (Fisher-Yates over SHAKE-256).

    The population is sorted first, so its order does not matter. More items from the same seed begin with the same
    ones: those drawn after the sample are its reserves, in order.

    Raises:
        InputError: more are asked for than there are, or the population repeats an item.
    """
    items = sorted(population)
    if len(set(items)) != len(items):
        raise InputError("names an item twice", where="population")
    if not 0 <= count <= len(items):
        raise InputError(f"cannot draw {count} of {len(items)}", where="draw")
    stream = _Numbers(seed)
    for position in range(count):
        other = position + stream.below(len(items) - position)
        items[position], items[other] = items[other], items[position]
    return items[:count]


class _Numbers:
    """Uniform whole numbers from a seed, by rejection."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._block = 0

    def below(self, bound: int) -> int:
        """Returns a number in ``range(bound)``."""
        limit = (1 << 128) - (1 << 128) % bound
        while True:
            data = hashlib.shake_256(self._seed + self._block.to_bytes(8, "big")).digest(16)
            self._block += 1
            value = int.from_bytes(data, "big")
            if value < limit:
                return value % bound
