import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weighbridge.app.plan_commands import app
from weighbridge.errors import InputError

CHIPS = {
    "--chips": "1e5", "--flop": "5.76e23", "--chip-flops": "1e15", "--days": "30", "--period": "30",
    "--rate": "0.1", "--confidence": "0.9",
}  # fmt: skip


def run(command: str, options: dict[str, str], *more: str) -> Any:
    arguments = [command, *(word for pair in options.items() for word in pair), *more]
    return CliRunner().invoke(app, arguments)


def figures(command: str, options: dict[str, str], *more: str) -> dict[str, Any]:
    result = run(command, options, *more, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def refused(command: str, options: dict[str, str], *more: str) -> str:
    result = run(command, options, *more, "--json")
    assert result.exit_code != 0
    assert result.stdout == ""
    assert isinstance(result.exception, InputError)  # the entry point prints it in one sentence
    return str(result.exception)


def test_chips() -> None:
    found = figures("chips", CHIPS, "--form", "exact")
    assert found["form"] == "exact"
    assert set(found) == {
        "form", "samples_per_period", "samples_per_year", "share", "snapshot_probability", "chips_in_run", "notes",
        "assumptions",
    }  # fmt: skip
    assert found["samples_per_year"] == pytest.approx(13_253.2, rel=5e-6)
    assert found["samples_per_period"] == pytest.approx(13_253.2 * 30 / 365, rel=5e-6)
    assert found["share"] == pytest.approx(2.22222e-3, rel=5e-6)
    paper = figures("chips", CHIPS, "--form", "paper")
    assert paper["form"] == "paper"
    assert paper["samples_per_year"] == pytest.approx(13_267.2, rel=5e-6)


def test_the_plain_command_prints_the_worst_case_and_names_it() -> None:
    found = figures("chips", CHIPS)
    assert found["form"] == "stretched"
    assert found["samples_per_year"] == pytest.approx(13_267.2, rel=5e-6)
    assert found["samples_per_year"] == max(form["samples_per_year"] for form in found["forms"].values())
    assert set(found["forms"]) == {
        "exact", "paper", "without-replacement", "persistent", "stretched", "spread", "relayed",
    }  # fmt: skip
    assert set(found["not_counted"]) == {"colluding"}
    pooled = figures("chips", CHIPS, "--pooled", "1e7")
    assert (pooled["form"], pooled["not_counted"]) == ("colluding", {})
    assert pooled["samples_per_year"] == pytest.approx(1_326_719, rel=5e-6)
    shown = run("chips", CHIPS).stdout
    assert "the form is stretched: the worst case of all" in shown
    assert "colluding: not counted" in shown


def test_inspectors_of_footnote_5() -> None:
    world = CHIPS | {"--chips": "1e7", "--flop": "9.9e24", "--chip-flops": "3e15", "--per-inspector": "1000"}
    for form in ("exact", "paper"):
        assert figures("chips", world, "--form", form)["inspectors"] == 232
    assert "232" in run("chips", world).stdout


def test_a_run_that_every_draw_gives_away_is_planned_for_as_stretched() -> None:
    all_chips = CHIPS | {"--chips": "1000", "--flop": "2.592e24", "--rate": "1000"}
    for form in ("exact", "paper", "persistent"):
        words = refused("chips", all_chips, "--form", form)
        assert "no value" in words and "form stretched" in words
    found = figures("chips", all_chips)
    assert found["form"] == "stretched"
    assert found["samples_per_period"] == pytest.approx(-math.log(0.1))
    assert {"exact", "paper"} <= set(found["not_counted"])
    # A run on a quarter of the chips that hands over to the next quarter uses all: no draw misses that.
    quarter = figures("chips", all_chips | {"--flop": "6.48e23"})
    assert quarter["samples_per_period"] == pytest.approx(-4 * math.log(0.1))


@pytest.mark.parametrize(
    ("change", "ceiling"),
    [
        ({"--chips": "100", "--flop": "8.64e20"}, "0.632120"),  # ten chip-days: one snapshot
        ({"--chips": "1", "--flop": "1e18"}, "0.00115673"),
        (
            {"--chips": "1000", "--flop": "9.504e20", "--days": "10", "--period": "10", "--rate": "0.3"},
            "0.963116",
        ),
    ],
)
def test_no_plan_promises_more_than_all_snapshots_of_the_run(change: dict[str, str], ceiling: str) -> None:
    wanted = CHIPS | change | {"--confidence": "0.99"}
    for form in ((), ("--form", "without-replacement"), ("--form", "stretched"), ("--form", "spread")):
        words = refused("chips", wanted, *form)
        assert "confidence" in words and ceiling in words
    # The paper's forms print the paper's number, and say so.
    found = figures("chips", wanted, "--form", "exact")
    assert any("promises more than there is" in note for note in found["notes"])
    # What is below the ceiling is answered, by all chips at most.
    reached = figures("chips", wanted | {"--confidence": ceiling})
    assert reached["samples_per_period"] <= float(wanted["--chips"])


def test_options_of_the_run() -> None:
    half = figures("chips", CHIPS | {"--utilisation": "0.5"}, "--form", "exact")
    assert half["samples_per_year"] == pytest.approx(6_619.58, rel=5e-6)
    assert "0.5 of the chips" in half["assumptions"][3]
    blind = figures("chips", CHIPS | {"--tamper-seen": "0.5"}, "--form", "exact")
    assert blind["snapshot_probability"] == 0.5
    assert "where that pays" in blind["assumptions"][2]
    some = figures("chips", CHIPS | {"--tamper-seen": "0.5", "--tampered": "0.5"}, "--form", "exact")
    assert some["snapshot_probability"] == pytest.approx(0.5 * 0.950213 + 0.25, rel=1e-6)
    short = figures("chips", CHIPS | {"--log-days": "7"}, "--form", "exact")
    assert short["snapshot_probability"] == pytest.approx(0.503415, rel=1e-6)
    assert figures("chips", CHIPS | {"--stretch": "2"})["form"] == "paper"


def test_numbers_as_people_write_them() -> None:
    assert figures("chips", CHIPS | {"--chips": "100000.0"}) == figures("chips", CHIPS)
    assert figures("chips", CHIPS | {"--chips": "2500000.0"}) == figures("chips", CHIPS | {"--chips": "2.5e6"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--chips": "1e3", "--flop": "9.9e24"}, "impossible"),
        ({"--chips": "1.5"}, "whole number"),
        ({"--chips": "0"}, "--chips"),
        ({"--chips": "-5"}, "--chips"),
        ({"--chips": "nan"}, "--chips"),
        ({"--flop": "nan"}, "--flop"),
        ({"--flop": "inf"}, "--flop"),
        ({"--flop": "0"}, "--flop"),
        ({"--chip-flops": "-1e15"}, "--chip-flops"),
        ({"--days": "0"}, "--days"),
        ({"--period": "inf"}, "--period"),
        ({"--rate": "0"}, "--rate"),
        ({"--rate": "-0.1"}, "--rate"),
        ({"--confidence": "1"}, "--confidence"),
        ({"--confidence": "0"}, "--confidence"),
        ({"--confidence": "90"}, "--confidence"),
        ({"--confidence": "nan"}, "--confidence"),
        ({"--form": "both"}, "--form"),
        ({"--form": "colluding"}, "pooled"),
        ({"--pooled": "10"}, "pooled"),
        ({"--utilisation": "1.1"}, "utilisation"),
        ({"--utilisation": "0"}, "--utilisation"),
        ({"--tampered": "1.1"}, "tampered"),
        ({"--tamper-seen": "0"}, "no sample is enough"),
        ({"--stretch": "0.5"}, "stretch"),
        ({"--log-days": "0"}, "--log-days"),
        ({"--per-inspector": "0"}, "--per-inspector"),
        ({"--confidence": "0.9999", "--flop": "2e21"}, "reading every chip"),
        ({"--chips": "1e999999999"}, "--chips"),
    ],
)
def test_chips_refuses_in_words(change: dict[str, str], words: str) -> None:
    assert words in refused("chips", CHIPS | change)


def test_chips_for_people() -> None:
    shown = run("chips", CHIPS).stdout
    assert "13,267.2" in shown
    assert "13,253.2" in shown
    assert "at least twice the FLOP" in shown


ITEMS = {"--population": "3e6", "--missing": "1000", "--confidence": "0.9"}


def test_items() -> None:
    found = figures("items", ITEMS)
    assert (found["sample"], found["iaea"]) == (6899, 6900)
    hard = figures("items", {"--population": "1e7", "--missing": "2", "--confidence": "0.9"})
    assert hard["sample"] == 6_837_722
    assert "6,899" in run("items", ITEMS).stdout


@pytest.mark.parametrize(
    "change",
    [
        {"--missing": "0"}, {"--missing": "3000001"}, {"--missing": "1.5"}, {"--population": "0"},
        {"--population": "nan"}, {"--confidence": "1.0"}, {"--population": "1e20"},
    ],
)  # fmt: skip
def test_items_refuses_in_words(change: dict[str, str]) -> None:
    assert next(iter(change)).strip("-") in refused("items", ITEMS | change)


SNAPSHOTS = {"--chips": "4000", "--chip-flops": "1e15", "--days": "30"}


def test_snapshots() -> None:
    assert figures("snapshots", SNAPSHOTS | {"--limit": "1e23"})["snapshots"] == 310
    found = figures("snapshots", SNAPSHOTS | {"--rule": "miri.2025.ctb.strict"})
    assert (found["snapshots"], found["limit"]) == (30, 1e24)
    priced = figures("snapshots", SNAPSHOTS | {"--limit": "1e24", "--stride": "10", "--step-seconds": "10"})
    assert priced["replay_share"] == pytest.approx(0.0023, abs=1e-4)
    assert "30" in run("snapshots", SNAPSHOTS | {"--limit": "1e24"}).stdout
    assert "cannot reach" in run("snapshots", SNAPSHOTS | {"--limit": "1e30"}).stdout


def test_a_share_of_the_chips_read_is_the_headline() -> None:
    options = SNAPSHOTS | {"--limit": "1e24", "--share-read": "0.1"}
    found = figures("snapshots", options | {"--freeze-seconds": "1.6", "--anchor-bytes": "5TB"})
    assert (found["snapshots"], found["taken"]) == (33, 323)
    assert found["rate"] == found["rate_concentrated"] == pytest.approx(2.683e-3, rel=1e-3)
    assert (found["cost"]["triggers"], found["cost"]["audits"], found["share_read"]) == (323, 33, 0.1)
    # What brings n with the confidence costs more than what only expects it.
    assert found["rate_sure"] > found["rate"]
    assert found["cost_sure"]["triggers"] == math.ceil(found["rate_sure"] * 120_000)
    assert found["cost_sure"]["anchor_bytes"] > found["cost"]["anchor_bytes"]
    shown = run("snapshots", options).stdout
    assert " 33 " in shown and " 323 " in shown and " 30 " not in shown


def test_the_rules_counting_applies_to_hidden_work() -> None:
    options = SNAPSHOTS | {"--rule": "miri.2025.ctb.strict", "--format": "fp32"}
    assert figures("snapshots", options)["capacity"] == pytest.approx(2 * 1.0368e25)  # FP32 counts double
    eu = SNAPSHOTS | {"--rule": "eu.gpai.indicative", "--format": "fp32"}
    assert figures("snapshots", eu)["capacity"] == pytest.approx(1.0368e25)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--limit or --rule"),
        ({"--limit": "1e24", "--rule": "ca.sb53"}, "--limit or --rule"),
        ({"--rule": "ca.sb5"}, "did you mean"),
        ({"--rule": "us.3a090.a2"}, "several thresholds"),
        ({"--rule": "ny.raise"}, "names no counting policy"),
        ({"--rule": "ca.sb53", "--format": "fp12"}, "fp12"),
        ({"--limit": "1e24", "--stride": "10"}, "each other"),
        ({"--limit": "1e24", "--declared": "2e24"}, "leaves no room"),
        ({"--limit": "1e24", "--rules": "/nowhere.json"}, "no such file"),
    ],
)
def test_snapshots_refuses_in_words(options: dict[str, str], words: str) -> None:
    assert words in refused("snapshots", SNAPSHOTS | options)


def test_rules(tmp_path: Path) -> None:
    found = figures("rules", {})
    assert len(found["rules"]) == 49
    assert {rule["id"] for rule in found["rules"] if rule["not_assessable"] is None} >= {
        "ca.sb53",
        "kr.ai_basic",
    }
    assert "Rules" in run("rules", {}).stdout
    own = found["rules"][0] | {"id": "own.rule"}
    del own["not_assessable"]
    (tmp_path / "own.json").write_text(json.dumps({"schema": "rules/1", "rules": [own]}))
    assert len(figures("rules", {"--rules": str(tmp_path / "own.json")})["rules"]) == 50
