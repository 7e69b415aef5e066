"""The ledger of answers: a chain of signed statements, from which a run's budget of bits is spent before an answer.

``NNNNNN.cose`` in one folder: ``query-spend`` before the room closes, ``query-answer`` with what came out. A spend
without an answer stays spent. The same query asked again gives the stored answer and costs nothing: nothing new leaves,
and a program that draws or looks at the clock gets no second go. Whoever keeps the folder could cut it back: the other
party keeps the newest id (``--kept``), and what the log holds must be in the chain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.files import read_plain, replace_durably
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.statement import Statement, sign_statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.sealed.queries import ANSWER_BYTES

__all__ = ["ANSWERED", "SPENT", "AnswerLedger", "as_text"]

SPENT: Final = "query-spend"
ANSWERED: Final = "query-answer"


@dataclass(frozen=True)
class AnswerLedger:
    """A ledger as read and verified."""

    folder: Path
    entries: tuple[Statement, ...]

    @classmethod
    def read(cls, folder: Path, roots: TrustRoots) -> "AnswerLedger":
        """Reads a ledger; a folder that does not exist is an empty one.

        Raises:
            EvidenceError: an entry is missing, edited, out of order, or not an inspector's.
        """
        entries: list[Statement] = []
        for path in sorted(folder.glob("*.cose")) if folder.is_dir() else []:
            entry = verify_statement(read_plain(path, limit_bytes=LIMITS.statement_bytes), roots, role=Role.INSPECTOR)
            expected = {"number": len(entries), "previous": entries[-1].id if entries else ""}
            told = {name: entry.payload.get(name) for name in expected}
            if entry.kind not in (SPENT, ANSWERED) or told != expected or path.name != _name(len(entries)):
                raise EvidenceError("does not follow the entry before it", where=path, mend="restore the whole ledger")
            if entry.kind == SPENT and not _natural(entry.payload.get("bits")):
                raise EvidenceError("is no number of bits", where=path, field="bits")
            entries.append(entry)
        return cls(folder, tuple(entries))

    @property
    def head(self) -> str:
        """Id of the newest entry; empty where there is none."""
        return self.entries[-1].id if self.entries else ""

    def spent(self, run: str) -> int:
        """Returns the bits that were spent on a run."""
        return sum(int(e.payload["bits"]) for e in self.entries if e.kind == SPENT and e.payload.get("run") == run)

    def answer(self, registration: str) -> bytes | None:
        """Returns the stored answer to a query."""
        for entry in self.entries:
            if entry.kind == ANSWERED and entry.payload.get("registration") == registration:
                return str(entry.payload.get("answer", "")).encode("ascii", "replace").ljust(ANSWER_BYTES - 1) + b"\n"
        return None

    def check_whole(self, *, kept: str | None, logged: Iterable[Statement]) -> None:
        """Checks that nothing was cut off: what others keep of the ledger is in it.

        Args:
            kept: newest id that the other party saw; None if it kept none.
            logged: the log's statements.

        Raises:
            EvidenceError: something is missing.
        """
        here = {entry.id for entry in self.entries}
        known = [s.id for s in logged if s.kind in (SPENT, ANSWERED)] + ([kept] if kept else [])
        missing = [identifier for identifier in known if identifier not in here]
        if missing:
            raise EvidenceError(
                f"has not entry {missing[0][:16]}, which others keep: it was cut back",
                where=self.folder,
                mend="restore the whole ledger",
            )

    def check_room(self, run: str, *, bits: int, budget: int) -> None:
        """Checks that a run's budget has room for an answer.

        Raises:
            InputError: it has not.
        """
        spent = self.spent(run)
        if spent + bits > budget:
            raise InputError(
                f"takes {bits} bits, and {max(0, budget - spent)} of the run's {budget} are left",
                where="query",
                field="answers",
                mend="nothing was asked; ask for fewer bits",
            )

    def add(self, kind: str, payload: Mapping[str, Any], *, signer: Signer, roots: TrustRoots) -> "AnswerLedger":
        """Appends one entry and returns the ledger with it; it is on the disk before anything follows from it."""
        number = len(self.entries)
        raw = sign_statement(
            signer, kind=kind, subject=str(payload["run"]), payload={**payload, "number": number, "previous": self.head}
        )
        entry = verify_statement(raw, roots, kind=kind, role=Role.INSPECTOR)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / _name(number)
        if path.exists():
            raise InputError("was written to meanwhile", where=self.folder, mend="ask again")
        replace_durably(path, raw)
        return AnswerLedger(self.folder, (*self.entries, entry))


def as_text(answer: bytes) -> str:
    """Returns an answer as its entry keeps it: without its padding."""
    return answer.decode("ascii").rstrip()


def _name(number: int) -> str:
    return f"{number:06d}.cose"


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0
