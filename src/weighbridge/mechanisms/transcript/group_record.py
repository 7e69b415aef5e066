"""The merged record of several ranks: which runs are its members, by the heads of their journals. Read without torch.

A folder with ``group.json`` and, if it was signed, ``group.cose``, a statement of kind ``run-group`` over its bytes.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.statement import Statement, sign_statement, verify_statement
from weighbridge.evidence.trust import TrustRoots

__all__ = ["GROUP", "GroupRecord", "Member", "is_merged"]

GROUP: Final = "run-group"
_FILE: Final = "group.json"
_SIGNED: Final = "group.cose"
_LIMIT_BYTES: Final = 64 << 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MOST: Final = 1 << 63


@dataclass(frozen=True, kw_only=True)
class Member:
    """One rank's run as it stood when it was merged.

    Attributes:
        rank: its number.
        run: its id.
        folder: where its transcript lies, from the record's folder.
        head: head of its newest journal (hex), which binds every line of it.
        segments: how many journals it has.
        steps: updates completed.
        finished: whether it came to its own end.
    """

    rank: int
    run: str
    folder: str
    head: str
    segments: int
    steps: int
    finished: bool


@dataclass(frozen=True, kw_only=True)
class GroupRecord:
    """One run of several ranks.

    Attributes:
        group: id that all ranks committed to.
        attempt: how often the launcher had restarted all ranks before.
        world: number of ranks.
        wrapped: how the ranks keep their models alike (:func:`~.ranks.wrapped_as`).
        members: the ranks' runs, in order.
        logical: digests of weights and optimizer state that do not depend on the sharding, by step; salted with what
            the ranks share.
        abandoned: runs of earlier attempts, as ``[attempt, rank, run, steps]``.
    """

    group: str
    attempt: int
    world: int
    wrapped: str
    members: tuple[Member, ...]
    logical: Mapping[int, Mapping[str, str]]
    abandoned: tuple[tuple[int, int, str, int], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "format": 1,
            "group": self.group,
            "attempt": self.attempt,
            "world": self.world,
            "wrapped": self.wrapped,
            "members": [asdict(member) for member in self.members],
            "logical": {str(step): dict(kinds) for step, kinds in sorted(self.logical.items())},
            "abandoned": [list(run) for run in self.abandoned],
        }

    def write(self, folder: Path, signer: Signer | None = None) -> None:
        """Writes the record into a new folder, signed where a key is given.

        Raises:
            InputError: the folder exists.
        """
        raw = json.dumps(self.as_dict(), indent=1, sort_keys=True).encode()
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise InputError("exists already", where=folder, mend="name another folder with --out") from error
        (folder / _FILE).write_bytes(raw)
        if signer is not None:
            statement = sign_statement(signer, kind=GROUP, subject=self.group, payload=self._claim(raw))
            (folder / _SIGNED).write_bytes(statement)

    def _claim(self, raw: bytes) -> dict[str, Any]:
        return {
            "group": self.group,
            "attempt": self.attempt,
            "record": hashlib.sha256(raw).hexdigest(),
            "members": [{"rank": m.rank, "run": m.run, "journal": m.head} for m in self.members],
        }

    @classmethod
    def read(cls, folder: Path) -> "GroupRecord":
        """Reads a record.

        Raises:
            EvidenceError: it is missing or malformed.
        """
        path = folder / _FILE
        try:
            data = json.loads(read_plain(path, limit_bytes=_LIMIT_BYTES))
            record = cls(
                group=data["group"],
                attempt=data["attempt"],
                world=data["world"],
                wrapped=data["wrapped"],
                members=tuple(Member(**member) for member in data["members"]),
                logical={int(step): dict(kinds) for step, kinds in data["logical"].items()},
                abandoned=tuple((int(a), int(b), str(c), int(d)) for a, b, c, d in data["abandoned"]),
            )
            if data["format"] != 1 or data != record.as_dict():
                raise ValueError("its format or its spelling is another")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EvidenceError(f"is no merged record ({error})", where=path) from error
        record._check(path)
        return record

    def _check(self, path: Path) -> None:
        held = {
            "group": _digest(self.group),
            "attempt": _natural(self.attempt),
            "world": _natural(self.world) and self.world == len(self.members) > 0,
            "wrapped": isinstance(self.wrapped, str),
            "members": all(
                _digest(m.run)
                and _digest(m.head)
                and isinstance(m.folder, str)
                and isinstance(m.finished, bool)
                and all(map(_natural, (m.rank, m.segments, m.steps)))
                for m in self.members
            )
            and [m.rank for m in self.members] == list(range(len(self.members))),
            "logical": all(
                _natural(step) and all(map(_digest, kinds.values())) for step, kinds in self.logical.items()
            ),
        }
        for field, holds in held.items():
            if not holds:
                raise EvidenceError("is malformed", where=path, field=field)

    def statement(self, folder: Path, roots: TrustRoots) -> Statement | None:
        """Returns the signed statement over this record, verified, or None where nobody signed it.

        Raises:
            EvidenceError: it is not about this record.
        """
        path = folder / _SIGNED
        if not os.path.lexists(path):
            return None
        raw = read_plain(path, limit_bytes=LIMITS.statement_bytes)
        statement = verify_statement(raw, roots, kind=GROUP, role=Role.OPERATOR)
        claim = self._claim(read_plain(folder / _FILE, limit_bytes=_LIMIT_BYTES))
        if statement.subject != self.group or dict(statement.payload) != claim:
            raise EvidenceError("is not about this record", where=path)
        return statement


def is_merged(folder: Path) -> bool:
    """Returns whether a folder holds a merged record."""
    return os.path.lexists(folder / _FILE)


def _digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST
