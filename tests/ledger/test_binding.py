"""A transcript's folder against the log: a journal written anew agrees with itself, and not with what was logged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from ledger.paper import Paper
from ledger.real import Bundle
from transcript.world import rewrite
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.ledger.assess import assess
from weighbridge.ledger.binding import check_against_log
from weighbridge.ledger.inspect import audit_all
from weighbridge.ledger.workspace import Logged
from weighbridge.mechanisms.transcript.transcript import Transcript


@dataclass(frozen=True)
class Event:
    head: bytes


@dataclass(frozen=True)
class Folder:
    """What the check asks of an opened transcript."""

    commitment: Statement | None
    nonce: Statement | None
    progress: tuple[Statement, ...]
    events: tuple[Event, ...]
    reached: int = 30
    contents_bytes: int = 1000
    contents: Mapping[str, Any] = field(default_factory=lambda: {"loop": {"steps": 30}})
    planned: int | None = 30


class Run:
    """A run of Alder's whose folder and log agree."""

    def __init__(self, paper: Paper, *, chips: Sequence[str] = ()) -> None:
        self.paper, self.operator = paper, paper.operators["Alder"]
        self.item: Logged = paper.say("run-commitment", {"chips": list(chips)}, by=self.operator)
        self.id = self.item.statement.id
        nonce = paper.say("run-nonce", {"run": self.id}, subject=self.id)
        progress = tuple(self.progress(head).statement for head in (1, 2, 3))
        events = tuple(Event(bytes([n]) * 32) for n in range(5))
        self.folder = Folder(self.item.statement, nonce.statement, progress, events)

    def progress(self, head: int, *, by: str = "Alder") -> Logged:
        payload = {"run": self.id, "journal": (bytes([head]) * 32).hex()}
        return self.paper.say("run-progress", payload, by=self.paper.operators[by])

    def checked(self, **changes: Any) -> list[Finding]:
        folder = replace(self.folder, **changes)
        return check_against_log(self.paper.workspace(), self.item, cast(Transcript, folder))

    def fault(self, **changes: Any) -> str:
        findings = self.checked(**changes)
        assert [(f.check, f.subject, f.outcome) for f in findings] == [("transcript.log", self.id, Outcome.FAIL)]
        return findings[0].reason


@pytest.fixture
def run(paper: Paper) -> Run:
    return Run(paper)


def test_a_folder_that_holds_what_was_logged(run: Run) -> None:
    findings = run.checked()
    assert [finding.outcome for finding in findings] == [Outcome.PASS]
    assert "3 statements logged" in findings[0].reason


def test_another_run_s_transcript_in_the_folder(run: Run) -> None:
    """A cheap run's transcript shown for a dear one's."""
    assert "another run's transcript" in run.fault(commitment=Run(run.paper, chips=["c1"]).item.statement)
    assert "another run's transcript" in run.fault(commitment=None)


def test_a_nonce_that_was_never_logged(run: Run) -> None:
    elsewhere = run.paper.fresh().say("run-nonce", {"run": run.id}, subject="elsewhere").statement
    assert "no inspector's nonce" in run.fault(nonce=elsewhere)
    assert "no inspector's nonce" in run.fault(nonce=None)


def test_statements_made_after_the_close(run: Run) -> None:
    """They agree with the journal and bear an old time; the log did not have them when the draw was made."""
    run.paper.close()
    late = run.progress(4).statement
    assert "1 statements in its folder were not in the log" in run.fault(progress=(*run.folder.progress, late))


def test_a_journal_that_lacks_what_was_logged(run: Run) -> None:
    """Cut off at the end, or written anew from the middle on."""
    assert "1 logged statements name journal heads" in run.fault(events=run.folder.events[:3])
    rewritten = tuple(Event(bytes([n + 100]) * 32) for n in range(5))
    assert "3 logged statements name journal heads" in run.fault(events=rewritten)


def test_a_logged_statement_left_out_of_the_folder_still_binds(run: Run) -> None:
    """What was said while training stays said."""
    run.progress(9)
    assert "1 logged statements name journal heads" in run.fault()


@pytest.mark.parametrize("journal", [None, 5, "zz"])
def test_a_logged_statement_that_names_no_head_is_none_that_the_journal_has(run: Run, journal: object) -> None:
    run.paper.say("run-progress", {"run": run.id, "journal": journal}, by=run.operator)
    assert "1 logged statements name journal heads" in run.fault()


def test_another_operator_cannot_make_a_journal_look_rewritten(run: Run) -> None:
    run.progress(9, by="Birch")
    assert run.checked()[0].outcome is Outcome.PASS


def test_more_steps_than_were_committed_to(run: Run) -> None:
    assert "reaches step 31" in run.fault(reached=31)


def test_weights_smuggled_in_the_configuration(run: Run) -> None:
    """What is opened reaches the sandbox that builds the initial state: finished weights would fit in there."""
    large = {"loop": {"steps": 30}, "config": "x" * (10 << 20)}
    assert "room to smuggle weights" in run.fault(contents=large, contents_bytes=10 << 20)


def test_all_that_is_wrong_is_said(run: Run) -> None:
    assert len(run.checked(reached=31, nonce=None, events=())) == 3


@pytest.mark.real
def test_a_journal_rewritten_and_signed_anew_covers_nothing(bundle: Bundle) -> None:
    """The operator's own key, an unbroken chain of heads, and another batch in one step: only the log tells."""
    folder = next((bundle.folder / "runs").iterdir())

    def other_data(events: list[dict[str, Any]]) -> None:
        step = next(event for event in events if event["type"] == "step")
        step["batch"] = "ab" * 32

    rewrite(folder, other_data, signer=bundle.operator)
    audit = audit_all(bundle.open())[0]
    assert not audit.accepted
    assert {finding.check for finding in audit.findings} == {"transcript.log"}, [f.reason for f in audit.findings]
    words = " ".join(finding.reason for finding in audit.findings)
    assert "were not in the log when the inspection closed" in words and "rewritten or cut" in words
    operator = assess(bundle.open(), [audit.as_dict()])["operators"][0]
    assert operator["verdict"] != "compliant"
    assert operator["audited"] == 0
    assert operator["hidden_flop"] > bundle.body()["operators"][0]["hidden_flop"]
