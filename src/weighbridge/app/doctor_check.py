"""What one line of ``weighbridge doctor`` is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["PURPOSES", "Check", "Found", "State", "made"]

PURPOSES = ("recording", "verifying", "chip", "planning")
"""What a machine can be asked to do."""


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


@dataclass(frozen=True)
class Found:
    """One line.

    Attributes:
        name: what was looked at.
        state: ``missing`` where its purposes cannot be served.
        says: what was found, in words.
        mend: what to do about it.
        purposes: of :data:`PURPOSES`, those that it matters for; none for what only the tests need.
    """

    name: str
    state: State
    says: str
    mend: str = ""
    purposes: tuple[str, ...] = PURPOSES


@dataclass(frozen=True)
class Check:
    """A check to be made: its name, what it matters for, and how."""

    name: str
    purposes: tuple[str, ...]
    look: Callable[[], tuple[State, str, str]]
    """Returns the state, what was found, and the mend."""


def made(checks: Iterable[Check], wanted: Iterable[str]) -> list[Found]:
    """Makes the checks that matter for what is wanted; all of them if nothing is named.

    A check that itself fails is a finding: it could not be made, so what it asks for counts as missing.
    """
    asked = set(wanted)
    found = []
    for check in checks:
        if asked and not asked & set(check.purposes):
            continue
        try:
            state, says, mend = check.look()
        except Exception as error:  # whatever is wrong with this machine, the other checks are still made
            says = f"could not be checked ({type(error).__name__}: {error})"
            state, mend = State.MISSING, "mend what it names, and ask again"
        found.append(Found(check.name, state, " ".join(says.split()), " ".join(mend.split()), check.purposes))
    return found
