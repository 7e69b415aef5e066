"""What our certificates look like in DER: how they are written, and the strict way in which they are read.

A subject is exactly CN (the name) and OU (a :class:`Role`); keys and signatures are Ed25519; claims are a
small map of strings in one private, non-critical extension. What they mean is decided in
:mod:`weighbridge.evidence.certificates`.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID, SignatureAlgorithmOID

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.jsontext import dump_json, load_json
from weighbridge.evidence.keys import Signer, is_weak_key
from weighbridge.evidence.limits import LIMITS

__all__ = [
    "CLAIMS_OID",
    "Certificate",
    "Role",
    "build_certificate",
    "certificates_from_pem",
    "certificates_to_pem",
    "parse_certificate",
    "parse_role",
    "subject_name",
]

CLAIMS_OID = x509.ObjectIdentifier("2.25.147692168694554022736870403570858203921")
"""Our claims extension, under 2.25 where ITU-T X.667 lets anyone use a UUID: JSON in a UTF8String."""


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


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What we use of a certificate.

    Attributes:
        parsed: the certificate as the library holds it.
        subject: its subject.
        issuer: the subject of the certificate above.
        name: common name.
        role: organizational unit.
        public_key: raw Ed25519 key, 32 bytes.
        not_before: start of validity, Unix seconds.
        not_after: end of validity, Unix seconds.
        path_length: authorities that may stand below it; None for one that may certify nobody.
        claims: what the issuer vouches for.
    """

    parsed: x509.Certificate
    subject: x509.Name
    issuer: x509.Name
    name: str
    role: Role
    public_key: bytes
    not_before: float
    not_after: float
    path_length: int | None
    claims: Mapping[str, str]


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


def build_certificate(
    signer: Signer,
    *,
    issuer_name: x509.Name,
    subject: x509.Name,
    public_key: bytes,
    window: tuple[float, float],
    path_length: int | None,
    claims: Mapping[str, str],
) -> bytes:
    """Writes and signs a certificate.

    Args:
        signer: the issuer's key.
        issuer_name: the issuer's subject.
        subject: the holder.
        public_key: the holder's raw Ed25519 key.
        window: start and end of validity, Unix seconds.
        path_length: see :class:`Certificate`.
        claims: see :class:`Certificate`.

    Returns:
        DER.

    Raises:
        InputError: a value that a certificate cannot hold.
    """
    try:
        holder = Ed25519PublicKey.from_public_bytes(public_key)
        above = Ed25519PublicKey.from_public_bytes(signer.public_key)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(issuer_name)
            .subject_name(subject)
            .public_key(holder)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime.fromtimestamp(int(window[0]), datetime.UTC))
            .not_valid_after(datetime.datetime.fromtimestamp(int(window[1]), datetime.UTC))
            .add_extension(x509.BasicConstraints(ca=path_length is not None, path_length=path_length), critical=True)
            .add_extension(_key_usage(authority=path_length is not None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(holder), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
        )
        if claims:
            extension = x509.UnrecognizedExtension(CLAIMS_OID, _utf8_string(dump_json(_claims(claims))))
            builder = builder.add_extension(extension, critical=False)
    except (ValueError, OverflowError, OSError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be certified: {error}", where=subject.rfc4514_string()) from error
    if is_weak_key(public_key):
        raise InputError("a key of small order binds nobody", where=subject.rfc4514_string(), field="public_key")
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
    return _wrap(draft.tbs_certificate_bytes, signer.sign(draft.tbs_certificate_bytes))


def _wrap(tbs: bytes, signature: bytes) -> bytes:
    algorithm = bytes.fromhex("300506032b6570")  # id-Ed25519, RFC 8410 section 3
    return _tlv(0x30, tbs + algorithm + b"\x03\x41\x00" + signature)


def parse_certificate(der: bytes) -> Certificate:
    """Reads one DER certificate in our form; its signature is not checked.

    Raises:
        EvidenceError: anything else.
    """
    if not isinstance(der, bytes) or not 0 < len(der) <= LIMITS.certificate_bytes:
        raise EvidenceError(f"a certificate is 1 to {LIMITS.certificate_bytes} bytes", where="x5chain")
    try:
        parsed = x509.load_der_x509_certificate(der)
        version, algorithm, holder = parsed.version, parsed.signature_algorithm_oid, parsed.public_key()
        extensions = {extension.oid: extension for extension in parsed.extensions}
        subject, issuer = parsed.subject, parsed.issuer
        exact = _wrap(parsed.tbs_certificate_bytes, parsed.signature)
        names = [(a.oid, a.value) for a in subject]
        window = parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp()
    except Exception as error:
        raise EvidenceError(f"not a readable certificate ({type(error).__name__})", where="x5chain") from error
    if version is not x509.Version.v3 or algorithm != SignatureAlgorithmOID.ED25519:
        raise EvidenceError("not an X.509 v3 certificate signed with Ed25519", where="x5chain")
    # The library reads some encodings that are not DER, unused bits in the signature among them.
    if der != exact:
        raise EvidenceError("not in its one encoding (DER)", where="x5chain")
    if not isinstance(holder, Ed25519PublicKey):
        raise EvidenceError("certifies a key that is not Ed25519", where="x5chain")
    if is_weak_key(holder.public_bytes_raw()):
        raise EvidenceError("certifies a key of small order, which binds nobody", where="x5chain")
    if [oid for oid, _ in names] != [NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME]:
        raise EvidenceError("a subject is exactly CN and OU", where="x5chain")
    name, role = names[0][1], names[1][1]
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 64:
        raise EvidenceError("the common name is empty, too long or not printable", where="x5chain")
    if role not in set(Role):
        raise EvidenceError("the organizational unit is no known role", where=name, field="OU")
    return Certificate(
        parsed=parsed,
        subject=subject,
        issuer=issuer,
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
        raise EvidenceError("lacks basic constraints or key usage, or has an unknown critical part", where=name)
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


def _read_claims(extensions: Mapping[x509.ObjectIdentifier, x509.Extension[Any]], name: str) -> Mapping[str, str]:
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


def subject_name(name: str, role: Role) -> x509.Name:
    """Returns the subject CN=name, OU=role.

    Raises:
        InputError: a name that a certificate cannot hold.
    """
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 64:
        raise InputError("a name is 1 to 64 printable characters", where=repr(name)[:80], field="name")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role.value),
        ]
    )


def parse_role(role: Role | str) -> Role:
    """Returns the role by its word.

    Raises:
        InputError: no such role.
    """
    try:
        return Role(role)
    except ValueError:
        raise InputError(f"not a role: {role!r:.40}; one of {', '.join(Role)}", field="role") from None


def _utf8_string(data: bytes) -> bytes:
    return _tlv(0x0C, data)


def _tlv(tag: int, data: bytes) -> bytes:
    size = len(data)
    if size < 0x80:
        return bytes([tag, size]) + data
    width = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + size.to_bytes(width, "big") + data
