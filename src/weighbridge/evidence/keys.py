"""Signing keys: an interface that hardware can implement, and Ed25519 keys in files of their owner only."""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import open_regular, replace_durably
from weighbridge.evidence.limits import LIMITS

__all__ = ["PROTECTIONS", "FileSigner", "Signer", "is_weak_key", "key_id_of", "read_private", "signature_holds"]

PROTECTIONS = ("file", "pkcs11", "tpm", "silicon")
"""Where a private key can live, weakest first (protocol section 1)."""

# The points of small order on edwards25519, other spellings of them included. Under such a key one signature
# holds for an eighth or more of all messages: whoever has it certified can say that they signed something else.
_Y_OF_ORDER_8 = (
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
)
_PRIME = 2**255 - 19
_WEAK = frozenset(
    bytes([*y[:31], y[31] | sign])
    for y in (*_Y_OF_ORDER_8, *(n.to_bytes(32, "little") for n in (0, 1, _PRIME - 1, _PRIME, _PRIME + 1)))
    for sign in (0, 0x80)
)


def is_weak_key(public_key: bytes) -> bool:
    """Returns whether a raw Ed25519 public key is a point of small order, which binds nobody to what it signed."""
    return public_key in _WEAK


def key_id_of(public_key: bytes) -> str:
    """Returns the SHA-256 of the raw public key, hex: a chip's id is its key's."""
    return hashlib.sha256(public_key).hexdigest()


def signature_holds(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Returns whether ``signature`` over ``message`` verifies under a raw Ed25519 public key."""
    if is_weak_key(public_key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@runtime_checkable
class Signer(Protocol):
    """Whatever can sign: a file, a PKCS#11 token, a TPM, a chip."""

    @property
    def public_key(self) -> bytes:
        """Raw Ed25519 public key, 32 bytes."""
        ...

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, hex."""
        ...

    @property
    def protection(self) -> str:
        """One of :data:`PROTECTIONS`."""
        ...

    @property
    def chain(self) -> tuple[bytes, ...]:
        """DER certificates, leaf first; empty before a certificate was issued."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Returns the 64-byte Ed25519 signature over ``message``."""
        ...


class FileSigner:
    """An Ed25519 key in a PEM file that its owner alone can read, its chain beside it.

    The chain is public and lies in ``PATH.chain.pem``. Make one with :meth:`create` or :meth:`load`.
    """

    def __init__(self, private_key: Ed25519PrivateKey, path: Path, chain: tuple[bytes, ...]) -> None:
        self._private_key = private_key
        self._path = path
        self._chain = chain
        self._public_key = private_key.public_key().public_bytes_raw()

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, chain: Sequence[bytes] = ()) -> Self:
        """Draws a key and writes it; nothing is ever overwritten.

        Args:
            path: where the key goes, mode 0600.
            chain: DER certificates, leaf first; usually none yet.

        Raises:
            InputError: the file exists or cannot be written.
        """
        target = Path(path)
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(target, flags, 0o600)
        except FileExistsError:
            raise InputError("a key is there already", where=target, mend="choose another path") from None
        except OSError as error:
            raise InputError(f"cannot write a key: {error.strerror}", where=target) from error
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        signer = cls(key, target, ())
        return signer.with_chain(chain) if chain else signer

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a key and its chain.

        Raises:
            InputError: no such file, readable by others than its owner, or not an Ed25519 key in PEM.
        """
        source = Path(path)
        pem = read_private(source)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except Exception as error:
            raise InputError("not an unencrypted PEM private key", where=source) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError("not an Ed25519 key", where=source, mend="create one with FileSigner.create")
        chain_path = _chain_path(source)
        if not chain_path.exists():
            return cls(key, source, ())
        from weighbridge.evidence.certificates import certificates_from_pem

        chain = certificates_from_pem(_read_small(chain_path), where=chain_path)
        _check_leaf(chain, key.public_key().public_bytes_raw(), chain_path)
        return cls(key, source, chain)

    def with_chain(self, chain: Sequence[bytes]) -> Self:
        """Writes the chain file, replacing an older one, and returns a signer that carries it.

        Raises:
            InputError: the first certificate is not for this key.
        """
        from weighbridge.evidence.certificates import certificates_to_pem

        _check_leaf(chain, self._public_key, self._path)
        replace_durably(_chain_path(self._path), certificates_to_pem(chain), mode=0o644)
        return type(self)(self._private_key, self._path, tuple(chain))

    @property
    def public_key(self) -> bytes:
        """Raw Ed25519 public key, 32 bytes."""
        return self._public_key

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, hex."""
        return key_id_of(self._public_key)

    @property
    def protection(self) -> str:
        """Always ``file``: whoever is root on the machine can take the key."""
        return "file"

    @property
    def chain(self) -> tuple[bytes, ...]:
        """DER certificates, leaf first."""
        return self._chain

    @property
    def path(self) -> Path:
        """The key's file."""
        return self._path

    def sign(self, message: bytes) -> bytes:
        """Returns the 64-byte Ed25519 signature over ``message``."""
        return self._private_key.sign(message)

    def __repr__(self) -> str:
        return f"FileSigner({str(self._path)!r}, key_id={self.key_id[:16]}…)"


def _chain_path(path: Path) -> Path:
    return path.with_name(path.name + ".chain.pem")


def _check_leaf(chain: Sequence[bytes], public_key: bytes, where: Path) -> None:
    from weighbridge.evidence.certificates import public_key_of

    try:
        certified = public_key_of(chain[0]) if chain else b""
    except EvidenceError as error:
        raise InputError(error.what, where=where, field="chain") from error
    if certified != public_key:
        raise InputError("the chain's first certificate is not for this key", where=where, field="chain")


def _read_small(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LIMITS.key_file_bytes + 1)
    if len(data) > LIMITS.key_file_bytes:
        raise InputError(f"larger than {LIMITS.key_file_bytes} bytes", where=path)
    return data


def read_private(path: Path) -> bytes:
    """Reads a file that its owner alone can read.

    Raises:
        InputError: it is no such file, open to others, or too large for a key.
    """
    try:
        with open_regular(path, follow=True) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(LIMITS.key_file_bytes + 1)
    except OSError as error:
        raise InputError(f"cannot read the key: {error.strerror}", where=path) from error
    if mode & 0o077:
        raise InputError(
            f"the key is open to others than its owner (mode {mode:04o})",
            where=path,
            mend=f"chmod 600 {path}, and replace the key if others may have read it",
        )
    if len(data) > LIMITS.key_file_bytes:
        raise InputError(f"larger than {LIMITS.key_file_bytes} bytes", where=path)
    return data
