"""The plan of a visit and its opening: fixed and signed before anybody enters."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.statement import Statement
from weighbridge.mechanisms.inspection.record import is_time

__all__ = ["CHECKS", "MOST_VISITS", "OPENING", "PLAN", "Opening", "VisitPlan", "challenge_nonce"]

PLAN, OPENING = "visit-plan", "visit-opening"
CHECKS = ("serial", "challenge", "readout", "seal")
"""What may be required of a drawn item before it counts as verified."""
MOST_VISITS = 20
"""Challenge inspections a year on one party's territory (Scher et al., arXiv 2511.10783, article X(3))."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_ITEMS = 5_000  # facts of each stand in the plan, and a statement holds 1 MiB


@dataclass(frozen=True, kw_only=True)
class VisitPlan:
    """What a visit is to do.

    Attributes:
        draw: id of the ``draw`` statement.
        site: name of the place.
        notified_at: Unix seconds at which the party was told to give access: the clocks start.
        team: key ids of the inspectors who may sign for the visit, by name.
        checks: what an item must pass to count as verified.
        items: the drawn items in the order drawn, each with the facts of the frozen list.
        reserves: the reserves likewise.
        reasons: for which reasons an item may be replaced.
        camera_gap_s: longest gap in footage that is not a finding, seconds.
        visits_this_year: challenge inspections on the territory this year, this one included; None: not of that kind.
        territory: whose territory, for challenge inspections; the year is the calendar's, UTC, of the notice.
    """

    draw: str
    site: str
    notified_at: int
    team: Mapping[str, str]
    checks: tuple[str, ...]
    items: tuple[Mapping[str, str], ...]
    reserves: tuple[Mapping[str, str], ...] = ()
    reasons: tuple[str, ...] = ("destroyed", "in transit", "under repair")
    camera_gap_s: float = 60.0
    visits_this_year: int | None = None
    territory: str | None = None

    def __post_init__(self) -> None:
        _text(self.site, "site")
        for name in ("items", "reserves"):
            for item in getattr(self, name):
                if (
                    not isinstance(item, Mapping)
                    or not all(isinstance(v, str) for v in item.values())
                    or "id" not in item
                ):
                    raise InputError("is a list of items, each with its id", where="visit plan", field=name)
        ids = self.ids
        if len(ids) > _MOST_ITEMS:
            raise InputError(
                f"has {len(ids)} items and reserves, and a plan holds {_MOST_ITEMS}",
                where="visit plan",
                field="items",
                mend="draw for each site apart",
            )
        holds = {
            "draw": _is_digest(self.draw),
            "notified_at": is_time(self.notified_at),
            "team": bool(self.team) and all(_is_digest(key) and isinstance(n, str) for key, n in self.team.items()),
            "checks": bool(self.checks) and len(set(self.checks)) == len(self.checks) and set(self.checks) <= {*CHECKS},
            "items": bool(self.items) and len(set(ids)) == len(ids),
            "reasons": all(isinstance(reason, str) and reason for reason in self.reasons),
            "camera_gap_s": type(self.camera_gap_s) is float and 0 <= self.camera_gap_s < 1e6,
            "visits_this_year": self.visits_this_year is None or type(self.visits_this_year) is int,
        }
        for name, good in holds.items():
            if not good:
                raise InputError("makes no sense in a plan", where="visit plan", field=name)
        if self.territory is not None:
            _text(self.territory, "territory")
        if (self.territory is None) != (self.visits_this_year is None):
            raise InputError(
                "a challenge inspection has both a number and a territory, another visit neither",
                where="visit plan",
                field="territory",
            )
        if self.visits_this_year is not None and not 1 <= self.visits_this_year <= MOST_VISITS:
            raise InputError(
                f"would be visit {self.visits_this_year} this year; a territory has at most {MOST_VISITS}",
                where="visit plan",
                field="visits_this_year",
            )

    @property
    def ids(self) -> list[str]:
        """Ids of the drawn items and the reserves, in order."""
        return [item["id"] for item in (*self.items, *self.reserves)]

    def fact(self, item: str, name: str) -> str | None:
        """Returns one fact of an item of the frozen list, or None."""
        return next((dict(row).get(name) for row in (*self.items, *self.reserves) if row["id"] == item), None)

    def as_payload(self) -> dict[str, Any]:
        """Returns the statement's payload."""
        lists = {name: list(getattr(self, name)) for name in ("checks", "items", "reserves", "reasons")}
        return {**self.__dict__, **lists, "team": dict(self.team)}

    @classmethod
    def from_statement(cls, statement: Statement) -> Self:
        """Reads the plan in a verified statement.

        Raises:
            EvidenceError: a field is absent, unknown or senseless.
        """
        payload = _fields(statement, PLAN, set(cls.__dataclass_fields__))
        try:
            lists = {name: tuple(payload[name]) for name in ("checks", "items", "reserves", "reasons")}
            return cls(**{**payload, **lists})
        except (InputError, TypeError, AttributeError) as error:
            raise EvidenceError(f"is no plan: {error}", where=f"plan {statement.id[:16]}") from error


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The moment from which the visit's clock runs on site.

    Attributes:
        visit: id of the plan.
        at: Unix seconds.
        access_at: Unix seconds at which access was given; None while it is refused.
        arrived_at: Unix seconds at which the team left an international airport's gate; None if it came otherwise.
        place: where.
        present: who, on both sides.
        fresh: 32 random bytes, hex: the nonces of all challenges follow from them.
    """

    visit: str
    at: int
    access_at: int | None
    arrived_at: int | None = None
    place: str
    present: tuple[str, ...] = field(default=())
    fresh: str

    def as_payload(self) -> dict[str, Any]:
        """Returns the statement's payload."""
        return {**self.__dict__, "present": list(self.present)}

    @classmethod
    def from_statement(cls, statement: Statement) -> Self:
        """Reads the opening in a verified statement.

        Raises:
            EvidenceError: a field is absent, unknown or senseless.
        """
        payload = _fields(statement, OPENING, set(cls.__dataclass_fields__))
        where = f"opening {statement.id[:16]}"
        times = [payload["at"], *(t for t in (payload["access_at"], payload["arrived_at"]) if t is not None)]
        if not all(is_time(time) for time in times):
            raise EvidenceError("is not a time in Unix seconds", where=where, field="at")
        texts = [payload["visit"], payload["place"], payload["fresh"]]
        names = payload["present"]
        if not isinstance(names, list) or not all(isinstance(text, str) for text in (*texts, *names)):
            raise EvidenceError("holds what is not text", where=where)
        if not _is_digest(payload["fresh"]):
            raise EvidenceError("is not 32 bytes in hexadecimal", where=where, field="fresh")
        return cls(**{**payload, "present": tuple(names)})


def challenge_nonce(opening: Opening, item: str) -> str:
    """Returns the nonce that an item must answer, hex: nobody knew it before the visit was opened."""
    fresh = bytes.fromhex(opening.fresh)
    return hashlib.sha256(b"weighbridge/visit-challenge/1\0" + fresh + item.encode()).hexdigest()


def _fields(statement: Statement, kind: str, names: set[str]) -> Mapping[str, Any]:
    where = f"{kind} {statement.id[:16]}"
    if statement.kind != kind:
        raise EvidenceError(f"is a {statement.kind}", where=where, field="kind")
    if set(statement.payload) != names:
        odd = ", ".join(sorted(set(statement.payload) ^ names))[:120]
        raise EvidenceError(f"fields absent or unknown: {odd}", where=where)
    return statement.payload


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _text(value: object, name: str) -> None:
    if not isinstance(value, str) or not value.strip() or len(value) > 256 or not value.isprintable():
        raise InputError("is not a printable text of 1 to 256 characters", where="visit plan", field=name)
