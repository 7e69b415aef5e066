"""Queries without a room: what is registered, what it costs, and every way of getting more than was paid for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import issue, issue_root
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import Statement, sign_statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.sealed import question
from weighbridge.mechanisms.transcript.sealed.budget import ANSWERED, SPENT, AnswerLedger
from weighbridge.mechanisms.transcript.sealed.queries import (
    ANSWER_BYTES,
    BUDGET,
    REGISTRATION,
    Answer,
    Output,
    Query,
    admitted,
    budget_of,
)
from weighbridge.mechanisms.transcript.sealed.room import Room
from weighbridge.mechanisms.transcript.sealed.sealing import Sealed

FILES = {"program.py": b"print('program')", "detector.py": b"pass"}
SHARE = {"name": "share", "low": 0, "high": 1, "bits": 7}


@dataclass
class Desk:
    """An inspector, an operator, their log as a list, and a ledger."""

    folder: Path
    roots: TrustRoots
    inspector: FileSigner
    operator: FileSigner
    rival: FileSigner
    logged: list[Statement] = field(default_factory=list)
    asked: int = 0

    def log(self, signer: FileSigner, kind: str, **payload: Any) -> Statement:
        statement = verify_statement(sign_statement(signer, kind=kind, subject="x", payload=payload), self.roots)
        self.logged.append(statement)
        return statement

    def begin(self) -> str:
        return self.log(self.operator, "run-commitment", declared={}).id

    def register(self, run: str, *, signer: FileSigner | None = None, bits: int = 7, **more: Any) -> Statement:
        query = Query.of({"answers": [SHARE | {"bits": bits}], **more}, FILES, run=run)
        return self.log(signer or self.inspector, REGISTRATION, **query.payload())

    def close(self, run: str) -> None:
        self.log(self.operator, "run-progress", run=run, step=4, finished=True)

    def ask(self, registration: Statement, *, files: Mapping[str, bytes] = FILES, **more: Any) -> question.Asked:
        return question.ask(
            self.folder,
            files,
            registration,
            logged=self.logged,
            ledger=self.folder / "ledger",
            signer=self.inspector,
            roots=self.roots,
            sealed=Sealed(),
            **more,
        )

    @property
    def ledger(self) -> AnswerLedger:
        return AnswerLedger.read(self.folder / "ledger", self.roots)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk whose room answers each time with the level of how often it was asked: a program that is no function."""
    body = FileSigner.create(tmp_path / "body.pem")
    root = issue_root(body, name="Inspectorate", role="inspectorate")

    def certified(name: str, role: str) -> FileSigner:
        signer = FileSigner.create(tmp_path / f"{name}.pem")
        return signer.with_chain([issue(body, root, public_key=signer.public_key, name=name, role=role), root])

    roots = TrustRoots(roots=(root,), log_key=None)  # type: ignore[arg-type]
    desk = Desk(tmp_path, roots, certified("I", "inspector"), certified("O", "operator"), certified("R", "operator"))

    def answer(room: Room) -> bytes:
        desk.asked += 1
        return Answer((desk.asked,)).encode(Query.from_payload(room.request["query"]))

    monkeypatch.setattr(question, "run_room", answer)
    monkeypatch.setattr(question, "probe", lambda: None)
    yield desk


def opened(desk: Desk, *, bits: int = 20, queries: int = 1) -> list[Statement]:
    run = desk.begin()
    found = [desk.register(run, parameters={"number": number}) for number in range(queries)]
    desk.log(desk.operator, BUDGET, run=run, bits=bits)
    desk.close(run)
    return found


def test_a_registered_query_is_answered_and_paid(desk: Desk) -> None:
    (registration,) = opened(desk)
    told = desk.ask(registration).as_dict()
    assert (told["levels"], told["bits"], told["spent_bits"], told["budget_bits"]) == ([1], 8, 8, 20)
    assert [entry.kind for entry in desk.ledger.entries] == [SPENT, ANSWERED]


def test_asked_again_it_is_the_stored_answer_and_costs_nothing(desk: Desk) -> None:
    (registration,) = opened(desk, bits=8)
    first, again = desk.ask(registration), desk.ask(registration)
    assert (first.stored, again.stored, desk.asked) == (False, True, 1)
    assert first.answer == again.answer and again.spent == 8


def test_a_query_beyond_the_budget_is_refused_and_nothing_is_spent(desk: Desk) -> None:
    one, two, three = opened(desk, bits=20, queries=3)
    desk.ask(one), desk.ask(two)
    with pytest.raises(InputError, match="takes 8 bits, and 4 of the run's 20 are left"):
        desk.ask(three)
    assert desk.asked == 2 and desk.ledger.spent(one.payload["run"]) == 16


def test_a_spend_without_an_answer_stays_spent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (registration,) = opened(desk, bits=15)

    def dies(room: Room) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(question, "run_room", dies)
    with pytest.raises(KeyboardInterrupt):
        desk.ask(registration)
    with pytest.raises(InputError, match="7 of the run's 15 are left"):
        desk.ask(registration)


def test_a_room_that_says_nonsense_has_not_answered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (registration,) = opened(desk)
    monkeypatch.setattr(question, "run_room", lambda room: b"the secret".ljust(ANSWER_BYTES))
    assert desk.ask(registration).answer.levels is None


def test_without_a_budget_nothing_is_answered(desk: Desk) -> None:
    run = desk.begin()
    registration = desk.register(run)
    desk.close(run)
    with pytest.raises(InputError, match="0 of the run's 0"):
        desk.ask(registration)


@pytest.mark.parametrize(("signer", "when"), [("rival", "before"), ("inspector", "before"), ("operator", "after")])
def test_a_budget_is_the_runs_own_operators_and_comes_before_the_close(desk: Desk, signer: str, when: str) -> None:
    run = desk.begin()
    if when == "after":
        desk.close(run)
    desk.log(getattr(desk, signer), BUDGET, run=run, bits=100)
    if when == "before":
        desk.close(run)
    assert budget_of(run, desk.logged) == 0


def test_a_budget_can_only_be_narrowed(desk: Desk) -> None:
    run = desk.begin()
    for bits in (30, 50):
        desk.log(desk.operator, BUDGET, run=run, bits=bits)
    desk.close(run)
    assert budget_of(run, desk.logged) == 30
    desk.log(desk.operator, BUDGET, run=run, bits=10)
    assert budget_of(run, desk.logged) == 10


def test_a_query_registered_after_the_close_is_refused(desk: Desk) -> None:
    run = desk.begin()
    desk.log(desk.operator, BUDGET, run=run, bits=100)
    desk.close(run)
    registration = desk.register(run)
    desk.close(run)  # another end, of a later segment, opens nothing again
    with pytest.raises(EvidenceError, match="after the transcript closed"):
        desk.ask(registration)


def test_a_query_of_a_run_that_has_not_closed_is_refused(desk: Desk) -> None:
    run = desk.begin()
    with pytest.raises(EvidenceError, match="has not closed"):
        desk.ask(desk.register(run))


def test_a_query_that_was_never_logged_is_refused(desk: Desk) -> None:
    (registration,) = opened(desk)
    desk.logged.remove(registration)
    with pytest.raises(EvidenceError, match="never logged"):
        desk.ask(registration)


def test_a_query_that_an_operator_registered_is_refused(desk: Desk) -> None:
    run = desk.begin()
    registration = desk.register(run, signer=desk.operator)
    desk.close(run)
    with pytest.raises(EvidenceError, match="no inspector's"):
        admitted(registration, desk.logged)


@pytest.mark.parametrize(
    "files",
    [
        FILES | {"program.py": b"print('programm')"},
        FILES | {"detector.py": b""},
        {"program.py": FILES["program.py"]},
        FILES | {"more.py": b""},
    ],
)
def test_an_edited_query_is_refused(desk: Desk, files: dict[str, bytes]) -> None:
    (registration,) = opened(desk)
    with pytest.raises(EvidenceError, match=r"edited|other files"):
        desk.ask(registration, files=files)
    assert desk.asked == 0 and not desk.ledger.entries


def test_a_ledger_that_was_cut_back_is_refused(desk: Desk) -> None:
    one, two = opened(desk, bits=16, queries=2)
    kept = desk.ask(one).head
    desk.ask(two)
    for path in sorted((desk.folder / "ledger").iterdir())[2:]:
        path.unlink()
    desk.ask(two, kept=kept)  # nobody kept the later ones
    for path in (desk.folder / "ledger").iterdir():
        path.unlink()
    with pytest.raises(EvidenceError, match="cut back"):
        desk.ask(two, kept=kept)
    with pytest.raises(EvidenceError, match="cut back"):
        desk.log(desk.inspector, SPENT, run=one.payload["run"], bits=8, number=0, previous="", registration=one.id)
        desk.ask(two)


@pytest.mark.parametrize("edit", ["drop", "swap", "other"])
def test_an_edited_ledger_is_refused(desk: Desk, edit: str) -> None:
    one, two = opened(desk, bits=16, queries=2)
    desk.ask(one), desk.ask(two)
    paths = sorted((desk.folder / "ledger").iterdir())
    if edit == "drop":
        paths[0].unlink()
    elif edit == "swap":
        first, second = paths[0].read_bytes(), paths[2].read_bytes()
        paths[0].write_bytes(second)
        paths[2].write_bytes(first)
    else:
        payload = {**desk.ledger.entries[0].payload, "bits": 0}
        paths[0].write_bytes(sign_statement(desk.operator, kind=SPENT, subject="x", payload=payload))
    with pytest.raises(EvidenceError):
        _ = desk.ledger


@pytest.mark.parametrize(
    "output",
    [
        {"name": "a b", "low": 0, "high": 1, "bits": 1},
        {"name": "a", "low": 1, "high": 1, "bits": 1},
        {"name": "a", "low": 0, "high": 1, "bits": 17},
        {"name": "a", "low": 0, "high": 1, "bits": 0},
        {"name": "a", "low": 0, "high": 1, "bits": True},
        {"name": "a", "low": 0, "high": float("inf"), "bits": 1},
        {"name": "a", "low": 0, "high": 1, "bits": 1, "scale": "log10"},
        {"name": "a", "low": 0, "high": 1},
    ],
)
def test_an_answer_without_bounds_is_refused(output: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Query.of({"answers": [output]}, FILES, run="ab" * 32)


def test_an_answer_has_one_size_and_no_more_levels_than_its_bits() -> None:
    query = Query.of({"answers": [SHARE, SHARE | {"name": "other", "bits": 2}]}, FILES, run="ab" * 32)
    assert query.cost == 10
    told = {Answer.of(query, {"share": n / 1000, "other": n / 1000}).encode(query) for n in range(1001)}
    assert {len(raw) for raw in told} == {ANSWER_BYTES} and len(told) <= 2**9
    assert {Answer.decode(raw, query).encode(query) for raw in told} == told
    for said in ({"share": 0.5}, {"share": 0.5, "other": float("nan")}, {"share": 2.0, "other": 0}, {"share": "x"}):
        assert Answer.of(query, said) == Answer(None)
    with pytest.raises(EvidenceError):
        Answer.decode(Answer((200, 1)).encode(query), query)


def test_levels_are_nearest_and_give_their_values_back() -> None:
    linear, logarithmic = Output("x", 0.0, 1.0, 3), Output("x", 1e3, 1e30, 10, "log10")
    assert [linear.level(x) for x in (0, 0.07, 0.08, 0.5, 1)] == [0, 0, 1, 4, 7]
    assert abs(linear.value(linear.level(0.4)) - 0.4) <= 0.5 / 7
    for value in (1e3, 4.2e11, 1e30):
        assert logarithmic.value(logarithmic.level(value)) == pytest.approx(value, rel=0.04)
