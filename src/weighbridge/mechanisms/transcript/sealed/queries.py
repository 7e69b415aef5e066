"""Queries of an opened transcript: registered before it closed, capped in bits, answered in levels.

A registration names the program by the digests of its files, its parameters, and for every answer its range and its
bits. What leaves is one level for each answer, and one bit for whether there was one: :attr:`Query.cost` in all.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.statement import Statement
from weighbridge.mechanisms.transcript.commitment import PROGRESS
from weighbridge.mechanisms.transcript.sealed.record import padded, unpadded

__all__ = [
    "ANSWER_BYTES",
    "BUDGET",
    "MEASURES",
    "REGISTRATION",
    "Answer",
    "Output",
    "Query",
    "admitted",
    "budget_of",
]

REGISTRATION: Final = "query-registration"
BUDGET: Final = "query-budget"
ANSWER_BYTES: Final = 512
MEASURES: Final = ("flop_per_step",)
"""What the room can measure by replay and hand to a program: FLOP of one step, by PyTorch's counter."""

_FORMAT: Final = "weighbridge sealed answer 1"
_MOST_BITS: Final = 16
_MOST_OUTPUTS: Final = 16
_MOST_SECONDS: Final = 86_400
_PARAMETER_BYTES: Final = 256 << 10


@dataclass(frozen=True)
class Output:
    """One number of an answer: its range, and how finely it is told.

    Attributes:
        name: what the program calls it.
        low: least value.
        high: greatest value.
        bits: 2^bits levels, evenly spread, both ends included.
        scale: ``linear``, or ``log10`` for levels that are even in the logarithm.
    """

    name: str
    low: float
    high: float
    bits: int
    scale: str = "linear"

    def __post_init__(self) -> None:
        holds = (
            isinstance(self.name, str)
            and self.name.isidentifier()
            and len(self.name) <= 64
            and all(type(end) in (int, float) and math.isfinite(end) for end in (self.low, self.high))
            and self.low < self.high
            and type(self.bits) is int
            and 1 <= self.bits <= _MOST_BITS
            and (self.scale == "linear" or (self.scale == "log10" and self.low > 0))
        )
        if not holds:
            raise InputError(
                "is no name, low < high, 1 to 16 bits, and scale linear or log10 (above 0)",
                where="answers",
                field=repr(self.name)[:80],
            )

    def _place(self, value: float) -> float:
        return math.log10(value) if self.scale == "log10" else value

    def level(self, value: Any) -> int:
        """Returns the level nearest to a value.

        Raises:
            EvidenceError: it is no number in the range; that much is told, and no more.
        """
        if isinstance(value, bool):
            value = int(value)
        if type(value) not in (int, float) or not self.low <= value <= self.high:
            raise EvidenceError("is no number in the registered range", where="answer", field=self.name)
        low, high = self._place(self.low), self._place(self.high)
        return math.floor((self._place(float(value)) - low) / (high - low) * float(2**self.bits - 1) + 0.5)

    def value(self, level: int) -> float:
        """Returns the value that a level stands for."""
        low, high = self._place(self.low), self._place(self.high)
        place = low + (high - low) * level / (2**self.bits - 1)
        return math.pow(10, place) if self.scale == "log10" else place


@dataclass(frozen=True, kw_only=True)
class Query:
    """A program over an opened transcript, as it was registered.

    Attributes:
        run: id of the run that it may be asked of.
        program: SHA-256 of each of its files, by name; ``program.py`` is what is run.
        parameters: plain data that it is given.
        outputs: what it answers.
        measures: what the room measures for it.
        seconds: its time limit.
    """

    run: str
    program: Mapping[str, str]
    parameters: Mapping[str, Any]
    outputs: tuple[Output, ...]
    measures: tuple[str, ...] = ()
    seconds: int = 600

    def __post_init__(self) -> None:
        names = [output.name for output in self.outputs]
        if "program.py" not in self.program:
            raise InputError("has no program.py", where="query")
        if not 1 <= len(names) <= _MOST_OUTPUTS or len(set(names)) != len(names):
            raise InputError(
                f"are not 1 to {_MOST_OUTPUTS}, each with a name of its own", where="query", field="answers"
            )
        if not set(self.measures) <= set(MEASURES):
            raise InputError(f"are not among {', '.join(MEASURES)}", where="query", field="measures")
        if type(self.seconds) is not int or not 1 <= self.seconds <= _MOST_SECONDS:
            raise InputError("is no whole number of seconds up to a day", where="query", field="seconds")

    @property
    def cost(self) -> int:
        """Bits that an answer takes from the budget: those of its levels, and one for whether there is an answer."""
        return sum(output.bits for output in self.outputs) + 1

    @classmethod
    def of(cls, definition: Mapping[str, Any], files: Mapping[str, bytes], *, run: str) -> "Query":
        """Returns the query that a definition and the program's files make.

        Args:
            definition: ``answers`` (a list of name, low, high, bits, and scale if not linear); ``parameters``,
                ``measures`` and ``seconds`` where wanted.
            files: contents by name.
            run: id of the run.

        Raises:
            InputError: the definition is malformed.
        """
        unknown = set(definition) - {"answers", "parameters", "measures", "seconds"}
        if unknown:
            raise InputError(f"has unknown fields: {', '.join(sorted(map(str, unknown)))[:200]}", where="query")
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        return cls.from_payload(
            {"run": run, "program": digests, "parameters": {}, "measures": [], "seconds": 600, **definition}
        )

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> "Query":
        """Reads a registration's payload.

        Raises:
            InputError: it is malformed.
        """
        try:
            outputs = tuple(Output(**output) for output in payload["answers"])
            parameters, program = payload["parameters"], payload["program"]
            if not isinstance(parameters, Mapping) or not isinstance(program, Mapping):
                raise TypeError("parameters and program are mappings")
            if len(repr(parameters)) > _PARAMETER_BYTES:
                raise ValueError("parameters of more than 256 KiB")
            return cls(
                run=str(payload["run"]),
                program={str(name): str(digest) for name, digest in program.items()},
                parameters=dict(parameters),
                outputs=outputs,
                measures=tuple(payload["measures"]),
                seconds=payload["seconds"],
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"is no query ({error})", where="query", mend="see docs/sealed.md") from error

    def payload(self) -> dict[str, Any]:
        """Returns what the registration says."""
        return {
            "run": self.run,
            "program": dict(self.program),
            "parameters": dict(self.parameters),
            "answers": [
                {"name": o.name, "low": o.low, "high": o.high, "bits": o.bits, "scale": o.scale} for o in self.outputs
            ],
            "measures": list(self.measures),
            "seconds": self.seconds,
        }

    def check_files(self, files: Mapping[str, bytes]) -> None:
        """Checks that these are the files that were registered, and all of them.

        Raises:
            EvidenceError: they are not.
        """
        if set(files) != set(self.program):
            raise EvidenceError("has other files than were registered", where="query", field="program")
        for name, content in files.items():
            if hashlib.sha256(content).hexdigest() != self.program[name]:
                raise EvidenceError("was edited after it was registered", where="query", field=name)


@dataclass(frozen=True)
class Answer:
    """What leaves the room in answer to a query: a level for each output, or that there is none."""

    levels: tuple[int, ...] | None

    @classmethod
    def of(cls, query: Query, said: Mapping[str, Any]) -> "Answer":
        """Returns the levels of what a program said; none at all if one of its numbers is missing or out of range."""
        try:
            return cls(tuple(output.level(said.get(output.name)) for output in query.outputs))
        except EvidenceError:
            return cls(None)

    def encode(self, query: Query) -> bytes:
        """Returns the answer in its one spelling, :data:`ANSWER_BYTES` long."""
        levels = self.levels if self.levels is not None else (0,) * len(query.outputs)
        told = {"answered": self.levels is not None, "format": _FORMAT, "levels": list(levels)}
        return padded(told, ANSWER_BYTES)

    @classmethod
    def decode(cls, raw: bytes, query: Query, where: str = "answer") -> "Answer":
        """Reads an answer.

        Raises:
            EvidenceError: the bytes are no answer to this query in its one spelling.
        """
        data = unpadded(raw, ANSWER_BYTES, where)
        levels, answered = data.get("levels"), data.get("answered")
        if isinstance(levels, list) and len(levels) == len(query.outputs) and isinstance(answered, bool):
            fits = all(
                type(n) is int and 0 <= n < 2**output.bits for n, output in zip(levels, query.outputs, strict=True)
            )
            answer = cls(tuple(levels) if answered else None)
            if fits and answer.encode(query) == raw:
                return answer
        raise EvidenceError("is no answer to this query", where=where)

    def values(self, query: Query) -> dict[str, float] | None:
        """Returns the numbers that the levels stand for, by name."""
        if self.levels is None:
            return None
        return {output.name: output.value(n) for n, output in zip(self.levels, query.outputs, strict=True)}


def _closed_at(run: str, logged: Sequence[Statement]) -> int:
    """Returns where in the log a run closed: at the first statement that says it ended.

    Raises:
        EvidenceError: the log has none.
    """
    for index, statement in enumerate(logged):
        if statement.kind == PROGRESS and statement.payload.get("run") == run and "finished" in statement.payload:
            return index
    raise EvidenceError(f"run {run[:16]} has not closed", where="log", mend="ask when the log holds its end")


def admitted(registration: Statement, logged: Sequence[Statement]) -> Query:
    """Returns the query of a registration that the log took before its run's transcript closed.

    Args:
        registration: the verified statement.
        logged: the log's statements, verified, in order.

    Raises:
        EvidenceError: it is not in the log, came too late, or was not an inspector's to register.
    """
    if registration.kind != REGISTRATION or registration.role != Role.INSPECTOR:
        raise EvidenceError("is no inspector's registration of a query", where=registration.id[:16])
    query = Query.from_payload(registration.payload)
    places = [index for index, statement in enumerate(logged) if statement.id == registration.id]
    if not places:
        raise EvidenceError(
            "was never logged, so nobody knows that it was registered before",
            where=f"registration {registration.id[:16]}",
            mend="register it while the run is under way",
        )
    if places[0] > _closed_at(query.run, logged):
        raise EvidenceError(
            "was registered after the transcript closed",
            where=f"registration {registration.id[:16]}",
            mend="questions are put before the answers are there",
        )
    return query


def budget_of(run: str, logged: Iterable[Statement]) -> int:
    """Returns the bits that the run's operator allows in all: the least that a budget logged before the close allows.

    Without a budget none are. A later statement can narrow it, by the run's own operator only.
    """
    statements = list(logged)
    end = _closed_at(run, statements)
    operator = next((s.identity.key_id for s in statements if s.id == run), None)
    told = [
        (index, statement.payload.get("bits"))
        for index, statement in enumerate(statements)
        if statement.kind == BUDGET and statement.payload.get("run") == run and statement.identity.key_id == operator
    ]
    bits = [number for _, number in told if type(number) is int]
    return max(0, min(bits)) if bits and any(index < end for index, _ in told) else 0
