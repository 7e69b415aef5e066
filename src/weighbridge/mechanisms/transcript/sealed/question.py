"""A query outside the room: its folder, its registration, and the asking, in which each bit is paid before it leaves.

The steps of asking, in their order; nothing is written until all of the first four hold:

1. The registration is in the log, and came before the run's transcript closed (:func:`.queries.admitted`).
2. The program's files are those registered.
3. The ledger is whole; an answer that it holds is given again.
4. The run's budget has room.
5. The spend is written. 6. The room answers. 7. The answer is written, then told.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.sealed.budget import ANSWERED, SPENT, AnswerLedger, as_text
from weighbridge.mechanisms.transcript.sealed.queries import ANSWER_BYTES, Answer, Query, admitted, budget_of
from weighbridge.mechanisms.transcript.sealed.room import Room, probe, run_room
from weighbridge.mechanisms.transcript.sealed.sealing import Sealed

__all__ = ["DEFINITION", "RULES", "Asked", "ask", "query_files", "query_of", "shipped_rule"]

DEFINITION: Final = "query.json"
RULES: Final = ("benchmark", "detector-share", "presence", "reinforcement-share", "training-flop")
"""Rules that are shipped as programs."""

_MOST_BYTES: Final = 2 << 20


def shipped_rule(name: str) -> bytes:
    """Returns the program of a shipped rule.

    Raises:
        InputError: there is none of that name.
    """
    if name not in RULES:
        raise InputError(f"is no rule: {name!r:.80}", where="--rule", mend=f"choose from {', '.join(RULES)}")
    package = resources.files("weighbridge.mechanisms.transcript.sealed.programs")
    return (package / f"{name.replace('-', '_')}.py").read_bytes()


def query_files(folder: Path) -> dict[str, bytes]:
    """Returns the program's files: every plain file of the folder but its definition and statements.

    Raises:
        InputError: there is none, or they are more than 2 MiB.
    """
    if not folder.is_dir():
        raise InputError("is no folder of a query", where=folder)
    files = {
        path.name: read_plain(path, limit_bytes=_MOST_BYTES)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != DEFINITION and path.suffix not in (".cose", ".receipt")
    }
    if sum(map(len, files.values())) > _MOST_BYTES:
        raise InputError("has more than 2 MiB of files", where=folder)
    return files


def query_of(folder: Path, *, run: str) -> Query:
    """Reads a query's folder.

    Raises:
        InputError: it has no readable definition, or no program.
    """
    try:
        definition = json.loads(read_plain(folder / DEFINITION, limit_bytes=_MOST_BYTES))
    except (ValueError, EvidenceError) as error:
        raise InputError(f"cannot be read ({error})", where=folder / DEFINITION) from error
    if not isinstance(definition, dict):
        raise InputError("is no JSON object", where=folder / DEFINITION)
    return Query.of(definition, query_files(folder), run=run)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An answer and what it took.

    Attributes:
        answer: what left the room.
        query: what was asked.
        stored: whether it was answered before, so that nothing was spent.
        spent: bits of the run's budget spent by now.
        budget: bits of the run in all.
        head: the ledger's newest entry, for the other party to keep.
    """

    answer: Answer
    query: Query
    stored: bool
    spent: int
    budget: int
    head: str

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "run": self.query.run,
            "answered": self.answer.levels is not None,
            "levels": None if self.answer.levels is None else list(self.answer.levels),
            "values": self.answer.values(self.query),
            "bits": self.query.cost,
            "stored": self.stored,
            "spent_bits": self.spent,
            "budget_bits": self.budget,
            "ledger": self.head,
        }


def ask(
    run: Path,
    files: Mapping[str, bytes],
    registration: Statement,
    *,
    logged: Sequence[Statement],
    ledger: Path,
    signer: Signer,
    roots: TrustRoots,
    sealed: Sealed,
    kept: str | None = None,
) -> Asked:
    """Asks a registered query of an opened transcript.

    Args:
        run: the run's folder.
        files: the program's files.
        registration: the verified registration.
        logged: the log's statements, verified, in order.
        ledger: folder of the ledger of answers.
        signer: an inspector's key, which signs the ledger.
        roots: whom to trust.
        sealed: what else the room is shown.
        kept: newest entry of the ledger that the other party knows.

    Raises:
        EvidenceError: registration, files or ledger do not hold.
        InputError: the budget has no room.
    """
    query = admitted(registration, logged)
    query.check_files(files)
    budget = budget_of(query.run, logged)
    book = AnswerLedger.read(ledger, roots)
    book.check_whole(kept=kept, logged=logged)
    stored = book.answer(registration.id)
    about = {"run": query.run, "registration": registration.id}
    if stored is None:
        book.check_room(query.run, bits=query.cost, budget=budget)
        room = Room(
            shown=sealed.shown(run),
            request={
                "task": "query",
                **sealed.request(),
                "query": query.payload(),
                "registration": registration.id,
                "files": {name: base64.b64encode(content).decode() for name, content in files.items()},
            },
            answer_bytes=ANSWER_BYTES,
            seconds=sealed.pad_seconds,
        )
        probe()
        book = book.add(SPENT, {**about, "bits": query.cost}, signer=signer, roots=roots)
        answer = _decoded(run_room(room), query)
        book = book.add(ANSWERED, {**about, "answer": as_text(answer.encode(query))}, signer=signer, roots=roots)
    else:
        answer = Answer.decode(stored, query, str(ledger))
    return Asked(
        answer=answer,
        query=query,
        stored=stored is not None,
        spent=book.spent(query.run),
        budget=budget,
        head=book.head,
    )


def _decoded(raw: bytes | None, query: Query) -> Answer:
    try:
        return Answer.decode(raw or b"", query, "room")
    except EvidenceError:
        return Answer(None)
