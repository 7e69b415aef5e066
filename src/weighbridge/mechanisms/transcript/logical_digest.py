"""A digest of a tensor that does not depend on how its rows are shared out among ranks, and needs no communication.

A tensor is cut along its first dimension into **units** that no sharding in the scheme splits: the cuts of
``torch.chunk`` for every group size in the scheme, which FSDP2 follows. Each unit is hashed with its place, and the
units' hashes are added; each rank adds those of its own rows, and whoever has all partial sums adds them:

    u_i    = BLAKE3-XOF(key = salt, domain ‖ scheme ‖ name ‖ format ‖ shape ‖ first row ‖ last row ‖ BLAKE3(rows))
    digest = BLAKE3(domain ‖ scheme ‖ Σ u_i mod 2^16, lane by lane, 1,024 lanes)

**Why it binds.** This is LtHash with n = 1,024 lanes of d = 16 bits (Lewi, Kim, Maykov, Weis 2019, eprint 2019/227),
an instance of Bellare and Micciancio's AdHash (Eurocrypt 1997) over a lattice. In the random-oracle model a collision
gives a short non-trivial combination of random vectors that sums to zero mod 2^16, a short-integer-solution problem;
for these parameters eprint 2019/227 (section 3) puts the best known attack above 2^200. Here the place of a unit is
hashed with it, so honest sums hold each unit once, and swapped or moved rows change the sum. Adding needs no order.
XOR of hashes would be broken (linear algebra over GF(2) finds a collision with 2,048·8 candidate units), and so would
sums over one small group (Wagner's generalised birthday, Crypto 2002).

A partial sum is salted like every other digest here: nobody without the salt can try guesses of the weights.

**What it cannot do.** Tensors cut along another dimension (tensor parallel) or in strides have units that several ranks
share: they are refused, never digested wrongly. So is a group whose size is not in the scheme.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from blake3 import blake3
from torch import Tensor

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.encoding import canonical, framed
from weighbridge.mechanisms.transcript.state import tensor_bytes

__all__ = ["LANES", "LogicalSum", "group_sizes", "unit_cuts"]

LANES: Final = 1024
_DOMAIN: Final = b"weighbridge/logical/1"
_SCHEME: Final = 64
"""Largest group of the scheme that is used unless a group is larger."""
_WIDE: Final = 1024
_BYTES: Final = 2 * LANES


def group_sizes(most: int) -> tuple[int, ...]:
    """Returns the group sizes whose cuts no unit crosses: 1 to 16, then powers of two and three times those."""
    powers = [1 << bit for bit in range(most.bit_length())]
    return tuple(sorted({n for n in (*range(1, 17), *powers, *(3 * p for p in powers)) if n <= most}))


@lru_cache(maxsize=4096)
def unit_cuts(rows: int, most: int) -> tuple[int, ...]:
    """Returns the rows at which units begin, and the number of rows at the end.

    At most 3/π²·most² of them, whatever the size of the tensor; one row a unit where there are few rows.
    """
    cuts = {0, rows}
    for size in group_sizes(most):
        step = -(-rows // size)
        cuts.update(range(0, rows, step) if step else ())
    return tuple(sorted(cuts))


@dataclass
class LogicalSum:
    """A sum of units' hashes, which grows as tensors or other ranks' sums are added.

    Attributes:
        lanes: 1,024 numbers of 16 bits.
        scheme: largest group that the units allow for.
    """

    lanes: np.ndarray[tuple[int], np.dtype[np.uint16]]
    scheme: int = _SCHEME

    @classmethod
    def empty(cls, world: int = 1) -> "LogicalSum":
        """Returns the sum of nothing, in the scheme for a group of ``world`` ranks.

        Raises:
            InputError: no scheme allows for so many.
        """
        for scheme in (_SCHEME, _WIDE):
            if world in group_sizes(scheme):
                return cls(np.zeros(LANES, dtype=np.uint16), scheme)
        raise InputError(f"of {world} ranks is in no scheme of units", where="group", mend="use a power of two")

    def add_rows(self, name: str, local: Tensor, *, start: int, shape: tuple[int, ...], salt: bytes) -> None:
        """Adds consecutive rows of a tensor.

        Args:
            name: the tensor's name in the logical model.
            local: the rows, as they lie here.
            start: first row.
            shape: shape of the whole tensor.
            salt: 32 bytes that all ranks share.

        Raises:
            InputError: the rows begin or end inside a unit.
        """
        rows = shape[0] if shape else 1
        stop = start + (local.shape[0] if shape else 1)
        cuts = unit_cuts(rows, self.scheme)
        first, last = _place(cuts, start), _place(cuts, stop)
        if first is None or last is None:
            raise InputError(f"has a piece of rows {start} to {stop}, which is no whole number of units", where=name)
        data = tensor_bytes(local)
        width = len(data) // (stop - start) if stop > start else 0
        header = _DOMAIN + framed(canonical([self.scheme, name, str(local.dtype), list(shape)]))
        hashes = []
        for low, high in zip(cuts[first:last], cuts[first + 1 : last + 1], strict=True):
            unit = blake3(header, key=salt)
            unit.update(low.to_bytes(8, "little") + high.to_bytes(8, "little"))
            unit.update(data[(low - start) * width : (high - start) * width])
            hashes.append(unit.digest(length=_BYTES))
        if hashes:
            lanes = np.frombuffer(b"".join(hashes), dtype="<u2").reshape(-1, LANES)
            self.lanes = self.lanes + lanes.sum(axis=0, dtype=np.uint16)

    def add_whole(self, name: str, tensor: Tensor, *, salt: bytes) -> None:
        """Adds a tensor that lies here whole."""
        self.add_rows(name, tensor, start=0, shape=tuple(tensor.shape), salt=salt)

    def add(self, other: "LogicalSum") -> None:
        """Adds another rank's sum.

        Raises:
            EvidenceError: its units are cut by another scheme.
        """
        if other.scheme != self.scheme:
            raise EvidenceError(f"has units for {other.scheme} ranks, not {self.scheme}", where="logical digest")
        self.lanes = self.lanes + other.lanes

    @property
    def digest(self) -> str:
        """The logical digest (hex, 32 bytes)."""
        return blake3(_DOMAIN + framed(canonical(self.scheme)) + self.lanes.tobytes()).hexdigest()

    @property
    def text(self) -> str:
        """The partial sum for a journal: the scheme, and the lanes in hexadecimal."""
        return f"{self.scheme}:{self.lanes.astype('<u2').tobytes().hex()}"

    @classmethod
    def parse(cls, text: str) -> "LogicalSum":
        """Reads a partial sum.

        Raises:
            EvidenceError: it is none.
        """
        scheme, _, lanes = text.partition(":")
        try:
            raw = bytes.fromhex(lanes)
            if scheme not in (str(_SCHEME), str(_WIDE)) or len(raw) != _BYTES or lanes != raw.hex():
                raise ValueError("its size or scheme is none")
        except ValueError as error:
            raise EvidenceError(f"is no partial sum ({error})", where="journal", field="logical") from error
        return cls(np.frombuffer(raw, dtype="<u2").astype(np.uint16), int(scheme))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], *, salt: bytes, world: int = 1) -> "LogicalSum":
        """Returns the sum over tensors that lie here whole."""
        total = cls.empty(world)
        for name in sorted(tensors):
            total.add_whole(name, tensors[name], salt=salt)
        return total

    @classmethod
    def joined(cls, parts: Iterable["LogicalSum"]) -> "LogicalSum":
        """Returns the sum of sums.

        Raises:
            EvidenceError: they are none, or of different schemes.
        """
        total: LogicalSum | None = None
        for part in parts:
            if total is None:
                total = cls(part.lanes.copy(), part.scheme)
            else:
                total.add(part)
        if total is None:
            raise EvidenceError("has no parts", where="logical digest")
        return total


def _place(cuts: tuple[int, ...], row: int) -> int | None:
    index = bisect_left(cuts, row)
    return index if index < len(cuts) and cuts[index] == row else None
