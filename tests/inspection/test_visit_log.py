"""Before and after the site: offline between, and what the log then shows of the visits of a year."""

import datetime
import socket
import threading
import time
from pathlib import Path

import pytest

from inspection.world import Site, failing, outcomes, run, sign
from weighbridge.errors import InputError
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.spool import Keeper
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.inspection.plan import OPENING, PLAN

JANUARY = int(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp())
DECEMBER = JANUARY - 1


def test_nothing_on_site_opens_a_socket(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    site.path("visit/opening.cose").unlink()
    by_ines = ("--key", site.key("ines"), "--roots", site.path("roots"))
    opened = run("open", site.path("visit"), "--place", "gate", "--access", int(time.time()), *by_ines)
    item = site.drawn[0]
    site.see(item)
    site.challenge(item, nonce=opened["nonces"][item])
    site.read_out(item)
    site.record("refusal", None, "--set", "of=rack 4", "--set", "by=host")
    site.close()
    assert failing(site.check()).keys() == {"visit.refusal"}


def test_a_visit_is_handed_to_the_log_once_there_is_one(site: Site, tmp_path: Path) -> None:
    site.see(site.drawn[0])
    site.close()
    key, stop = FileSigner.load(site.folder / "body.pem"), threading.Event()
    Log.create(tmp_path / "log.db", key, origin="test/log").close()

    def keep() -> None:
        with (
            Log.open(tmp_path / "log.db", key) as log,
            Keeper(log, tmp_path / "spool", roots=site.roots) as keeper,
        ):
            keeper.run(stop)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        while not (tmp_path / "spool" / "in").is_dir():
            time.sleep(0.01)
        told = run("submit", site.path("visit"), "--spool", tmp_path / "spool", "--roots", site.path("roots"))
    finally:
        stop.set()
        thread.join()
    assert len(told["statements"]) == 4
    checked = run("check", site.path("visit"), "--roots", site.path("roots"), "--log", tmp_path / "log.db")
    assert outcomes(checked, "visit.single") == [("pass", "the log holds one plan for this draw")]
    assert outcomes(checked, "visit.log") == [
        ("pass", "all 3 statements that the log has of this visit are in the bundle")
    ]
    assert not failing(checked)


def challenge_inspection(site: Site, number: int, *, notified: int | None = None) -> None:
    change = {"territory": "Ruritania", "visits_this_year": number}
    change |= {} if notified is None else {"notified_at": notified}
    sign(site, "plan.cose", PLAN, lambda plan: plan.update(change))
    name = site.bundle.visit(site.roots).id
    sign(site, "opening.cose", OPENING, lambda opening: opening.update(visit=name))


def logged(site: Site, folder: Path, *notified: int, territory: str = "Ruritania") -> tuple[object, ...]:
    """Logs this visit's plan, and plans of other draws that were announced at other times."""
    plan, key = site.bundle.visit(site.roots).plan_statement, FileSigner.load(site.folder / "body.pem")
    others = [
        sign_statement(
            FileSigner.load(site.key("ivan")),
            kind=PLAN,
            subject="x",
            payload={**plan.payload, "draw": f"{at:064x}", "notified_at": at, "territory": territory},
        )
        for at in notified
    ]
    with Log.create(folder / "log.db", key, origin="test/log") as log:
        log.append([plan.raw, *others])
    return ("check", site.path("visit"), "--roots", site.path("roots"), "--log", folder / "log.db")


def test_challenge_inspections_are_counted_by_territory_and_year(site: Site, tmp_path: Path) -> None:
    challenge_inspection(site, 3)
    found = run(*logged(site, tmp_path, JANUARY, JANUARY + 1, DECEMBER))
    assert outcomes(found, "visit.quota") == [("pass", "number 3 of at most 20 in 2026; the log holds 3")]


def test_a_number_that_is_too_low_is_found(site: Site, tmp_path: Path) -> None:
    challenge_inspection(site, 2)
    found = failing(run(*logged(site, tmp_path, JANUARY, JANUARY + 1)))
    assert found["visit.quota"] == "it is numbered 2, though it was at least number 3 of 2026"


@pytest.mark.parametrize(("others", "outcome"), [(19, "pass"), (20, "fail")])
def test_a_territory_has_twenty_challenge_inspections_a_year(
    site: Site, tmp_path: Path, others: int, outcome: str
) -> None:
    challenge_inspection(site, 20)
    printed = run(*logged(site, tmp_path, *range(JANUARY, JANUARY + others)))
    assert outcomes(printed, "visit.quota")[0][0] == outcome


def test_visits_elsewhere_count_for_nobody_else(site: Site, tmp_path: Path) -> None:
    challenge_inspection(site, 1)
    printed = run(*logged(site, tmp_path, *range(JANUARY, JANUARY + 30), territory="Syldavia"))
    assert outcomes(printed, "visit.quota") == [("pass", "number 1 of at most 20 in 2026; the log holds 1")]
    assert not outcomes(site.check(), "visit.quota")


def test_a_visit_is_not_opened_before_the_party_was_told(site: Site) -> None:
    site.path("visit/opening.cose").unlink()
    later = int(time.time()) + 3600
    sign(site, "plan.cose", PLAN, lambda plan: plan.update(notified_at=later))
    by_ines = ("--key", site.key("ines"), "--roots", site.path("roots"))
    with pytest.raises(InputError, match="cannot be opened before"):
        run("open", site.path("visit"), "--place", "gate", *by_ines)
    sign(site, "plan.cose", PLAN, lambda plan: plan.update(notified_at=later - 7200))
    with pytest.raises(InputError, match="before the party was told"):
        run("open", site.path("visit"), "--place", "gate", "--access", later - 10800, *by_ines)
    assert not site.path("visit/opening.cose").exists()
