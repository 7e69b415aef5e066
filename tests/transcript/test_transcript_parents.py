"""A run that begins with another's final weights: declared and shown it holds, in every other way it does not."""

import json
import re
import shutil
from pathlib import Path

import pytest

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.audit import audit_run
from weighbridge.mechanisms.transcript.parents import Parent, parent_anchor, weights_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import check_initial_state, compare_replay

from .world import Ended, Project, World, copied, without_sandbox


@pytest.fixture(scope="module")
def project(world: World) -> Project:
    return world.project(programs=("train.py", "tuning.py"))


@pytest.fixture(scope="module")
def parent(project: Project) -> Ended:
    ended = project.train(spool=True)
    assert ended.status == 0, ended.errors
    return ended


def tuned(project: Project, parent: Path, how: str = "declared") -> Ended:
    ended = project.train(
        "tuning.py", str(project.data), str(project.folder / "config.json"), str(parent), how, spool=True
    )
    assert ended.status == 0, ended.errors
    return ended


@pytest.fixture(scope="module")
def child(project: Project, parent: Ended) -> Ended:
    return tuned(project, parent.run)


def initial(child: Ended, anchor: Path | None) -> Finding:
    with without_sandbox(child.project.world):
        return check_initial_state(child.open(), parent=anchor)


def test_a_declared_child_begins_where_its_parent_ended(child: Ended, parent: Ended) -> None:
    transcript = child.open()
    assert transcript.commitment is not None
    declared = transcript.commitment.payload["declared"]
    assert isinstance(declared, dict) and declared["parent"] == parent.open().run
    anchor = parent_anchor(transcript, parent.open())
    finding = initial(child, anchor)
    assert finding.outcome is Outcome.PASS, finding.reason
    assert f"the final state of run {parent.open().run[:16]}" in finding.reason
    with (
        without_sandbox(child.project.world),
        replay(transcript, legs=[Leg(0, 12)], digests=transcript.digests, parent=anchor) as outcome,
    ):
        assert all(f.outcome is Outcome.PASS for f in compare_replay(transcript, outcome))


def test_only_weights_are_handed_on_and_the_optimizer_is_derived(child: Ended, parent: Ended) -> None:
    first = child.open().state(str(child.open().events[0].data["anchor"]))
    end = parent_anchor(child.open(), parent.open())
    assert {name: tensor.tolist() for name, tensor in weights_of(end).items()} == {
        name.removeprefix("model/parameter/"): tensor.tolist()
        for name, tensor in first.tensors.items()
        if name.startswith("model")
    }
    assert not [name for name in (*first.tensors, *first.plain) if name.startswith("optimizer")]


def test_without_the_parent_the_question_stays_open(child: Ended) -> None:
    finding = initial(child, None)
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "show that run too" in finding.reason
    with without_sandbox(child.project.world):
        audit = audit_run(child.open(), {})
    assert not audit.accepted and not [f for f in audit.findings if f.outcome is Outcome.FAIL]


def test_with_the_parent_the_audit_accepts_and_names_it(child: Ended, parent: Ended) -> None:
    with without_sandbox(child.project.world):
        audit = audit_run(child.open(), {}, parent=parent_anchor(child.open(), parent.open()))
    assert audit.accepted and audit.parent == parent.open().run


def test_another_parent_is_refused(project: Project, child: Ended) -> None:
    other = project.train(spool=True)
    with pytest.raises(EvidenceError, match="is run"):
        parent_anchor(child.open(), other.open())
    mine, theirs = Parent.of(other.run), Parent.of(child.run)
    assert mine.run == other.open().run and theirs.step == 12
    finding = initial(child, mine.anchor)
    assert finding.outcome is Outcome.FAIL and "its weights are not derived" in finding.reason


def test_a_parent_whose_end_was_changed_is_refused(child: Ended, parent: Ended) -> None:
    with copied(parent.run) as folder:
        (end,) = (folder / "anchors").glob("*-end.safetensors")
        (start,) = (folder / "anchors").glob("state-0000-0000000.safetensors")
        shutil.copy(start, end)
        with pytest.raises(EvidenceError, match="not the one committed to"):
            parent_anchor(child.open(), Transcript.open(folder, child.project.world.roots))


@pytest.mark.real
def test_a_parent_that_is_used_and_not_declared_is_not_there_in_the_sandbox(project: Project, parent: Ended) -> None:
    finding = check_initial_state(tuned(project, parent.run, "taken").open())
    assert finding.outcome is Outcome.FAIL
    assert "the program does not build its initial state" in finding.reason


@pytest.mark.real
def test_a_declared_child_holds_in_the_sandbox_too(child: Ended, parent: Ended) -> None:
    transcript = child.open()
    finding = check_initial_state(transcript, parent=parent_anchor(transcript, parent.open()))
    assert finding.outcome is Outcome.PASS, finding.reason


def test_a_parent_that_is_committed_to_and_not_declared_in_the_open_is_refused(child: Ended, parent: Ended) -> None:
    transcript = child.open()
    assert transcript.commitment is not None
    hidden = {**transcript.commitment.payload, "declared": {"parent": None}}
    object.__setattr__(transcript.commitment, "payload", hidden)
    with pytest.raises(EvidenceError, match="did not declare"):
        parent_anchor(transcript, parent.open())


def test_a_parent_may_be_declared_and_not_used(project: Project, parent: Ended) -> None:
    """More is declared than was done: its work counts, and the run replays."""
    ended = tuned(project, parent.run, "given-up")
    assert initial(ended, parent_anchor(ended.open(), parent.open())).outcome is Outcome.PASS


def test_what_is_no_finished_run_cannot_be_a_parent(project: Project, parent: Ended, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished run"):
        Parent.of(tmp_path)
    with copied(parent.run) as folder:
        journal = folder / "journal-0000.jsonl"
        lines = journal.read_text().splitlines(keepends=True)
        assert json.loads(lines[-1])["type"] == "end"
        journal.write_text("".join(lines[:-1]))
        with pytest.raises(InputError, match="did not finish"):
            Parent.of(folder)
    with pytest.raises(InputError, match="is no model of the parent"):
        weights_of(Parent.of(parent.run).anchor, "model7")
    with pytest.raises(InputError, match=re.escape("pass parent=FOLDER")):
        weights_of(None)
