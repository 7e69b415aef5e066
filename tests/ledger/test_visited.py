"""Visits in an assessment: real bundles beside a paper inspection of the operator whose chips were visited."""

import time
from pathlib import Path

import pytest

from inspection.world import Site, build_site
from ledger.paper import Paper, PaperLog, policy
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger import assess as assessing
from weighbridge.ledger.visited import Visited, visits_of
from weighbridge.ledger.workspace import Workspace


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build_site(tmp_path_factory.mktemp("visited") / "site")


@pytest.fixture
def site(built: Site, tmp_path: Path) -> Site:
    return built.copy(tmp_path / "site")


def judged(site: Site, folder: Path) -> Visited:
    (folder / "visits").mkdir(parents=True)
    site.path("visit").rename(folder / "visits" / "hall-4")
    workspace = Workspace.sort(folder, site.roots, PaperLog(site.roots.log_key), [])  # type: ignore[arg-type]
    return visits_of(workspace, closed=time.time())


def test_what_was_seen_counts_for_the_chip_that_it_was_seen_of(site: Site, tmp_path: Path) -> None:
    first, second, third = site.drawn
    site.verify(first)
    site.see(second, digital="SN-of-another")
    site.close()
    seen = judged(site, tmp_path / "workspace")
    assert not seen.void
    assert {f.outcome for f in seen.of([first]) if f.subject == first} == {Outcome.PASS}
    assert "visit.serial" in {f.check for f in seen.of([second]) if f.outcome is Outcome.FAIL}
    assert not [f for f in seen.of([first]) if f.subject in (second, third)]
    # What was drawn and not looked at stays so.
    assert Outcome.INCONCLUSIVE in {f.outcome for f in seen.of([third]) if f.subject == third}
    assert not list(seen.of(["somebody else's chip"]))


def test_a_bundle_that_was_changed_counts_for_nothing_and_against_nobody(site: Site, tmp_path: Path) -> None:
    for item in site.drawn:
        site.see(item, digital="SN-of-another")
    drawn = site.drawn
    site.close()
    (site.path("visit") / "records" / "0001.cose").unlink()
    seen = judged(site, tmp_path / "workspace")
    assert not list(seen.of(drawn))
    assert [(f.check, f.outcome, f.subject) for f in seen.void] == [("visit.bundle", Outcome.INCONCLUSIVE, "hall-4")]


def test_a_folder_that_is_no_visit_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "workspace" / "visits" / "junk").mkdir(parents=True)
    workspace = Workspace.sort(tmp_path / "workspace", site.roots, PaperLog(site.roots.log_key), [])  # type: ignore[arg-type]
    assert [f.subject for f in visits_of(workspace, closed=0.0).void] == ["junk"]


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"[" * 100_000], ids=["empty", "noise", "deep"])
def test_files_that_are_no_visit_stop_no_assessment(site: Site, tmp_path: Path, content: bytes) -> None:
    visits = tmp_path / "workspace" / "visits"
    (visits / "folder" / "draw").mkdir(parents=True)
    for name in ("file", "folder/plan.cose", "folder/close.cose", "folder/draw/population.json"):
        (visits / name).write_bytes(content)
    workspace = Workspace.sort(visits.parent, site.roots, PaperLog(site.roots.log_key), [])  # type: ignore[arg-type]
    assert [f.subject for f in visits_of(workspace, closed=0.0).void] == ["file", "folder"]


def test_a_workspace_without_visits_has_none(site: Site, tmp_path: Path) -> None:
    workspace = Workspace.sort(tmp_path, site.roots, PaperLog(site.roots.log_key), [])  # type: ignore[arg-type]
    assert visits_of(workspace, closed=0.0) == Visited()


@pytest.mark.parametrize("check", ["visit.seal", "visit.tamper", "visit.item"])
def test_a_seal_convicts_nobody(check: str) -> None:
    failed = Finding(check=check, subject="c1", outcome=Outcome.FAIL, reason="broken")
    (found,) = Visited(((frozenset({"c1"}), (failed,)),)).of(["c1"])
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, "broken")


def test_an_assessment_counts_what_was_seen_for_its_operator_alone(
    paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing visit of Alder's chip is a failing finding of Alder's and of nobody else's."""
    chips = {name: paper.chip() for name in ("Alder", "Birch")}
    for name, chip in chips.items():
        paper.deliver(chip.id, name, serial=f"S-{name}")
    paper.plan(policy(operators=("Alder", "Birch")))
    paper.close(at=200.0)
    mine = chips["Alder"].id
    failed = Finding(check="visit.serial", subject=mine, outcome=Outcome.FAIL, reason="another number")
    (paper.folder / "visits" / "junk").mkdir(parents=True)
    real = visits_of(paper.workspace(), closed=0.0)
    seen = Visited(((frozenset({mine}), (failed,)),), real.void)
    monkeypatch.setattr(assessing, "visits_of", lambda workspace, closed: seen)
    body = assessing.assess(paper.workspace(), [])
    checks = {o["name"]: [f["check"] for f in o["findings"] if f["outcome"] == "fail"] for o in body["operators"]}
    assert "visit.serial" in checks["Alder"] and "visit.serial" not in checks["Birch"]
    assert "visit.bundle" in {f["check"] for f in body["findings"]}
