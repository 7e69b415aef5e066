"""What the attempts of all forgeries share: a field, stolen weights, and how a judgement becomes a trial."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weighbridge.attacks.field import Ended, Field, Judgement, Project, Tampering
from weighbridge.attacks.trial import Attack, Trial
from weighbridge.attacks.zygote import shared_zygote
from weighbridge.mechanisms.transcript.anchors import read_anchor

__all__ = [
    "ANCHORED",
    "FROZEN",
    "STEPS",
    "Recipe",
    "distance",
    "end_anchor",
    "opened",
    "stolen",
    "tampered",
    "trial_of",
]

STEPS: Final = 40
ANCHORED: Final = (10, 20, 30)
"""Steps at whose start a run is frozen and so anchored: four segments of ten steps."""

FROZEN: Final[Tampering] = ("frozen_at", {"steps": list(ANCHORED)})
_SUCCESS: Final = 0.02
_OF_ANY_DRAW: Final = ("transcript.replay-share", "transcript.environment")
"""Inconclusive for honest runs just as well."""


@contextmanager
def opened(folder: Path) -> Iterator[Field]:
    """Opens a field in a folder."""
    with Field(folder / "field", shared_zygote()) as field:
        yield field


def end_anchor(run: Path) -> Path:
    """Returns the file of a run's final state."""
    return sorted((run / "anchors").glob("*-end.safetensors"))[-1]


def stolen(project: Project) -> Path:
    """Returns the final state of another training of the same program: weights whose making is to be hidden."""
    return end_anchor(project.train().run)


def distance(one: Path, other: Path) -> float:
    """Returns how far the weights of one anchor are from another's, relative to the other's (l2)."""
    first, second = read_anchor(one).tensors, read_anchor(other).tensors
    names = [name for name in second if "/parameter/" in name]
    apart = sum(float((first[name].double() - second[name].double()).square().sum()) for name in names)
    size = sum(float(second[name].double().square().sum()) for name in names)
    return float((apart / size) ** 0.5)


def trial_of(
    judgement: Judgement, *, cost: float | None, steps: int = STEPS, apart: float | None = None, words: str = ""
) -> Trial:
    """Returns what came of an attempt.

    Args:
        judgement: the verifier's.
        cost: steps that the forger trained, as a share of those declared; None for an honest control.
        steps: steps declared.
        apart: how far the forged weights are from those wanted; within 2 % the forgery did what it was for.
        words: what was seen of it besides.
    """
    reached = "" if apart is None else f"weights {apart:.1e} from those wanted"
    doubts = [check for check in judgement.doubts if check not in _OF_ANY_DRAW]
    doubted = f"doubted by {', '.join(doubts)}" if doubts else ""
    return Trial(
        detected=bool(judgement.caught_by),
        caught_by=judgement.caught_by,
        adversary_cost=cost,
        verifier_cost=judgement.steps / steps,
        reproduced=None if apart is None else apart < _SUCCESS,
        original="; ".join(part for part in (reached, words, doubted) if part),
    )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a run is recorded by a recorder that was tampered with.

    Attributes:
        tampering: told the file of stolen weights (None unless wanted), says what is changed.
        wants: anchor at which the forged weights should be the stolen ones; None where none are stolen.
        cost: steps trained for it, as a share of those declared.
        config: of the program.
        segments: segments that the verifier draws; None for all.
    """

    tampering: Callable[[str], Sequence[Tampering]]
    wants: str | None = None
    cost: float = 1.0
    config: Mapping[str, Any] | None = None
    segments: int | None = None


def tampered(name: str, what: str, *, source: str, expected: str | None, recipe: Recipe) -> Attack:
    """Returns the attack that records one run by a recipe, and has it verified."""

    def attempt(seed: int, folder: Path) -> Trial:
        with opened(folder) as field:
            project = field.project(seed=seed, **(recipe.config or {}))
            target = stolen(project) if recipe.wants else None
            ended: Ended = project.train(tampering=[FROZEN, *recipe.tampering(str(target))])
            apart = distance(ended.run / "anchors" / recipe.wants, target) if recipe.wants and target else None
            draw = seed.to_bytes(32, "big")
            return trial_of(field.judge(ended.run, segments=recipe.segments, seed=draw), cost=recipe.cost, apart=apart)

    return Attack(name=name, what=what, source=source, attempt=attempt, expected=expected)
