"""ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381): a number that one key holder alone can compute and anybody can check.

Group operations are libsodium's (PyNaCl, the extra ``draws``). Steps are numbered as in the RFC. libsodium multiplies
only points of the prime-order subgroup, so a proof whose Gamma lies outside is refused where the RFC would go on to
compare; an honest Gamma never does. Python's integers are not constant-time: use a key for draws and nothing else.
"""

import hashlib
from types import ModuleType

from weighbridge.errors import EvidenceError, InputError, MissingToolError
from weighbridge.evidence.keys import is_weak_key

__all__ = ["PROOF_BYTES", "vrf_prove", "vrf_public_key", "vrf_verify"]

PROOF_BYTES = 80
"""Gamma (32), c (16) and s (32)."""

_SUITE = b"\x03"
_ORDER = 2**252 + 27742317777372353535851937790883648493
_PRIME = 2**255 - 19


def vrf_public_key(secret: bytes) -> bytes:
    """Returns Y, 32 bytes, for a secret of 32 random bytes (section 5.5: the key pair of RFC 8032)."""
    scalar, _ = _expand(secret)
    return _times_base(scalar)


def vrf_prove(secret: bytes, alpha: bytes) -> bytes:
    """Returns the proof pi, 80 bytes (section 5.1).

    Args:
        secret: 32 random bytes.
        alpha: what the number is drawn for.

    Raises:
        InputError: the secret is not 32 bytes.
        MissingToolError: PyNaCl is not installed.
    """
    scalar, prefix = _expand(secret)  # 1
    public = _times_base(scalar)
    point = _encode_to_curve(public, alpha)  # 2, 3
    gamma = _times(scalar, point)  # 4
    nonce = int.from_bytes(hashlib.sha512(prefix + point).digest(), "little") % _ORDER  # 5, section 5.4.2.2
    c = _challenge(public, point, gamma, _times_base(nonce), _times(nonce, point))  # 6
    s = (nonce + c * scalar) % _ORDER  # 7
    return gamma + c.to_bytes(16, "little") + s.to_bytes(32, "little")  # 8


def vrf_verify(public: bytes, proof: bytes, alpha: bytes) -> bytes:
    """Verifies a proof (section 5.3) under a key that is itself validated, and returns beta, 64 bytes (section 5.2).

    Raises:
        EvidenceError: the key or the proof is no proper one, or the proof does not hold for ``alpha``.
        MissingToolError: PyNaCl is not installed.
    """
    if len(public) != 32 or is_weak_key(public) or not _bindings().crypto_core_ed25519_is_valid_point(public):
        raise EvidenceError("is not a point of the prime-order subgroup", where="VRF", field="public key")  # 1 to 3
    if len(proof) != PROOF_BYTES:
        raise EvidenceError(f"has {len(proof)} bytes, not {PROOF_BYTES}", where="VRF", field="proof")
    gamma, c, s = proof[:32], int.from_bytes(proof[32:48], "little"), int.from_bytes(proof[48:], "little")  # 4 to 6
    if s >= _ORDER or not _bindings().crypto_core_ed25519_is_valid_point(gamma):
        raise EvidenceError("holds no proper point or number", where="VRF", field="proof")
    point = _encode_to_curve(public, alpha)  # 7
    try:
        u = _minus(_times_base(s), _times(c, public))  # 8
        v = _minus(_times(s, point), _times(c, gamma))  # 9
    except RuntimeError as error:  # libsodium refuses what comes out as the neutral element
        raise EvidenceError("holds no proper point or number", where="VRF", field="proof") from error
    if _challenge(public, point, gamma, u, v) != c:  # 10, 11
        raise EvidenceError("does not hold for this key and input", where="VRF", field="proof")
    return hashlib.sha512(_SUITE + b"\x03" + _times_cofactor(gamma) + b"\x00").digest()


def _encode_to_curve(public: bytes, alpha: bytes) -> bytes:
    """Section 5.4.1.1, try and increment; the salt is the public key (section 5.5)."""
    for counter in range(256):
        digest = hashlib.sha512(_SUITE + b"\x01" + public + alpha + bytes([counter]) + b"\x00").digest()[:32]
        if int.from_bytes(digest, "little") % (1 << 255) >= _PRIME:
            continue
        try:
            return _times_cofactor(digest)
        except RuntimeError:  # not a point: the RFC's "try the next"
            continue
    raise EvidenceError("no counter gives a point", where="VRF", field="alpha")


def _challenge(*points: bytes) -> int:
    """Section 5.4.3."""
    return int.from_bytes(hashlib.sha512(_SUITE + b"\x02" + b"".join(points) + b"\x00").digest()[:16], "little")


def _expand(secret: bytes) -> tuple[int, bytes]:
    if len(secret) != 32:
        raise InputError(f"has {len(secret)} bytes, not 32", where="VRF", field="secret")
    digest = bytearray(hashlib.sha512(secret).digest())
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    return int.from_bytes(digest[:32], "little"), bytes(digest[32:])


def _times(scalar: int, point: bytes) -> bytes:
    product: bytes = _bindings().crypto_scalarmult_ed25519_noclamp((scalar % _ORDER).to_bytes(32, "little"), point)
    return product


def _times_base(scalar: int) -> bytes:
    product: bytes = _bindings().crypto_scalarmult_ed25519_base_noclamp((scalar % _ORDER).to_bytes(32, "little"))
    return product


def _times_cofactor(point: bytes) -> bytes:
    for _ in range(3):
        point = _bindings().crypto_core_ed25519_add(point, point)
    return point


def _minus(one: bytes, other: bytes) -> bytes:
    difference: bytes = _bindings().crypto_core_ed25519_sub(one, other)
    return difference


def _bindings() -> ModuleType:
    try:
        from nacl import bindings
    except ImportError as error:
        raise MissingToolError(
            "a draw by ECVRF needs PyNaCl", where="VRF", mend="pip install 'weighbridge[draws]'"
        ) from error
    return bindings
