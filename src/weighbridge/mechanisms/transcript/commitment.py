"""What an operator commits to before training, and the seed that follows from it.

Order (protocol section 5): data root, code, configuration and the operator's nonce are committed and logged; the
inspector answers that very commitment with a nonce from a key that was itself committed before; only then does the
seed exist. Every try at another seed is another logged commitment.

What leaves the operator is hiding: each digest is salted with a key of the run, opened only in the sealed room.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import read_plain
from weighbridge.mechanisms.transcript.encoding import canonical

__all__ = [
    "COMMITMENT",
    "NONCE",
    "PROGRESS",
    "Opening",
    "derive_seed",
    "generator_seeds",
    "inspector_nonce",
    "nonce_of",
    "salt_for",
]

COMMITMENT = "run-commitment"
NONCE = "run-nonce"
PROGRESS = "run-progress"

_OPENING_LIMIT_BYTES = 16 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Opening:
    """What opens a run's commitments: kept by the operator, shown in the sealed room.

    Attributes:
        key: 32 random bytes from which every salt of the run is derived.
        nonce: the operator's 32 random bytes.
        contents: data root and description, code digest, configuration, environment, argument list, stride.
    """

    key: bytes
    nonce: bytes
    contents: Mapping[str, Any]

    @classmethod
    def fresh(cls, contents: Mapping[str, Any]) -> "Opening":
        """Draws a key and a nonce from the system, never from a seeded generator."""
        return cls(secrets.token_bytes(32), secrets.token_bytes(32), contents)

    def commitment(self, *, chips: list[str], public: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the payload of the commitment statement.

        Args:
            chips: ids of the chips that the run will use.
            public: what the operator declares in the open (FLOP, steps, parent).
        """
        return {
            "chips": chips,
            "declared": dict(public),
            "nonce": blake3(b"weighbridge/nonce/1" + self.nonce, key=self.key).hexdigest(),
            "contents": {
                name: blake3(canonical(value), key=salt_for(self.key, f"contents/{name}")).hexdigest()
                for name, value in sorted(self.contents.items())
            },
            "key": hashlib.sha256(b"weighbridge/run-key/1" + self.key).hexdigest(),
        }

    def check(self, payload: Mapping[str, Any]) -> None:
        """Verifies that this opening is the one committed to.

        Raises:
            EvidenceError: it is not; the message names the first field that differs.
        """
        chips, public, contents = (payload.get(name) for name in ("chips", "declared", "contents"))
        if not isinstance(chips, list) or not isinstance(public, Mapping) or not isinstance(contents, Mapping):
            raise EvidenceError("is malformed", where="commitment.cose", field="payload")
        expected = self.commitment(chips=chips, public=public)
        for name in ("key", "nonce"):
            if payload.get(name) != expected[name]:
                raise EvidenceError("is not the one committed to", where="opening.json", field=name)
        if set(contents) != set(expected["contents"]):
            raise EvidenceError("names other contents than the commitment", where="opening.json")
        for name, digest in expected["contents"].items():
            if contents[name] != digest:
                raise EvidenceError("is not the one committed to", where="opening.json", field=name)

    def write(self, path: Path) -> None:
        """Writes the opening, readable by its owner only."""
        data = {"key": self.key.hex(), "nonce": self.nonce.hex(), "contents": self.contents}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(data, file, indent=1, sort_keys=True)

    @classmethod
    def read(cls, path: Path) -> "Opening":
        """Reads an opening.

        Raises:
            EvidenceError: the file is missing or malformed.
        """
        try:
            text = read_plain(path, limit_bytes=_OPENING_LIMIT_BYTES).decode("utf-8")
            data = json.loads(text, parse_constant=_refuse)
            opening = cls(bytes.fromhex(data["key"]), bytes.fromhex(data["nonce"]), data["contents"])
            canonical(opening.contents)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EvidenceError(f"is not a readable opening ({error})", where=path) from error
        if len(opening.key) != 32 or len(opening.nonce) != 32 or not isinstance(opening.contents, dict):
            raise EvidenceError("key and nonce must be 32 bytes and contents a mapping", where=path)
        _check_contents(opening.contents, path)
        return opening


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _natural(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value < 1 << 63


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _array(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("format"), str)
        and isinstance(value.get("shape"), list)
        and all(_natural(size) for size in value["shape"])
        and (value.get("path") is None or isinstance(value["path"], str))
    )


def _file(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and _DIGEST.fullmatch(str(value[0])) is not None
        and _natural(value[1])
    )


def _parent(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("run"), str) and _natural(value.get("step"))


def _check_contents(contents: Mapping[str, Any], where: Path) -> None:
    """Checks that every part that replay uses is there and of its kind."""
    parts = ("data", "code", "config", "environment", "program", "loop")
    for name in parts:
        if not isinstance(contents.get(name), dict):
            raise EvidenceError("is missing or no mapping", where=where, field=name)
    data, code, _, environment, program, loop = (contents[name] for name in parts)
    arrays, files, parent = data.get("arrays"), data.get("files", {}), contents.get("parent")
    observed = loop.get("mode") == "observed"
    held = {
        "data.root": isinstance(data.get("root"), str) and _DIGEST.fullmatch(data["root"]) is not None,
        "data.arrays": isinstance(arrays, dict)
        and (len(arrays) > 0) is not observed
        and all(_array(a) for a in arrays.values()),
        "data.files": isinstance(files, dict) and (observed or not files) and all(_file(f) for f in files.values()),
        "code.digest": isinstance(code.get("digest"), str) and _DIGEST.fullmatch(code["digest"]) is not None,
        "code.root": isinstance(code.get("root"), str),
        "environment.threads": _natural(environment.get("threads"), 1),
        "environment.variables": isinstance(environment.get("variables", {}), dict),
        "program.arguments": _words(program.get("arguments")),
        "program.directory": isinstance(program.get("directory"), str),
        "parent": parent is None or _parent(parent),
        "program.variables": isinstance(program.get("variables", {}), dict),
        "loop.stride": _natural(loop.get("stride"), 1),
        "loop.anchor_every": _natural(loop.get("anchor_every", 1), 1),
        **{
            f"loop.{name}": loop.get(name, 0) is None if observed else _natural(loop.get(name), 1)
            for name in ("steps", "batch_size")
        },
    }
    for field, holds in held.items():
        if not holds:
            raise EvidenceError("is missing or malformed", where=where, field=field)


def nonce_of(payload: Mapping[str, Any], *, run: str, where: object) -> bytes:
    """Returns the nonce with which an inspector answered this very run.

    Raises:
        EvidenceError: it answers another run, or is no nonce of 32 bytes.
    """
    if payload.get("run") != run:
        raise EvidenceError("answers another run's commitment", where=where)
    nonce = payload.get("nonce")
    if not isinstance(nonce, str) or _DIGEST.fullmatch(nonce) is None:
        raise EvidenceError("is no nonce of 32 bytes", where=where, field="nonce")
    return bytes.fromhex(nonce)


def salt_for(key: bytes, label: str) -> bytes:
    """Returns the 32-byte salt of one commitment of a run."""
    return blake3(b"weighbridge/salt/1/" + label.encode(), key=key).digest()


def derive_seed(*, commitment_id: str, inspector_nonce: bytes) -> bytes:
    """Returns the run's seed: SHA-256 over the logged commitment's id and the inspector's nonce.

    The commitment binds the data root and the operator's nonce, so one changed record changes the seed
    (Choi, Shavit, Duvenaud 2023, section 4.3), and neither side can steer it: the operator commits first, and the
    inspector's nonce follows from a key that was committed before.
    """
    return hashlib.sha256(b"weighbridge/seed/1" + bytes.fromhex(commitment_id) + inspector_nonce).digest()


def inspector_nonce(key: bytes, commitment_id: str) -> bytes:
    """Returns the inspector's nonce for one commitment, checkable once the period's key is revealed."""
    if len(key) != 32:
        raise InputError("must be 32 bytes", where="inspector's nonce key")
    return blake3(b"weighbridge/run-nonce/1" + bytes.fromhex(commitment_id), key=key).digest()


def generator_seeds(seed: bytes) -> dict[str, int]:
    """Returns the seeds of PyTorch's (63 bits), NumPy's (32 bits) and Python's (256 bits) generators."""

    def derived(name: str) -> int:
        return int.from_bytes(hashlib.sha256(b"weighbridge/generator/" + name.encode() + seed).digest())

    return {"torch": derived("torch") >> 193, "numpy": derived("numpy") >> 224, "python": derived("python")}
