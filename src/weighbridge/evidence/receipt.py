"""Receipts: COSE Receipts (RFC 9942) that a statement is entry i of a log, and since when.

Protected header, exactly: 1 alg -8; 4 kid, SHA-256 of the log's key; 395 vds 1 (RFC9162_SHA256); 15 CWT
claims (1 iss the log's origin, 2 sub ``ORIGIN#SIZE``, 6 iat Unix seconds of integration, ``weighbridge-us``
its microseconds). Unprotected: 396 vdp {-1: [one inclusion proof]}. The payload is the root, detached.

The log's entry is the SHA-256 of the statement, so a receipt says nothing of what was stated. ``sub`` names
the tree with its size because a root does not: without it a proof for entry 0 of 5 would pass as one for
entry 0 of 8. Entries appended together share one signature.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

from weighbridge.errors import EvidenceError
from weighbridge.evidence.cbor import read, read_sign1
from weighbridge.evidence.keys import key_id_of, signature_holds
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.merkle import leaf_hash, root_from_inclusion
from weighbridge.evidence.statement import ALG, CRIT, CWT_CLAIMS, EDDSA, IAT, ISS, KID, SUB, signed_bytes
from weighbridge.evidence.trust import LogKey

__all__ = ["ForeignReceipt", "LogEntry", "Receipt", "verify_foreign_receipt", "verify_receipt"]

VDS, VDP, RFC9162_SHA256, INCLUSION = 395, 396, 1, -1
MICROSECONDS = "weighbridge-us"
_MAX_TIME = 1 << 40


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """An entry of a log.

    Attributes:
        index: its place, from 0.
        statement_id: SHA-256 of the statement, hex.
        integrated_at: Unix seconds at which the log took it, to the microsecond.
        receipt: the COSE Receipt that proves all this.
    """

    index: int
    statement_id: str
    integrated_at: float
    receipt: bytes


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a verified receipt proves.

    Attributes:
        index: place of the statement in the log, from 0.
        statement_id: SHA-256 of the statement, hex.
        integrated_at: Unix seconds at which the log took it, to the microsecond.
        receipt: the receipt's bytes.
        tree_size: entries in the tree whose root was signed.
        root: that root, 32 bytes.
    """

    index: int
    statement_id: str
    integrated_at: float
    receipt: bytes
    tree_size: int
    root: bytes


@dataclass(frozen=True, kw_only=True)
class ForeignReceipt:
    """What a receipt of another implementation proves; its tree size and index are not signed by themselves.

    Attributes:
        index: place claimed, from 0.
        tree_size: size claimed.
        root: the root that was signed, 32 bytes.
        claims: CWT claims, empty if there are none.
    """

    index: int
    tree_size: int
    root: bytes
    claims: dict[Any, Any]


def receipt_header(log_key: LogKey, *, size: int, time_us: int) -> bytes:
    """Returns the protected header shared by all entries that were appended together.

    Args:
        log_key: the log.
        size: entries in the tree signed.
        time_us: time of integration, Unix microseconds.
    """
    seconds, micros = divmod(time_us, 1_000_000)
    return cbor2.dumps(
        {
            ALG: EDDSA,
            KID: bytes.fromhex(key_id_of(log_key.public_key)),
            CWT_CLAIMS: {
                ISS: log_key.origin,
                SUB: f"{log_key.origin}#{size}",
                IAT: seconds,
                MICROSECONDS: micros,
            },
            VDS: RFC9162_SHA256,
        },
        canonical=True,
    )


def build_receipt(header: bytes, signature: bytes, *, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Puts a receipt together from a signed root and an inclusion proof."""
    proof = cbor2.dumps([size, index, list(path)])
    return cbor2.dumps(cbor2.CBORTag(18, [header, {VDP: {INCLUSION: [proof]}}, None, signature]))


def verify_receipt(raw_statement: bytes, receipt: bytes, log_key: LogKey) -> Receipt:
    """Verifies that a log holds a statement.

    1. Form: strict CBOR, tag 18, exactly the headers above, one inclusion proof, detached payload.
    2. Algorithm, kid, issuer and data structure are the log's.
    3. The proof leads from the statement to a root; the signed size is the proof's.
    4. The log's key signed that root and time.

    Args:
        raw_statement: the statement's bytes; verify it by itself.
        receipt: the receipt's bytes.
        log_key: the log trusted.

    Raises:
        EvidenceError: naming what does not hold.
    """
    opened = open_receipt(hashlib.sha256(raw_statement).digest(), receipt, log_key)
    if not signature_holds(log_key.public_key, opened.signature, opened.signed):
        raise EvidenceError(f"the signature is not {log_key.origin}'s", where="receipt", field="signature")
    return opened.receipt


@dataclass(frozen=True, kw_only=True)
class OpenedReceipt:
    """A receipt whose form and proof hold; its signature is still to be checked over ``signed``."""

    receipt: Receipt
    signature: bytes
    signed: bytes


def open_receipt(entry: bytes, receipt: bytes, log_key: LogKey) -> OpenedReceipt:
    """Does steps 1 to 3 of :func:`verify_receipt`, so that a reader of many checks each signature once.

    Args:
        entry: the log's entry, SHA-256 of the statement.
        receipt: the receipt's bytes.
        log_key: the log trusted.
    """
    headers, unprotected, payload, signature = _envelope(receipt)
    protected = _map(read(headers, where="receipt"), "protected header")
    if set(protected) != {ALG, KID, CWT_CLAIMS, VDS}:
        raise EvidenceError("other header parameters than a receipt's", where="receipt")
    if set(unprotected) != {VDP} or payload is not None:
        raise EvidenceError("carries more than an inclusion proof", where="receipt")
    _check_algorithm(protected)
    if protected[KID] != bytes.fromhex(key_id_of(log_key.public_key)):
        raise EvidenceError(f"is not by {log_key.origin}'s key", where="receipt", field="kid")
    size, index, path = _proof(unprotected)
    claims = _map(protected[CWT_CLAIMS], "CWT claims")
    if set(claims) != {ISS, SUB, IAT, MICROSECONDS}:
        raise EvidenceError("other CWT claims than a receipt's", where="receipt", field="CWT claims")
    if claims[ISS] != log_key.origin:
        raise EvidenceError(f"is by {claims[ISS]!r:.80}, expected {log_key.origin}", where="receipt", field="iss")
    if claims[SUB] != f"{log_key.origin}#{size}":
        raise EvidenceError(f"was signed for {claims[SUB]!r:.80}, shown for {size}", where="receipt", field="sub")
    seconds, micros = claims[IAT], claims[MICROSECONDS]
    if type(seconds) is not int or type(micros) is not int:
        raise EvidenceError("is not a time", where="receipt", field="iat")
    if not 0 <= seconds < _MAX_TIME or not 0 <= micros < 1_000_000:
        raise EvidenceError("is not a time", where="receipt", field="iat")
    root = root_from_inclusion(leaf_hash(entry), index, size, path)
    return OpenedReceipt(
        receipt=Receipt(
            index=index,
            statement_id=entry.hex(),
            integrated_at=(seconds * 1_000_000 + micros) / 1_000_000,
            receipt=receipt,
            tree_size=size,
            root=root,
        ),
        signature=signature,
        signed=signed_bytes(headers, root),
    )


def verify_foreign_receipt(entry: bytes, receipt: bytes, public_key: bytes) -> ForeignReceipt:
    """Verifies another implementation's COSE Receipt over an RFC 9162 tree, under a key named by the caller.

    Lenient where RFC 9942 leaves room: other protected parameters and claims, or none. Nothing binds index
    and size to the signature there: they are the bearer's word. Ours go through :func:`verify_receipt`.

    Args:
        entry: the log's entry, by that log's own rule (often a digest of the statement).
        receipt: the receipt's bytes.
        public_key: raw Ed25519 key of the log, trusted on other grounds.

    Raises:
        EvidenceError: naming what does not hold.
    """
    headers, unprotected, payload, signature = _envelope(receipt)
    protected = _map(read(headers, where="receipt"), "protected header")
    if payload is not None or CRIT in protected:
        raise EvidenceError("has an attached payload or critical parameters", where="receipt")
    if ALG not in protected or VDS not in protected:
        raise EvidenceError("names no algorithm or no data structure", where="receipt")
    _check_algorithm(protected)
    size, index, path = _proof(unprotected)
    root = root_from_inclusion(leaf_hash(entry), index, size, path)
    if not signature_holds(public_key, signature, signed_bytes(headers, root)):
        raise EvidenceError(f"the signature is not by key {key_id_of(public_key)}", where="receipt")
    claims = _map(protected.get(CWT_CLAIMS, {}), "CWT claims")
    return ForeignReceipt(index=index, tree_size=size, root=root, claims=claims)


def _envelope(receipt: bytes) -> tuple[bytes, dict[Any, Any], bytes | None, bytes]:
    if not isinstance(receipt, bytes) or len(receipt) > LIMITS.receipt_bytes:
        raise EvidenceError(f"a receipt is at most {LIMITS.receipt_bytes} bytes", where="receipt")
    return read_sign1(receipt, where="receipt")


def _check_algorithm(protected: dict[Any, Any]) -> None:
    if type(protected[ALG]) is not int or protected[ALG] != EDDSA:
        raise EvidenceError("the algorithm is not EdDSA (-8)", where="receipt", field="alg")
    if type(protected[VDS]) is not int or protected[VDS] != RFC9162_SHA256:
        raise EvidenceError("the data structure is not RFC9162_SHA256 (1)", where="receipt", field="vds")


def _proof(unprotected: dict[Any, Any]) -> tuple[int, int, list[bytes]]:
    proofs = _map(unprotected.get(VDP), "vdp")
    blobs = proofs.get(INCLUSION)
    if set(proofs) != {INCLUSION} or not isinstance(blobs, list) or len(blobs) != 1:
        raise EvidenceError("does not hold exactly one inclusion proof", where="receipt", field="vdp")
    if not isinstance(blobs[0], bytes):
        raise EvidenceError("an inclusion proof is a byte string", where="receipt", field="vdp")
    proof = read(blobs[0], where="inclusion proof")
    if not isinstance(proof, list) or len(proof) != 3:
        raise EvidenceError("is not [size, index, path]", where="inclusion proof")
    size, index, path = proof
    if type(size) is not int or type(index) is not int or not isinstance(path, list):
        raise EvidenceError("is not [size, index, path]", where="inclusion proof")
    return size, index, path


def _map(value: object, field: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise EvidenceError("is not a map", where="receipt", field=field)
    return value
