"""What a checker trusts beforehand: root certificates, a log's key, a checkpoint kept from outside."""

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import (
    certificates_from_pem,
    certificates_to_pem,
    check_root,
)
from weighbridge.evidence.files import replace_whole
from weighbridge.evidence.limits import LIMITS

__all__ = ["LogKey", "TrustRoots"]

_SIGNATURE_TYPE = 0x01  # plain Ed25519, C2SP signed-note
_COSIGNATURE_TYPE = 0x04  # timestamped Ed25519, C2SP tlog-cosignature


@dataclass(frozen=True)
class LogKey:
    """A log's name and key, as a C2SP verifier key holds them.

    Attributes:
        origin: the log's name, first line of each checkpoint.
        public_key: raw Ed25519 public key, 32 bytes.
    """

    origin: str
    public_key: bytes

    def __post_init__(self) -> None:
        plain = self.origin.isascii() and self.origin.isprintable() and not set(self.origin) & set(" +")
        # A cosigned message begins with this line: as an origin it could stand for a note.
        if not plain or not 0 < len(self.origin) <= LIMITS.text_bytes or self.origin.startswith("cosignature/"):
            raise InputError(
                "a log's origin is printable ASCII without spaces or plus signs, like example.org/log",
                where=repr(self.origin)[:80],
                field="origin",
            )
        if len(self.public_key) != 32:
            raise InputError("an Ed25519 public key is 32 bytes", where=self.origin, field="public_key")

    @property
    def key_hash(self) -> bytes:
        """The 4 bytes that name this key on signature lines."""
        return self._hash(_SIGNATURE_TYPE)

    @property
    def cosignature_hash(self) -> bytes:
        """The 4 bytes that name the same key on timestamped cosignature lines."""
        return self._hash(_COSIGNATURE_TYPE)

    def vkey(self) -> str:
        """Returns the C2SP verifier key line ``ORIGIN+HASH+KEY``, without a line end."""
        return self._line(_SIGNATURE_TYPE)

    def cosignature_vkey(self) -> str:
        """Returns the verifier key line for the timestamped cosignature."""
        return self._line(_COSIGNATURE_TYPE)

    @classmethod
    def parse(cls, line: str, *, where: object = "log.vkey") -> Self:
        """Reads a verifier key line.

        Raises:
            InputError: not a C2SP Ed25519 verifier key, or its hash does not fit.
        """
        parts = line.strip().split("+", 2)
        try:
            origin, _, encoded = parts
            key = base64.b64decode(encoded, validate=True)
            found = cls(origin, key[1:])
        except ValueError as error:
            raise InputError(
                "not a verifier key (ORIGIN+HASH+KEY, C2SP signed-note)", where=where, field="vkey"
            ) from error
        if key[0] != _SIGNATURE_TYPE or line.strip() != found.vkey():
            raise InputError("the verifier key's hash or type does not fit", where=where, field="vkey")
        return found

    def _hash(self, kind: int) -> bytes:
        return hashlib.sha256(self.origin.encode() + b"\n" + bytes([kind]) + self.public_key).digest()[:4]

    def _line(self, kind: int) -> str:
        encoded = base64.b64encode(bytes([kind]) + self.public_key).decode()
        return f"{self.origin}+{self._hash(kind).hex()}+{encoded}"


@dataclass(frozen=True, kw_only=True)
class TrustRoots:
    """What is trusted before anything is read; it comes from outside the evidence.

    Attributes:
        roots: root certificates, DER.
        log_key: the log whose receipts and checkpoints count.
        checkpoint: a checkpoint that the inspector kept, or None; a log must extend it.
    """

    roots: tuple[bytes, ...]
    log_key: LogKey
    checkpoint: bytes | None = None

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Self:
        """Reads every ``*.pem`` root, ``log.vkey`` and, if there, ``checkpoint``.

        Raises:
            InputError: no directory, no root, no log key, or one that cannot be used.
        """
        folder = Path(directory)
        if not folder.is_dir():
            raise InputError("no such directory of trust roots", where=folder)
        files = sorted(folder.glob("*.pem"))
        if len(files) > LIMITS.root_files:
            raise InputError(f"more than {LIMITS.root_files} root certificates", where=folder)
        roots: list[bytes] = []
        for file in files:
            found = certificates_from_pem(_read(file, LIMITS.key_file_bytes), where=file)
            for certificate in found:
                _check_root(certificate, file)
            roots += found
        if not roots:
            raise InputError("no root certificates (*.pem)", where=folder, mend="trust nothing, or add one")
        key_file = folder / "log.vkey"
        if not key_file.is_file():
            raise InputError("no log.vkey beside the root certificates", where=folder)
        try:
            line = _read(key_file, LIMITS.key_file_bytes).decode("ascii")
        except UnicodeDecodeError:
            raise InputError("not a verifier key", where=key_file) from None
        checkpoint_file = folder / "checkpoint"
        kept = _read(checkpoint_file, LIMITS.checkpoint_bytes) if checkpoint_file.is_file() else None
        return cls(roots=tuple(roots), log_key=LogKey.parse(line, where=key_file), checkpoint=kept)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes what :meth:`load` reads; files that say the same are left, others never overwritten.

        Raises:
            InputError: the directory holds other roots, another key or another checkpoint.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        files = {"log.vkey": self.log_key.vkey().encode() + b"\n"}
        for number, root in enumerate(self.roots):
            files[f"root-{number}.pem"] = certificates_to_pem([root])
        if self.checkpoint is not None:
            files["checkpoint"] = self.checkpoint
        present = {p.name for p in folder.iterdir() if p.suffix == ".pem" or p.name in ("log.vkey", "checkpoint")}
        for name in sorted(present):
            path = folder / name
            if name not in files or not path.is_file() or path.read_bytes() != files[name]:
                raise InputError("trust roots of another origin are there already", where=path)
        for name in sorted(set(files) - present):
            replace_whole(folder / name, files[name])


def _check_root(certificate: bytes, where: Path) -> None:
    try:
        check_root(certificate)
    except EvidenceError as error:
        raise InputError(f"not a root certificate: {error}", where=where) from error


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InputError(f"larger than {limit} bytes", where=path)
    return data
