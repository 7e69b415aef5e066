import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from weighbridge.app.fleet_files import COLUMNS, fleet_csv, read_epoch_clusters, read_fleet, read_sizes
from weighbridge.app.plan_commands import app
from weighbridge.errors import InputError

SITES = "name,chips,chip_flops,visit_days\nnorth,4000,1e15,10\nsouth,1000,989 TFLOP/s,3\n"
EPOCH = "Name,Status,Certainty,H100 equivalents,Possible Duplicate,Superseded by,Note\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.csv"
    path.write_text(SITES)
    return path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def figures(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output or result.exception
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def refused(*arguments: str) -> str:
    result = run(*arguments, "--json")
    assert result.exit_code != 0
    assert result.stdout == ""
    assert isinstance(result.exception, InputError), result.exception
    return str(result.exception)


def test_a_fleet_reads_back_as_written(table: Path, tmp_path: Path) -> None:
    sites = read_fleet(table)
    assert [(s.name, s.chips, s.chip_flops, s.visit_days) for s in sites] == [
        ("north", 4000, 1e15, 10.0),
        ("south", 1000, 989e12, 3.0),
    ]
    (tmp_path / "again.csv").write_text(fleet_csv(sites))
    assert read_fleet(tmp_path / "again.csv") == sites


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("name,chips,chip_flops\n", "column visit_days"),
        ("name,chips,chip_flops,visit_days\n", "no sites"),
        ("name,name,chips,chip_flops,visit_days\n", "given twice"),
        ("name,chips,chip_flops,visit_days,colour\n", "colour"),
        (SITES + "north,1,1e15,1\n", "two sites"),
        (SITES + "east,0,1e15,1\n", "line 4: chips"),
        (SITES + "east,1.5,1e15,1\n", "whole number"),
        (SITES + "east,-3,1e15,1\n", "negative"),
        (SITES + "east,1,nan,1\n", "line 4: chip_flops"),
        (SITES + "east,1,0,1\n", "meaningless"),
        (SITES + "east,1,1e15,inf\n", "line 4: visit_days"),
        (SITES + "east,1,1e15\n", "3 cells under 4"),
        (SITES + "east,1,1e999999999,1\n", "outside"),
        (SITES + ",1,1e15,1\n", "name"),
        (SITES + "\x1b[2Jeast,1,1e15,1\n", "printable"),
        (SITES + '"east,1,1e15,1\n', "CSV"),
        (SITES + "ea\0st,1,1e15,1\n", "zero bytes"),
        (EPOCH, "plan fleet"),
        (SITES.replace(",", ";"), "separate them by commas"),
        (SITES.replace(",", "\t"), "separate them by commas"),
        (SITES + '"ea\nst",1,1e15,1\n', "printable"),
        (SITES + "east,,1e15,1\n", "line 4: chips"),
    ],
)
def test_a_hostile_table_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(text, newline="")
    message = refused("best", "--fleet", str(path), "--days", "30", "--limit", "1e23", "--visits", "1")
    assert words in message
    assert "fleet.csv" in message


CELL = st.text(st.sampled_from('0123456789.eE+-,"; \n\r\tnaïfx=@/KMT'), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELL, min_size=3, max_size=5), max_size=4), st.booleans())
def test_any_table_is_a_fleet_or_refused_in_words(tmp_path: Path, rows: list[list[str]], epoch: bool) -> None:
    path = tmp_path / "any.csv"
    header = EPOCH if epoch else "name,chips,chip_flops,visit_days\n"
    path.write_text(header + "\n".join(",".join(row) for row in rows), newline="")
    try:
        if epoch:
            assert read_epoch_clusters(path, least_h100e=1, h100_flops=1e15, visit_days=1).sites
        else:
            assert read_fleet(path)
    except InputError as error:
        assert "any.csv" in str(error)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"name,chips\nS\xe3o,1\n")
    for path in (tmp_path / "nowhere.csv", tmp_path, tmp_path / "latin.csv", Path("/dev/zero")):
        with pytest.raises(InputError):
            read_fleet(path)


def test_tables_as_spreadsheets_write_them(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    for text, encoding in ((SITES, "utf-8-sig"), (SITES.replace("\n", "\r\n"), "utf-8"), (SITES + "\n,,,\n", "utf-8")):
        path.write_bytes(text.encode(encoding))
        assert [site.name for site in read_fleet(path)] == ["north", "south"]
        assert [site.name for site in read_sizes(path)[0]] == ["north", "south"]


BEST = ("best", "--days", "30")


@pytest.mark.parametrize(
    ("rows", "options", "detection"),
    [
        ("a,1000,1e15,5\nb,1000,1e15,5\n", ("--limit", "1e24", "--visits", "0"), 0.0),
        ("a,1000,1e15,5\nb,1000,1e15,5\n", ("--limit", "1e24", "--visits", "100"), 1.0),
        ("a,1000,1e15,5\n", ("--limit", "1e24", "--visits", "0.25"), 0.25),
        # A run that fills the fleet to the last FLOP needs both: 1000 chips of 1e15 for 30 days are 2.592e24.
        ("a,1000,1e15,5\nb,1000,1e15,5\n", ("--limit", "5.184e24", "--visits", "1"), 1.0),
        ("".join(f"s{i},1000,1e15,5\n" for i in range(50)), ("--limit", "1e24", "--visits", "10"), 0.2),
    ],
)
def test_edges_have_the_right_number(tmp_path: Path, rows: str, options: tuple[str, ...], detection: float) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(SITES.splitlines()[0] + "\n" + rows)
    found = figures(*BEST, "--fleet", str(path), *options)
    assert found["detection"] == pytest.approx(detection, abs=1e-3)
    assert found["detection"] <= found["most"] <= detection + 2e-3


def test_best_for_people_and_programs(table: Path) -> None:
    options = (*BEST, "--fleet", str(table), "--rule", "miri.2025.ctb.strict", "--visits", "1")
    found = figures(*options)
    assert found["detection"] == pytest.approx(0.5, abs=1e-4)
    assert found["limit"] == found["flop"] == 1e24
    assert found["prices"]["visits"] == pytest.approx(0.5, abs=1e-3)
    assert {site["name"] for site in found["sites"]} == {"north", "south"}
    shown = run(*options).stdout
    for words in ("uniform sampling", "shadow price of visits", "the adversary knows"):
        assert words in shown
    # FP32 counts double under this policy, so a run needs half of the chips and is met less surely.
    priced = (*options, "--replay-hours", "20", "--replay-per-audit", "1")
    assert figures(*priced, "--format", "fp32")["detection"] < figures(*priced)["detection"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "limited"),
        (("--visits", "nan"), "--visits"),
        (("--visits", "1", "--limit", "1e24"), "--limit or --rule"),
        (("--visits", "1", "--declared", "2e24"), "leaves no room"),
        (("--visits", "1", "--reading", "minds"), "--reading"),
        (("--visits", "1", "--reading", "chips"), "rate"),
        (("--visits", "1", "--periods", "0"), "--periods"),
        (("--visits", "1", "--replay-hours", "10"), "give --replay-per-audit"),
    ],
)
def test_best_refuses_in_words(table: Path, more: tuple[str, ...], words: str) -> None:
    assert words in refused(*BEST, "--fleet", str(table), "--rule", "miri.2025.ctb.strict", *more)
    small = (*BEST, "--fleet", str(table), "--limit", "1e30", "--visits", "1")
    assert "--limit: 1e+30 FLOP is more than all sites" in refused(*small)
    folder = (*BEST, "--fleet", str(table.parent), "--limit", "1e24", "--visits", "1")
    assert "is a folder" in refused(*folder)


PORTFOLIO = ("portfolio", "--days", "30")


def test_portfolio_for_people_and_programs(table: Path) -> None:
    options = (
        *PORTFOLIO, "--fleet", str(table), "--limit", "1e24", "--set", "snapshots.audits=40", "--set",
        "tips.chance=0.1:0.4", "--cover", "2000=audited", "--years", "2", "--progress", "2:4",
    )  # fmt: skip
    found = figures(*options)
    assert found["regimes"]["audited"]["reaches"] == "yes"
    assert found["regimes"]["people"]["reaches"] == "no"
    assert found["regimes"]["as assigned"]["weakest_group"] == "nothing"
    assert {"nothing", "people", "watched-pods", "sensors"} <= set(found["weakest"]) < set(found["regimes"])
    assert found["inputs"]["tips.chance"]["mark"] == "given"
    assert [line["year"] for line in found["years"]["audited"]] == [0, 1, 2]
    shown = run(*options).stdout
    # Nothing, people, pods and sensors leave all capacity alike, and each is named.
    for words in ("Regimes", "Piecewise cover", "Years of the treaty", "never lower X", "weakest: largest X"):
        assert words in shown
    worst = max(regime["hidden"]["high"] for regime in found["regimes"].values())
    weakest = [name for name, regime in found["regimes"].items() if regime["hidden"]["high"] == worst]
    assert {"nothing", "people", "watched-pods", "sensors"} <= set(weakest)
    row = shown[shown.index("weakest: largest X") : shown.index("audited records that")]
    assert all(name in row for name in weakest)
    named = figures(*PORTFOLIO, "--fleet", str(table), "--limit", "1e24", "--regime", "visits+guarantees")
    assert list(named["regimes"]) == ["visits+guarantees"]


def test_a_rule_that_adds_lineages_gets_nothing_from_pods(table: Path) -> None:
    options = (*PORTFOLIO, "--fleet", str(table), "--regime", "watched-pods", "--set", "pods.slowdown=100")
    assert figures(*options, "--rule", "ca.sb53")["adds"] is True
    run_by_run = figures(*options, "--rule", "miri.2025.ctb.strict")
    assert run_by_run["adds"] is False
    adding = figures(*options, "--rule", "miri.2025.ctb.strict", "--adds", "yes")
    pods = [f["regimes"]["watched-pods"]["hidden"]["high"] for f in (run_by_run, adding)]
    assert pods[0] < pods[1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--set", "tips.chance=2"), "--set tips.chance: 2 is not between 0 and 1"),
        (("--set", "snapshots.audits=2.5"), "whole number"),
        (("--set", "luck=1"), "snapshots.days_per_year"),
        (("--progress", "2:4"), "--progress: changes nothing"),
        (("--together", "3"), "--together: changes nothing"),
        (("--joined", "0.5"), "--joined: changes nothing"),
        (("--cover", "5000=audited"), "--cover: 5000=audited covers no site"),
        (("--cover", "0=audited", "--cover", "0=licensed"), "covers no site"),
        (("--years", "2", "--progress", "0.5"), "--progress: 0.5 is not between 1 and 1000"),
        (("--set", "luck=1"), "sets no input"),
        (("--cover", "audited"), "CHIPS=REGIME"),
        (("--cover", "10=magic"), "magic"),
        (("--regime", "magic"), "magic"),
        (("--adds", "perhaps"), "--adds"),
        (("--joined", "0:2"), "joined"),
        (("--progress", "0.5"), "progress"),
        (("--years", "99"), "years"),
        (("--together", "0"), "--together"),
        (("--mechanisms", "/nowhere.json"), "no file of mechanisms"),
    ],
)
def test_portfolio_refuses_in_words(table: Path, more: tuple[str, ...], words: str) -> None:
    assert words in refused(*PORTFOLIO, "--fleet", str(table), "--limit", "1e24", *more)


def test_mechanisms_are_listed(tmp_path: Path) -> None:
    found = figures("mechanisms")
    assert len(found["mechanisms"]) == 10
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"schema": "mechanisms/1"} | found))
    assert figures("mechanisms", "--mechanisms", str(own)) == found
    assert "arXiv 2506.15867" in " ".join(run("mechanisms").stdout.split())


def epoch_list(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "clusters.csv"
    path.write_text(EPOCH + "".join(row + "\n" for row in rows))
    return path


def test_what_is_taken_from_an_epoch_list(tmp_path: Path) -> None:
    path = epoch_list(
        tmp_path,
        '"""Stray, quoted""",Existing,Confirmed,2000.4,,,"two\nlines"',
        "Twin,Existing,Likely,500,,,",
        "Twin,Existing,Likely,400,,,",
        "=HYPERLINK(1),Existing,Confirmed,300,,,",
        "Planned,Planned,Likely,1e6,,,",
        "Ghost,Existing,Unlikely,900,,,",
        "Again,Existing,Likely,900,True,,",
        "Earlier,Existing,Likely,900,,Later,",
        "Unsized,Existing,Confirmed,,,,",
        "Small,Existing,Confirmed,15,,,",
    )
    out = tmp_path / "fleet.csv"
    found = figures("fleet", str(path), "--out", str(out))
    assert (found["sites"], found["h100e"], sum(found["left_out"].values())) == (4, 3200, 6)
    assert "CC BY 4.0" in found["source"]
    assert [s.name for s in read_fleet(out)] == ["Stray, quoted", "Twin", "Twin (2)", "'=HYPERLINK(1)"]
    assert "exists" in refused("fleet", str(path), "--out", str(out))
    assert "smaller ones" in refused("fleet", str(path), "--out", str(tmp_path / "none.csv"), "--least", "1e9")
    assert not (tmp_path / "none.csv").exists()
    bad = epoch_list(tmp_path, "A,Existing,Likely,many,,,")
    assert "line 2: H100 equivalents" in refused("fleet", str(bad), "--out", str(tmp_path / "x.csv"))
    assert "epoch.ai" in refused("fleet", str(out), "--out", str(tmp_path / "x.csv"))


@pytest.mark.skipif("WEIGHBRIDGE_EPOCH" not in os.environ, reason="WEIGHBRIDGE_EPOCH names no folder of Epoch's data")
def test_epochs_own_clusters_make_a_fleet_that_can_be_planned(tmp_path: Path) -> None:
    path = sorted(Path(os.environ["WEIGHBRIDGE_EPOCH"]).glob("gpu_clusters*.csv"))[-1]
    found = read_epoch_clusters(path, least_h100e=1000, h100_flops=990e12, visit_days=5)
    assert len(found.sites) > 100
    (tmp_path / "fleet.csv").write_text(fleet_csv(found.sites))
    assert set(COLUMNS) <= set((tmp_path / "fleet.csv").read_text().split("\n")[0].split(","))
    plan = figures(*BEST, "--fleet", str(tmp_path / "fleet.csv"), "--limit", "1e25", "--visits", "40")
    assert plan["detection"] > max(plan["uniform"], plan["by_capacity"])
    assert plan["detection_bound"] <= plan["detection"] <= plan["most"] + 1e-9


def test_the_pages_example(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "portfolio.md").read_text()
    table = tmp_path / "fleet.csv"
    table.write_text(page.split("```csv\n")[1].split("```")[0])
    rule = ("--fleet", str(table), "--days", "30", "--rule", "miri.2025.ctb.strict")
    best = figures(
        "best", *rule, "--inspector-days", "6", "--replay-hours", "3000", "--replay-per-audit", "50"
    )  # fmt: skip
    assert best["detection"] == pytest.approx(0.4, abs=1e-4)
    assert best["prices"]["inspector_days"] == pytest.approx(1 / 15, abs=1e-3)
    assert best["by_capacity"] == pytest.approx(0.07, abs=0.005)
    regimes = figures("portfolio", *rule, "--set", "snapshots.audits=60")["regimes"]
    assert regimes["audited"]["hidden"]["high"] == pytest.approx(6.94e23, rel=1e-3)
    assert (regimes["audited"]["reaches"], regimes["audited"]["audits_needed"]) == ("yes", 42)
    assert regimes["people"]["hidden"] == pytest.approx({"low": 1.4256e25, "high": 1.4256e25})
