"""A strict reader of the CBOR that statements and receipts use (RFC 8949 section 4.2.1, less map order).

General decoders turn tags into dates, fractions, patterns and shared objects, take duplicate keys and
open-ended strings, and stop before trailing bytes. Here nothing is read but shortest-form integers,
definite-length strings, arrays and maps with unique keys, true, false, null and finite floats, within
:class:`Limits`; one byte string has one meaning. Writing is left to cbor2.
"""

import struct
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.limits import LIMITS

__all__ = ["COSE_SIGN1", "read", "read_sign1", "split_sign1"]

COSE_SIGN1 = 0xD2  # tag 18, RFC 9052 section 4.2


class _Reader:
    """One pass over one message; the position only moves forward, so reading ends."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self.position = 0
        self.items = 0

    def fail(self, what: str) -> EvidenceError:
        return EvidenceError(f"{what} at byte {self.position}", where=self.where)

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise self.fail(f"CBOR is cut short: {count} bytes announced, {len(self.data) - self.position} left")
        part = self.data[self.position : end]
        self.position = end
        return part

    def argument(self, info: int) -> int:
        """Returns the head's argument, refusing any but its shortest form."""
        if info < 24:
            return info
        if info > 27:
            raise self.fail("CBOR of open-ended length or a reserved form")
        width = 1 << (info - 24)
        value = int.from_bytes(self.take(width), "big")
        if value < (24 if width == 1 else 1 << (width * 4)):
            raise self.fail("CBOR number or length is not in its shortest form")
        return value

    def value(self, depth: int) -> Any:
        self.items += 1
        if self.items > LIMITS.cbor_items:
            raise self.fail(f"CBOR holds more than {LIMITS.cbor_items} items")
        head = self.take(1)[0]
        major, info = head >> 5, head & 31
        if major == 7:
            return self.simple(info)
        if major == 6:
            raise self.fail("CBOR tag where none belongs")
        argument = self.argument(info)
        if major == 0:
            return argument
        if major == 1:
            return -1 - argument
        if major == 2:
            return self.take(argument)
        if major == 3:
            try:
                return self.take(argument).decode("utf-8")
            except UnicodeDecodeError:
                raise self.fail("CBOR text is not UTF-8") from None
        if depth >= LIMITS.cbor_depth:
            raise self.fail(f"CBOR is nested deeper than {LIMITS.cbor_depth}")
        # Each element takes at least a byte, so a claimed length beyond the data costs nothing.
        if argument > len(self.data) - self.position:
            raise self.fail("CBOR container announces more elements than there are bytes")
        if major == 4:
            return [self.value(depth + 1) for _ in range(argument)]
        return self.map(argument, depth + 1)

    def map(self, count: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in range(count):
            key = self.value(depth)
            # bool equals 0 or 1 in Python: as a key it would shadow an integer label.
            if not isinstance(key, (int, str, bytes)) or isinstance(key, bool):
                raise self.fail("CBOR map key is neither a number, a text nor a byte string")
            if key in found:
                raise self.fail(f"CBOR map repeats the key {key!r:.80}")
            found[key] = self.value(depth)
        return found

    def simple(self, info: int) -> bool | float | None:
        if info in (20, 21):
            return info == 21
        if info == 22:
            return None
        if info in (25, 26, 27):
            code = {25: ">e", 26: ">f", 27: ">d"}[info]
            number: float = struct.unpack(code, self.take(struct.calcsize(code)))[0]
            if number - number != 0.0:
                raise self.fail("CBOR number is not finite")
            return number
        raise self.fail("CBOR simple value that has no use here")


def read(data: bytes, *, where: str) -> Any:
    """Reads exactly one CBOR item.

    Args:
        data: the bytes; size limits are the caller's.
        where: what is being read, for the error's sentence.

    Returns:
        int, float, bool, None, bytes, str, list or dict.

    Raises:
        EvidenceError: anything but one item in the strict form.
    """
    reader = _Reader(data, where)
    value = reader.value(0)
    if reader.position != len(data):
        raise EvidenceError(f"{len(data) - reader.position} bytes follow the CBOR item", where=where)
    return value


def read_sign1(data: bytes, *, where: str) -> tuple[bytes, dict[Any, Any], bytes | None, bytes]:
    """Reads a tagged COSE_Sign1 (RFC 9052 section 4.2) without checking its signature.

    Returns:
        Protected header bytes, unprotected header map, payload (None when detached), 64-byte signature.

    Raises:
        EvidenceError: another structure.
    """
    if not isinstance(data, bytes):
        raise EvidenceError(f"expected bytes, got {type(data).__name__}", where=where)
    if data[:1] != bytes([COSE_SIGN1]):
        raise EvidenceError("does not begin with COSE_Sign1's tag 18", where=where)
    parts = read(data[1:], where=where)
    if not isinstance(parts, list) or len(parts) != 4:
        raise EvidenceError("a COSE_Sign1 is an array of four", where=where)
    protected, unprotected, payload, signature = parts
    if not isinstance(protected, bytes) or not isinstance(unprotected, dict):
        raise EvidenceError("headers are not a byte string and a map", where=where)
    if payload is not None and not isinstance(payload, bytes):
        raise EvidenceError("payload is neither a byte string nor null", where=where)
    if not isinstance(signature, bytes) or len(signature) != 64:
        raise EvidenceError("an Ed25519 signature is 64 bytes", where=where, field="signature")
    return protected, unprotected, payload, signature


def split_sign1(data: bytes, *, where: str) -> list[bytes]:
    """Splits a CBOR sequence (RFC 8742) of tagged COSE_Sign1 into its items, each as it was written.

    Raises:
        EvidenceError: anything else in it.
    """
    reader = _Reader(data, where)
    found = []
    while reader.position < len(data):
        start = reader.position
        if reader.take(1)[0] != COSE_SIGN1:
            raise reader.fail("not a COSE_Sign1 with its tag 18")
        reader.value(0)
        found.append(data[start : reader.position])
    return found
