"""Visits in an assessment: real bundles beside a paper inspection of the operator whose chips were visited."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inspection.world import Site, build_site, run
from ledger.paper import Paper, PaperLog
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import sign_statement, verify_statement
from weighbridge.ledger import assess as assessing
from weighbridge.ledger.visited import Visited, visits_of
from weighbridge.ledger.workspace import Logged, Workspace


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


def logged(site: Site, *raws: bytes) -> list[Logged]:
    return [Logged(verify_statement(raw, site.roots), n, time.time()) for n, raw in enumerate(raws)]


def test_an_open_visit_counts_for_nothing(site: Site, tmp_path: Path) -> None:
    """Cut off with its close, what was seen last would be gone and the rest would count."""
    site.see(site.drawn[0], digital="SN-of-another")
    site.close()
    for name in ("close.cose", "manifest.json", "findings.json", "records/0000.cose"):
        site.path(f"visit/{name}").unlink()
    seen = judged(site, tmp_path / "workspace")
    assert not seen.visits
    assert "is not closed" in seen.void[0].reason


def test_a_visit_that_was_planned_and_is_not_there_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    plan = site.bundle.visit(site.roots).plan_statement
    log = PaperLog(site.roots.log_key)
    workspace = Workspace.sort(tmp_path / "workspace", site.roots, log, logged(site, plan.raw))  # type: ignore[arg-type]
    (found,) = visits_of(workspace, closed=time.time()).void
    assert (found.check, found.outcome, found.subject) == ("visit.absent", Outcome.INCONCLUSIVE, plan.id)
    assert "the plan of a visit to Hall 4" in found.reason


def test_no_operator_undoes_a_visit_by_what_it_logs(site: Site, tmp_path: Path) -> None:
    """A commitment to some other draw, and its own share of this one after its deadline: both are its own to log."""
    site.see(site.drawn[0], digital="SN-of-another")
    site.close()
    alder = FileSigner.load(site.key("alder"))
    other = {"purpose": "x", "period": "y", "commitment": "ab" * 32}
    junk = sign_statement(alder, kind="draw-commitment", subject="x", payload=other)
    shares = [path.read_bytes() for path in site.path("visit/draw").glob("draw-share-*.cose")]
    late = [replace(item, time=time.time() + 1e7) for item in logged(site, junk, *shares)]
    folder = tmp_path / "workspace"
    (folder / "visits").mkdir(parents=True)
    site.path("visit").rename(folder / "visits" / "hall-4")
    workspace = Workspace.sort(folder, site.roots, PaperLog(site.roots.log_key), late)  # type: ignore[arg-type]
    seen = visits_of(workspace, closed=time.time())
    assert not seen.void and len(seen.visits) == 1


def test_a_visit_to_nobodys_chips_is_named(site: Site, tmp_path: Path) -> None:
    drawn = site.drawn
    site.close()
    seen = judged(site, tmp_path / "workspace")
    assert not list(seen.of_nobody(drawn[:1]))
    (found,) = seen.of_nobody(["another chip"])
    assert "none of the 3 items of this visit" in found.reason


def test_what_was_refused_on_site_is_not_held_against_whoever_was_only_in_reserve(site: Site, tmp_path: Path) -> None:
    drawn, (stood_in, idle) = site.drawn, site.reserves
    site.record("replacement", drawn[0], "--set", f"by={stood_in}", "--set", "reason=under repair")
    site.record("refusal", None, "--set", "of=hall 4", "--set", "by=host")
    site.close()
    seen = judged(site, tmp_path / "workspace")
    refused = {
        chip: [f.check for f in seen.of([chip]) if f.check == "visit.refusal"] for chip in (*drawn, stood_in, idle)
    }
    assert refused.pop(idle) == []
    assert all(checks == ["visit.refusal"] for checks in refused.values())


@pytest.mark.parametrize("check", ["visit.seal", "visit.tamper", "visit.item"])
def test_a_seal_convicts_nobody(check: str) -> None:
    failed = Finding(check=check, subject="c1", outcome=Outcome.FAIL, reason="broken")
    (found,) = Visited(((frozenset({"c1"}), (failed,)),)).of(["c1"])
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, "broken")


def visited(
    paper: Paper,
    see: Callable[[dict[str, str], dict[str, str]], list[tuple[object, ...]]],
    *,
    stale: str | None = None,
) -> dict[str, Any]:
    """Assesses a paper inspection with a real visit in it: every chip drawn by inspector and operator, all required.

    Args:
        paper: two operators.
        see: given chips by operator and nonces by chip, returns what the inspector puts on record.
        stale: an operator whose chip answers another nonce than the visit's.
    """
    chips = {name: paper.chip() for name in ("Alder", "Birch")}
    for name, chip in chips.items():
        paper.deliver(chip.id, name, serial=f"S-{name}")
    paper.plan()
    folder, roots = paper.folder / "visits", paper.folder / "roots"
    paper.people.roots.save(roots)
    (paper.folder / "list.csv").write_text(
        "".join(["chip,serial\n", *(f"{chip.id},S-{name}\n" for name, chip in chips.items())])
    )
    agreed, draw, visit = ("--purpose", "visit", "--period", "2026-11"), paper.folder / "draw", folder / "hall"
    keys = {"i": paper.folder / "keys/inspector.pem", "a": paper.folder / "Alder.pem"}
    by = ("--key", keys["i"], "--roots", roots)
    for who, key in keys.items():
        run("commit", draw, "--key", key, *agreed, "--secret", paper.folder / f"{who}.share")
    source = ("--source", "commit-reveal", "--count", 2)
    run("frame", draw, "--list", paper.folder / "list.csv", *source, *agreed, *by)
    for who, key in keys.items():
        run("reveal", draw, "--key", key, "--roots", roots, "--secret", paper.folder / f"{who}.share")
    run("draw", draw, *by)
    required = ("--require", "serial", "--require", "challenge")
    run("plan", visit, "--draw", draw, "--site", "Hall", "--notified", int(time.time()) - 60, *required, *by)
    opened = run("open", visit, "--place", "gate", "--access", int(time.time()), *by)
    for name, chip in chips.items():
        chip.answer("cd" * 32 if name == stale else opened["nonces"][chip.id])
        (paper.folder / f"{chip.id}.cose").write_bytes(chip.logged[-1].statement.raw)
    for told in see({name: chip.id for name, chip in chips.items()}, opened["nonces"]):
        run("record", visit, *told, *by)
    run("close", visit, *by)
    paper.close(at=200.0)
    return assessing.assess(paper.workspace(), [])


@pytest.fixture
def elsewhere(tmp_path: Path) -> Paper:
    """Paper operators in a folder of this test's own."""
    return Paper.make(tmp_path, "Alder", "Birch")


def serial(chip: str, number: str) -> tuple[object, ...]:
    return ("serial", "--item", chip, "--set", f"physical={number}", "--set", f"digital={number}")


def test_a_wrong_serial_number_counts_at_every_level_for_its_operator_alone(elsewhere: Paper) -> None:
    body = visited(elsewhere, lambda chips, _: [serial(chips["Alder"], "S-forged"), serial(chips["Birch"], "S-Birch")])
    rulings = {o["name"]: {level: o["rulings"][level] for level in "ABC"} for o in body["operators"]}
    for level in "ABC":
        assert rulings["Alder"][level]["verdict"] == "violation"
        assert "visit.serial: the serial number on it is S-forged" in rulings["Alder"][level]["reason"]
        assert "visit." not in rulings["Birch"][level]["reason"]
    # A paper chip's certificate commits no schedule, which fails at A and B whatever was seen; at C only visits speak.
    assert rulings["Birch"]["C"]["verdict"] == "inconclusive"


def test_an_answer_counts_while_keys_do_and_never_at_level_c(elsewhere: Paper) -> None:
    """Alder's chip answers another nonce: by signatures alone, so it says nothing where no chip record counts."""

    def see(chips: dict[str, str], nonces: dict[str, str]) -> list[tuple[object, ...]]:
        other = elsewhere.folder / f"{chips['Alder']}.cose"
        return [
            serial(chips["Alder"], "S-Alder"),
            ("challenge", "--item", chips["Alder"], "--file", f"answer={other}"),
        ]

    (alder, _) = visited(elsewhere, see, stale="Alder")["operators"]
    assert {level: alder["rulings"][level]["verdict"] for level in "ABC"} == {
        "A": "violation",
        "B": "violation",
        "C": "inconclusive",
    }
    for level in "AB":
        assert "inspection.challenge" in alder["rulings"][level]["reason"]


def test_what_passed_and_what_was_not_looked_at_move_no_verdict(elsewhere: Paper) -> None:
    """A visit never lowers X: the same figures as without it, and what was not seen is printed as such."""
    body = visited(elsewhere, lambda chips, _: [serial(chips["Alder"], "S-Alder")])
    shutil.rmtree(elsewhere.folder / "visits")
    without = assessing.assess(elsewhere.workspace(), [])
    for seen, plain in zip(body["operators"], without["operators"], strict=True):
        assert seen["rulings"] == plain["rulings"]
        own = [f for f in seen["findings"] if f["check"].startswith(("visit.", "draw.", "inspection.c"))]
        assert all(f["hidden_flop"] is None for f in own)
        assert {f["outcome"] for f in own if f["check"] == "visit.item"} == {"inconclusive"}
