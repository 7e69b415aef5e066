"""What counts in an opened log: who may say what, and until when."""

from pathlib import Path

import pytest

from ledger.paper import Paper
from weighbridge.errors import EvidenceError, InputError
from weighbridge.ledger.workspace import KINDS, Workspace
from weighbridge.mechanisms.chip.record import KIND

SIGNERS = {
    "inspector": "Inspector",
    "operator": "Alder",
    "maker": "Chip Works",
    "registrar": "Registrar",
    "distributor": "Distributor",
}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("role", ["chip", *SIGNERS])
def test_a_statement_counts_only_if_its_signer_s_role_may_make_it(paper: Paper, kind: str, role: str) -> None:
    signer = paper.chip().signer if role == "chip" else paper.signer(SIGNERS[role])
    item = paper.say(kind, {"nonsense": 1}, by=signer)
    workspace = paper.workspace()
    allowed = role in {str(one) for one in KINDS[kind]}
    assert (item in workspace.of_kind(kind)) is allowed
    assert (item in workspace.misplaced) is not allowed


def test_nobody_but_an_inspector_plans_closes_challenges_answers_or_audits() -> None:
    for kind in ("inspection-plan", "inspection-close", "inspection-challenge", "run-nonce", "run-audit"):
        assert {str(role) for role in KINDS[kind]} == {"inspector"}


def test_a_kind_that_nobody_knows_counts_for_nothing(paper: Paper) -> None:
    item = paper.say("inspection-plans", {})
    assert paper.workspace().misplaced == (item,)


def test_an_operator_s_close_closes_nothing(paper: Paper) -> None:
    """Else everything that others said after it would count for nothing."""
    paper.say("inspection-close", {}, by=paper.operators["Birch"])
    item = paper.say("run-commitment", {}, by=paper.operators["Alder"])
    assert paper.workspace().of_kind("run-commitment") == (item,)


def test_after_the_close_only_audits_are_heard(paper: Paper) -> None:
    paper.close()
    late = [paper.say("run-commitment", {}, by=paper.operators["Alder"]), paper.say("run-nonce", {})]
    late += [paper.say("inspection-challenge", {})]
    late += paper.chip().boot().logged
    audit = paper.say("run-audit", {})
    workspace = paper.workspace()
    assert workspace.late == tuple(late)
    assert workspace.of_kind("run-audit") == (audit,)
    assert not workspace.chip_records()


@pytest.mark.parametrize("kind", ["inspection-plan", "inspection-close"])
def test_a_second_plan_or_close_is_seen_even_after_the_close(paper: Paper, kind: str) -> None:
    paper.plan()
    paper.close()
    paper.say(kind, {})
    with pytest.raises(EvidenceError, match=f"2 statements of kind {kind}"):
        paper.workspace().single(kind)


def test_a_record_is_the_key_s_that_signed_it_whatever_subject_it_names(paper: Paper) -> None:
    chip, other = paper.chip().boot(), paper.chip()
    item = paper.say(KIND, {"eat": {1: 2}}, by=other.signer, subject=chip.id, encoding="cbor")
    records = paper.workspace().chip_records()
    assert records[chip.id] == tuple(chip.logged)
    assert records[other.id] == (item,)


def test_every_statement_that_counts_is_found_by_its_id_and_no_other(paper: Paper) -> None:
    counts = paper.say("run-commitment", {}, by=paper.operators["Alder"])
    stray = paper.say("run-commitment", {})
    by_id = paper.workspace().by_id
    assert by_id[counts.statement.id] is counts
    assert stray.statement.id not in by_id


def test_a_run_s_folder_follows_from_its_id_not_from_its_words(paper: Paper) -> None:
    item = paper.say("run-commitment", {"folder": "../../etc"}, by=paper.operators["Alder"])
    assert list(paper.workspace().runs()) == [(item, paper.folder / "runs" / item.statement.id[:16])]


def test_a_folder_without_a_log_is_no_workspace(paper: Paper, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no log/"):
        Workspace.open(tmp_path, paper.people.roots)


def test_a_link_anywhere_in_it_is_refused_before_anything_is_read(paper: Paper, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "corpus.npy").symlink_to("/etc/passwd")
    with pytest.raises(EvidenceError, match="is neither a plain file nor a folder"):
        Workspace.open(tmp_path, paper.people.roots)
