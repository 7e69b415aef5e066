"""Signed statements: COSE_Sign1 with CWT claims, a SCITT Signed Statement (RFC 9052, RFC 9597, RFC 9943).

Protected header, all six parameters required and no other allowed:

====================== =========================================================================
1 alg                  -8 (EdDSA with Ed25519, RFC 9053 section 2.2)
3 content type         ``application/vnd.weighbridge.KIND+json`` or ``+cbor``
4 kid                  SHA-256 of the signer's raw public key
15 CWT claims          1 iss: the signer's name; 2 sub: the subject; 6 iat: Unix seconds
33 x5chain             certificates, leaf first (RFC 9360); here, so that every byte is signed
weighbridge-protection where the signer's private key lives: file, pkcs11, tpm or silicon
====================== =========================================================================

The unprotected header is empty, the payload attached, the bytes strict CBOR: a statement has one form and id.
"""

import hashlib
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cbor2

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.cbor import read, read_sign1
from weighbridge.evidence.certificates import Identity, Role, name_of, verify_chain
from weighbridge.evidence.jsontext import dump_json, load_json
from weighbridge.evidence.keys import PROTECTIONS, Signer, key_id_of, signature_holds
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.trust import TrustRoots

__all__ = [
    "ForeignStatement",
    "Statement",
    "sign_statement",
    "statement_id",
    "verify_foreign_statement",
    "verify_statement",
]

EDDSA = -8
ALG, CRIT, CONTENT_TYPE, KID, CWT_CLAIMS, X5CHAIN = 1, 2, 3, 4, 15, 33
ISS, SUB, IAT = 1, 2, 6
PROTECTION = "weighbridge-protection"
_KIND = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_CONTENT_TYPE = re.compile(rf"application/vnd\.weighbridge\.({_KIND.pattern})\+(json|cbor)")
_MAX_TIME = 1 << 40  # seconds; far beyond any date, and exact as a float


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement whose signature, chain and form have been verified.

    Attributes:
        raw: the bytes as signed and logged.
        id: SHA-256 of ``raw``, hex.
        kind: what sort of claim it is, from the content type.
        subject: what it is about.
        issuer: the signer's name, as certified.
        role: the signer's role, as certified.
        issued_at: Unix seconds by the signer's clock; only a log's receipt bounds it.
        payload: what is claimed.
        payload_bytes: the payload as signed.
        identity: the whole verified identity.
        protection: where the signer's key lives; more than ``file`` only if its certificate says so.
    """

    raw: bytes
    id: str
    kind: str
    subject: str
    issuer: str
    role: Role
    issued_at: int
    payload: Mapping[str, Any]
    payload_bytes: bytes
    identity: Identity
    protection: str


@dataclass(frozen=True, kw_only=True)
class ForeignStatement:
    """A statement of another implementation, its signature verified under a key that the caller trusts.

    Attributes:
        raw: the bytes as signed.
        id: SHA-256 of ``raw``, hex.
        issuer: CWT claim ``iss``.
        subject: CWT claim ``sub``.
        content_type: header 3: a text, a CoAP number, or None.
        claims: all CWT claims.
        payload_bytes: the payload, not interpreted.
    """

    raw: bytes
    id: str
    issuer: str
    subject: str
    content_type: str | int | None
    claims: Mapping[int | str, Any]
    payload_bytes: bytes


def statement_id(raw: bytes) -> str:
    """Returns the SHA-256 of a statement's bytes, hex: its id and its entry in a log."""
    return hashlib.sha256(raw).hexdigest()


def sign_statement(
    signer: Signer,
    *,
    kind: str,
    subject: str,
    payload: Mapping[str, Any],
    encoding: Literal["json", "cbor"] = "json",
    issued_at: float | None = None,
) -> bytes:
    """Signs a statement.

    Args:
        signer: the key and its chain; without a chain the result is well-formed but :func:`verify_statement`
            refuses it.
        kind: lower-case words joined by hyphens, for instance ``chip-record``.
        subject: what the claim is about, 1 to 512 bytes of text.
        payload: the claim, a map with text keys.
        encoding: ``json`` (sorted keys, no spaces, no NaN) or ``cbor`` (cbor2's canonical form).
        issued_at: Unix seconds, rounded down; now unless given.

    Returns:
        The tagged COSE_Sign1.

    Raises:
        InputError: a value that a statement cannot hold.
    """
    if not _KIND.fullmatch(kind) or len(kind) > 64:
        raise InputError("a kind is lower-case words joined by hyphens", where=kind[:80], field="kind")
    issued = int(time.time() if issued_at is None else issued_at)
    if not 0 <= issued < _MAX_TIME:
        raise InputError("not a time in Unix seconds", where=kind, field="issued_at")
    if encoding not in ("json", "cbor"):
        raise InputError("an encoding is json or cbor", where=kind, field="encoding")
    protected: dict[int | str, Any] = {
        ALG: EDDSA,
        CONTENT_TYPE: f"application/vnd.weighbridge.{kind}+{encoding}",
        KID: bytes.fromhex(signer.key_id),
        CWT_CLAIMS: {
            ISS: name_of(signer.chain[0]) if signer.chain else signer.key_id,
            SUB: _text(subject, "subject"),
            IAT: issued,
        },
        PROTECTION: signer.protection,
    }
    if signer.chain:
        protected[X5CHAIN] = signer.chain[0] if len(signer.chain) == 1 else list(signer.chain)
    headers = cbor2.dumps(protected, canonical=True)
    content = dump_json(payload) if encoding == "json" else _dump_cbor(payload)
    try:
        _read_payload(content, encoding, kind)
    except EvidenceError as error:
        raise InputError(f"would not be read back: {error.what}", where=kind, field="payload") from error
    signature = signer.sign(signed_bytes(headers, content))
    raw = cbor2.dumps(cbor2.CBORTag(18, [headers, {}, content, signature]))
    if len(raw) > LIMITS.statement_bytes:
        raise InputError(
            f"the statement has {len(raw)} bytes, more than {LIMITS.statement_bytes}",
            where=kind,
            field="payload",
            mend="commit to bulk data by its digest",
        )
    return raw


def verify_statement(
    raw: bytes,
    roots: TrustRoots | Sequence[bytes],
    *,
    kind: str | None = None,
    role: str | Collection[str] | None = None,
) -> Statement:
    """Verifies a statement completely, each time it is read.

    1. Size and form: strict CBOR, tag 18, empty unprotected header, exactly the protected parameters above.
    2. Algorithm EdDSA; kid is the leaf's key.
    3. The chain leads to a root and held when the statement says it was issued.
    4. The signature verifies under the leaf's key.
    5. Issuer is the certified name; the protection is no stronger than the certificate vouches for.
    6. Kind and role are what the caller allows.
    7. The payload is a map in its one encoding.

    What it cannot show: that ``issued_at`` is true. A receipt says when at the latest.

    Args:
        raw: the statement's bytes.
        roots: trust roots, or root certificates in DER.
        kind: the only kind accepted; any if None.
        role: the role or roles accepted; any if None.

    Raises:
        EvidenceError: naming the statement, the field and what does not hold.
    """
    where = _label(raw)
    if not isinstance(raw, bytes) or len(raw) > LIMITS.statement_bytes:
        raise EvidenceError(f"a statement is at most {LIMITS.statement_bytes} bytes", where=where)
    headers, unprotected, content, signature = read_sign1(raw, where=where)
    if unprotected:
        raise EvidenceError("the unprotected header is not empty", where=where)
    if content is None:
        raise EvidenceError("the payload is detached", where=where)
    protected = _map(read(headers, where=where), where, "protected header")
    expected = {ALG, CONTENT_TYPE, KID, CWT_CLAIMS, X5CHAIN, PROTECTION}
    if set(protected) != expected:
        raise EvidenceError(f"protected header has {_labels(protected)}, expected {_labels(expected)}", where=where)
    if type(protected[ALG]) is not int or protected[ALG] != EDDSA:
        raise EvidenceError("the algorithm is not EdDSA (-8)", where=where, field="alg")
    issuer, subject, issued_at = _claims(protected[CWT_CLAIMS], where)
    trusted = roots.roots if isinstance(roots, TrustRoots) else tuple(roots)
    chain = _chain(protected[X5CHAIN], where)
    try:
        identity = verify_chain(chain, trusted, at=issued_at)
    except EvidenceError as error:
        raise EvidenceError(str(error), where=where, field="x5chain") from error
    if protected[KID] != bytes.fromhex(identity.key_id):
        raise EvidenceError("kid is not the leaf certificate's key", where=where, field="kid")
    if not signature_holds(identity.public_key, signature, signed_bytes(headers, content)):
        raise EvidenceError(f"the signature is not {identity.name}'s", where=where, field="signature")
    if issuer != identity.name:
        raise EvidenceError(f"says it is by {issuer!r}, signed by {identity.name!r}", where=where, field="iss")
    protection = _protection(protected[PROTECTION], identity, where)
    found, encoding = _content_type(protected[CONTENT_TYPE], where)
    if kind is not None and found != kind:
        raise EvidenceError(f"is a {found}, expected a {kind}", where=where, field="kind")
    allowed = None if role is None else {role} if isinstance(role, str) else set(role)
    if allowed is not None and identity.role not in allowed:
        raise EvidenceError(
            f"{identity.name} is {identity.role}, not {' or '.join(sorted(allowed))}",
            where=where,
            field="role",
        )
    return Statement(
        raw=raw,
        id=statement_id(raw),
        kind=found,
        subject=subject,
        issuer=identity.name,
        role=identity.role,
        issued_at=issued_at,
        payload=_read_payload(content, encoding, where),
        payload_bytes=content,
        identity=identity,
        protection=protection,
    )


def verify_foreign_statement(raw: bytes, public_key: bytes) -> ForeignStatement:
    """Verifies a SCITT statement that another implementation made, under a key named by the caller.

    Lenient where RFC 9943 leaves room: no x5chain, other protected parameters, any unprotected header, any
    content type. Strict where it matters: EdDSA only, attached payload, strict CBOR, no critical parameter
    (RFC 9052 section 3.1 has us refuse those that we do not process), ``iss`` and ``sub`` present. Nothing is
    said about who the key belongs to; weighbridge's own statements go through :func:`verify_statement`.

    Args:
        raw: the tagged COSE_Sign1.
        public_key: raw Ed25519 key, 32 bytes, trusted on other grounds.

    Raises:
        EvidenceError: naming what does not hold.
    """
    where = _label(raw)
    if not isinstance(raw, bytes) or len(raw) > LIMITS.statement_bytes:
        raise EvidenceError(f"a statement is at most {LIMITS.statement_bytes} bytes", where=where)
    headers, _, content, signature = read_sign1(raw, where=where)
    if content is None:
        raise EvidenceError("the payload is detached", where=where)
    protected = _map(read(headers, where=where), where, "protected header")
    if type(protected.get(ALG)) is not int or protected[ALG] != EDDSA:
        raise EvidenceError("the algorithm is not EdDSA (-8)", where=where, field="alg")
    if CRIT in protected:
        raise EvidenceError("has critical header parameters", where=where, field="crit")
    if not signature_holds(public_key, signature, signed_bytes(headers, content)):
        raise EvidenceError(f"the signature is not by key {key_id_of(public_key)}", where=where)
    claims = _map(protected.get(CWT_CLAIMS), where, "CWT claims")
    issuer, subject = claims.get(ISS), claims.get(SUB)
    if not isinstance(issuer, str) or not isinstance(subject, str):
        raise EvidenceError("iss and sub are texts", where=where, field="CWT claims")
    content_type = protected.get(CONTENT_TYPE)
    if content_type is not None and (isinstance(content_type, bool) or not isinstance(content_type, (str, int))):
        raise EvidenceError("is neither a text nor a number", where=where, field="content type")
    return ForeignStatement(
        raw=raw,
        id=statement_id(raw),
        issuer=issuer,
        subject=subject,
        content_type=content_type,
        claims=claims,
        payload_bytes=content,
    )


def signed_bytes(protected: bytes, payload: bytes) -> bytes:
    """Returns the Sig_structure of RFC 9052 section 4.4 without external data: what the signature covers."""
    return cbor2.dumps(["Signature1", protected, b"", payload])


def _read_payload(content: bytes, encoding: str, where: str) -> Mapping[str, Any]:
    if encoding == "json":
        return load_json(content, where=where)
    payload = _map(read(content, where=where), where, "payload")
    if not all(isinstance(key, str) for key in payload):
        raise EvidenceError("a payload's keys are texts", where=where, field="payload")
    return payload


def _dump_cbor(payload: Mapping[str, Any]) -> bytes:
    try:
        return cbor2.dumps(dict(payload), canonical=True)
    except (cbor2.CBOREncodeError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"cannot be written as CBOR: {error}", field="payload") from error


def _claims(value: object, where: str) -> tuple[str, str, int]:
    claims = _map(value, where, "CWT claims")
    if set(claims) != {ISS, SUB, IAT}:
        raise EvidenceError("CWT claims are iss, sub and iat", where=where, field="CWT claims")
    issued_at = claims[IAT]
    if type(issued_at) is not int or not 0 <= issued_at < _MAX_TIME:
        raise EvidenceError("is not a time in whole Unix seconds", where=where, field="iat")
    try:
        return _text(claims[ISS], "iss"), _text(claims[SUB], "sub"), issued_at
    except InputError as error:
        raise EvidenceError(error.what, where=where, field=error.field) from error


def _chain(value: object, where: str) -> tuple[bytes, ...]:
    # RFC 9360 section 2: one certificate is a byte string, more are an array of two or more.
    if isinstance(value, bytes):
        return (value,)
    if isinstance(value, list) and len(value) > 1 and all(isinstance(c, bytes) for c in value):
        return tuple(value)
    raise EvidenceError("is neither a certificate nor an array of several", where=where, field="x5chain")


def _protection(value: object, identity: Identity, where: str) -> str:
    certified = identity.claims.get("protection", "file")
    if not isinstance(value, str) or value not in PROTECTIONS:
        raise EvidenceError(f"is not one of {', '.join(PROTECTIONS)}", where=where, field=PROTECTION)
    if value != certified:
        raise EvidenceError(f"claims a key in {value}, certified as {certified}", where=where, field=PROTECTION)
    return value


def _content_type(value: object, where: str) -> tuple[str, str]:
    match = _CONTENT_TYPE.fullmatch(value) if isinstance(value, str) and len(value) <= 128 else None
    if match is None:
        raise EvidenceError("is not one of weighbridge's", where=where, field="content type")
    return match[1], match[2]


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise InputError("is not a printable text", field=field)
    if not 0 < len(value.encode("utf-8")) <= LIMITS.text_bytes:
        raise InputError(f"is not 1 to {LIMITS.text_bytes} bytes", field=field)
    return value


def _map(value: object, where: str, field: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise EvidenceError("is not a map", where=where, field=field)
    return value


def _labels(labels: Collection[Any]) -> str:
    return ", ".join(sorted(repr(label)[:40] for label in labels)) or "nothing"


def _label(raw: object) -> str:
    return f"statement {statement_id(raw)[:16]}" if isinstance(raw, bytes) else "statement"
