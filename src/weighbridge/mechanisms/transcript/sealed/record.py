"""What leaves the sealed room: one record of fixed size, whose every field is drawn from a small, fixed set.

The room's answer is believed in nothing but this form: bytes that are not a record are none, so that even a room taken
over by what it read can say no more than :func:`most_bits` bits (docs/sealed.md). No text, path, name, count or digest
has a place in it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome

__all__ = ["CHECKS", "RECORD_BYTES", "REPLAYED_LEVELS", "SealedRecord", "most_bits", "padded", "unpadded"]

RECORD_BYTES: Final = 1024
REPLAYED_LEVELS: Final = 16
"""Levels of the share of steps replayed: 4 bits."""

CHECKS: Final = (
    "open",
    "binding",
    "journal",
    "segments",
    "steps",
    "complete",
    "receipts",
    "log",
    "environment",
    "parent",
    "initial-state",
    "replay",
    "replay-threads",
    "replay-time",
    "replay-share",
    "other",
)
"""Every check of a verification, in this order; ``other`` is the worst of those that are not named here."""

_SAID_WHEN_WRONG: Final = frozenset(
    {"open", "binding", "segments", "complete", "replay-threads", "replay-share", "other"}
)
"""Checks that make a finding only where something is amiss."""

_NEEDED: Final = ("journal", "initial-state", "replay")
_NOT_MADE: Final = "not made"
_OUTCOMES: Final = (_NOT_MADE, *(str(outcome.value) for outcome in (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL)))
_FORMAT: Final = "weighbridge sealed record 1"
_PREFIX: Final = "transcript."


def padded(data: Mapping[str, Any], size: int) -> bytes:
    """Returns canonical JSON followed by spaces and a line end: exactly ``size`` bytes."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(text) >= size:
        raise ValueError("longer than what leaves the room")
    return text + b" " * (size - 1 - len(text)) + b"\n"


def unpadded(raw: bytes, size: int, where: str) -> dict[str, Any]:
    """Returns what :func:`padded` wrote.

    Raises:
        EvidenceError: it is of another size, no JSON object, or not in its one spelling.
    """
    try:
        data = json.loads(raw.decode("ascii"))
        whole = isinstance(data, dict) and padded(data, size) == raw
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise EvidenceError(f"is no record of {size} bytes in its one spelling", where=where)
    assert isinstance(data, dict)
    return data


@dataclass(frozen=True)
class SealedRecord:
    """The outcome of each check, and how much was replayed.

    Attributes:
        outcomes: of :data:`CHECKS`, in their order.
        replayed: share of the run's steps that was replayed, in fifteenths, rounded down.
    """

    outcomes: tuple[str, ...]
    replayed: int

    @classmethod
    def of(cls, findings: Iterable[Finding], *, share: float) -> "SealedRecord":
        """Returns the record of a verification's findings: reasons, figures, names and steps are dropped.

        Args:
            findings: what was found.
            share: of the run's steps, how much was drawn to be replayed.
        """
        worst: dict[str, str] = {}
        for finding in findings:
            name = finding.check.removeprefix(_PREFIX)
            name = name if name in CHECKS else "other"
            worst[name] = max(worst.get(name, _NOT_MADE), str(finding.outcome.value), key=_OUTCOMES.index)
        opened = "open" not in worst
        outcomes = tuple(
            worst.get(name, Outcome.PASS.value if opened and name in _SAID_WHEN_WRONG else _NOT_MADE) for name in CHECKS
        )
        levels = math.floor(share * (REPLAYED_LEVELS - 1)) if "replay" in worst else 0
        return cls(outcomes, levels)

    @classmethod
    def nothing(cls) -> "SealedRecord":
        """Returns the record of a room that did not answer, whatever the reason was."""
        return cls((_NOT_MADE,) * len(CHECKS), 0)

    @property
    def verdict(self) -> Outcome:
        """Fails if one check failed; passes if none is open, and those that carry the verdict were made."""
        named = dict(zip(CHECKS, self.outcomes, strict=True))
        if Outcome.FAIL.value in self.outcomes:
            return Outcome.FAIL
        unmade = any(named[name] == _NOT_MADE for name in _NEEDED)
        return Outcome.INCONCLUSIVE if unmade or Outcome.INCONCLUSIVE.value in self.outcomes else Outcome.PASS

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "checks": [[name, outcome] for name, outcome in zip(CHECKS, self.outcomes, strict=True)],
            "format": _FORMAT,
            "replayed_fifteenths": self.replayed,
            "verdict": self.verdict.value,
        }

    def encode(self) -> bytes:
        """Returns the record in its one spelling, :data:`RECORD_BYTES` long."""
        return padded(self.as_dict(), RECORD_BYTES)

    @classmethod
    def from_dict(cls, data: Any, where: str = "record") -> "SealedRecord":
        """Reads :meth:`as_dict`'s data, believing nothing.

        Raises:
            EvidenceError: it is not what a record's own data would be.
        """
        try:
            record = cls(tuple(outcome for _, outcome in data["checks"]), data["replayed_fifteenths"])
            holds = (
                all(outcome in _OUTCOMES for outcome in record.outcomes)
                and type(record.replayed) is int
                and 0 <= record.replayed < REPLAYED_LEVELS
                and record.as_dict() == data
            )
        except (KeyError, TypeError, ValueError):
            holds = False
        if not holds:
            raise EvidenceError("is no record of the sealed room", where=where)
        return record

    @classmethod
    def decode(cls, raw: bytes, where: str = "record") -> "SealedRecord":
        """Reads a record.

        Raises:
            EvidenceError: the bytes are not a record in its one spelling.
        """
        return cls.from_dict(unpadded(raw, RECORD_BYTES, where), where)


def most_bits() -> int:
    """Returns how many bits one record can carry at most."""
    return math.ceil(math.log2(len(_OUTCOMES) ** len(CHECKS) * REPLAYED_LEVELS))
