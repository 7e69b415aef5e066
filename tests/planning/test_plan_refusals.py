"""Refusals name the option that is to blame, and what to do about it."""

from pathlib import Path

import pytest

from planning.plan_runner import figures, refused, run


@pytest.mark.parametrize(
    "line",
    [
        "segments --segments 10 --confidence 0.9 --forged 11",
        "segments --segments 10 --forged 1 --drawn 11",
        "sites --sites 5 --site-size 10 --drawn 2 --visits 2 --missing 11",
        "sites --sites 5 --site-size 10 --missing 2 --visits 2 --drawn 11",
        "sites --sites 5 --site-size 10 --missing 2 --drawn 2 --visits 6",
        "items --population 10 --missing 1 --drawn 11",
        "items --population 10 --drawn 1 --missing 11",
        "items --missing 10 --confidence 0.9 --population 1e30",
        "interviews refusals --asked 10 --base-rate 0.2 --refused 11",
        "interviews answers --pairs 10 --agreeing 11",
        "snapshots --chips 4000 --chip-flops 1e15 --days 30 --limit 1e24 --freeze-seconds 1 --together 5000",
        "sequential groups --honest 0.02 --hidden 0.08 --looks 100,50",
        "chips --chips 1e5 --flop 1e23 --chip-flops 1e15 --days 30 --period 9 --rate 1 --confidence 0.9 --pooled 100",
    ],
)
def test_a_refusal_names_the_option_to_blame_and_the_mend(line: str) -> None:
    words = line.split()
    place, _, rest = refused(*words).partition(": ")
    blamed = words[-2]  # the last one typed
    assert place.strip("-") == blamed.strip("-")
    assert "; " in rest  # the mend follows the fault


def test_a_folder_is_no_fleet(tmp_path: Path) -> None:
    words = refused("sites", "--fleet", str(tmp_path), "--visits", "1", "--missing", "1")
    assert "is a folder" in words and "CSV" in words


def test_the_worst_case_of_sites_is_the_smallest_figure(tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("name,h100e\nalpha,2000\nbeta,2000\n")
    words = ("sites", "--fleet", str(tmp_path / "two.csv"), "--visits", "2", "--missing", "100")
    found = figures(*words)
    lines = [line for line in run(*words).stdout.splitlines() if "worst" in line]
    assert "worst case" in lines[0] and f"{min(found['worst'], found['split']):.4g}" in lines[0]
    assert sum("worst case" in line for line in lines) == 1
