"""What reaches the agent from outside while it runs: an inspector's nonces, and the newest value for brackets."""

import hashlib
import secrets
from pathlib import Path

from weighbridge.errors import InputError
from weighbridge.evidence.files import replace_whole

__all__ = ["Bracket", "Requests", "check_nonce"]

_BRACKET_BYTES = 1 << 16


def check_nonce(nonce: str) -> str:
    """Returns a nonce in lower-case hex.

    Raises:
        InputError: not 8 to 64 bytes of hex (RFC 9711 section 4.1).
    """
    try:
        value = bytes.fromhex(nonce)
    except ValueError:
        value = b""
    if not 8 <= len(value) <= 64:
        raise InputError("a nonce is 8 to 64 bytes in hexadecimal", where=nonce[:80], field="nonce")
    return value.hex()


class Requests:
    """Nonces left for a running agent, one file each, named by the nonce.

    Args:
        directory: the chip's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / "requests"

    def leave(self, nonce: str) -> None:
        """Leaves a nonce for the agent."""
        replace_whole(self._folder / f"{nonce}-{secrets.token_hex(4)}.nonce", b"", mode=0o600)

    def take(self) -> list[str]:
        """Returns the nonces that have come, and removes them."""
        found = []
        for path in sorted(self._folder.glob("*.nonce")):
            path.unlink(missing_ok=True)
            try:
                found.append(check_nonce(path.stem.partition("-")[0]))
            except InputError:
                continue
        return found


class Bracket:
    """The newest checkpoint or inspector's value that the agent has seen.

    Args:
        path: the file that is kept fresh by somebody else, or None.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self.digest = ""
        self.look()

    def look(self) -> None:
        """Reads the file again if it has changed; a file that is gone leaves the last value standing."""
        if self._path is None:
            return
        try:
            status = self._path.stat()
            if (status.st_mtime_ns, status.st_ino) != self._seen:
                with self._path.open("rb") as file:
                    value = file.read(_BRACKET_BYTES)
                if value:
                    self.digest = hashlib.sha256(value).hexdigest()
                    self._seen = (status.st_mtime_ns, status.st_ino)
        except OSError:
            return
