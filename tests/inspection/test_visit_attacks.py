"""Whoever signs may lie: visits rewritten with the team's own keys, and what shows it all the same."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from inspection.world import Site, failing, outcomes, run, sign
from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.inspection.bundle import CLOSE
from weighbridge.mechanisms.inspection.plan import OPENING, PLAN


def close_again(site: Site, **changes: object) -> None:
    """Closes over whatever now lies in the folder, with counts and digests that fit."""
    visit = site.bundle.visit(site.roots)
    fits = {"records": len(visit.records), "head": visit.records[-1][1].id if visit.records else visit.statements[1].id}
    manifest = site.bundle.manifest()
    site.path("visit/manifest.json").write_bytes(manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    sign(site, "close.cose", CLOSE, lambda close: close.update({"manifest": digest, **fits, **changes}))


def checked(site: Site, *options: object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = run("check", site.path("visit"), "--roots", site.path("roots"), *options)
    return found


def drop_last(site: Site) -> str:
    """Removes the newest record and closes again as if it had never been; returns its id."""
    visit = site.bundle.visit(site.roots)
    gone = visit.records[-1][1].id
    site.path(f"visit/records/{len(visit.records) - 1:04}.cose").unlink()
    close = site.path("visit/close.cose").read_bytes()
    site.path("visit/close.cose").unlink()
    for name in ("findings.json", "manifest.json"):
        site.path(f"visit/{name}").unlink()
    site.close()
    assert site.path("visit/close.cose").read_bytes() != close
    return gone


def test_a_refusal_dropped_from_the_end_shows_by_what_was_written_down(site: Site) -> None:
    """Its signer can sign the rest anew, and the bundle is whole: only an id that left the site tells."""
    site.see(site.drawn[0])
    told = site.record("refusal", None, "--set", "of=rack 4", "--set", "by=host")
    site.close()
    kept = ("--kept", told["statement"][:16])
    assert failing(checked(site, *kept)).keys() == {"visit.refusal"}
    assert drop_last(site) == told["statement"]
    assert not failing(checked(site))
    assert "written down on site, is not in it" in failing(checked(site, *kept))["visit.kept"]
    with pytest.raises(InputError, match="16 to 64 hexadecimal digits"):
        checked(site, "--kept", "refusal")


@pytest.fixture
def log(site: Site, tmp_path: Path) -> Callable[[], tuple[object, ...]]:
    """A log: called, it takes every statement that now lies in the visit's folder."""
    key = FileSigner.load(site.folder / "body.pem")
    Log.create(tmp_path / "log.db", key, origin="test/log").close()

    def take() -> tuple[object, ...]:
        names = sorted([*site.path("visit/draw").glob("*.cose"), *site.path("visit").glob("*.cose")])
        records = sorted(site.path("visit/records").iterdir())
        with Log.open(tmp_path / "log.db", key) as opened:
            opened.append([path.read_bytes() for path in (*names, *records)])
        return ("--log", tmp_path / "log.db")

    return take


def test_a_refusal_dropped_after_it_was_logged_is_found(site: Site, log: Callable[[], tuple[object, ...]]) -> None:
    site.record("refusal", None, "--set", "of=rack 4", "--set", "by=host")
    site.close()
    assert outcomes(checked(site, *log()), "visit.log")[0][0] == "pass"
    drop_last(site)
    found = failing(checked(site, *log()))
    # The log now holds both stories: the record that was dropped, and two closes.
    assert "1 visit-close, 1 visit-record, by ines" in found["visit.log"]


def test_two_openings_with_two_sets_of_nonces_are_found(site: Site, log: Callable[[], tuple[object, ...]]) -> None:
    log()
    sign(site, "opening.cose", OPENING, lambda opening: opening.update(fresh="ab" * 32))
    assert "1 visit-opening, by ines" in failing(checked(site, *log()))["visit.log"]


def test_a_stranger_cannot_undo_a_visit_by_what_it_logs(site: Site, log: Callable[[], tuple[object, ...]]) -> None:
    site.see(site.drawn[0])
    site.close()
    options = log()
    before = site.path("visit/close.cose").read_bytes()
    payload = site.bundle.visit(site.roots).close_statement.payload  # type: ignore[union-attr]
    forged = sign_statement(FileSigner.load(site.key("ivan")), kind=CLOSE, subject="x", payload=payload)
    site.path("visit/close.cose").write_bytes(forged)
    log()
    site.path("visit/close.cose").write_bytes(before)
    assert not failing(checked(site, *options))


@pytest.mark.parametrize(
    ("name", "kind", "change", "at", "words"),
    [
        ("opening.cose", OPENING, lambda o: o.update(at=o["at"] - 7200), 0, "at another time than it says"),
        ("opening.cose", OPENING, lambda o: o.update(at=o["at"] - 7200), -7200, "before the party was told"),
        ("opening.cose", OPENING, lambda o: o.update(access_at=o["at"] - 7200), 0, "access was given before"),
        ("opening.cose", OPENING, lambda o: o.update(access_at=o["at"] + 7200), 0, "access was given 7200 s after"),
        ("opening.cose", OPENING, lambda o: o.update(arrived_at=o["at"] + 7200), 0, "the team arrived 7200 s after"),
        ("opening.cose", OPENING, lambda o: o.update(at=o["at"] + 7200), 7200, "lies in the future"),
        ("close.cose", CLOSE, lambda c: None, -3000, "the close was signed at another time"),
        ("plan.cose", PLAN, lambda p: None, 3000, "a clock was set back"),
    ],
)
def test_a_clock_that_was_set_is_found(
    whole: Site, name: str, kind: str, change: Callable[[dict[str, Any]], object], at: float, words: str
) -> None:
    sign(whole, name, kind, change, at=at)
    reasons = [reason for outcome, reason in outcomes(checked(whole), "visit.time") if outcome == "fail"]
    assert any(words in reason for reason in reasons), reasons


def test_a_record_older_than_the_one_before_it_is_found(site: Site) -> None:
    opening = site.bundle.visit(site.roots).opening
    assert opening is not None
    site.inject(at=opening.at, signed=opening.at + 290)
    site.inject(at=opening.at, signed=opening.at - 290)
    assert "580 s before one that it follows: a clock was set back" in failing(checked(site))["visit.time"]


def test_records_of_another_visit_are_no_records_of_this_one(site: Site, built: Site, tmp_path: Path) -> None:
    """Both visits are the same team's; only what each record names tells them apart."""
    other = built.copy(tmp_path / "other")
    sign(other, "plan.cose", PLAN, lambda plan: plan.update(site="Hall 5"))
    visit = other.bundle.visit(other.roots)
    sign(other, "opening.cose", OPENING, lambda opening: opening.update(visit=visit.id))
    other.see(other.drawn[0])
    site.see(site.drawn[0])
    shutil.copy(other.path("visit/records/0000.cose"), site.path("visit/records/0001.cose"))
    site_record = site.path("visit/records/0000.cose").read_bytes()
    assert "does not follow" in failing(checked(site))["visit.chain"]
    shutil.move(site.path("visit/records/0001.cose"), site.path("visit/records/0000.cose"))
    assert site.path("visit/records/0000.cose").read_bytes() != site_record
    assert "record 0 does not follow" in failing(checked(site))["visit.chain"]
    shutil.copy(other.path("visit/opening.cose"), site.path("visit/opening.cose"))
    assert "the opening is of another visit" in failing(checked(site))["visit.chain"]


def test_a_record_after_the_close_is_found(whole: Site) -> None:
    whole.inject()
    found = failing(checked(whole))
    assert "the close counts 9 records, 10 are there" in found["visit.chain"]
    assert "records/0009.cose was added after the close" in found["visit.bundle"]


def test_findings_that_tell_otherwise_than_the_records_are_found(site: Site) -> None:
    """People read findings.json first; the close signs it, and its signer may have written it by hand."""
    site.see(site.drawn[0], physical="SN77")
    site.close()
    path = site.path("visit/findings.json")
    told = path.read_bytes()
    path.write_bytes(told.replace(b'"outcome":"fail"', b'"outcome":"pass"'))
    close_again(site)
    assert "findings.json and the records differ" in failing(checked(site))["visit.bundle"]
    path.write_bytes(b'{"findings":["nothing was found"]}')
    close_again(site)
    assert "findings.json and the records differ" in failing(checked(site))["visit.bundle"]
    path.write_bytes(told)
    close_again(site)
    assert "visit.bundle" not in failing(checked(site))


def test_a_drawn_chip_is_not_silently_exchanged(site: Site) -> None:
    """The plan is signed again with another chip of the list in a drawn one's place, and the visit to it is honest."""
    drawn = set(site.drawn) | set(site.reserves)
    items = json.loads(site.path("draw/population.json").read_bytes())["items"]
    other = next(item for item in items if item["id"] not in drawn)
    sign(site, "plan.cose", PLAN, lambda plan: plan["items"].__setitem__(0, other))
    assert "does not list what was drawn" in failing(checked(site))["visit.draw"]


def test_serial_numbers_are_not_taken_from_the_plan_alone(site: Site) -> None:
    site.path("visit/draw/population.json").unlink()
    found = outcomes(checked(site), "visit.draw")
    assert ("inconclusive", "the plan's serial numbers were not compared: the frozen list is not at hand") in found


HOSTILE = {
    "deep": b"[" * 100_000,
    "NaN": b'{"files":NaN}',
    "twice a key": b'{"files":{},"files":{"x":"y"}}',
    "1e400": b'{"files":1e400}',
    "surrogate": b'{"files":{"\\ud800":"x"}}',
    "digits": b'{"files":' + b"9" * 10_000 + b"}",
    "list": b"[1,2]",
    "no files": b'{"files":["a"]}',
    "traversal": b'{"files":{"../../../etc/passwd":"x"}}',
}


@pytest.mark.parametrize("name", ["manifest.json", "findings.json"])
@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_json_is_refused_or_found(whole: Site, name: str, fault: str) -> None:
    whole.path(f"visit/{name}").write_bytes(HOSTILE[fault])
    digest = hashlib.sha256(whole.path("visit/manifest.json").read_bytes()).hexdigest()
    if name == "manifest.json":
        sign(whole, "close.cose", CLOSE, lambda close: close.update(manifest=digest))
    else:
        close_again(whole)
    try:
        assert "visit.bundle" in failing(checked(whole))
    except EvidenceError:
        return


@pytest.mark.parametrize(
    "payload",
    [
        {"at": 10**30},
        {"at": -1},
        {"at": True},
        {"at": 1.5e300},
        {"records": "9"},
        {"summary": [1]},
        {"head": "../../../etc/passwd"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_close_of_another_form_is_refused(whole: Site, payload: dict[str, object]) -> None:
    sign(whole, "close.cose", CLOSE, lambda close: close.update(payload))
    with pytest.raises(EvidenceError, match="close"):
        checked(whole)


@pytest.mark.parametrize(
    ("name", "kind", "payload"),
    [
        ("plan.cose", PLAN, {"notified_at": 10**30}),
        ("plan.cose", PLAN, {"items": "abc"}),
        ("plan.cose", PLAN, {"items": [{"id": 1}]}),
        ("plan.cose", PLAN, {"team": {}}),
        ("plan.cose", PLAN, {"camera_gap_s": 10**30}),
        ("plan.cose", PLAN, {"visits_this_year": 21, "territory": "x"}),
        ("plan.cose", PLAN, {"territory": "\x1b[2J", "visits_this_year": 1}),
        ("plan.cose", PLAN, {"site": "\x1b[2J"}),
        ("opening.cose", OPENING, {"at": 10**30}),
        ("opening.cose", OPENING, {"access_at": 1e300}),
        ("opening.cose", OPENING, {"fresh": "zz"}),
        ("opening.cose", OPENING, {"present": "everybody"}),
    ],
    ids=str,
)
def test_a_plan_or_opening_of_another_form_is_refused(
    site: Site, name: str, kind: str, payload: dict[str, object]
) -> None:
    sign(site, name, kind, lambda statement: statement.update(payload))
    with pytest.raises(EvidenceError):
        checked(site)


def test_links_pipes_and_strange_names_are_refused(whole: Site, tmp_path: Path) -> None:
    visit = whole.path("visit")
    for name in ("records", "files", "draw"):
        (visit / name).rename(tmp_path / name)
        (visit / name).symlink_to(tmp_path / name)
        with pytest.raises(EvidenceError, match="is no folder of its own"):
            checked(whole)
        (visit / name).unlink()
        (tmp_path / name).rename(visit / name)
    for name in ("plan.cose", "close.cose", "records/0000.cose", "manifest.json"):
        (visit / name).rename(tmp_path / "kept")
        (visit / name).symlink_to(tmp_path / "kept")
        with pytest.raises(WeighbridgeError):
            checked(whole)
        (visit / name).unlink()
        (tmp_path / "kept").rename(visit / name)
    os.mkfifo(visit / "records/0009.cose")
    with pytest.raises(EvidenceError, match="cannot be read"):
        checked(whole)
    (visit / "records/0009.cose").unlink()
    (visit / "records/0000.cose.bak").write_bytes(b"")
    with pytest.raises(EvidenceError, match="does not belong here"):
        checked(whole)
    (visit / "records/0000.cose.bak").unlink()
    (visit / "records/0009.cose").write_bytes(b"\0" * ((1 << 20) + 1))
    with pytest.raises(EvidenceError, match="is larger than"):
        checked(whole)
    (visit / "records/0009.cose").unlink()
    assert not failing(checked(whole))


def test_no_link_on_the_operators_stick_takes_a_key_along(site: Site) -> None:
    """What is kept is handed on with the bundle: a link to the inspector's own key would go with it."""
    item, stick = site.drawn[0], site.path("stick")
    (stick / "records").mkdir(parents=True)
    (stick / "records/0.cose").symlink_to(site.key("ines"))
    (stick / "answer.cose").symlink_to(site.key("ines"))
    for option in (f"chip={stick}", f"answer={stick / 'answer.cose'}"):
        what = "readout" if option.startswith("chip") else "challenge"
        with pytest.raises(InputError, match="symbolic link"):
            site.record(what, item, "--file", option)
    secret = site.key("ines").read_bytes()
    assert all(secret not in path.read_bytes() for path in site.path("visit").rglob("*") if path.is_file())


def test_a_visit_cut_short_is_not_closed(whole: Site) -> None:
    for name in ("close.cose", "manifest.json", "findings.json", "records/0008.cose", "records/0007.cose"):
        whole.path(f"visit/{name}").unlink()
    found = checked(whole)
    assert outcomes(found, "visit.bundle")[0][0] == "inconclusive"
    assert found["summary"]["verified"] == 2
