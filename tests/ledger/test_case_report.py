"""A public case as an input to ``assess``: marked figures in, answers and X out; sealed, checked like any report."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from weighbridge.app.institutions import Institutions
from weighbridge.app.main import build
from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.ledger.case import CASE_FILE, case_text, load_case, read_case
from weighbridge.ledger.case_account import Evidence, evidence_of, hidden
from weighbridge.ledger.case_report import assess_case
from weighbridge.ledger.check import check_report
from weighbridge.ledger.report import REPORT, encode_report

NAME = "llama-3.1-405b"
CASE = load_case(NAME)
EVERYTHING = 30.84e6 * 3600 * 1979e12


def edited(change: Callable[[dict[str, Any]], None]) -> str:
    data = json.loads(case_text(NAME)[0])
    change(data)
    return json.dumps(data)


def holding(mark: str = "assumed", **evidence: tuple[float, str]) -> str:
    """Returns the case with evidence said to be held."""

    def change(data: dict[str, Any]) -> None:
        data["evidence"] = {
            name: {"value": value, "unit": unit, "mark": mark, "source": "here", "where": "", "what": "supposed"}
            | ({"source": "paper", "checkable": "statement 3f2a"} if mark == "measured" else {})
            for name, (value, unit) in evidence.items()
        }

    return edited(change)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(build(), [str(argument) for argument in arguments])
    if isinstance(result.exception, WeighbridgeError):  # what the program's main prints, and ends with 2
        return 2, result.stdout, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "case"
    assert run("case", NAME, "--out", made)[0] == 0
    return made


def test_publications_alone_leave_everything_at_every_level() -> None:
    operator = assess_case(CASE)["operators"][0]
    assert operator["hidden_flop_by_level"] == pytest.approx(dict.fromkeys("ABC", EVERYTHING))
    assert operator["declared_flop"] == 3.8e25
    assert (operator["declared_mark"], operator["hidden_mark"]) == ("declared", "declared")
    # Nobody signed anything, so nothing passes and nobody is accused.
    assert {finding["outcome"] for finding in operator["findings"]} == {"inconclusive"}
    assert "verdict" not in operator and "violation" not in json.dumps(operator)


def test_every_number_that_goes_in_comes_out_with_its_mark() -> None:
    body = assess_case(CASE)
    assert {name: figure["mark"] for name, figure in body["figures"].items()} == {
        name: figure.mark for name, figure in CASE.figures.items()
    }
    assert all(derived["mark"] in body["marks"] for derived in body["computed"].values())
    assert len(body["operators"][0]["limits"]) == len(CASE.missing)


def test_supposed_evidence_lowers_x_and_marks_it_assumed() -> None:
    held = read_case(
        holding(
            rate=(0.01, "freezes per chip and day"),
            windows=(1, "stretches"),
            segments=(1e9, "segments"),
            idle_shown=(1, "shown"),
        ),
        where="held.json",
    )
    operator = assess_case(held, rule_id="ca.sb53")["operators"][0]
    by_hand = -math.log(0.05) / 0.01 * 86_400 * 1979e12
    assert operator["hidden_flop_by_level"] == pytest.approx({"A": by_hand, "B": EVERYTHING, "C": EVERYTHING})
    assert operator["hidden_mark"] == "assumed"
    assert [ruling["answer"] for ruling in operator["rulings"].values()] == ["within", "open", "open"]
    assert "5.00%" in operator["sentences"]["A"]
    assert operator["evidence"]["used"]["segments"] == "all"


def test_evidence_that_the_case_says_was_measured_still_passes_nothing() -> None:
    held = read_case(holding("measured", readings=(30, "readings"), segments=(300, "segments")), where="held.json")
    operator = assess_case(held)["operators"][0]
    assert operator["hidden_mark"] == "declared"
    assert {finding["outcome"] for finding in operator["findings"]} == {"inconclusive"}
    assert operator["hidden_flop"] == hidden(CASE, Evidence(readings=30, segments=300))["A"]


def test_without_a_word_on_its_span_each_stretch_between_restarts_counts() -> None:
    rate, every = (0.1, "freezes per chip and day"), (1e9, "segments")
    silent = read_case(holding(rate=rate, segments=every), where="held.json")
    fixed = read_case(holding(rate=rate, segments=every, windows=(1, "stretches")), where="held.json")
    # 1 + 466/54 × 78.43 days = 677.8
    assert (evidence_of(silent).windows, evidence_of(fixed).windows) == (678, 1)
    one, other = (assess_case(case)["operators"][0] for case in (silent, fixed))
    assert one["hidden_flop"] > other["hidden_flop"]
    assert "nothing says that the span" in str(one["findings"]) and "nothing says" not in str(other["findings"])


def test_only_an_inspector_seals(folder: Path, tmp_path: Path) -> None:
    people = Institutions.make(tmp_path / "keys", origin="case.example/log")
    for key in ("registrar", "log"):
        status, _, err = run("assess", folder, "--seal", people.folder / f"{key}.pem")
        assert status == 2 and "--seal" in err
    assert [path.name for path in folder.iterdir()] == [CASE_FILE]
    status, _, err = run("assess", folder.with_name("nowhere"))
    assert status == 2 and "WORKSPACE" in err


def test_what_each_further_piece_takes_off() -> None:
    for piece in assess_case(CASE)["further_evidence"]:
        assert piece["takes_off"] == pytest.approx(
            {level: EVERYTHING - piece["hidden_flop"][level] for level in "ABC"}, abs=1e10
        )


@pytest.mark.parametrize(("segments", "used"), [(9298, 9298), (9299, math.inf)])
def test_as_many_segments_as_the_run_has_are_all(segments: int, used: float) -> None:
    # 15.6e12 tokens in steps of 2^24 are 929,833 steps: 9,298.33 segments of 100.
    held = read_case(holding(segments=(segments, "segments")), where="held.json")
    assert evidence_of(held).segments == used


def test_command_assesses_the_written_case_and_json_is_the_body(folder: Path) -> None:
    status, out, err = run("assess", folder, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == json.loads(encode_report(assess_case(CASE)))
    status, out, _ = run("assess", folder / CASE_FILE, "--rule", "ca.sb53")
    assert status == 0
    assert "ca.sb53" in out and "2.197e26" in out and "none can be checked" in out


def test_a_changed_figure_changes_the_answer(folder: Path) -> None:
    path = folder / CASE_FILE
    data = json.loads(path.read_text())
    data["figures"]["training_flop"]["value"] = 2e25
    path.write_text(json.dumps(data))
    body = json.loads(run("assess", folder, "--json")[1])
    assert body["operators"][0]["declared_flop"] == 2e25


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (edited(lambda d: d["figures"]["chip_hours"].update(unit="chip-days")), "give it in chip-hours"),
        (edited(lambda d: d["figures"]["chips"].update(value=1.5)), "count"),
        (edited(lambda d: d["figures"]["cluster_chips"].update(value=10)), "more chips than its cluster"),
        (edited(lambda d: d["figures"]["alpha"].update(value=0.9)), "alpha"),
        (edited(lambda d: d["figures"]["alpha"].update(mark="declared")), "its mark is assumed"),
        (edited(lambda d: d["figures"]["chips"].update(mark="measured")), "names no evidence"),
        (edited(lambda d: d["figures"]["capacity"].update(value=1e14)), "below peak_bf16"),
        (edited(lambda d: d["figures"]["peak_bf16"].update(value=1e13)), "below step_flop_rate"),
        (edited(lambda d: d["figures"]["chip_hours"].update(value=1e6)), "need more time"),
        (holding(rate=(1e9, "freezes per chip and day")), "more than the day"),
        (holding(readings=(1e9, "readings")), "more than one a second"),
        (edited(lambda d: d.update(id="../x")), "id"),
        (edited(lambda d: d.update(title="\u001b[2J")), "terminal"),
        (edited(lambda d: d["figures"]["chips"].update(value=1e400)), "chips.value"),
        (edited(lambda d: d["figures"]["step_flop_rate"].update(value=1e12)), "need more time"),
        (holding(cameras=(1, "cameras")), "evidence.cameras is not known"),
        (holding(rate=(0.1, "Hz")), "freezes per chip and day"),
        (holding(idle_shown=(2, "shown")), "idle_shown"),
        (edited(lambda d: d.update(rules=[])), "rules"),
        ('{"schema": "case/1", "schema": "case/1"}', "stands twice"),
        ("[" * 100_000, "JSON"),
        ("", "JSON"),
    ],
)
def test_a_broken_case_is_refused_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "case.json"
    path.write_text(text)
    for command in ("assess", "case"):
        status, out, err = run(command, path)
        assert (status, out) == (2, "")
        assert words in err
        assert "case.json" in err or NAME in err


def test_what_is_no_case_is_refused(tmp_path: Path, folder: Path) -> None:
    assert run("case", tmp_path / "nothing.json")[0] == 2
    assert run("case", NAME, "--out", folder)[0] == 2
    for option in (("--logged-audits",), ("--roots", tmp_path)):
        status, _, err = run("assess", folder, *option)
        assert status == 2 and "nothing in it is signed" in err
    (folder / "log").mkdir()
    status, _, err = run("assess", folder)
    assert status == 2 and "a case and a log" in err
    assert run("assess", folder, "--rule", "no.such.rule")[0] == 2


@pytest.fixture
def sealed(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Returns a sealed case's report and the trust roots."""
    people = Institutions.make(tmp_path / "keys", origin="case.example/log")
    roots = tmp_path / "roots"
    people.roots.save(roots)
    status, _, err = run("assess", folder, "--rule", "ca.sb53", "--seal", people.folder / "inspector.pem")
    assert status == 0, err
    return folder / REPORT, roots


def test_a_sealed_case_can_be_checked_and_nothing_of_it_changed(sealed: tuple[Path, Path]) -> None:
    report, roots = sealed
    findings = {finding.check: finding.outcome.value for finding in check_report(report, roots)}
    assert findings == {
        "check.signature": "pass",
        "check.files": "pass",
        "check.statements": "inconclusive",
        "check.assessment": "pass",
    }
    assert run("check", report, "--roots", roots)[0] == run("check", report.parent, "--roots", roots)[0] == 0
    for path in list(report.parent.iterdir()):
        copy = report.parent.with_name("copy")
        shutil.copytree(report.parent, copy)
        data = bytearray((copy / path.name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / path.name).write_bytes(data)
        with pytest.raises((EvidenceError, InputError)):
            check_report(copy / REPORT, roots)
        shutil.rmtree(copy)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(CASE.figures)),
    value=st.one_of(st.floats(min_value=1e-13, max_value=1e41), st.integers(1, 10**9)),
)
def test_any_figure_gives_an_answer_or_a_refusal(name: str, value: float) -> None:
    text = edited(lambda data: data["figures"][name].update(value=value))
    try:
        body = assess_case(read_case(text, where="any.json"))
    except InputError:
        return
    levels = body["operators"][0]["hidden_flop_by_level"]
    assert 0 < levels["A"] <= levels["B"] == levels["C"] < math.inf
    json.loads(encode_report(body))
