"""The commands of a draw, as two parties type them, with a log and without one."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weighbridge.app.institutions import Institutions
from weighbridge.app.main import build
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.beacon import QUICKNET
from weighbridge.evidence.log import Log
from weighbridge.evidence.spool import Keeper

ORIGIN = "weighbridge.example/draws"
AGREED = ("--purpose", "visit", "--period", "2026-11")


def run(*arguments: object, status: int | None = 0) -> dict[str, Any]:
    result = CliRunner().invoke(build(), ["inspect", *map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert status is None or result.exit_code == status, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Institutions:
    folder = tmp_path_factory.mktemp("people")
    made = Institutions.make(folder / "keys", origin=ORIGIN)
    made.operator(folder / "operator.pem", "Alder")
    made.roots.save(folder / "roots")
    (folder / "chips.csv").write_text("chip,rack\n" + "".join(f"c{n:02},R{n % 3}\n" for n in range(20)))
    return made


@pytest.fixture(scope="module")
def base(people: Institutions) -> Path:
    return people.folder.parent


@pytest.fixture(autouse=True)
def another_month(base: Path) -> None:
    """Every test draws for the same period; their keys have opened no share for it yet."""
    for note in base.rglob("*.shares"):
        note.unlink()


@pytest.fixture
def keeper(people: Institutions, tmp_path: Path) -> Iterator[Path]:
    stop = threading.Event()
    Log.create(tmp_path / "log.db", people.log_key, origin=ORIGIN).close()

    def keep() -> None:
        with (
            Log.open(tmp_path / "log.db", people.log_key) as log,
            Keeper(log, tmp_path / "spool", roots=people.roots) as k,
        ):
            k.run(stop)

    thread = threading.Thread(target=keep)
    thread.start()
    while not (tmp_path / "spool" / "in").is_dir():
        time.sleep(0.01)
    yield tmp_path
    stop.set()
    thread.join()


def frame(base: Path, folder: Path, source: str, *more: object, **changes: str) -> dict[str, Any]:
    values = {
        "--list": base / "chips.csv",
        "--count": 4,
        "--reserves": 2,
        "--key": base / "keys/inspector.pem",
    } | changes
    options = [part for name, value in values.items() for part in (name, value)]
    return run("frame", folder, *options, *AGREED, "--source", source, "--roots", base / "roots", *more)


def outcomes(printed: dict[str, Any]) -> dict[str, str]:
    return {f["check"].removeprefix("draw."): f["outcome"] for f in printed["findings"]}


def test_a_draw_by_two_parties_without_a_log(base: Path, tmp_path: Path) -> None:
    folder, roots = tmp_path / "draw", ("--roots", base / "roots")
    keys = {"ines": base / "keys/inspector.pem", "alder": base / "operator.pem"}
    for who, key in keys.items():
        run("commit", folder, "--key", key, *AGREED, "--secret", tmp_path / who)
    frame(base, folder, "commit-reveal")
    run("reveal", folder, "--key", keys["ines"], "--secret", tmp_path / "ines", *roots)
    with pytest.raises(InputError, match="await every party's share"):
        run("draw", folder, "--key", keys["ines"], *roots)
    with pytest.raises(InputError, match="not what this key committed to"):
        run("reveal", folder, "--key", keys["alder"], "--secret", tmp_path / "ines", *roots)
    run("reveal", folder, "--key", keys["alder"], "--secret", tmp_path / "alder", *roots)
    with pytest.raises(InputError, match="opened its share already"):
        run("reveal", folder, "--key", keys["alder"], "--secret", tmp_path / "alder", *roots)
    drawn = run("draw", folder, "--key", keys["ines"], *roots)
    assert len(set(drawn["drawn"]) | set(drawn["reserves"])) == 6
    checked = run("check-draw", folder, *roots)
    assert checked["holds"] and set(outcomes(checked).values()) == {"pass"}
    with pytest.raises(InputError, match="one frame has one draw"):
        run("draw", folder, "--key", keys["ines"], *roots)
    with pytest.raises(InputError, match="frozen here already"):
        frame(base, folder, "commit-reveal")
    population = folder / "population.json"
    population.write_bytes(population.read_bytes().replace(b'"R0"', b'"R1"', 1))
    assert outcomes(run("check-draw", folder, *roots, status=1))["population"] == "fail"


def test_a_key_opens_one_share_for_a_purpose_and_period(base: Path, tmp_path: Path) -> None:
    """Whoever knows a share can try lists against it: a second folder with the old commitments gets none."""
    folder, again, roots = tmp_path / "draw", tmp_path / "again", ("--roots", base / "roots")
    keys = {"ines": base / "keys/inspector.pem", "alder": base / "operator.pem"}
    for who, key in keys.items():
        run("commit", folder, "--key", key, *AGREED, "--secret", tmp_path / who)
    shutil.copytree(folder, again)
    frame(base, folder, "commit-reveal")
    frame(base, again, "commit-reveal", **{"--count": "5"})
    run("reveal", folder, "--key", keys["alder"], "--secret", tmp_path / "alder", *roots)
    with pytest.raises(InputError, match="has opened a share for visit in 2026-11 already"):
        run("reveal", again, "--key", keys["alder"], "--secret", tmp_path / "alder", *roots)
    assert not list(again.glob("draw-share-*"))


def test_a_challenger_answers_one_frame_for_a_purpose_and_period(base: Path, tmp_path: Path) -> None:
    """Else the inspector would draw twice without a log, and show the better."""
    challenged = ("--challenger", base / "operator.pem.chain.pem", "--vrf-key", tmp_path / "vrf.hex")
    answer = ("--key", base / "operator.pem", "--roots", base / "roots")
    for name in ("one", "two"):
        frame(base, tmp_path / name, "ecvrf", *challenged)
    run("reveal", tmp_path / "one", *answer)
    with pytest.raises(InputError, match="with a second one could choose; agree on another period"):
        run("reveal", tmp_path / "two", *answer)


def test_no_share_is_opened_for_a_list_that_was_changed(base: Path, tmp_path: Path) -> None:
    folder, roots = tmp_path / "draw", ("--roots", base / "roots")
    keys = {"ines": base / "keys/inspector.pem", "alder": base / "operator.pem"}
    for who, key in keys.items():
        run("commit", folder, "--key", key, *AGREED, "--secret", tmp_path / who)
    frame(base, folder, "commit-reveal")
    population = folder / "population.json"
    population.write_bytes(population.read_bytes().replace(b'"R0"', b'"R1"', 1))
    with pytest.raises(InputError, match="is not the list that was frozen"):
        run("reveal", folder, "--key", keys["alder"], "--secret", tmp_path / "alder", *roots)


def test_a_frame_takes_one_commitment_of_each_party_its_own_among_them(base: Path, tmp_path: Path) -> None:
    keys = {"ines": base / "keys/inspector.pem", "alder": base / "operator.pem"}
    folder = tmp_path / "draw"
    run("commit", folder, "--key", keys["alder"], *AGREED, "--secret", tmp_path / "one")
    with pytest.raises(InputError, match="commitments by Alder; the signer of the frame and another"):
        frame(base, folder, "commit-reveal")
    run("commit", folder, "--key", keys["ines"], *AGREED, "--secret", tmp_path / "two")
    run("commit", folder, "--key", keys["alder"], *AGREED, "--secret", tmp_path / "three")
    with pytest.raises(InputError, match="two commitments by one party"):
        frame(base, folder, "commit-reveal")
    other = tmp_path / "other"
    run("commit", other, "--key", keys["alder"], "--purpose", "x", "--period", "y", "--secret", tmp_path / "four")
    with pytest.raises(InputError, match="Alder committed to 'x' in 'y'"):
        frame(base, other, "commit-reveal")
    assert not (folder / "population.json").exists()


def test_people_are_told_what_comes_next(base: Path, tmp_path: Path) -> None:
    def told(*arguments: object) -> str:
        result = CliRunner().invoke(build(), ["inspect", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.stdout

    agreed, roots = (*AGREED, "--key", base / "keys/inspector.pem"), ("--roots", base / "roots")
    common = ("--list", base / "chips.csv", "--count", 4, *agreed, *roots, "--source", "drand")
    assert "weighbridge inspect frame" in told("commit", tmp_path / "a", *agreed, "--secret", tmp_path / "x")
    shown = told("frame", tmp_path / "b", *common)
    assert "No log took the frame" in shown and "weighbridge inspect draw --signature HEX" in shown


def test_a_draw_by_ecvrf_with_a_log(base: Path, keeper: Path) -> None:
    folder, roots, spool = keeper / "draw", ("--roots", base / "roots"), ("--spool", keeper / "spool")
    vrf = ("--vrf-key", keeper / "vrf.hex")
    frame(base, folder, "ecvrf", *vrf, "--challenger", base / "operator.pem.chain.pem", *spool)
    with pytest.raises(EvidenceError, match="has opened no share"):
        run("draw", folder, "--key", base / "keys/inspector.pem", *roots, *vrf)
    with pytest.raises(InputError, match="asks this key for no share"):
        run("reveal", folder, "--key", base / "keys/inspector.pem", *roots)
    run("reveal", folder, "--key", base / "operator.pem", *roots, *spool)
    run("draw", folder, "--key", base / "keys/inspector.pem", *roots, *vrf, *spool)
    checked = run("check-draw", folder, *roots, "--log", keeper / "log.db")
    assert set(outcomes(checked).values()) == {"pass"}
    assert outcomes(run("check-draw", folder, *roots, status=3))["single"] == "inconclusive"
    second = keeper / "second"
    frame(base, second, "ecvrf", *vrf, "--challenger", base / "operator.pem.chain.pem", *spool)
    assert outcomes(run("check-draw", folder, *roots, "--log", keeper / "log.db", status=1))["single"] == "fail"


def test_a_draw_by_the_beacon_waits_for_its_round(base: Path, keeper: Path) -> None:
    folder, roots = keeper / "draw", ("--roots", base / "roots")
    with pytest.raises(InputError, match="is known already"):
        frame(base, folder, "drand", "--round", 1000)
    assert not folder.exists()
    told = frame(base, folder, "drand", "--spool", keeper / "spool")
    ahead = QUICKNET.time_of(told["source"]["round"]) - time.time()
    assert 550 < ahead < 650
    with pytest.raises(InputError, match="is known from"):
        run("draw", folder, "--key", base / "keys/inspector.pem", *roots)
    with pytest.raises(EvidenceError, match="not the beacon's"):
        signature = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"
        run("draw", folder, "--key", base / "keys/inspector.pem", *roots, "--signature", signature)
    found = outcomes(run("check-draw", folder, *roots, status=3))
    assert (found["order"], found["source"]) == ("pass", "inconclusive")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--count": "21"}, "more than the 20"),
        ({"--count": "0"}, "--count"),
        ({"--reserves": "17"}, "more than the 20"),
        ({"--list": "/nowhere.csv"}, "cannot be read"),
    ],
)
def test_impossible_frames_are_refused_in_words(base: Path, tmp_path: Path, change: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        frame(base, tmp_path / "draw", "drand", **change)
    assert not (tmp_path / "draw").exists()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("rack\nR1\n", "no column id or chip"),
        ("id,rack\na,R1\na,R2\n", "a second time"),
        ("id,rack\n,R1\n", "has no id"),
        ("id,rack\na\n", "one value for each column"),
        ("id,rack\n", "is empty"),
        ("id,Rack No\na,R1\n", "column's name"),
    ],
)
def test_lists_that_name_no_items_are_refused(base: Path, tmp_path: Path, table: str, words: str) -> None:
    (tmp_path / "list.csv").write_text(table)
    with pytest.raises(InputError, match=words):
        frame(base, tmp_path / "draw", "drand", **{"--list": str(tmp_path / "list.csv")})


def test_sources_need_what_they_need(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="drand, ecvrf or commit-reveal"):
        frame(base, tmp_path / "draw", "dice")
    with pytest.raises(InputError, match="are needed for ecvrf"):
        frame(base, tmp_path / "draw", "ecvrf")
    with pytest.raises(InputError, match="no such folder"):
        frame(base, tmp_path / "draw", "commit-reveal")
