"""What one attempt of an attack came to, and what an attack and an honest control are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Attack", "Control", "Trial"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One attempt, at one seed.

    Attributes:
        detected: whether a check failed (of an honest control: whether it was accused).
        caught_by: names of the checks that failed, in their order; empty where none did.
        adversary_cost: what the forgery took, as a share of training the run honestly; None for a control.
        verifier_cost: what verification replayed, as a share of the run's steps.
        reproduced: whether the attack succeeded against its original target; None where it has none.
        original: what was seen there, in words with figures.
    """

    detected: bool
    caught_by: tuple[str, ...]
    adversary_cost: float | None
    verifier_cost: float
    reproduced: bool | None = None
    original: str = ""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack on a transcript.

    Attributes:
        name: words joined by hyphens, as the command line takes them.
        what: what the cheat does, in one sentence.
        source: the paper, or where it was first described.
        attempt: runs it once, from a seed, in an empty folder of its own.
        expected: the check that should catch it; None where nothing does, which is then said.
    """

    name: str
    what: str
    source: str
    attempt: Callable[[int, Path], Trial]
    expected: str | None


@dataclass(frozen=True, kw_only=True)
class Control:
    """An honest run of the kind that an attack imitates: it must not be accused.

    Attributes:
        name: words joined by hyphens.
        what: what is trained, and how.
        attempt: trains and verifies it once, from a seed, in an empty folder of its own.
    """

    name: str
    what: str
    attempt: Callable[[int, Path], Trial]
