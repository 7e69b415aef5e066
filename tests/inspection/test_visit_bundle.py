"""A visit end to end by its commands, and everything that somebody might change in its folder."""

import contextlib
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inspection.world import CHIPS, Site, failing, outcomes, run
from weighbridge.app.main import build
from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.inspection.bundle import CLOSE
from weighbridge.mechanisms.inspection.plan import PLAN


def test_an_honest_visit_holds_end_to_end(whole: Site) -> None:
    printed = whole.check()
    assert {finding["outcome"] for finding in printed["findings"]} == {"pass"}, printed
    (drawn,) = (finding for finding in printed["findings"] if finding["check"] == "visit.draw")
    assert 0 <= drawn["figure"] < 0.1 and "time to prepare" in drawn["reason"]
    assert printed["summary"] == {"drawn": 3, "verified": 3, "failed": 0, "not_verified": 0}
    assert {finding["check"] for finding in printed["findings"]} >= {
        "draw.selection", "visit.draw", "visit.team", "visit.chain", "visit.time", "visit.clock", "visit.serial",
        "inspection.challenge", "inspection.readout", "visit.item", "visit.sample", "visit.bundle",
    }  # fmt: skip
    (sample,) = (finding for finding in printed["findings"] if finding["check"] == "visit.sample")
    # 3 of 8 drawn, none faulty: 4 faulty ones would go unseen with chance C(4,3)/C(8,3) = 7.1 %, 5 with 1.8 %.
    assert (sample["figure"], sample["confidence"]) == (4.0, 0.95)


def test_people_read_a_table(whole: Site) -> None:
    result = CliRunner().invoke(
        build(), ["inspect", "check", str(whole.path("visit")), "--roots", str(whole.path("roots"))]
    )
    assert result.exit_code == 0, result.output
    assert "Hall 4, 9 records" in result.stdout
    assert "verified" in result.stdout
    # The draw is told in one line, and what the visit bounds comes last.
    assert "findings on the draw pass" in result.stdout and "draw.seed" not in result.stdout
    *_, sample, closed = result.stdout.splitlines()
    assert sample.startswith("visit.sample: 3 of 3 drawn items were verified") and closed.startswith("Closed by")


@pytest.mark.parametrize(
    "name",
    ["plan.cose", "opening.cose", "records/0000.cose", "records/0008.cose", "close.cose", "findings.json",
     "manifest.json", "draw/population.json"],
)  # fmt: skip
def test_one_changed_byte_is_refused_or_found(whole: Site, name: str) -> None:
    path = whole.path("visit") / name
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)
    try:
        assert failing(whole.check())
    except WeighbridgeError:
        return


def test_no_changed_byte_anywhere_survives(whole: Site) -> None:
    numbers = random.Random(7)
    paths = sorted(path for path in whole.path("visit").rglob("*") if path.is_file())
    for _ in range(25):
        path = numbers.choice(paths)
        raw = bytearray(kept := path.read_bytes())
        raw[numbers.randrange(len(raw))] ^= 1 << numbers.randrange(8)
        path.write_bytes(raw)
        with contextlib.suppress(WeighbridgeError):
            assert failing(whole.check()), path
        path.write_bytes(kept)
    assert not failing(whole.check())


def test_a_changed_attachment_is_found(whole: Site) -> None:
    for path in sorted(whole.path("visit/files").iterdir()):
        raw = path.read_bytes()
        path.write_bytes(raw + b"\n")
        assert "was changed" in failing(whole.check())["visit.bundle"]
        path.write_bytes(raw)


def test_missing_and_added_files_are_found(whole: Site) -> None:
    added = whole.path("visit/files") / ("ab" * 32)
    added.write_bytes(b"late")
    assert "was added after the close" in failing(whole.check())["visit.bundle"]
    added.unlink()
    whole.path("visit/records/0008.cose").unlink()
    found = failing(whole.check())
    assert "records/0008.cose is missing" in found["visit.bundle"]
    assert "the close counts 9 records, 8 are there" in found["visit.chain"]
    (whole.path("visit") / "link").symlink_to("/etc/passwd")
    with pytest.raises(EvidenceError, match="neither a plain file"):
        whole.check()


def test_records_cannot_change_places(whole: Site) -> None:
    one, two = whole.path("visit/records/0000.cose"), whole.path("visit/records/0001.cose")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert "was changed" in failing(whole.check())["visit.bundle"]


def resigned(site: Site, changes: dict[str, object]) -> None:
    """Closes again over whatever now lies in the folder."""
    close = site.bundle.visit(site.roots).close_statement
    assert close is not None
    manifest = site.bundle.manifest()
    site.path("visit/manifest.json").write_bytes(manifest)
    payload = {**close.payload, "manifest": hashlib.sha256(manifest).hexdigest(), **changes}
    raw = sign_statement(FileSigner.load(site.key("ines")), kind=CLOSE, subject=close.subject, payload=payload)
    site.path("visit/close.cose").write_bytes(raw)


def test_a_close_signed_anew_cannot_drop_a_record_from_the_middle(whole: Site) -> None:
    whole.path("visit/records/0003.cose").unlink()
    resigned(whole, {"records": 8})
    assert "does not follow" in failing(whole.check())["visit.chain"]


def test_a_close_cannot_count_otherwise_than_the_records(site: Site) -> None:
    site.see(site.drawn[0])
    printed = site.close()
    assert printed["summary"] == {"drawn": 3, "verified": 0, "failed": 0, "not_verified": 3}
    resigned(site, {"summary": {"drawn": 3, "verified": 3, "failed": 0, "not_verified": 0}})
    assert "the records show" in failing(site.check())["visit.bundle"]


def test_a_close_dated_elsewhere_is_found(whole: Site) -> None:
    close = whole.bundle.visit(whole.roots).close
    assert close is not None
    for at in (close.at - 7200, close.at + 7200):
        resigned(whole, {"at": at})
        assert failing(whole.check())["visit.time"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plan: plan["items"].pop(), "does not list what was drawn"),
        (lambda plan: plan["items"].reverse(), "does not list what was drawn"),
        (lambda plan: plan["items"][0].update(serial="SN9999"), "has other facts"),
        (lambda plan: plan.update(draw="ab" * 32), "not at hand"),
    ],
    ids=["one left out", "order", "serial number", "another draw"],
)
def test_a_plan_of_other_items_than_drawn_is_found(
    site: Site, change: Callable[[dict[str, object]], object], words: str
) -> None:
    plan = json.loads(site.bundle.visit(site.roots).plan_statement.payload_bytes)
    change(plan)
    raw = sign_statement(FileSigner.load(site.key("ines")), kind=PLAN, subject="Hall 4", payload=plan)
    site.path("visit/plan.cose").write_bytes(raw)
    found = outcomes(site.check(), "visit.draw")
    assert all(outcome != "pass" for outcome, reason in found if words in reason)
    assert any(words in reason for _, reason in found), found


def test_a_bundle_is_written_once(whole: Site, site: Site) -> None:
    with pytest.raises(InputError, match="is closed already"):
        whole.close()
    with pytest.raises(InputError, match="what comes later"):
        whole.see(whole.drawn[0])
    by_ines = ("--key", site.key("ines"), "--roots", site.path("roots"))
    with pytest.raises(InputError, match="is open already"):
        run("open", site.path("visit"), "--place", "x", *by_ines)
    plan = ("--draw", site.path("draw"), "--site", "x", "--notified", "2026-11-20T08:00Z")
    with pytest.raises(InputError, match="never overwritten"):
        run("plan", site.path("visit"), *plan, *by_ines)
    with pytest.raises(InputError, match="at most 20"):
        run("plan", site.path("second"), *plan, "--visit-number", 21, "--territory", "Ruritania", *by_ines)
    with pytest.raises(InputError, match="both a number and a territory"):
        run("plan", site.path("second"), *plan, "--visit-number", 3, *by_ines)
    with pytest.raises(InputError, match=r"--member: is an operator's"):
        run("plan", site.path("second"), *plan, "--member", site.path("alder.pem.chain.pem"), *by_ines)
    assert not site.path("second").exists()
    with pytest.raises(InputError, match="is no visit"):
        run("check", site.path("second"), "--roots", site.path("roots"))


def test_a_close_that_was_interrupted_can_be_made_again(site: Site) -> None:
    for name in ("findings.json", "manifest.json"):
        site.path(f"visit/{name}").write_bytes(b"half")
    site.close()
    assert not failing(site.check())


def test_two_who_write_at_once_do_not_overwrite_each_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both counted the same number of records; the second is told so, and nothing of the first is lost."""
    site.bundle.put("records/0000.cose", b"first")
    monkeypatch.setattr(Path, "exists", lambda path: False)
    with pytest.raises(InputError, match="another's record"):
        site.bundle.put("records/0000.cose", b"second")
    monkeypatch.undo()
    assert site.path("visit/records/0000.cose").read_bytes() == b"first"
    assert not list(site.path("visit").glob(".*"))


def test_a_stick_without_links_will_do(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("weighbridge.mechanisms.inspection.bundle.os.link", refuse)
    site.see(site.drawn[0])
    with pytest.raises(InputError, match="is there already"):
        site.bundle.put("records/0000.cose", b"second")
    site.close()
    assert not failing(site.check())


def test_a_plan_takes_only_a_draw_that_holds(site: Site) -> None:
    population = site.path("draw/population.json")
    population.write_bytes(population.read_bytes().replace(b"SN0001", b"SN9999"))
    options = ("--draw", site.path("draw"), "--site", "x", "--notified", "2026-11-20T08:00Z")
    by_ines = ("--key", site.key("ines"), "--roots", site.path("roots"))
    with pytest.raises(InputError, match="changed after it was frozen"):
        run("plan", site.path("second"), *options, *by_ines)
    assert not site.path("second").exists()


def test_the_draw_of_a_visit_is_checked_with_it(whole: Site) -> None:
    population = whole.path("visit/draw/population.json")
    population.write_bytes(population.read_bytes().replace(b"SN0001", b"SN9999"))
    assert "draw.population" in failing(whole.check())
    assert len(json.loads(population.read_bytes())["items"]) == CHIPS


def test_a_visit_needs_nothing_outside_its_folder(whole: Site, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere"
    whole.path("visit").rename(alone)
    printed = run("check", alone, "--roots", whole.path("roots"))
    assert {finding["outcome"] for finding in printed["findings"]} == {"pass"}


def test_a_second_plan_for_one_draw_is_found_in_the_log(site: Site, tmp_path: Path) -> None:
    key = FileSigner.load(site.folder / "body.pem")
    plan = site.bundle.visit(site.roots).plan_statement
    files = sorted(site.path("visit/draw").glob("*.cose"), key=lambda path: path.name)
    with Log.create(tmp_path / "log.db", key, origin="test/log") as log:
        log.append([path.read_bytes() for path in files])
    checked = ("check", site.path("visit"), "--roots", site.path("roots"), "--log", tmp_path / "log.db")
    assert outcomes(run(*checked), "visit.single")[0][0] == "inconclusive"
    with Log.open(tmp_path / "log.db", key) as log:
        log.append([plan.raw])
    assert outcomes(run(*checked), "visit.single") == [("pass", "the log holds one plan for this draw")]
    again = sign_statement(FileSigner.load(site.key("ivan")), kind=PLAN, subject="Hall 4", payload=plan.payload)
    with Log.open(tmp_path / "log.db", key) as log:
        log.append([again])
    assert "2 plans were signed for this draw, by ines and ivan" in failing(run(*checked))["visit.single"]


def test_a_nonce_is_what_the_documentation_says(site: Site) -> None:
    opening = site.bundle.visit(site.roots).opening
    assert opening is not None
    for item, nonce in site.nonces.items():
        joined = b"weighbridge/visit-challenge/1\0" + bytes.fromhex(opening.fresh) + item.encode()
        assert nonce == hashlib.sha256(joined).hexdigest()
