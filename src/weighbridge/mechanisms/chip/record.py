"""The chip's record: an EAT claims set (RFC 9711) of our own profile, inside a signed statement.

The statement's kind is ``chip-record``, its subject the chip id, its payload the CBOR map ``{"eat": ...}``.
Claims that EAT has names for carry its numbers: eat_nonce (10), ueid (256), eat_profile (265), bootcount
(267). The rest are private claims below -65536 (RFC 8392 section 9.1), listed in ``_CLAIMS``, all of them
always present.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.statement import Statement
from weighbridge.mechanisms.chip.leaf_format import check_leaf_size

__all__ = [
    "KIND",
    "NO_PREVIOUS",
    "PROFILE",
    "REASONS",
    "ChipRecord",
    "claimed_name",
    "decode_payload",
    "decode_record",
    "encode_record",
]

KIND = "chip-record"
PROFILE = "tag:weighbridge,2026:chip-record/1"
REASONS = ("boot", "sample", "shutdown", "challenge")
ACCOUNTINGS = ("cgroup2", "process-tree", "none")
NO_PREVIOUS = "0" * 64

_NONCE, _UEID, _PROFILE, _BOOT = 10, 256, 265, 267
_RANDOM_UEID = b"\x01"  # RFC 9711 section 4.2.1.1, type RAND: here the SHA-256 of the chip's public key


@dataclass(frozen=True, kw_only=True)
class ChipRecord:
    """One record. Times are nanoseconds, digests hex, sizes bytes.

    Attributes:
        chip: chip id, SHA-256 of its public key.
        sequence: 0 for the chip's first record, then one more each, over all boots.
        previous: statement id of the record before; 64 zeros in the first.
        boot: 1 for the first boot, then one more each; 0 only for a challenge answered before it.
        reason: ``boot``, ``sample``, ``shutdown`` or ``challenge``; only samples are schedule-triggered.
        interval: the schedule interval that this record ends if ``link`` is set, else the one that is open.
        link: the chain link of ``interval``, in the record that ends it and in no other.
        next_commitment: end of the next chain, in the record that uses up this one; else empty.
        rate_hz: f, stops per second of chip-active time.
        active_ns: chip-active time since the chip was made, stops excluded, over all boots.
        monotonic_ns: host CLOCK_MONOTONIC when the command was found to be stopped.
        due_active_ns: samples only: when this stop was due, in chip-active time.
        late_ns: samples only: chip-active time past the due time.
        freeze_ns: samples only: from the command being stopped to its being let go.
        stop_ns: samples only: from asking for the stop to the command being stopped.
        cpu_ns: CPU time of the enclosed processes since the boot, exited ones included.
        cores: processors that the command may use.
        accounting: ``cgroup2``; ``process-tree`` is weaker (stops by signal, misses CPU time of children
            whose parent ignores SIGCHLD); ``none`` where no command ran.
        not_before: SHA-256 of the newest checkpoint or inspector's value that the agent had seen before.
        firmware: digest of the agent's own sources.
        host: digest of the host's boot id under the chip id; monotonic_ns compares within one host boot only.
        uid_separated: whether the command runs under another user id than the agent.
        leaf_size: bytes of a whole leaf; 0 when nothing was read.
        leaf_count: leaves under the root, the mapping table aside.
        mapping_count: mappings of all processes that the stop looked at.
        writable_bytes: address space that was writable at the stop.
        resident_bytes: bytes read and committed to.
        unread_bytes: bytes that should have been read and could not be.
        device_bytes: writable mappings of devices, which this agent cannot read.
        root: Merkle root of the leaf table; empty when nothing was read.
        salt_commitment: SHA-256 of the salt; empty when nothing was read.
        affinity_ok: whether every thread was still pinned as at the start; true if it was not pinned.
        nonce: challenge records: the inspector's nonce; else empty.
        lost: boot records: samples that fell due in the boot before and were never taken.
        survivors: boot records: processes of the boot before that were found alive and ended.
        late_cpu_ns: boot records: CPU time of the boot before at its very end, if its control group was still
            there to be read; else None.
    """

    chip: str
    sequence: int
    previous: str
    boot: int
    reason: str
    interval: int
    link: str | None = None
    next_commitment: str = ""
    rate_hz: float
    active_ns: int
    monotonic_ns: int
    due_active_ns: int | None = None
    late_ns: int = 0
    freeze_ns: int = 0
    stop_ns: int = 0
    cpu_ns: int = 0
    cores: int = 0
    accounting: str
    not_before: str = ""
    firmware: str
    host: str
    uid_separated: bool
    leaf_size: int = 0
    leaf_count: int = 0
    mapping_count: int = 0
    writable_bytes: int = 0
    resident_bytes: int = 0
    unread_bytes: int = 0
    device_bytes: int = 0
    root: str = ""
    salt_commitment: str = ""
    affinity_ok: bool = True
    nonce: str = ""
    lost: int = 0
    survivors: int = 0
    late_cpu_ns: int | None = None

    @property
    def name(self) -> str:
        """``CHIP#SEQUENCE``: what findings call this record."""
        return f"{self.chip}#{self.sequence}"


def _u64(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _optional_u64(value: object) -> bool:
    return value is None or _u64(value)


def _boolean(value: object) -> bool:
    return type(value) is bool


def _positive(value: object) -> bool:
    return type(value) is float and 0 < value < 1e6


def _one_of(words: tuple[str, ...]) -> Callable[[object], bool]:
    return lambda value: type(value) is str and value in words


def _digest(value: object) -> bool:
    return type(value) is bytes and len(value) == 32


def _digest_or_empty(value: object) -> bool:
    return type(value) is bytes and len(value) in (0, 32)


def _digest_or_none(value: object) -> bool:
    return value is None or _digest(value)


_CLAIMS: Mapping[int, tuple[str, Callable[[object], bool]]] = {
    -65600: ("sequence", _u64),
    -65601: ("previous", _digest),
    -65602: ("reason", _one_of(REASONS)),
    -65603: ("interval", _u64),
    -65604: ("link", _digest_or_none),
    -65605: ("next_commitment", _digest_or_empty),
    -65606: ("rate_hz", _positive),
    -65607: ("active_ns", _u64),
    -65608: ("monotonic_ns", _u64),
    -65609: ("due_active_ns", _optional_u64),
    -65610: ("late_ns", _u64),
    -65611: ("freeze_ns", _u64),
    -65612: ("stop_ns", _u64),
    -65613: ("cpu_ns", _u64),
    -65614: ("cores", _u64),
    -65615: ("accounting", _one_of(ACCOUNTINGS)),
    -65616: ("not_before", _digest_or_empty),
    -65617: ("firmware", _digest),
    -65618: ("host", _digest),
    -65619: ("uid_separated", _boolean),
    -65620: ("leaf_size", _u64),
    -65621: ("leaf_count", _u64),
    -65622: ("mapping_count", _u64),
    -65623: ("writable_bytes", _u64),
    -65624: ("resident_bytes", _u64),
    -65625: ("unread_bytes", _u64),
    -65626: ("device_bytes", _u64),
    -65627: ("root", _digest_or_empty),
    -65628: ("salt_commitment", _digest_or_empty),
    -65629: ("affinity_ok", _boolean),
    -65630: ("lost", _u64),
    -65631: ("survivors", _u64),
    -65632: ("late_cpu_ns", _optional_u64),
}
_ELSEWHERE = {"chip", "boot", "nonce"}
if {name for name, _ in _CLAIMS.values()} | _ELSEWHERE != {f.name for f in fields(ChipRecord)}:
    raise AssertionError("each field of ChipRecord has one claim")
_HEX = {name for name, check in _CLAIMS.values() if check in (_digest, _digest_or_empty, _digest_or_none)}


def encode_record(record: ChipRecord) -> dict[str, Any]:
    """Returns the statement payload of a record."""
    claims: dict[int, Any] = {
        _UEID: _RANDOM_UEID + bytes.fromhex(record.chip),
        _PROFILE: PROFILE,
        _BOOT: record.boot,
    }
    if record.nonce:
        claims[_NONCE] = bytes.fromhex(record.nonce)
    for label, (name, _) in _CLAIMS.items():
        value = getattr(record, name)
        claims[label] = bytes.fromhex(value) if name in _HEX and value is not None else value
    return {"eat": claims}


def decode_record(statement: Statement) -> ChipRecord:
    """Reads the record in a verified statement.

    Raises:
        EvidenceError: not a chip's record about itself, or a claim is absent, unknown, of the wrong type, or
            makes no sense beside the others.
    """
    where = f"record statement {statement.id[:16]}"
    if statement.kind != KIND or statement.role != Role.CHIP:
        raise EvidenceError(f"is a {statement.kind} by a {statement.role}, not a chip's record", where=where)
    if statement.subject != statement.identity.key_id:
        raise EvidenceError(
            f"is about {statement.subject[:16]} and signed by {statement.identity.key_id[:16]}",
            where=where,
            field="sub",
        )
    return decode_payload(statement.payload, chip=statement.subject, where=where)


def decode_payload(payload: Mapping[str, Any], *, chip: str, where: str) -> ChipRecord:
    """Reads a record's payload, whose signature the caller has verified to be the chip's.

    Raises:
        EvidenceError: as :func:`decode_record`.
    """
    claims = payload.get("eat")
    if set(payload) != {"eat"} or not isinstance(claims, dict):
        raise EvidenceError("the payload is not an EAT claims set", where=where, field="eat")
    expected = {_UEID, _PROFILE, _BOOT, *_CLAIMS}
    if set(claims) - {_NONCE} != expected:
        odd = sorted(str(label) for label in (set(claims) - {_NONCE}) ^ expected)
        raise EvidenceError(f"claims absent or unknown: {', '.join(odd)[:200]}", where=where, field="eat")
    if claims[_PROFILE] != PROFILE:
        raise EvidenceError(f"is not of profile {PROFILE}", where=where, field="eat_profile")
    ueid, nonce = claims[_UEID], claims.get(_NONCE, b"")
    if ueid != _RANDOM_UEID + bytes.fromhex(chip):
        raise EvidenceError(f"is not the id of chip {chip[:16]}", where=where, field="ueid")
    if type(nonce) is not bytes or (_NONCE in claims and not 8 <= len(nonce) <= 64):
        raise EvidenceError("is not 8 to 64 bytes", where=where, field="eat_nonce")
    if not _u64(claims[_BOOT]):
        raise EvidenceError("is not a count", where=where, field="bootcount")
    values: dict[str, Any] = {"chip": chip, "boot": claims[_BOOT], "nonce": nonce.hex()}
    for label, (name, check) in _CLAIMS.items():
        value = claims[label]
        if not check(value):
            raise EvidenceError(f"has no sensible value: {value!r:.60}", where=where, field=name)
        values[name] = value.hex() if isinstance(value, bytes) else value
    record = ChipRecord(**values)
    _check_sense(record)
    return record


def claimed_name(statement: Statement) -> str:
    """Returns what to call a statement that is no proper record: ``CHIP#SEQUENCE`` as far as it says so."""
    claims = statement.payload.get("eat")
    sequence = claims.get(-65600) if isinstance(claims, dict) else None
    return f"{statement.subject}#{sequence}" if _u64(sequence) else statement.subject


def _check_sense(record: ChipRecord) -> None:
    sample = record.reason == "sample"
    rules = {
        "due_active_ns": (record.due_active_ns is not None) == sample,
        "link": record.link is not None or not sample,
        "root": bool(record.root) == sample and bool(record.salt_commitment) == sample,
        "leaf_size": check_leaf_size(record.leaf_size) if sample else record.leaf_size == 0,
        "leaf_count": sample or record.leaf_count == record.resident_bytes == 0,
        "late_ns": sample or record.late_ns == record.freeze_ns == record.stop_ns == 0,
        "lost": record.lost == record.survivors == 0 or record.reason == "boot",
        "nonce": bool(record.nonce) == (record.reason == "challenge"),
        "next_commitment": not record.next_commitment or record.link is not None,
        "interval": record.interval >= 1,
        "boot": record.boot >= 1 or record.reason == "challenge",
        "accounting": record.accounting != "none" or record.reason == "challenge",
    }
    for name, holds in rules.items():
        if not holds:
            raise EvidenceError(f"does not fit a record of reason {record.reason!r}", where=record.name, field=name)
