"""What the agent says about itself and its host: a digest of its own sources, a digest of the host's boot."""

import ctypes
import hashlib
import os
from functools import cache
from pathlib import Path

import weighbridge.evidence
import weighbridge.mechanisms.chip

__all__ = ["firmware_digest", "forbid_inspection", "host_digest"]

_PR_SET_DUMPABLE = 4


@cache
def firmware_digest() -> str:
    """Returns the SHA-256 over the sources that make up the agent, hex.

    For each file of the chip and evidence packages, sorted by name: its path in the package and the SHA-256
    of its bytes. A program measuring itself shows an honest upgrade; only hardware can show a dishonest
    one.
    """
    digest = hashlib.sha256(b"weighbridge chip firmware v1\0")
    for package in (weighbridge.mechanisms.chip, weighbridge.evidence):
        for folder in package.__path__:
            for path in sorted(Path(folder).glob("*.py")):
                name = f"{package.__name__}/{path.name}".encode()
                digest.update(len(name).to_bytes(4, "big") + name + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def host_digest(chip: str) -> str:
    """Returns the SHA-256 of the host's boot id under the chip id, hex; it lasts until the host boots."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    return hashlib.sha256(b"weighbridge host v1\0" + bytes.fromhex(chip) + boot_id).hexdigest()


def forbid_inspection() -> None:
    """Makes this process undumpable: no other of the same user may trace it or read its memory.

    Raises:
        OSError: the kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
