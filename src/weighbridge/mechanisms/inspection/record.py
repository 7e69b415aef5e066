"""What an inspector may put on record, and the fields of each; records form a chain that begins at the opening."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.statement import Statement

__all__ = ["ABOUT_ITEMS", "CORRECTED", "FORMS", "RECORD", "VisitRecord", "is_time"]

RECORD = "visit-record"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST = 2_000  # characters of a note


def _text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and all(c.isprintable() or c == "\n" for c in value)


def _text_or_none(value: object) -> bool:
    return value is None or _text(value)


def _digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _digest_or_none(value: object) -> bool:
    return value is None or _digest(value)


def is_time(value: object) -> bool:
    """Returns whether a value is a time in whole Unix seconds that a calendar holds (to the year 6325)."""
    return type(value) is int and 0 < value < 1 << 37


def _count(value: object) -> bool:
    return type(value) is int and value >= 0


def _boolean(value: object) -> bool:
    return type(value) is bool


def _footage(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(part, Mapping)
        and set(part) == {"from", "to", "sha256"}
        and is_time(part["from"])
        and is_time(part["to"])
        and part["from"] < part["to"]
        and _digest(part["sha256"])
        for part in value
    )


Form = Mapping[str, Callable[[object], bool]]
FORMS: Mapping[str, Form] = {
    "serial": {"physical": _text_or_none, "digital": _text_or_none, "photo": _digest_or_none},
    "challenge": {"answer": _digest},
    "readout": {"digest": _digest, "records": _count},
    "seal": {"seal": _text, "found": _text_or_none, "intact": _boolean, "photo": _digest_or_none},
    "camera": {"camera": _text, "from": is_time, "to": is_time, "footage": _footage},
    "tamper": {"sign": _text, "photo": _digest_or_none},
    "refusal": {"of": _text, "by": _text, "reason": _text_or_none},
    "silence": {"asked": _text, "asked_at": is_time},
    "replacement": {"by": _text, "reason": _text},
    "access": {},
    "dispute": {"text": _text},
    "acknowledgement": {"about": _count},
    "clarification": {"about": _count, "text": _text},
    "correction": {"about": _count, "text": _text},
    "note": {"text": _text},
}
"""Kinds of record, with the fields of each. ``about`` is the number of the record that a dispute began with, or that
its own signer takes back."""

CORRECTED = frozenset({"serial", "seal"})
"""Kinds that may be taken back: what an inspector reads and types. What others did or refused stays as it is."""

ABOUT_ITEMS = frozenset({"serial", "challenge", "readout", "seal", "replacement"})
"""Kinds that are always about an item; camera, access, correction, dispute and its answers never are; others may."""
_ABOUT_NONE = frozenset({"camera", "access", "dispute", "acknowledgement", "clarification", "correction"})


@dataclass(frozen=True, kw_only=True)
class VisitRecord:
    """One thing that an inspector saw, was told or was refused.

    Attributes:
        visit: id of the plan.
        sequence: 0 for the first, then one more each.
        previous: statement id of the record before; of the opening for the first.
        at: when it happened, Unix seconds by the inspector's clock.
        item: the item that it is about, or None.
        what: the kind, one of :data:`FORMS`.
        details: the fields of that kind.
    """

    visit: str
    sequence: int
    previous: str
    at: int
    item: str | None
    what: str
    details: Mapping[str, Any]

    def __post_init__(self) -> None:
        where = f"record {self.sequence}"
        if not isinstance(self.what, str) or self.what not in FORMS:
            raise InputError(f"is none of {', '.join(FORMS)}", where=where, field="what")
        if not is_time(self.at):
            raise InputError("is not a time in whole Unix seconds", where=where, field="at")
        if not _count(self.sequence) or not _digest(self.previous) or not _digest(self.visit):
            raise InputError("has no proper place in the chain", where=where)
        if self.item is not None and not _text(self.item):
            raise InputError("is not an item's id", where=where, field="item")
        if self.what in ABOUT_ITEMS and self.item is None:
            raise InputError(f"a {self.what} is about an item", where=where, field="item", mend="name the item")
        if self.what in _ABOUT_NONE and self.item is not None:
            raise InputError(f"a {self.what} is about no single item", where=where, field="item", mend="name none")
        form = FORMS[self.what]
        if not isinstance(self.details, Mapping) or set(self.details) != set(form):
            given = ", ".join(sorted(self.details)) if isinstance(self.details, Mapping) else "nothing"
            wanted = ", ".join(form) or "no fields"
            raise InputError(f"a {self.what} has {wanted}; given: {given or 'nothing'}", where=where, field="details")
        for name, holds in form.items():
            if not holds(self.details[name]):
                raise InputError(f"does not fit a {self.what}", where=where, field=name)
        if self.what == "camera" and self.details["from"] >= self.details["to"]:
            raise InputError("footage ends before it begins", where=where, field="to")

    def as_payload(self) -> dict[str, Any]:
        """Returns the statement's payload."""
        return {**self.__dict__, "details": dict(self.details)}

    @classmethod
    def from_statement(cls, statement: Statement) -> Self:
        """Reads the record in a verified statement.

        Raises:
            EvidenceError: another kind, or a field is absent, unknown or senseless.
        """
        where = f"record {statement.id[:16]}"
        if statement.kind != RECORD or set(statement.payload) != set(cls.__dataclass_fields__):
            raise EvidenceError("is not a visit's record", where=where)
        try:
            return cls(**statement.payload)
        except InputError as error:
            raise EvidenceError(error.what, where=where, field=error.field) from error
