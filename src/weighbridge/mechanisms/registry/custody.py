"""Custody in words: what was said about a chip, who answers for it since when, which rule was broken."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from weighbridge.evidence.certificates import Role
from weighbridge.mechanisms.registry.epcis import EventBody, Step

__all__ = ["FOR_OTHERS", "ROLES", "WITNESSES", "Custody", "CustodyEvent", "History", "Mark", "Status"]

ROLES: Final = frozenset(
    {Role.MAKER, Role.DISTRIBUTOR, Role.OPERATOR, Role.REGISTRAR, Role.INSPECTOR, Role.INSPECTORATE}
)
"""Who may sign custody events at all."""
FOR_OTHERS: Final = frozenset({Role.REGISTRAR, Role.INSPECTORATE})
"""Who may write down what another party did."""
WITNESSES: Final = frozenset({Role.INSPECTOR, Role.INSPECTORATE})
"""Who certifies a destruction."""


class Status(StrEnum):
    """What state a chip is in."""

    HELD = "held"
    IN_TRANSIT = "in transit"
    INSTALLED = "installed"
    DESTROYED = "destroyed"


@dataclass(frozen=True, kw_only=True)
class CustodyEvent:
    """A verified custody event: what was said, and by whom.

    Attributes:
        statement: id of the signed statement.
        body: what it says.
        issuer: name of the signer.
        role: role of the signer.
        issued_at: Unix seconds by the signer's clock.
    """

    statement: str
    body: EventBody
    issuer: str
    role: Role
    issued_at: float

    @property
    def speaks_for_party(self) -> bool:
        """Whether the signer may say this: the party itself, the registrar, or the witness of a destruction."""
        return (
            self.issuer == self.body.party
            or self.role in FOR_OTHERS
            or (self.role in WITNESSES and self.body.step is Step.DESTROYED)
        )


@dataclass(frozen=True, kw_only=True)
class Custody:
    """Who answers for a chip from ``since`` on.

    Attributes:
        holder: the party that answers for it; while in transit still the sender.
        status: held, in transit, installed or destroyed.
        since: Unix seconds, by the signers' word.
        addressee: to whom it is under way, while in transit.
        location: the site last named.
        certified: destroyed, and an inspector signed that; otherwise it counts as working.
        evidence: ids of the statements that say so.
    """

    holder: str
    status: Status
    since: float
    addressee: str | None = None
    location: str | None = None
    certified: bool = False
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A rule that an event broke.

    Attributes:
        check: name of the check, without ``registry.``.
        reason: one sentence for a person.
        evidence: ids of the statements concerned.
        word_only: nothing contradicts it, but it rests on somebody's word: inconclusive, not failed.
    """

    check: str
    reason: str
    evidence: tuple[str, ...]
    word_only: bool = False


@dataclass(frozen=True, kw_only=True)
class History:
    """All that is known of one chip.

    Attributes:
        chip: its id.
        states: who answered for it, oldest first.
        marks: rules that were broken.
        makers: names of those who commissioned it (a registrar's entry included).
        pre_registry: no maker signed its origin, only the registrar.
        serial: the maker's serial number, if stated.
        destroyed_at: time of the first destruction, certified or only claimed.
        events: every event in effect, in the order taken.
        voided: events that were corrected, with their corrections.
    """

    chip: str
    states: tuple[Custody, ...]
    marks: tuple[Mark, ...]
    makers: tuple[str, ...]
    pre_registry: bool
    serial: str | None
    destroyed_at: float | None
    events: tuple[CustodyEvent, ...]
    voided: tuple[CustodyEvent, ...]

    def at(self, time: float) -> Custody | None:
        """Returns who answered for the chip at a time (Unix seconds), or None before anything is known."""
        found = None
        for state in self.states:
            if state.since > time:
                break
            found = state
        return found
