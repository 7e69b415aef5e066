"""Custody events in GS1 EPCIS 2.0 / CBV 2.0 JSON-LD: written, read strictly, and corrected.

One event is one bare ``ObjectEvent`` with its ``@context``, the payload of a ``custody-event`` statement:

============= ======= ============ =================================================================
bizStep       action  disposition  parties
============= ======= ============ =================================================================
commissioning ADD     active       ``weighbridge:party`` made the chip (or held it before the registry)
shipping      OBSERVE in_transit   sourceList sends to destinationList (``possessing_party``)
receiving     OBSERVE in_progress  destinationList received from sourceList
installing    OBSERVE active       ``weighbridge:party`` put it to use at bizLocation
destroying    DELETE  destroyed    ``weighbridge:party`` gave it up for destruction
============= ======= ============ =================================================================

Chips, parties and sites are private URNs (CBV 2.0 section 8): ``urn:weighbridge:chip:ID``. The EPCIS schema
accepts any bizStep; this reader only those five. A correction repeats the event with an ``errorDeclaration``
(EPCIS 2.0 section 7.4.1.2); nothing is ever deleted.
"""

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.jsontext import dump_json

__all__ = [
    "KIND",
    "MOST_CHIPS",
    "EventBody",
    "Step",
    "corrected",
    "event_payload",
    "parse_time",
    "read_event",
]

KIND: Final = "custody-event"
# One lorry's worth; with the statement's limit of 1 MiB it bounds what one event can cost to read.
MOST_CHIPS: Final = 4096
_CONTEXT: Final = (
    "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
    {"weighbridge": "urn:weighbridge:ns:"},
)
_CHIP: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
_KEY_ID: Final = re.compile(r"[0-9A-Fa-f]{64}")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2}))?"
)
_EARLIEST, _LATEST = 946_684_800.0, 4_102_444_800.0  # years 2000 to 2100: outside, a clock or a unit is wrong
_ID_NAMESPACE: Final = uuid.UUID("6f1c9d0e-6d2f-5c0b-9c53-0f6b9c0c3a55")


class Step(StrEnum):
    """What happened to a chip, in CBV words."""

    MADE = "commissioning"
    SHIPPED = "shipping"
    RECEIVED = "receiving"
    INSTALLED = "installing"
    DESTROYED = "destroying"


@dataclass(frozen=True)
class _Shape:
    action: str
    disposition: str
    two_parties: bool


_SHAPES: Final[Mapping[Step, _Shape]] = MappingProxyType(
    {
        Step.MADE: _Shape("ADD", "active", False),
        Step.SHIPPED: _Shape("OBSERVE", "in_transit", True),
        Step.RECEIVED: _Shape("OBSERVE", "in_progress", True),
        Step.INSTALLED: _Shape("OBSERVE", "active", False),
        Step.DESTROYED: _Shape("DELETE", "destroyed", False),
    }
)


@dataclass(frozen=True, kw_only=True)
class EventBody:
    """What an event says, before anybody asked who signed it.

    Attributes:
        step: what happened.
        chips: ids of the chips concerned.
        time: when, Unix seconds, by the signer's word.
        party: who did it: the maker, the sender, the receiver, the holder.
        other: the counterpart: the addressee of a shipment, the sender of what was received.
        serial: the maker's serial number, where a single chip was made.
        location: the site.
        event_id: EPCIS eventID.
        error: reason, if this declares the event it repeats to be an error.
        digest: SHA-256 of the event without its error declaration: the same for an event and its correction.
    """

    step: Step
    chips: tuple[str, ...]
    time: float
    party: str
    other: str | None
    serial: str | None
    location: str | None
    event_id: str
    error: str | None
    digest: bytes


_Uri = Annotated[str, Field(min_length=1, max_length=400)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Place(_Model):
    id: _Uri


class _Source(_Model):
    type: Literal["possessing_party"]
    source: _Uri


class _Destination(_Model):
    type: Literal["possessing_party"]
    destination: _Uri


class _Error(_Model):
    declaration_time: Annotated[str, Field(alias="declarationTime", max_length=40)]
    reason: Literal["incorrect_data", "did_not_occur"]
    corrective: Annotated[list[_Uri], Field(alias="correctiveEventIDs", max_length=64)] = []


class _Event(_Model):
    context: Annotated[Any, Field(alias="@context")]
    type: Literal["ObjectEvent"]
    event_id: Annotated[_Uri, Field(alias="eventID")]
    event_time: Annotated[str, Field(alias="eventTime", max_length=40)]
    offset: Annotated[str, Field(alias="eventTimeZoneOffset", pattern=r"^[+-](0[0-9]|1[0-4]):[0-5][0-9]$")]
    epcs: Annotated[list[_Uri], Field(alias="epcList", min_length=1, max_length=MOST_CHIPS)]
    action: Literal["ADD", "OBSERVE", "DELETE"]
    step: Annotated[str, Field(alias="bizStep")]
    disposition: str
    sources: Annotated[list[_Source] | None, Field(alias="sourceList", min_length=1, max_length=1)] = None
    destinations: Annotated[list[_Destination] | None, Field(alias="destinationList", min_length=1, max_length=1)] = (
        None
    )
    location: Annotated[_Place | None, Field(alias="bizLocation")] = None
    ilmd: dict[str, Any] | None = None
    error: Annotated[_Error | None, Field(alias="errorDeclaration")] = None
    # Read by others, of no weight here.
    read_point: Annotated[_Place | None, Field(alias="readPoint")] = None
    transactions: Annotated[list[Any] | None, Field(alias="bizTransactionList")] = None
    record_time: Annotated[str | None, Field(alias="recordTime")] = None


def event_payload(
    step: Step,
    *,
    chips: Sequence[str],
    time: float,
    party: str,
    other: str | None = None,
    serial: str | None = None,
    location: str | None = None,
) -> dict[str, Any]:
    """Returns the payload of a custody event; the same facts always give the same bytes and eventID.

    Args:
        step: what happened.
        chips: ids of the chips concerned.
        time: when, Unix seconds.
        party: who did it.
        other: addressee of a shipment, or sender of what was received; needed for those two, else refused.
        serial: the maker's serial number, for one chip that was made.
        location: the site.

    Raises:
        InputError: naming the field and the mend.
    """
    shape = _SHAPES[step]
    if (other is None) is shape.two_parties:
        raise InputError(
            f"a {step} event has {'a' if shape.two_parties else 'no'} counterpart",
            field="from" if step is Step.RECEIVED else "to",
            mend="name the other party" if shape.two_parties else "leave it out",
        )
    if not 0 < len(chips) <= MOST_CHIPS or len(set(chips)) != len(chips):
        raise InputError(f"an event concerns 1 to {MOST_CHIPS} different chips", field="chips")
    if serial is not None and (step is not Step.MADE or len(chips) != 1):
        raise InputError("a serial number belongs to one chip that was made", field="serial")
    payload: dict[str, Any] = {
        "@context": list(_CONTEXT),
        "type": "ObjectEvent",
        "eventTime": _write_time(time),
        "eventTimeZoneOffset": "+00:00",
        "epcList": [_urn("chip", _chip(chip)) for chip in sorted(chips)],
        "action": shape.action,
        "bizStep": step.value,
        "disposition": shape.disposition,
    }
    if shape.two_parties:
        source, destination = (party, other) if step is Step.SHIPPED else (other, party)
        payload["sourceList"] = [{"type": "possessing_party", "source": _urn("party", _name(source, "from"))}]
        payload["destinationList"] = [
            {"type": "possessing_party", "destination": _urn("party", _name(destination, "to"))}
        ]
    else:
        payload["weighbridge:party"] = _urn("party", _name(party, "party"))
    if location is not None:
        payload["bizLocation"] = {"id": _urn("site", _name(location, "location"))}
    if serial is not None:
        payload["ilmd"] = {"weighbridge:serial": _name(serial, "serial")}
    payload["eventID"] = uuid.uuid5(_ID_NAMESPACE, dump_json(payload).decode()).urn
    return payload


def corrected(
    payload: Mapping[str, Any],
    *,
    reason: Literal["incorrect_data", "did_not_occur"],
    time: float,
    corrective: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the payload that declares an event to be an error: the event again, with an errorDeclaration.

    Args:
        payload: the event's payload.
        reason: CBV error reason.
        time: when it was declared, Unix seconds.
        corrective: eventIDs of the events that say what is right.
    """
    declaration: dict[str, Any] = {"declarationTime": _write_time(time), "reason": reason}
    if corrective:
        declaration["correctiveEventIDs"] = list(corrective)
    return {key: value for key, value in payload.items() if key != "recordTime"} | {"errorDeclaration": declaration}


def read_event(payload: Mapping[str, Any], *, where: str) -> EventBody:
    """Reads a custody event.

    Args:
        payload: the statement's payload.
        where: the statement, for the error's sentence.

    Raises:
        EvidenceError: naming the field that is no part of a custody event.
    """
    # Namespaced extensions of other parties are allowed by EPCIS and carry no weight here.
    plain = {key: value for key, value in payload.items() if ":" not in key}
    try:
        event = _Event.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(f"is no custody event: {first['msg']}", where=where, field=field) from error
    try:
        return _checked(event, payload)
    except InputError as error:
        raise EvidenceError(f"is no custody event: {error.what}", where=where, field=error.field) from error


def _checked(event: _Event, payload: Mapping[str, Any]) -> EventBody:
    if event.step not in set(Step):
        raise InputError(f"{event.step!r:.40} is not one of {', '.join(Step)}", field="bizStep")
    step = Step(event.step)
    shape = _SHAPES[step]
    if (event.action, event.disposition) != (shape.action, shape.disposition):
        raise InputError(f"{step} has {shape.action} and {shape.disposition}", field="action, disposition")
    source = event.sources[0].source if event.sources else None
    destination = event.destinations[0].destination if event.destinations else None
    own = payload.get("weighbridge:party")
    if shape.two_parties:
        if source is None or destination is None or own is not None:
            raise InputError(f"{step} names one source and one destination", field="sourceList")
        parties = _of_urn("party", source, "sourceList"), _of_urn("party", destination, "destinationList")
        party, other = parties if step is Step.SHIPPED else parties[::-1]
    else:
        if source is not None or destination is not None or not isinstance(own, str):
            raise InputError(f"{step} names its party", field="weighbridge:party")
        party, other = _of_urn("party", own, "weighbridge:party"), None
    chips = tuple(_chip(_of_urn("chip", epc, "epcList")) for epc in event.epcs)
    if len(set(chips)) != len(chips):
        raise InputError("names a chip twice", field="epcList")
    serial = None
    if event.ilmd is not None:
        serial = event.ilmd.get("weighbridge:serial")
        if step is not Step.MADE or (serial is not None and (not isinstance(serial, str) or len(chips) != 1)):
            raise InputError("a serial number belongs to one chip that was made", field="ilmd")
    if event.error is not None:
        parse_time(event.error.declaration_time, name="declarationTime")
    same = {key: value for key, value in payload.items() if key not in ("errorDeclaration", "recordTime")}
    return EventBody(
        step=step,
        chips=chips,
        time=parse_time(event.event_time, name="eventTime"),
        party=party,
        other=other,
        serial=None if serial is None else _name(serial, "ilmd"),
        location=None if event.location is None else _of_urn("site", event.location.id, "bizLocation"),
        event_id=event.event_id,
        error=None if event.error is None else event.error.reason,
        digest=hashlib.sha256(dump_json(same)).digest(),
    )


def parse_time(text: str, *, name: str = "time") -> float:
    """Reads an ISO 8601 time with its zone, or a date (midnight UTC).

    Returns:
        Unix seconds.

    Raises:
        InputError: no such time, without a zone, or outside the years 2000 to 2100.
    """
    mend = "write 2026-11-21T10:00:00Z, or 2026-11-21"
    if not _TIME.fullmatch(text):
        raise InputError(f"{text!r:.60} is not a time with its zone", field=name, mend=mend)
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text!r:.60} is not a time: {error}", field=name, mend=mend) from error
    return _check_time(seconds, name)


def _check_time(seconds: float, name: str) -> float:
    if not _EARLIEST <= seconds < _LATEST:
        raise InputError("lies outside the years 2000 to 2100", field=name, mend="give Unix seconds in UTC")
    return seconds


def _write_time(seconds: float) -> str:
    moment = datetime.fromtimestamp(_check_time(seconds, "time"), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _chip(text: str) -> str:
    if not _CHIP.fullmatch(text):
        raise InputError(
            f"{text!r:.60} is no chip id",
            field="chip",
            mend="1 to 128 letters, digits, dots, hyphens or underscores, such as the key's SHA-256 in hex",
        )
    if _KEY_ID.fullmatch(text) and text != text.lower():
        raise InputError(f"{text!r} is a key id in capitals", field="chip", mend="write it in small letters")
    return text


def _name(text: str | None, field: str) -> str:
    if text is None or not text.isprintable() or text != text.strip() or not 0 < len(text) <= 64:
        raise InputError(f"{text!r:.80} is not 1 to 64 printable characters", field=field)
    return text


def _urn(what: str, text: str) -> str:
    try:
        return f"urn:weighbridge:{what}:{quote(text, safe='')}"
    except UnicodeEncodeError as error:
        raise InputError("is not Unicode text", field=what) from error


def _of_urn(what: str, uri: str, field: str) -> str:
    text = unquote(uri.removeprefix(f"urn:weighbridge:{what}:"))
    # One spelling per name: otherwise "a" and "%61" would be two parties.
    if _urn(what, text) != uri:
        raise InputError(f"{uri!r:.80} is not urn:weighbridge:{what}:NAME", field=field)
    return _name(text, field) if what != "chip" else text
