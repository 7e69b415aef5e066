"""The inspector's part in every seed: each logged commitment is answered with the nonce that follows from one key."""

import secrets
from collections.abc import Iterable
from pathlib import Path

from weighbridge.errors import InputError
from weighbridge.evidence.files import replace_durably
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.log import LogEntry
from weighbridge.evidence.statement import Statement, sign_statement
from weighbridge.mechanisms.transcript.commitment import COMMITMENT, NONCE, inspector_nonce

__all__ = ["NonceService", "load_nonce_key"]


class NonceService:
    """Answers run commitments for a keeper; the key's hash must be in the plan before the first of them."""

    def __init__(self, inspector: Signer, key: bytes) -> None:
        self._inspector, self._key = inspector, key

    def __call__(self, statement: Statement, entry: LogEntry) -> Iterable[bytes]:
        """Yields the signed nonce if the entry is a commitment, else nothing."""
        if statement.kind == COMMITMENT:
            nonce = inspector_nonce(self._key, statement.id)
            yield sign_statement(
                self._inspector,
                kind=NONCE,
                subject=statement.id,
                payload={"run": statement.id, "nonce": nonce.hex()},
            )


def load_nonce_key(path: Path) -> bytes:
    """Reads a nonce key (64 hexadecimal digits), or makes one, readable by its owner only.

    Raises:
        InputError: the file holds something else, or others can read it.
    """
    if not path.exists():
        replace_durably(path, secrets.token_bytes(32).hex().encode(), mode=0o600)
    if path.stat().st_mode & 0o077:
        raise InputError("can be read by others", where=path, mend="chmod 600")
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError as error:
        raise InputError("is not hexadecimal", where=path) from error
    if len(key) != 32:
        raise InputError("does not hold 32 bytes", where=path)
    return key
