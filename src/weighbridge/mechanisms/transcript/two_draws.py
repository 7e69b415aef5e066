"""Whether two initial states, derived under two seeds, are two independent draws. Arithmetic only.

What no seed gives is the same in both: constants, tables, a declared parent's weights, or weights that lie in the code
or in the data. What a seed gives differs, and the two draws have nothing in common but their distribution.

1. **Fixed values** must say little: by their length when compressed (zlib, a bound from above on what they can tell),
   all of them together. Positions of ones, ranges, masks and repeated rows compress to nothing; weights do not. A table
   whose rows or columns obey a linear recurrence of order two (sinusoidal positions, rotary angles) is passed by its
   form, though weights could hide in its last digits.
2. **Drawn values** must be uncorrelated: for a tensor with draws a and b, each less its mean,
   T = Σ a_i b_i ÷ √(Σ a_i² b_i²). If the signs of the products are symmetric and independent, as those of independent
   draws from symmetric distributions are, P(|T| ≥ t) ≤ 2 exp(−t²/2) for every n (Hoeffding 1963, theorem 2, given the
   magnitudes): no variance is estimated, and scales may differ within a tensor. Over m tests, the pooled one included,
   t = √(2 ln(2 m/α)). Copies of a tensor count once.

Stolen weights of variance share ρ in n values give T ≈ ρ √n: with t = 6 the smallest share found is about 6/√n, that is
an admixture of amplitude √(6/√n) relative to the initial weights: 0.08 at a million values, 0.025 at a hundred million.
Not found: weights permuted or rotated by the seed, which have the same function and no correlation.
"""

import hashlib
import math
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ALPHA", "FIXED_LIMIT_BYTES", "TwoDraws", "compare_draws", "fingerprint"]

ALPHA = 1e-6
"""Chance that a run whose draws are independent is doubted, at most."""

FIXED_LIMIT_BYTES = 64 << 10
"""Compressed bytes of fixed values that are passed: no more than an opening may hold anyway."""

_FIXED_SHARE, _FIXED_LEAST_BYTES = 0.02, 512
_RECURRENCE = 1e-3
_ROWS = 4_000_000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TwoDraws:
    """What two initial states have in common.

    Attributes:
        drawn: values that differ.
        fixed: values that are the same and no constant of their tensor.
        fixed_bytes: compressed length of those, tables of a known form and the parent's left out.
        fixed_allowed: how much is passed.
        tables: names of tensors passed by their form.
        inherited: values that are the declared parent's.
        worst: name of the tensor whose draws agree most, ``all of them`` for the pooled test.
        statistic: its T.
        threshold: what |T| may be.
        stuck: generators of the same state under both seeds.
        fixed_names: tensors that hold fixed values, most bytes first.
    """

    drawn: int
    fixed: int
    fixed_bytes: int
    fixed_allowed: int
    tables: tuple[str, ...]
    inherited: int
    worst: str
    statistic: float
    threshold: float
    stuck: tuple[str, ...]
    fixed_names: tuple[str, ...]

    @property
    def smallest_share(self) -> float:
        """The share of the variance, common to all weights, at which the pooled test is expected to find it."""
        return min(1.0, self.threshold / math.sqrt(self.drawn)) if self.drawn else 1.0


def compare_draws(
    one: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
    *,
    generators: Collection[tuple[str, bool]] = (),
    parent: Collection[bytes] = (),
    alpha: float = ALPHA,
) -> TwoDraws:
    """Compares the tensors of two initial states, which have the same names and shapes.

    Args:
        one: the tensors of models under the run's seed, by name.
        other: the same under another seed.
        generators: name of each global generator, and whether it stands alike under both.
        parent: digests (:func:`fingerprint`) of tensors that the declared parent ended with.
        alpha: chance that independent draws are doubted.
    """
    tests: dict[str, tuple[float, int]] = {}
    top = bottom = 0.0
    drawn = fixed = inherited = total_bytes = 0
    lengths: dict[str, int] = {}
    tables: list[str] = []
    met: set[bytes] = set()
    for name in sorted(one):
        mark = fingerprint(one[name]) + fingerprint(other[name])
        if mark in met:
            continue
        met.add(mark)
        a, b = _values(one[name]), _values(other[name])
        total_bytes += one[name].numel() * one[name].element_size()
        same = a.view(np.int64) == b.view(np.int64)
        if same.all():
            if mark[:32] in parent:
                inherited += a.size
            elif np.unique(a[:_ROWS]).size > 1 or a.size > _ROWS:
                if _recurs(a.reshape(tuple(one[name].shape) or (1,))):
                    tables.append(name)
                else:
                    fixed += a.size
                    lengths[name] = _length(a, one[name])
            continue
        held = _structural(a, same)
        if held.any() and np.unique(a[held]).size > 1:
            fixed += int(held.sum())
            lengths[name] = _length(np.where(held, a, 0.0), one[name])
        x, y = a[~held], b[~held]
        drawn += x.size
        x, y = x - x.mean(), y - y.mean()
        products = x * y
        scale = math.sqrt(float(products @ products))
        if scale > 0 and math.isfinite(scale):
            tests[name] = float(products.sum()) / scale, x.size
            spread = float(x.std() * y.std())
            top += float(products.sum()) / spread
            bottom += float(products @ products) / spread**2
    if bottom > 0:
        tests["all of them"] = top / math.sqrt(bottom), drawn
    threshold = math.sqrt(2 * math.log(2 * max(1, len(tests)) / alpha))
    worst = max(tests, key=lambda name: abs(tests[name][0]), default="")
    allowed = min(FIXED_LIMIT_BYTES, max(_FIXED_LEAST_BYTES, int(_FIXED_SHARE * total_bytes)))
    return TwoDraws(
        drawn=drawn,
        fixed=fixed,
        fixed_bytes=sum(lengths.values()),
        fixed_allowed=allowed,
        tables=tuple(tables),
        inherited=inherited,
        worst=worst,
        statistic=tests[worst][0] if worst else 0.0,
        threshold=threshold,
        stuck=tuple(name for name, alike in generators if alike),
        fixed_names=tuple(sorted(lengths, key=lambda name: -lengths[name])),
    )


def fingerprint(tensor: Tensor) -> bytes:
    """Returns SHA-256 over format, shape and bytes (32 bytes)."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    raw: Any = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + raw).digest()


def _values(tensor: Tensor) -> Array:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return np.ascontiguousarray(tensor.detach().cpu().to(torch.float64).reshape(-1).numpy())


def _structural(a: Array, same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns where a tensor that is drawn in part holds values that no seed gives.

    A value counts as such if it is the same under both seeds nearly wherever it stands: in formats of few digits single
    values agree by chance, and leaving those out would bias what is left.
    """
    if not same.any():
        return same
    values = np.unique(a[same])
    places = np.minimum(np.searchsorted(values, a), values.size - 1)
    met = values[places] == a
    counts = np.bincount(places[met], minlength=values.size)
    agreeing = np.bincount(places[same], minlength=values.size)
    held: NDArray[np.bool_] = (agreeing >= 0.9 * counts)[places] & same
    return held


def _length(a: Array, tensor: Tensor) -> int:
    kind = np.float32 if tensor.dtype != torch.float64 else np.float64
    narrow = torch.from_numpy(a).to(tensor.dtype) if not tensor.is_complex() else torch.from_numpy(a.astype(kind))
    flat = narrow.contiguous().view(torch.uint8).numpy().reshape(a.size, -1)
    return len(zlib.compress(np.ascontiguousarray(flat.T).tobytes(), 6))  # by place of the byte: exponents first


def _recurs(table: Array) -> bool:
    """Returns whether every line along some axis obeys x_(t+2) = p x_(t+1) + q x_t to a thousandth of its energy."""
    for axis in range(table.ndim):
        lines = np.moveaxis(table, axis, 0).reshape(table.shape[axis], -1)
        if lines.shape[0] < 8:
            continue
        past, now, ahead = lines[:-2], lines[1:-1], lines[2:]
        nn, pp, np_ = (now * now).sum(0), (past * past).sum(0), (now * past).sum(0)
        an, ap = (ahead * now).sum(0), (ahead * past).sum(0)
        ridge = 1e-12 * (nn + pp) + 1e-150
        determinant = (nn + ridge) * (pp + ridge) - np_ * np_
        p = (an * (pp + ridge) - ap * np_) / determinant
        q = (ap * (nn + ridge) - an * np_) / determinant
        left = ((ahead - p * now - q * past) ** 2).sum(0)
        if np.all(left <= _RECURRENCE * (ahead * ahead).sum(0) + 1e-300):
            return True
    return False
