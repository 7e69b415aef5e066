"""Files that a program reads its data from by itself: committed, and shown to its replay where they lay."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import open_regular
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.replay_data import place_inside
from weighbridge.sandbox import Bind

__all__ = ["DataFiles"]

_CHUNK: Final = 8 << 20
_MOST_FILES: Final = 10_000
_HEX: Final = "[0-9a-f]{64}"


@dataclass(frozen=True)
class DataFiles:
    """Plain files by absolute path: BLAKE3 digest (hex) and size in bytes."""

    files: Mapping[str, tuple[str, int]]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "DataFiles":
        """Reads files, and every plain file below folders; links are followed.

        Raises:
            InputError: something is not there or not readable, or there are more than 10,000 files.
        """
        found: dict[str, tuple[str, int]] = {}
        for path in paths:
            whole = path.resolve()
            if not whole.exists():
                raise InputError("is not there", where=path, field="--data", mend="name the files that hold the data")
            for file in sorted(_plain(whole)):
                found[str(file)] = _digest(file)
                if len(found) > _MOST_FILES:
                    mend = "pack them into fewer files"
                    raise InputError(f"holds more than {_MOST_FILES:,} files", where=path, field="--data", mend=mend)
        return cls(found)

    @property
    def root(self) -> bytes:
        """BLAKE3 over paths, digests and sizes (32 bytes)."""
        listing = [[path, *told] for path, told in sorted(self.files.items())]
        return blake3(b"weighbridge/data-files/1" + canonical(listing)).digest()

    def describe(self) -> dict[str, Any]:
        """Returns what the run commits to."""
        return {"root": self.root.hex(), "arrays": {}, "files": {path: list(told) for path, told in self.files.items()}}

    @classmethod
    def binds(cls, described: Mapping[str, Any], handed: Path | None = None) -> list[Bind]:
        """Returns the binds that show the committed files at their places.

        Args:
            described: what the run committed to.
            handed: folder in which the operator handed the files over, each under its own name or its digest's; what
                is not there is looked for at its committed path.

        Raises:
            EvidenceError: a file is not what was committed, or its path is no place in a sandbox.
            InputError: a file is not there.
        """
        shown = []
        for path, (digest, size) in described.get("files", {}).items():
            place = place_inside(path, "data.files")
            host = _handed(handed, place, digest) or place
            if not host.is_file():
                mend = "put the file at its committed path, or into the folder of what was handed over"
                raise InputError("is not there", where=place, mend=mend)
            if _digest(host) != (digest, size):
                raise EvidenceError("is not the file that was committed", where=host)
            shown.append(Bind(host, place))
        return shown


def _handed(folder: Path | None, place: Path, digest: str) -> Path | None:
    """Returns the file handed over for a committed one; two of one name need their digests for names."""
    named = [folder / digest, folder / place.name] if folder is not None and re.fullmatch(_HEX, digest) else []
    return next((path for path in named if path.is_file()), None)


def _plain(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        found += [Path(folder) / name for name in names if (Path(folder) / name).is_file()]
    return found


def _digest(path: Path) -> tuple[str, int]:
    hasher, size = blake3(), 0
    try:
        with open_regular(path, follow=True) as file:
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
    return hasher.hexdigest(), size
