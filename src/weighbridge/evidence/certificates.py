"""X.509 chains: maker to chip, inspectorate to everybody else. Ed25519 only; the role is in the certificate.

A certificate's subject is exactly CN (the name) and OU (a :class:`Role`). Facts that the issuer vouches for,
such as a chip's committed schedule, are *claims*: a map of strings in one private, non-critical extension.
"""

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID, SignatureAlgorithmOID

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.jsontext import dump_json, load_json
from weighbridge.evidence.keys import Signer, key_id_of
from weighbridge.evidence.limits import LIMITS

__all__ = [
    "CLAIMS_OID",
    "Identity",
    "Role",
    "certificates_from_pem",
    "certificates_to_pem",
    "check_root",
    "issue",
    "issue_root",
    "name_of",
    "public_key_of",
    "verify_chain",
]

CLAIMS_OID = x509.ObjectIdentifier("2.25.147692168694554022736870403570858203921")
"""Our claims extension, under 2.25 where ITU-T X.667 lets anyone use a UUID: JSON in a UTF8String."""

_DAY = 86_400.0
_CLOCK_SKEW = 3_600.0  # seconds; the holder's clock may run a little behind the issuer's
_ROOT_PATH_LENGTH = LIMITS.chain_certificates - 2


class Role(StrEnum):
    """What the holder of a key is to the system."""

    MAKER = "maker"
    CHIP = "chip"
    INSPECTORATE = "inspectorate"
    INSPECTOR = "inspector"
    OPERATOR = "operator"
    REGISTRAR = "registrar"
    DISTRIBUTOR = "distributor"
    LOG = "log"


_MAY_ISSUE: Mapping[Role, frozenset[Role]] = {
    Role.MAKER: frozenset({Role.MAKER, Role.CHIP}),
    Role.INSPECTORATE: frozenset(
        {
            Role.INSPECTORATE,
            Role.INSPECTOR,
            Role.OPERATOR,
            Role.REGISTRAR,
            Role.DISTRIBUTOR,
            Role.LOG,
        }
    ),
}
"""Which roles stand under which: a maker says what is a chip, all else answers to the inspectorate."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a verified chain says the holder of a key is.

    Attributes:
        name: the certificate's common name.
        role: what the holder is.
        public_key: raw Ed25519 public key, 32 bytes.
        key_id: SHA-256 of the public key, hex.
        claims: what the issuer vouches for, by name.
        issuer_name: common name of the certificate above; the own name for a root.
    """

    name: str
    role: Role
    public_key: bytes
    key_id: str
    claims: Mapping[str, str]
    issuer_name: str


def issue_root(
    signer: Signer, *, name: str, role: Role | str, days: float = 3650, not_before: float | None = None
) -> bytes:
    """Makes a self-signed root certificate.

    Args:
        signer: the root's key.
        name: common name, 1 to 64 characters.
        role: maker or inspectorate.
        days: validity.
        not_before: start of validity, Unix seconds; an hour ago unless given.

    Returns:
        The certificate in DER.

    Raises:
        InputError: another role, or a name that a certificate cannot hold.
    """
    checked = _role(role)
    if checked not in _MAY_ISSUE:
        raise InputError(f"a root is a {_one_of(_MAY_ISSUE)}, not {checked}", where=name, field="role")
    start = time.time() - _CLOCK_SKEW if not_before is None else not_before
    return _build(
        signer,
        issuer_name=_subject(name, checked),
        subject=_subject(name, checked),
        public_key=signer.public_key,
        window=(start, start + days * _DAY),
        path_length=_ROOT_PATH_LENGTH,
        claims={},
    )


def issue(
    issuer: Signer,
    issuer_certificate: bytes,
    *,
    public_key: bytes,
    name: str,
    role: Role | str,
    days: float = 1825,
    authority: bool = False,
    claims: Mapping[str, str] | None = None,
    not_before: float | None = None,
) -> bytes:
    """Certifies a public key; never beyond the issuer's own validity.

    Args:
        issuer: the issuer's key.
        issuer_certificate: the issuer's certificate in DER.
        public_key: raw Ed25519 key to certify, 32 bytes.
        name: common name of its holder, 1 to 64 characters.
        role: what the holder is; see :class:`Role` for who may issue what.
        days: validity.
        authority: whether the holder may issue in turn (same role as the issuer).
        claims: facts vouched for. ``protection`` names where the key lives; without it, a statement under
            this certificate may claim nothing stronger than ``file``.
        not_before: start of validity, Unix seconds; an hour ago unless given.

    Returns:
        The certificate in DER.

    Raises:
        InputError: the issuer may not do this, or a value does not fit.
        EvidenceError: the issuer's certificate cannot be read.
    """
    above = _parse(issuer_certificate)
    checked = _role(role)
    if above.public_key != issuer.public_key:
        raise InputError("this certificate is not the issuer's", where=above.name, field="issuer_certificate")
    if above.path_length is None or checked not in _MAY_ISSUE.get(above.role, frozenset()):
        raise InputError(f"{above.name} ({above.role}) may not certify a {checked}", where=name, field="role")
    if authority and (checked is not above.role or above.path_length < 1):
        raise InputError("an authority has its issuer's role, at most two below the root", where=name)
    start = time.time() - _CLOCK_SKEW if not_before is None else not_before
    return _build(
        issuer,
        issuer_name=above.subject,
        subject=_subject(name, checked),
        public_key=public_key,
        window=(max(start, above.not_before), min(start + days * _DAY, above.not_after)),
        path_length=above.path_length - 1 if authority else None,
        claims=dict(claims or {}),
    )


def verify_chain(chain: Sequence[bytes], roots: Sequence[bytes], *, at: float | None) -> Identity:
    """Checks a chain up to a root and says who its leaf is.

    1. Every certificate is Ed25519, well-formed, and signed by the next; the last is a root or signed by one.
    2. Every issuer is an authority, its path length holds, and it may issue that role.
    3. The time lies within every certificate's validity, the root's included.

    Args:
        chain: DER certificates, leaf first, root included or not. A root alone is a chain.
        roots: DER certificates trusted beforehand.
        at: Unix seconds to judge validity at; None for the present.

    Raises:
        EvidenceError: naming the certificate and what does not hold.
    """
    try:
        identity, not_before, not_after = _verified_path(tuple(chain), tuple(roots))
    except TypeError as error:
        raise EvidenceError("certificates are byte strings", where="x5chain") from error
    moment = time.time() if at is None else at
    if not not_before <= moment <= not_after:
        raise EvidenceError(
            f"valid from {_date(not_before)} to {_date(not_after)}, not at {_date(moment)}",
            where=identity.name,
        )
    return replace(identity, claims=dict(identity.claims))


def check_root(certificate: bytes) -> None:
    """Checks that a certificate can be a root, at whatever time: each statement has its own.

    Raises:
        EvidenceError: not self-signed, no authority, or of a role that is no root's.
    """
    _verified_path((certificate,), (certificate,))


def public_key_of(certificate: bytes) -> bytes:
    """Returns the raw Ed25519 key in a certificate, of which nothing else is believed.

    Raises:
        EvidenceError: not one of our certificates.
    """
    return _parse(certificate).public_key


def name_of(certificate: bytes) -> str:
    """Returns the common name in a certificate, unverified.

    Raises:
        EvidenceError: not one of our certificates.
    """
    return _parse(certificate).name


def certificates_to_pem(chain: Sequence[bytes]) -> bytes:
    """Returns PEM blocks in the order given."""
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in chain)


def certificates_from_pem(data: bytes, *, where: object) -> tuple[bytes, ...]:
    """Reads PEM blocks.

    Raises:
        InputError: no certificate, or one that cannot be read.
    """
    try:
        return tuple(c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(data))
    except Exception as error:
        raise InputError("holds no readable PEM certificates", where=where) from error


@dataclass(frozen=True, kw_only=True)
class _Certificate:
    """What we use of a certificate; ``path_length`` is None for a leaf."""

    parsed: x509.Certificate
    subject: x509.Name
    name: str
    role: Role
    public_key: bytes
    not_before: float
    not_after: float
    path_length: int | None
    claims: Mapping[str, str]


# A log holds many statements under few chains. The result follows from the arguments alone, so remembering it
# changes no answer; errors are not remembered.
@lru_cache(maxsize=512)
def _verified_path(chain: tuple[bytes, ...], roots: tuple[bytes, ...]) -> tuple[Identity, float, float]:
    if not chain:
        raise EvidenceError("no certificates", where="x5chain")
    if len(chain) > LIMITS.chain_certificates:
        raise EvidenceError(f"more than {LIMITS.chain_certificates} certificates", where="x5chain")
    path = [_parse(der) for der in chain]
    if chain[-1] not in roots:
        path.append(_root_above(path[-1], roots))
    root = path[-1]
    if root.role not in _MAY_ISSUE:
        raise EvidenceError(f"a {root.role} cannot be a root", where=root.name)
    _check_issued(root, root, below=len(path) - 2)
    for position in range(len(path) - 1):
        _check_issued(path[position], path[position + 1], below=position)
    leaf = path[0]
    identity = Identity(
        name=leaf.name,
        role=leaf.role,
        public_key=leaf.public_key,
        key_id=key_id_of(leaf.public_key),
        claims=leaf.claims,
        issuer_name=path[min(1, len(path) - 1)].name,
    )
    return identity, max(c.not_before for c in path), min(c.not_after for c in path)


def _root_above(last: _Certificate, roots: tuple[bytes, ...]) -> _Certificate:
    for der in roots:
        candidate = _parse(der)
        if candidate.subject == last.parsed.issuer and _signed_by(last, candidate):
            return candidate
    raise EvidenceError("leads to none of the trusted roots", where=last.name, field="x5chain")


def _signed_by(certificate: _Certificate, issuer: _Certificate) -> bool:
    try:
        certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except Exception:
        return False
    return True


def _check_issued(certificate: _Certificate, issuer: _Certificate, *, below: int) -> None:
    """Checks one step; ``below`` counts the authorities between ``issuer`` and the leaf."""
    if issuer.path_length is None:
        raise EvidenceError("is no authority and cannot certify others", where=issuer.name)
    if below > issuer.path_length:
        raise EvidenceError(
            f"may stand above {issuer.path_length} authorities, not {below}", where=issuer.name
        )
    if not _signed_by(certificate, issuer):
        raise EvidenceError(f"not signed by {issuer.name}", where=certificate.name, field="x5chain")
    if certificate.role not in _MAY_ISSUE.get(issuer.role, frozenset()):
        raise EvidenceError(
            f"{issuer.name} ({issuer.role}) may not certify a {certificate.role}", where=certificate.name
        )
    if certificate.path_length is not None and certificate.role is not issuer.role:
        raise EvidenceError("an authority has its issuer's role", where=certificate.name)


def _build(
    signer: Signer,
    *,
    issuer_name: x509.Name,
    subject: x509.Name,
    public_key: bytes,
    window: tuple[float, float],
    path_length: int | None,
    claims: Mapping[str, str],
) -> bytes:
    try:
        holder = Ed25519PublicKey.from_public_bytes(public_key)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(issuer_name)
            .subject_name(subject)
            .public_key(holder)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime.fromtimestamp(int(window[0]), datetime.UTC))
            .not_valid_after(datetime.datetime.fromtimestamp(int(window[1]), datetime.UTC))
            .add_extension(
                x509.BasicConstraints(ca=path_length is not None, path_length=path_length), critical=True
            )
            .add_extension(_key_usage(authority=path_length is not None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(holder), critical=False)
        )
        if claims:
            extension = x509.UnrecognizedExtension(CLAIMS_OID, _utf8_string(dump_json(_claims(claims))))
            builder = builder.add_extension(extension, critical=False)
    except (ValueError, OverflowError, OSError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be certified: {error}", where=subject.rfc4514_string()) from error
    der = _sign_certificate(builder, signer)
    if len(der) > LIMITS.certificate_bytes:
        raise InputError(f"the certificate is over {LIMITS.certificate_bytes} bytes", field="claims")
    return der


def _sign_certificate(builder: x509.CertificateBuilder, signer: Signer) -> bytes:
    """Signs through the interface: the builder wants a private key, which hardware does not hand out.

    The to-be-signed part, which says nothing of the signing key, is taken from a draft signed with another
    key, then wrapped with the real signature: SEQUENCE {tbs, algorithm, BIT STRING}.
    """
    draft = builder.sign(Ed25519PrivateKey.generate(), None)
    tbs = draft.tbs_certificate_bytes
    algorithm = bytes.fromhex("300506032b6570")  # id-Ed25519, RFC 8410 section 3
    signature = b"\x03\x41\x00" + signer.sign(tbs)
    return _tlv(0x30, tbs + algorithm + signature)


def _parse(der: bytes) -> _Certificate:
    if not isinstance(der, bytes) or not 0 < len(der) <= LIMITS.certificate_bytes:
        raise EvidenceError(f"a certificate is 1 to {LIMITS.certificate_bytes} bytes", where="x5chain")
    try:
        parsed = x509.load_der_x509_certificate(der)
        version, algorithm, holder = parsed.version, parsed.signature_algorithm_oid, parsed.public_key()
        extensions = {extension.oid: extension for extension in parsed.extensions}
        names = [(a.oid, a.value) for a in parsed.subject]
        window = parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp()
    except Exception as error:
        raise EvidenceError(
            f"not a readable certificate ({type(error).__name__})", where="x5chain"
        ) from error
    if version is not x509.Version.v3 or algorithm != SignatureAlgorithmOID.ED25519:
        raise EvidenceError("not an X.509 v3 certificate signed with Ed25519", where="x5chain")
    if not isinstance(holder, Ed25519PublicKey):
        raise EvidenceError("certifies a key that is not Ed25519", where="x5chain")
    if [oid for oid, _ in names] != [NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME]:
        raise EvidenceError("a subject is exactly CN and OU", where="x5chain")
    name, role = names[0][1], names[1][1]
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 64:
        raise EvidenceError("the common name is empty, too long or not printable", where="x5chain")
    if role not in set(Role):
        raise EvidenceError("the organizational unit is no known role", where=name, field="OU")
    return _Certificate(
        parsed=parsed,
        subject=parsed.subject,
        name=name,
        role=Role(role),
        public_key=holder.public_bytes_raw(),
        not_before=window[0],
        not_after=window[1],
        path_length=_path_length(extensions, name),
        claims=_read_claims(extensions, name),
    )


def _path_length(extensions: Mapping[x509.ObjectIdentifier, x509.Extension[Any]], name: str) -> int | None:
    known = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}
    if any(e.critical and oid not in known for oid, e in extensions.items()) or not known <= set(extensions):
        raise EvidenceError(
            "lacks basic constraints or key usage, or has an unknown critical part", where=name
        )
    constraints = extensions[ExtensionOID.BASIC_CONSTRAINTS].value
    usage = extensions[ExtensionOID.KEY_USAGE].value
    if not isinstance(constraints, x509.BasicConstraints) or not isinstance(usage, x509.KeyUsage):
        raise EvidenceError("basic constraints or key usage cannot be read", where=name)
    if not usage.digital_signature or usage.key_cert_sign != constraints.ca:
        raise EvidenceError("key usage does not fit its basic constraints", where=name)
    if not constraints.ca:
        return None
    if constraints.path_length is None:
        raise EvidenceError("an authority states its path length", where=name)
    return constraints.path_length


def _read_claims(
    extensions: Mapping[x509.ObjectIdentifier, x509.Extension[Any]], name: str
) -> Mapping[str, str]:
    extension = extensions.get(CLAIMS_OID)
    if extension is None:
        return {}
    data = extension.value.value if isinstance(extension.value, x509.UnrecognizedExtension) else b""
    # Only the exact encoding that _utf8_string writes is taken, so the length needs no parser of its own.
    for header in (2, 3, 4):
        if data == _utf8_string(data[header:]):
            claims = load_json(data[header:], where=name)
            try:
                return _claims(claims)
            except InputError as error:
                raise EvidenceError(error.what, where=name, field="claims") from error
    raise EvidenceError("claims are not a UTF8String", where=name, field="claims")


def _claims(claims: object) -> dict[str, str]:
    if not isinstance(claims, Mapping) or len(claims) > LIMITS.claims:
        raise InputError(f"claims are a map of at most {LIMITS.claims} strings", field="claims")
    for key, value in claims.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError("claims map text to text", field=f"claims.{key!r:.40}")
    return dict(claims)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str, role: Role) -> x509.Name:
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 64:
        raise InputError("a name is 1 to 64 printable characters", where=repr(name)[:80], field="name")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role.value),
        ]
    )


def _role(role: Role | str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise InputError(f"not a role: {role!r:.40}; one of {_one_of(Role)}", field="role") from None


def _utf8_string(data: bytes) -> bytes:
    return _tlv(0x0C, data)


def _tlv(tag: int, data: bytes) -> bytes:
    size = len(data)
    if size < 0x80:
        return bytes([tag, size]) + data
    width = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + size.to_bytes(width, "big") + data


def _one_of(roles: object) -> str:
    return " or ".join(str(role) for role in roles)  # type: ignore[attr-defined]


def _date(seconds: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s"
