"""The public case: its figures and marks, X by hand, what evidence does to it, the rules, and the committed page."""

import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from weighbridge.app.case_page import BEST, case_page, undefined_rules
from weighbridge.app.main import build
from weighbridge.errors import InputError
from weighbridge.ledger.case import MARKS, case_names, load_case, read_case, weakest
from weighbridge.ledger.case_account import (
    ANSWERS,
    Evidence,
    apply_rules,
    computed,
    headline,
    hidden,
    hidden_by_readings,
    readings_needed,
)
from weighbridge.ledger.case_evidence import pieces, visits
from weighbridge.rules import load_rules
from weighbridge.statistics import poisson_upper

CASE = load_case("llama-3.1-405b")
PAGE = Path(__file__).parents[2] / "docs" / "case-llama-3.1-405b.md"
PICTURE = PAGE.with_suffix(".svg")
HOURS, CAPACITY, FLOP, RATE = 30.84e6, 1979e12, 3.8e25, 400e12
EVERYTHING = HOURS * 3600 * CAPACITY
SPARE = (HOURS * 3600 - FLOP / RATE) * CAPACITY
ALL = math.inf


def text() -> dict[str, Any]:
    file = resources.files("weighbridge.ledger").joinpath("cases", "llama-3.1-405b.json")
    read = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


def test_published_figures() -> None:
    assert (CASE["chips"], CASE["chip_hours"], CASE["training_flop"]) == (16384, 30.84e6, 3.8e25)
    found = {name: derived.value for name, derived in computed(CASE).items()}
    assert found["six_nd"] == pytest.approx(3.7908e25)
    assert found["with_attention"] == pytest.approx(3.9491e25, rel=1e-4)
    assert found["utilisation"] == pytest.approx(0.346, abs=5e-4)
    assert found["window"] == pytest.approx(78.43, abs=5e-3)
    assert found["windows"] == math.ceil(1 + 466 / 54 * found["window"]) == 678
    assert found["spare"] / HOURS == pytest.approx(0.1443, abs=5e-5)


def test_every_number_is_marked_and_none_claims_to_be_measured() -> None:
    assert {figure.mark for figure in CASE.figures.values()} == {"declared", "assumed"}
    marks = {name: derived.mark for name, derived in computed(CASE).items()}
    assert marks["six_nd"] == "declared"
    # What rests on an assumption, through a figure or in words, is assumed.
    assert {"freeze", "anchor", "window", "windows", "steps"} <= {n for n, mark in marks.items() if mark == "assumed"}
    assert [weakest(["measured", m]) for m in MARKS] == list(MARKS)


def test_publications_alone_show_nothing_at_any_level() -> None:
    assert hidden(CASE) == pytest.approx(dict.fromkeys("ABC", EVERYTHING))


@pytest.mark.parametrize("alone", [Evidence(segments=ALL), Evidence(rate=1.0), Evidence(readings=1000)])
def test_one_kind_of_evidence_alone_shows_nothing(alone: Evidence) -> None:
    assert hidden(CASE, alone) == pytest.approx(dict.fromkeys("ABC", EVERYTHING))


def test_freezes_and_all_segments() -> None:
    per_chip_day = CAPACITY * 86_400
    found = hidden(CASE, Evidence(rate=0.01, segments=ALL))
    assert found["A"] == pytest.approx(SPARE - math.log(0.05) / 0.01 * per_chip_day)
    assert found["B"] == found["C"] == pytest.approx(EVERYTHING)
    stretches = hidden(CASE, Evidence(rate=0.01, segments=ALL, windows=678))
    assert stretches["A"] == pytest.approx(SPARE + poisson_upper(677, 0.05) / 0.01 * per_chip_day)
    idle = hidden(CASE, Evidence(rate=0.01, segments=ALL, idle_shown=True))
    assert idle["A"] == pytest.approx(-math.log(0.05) / 0.01 * per_chip_day)


def test_drawn_segments_share_alpha_with_the_freezes() -> None:
    found = hidden(CASE, Evidence(rate=0.01, segments=59))["A"]
    forged = 1 - 0.025 ** (1 / 59)
    by_hand = SPARE + forged * FLOP / RATE * CAPACITY - math.log(0.025) / 0.01 * CAPACITY * 86_400
    assert found == pytest.approx(by_hand)


def test_readings_count_at_every_level_and_spare_time_is_charged_beside_them() -> None:
    found = hidden(CASE, Evidence(readings=21, segments=ALL))
    assert found == pytest.approx(dict.fromkeys("ABC", SPARE + (1 - 0.05 ** (1 / 21)) * EVERYTHING))
    # Counters are chip records: what they show of spare time lowers nothing at B and C.
    with_counters = hidden(CASE, Evidence(readings=21, segments=ALL, idle_shown=True))
    assert with_counters["C"] == found["C"]
    assert hidden_by_readings(0, total_s=10, free_s=0, capacity=2, alpha=0.05) == 20


@settings(max_examples=60, deadline=None)
@given(
    rate=st.floats(0, 1),
    windows=st.integers(1, 2000),
    segments=st.one_of(st.integers(0, 5000), st.just(ALL)),
    idle=st.booleans(),
    readings=st.integers(0, 500),
)
def test_no_evidence_makes_x_larger_than_everything(
    rate: float, windows: int, segments: float, idle: bool, readings: int
) -> None:
    evidence = Evidence(rate=rate, windows=windows, segments=segments, idle_shown=idle, readings=readings)
    found = hidden(CASE, evidence)
    assert all(0 < x <= EVERYTHING * (1 + 1e-12) for x in found.values())
    assert found["A"] <= found["B"] == found["C"]


def test_rules() -> None:
    book = load_rules()
    now = {rule: [ANSWERS[r.verdict] for r in found.values()] for rule, found in apply_rules(CASE, book).items()}
    assert now["eu.gpai.systemic"] == now["miri.2025.ctb.strict"] == ["above"] * 3
    assert now["ca.sb53"] == now["us.eo14110.model"] == ["open"] * 3
    best = apply_rules(CASE, book, BEST)["ca.sb53"]
    assert [ANSWERS[ruling.verdict] for ruling in best.values()] == ["within", "open", "open"]
    assert {"ny.raise", "kr.ai_basic"} <= set(undefined_rules(book))
    assert not set(undefined_rules(book)) & set(CASE.rules)


def test_readings_needed_settle_the_rule_and_one_fewer_does_not() -> None:
    needed = readings_needed(CASE, limit=1e26, declared=FLOP)
    assert needed == 21
    totals = [FLOP + hidden(CASE, Evidence(readings=n, segments=ALL))["C"] for n in (needed - 1, needed)]
    assert totals[0] > 1e26 >= totals[1]
    assert readings_needed(CASE, limit=6e25, declared=FLOP) is None


def test_pieces_and_visits() -> None:
    found = pieces(CASE)
    assert len({(piece.group, piece.what) for piece in found}) == len(found)
    freeze = next(piece for piece in found if piece.evidence == Evidence(rate=0.001, segments=ALL))
    assert freeze.stops == 1285
    assert freeze.stall_hours == pytest.approx(1285 * 1.6 * 16384 / 3600)
    assert freeze.anchor_bytes == pytest.approx(1285 * 405e9 * 14)
    assert [(visit.chips, visit.sample) for visit in visits(CASE)] == [(75, 961), (746, 97), (7457, 9)]


def without(name: str) -> str:
    data = text()
    del data["figures"][name]
    return json.dumps(data)


def changed(name: str, **fields: Any) -> str:
    data = text()
    data["figures"][name].update(fields)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (without("chips"), "figures are missing: chips"),
        (changed("chips", mark="guessed"), "measured"),
        (changed("chips", value=0), "greater than or equal"),
        (changed("chips", source="hearsay"), "hearsay"),
        ("{", "JSON"),
    ],
)
def test_a_broken_case_is_refused(broken: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_case(broken, where="broken.json")


def test_steps_that_need_more_time_than_there_was_are_refused() -> None:
    with pytest.raises(InputError, match="need more time"):
        read_case(changed("step_flop_rate", value=300e12), where="slow.json")
    with pytest.raises(InputError, match="evidence"):
        Evidence(windows=0)


def test_the_page_is_the_committed_one() -> None:
    assert case_page(CASE, load_rules()) == PAGE.read_text(encoding="utf-8")


def test_headlines() -> None:
    rulings = apply_rules(CASE, load_rules())["ca.sb53"]
    bare = headline(CASE, rulings["C"])
    assert "of up to 2.20e+26 FLOP" in bare and "July 2024, publications only" in bare
    # Without a bound there is no chance to state.
    assert "5.00%" not in bare
    best = apply_rules(CASE, load_rules(), BEST)["ca.sb53"]["A"]
    assert "5.00%" in headline(CASE, best, BEST) and "35.7 days" in headline(CASE, best, BEST)


def test_command(tmp_path: Path) -> None:
    page, picture = tmp_path / "page.md", tmp_path / "case.svg"
    words = ["case", "llama-3.1-405b", "--page", str(page), "--picture", str(picture), "--json"]
    result = CliRunner().invoke(build(), words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["hidden_flop"]["C"] == pytest.approx(EVERYTHING)
    assert found["evidence"][1]["evidence"]["segments"] == "all"
    assert found["rules"]["published"]["ca.sb53"]["A"]["answer"] == "open"
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    assert picture.read_text(encoding="utf-8") == PICTURE.read_text(encoding="utf-8")
    for more in (["--page", str(page), "--picture", str(tmp_path / "new.svg")], ["--picture", str(tmp_path / "x.pdf")]):
        again = CliRunner().invoke(build(), ["case", "llama-3.1-405b", *more])
        assert isinstance(again.exception, InputError)
    missing = CliRunner().invoke(build(), ["case", "llama-3.1-405b", "--page", str(tmp_path / "no" / "page.md")])
    assert "cannot be written" in str(missing.exception)
    assert {path.name for path in tmp_path.iterdir()} == {"page.md", "case.svg"}
    assert CliRunner().invoke(build(), ["case", "llama-3.1-405b"]).exit_code == 0


def test_an_unknown_case_is_refused() -> None:
    assert case_names() == ("llama-3.1-405b",)
    with pytest.raises(InputError, match=r"carried: llama-3\.1-405b"):
        load_case("../rules")
