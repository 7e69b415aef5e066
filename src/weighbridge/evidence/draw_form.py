"""What is signed for a draw, in the order in which it has to be said (protocol section 5).

1. ``draw-commitment``: each of two parties commits to a random share; for commit-reveal only.
2. ``draw-frame``: the inspector freezes the population and names sample size, source of chance, purpose and period.
3. ``draw-share``: a party's share, for this frame and no other.
4. ``draw``: what the source gave, the seed that follows, and who was drawn.

Each names what came before by its statement id, so that shares are provably younger than the frame, and commitments
older, without any clock. A beacon's round has no such link: there the log's receipt must show that the frame came
first.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.statement import Statement

__all__ = [
    "COMMITMENT",
    "DRAW",
    "FRAME",
    "MOST_DRAWN",
    "SHARE",
    "SOURCES",
    "Frame",
    "require_fields",
    "share_commitment",
    "shares_value",
    "vrf_input",
]

COMMITMENT, FRAME, SHARE, DRAW = "draw-commitment", "draw-frame", "draw-share", "draw"
SOURCES: Mapping[str, frozenset[str]] = {
    "drand": frozenset({"kind", "chain", "round"}),
    "ecvrf": frozenset({"kind", "key", "challenger"}),
    "commit-reveal": frozenset({"kind", "commitments"}),
}
"""Sources of chance, with the fields by which a frame announces each."""

MOST_DRAWN = 10_000
"""Items and reserves of one draw: with ids of 64 digits the statement stays under its 1 MiB."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = frozenset({"purpose", "period", "population", "size", "count", "reserves", "source", "reveal_by"})


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frozen population, and everything about its draw that can be said before the seed exists.

    Attributes:
        purpose: what is drawn for, such as ``visit``.
        period: for which period; one draw for a purpose and period.
        population: the population's commitment, hex.
        size: items in it.
        count: items to be drawn.
        reserves: further items to be drawn as replacements, in order.
        source: the source of chance: ``kind`` and what announces it (:data:`SOURCES`).
        reveal_by: Unix seconds by which every party must have opened its share; None for a beacon.
    """

    purpose: str
    period: str
    population: str
    size: int
    count: int
    reserves: int
    source: Mapping[str, Any]
    reveal_by: int | None = None

    def __post_init__(self) -> None:
        for name in ("purpose", "period"):
            value = getattr(self, name)
            # One spelling: a second frame must not pass for another purpose by a space.
            if not isinstance(value, str) or value.split() != value.split(" ") or not 0 < len(value) <= 128:
                raise InputError("is not a text of 1 to 128 characters with single spaces", where="frame", field=name)
            if not value.isprintable():
                raise InputError("is not printable", where="frame", field=name)
        for name, least in (("size", 1), ("count", 1), ("reserves", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"is not a whole number of at least {least}", where="frame", field=name)
        if self.count + self.reserves > self.size:
            raise InputError(
                f"{self.count} and {self.reserves} in reserve are more than the {self.size} there are",
                where="frame",
                field="count",
            )
        if self.count + self.reserves > MOST_DRAWN:
            raise InputError(
                f"more than {MOST_DRAWN:,} are to be drawn", where="frame", field="count", mend="draw by stages"
            )
        if not _is_digest(self.population):
            raise InputError("is not a digest", where="frame", field="population")
        _check_source(self.source)
        beacon = self.source["kind"] == "drand"
        if beacon != (self.reveal_by is None) or not (beacon or type(self.reveal_by) is int):
            raise InputError("shares are opened by a time, a beacon by itself", where="frame", field="reveal_by")

    def as_payload(self) -> dict[str, Any]:
        """Returns the statement's payload."""
        return {**self.__dict__, "source": dict(self.source)}

    @classmethod
    def from_statement(cls, statement: Statement) -> Self:
        """Reads the frame in a verified statement.

        Raises:
            EvidenceError: it is another kind, or a field is absent, unknown or senseless.
        """
        payload = require_fields(statement, FRAME, _FIELDS)
        try:
            return cls(**payload)
        except InputError as error:
            raise EvidenceError(error.what, where=f"frame {statement.id[:16]}", field=error.field) from error


def require_fields(statement: Statement, kind: str, fields: frozenset[str]) -> Mapping[str, Any]:
    """Returns a statement's payload if it is of the kind and has exactly these fields.

    Raises:
        EvidenceError: it is not or has not.
    """
    where = f"{kind} {statement.id[:16]}"
    if statement.kind != kind:
        raise EvidenceError(f"is a {statement.kind}", where=where, field="kind")
    if set(statement.payload) != fields:
        odd = ", ".join(sorted(set(statement.payload) ^ fields))[:120]
        raise EvidenceError(f"fields absent or unknown: {odd}", where=where)
    return statement.payload


def share_commitment(share: bytes, *, key_id: str) -> str:
    """Returns a party's commitment to its share, hex; with its key in it, nobody can repeat another's commitment."""
    return hashlib.sha256(b"weighbridge/draw-share/1\0" + bytes.fromhex(key_id) + share).hexdigest()


def shares_value(shares: Mapping[str, bytes]) -> bytes:
    """Returns what the parties' shares give together, in the order of their keys' ids."""
    joined = b"".join(bytes.fromhex(key_id) + shares[key_id] for key_id in sorted(shares))
    return hashlib.sha256(b"weighbridge/draw-shares/1\0" + joined).digest()


def vrf_input(frame_id: str, share: bytes) -> bytes:
    """Returns alpha: the frame, and the challenger's share that came after it.

    Without the share whoever holds the key could try frames until one draws as wished.
    """
    return b"weighbridge/draw-vrf/1\0" + bytes.fromhex(frame_id) + share


def _check_source(source: object) -> None:
    kind = source.get("kind") if isinstance(source, Mapping) else None
    if not isinstance(source, Mapping) or not isinstance(kind, str) or frozenset(source) != SOURCES.get(kind):
        raise InputError(f"is none of {', '.join(SOURCES)} with its fields", where="frame", field="source")
    if kind == "drand":
        if not _is_digest(source["chain"]) or type(source["round"]) is not int or source["round"] < 1:
            raise InputError("names no round of a chain", where="frame", field="source")
    elif kind == "ecvrf":
        if not _is_digest(source["key"]) or not _is_digest(source["challenger"]):
            raise InputError("names no key, or no challenger's key id", where="frame", field="source")
    else:
        named = source["commitments"]
        if not isinstance(named, list) or not all(_is_digest(n) for n in named) or len(set(named)) != len(named) != 0:
            raise InputError("commitments are statement ids, each once", where="frame", field="source")
        if len(named) < 2:
            raise InputError("commit-reveal takes two parties or more", where="frame", field="source")


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None
