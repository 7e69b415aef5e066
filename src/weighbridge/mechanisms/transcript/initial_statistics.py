"""Whether weights look like the start of a training: a statistical test of each tensor, with its error bounded.

Needed where the seed binds nothing, so that the start cannot be rebuilt: finished weights may be passed off as it
(Shavit 2023, arXiv 2303.11341, footnote 18). Each tensor is held against the ways in which tensors are commonly
initialised, at any scale: constant, uniform, normal, normal cut at two deviations, orthogonal, identity. A tensor is
doubted if none of the distributions fits (Kolmogorov and Smirnov for the uniform and the cut normal, given the largest
element; Anderson and Darling for the normal, mean and deviation estimated, tail by Stephens 1986, table 4.9), or if
its rows or columns differ in mean or in size by more than independent elements do (analysis of variance of the
elements and of their absolute values). The best of five tests counts five times (Bonferroni), and the best of L
tensors L times: an honest model is doubted with chance at most ``ERROR``, however many tensors it has. The published
proof-of-learning code tests each tensor at 0.01 alone, and doubts 1 - 0.99^L of honest models (18 % at L = 20).

It shows nothing against somebody who makes trained weights look random first (permutes them, adds noise, transforms
them by an orthogonal matrix), and it doubts honest models that begin with patterns it does not know (sinusoids as
parameters, weights made by another network).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

__all__ = ["ERROR", "InitialStatistics", "judge_initial_weights", "tensor_p_value"]

ERROR: Final = 0.01
"""Chance that an honest model is doubted, at most."""

_MOST = 20_000
"""Elements of a tensor that a distribution is tried on: rounding to bfloat16 stays invisible in so few."""

_MOST_SQUARE: Final = 4_000_000
"""Elements of a tensor whose rows and columns are compared; of larger ones the first rows."""

_TESTS: Final = 5
_FEW: Final = 8
"""Elements below which nothing is told from anything."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InitialStatistics:
    """What the tests of a model's tensors say together.

    Attributes:
        p_value: chance that an honest start looks as odd as this one, corrected for the number of tensors.
        worst: the oddest tensor's name.
        tested: tensors tested.
        untested: tensors with fewer elements than say anything.
        doubted: tensors doubted at ``ERROR`` (Holm), oddest first.
    """

    p_value: float
    worst: str
    tested: int
    untested: int
    doubted: tuple[str, ...]


def judge_initial_weights(tensors: Mapping[str, Tensor]) -> InitialStatistics:
    """Tests tensors, by name, that are claimed to be a fresh start.

    Integer tensors and those of fewer than eight elements are counted as untested.
    """
    found: dict[str, float] = {}
    untested = 0
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.numel() < _FEW:
            untested += 1
            continue
        found[name] = tensor_p_value(tensor.detach().double().numpy(force=True))
    ranked = sorted(found, key=lambda name: found[name])
    doubted: list[str] = []
    for rank, name in enumerate(ranked):
        if found[name] > ERROR / (len(ranked) - rank):
            break
        doubted.append(name)
    return InitialStatistics(
        p_value=min(1.0, len(found) * found[ranked[0]]) if ranked else 1.0,
        worst=ranked[0] if ranked else "",
        tested=len(found),
        untested=untested,
        doubted=tuple(doubted),
    )


def tensor_p_value(values: Array) -> float:
    """Returns the chance that a tensor initialised in a common way looks as odd as this one (at most; 0 to 1).

    Elements that are exactly zero (padding, sparse starts) are left out. A tensor with an element that is no finite
    number gives 0.
    """
    if not np.isfinite(values).all():
        return 0.0
    if _is_plain(values):
        return 1.0
    matrix = values.reshape(len(values), -1) if values.ndim > 1 else values.reshape(1, -1)
    if _is_orthogonal(matrix):
        return 1.0
    flat = matrix[matrix != 0.0]
    if len(flat) < _FEW:
        return 1.0
    sample = flat if len(flat) <= _MOST else flat[:: math.ceil(len(flat) / _MOST)]
    marginal = max(_uniform(sample), _normal(sample), _cut_normal(sample))
    if min(matrix.shape) < 2:
        return min(1.0, marginal)
    part = matrix[: max(2, _MOST_SQUARE // matrix.shape[1])]
    kept = part != 0.0
    tests = [marginal]
    for magnitude in (part, np.abs(part)):
        tests += [_groups(magnitude, kept), _groups(magnitude.T, kept.T)]
    return min(1.0, _TESTS * min(tests))


def _is_plain(values: Array) -> bool:
    """Returns whether a tensor is constant, one row or one column repeated, or an identity (Dirac's included)."""
    if values.min() == values.max():
        return True
    if values.ndim < 2:
        return False
    matrix = values.reshape(len(values), -1)
    if (matrix == matrix[:1]).all() or (matrix == matrix[:, :1]).all():
        return True
    filled = matrix[matrix != 0.0]
    return bool((filled == filled[0]).all() and ((matrix != 0.0).sum(1) <= 1).all())


def _is_orthogonal(matrix: Array) -> bool:
    """Returns whether the rows, or the columns, are orthogonal and of one length, to the precision of bfloat16."""
    small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    if not 2 <= small.shape[0] <= 4096:
        return False
    product = small @ small.T
    scale = np.trace(product) / len(product)
    # Rounding each element by 2^-9 of itself moves a product of rows by about 2^-9 / sqrt(columns) of their length.
    allowed = 6 * 2.0**-8 / math.sqrt(small.shape[1])
    return bool(scale > 0 and np.abs(product / scale - np.eye(len(product))).max() < allowed)


def _uniform(sample: Array) -> float:
    """Kolmogorov and Smirnov on |x| / max |x|: exactly uniform on (0, 1) but for the largest, whatever the bound.

    Signs are tested with it, by the binomial.
    """
    from scipy.stats import kstest

    sizes = np.sort(np.abs(sample))
    return min(1.0, 2 * min(float(kstest(sizes[:-1] / sizes[-1], "uniform").pvalue), _signs(sample)))


def _cut_normal(sample: Array) -> float:
    """Kolmogorov and Smirnov against a normal cut at two deviations, which the largest element shows."""
    from scipy.special import ndtr
    from scipy.stats import kstest

    sizes = np.sort(np.abs(sample))
    whole = 2 * ndtr(2.0) - 1
    places = (2 * ndtr(2.0 * sizes[:-1] / sizes[-1]) - 1) / whole
    return min(1.0, 2 * min(float(kstest(places, "uniform").pvalue), _signs(sample)))


def _signs(sample: Array) -> float:
    """Returns the chance of signs this uneven where both are as likely; 1 where all are one (uniform above zero)."""
    from scipy.stats import binomtest

    above = int((sample > 0).sum())
    return 1.0 if above in (0, len(sample)) else float(binomtest(above, len(sample)).pvalue)


def _normal(sample: Array) -> float:
    """Anderson and Darling for a normal of unknown mean and deviation; the tail's formula by Stephens (1986)."""
    from scipy.special import log_ndtr

    count = len(sample)
    deviation = sample.std(ddof=1)
    if deviation == 0.0:
        return 1.0
    ordered = np.sort((sample - sample.mean()) / deviation)
    place = 2 * np.arange(1, count + 1) - 1
    square = -count - float(np.mean(place * (log_ndtr(ordered) + log_ndtr(-ordered[::-1]))))
    square *= 1 + 0.75 / count + 2.25 / count**2
    if square < 0.2:
        return 1 - math.exp(-13.436 + 101.14 * square - 223.73 * square**2)
    if square < 0.34:
        return 1 - math.exp(-8.318 + 42.796 * square - 59.938 * square**2)
    if square < 0.6:
        return math.exp(0.9177 - 4.279 * square - 1.38 * square**2)
    # The parabola turns round beyond 153; long before, the chance is nothing.
    return min(1.0, math.exp(1.2937 - 5.709 * square + 0.0186 * square**2)) if square < 100 else 0.0


def _groups(values: Array, kept: npt.NDArray[np.bool_]) -> float:
    """Analysis of variance by row, over the elements kept: the chance that independent elements differ so."""
    from scipy.special import fdtrc

    sizes = kept.sum(1)
    some = sizes > 1
    values, kept, sizes = values[some], kept[some], sizes[some]
    groups, count = len(sizes), int(sizes.sum())
    if groups < 2 or count - groups < _FEW:
        return 1.0
    means = np.where(kept, values, 0.0).sum(1) / sizes
    overall = float((means * sizes).sum() / count)
    between = float((sizes * (means - overall) ** 2).sum()) / (groups - 1)
    within = float((np.where(kept, values - means[:, None], 0.0) ** 2).sum()) / (count - groups)
    if within <= 0.0:
        return 0.0 if between > 0.0 else 1.0
    return float(fdtrc(groups - 1, count - groups, between / within))
