"""X.509 chains: maker to chip, inspectorate to everybody else. Ed25519 only; the role is in the certificate.

A certificate's subject is exactly CN (the name) and OU (a :class:`Role`). Facts that the issuer vouches for,
such as a chip's committed schedule, are *claims*: a map of strings in one private, non-critical extension.
"""

import datetime
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificate_form import (
    CLAIMS_OID,
    Certificate,
    Role,
    build_certificate,
    certificates_from_pem,
    certificates_to_pem,
    parse_certificate,
    parse_role,
    subject_name,
)
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
    "role_of",
    "verify_chain",
]

_DAY = 86_400.0
_CLOCK_SKEW = 3_600.0  # seconds; the holder's clock may run a little behind the issuer's
_ROOT_PATH_LENGTH = LIMITS.chain_certificates - 2


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
    checked = parse_role(role)
    if checked not in _MAY_ISSUE:
        raise InputError(f"a root is a {_one_of(_MAY_ISSUE)}, not {checked}", where=name, field="role")
    start = time.time() - _CLOCK_SKEW if not_before is None else not_before
    return build_certificate(
        signer,
        issuer_name=subject_name(name, checked),
        subject=subject_name(name, checked),
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
    above = parse_certificate(issuer_certificate)
    checked = parse_role(role)
    if above.public_key != issuer.public_key:
        raise InputError("this certificate is not the issuer's", where=above.name, field="issuer_certificate")
    if above.path_length is None or checked not in _MAY_ISSUE.get(above.role, frozenset()):
        raise InputError(f"{above.name} ({above.role}) may not certify a {checked}", where=name, field="role")
    if authority and (checked is not above.role or above.path_length < 1):
        raise InputError("an authority has its issuer's role, at most two below the root", where=name)
    start = time.time() - _CLOCK_SKEW if not_before is None else not_before
    return build_certificate(
        issuer,
        issuer_name=above.subject,
        subject=subject_name(name, checked),
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
    return parse_certificate(certificate).public_key


def name_of(certificate: bytes) -> str:
    """Returns the common name in a certificate, unverified.

    Raises:
        EvidenceError: not one of our certificates.
    """
    return parse_certificate(certificate).name


def role_of(certificate: bytes) -> Role:
    """Returns the role in a certificate, unverified.

    Raises:
        EvidenceError: not one of our certificates.
    """
    return parse_certificate(certificate).role


# A log holds many statements under few chains. The result follows from the arguments alone, so remembering it
# changes no answer; errors are not remembered.
@lru_cache(maxsize=512)
def _verified_path(chain: tuple[bytes, ...], roots: tuple[bytes, ...]) -> tuple[Identity, float, float]:
    if not chain:
        raise EvidenceError("no certificates", where="x5chain")
    if len(chain) > LIMITS.chain_certificates:
        raise EvidenceError(f"more than {LIMITS.chain_certificates} certificates", where="x5chain")
    path = [parse_certificate(der) for der in chain]
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


def _root_above(last: Certificate, roots: tuple[bytes, ...]) -> Certificate:
    for der in roots:
        candidate = parse_certificate(der)
        if candidate.subject == last.issuer and _signed_by(last, candidate):
            return candidate
    raise EvidenceError("leads to none of the trusted roots", where=last.name, field="x5chain")


def _signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except Exception:
        return False
    return True


def _check_issued(certificate: Certificate, issuer: Certificate, *, below: int) -> None:
    """Checks one step; ``below`` counts the authorities between ``issuer`` and the leaf."""
    if issuer.path_length is None:
        raise EvidenceError("is no authority and cannot certify others", where=issuer.name)
    if below > issuer.path_length:
        raise EvidenceError(f"may stand above {issuer.path_length} authorities, not {below}", where=issuer.name)
    if not _signed_by(certificate, issuer):
        raise EvidenceError(f"not signed by {issuer.name}", where=certificate.name, field="x5chain")
    if certificate.role not in _MAY_ISSUE.get(issuer.role, frozenset()):
        raise EvidenceError(
            f"{issuer.name} ({issuer.role}) may not certify a {certificate.role}", where=certificate.name
        )
    if certificate.path_length is not None and certificate.role is not issuer.role:
        raise EvidenceError("an authority has its issuer's role", where=certificate.name)


def _one_of(roles: Iterable[Role]) -> str:
    return " or ".join(roles)


def _date(seconds: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s"
