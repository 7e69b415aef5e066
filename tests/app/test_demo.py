"""The demo's scene and its refusals; the scene itself is run by ``make demo`` and ``make seeds``."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo_seeds import EXPECTED, faults_of
from weighbridge.app.demo.run import run_demo
from weighbridge.app.demo.scene import RULE_SHARE, WINDOW_S, Cheat, cast, demo_rule, sizes
from weighbridge.app.main import build
from weighbridge.errors import InputError
from weighbridge.rules import load_rules


def test_seed_decides_names_roles_and_sizes() -> None:
    assert cast(7) == cast(7)
    assert sorted(cast(7).roles.values()) == sorted(Cheat)
    assert len({tuple(cast(seed).roles.items()) for seed in range(20)}) == 20
    few = sizes(1, step_s=0.2, step_flop=1e10, peak=2e11)
    assert few == sizes(1, step_s=0.2, step_flop=1e10, peak=2e11)
    assert few != sizes(2, step_s=0.2, step_flop=1e10, peak=2e11)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize(("step_s", "utilisation"), [(0.05, 0.2), (0.2, 0.3), (0.5, 0.7)])
def test_sizes_leave_the_honest_inside_and_the_hidden_outside(seed: int, step_s: float, utilisation: float) -> None:
    peak = 2e11
    plan = sizes(seed, step_s=step_s, step_flop=utilisation * peak * step_s, peak=peak)
    allowed = RULE_SHARE * WINDOW_S
    declared = plan.honest * plan.flop_per_step / peak
    assert declared <= max(4.6, 20 * step_s * utilisation)
    assert declared + 2.0 + 4.0 < allowed, "declared, exposure bound, and four seconds of start and slack"
    assert plan.hidden * step_s > allowed, "a whole hidden run at capacity breaks the rule by itself"
    assert plan.splice * step_s > allowed


def test_rule_is_a_fixed_fraction_of_peak_times_window() -> None:
    for peak in (1e10, 3e11):
        rule = demo_rule(peak)
        assert float(rule.limit) == pytest.approx(RULE_SHARE * WINDOW_S * peak)
        assert load_rules().with_rule(rule).counting_of(rule.id) == "us_ops_dense"


def test_refuses_a_folder_that_is_not_empty_and_leaves_it(tmp_path: Path) -> None:
    kept = tmp_path / "out" / "kept"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        run_demo(tmp_path / "out", seed=1)
    assert kept.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_refuses_roots_that_exist(tmp_path: Path) -> None:
    (tmp_path / "out.roots").mkdir()
    (tmp_path / "out.roots" / "body.pem").write_text("x")
    result = CliRunner().invoke(build(), ["demo", "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "out").exists()


def test_expectations_can_fail() -> None:
    def operator(truth: str, verdict: str, checks: set[str]) -> dict[str, object]:
        findings = [{"check": check, "outcome": "fail"} for check in sorted(checks)]
        levels = {"A": verdict, "B": "inconclusive", "C": "inconclusive"}
        return {"name": "Elm", "truth": truth, "verdict": verdict, "verdict_by_level": levels, "findings": findings} | {
            "hidden_flop": 1.0
        }

    assert faults_of({"operators": [operator("honest", "compliant", set())]}) == []
    assert faults_of({"operators": [operator("honest", "inconclusive", set())]})
    for truth, checks in EXPECTED.items():
        assert faults_of({"operators": [operator(truth, "violation", checks)]}) == []
        assert faults_of({"operators": [operator(truth, "violation", set())]})
        assert faults_of({"operators": [operator(truth, "compliant", checks)]})
