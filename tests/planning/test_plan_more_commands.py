"""The plan commands beyond chips: JSON for programs, tables for people, refusals in one sentence."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planning.plan_runner import figures, refused, run
from weighbridge.errors import InputError

EPOCH = os.environ.get("WEIGHBRIDGE_EPOCH", "")


ITEMS = ("items", "--population", "1e4", "--missing", "100")


def test_planning_starts_without_numpy() -> None:
    code = "import sys, weighbridge.app.plan_commands; sys.exit(any(m in sys.modules for m in ('numpy', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_items_with_an_imperfect_test() -> None:
    found = figures(*ITEMS, "--confidence", "0.9", "--seen", "0.5")
    assert found["sample"] > figures(*ITEMS, "--confidence", "0.9")["sample"] == 227
    assert (found["seen"], found["jaech"]) == (0.5, None)
    assert "testing every item" in refused(*ITEMS[:3], "--missing", "1", "--confidence", "0.9", "--seen", "0.5")
    for wrong in ("0", "1.1", "nan"):
        assert "--seen" in refused(*ITEMS, "--confidence", "0.9", "--seen", wrong)


def test_items_drawn_month_by_month() -> None:
    found = figures("items", "--population", "3e6", "--missing", "1000", "--drawn", "575")
    assert found["detection"] == pytest.approx(0.17446, abs=5e-6)
    assert found["draws"] == 12
    assert figures(*ITEMS, "--drawn", "0")["expected_draws"] is None
    assert "exactly one" in refused(*ITEMS)
    assert "exactly one" in refused(*ITEMS, "--drawn", "5", "--confidence", "0.9")
    assert "impossible" in refused(*ITEMS, "--drawn", "1e5")


SNAPSHOTS = ("snapshots", "--chips", "4000", "--chip-flops", "1e15", "--days", "30", "--limit", "1e24")


def test_cost_of_snapshots() -> None:
    found = figures(
        *SNAPSHOTS, "--freeze-seconds", "1.6", "--together", "4000", "--anchor-bytes", "5TB", "--stride", "10"
    )
    cost = found["cost"]
    assert (cost["triggers"], cost["anchor_bytes"], cost["replayed_steps"]) == (30, 150 * 10**12, 600)
    assert cost["stall"] == pytest.approx(4_000 * 30 / 120_000 * 1.6 / 86_400)
    assert cost["chip_hours_lost"] == pytest.approx(30 * 1.6 * 4_000 / 3_600, rel=1e-4)
    many = figures(*SNAPSHOTS, "--freeze-seconds", "1.6", "--per-trigger", "100")["cost"]
    assert many["chip_freezes"] == 3_000
    assert "cost" not in figures(*SNAPSHOTS)


def test_a_share_of_the_chips_read() -> None:
    found = figures(*SNAPSHOTS, "--share-read", "0.1")
    hidden = 1e24 / (1e15 * 86_400)
    assert found["share_read"] == 0.1
    assert found["rate_concentrated"] > found["rate_exposure"] / 0.1
    from weighbridge.statistics import concentrated_chip_time

    assert concentrated_chip_time(0.1, found["rate_concentrated"], 30, 0.05) == pytest.approx(hidden)
    assert figures("snapshots", "--chips", "4", "--chip-flops", "1e15", "--days", "30", "--limit", "1e24",
                   "--share-read", "0.1")["rate_concentrated"] == 0  # fmt: skip
    assert "read more than" in refused(*SNAPSHOTS, "--share-read", "0.001")
    for more in (("--unexplained", "1"), ("--per-trigger", "5", "--freeze-seconds", "1")):
        assert "neither" in refused(*SNAPSHOTS, "--share-read", "0.1", *more)
    cost = figures(*SNAPSHOTS, "--share-read", "0.1", "--freeze-seconds", "1.6", "--stride", "10")["cost"]
    assert cost["triggers"] == math.ceil(found["rate_concentrated"] * 120_000)
    assert cost["audits"] == math.ceil(cost["triggers"] / 10)
    assert cost["replayed_steps"] == 20 * cost["audits"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--together", "10"), "--freeze-seconds"),
        (("--anchor-bytes", "5TB"), "--freeze-seconds"),
        (("--freeze-seconds", "0"), "--freeze-seconds"),
        (("--freeze-seconds", "1", "--together", "5000"), "together"),
        (("--step-seconds", "10"), "each other"),
        (("--share-read", "1.5"), "share-read"),
    ],
)
def test_snapshots_refuse_in_words(options: tuple[str, ...], words: str) -> None:
    assert words in refused(*SNAPSHOTS, *options)


FLEET = """name,h100e,chips,status
"Large, Inc.",5000,5000,Existing
"Middle
of nowhere",800,1000,Existing
Small,200,250,Existing
Later,9000,9000,Planned
Unknown,,,Existing
"""


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    path = tmp_path / "fleet.csv"
    path.write_text(FLEET)
    return str(path)


def test_sites_of_a_fleet(fleet: str) -> None:
    words = ("sites", "--fleet", fleet, "--visits", "2", "--missing", "100", "--only", "status=Existing")
    found = figures(*words, "--skip-unsized", "--chips-column", "chips")
    assert [visit["site"] for visit in found["visits"]] == ["Large, Inc.", "Middle of nowhere", "Small"]
    assert [visit["visited"] for visit in found["visits"]] == pytest.approx([1, 0.8, 0.2])
    assert (found["census"], found["unsized"], found["worst_site"]) == (1, 1, "Small")
    assert found["frame"][2] == {"above": 1_000.0, "sites": 1, "share": pytest.approx(5_000 / 6_000)}
    assert "line 7: h100e" in refused(*words)
    assert "there is no such column" in refused(*words, "--size-column", "size")
    assert "is not COLUMN=VALUE" in refused(*words[:-1], "status")
    assert "has no sites" in refused(*words[:-1], "status=Gone")


def test_the_table_of_plan_best_serves_for_sites_and_times(tmp_path: Path) -> None:
    table = tmp_path / "fleet.csv"
    table.write_text("name,chips,chip_flops,visit_days\nAlpha,2000,990e12,3\nBeta,100,1980e12,1\n")
    found = figures("timeliness", "--fleet", str(table), "--flop", "1e24")["sites"]
    assert [(site["name"], site["h100e"]) for site in found] == [("Alpha", 2000.0), ("Beta", 200.0)]
    sites = figures("sites", "--fleet", str(table), "--visits", "1", "--missing", "50", "--census-above", "500")
    assert [visit["visited"] for visit in sites["visits"]] == [1.0, 0.0]
    table.write_text("name,chips,chip_flops\nAlpha,many,1e15\n")
    result = run("timeliness", "--fleet", str(table), "--flop", "1e24")
    assert isinstance(result.exception, InputError) and "line 2: chips" in str(result.exception)


def test_equal_sites() -> None:
    words = ("sites", "--sites", "560", "--visits", "40", "--missing", "163")
    found = figures(*words, "--site-size", "2000", "--drawn", "60")
    assert found["detection"] == pytest.approx(0.07103, abs=5e-6)
    assert found["person_days"] == pytest.approx(40 * 12_767 / 3_042)
    assert "--site-size and --drawn" in refused(*words)
    assert "--fleet or --sites" in refused("sites", "--visits", "1", "--missing", "1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; begin with the line name"), ("\n\n", "is empty"), ("name,h100e,h100e\nx,1,2\n", "twice"),
        ("name\nx\n", "no such column"), ("name,h100e\nx\n", "cells"), ("name,h100e\nx,-1\n", "negative"),
        ("\xff", "column"),
    ],
)  # fmt: skip
def test_broken_tables_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(text)
    assert words in refused("sites", "--fleet", str(path), "--visits", "1", "--missing", "1")
    path.write_bytes(b"name,h100e\n\xff,1\n")
    assert "UTF-8" in refused("sites", "--fleet", str(path), "--visits", "1", "--missing", "1")
    assert "no such file" in refused("sites", "--fleet", str(path) + "x", "--visits", "1", "--missing", "1")


@pytest.mark.skipif(not EPOCH, reason="WEIGHBRIDGE_EPOCH names no folder with Epoch AI's data")
def test_the_frame_of_known_clusters() -> None:
    """Epoch AI, GPU Clusters, snapshot of October 2025, CC BY 4.0."""
    found = figures(
        "sites", "--fleet", f"{EPOCH}/gpu_clusters_2025-10.csv", "--name-column", "Name", "--size-column",
        "H100 equivalents", "--only", "Status=Existing", "--skip-unsized", "--visits", "300", "--missing", "163",
    )  # fmt: skip
    assert len(found["visits"]) == 574
    assert [one["sites"] for one in found["frame"]] == [560, 329, 163, 33, 5]
    assert [one["share"] for one in found["frame"][2:]] == pytest.approx([0.961, 0.744, 0.407], abs=5e-4)
    assert found["census"] == 163


def test_timeliness(fleet: str) -> None:
    found = figures("timeliness", "--flop", "1e24", "--sizes", "16,1000", "--period", "30")
    assert [site["days"] for site in found["sites"]] == pytest.approx([730.7, 11.69], abs=0.05)
    assert [site["regime"] for site in found["sites"]] == ["yearly", "continuous"]
    assert found["sites"][1]["warning_days"] < 0
    assert figures("timeliness", "--flop", "1e25", "--days", "180")["significant_quantity"] == 1_626
    named = figures("timeliness", "--flop", "1e24", "--fleet", fleet, "--skip-unsized")
    assert [site["name"] for site in named["sites"]][:2] == ["Later", "Large, Inc."]
    assert "empty part" in refused("timeliness", "--flop", "1e24", "--sizes", "16,,1")
    assert "--sizes" in refused("timeliness", "--flop", "1e24", "--sizes", "0")


def test_segments() -> None:
    found = figures("segments", "--segments", "1000", "--forged", "10", "--confidence", "0.95", "--tries", "100")
    assert found["detection_ground"] >= 0.95
    assert found["tolerable_chance"] == pytest.approx(0.0005)
    given = figures("segments", "--segments", "1000", "--forged", "50", "--drawn", "58")
    assert given["detection"] == pytest.approx(0.95337, abs=5e-6)
    assert given["tolerable_chance"] is None
    for wrong in (("--confidence", "0.9", "--drawn", "1"), (), ("--drawn", "2000")):
        refused("segments", "--segments", "1000", "--forged", "10", *wrong)


def test_clones() -> None:
    assert figures("clones", "--clones", "1000", "--inspected", "0.01")["detection"] == pytest.approx(0.0952, abs=5e-5)
    assert "inspected" in refused("clones", "--clones", "1000", "--inspected", "1.5")
    needed = figures("clones", "--clones", "1000", "--confidence", "0.95", "--copies", "3")
    assert figures("clones", "--clones", "1000", "--inspected", repr(needed["inspected"]), "--copies", "3")[
        "detection"
    ] == pytest.approx(0.95)
    for wrong in ((), ("--inspected", "0.1", "--confidence", "0.9")):
        assert "exactly one" in refused("clones", "--clones", "1000", *wrong)


def test_clusters() -> None:
    found = figures("cluster", "--tpp", "15832", "--memory", "80")
    assert (found["first_text"], found["by_tpp"], found["by_memory"]) == (17, 16, 17)
    assert figures("cluster", "--tpp", "15832", "--reference")["later_text"] == 17
    assert "--tpp" in refused("cluster", "--tpp", "0")


def test_interviews() -> None:
    found = figures("interviews", "refusals", "--asked", "10", "--refused", "8", "--base-rate", "0.2", status=1)
    assert found["chance"] == pytest.approx(7.79e-5, abs=5e-8)
    one = figures("interviews", "refusals", "--asked", "1", "--refused", "1", "--base-rate", "0.2")
    assert one == {"chance": pytest.approx(0.2), "pattern": False}
    answers = figures("interviews", "answers", "--pairs", "20", "--agreeing", "18")
    assert answers["lower_limit"] == pytest.approx(0.717, abs=5e-4)
    assert "agreeing" in refused("interviews", "answers", "--pairs", "20", "--agreeing", "21")
    assert "base-rate" in refused("interviews", "refusals", "--asked", "10", "--refused", "8", "--base-rate", "20")


def test_sequential() -> None:
    found = figures("sequential", "wald", "--honest", "0.01", "--hidden", "0.05")
    assert (found["kind"], found["fixed_draws"]) == ("wald", 181)
    assert found["points"][1]["expected_draws"] < 181
    assert found["stop_rule"][-1]["accept"] + 1 == found["stop_rule"][-1]["alarm"]
    groups = figures("sequential", "groups", "--honest", "0.02", "--hidden", "0.08", "--looks", "4")
    assert [look["draws"] for look in groups["stop_rule"]][-1] == groups["most_draws"]
    assert len(groups["stop_rule"]) == 4
    own = figures(
        "sequential", "groups", "--honest", "0", "--hidden", "0.08", "--looks", "20,40", "--spending", "pocock"
    )
    assert [look["draws"] for look in own["stop_rule"]] == [20, 40]
    early = figures(
        "sequential", "groups", "--honest", "0.02", "--hidden", "0.08", "--looks", "4", "--beta-spending", "linear"
    )
    assert early["points"][1]["expected_draws"] < 0.85 * groups["points"][1]["expected_draws"]
    assert early["points"][1]["alarm"] <= early["alarm_never_accepting"] <= 0.05
    assert groups["alarm_never_accepting"] is None
    # A plan says so where it does not keep what was asked for: too short, or cut off too early.
    assert (found["errors_kept"], groups["errors_kept"], own["errors_kept"]) == (True, True, True)
    short = ("sequential", "groups", "--honest", "0.02", "--hidden", "0.08", "--looks", "20,40")
    assert figures(*short)["errors_kept"] is False
    assert "it misses what was wanted" in run(*short).stdout
    assert (
        figures("sequential", "wald", "--honest", "0.01", "--hidden", "0.05", "--most-draws", "60")["errors_kept"]
        is False
    )
    assert "--spending" in refused(
        "sequential", "groups", "--honest", "0", "--hidden", "0.1", "--looks", "2", "--spending", "x"
    )
    assert "hidden" in refused("sequential", "wald", "--honest", "0.1", "--hidden", "0.05")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("items", "--population", "10", "--missing", "1", "--confidence", "0.5", "--draws", "3"), "--draws"),
        (("sites", "--sites", "5", "--site-size", "9", "--drawn", "3", "--visits", "1", "--missing", "1", "--within",
          "0.9"), "--within"),
        (("sites", "--sites", "5", "--site-size", "9", "--drawn", "3", "--visits", "1", "--missing", "1", "--only",
          "a=b"), "--only"),
        (("timeliness", "--flop", "1e24", "--utilisation", "0.5"), "--utilisation"),
        (("timeliness", "--flop", "1e24", "--skip-unsized"), "--skip-unsized"),
        ((*SNAPSHOTS, "--format", "fp8"), "--format"),
        ((*SNAPSHOTS, "--counting", "miri_2025"), "--counting"),
        (("chips", "--chips", "1e5", "--flop", "5.76e23", "--chip-flops", "1e15", "--days", "30", "--period", "30",
          "--rate", "0.1", "--confidence", "0.9", "--form", "exact", "--stretch", "2"), "--stretch"),
        (("chips", "--chips", "1e5", "--flop", "5.76e23", "--chip-flops", "1e15", "--days", "30", "--period", "30",
          "--rate", "0.1", "--confidence", "0.9", "--form", "exact", "--pooled", "1e6"), "--pooled"),
    ],
)  # fmt: skip
def test_options_without_effect_are_refused(words: tuple[str, ...], option: str) -> None:
    assert refused(*words).startswith(f"{option}: would have no effect; it goes with ")


def test_a_fleet_and_equal_sites_do_not_mix(fleet: str) -> None:
    sites = ("sites", "--fleet", fleet, "--visits", "2", "--missing", "100", "--skip-unsized")
    assert "goes with --sites" in refused(*sites, "--drawn", "5")
    assert "--sizes" in refused("timeliness", "--flop", "1e24", "--fleet", fleet, "--skip-unsized", "--sizes", "5")
