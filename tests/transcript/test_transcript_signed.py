"""Edits by an operator who signs them: what it says must still make sense, and the log knows the rest."""

import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.transcript.anchors import write_anchor
from weighbridge.mechanisms.transcript.commitment import PROGRESS
from weighbridge.mechanisms.transcript.plans import plan_freezes, plan_segments, segments_of
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.verify import check_log

from .judging import failing, held, read, replayed
from .world import Ended, last_step, rewrite

pytestmark = pytest.mark.real


REWRITTEN: dict[str, tuple[Callable[[list[dict[str, Any]]], None], str]] = {
    "a step dropped": (lambda events: events.remove(last_step(events)), "steps"),
    "a digest dropped": (lambda events: events[5].pop("state"), "steps"),
    "a digest where none is due": (lambda events: events[2].update(state="00" * 32), "steps"),
    "another step number": (lambda events: last_step(events).update(step=3), "steps"),
    "finished early": (lambda events: events.__delitem__(slice(-3, -1)), "steps"),
    "a stride of its own": (lambda events: events[0].update(stride=1000), "segments"),
    "another run's segment": (lambda events: events[0].update(run="00" * 32), "segments"),
    "a parent for the first": (
        lambda events: events[0].update(
            parent={"journal": "x", "head": "00" * 32, "anchor": "a.safetensors", "lost_steps": 0}
        ),
        "segments",
    ),
    "a second beginning": (lambda events: events.insert(3, events[0]), "segments"),
    "an end in the middle": (lambda events: events.insert(4, {**events[-1], "step": 3}), "steps"),
    "two states for one step": (
        lambda events: next(e for e in events if e["type"] == "freeze").update(state="00" * 32, step=5),
        "steps",
    ),
}


@pytest.mark.parametrize("what", REWRITTEN)
def test_a_journal_signed_anew(copy: Ended, what: str) -> None:
    """The operator holds its key: it can sign whatever it likes. What the journal says must still make sense."""
    edit, check = REWRITTEN[what]
    rewrite(copy.run, edit, signer=copy.project.world.operator)
    transcript = copy.open()
    assert failing(transcript)[:1] == [check]
    assert check_log(transcript, held(copy.project.world)).outcome is Outcome.FAIL


@pytest.mark.parametrize("kind", ["step", "freeze", "end"])
def test_a_step_without_end_keeps_no_verifier_busy(copy: Ended, kind: str) -> None:
    """A plan that listed its steps would take the verifier's memory before any check could fail."""

    def edit(events: list[dict[str, Any]]) -> None:
        next(event for event in events if event["type"] == kind)["step"] = 1 << 24

    rewrite(copy.run, edit, signer=copy.project.world.operator)
    transcript = copy.open()
    assert "steps" in failing(transcript)
    began = time.process_time()
    plan_segments(transcript, segments_of(transcript))
    plan_freezes(transcript, transcript.freezes)
    assert time.process_time() - began < 0.5


def test_cut_with_its_statements_only_the_log_knows(copy: Ended) -> None:
    """Half a run, and the statements of that half: consistent in itself."""
    whole = copy.open()
    path = copy.run / "journal-0000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    cut = [event.type for event in whole.events].index("freeze") + 1
    path.write_bytes(b"".join(lines[:cut]))
    heads = {event.head.hex() for event in whole.events[:cut]}
    for statement, file in zip(whole.progress, sorted((copy.run / "progress").glob("*.cose")), strict=True):
        if statement.payload["journal"] not in heads:
            file.unlink()
    transcript = copy.open()
    assert failing(transcript) == []
    finding = check_log(transcript, held(copy.project.world))
    assert finding.outcome is Outcome.FAIL
    assert "it was cut" in finding.reason and "up to step 12" in finding.reason
    assert check_log(whole, held(copy.project.world)).outcome is Outcome.PASS


def test_statements_of_another_run_are_refused(copy: Ended, rich: Ended) -> None:
    for name, words in (("commitment.cose", "is not the one committed to"), ("nonce.cose", "answers another run's")):
        original = (copy.run / name).read_bytes()
        shutil.copy(rich.run / name, copy.run / name)
        with pytest.raises(EvidenceError, match=words):
            copy.open()
        (copy.run / name).write_bytes(original)
    shutil.copy(rich.run / "progress" / "000000.cose", copy.run / "progress" / "000099.cose")
    with pytest.raises(EvidenceError, match="belongs to another run"):
        copy.open()
    (copy.run / "progress" / "000099.cose").unlink()
    assert failing(copy.open()) == []


def test_statements_by_another_key_are_refused(copy: Ended) -> None:
    transcript = copy.open()
    world = copy.project.world
    payload = dict(transcript.progress[0].payload)
    for signer, words in ((world.rival, "another key than the commitment"), (world.inspector, "another key")):
        raw = sign_statement(signer, kind=PROGRESS, subject=transcript.run, payload=payload)
        (copy.run / "progress" / "000000.cose").write_bytes(raw)
        with pytest.raises(EvidenceError, match=words):
            copy.open()


@pytest.mark.parametrize("name", ["commitment.cose", "nonce.cose"])
def test_without_its_statements_a_run_is_bound_to_nothing(copy: Ended, name: str) -> None:
    (copy.run / name).unlink()
    if name == "commitment.cose":
        with pytest.raises(EvidenceError, match="has an inspector's answer, but no commitment"):
            copy.open(bound=True)
        (copy.run / "nonce.cose").unlink()
        assert read(copy.open(bound=True))["binding"].outcome is Outcome.INCONCLUSIVE
    else:
        assert "binding" in failing(copy.open(bound=True))


def test_without_trust_roots_no_seed(copy: Ended) -> None:
    with pytest.raises(EvidenceError, match="cannot be verified without trust roots"):
        copy.open(bound=False).seed  # noqa: B018


def test_a_learning_rate_smuggled_into_an_anchor(copy: Ended) -> None:
    """The operator puts a rate into the anchored state and signs a journal that fits: restoring never loads it."""
    leg = segments_of(copy.open())[1]
    transcript = copy.open()
    state = transcript.state(str(leg.anchor))
    smuggled = {**state.plain, "schedule/base_lrs": [0.03], "schedule/_last_lr": [0.03]}
    forged = TrainingState(state.tensors, smuggled)
    write_anchor(copy.run / "anchors" / str(leg.anchor), forged)
    digest = forged.digest(transcript.salt(6)).hex()

    def edit(events: list[dict[str, Any]]) -> None:
        next(event for event in events if event["type"] == "freeze")["state"] = digest

    rewrite(copy.run, edit, signer=copy.project.world.operator)
    finding = replayed(copy, [leg])
    assert finding.outcome is Outcome.FAIL
    assert "replay leaves the committed run from its start: the state at step 6 differs" in finding.reason
