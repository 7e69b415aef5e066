"""How far two honest replays of one workload lie apart, and what an adversary could hide within it. Pure arithmetic.

Distances are relative to the update: ``|W' - W| / |W - W_start|`` over a stretch of n steps, of weights, buffers and
optimizer state separately. Rounding noise adds up like a random walk
and the update does not shrink, so a distance grows about as ``sqrt(n)`` (measured: 1.1e-6, 1.9e-6, 4.0e-6 at 3, 10 and
40 steps); each is divided by that, and the exponent that the repeats show is printed beside it.

The bound is a one-sided tolerance limit of the logarithms, taken as normal: mean + k deviations, with
``k = t'(confidence; n - 1, z sqrt(n)) / sqrt(n)`` by the noncentral t distribution (Owen 1958). Of honest replays a
share ``COVERAGE`` lies below it, at ``CONFIDENCE``. Three repeats make k = 13.9: the bound is then many times the
largest distance seen, which is what three repeats are worth; six make it 6.6.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["GROUPS", "Repeat", "Tolerance", "distances", "tolerance_factor"]

COVERAGE: Final = 0.999
CONFIDENCE: Final = 0.95
FEWEST: Final = 3
"""Repeats below which no tolerance is given."""

EXPONENT: Final = 0.5
WIDE: Final = 5e-4
"""Bound, relative to the update, above which within it is no pass: a learning rate 0.1 % off moves them by 1.0e-3."""

GROUPS: Final = ("weights", "buffers", "optimizer")


@dataclass(frozen=True)
class Repeat:
    """One replay by the verifier in another configuration than its own.

    Attributes:
        configuration: what was different, in words.
        start: first step of the stretch.
        steps: its length.
        distances: by group, distance from the verifier's usual replay over the update.
    """

    configuration: str
    start: int
    steps: int
    distances: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "configuration": self.configuration,
            "start": self.start,
            "steps": self.steps,
            "distances": dict(self.distances),
        }


@dataclass(frozen=True)
class Tolerance:
    """What repeats of one group allow.

    Attributes:
        group: weights, buffers or optimizer.
        repeats: replays that differed.
        largest: largest distance over sqrt(steps) among them.
        per_root_step: the bound over sqrt(steps).
        exponent: growth with steps that the repeats show; NaN where all are of one length.
    """

    group: str
    repeats: int
    largest: float
    per_root_step: float
    exponent: float

    @classmethod
    def of(cls, group: str, repeats: Iterable[Repeat]) -> "Tolerance":
        """Fits a group's bound; 0, which is bit equality, where no repeat differs.

        Of one configuration and stretch, several lengths are one repeat: the largest counts.

        Raises:
            InputError: fewer than three repeats, or fewer than three that differ where one does.
        """
        seen = [repeat for repeat in repeats if group in repeat.distances]
        highest: dict[tuple[str, int], float] = {}
        for repeat in seen:
            key = repeat.configuration, repeat.start
            scaled = repeat.distances[group] / repeat.steps**EXPONENT
            highest[key] = max(highest.get(key, 0.0), scaled)
        values = [value for value in highest.values() if value > 0]
        if len(highest) < FEWEST or 0 < len(values) < FEWEST:
            raise InputError(
                f"{len(values)} of {len(highest)} repeats differ in {group}, and a tolerance needs {FEWEST}",
                where="calibration",
                mend="leave more segments undrawn, or calibrate where more configurations differ",
            )
        if not values:
            return cls(group, len(highest), 0.0, 0.0, math.nan)
        if not all(math.isfinite(value) for value in values):
            raise InputError(f"repeats differ in {group} without limit", where="calibration")
        logs = [math.log(value) for value in values]
        mean = math.fsum(logs) / len(logs)
        deviation = math.sqrt(math.fsum((log - mean) ** 2 for log in logs) / (len(logs) - 1))
        bound = math.exp(min(700.0, mean + tolerance_factor(len(logs)) * deviation))
        return cls(group, len(values), max(values), max(bound, max(values)), _exponent(seen, group))

    def bound(self, steps: int) -> float:
        """Returns the distance allowed over so many steps, relative to the update."""
        return float(self.per_root_step * steps**EXPONENT)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "group": self.group,
            "repeats": self.repeats,
            "largest_per_root_step": self.largest,
            "bound_per_root_step": self.per_root_step,
            "exponent": None if math.isnan(self.exponent) else self.exponent,
            "coverage": COVERAGE,
            "confidence": CONFIDENCE,
        }


def tolerance_factor(repeats: int, *, coverage: float = COVERAGE, confidence: float = CONFIDENCE) -> float:
    """Returns k of the one-sided normal tolerance limit mean + k deviations (Owen 1958).

    Published: 7.656 for n = 3, coverage 0.95, confidence 0.95; 3.187 for n = 7 at 0.95 and 0.95 is 3.399 (NIST
    handbook, section 7.2.6.3).

    Raises:
        InputError: fewer than two repeats.
    """
    from scipy.stats import nct, norm

    if repeats < 2:
        raise InputError("needs at least two repeats", field="repeats")
    root = math.sqrt(repeats)
    return float(nct.ppf(confidence, repeats - 1, norm.ppf(coverage) * root) / root)


def _exponent(repeats: Sequence[Repeat], group: str) -> float:
    """Returns the least-squares slope of log distance on log steps, within configuration and stretch."""
    sides: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for repeat in repeats:
        if repeat.distances[group] > 0:
            point = math.log(repeat.steps), math.log(repeat.distances[group])
            sides.setdefault((repeat.configuration, repeat.start), []).append(point)
    above = below = 0.0
    for points in sides.values():
        x, y = (math.fsum(values) / len(points) for values in zip(*points, strict=True))
        above += math.fsum((a - x) * (b - y) for a, b in points)
        below += math.fsum((a - x) ** 2 for a, _ in points)
    return above / below if below > 0 else math.nan


def distances(start: TrainingState, one: TrainingState, other: TrainingState) -> dict[str, float]:
    """Returns how far ``other`` lies from ``one``, over how far ``one`` lies from ``start``, by group.

    What must be equal in any arithmetic (names, shapes, formats, counters, whole numbers, generators) makes every
    group infinitely far if it is not; so does an update of nothing where the two differ.
    """
    apart: dict[str, float] = {}
    moved: dict[str, float] = {}
    exact = one.tensors.keys() == other.tensors.keys() and one.plain == other.plain
    for name, tensor in one.tensors.items():
        twin = other.tensors.get(name)
        if twin is None or twin.shape != tensor.shape or twin.dtype != tensor.dtype:
            exact = False
            continue
        if not tensor.is_floating_point():
            exact = exact and torch.equal(tensor, twin)
            continue
        group = _group(name)
        begin = start.tensors.get(name)
        origin = begin.double() if begin is not None and begin.shape == tensor.shape else torch.zeros(())
        apart[group] = apart.get(group, 0.0) + float(torch.sum((twin.double() - tensor.double()) ** 2))
        moved[group] = moved.get(group, 0.0) + float(torch.sum((tensor.double() - origin) ** 2))
    if not exact:
        return dict.fromkeys({"weights", *apart}, math.inf)
    return {group: _ratio(apart[group], moved[group]) for group in apart}


def length_of_update(start: TrainingState, end: TrainingState) -> float:
    """Returns the Euclidean length of the weights' change."""
    return math.sqrt(
        math.fsum(
            float(torch.sum((tensor.double() - start.tensors[name].double()) ** 2))
            for name, tensor in end.tensors.items()
            if "/parameter/" in name and name in start.tensors and start.tensors[name].shape == tensor.shape
        )
    )


def _group(name: str) -> str:
    return "weights" if "/parameter/" in name else "buffers" if "/buffer/" in name else "optimizer"


def _ratio(apart: float, moved: float) -> float:
    if apart == 0.0:
        return 0.0
    return math.sqrt(apart / moved) if moved > 0 and math.isfinite(apart) else math.inf
