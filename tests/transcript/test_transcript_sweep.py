"""Cheap checks over real runs: what an honest one shows, and what forged anchors, losses, data and FLOP show."""

import dataclasses
import json
import math
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from weighbridge.app.main import build
from weighbridge.errors import InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.chip_time import Chips, check_chip_time, recorded_seconds
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.declared_flop import check_declared_flop
from weighbridge.mechanisms.transcript.initial_weights import check_initial_weights
from weighbridge.mechanisms.transcript.light import LightChecks, light_checks
from weighbridge.mechanisms.transcript.light_costs import reading_cost, sweep_cost
from weighbridge.mechanisms.transcript.movement import check_movement
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.spending import Account, Budget
from weighbridge.mechanisms.transcript.sweep import Sweep, Terms, plan_sweep
from weighbridge.mechanisms.transcript.traces import check_traces, repeated_row
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verification import Request, verify_run

from .world import Ended, World, copied, rewrite, without_sandbox

pytestmark = pytest.mark.real

STOPS = [[6, "fetching"], [12, "fetching"], [18, "fetching"], [24, "fetching"]]


@pytest.fixture(scope="module")
def eager(world: World) -> Ended:
    """A run that is bound to nothing, learns fast, and has five stretches of its first epoch."""
    project = world.project(steps=30, width=64, rate=0.03, batch_size=16)
    np.save(project.data, np.random.default_rng(8).integers(0, 64, (1000, 9)).astype(np.uint8))
    ended = project.train(faults={"freezes": STOPS})
    assert ended.status == 0, ended.errors
    return ended


@pytest.fixture
def edited(eager: Ended) -> Iterator[Ended]:
    with copied(eager.run) as folder:
        yield Ended(0, eager.output, "", eager.project, folder)


def swept(ended: Ended, share: float = 1.0) -> tuple[LightChecks, dict[str, Finding]]:
    transcript = ended.open()
    with without_sandbox(ended.project.world):
        made = Sweep(Terms(share=share, seed=bytes(32)))(transcript, segments_of(transcript))
    return made, {f.check.removeprefix("transcript."): f for f in (*made.findings, *made.unreplayed)}


def test_an_honest_run_remembers_its_rows_and_its_anchors_have_its_losses(eager: Ended) -> None:
    made, found = swept(eager)
    assert {name: f.outcome for name, f in found.items() if name != "subtraction"} == {
        "anchor-loss": Outcome.PASS,
        "memorisation": Outcome.PASS,
    }
    assert found["anchor-loss"].figure == 0.0 and found["anchor-loss"].reason.startswith("at 5 anchors")
    assert (found["memorisation"].figure or 1) < 1e-3
    assert made.suspicion == {} and 0 < (found["subtraction"].figure or 0) < 1


def test_the_sweep_costs_what_it_says_and_changes_no_transcript(eager: Ended) -> None:
    transcript = eager.open()
    before = {path: path.read_bytes() for path in sorted(eager.run.rglob("*")) if path.is_file()}
    made, _ = swept(eager, share=0.5)
    assert before == {path: path.read_bytes() for path in sorted(eager.run.rglob("*")) if path.is_file()}
    plan = plan_sweep(transcript, segments_of(transcript), Terms(share=0.5, seed=bytes(32)), whole=False)
    rows = sum(len(part) for probe in plan.probes for part in probe.rows)
    assert made.steps == pytest.approx(rows / 16 / 3)


def test_losses_that_are_not_the_anchors_own_are_said_and_raise_suspicion(edited: Ended) -> None:
    def lie(events: list[dict[str, Any]]) -> None:
        step = next(e for e in events if e["type"] == "step" and e["step"] == 12)
        step["loss"] = [float(float.fromhex(step["loss"][0]) * 1.1).hex()]

    rewrite(edited.run, lie)
    made, found = swept(edited)
    assert found["anchor-loss"].outcome is Outcome.INCONCLUSIVE and "step 12" in found["anchor-loss"].reason
    assert found["anchor-loss"].figure == pytest.approx(0.1 / 1.1, rel=1e-3)
    assert set(made.suspicion) == {6, 12}


def test_a_run_that_claims_other_data_than_it_was_trained_on_remembers_none_of_it(edited: Ended) -> None:
    other = edited.project.folder / "other.npy"
    np.save(other, np.random.default_rng(9).integers(0, 64, (1000, 9)).astype(np.uint8))
    path = edited.run / "opening.json"
    opening = json.loads(path.read_text())
    opening["contents"]["data"]["root"] = Dataset.of(other).root.hex()
    path.write_text(json.dumps(opening))
    held = edited.project.data.read_bytes()
    shutil.copy(other, edited.project.data)
    try:
        _, found = swept(edited)
    finally:
        edited.project.data.write_bytes(held)
    assert found["memorisation"].outcome is Outcome.INCONCLUSIVE and (found["memorisation"].figure or 0) > 0.01
    assert found["anchor-loss"].outcome is Outcome.INCONCLUSIVE
    assert (found["subtraction"].figure or 0) > 0.5


def test_programs_that_need_whole_batches_get_them(world: World) -> None:
    project = world.project(steps=24, width=32, rate=0.03, norm=True, optimizers=["momentum"], schedule="onecycle")
    np.save(project.data, np.random.default_rng(8).integers(0, 64, (200, 9)).astype(np.uint8))
    ended = project.train(faults={"freezes": [[8, "fetching"], [16, "fetching"]]})
    _, found = swept(ended)
    assert found["anchor-loss"].outcome is Outcome.PASS, found["anchor-loss"]
    assert "forward passes" in found["memorisation"].reason


def test_the_light_checks_pass_an_honest_run_and_find_a_forged_anchor(eager: Ended, edited: Ended) -> None:
    def checked(ended: Ended) -> dict[str, Finding]:
        transcript = ended.open()
        made = light_checks(
            transcript, segments_of(transcript), checks=[check_initial_weights, check_movement, check_traces]
        )
        return {f.check.removeprefix("transcript."): f for f in (*made.findings, *made.unreplayed)}

    found = checked(eager)
    assert {name: f.outcome for name, f in found.items()} == {
        "initial-weights": Outcome.PASS,
        "movement": Outcome.PASS,
        "losses": Outcome.PASS,
    }, found
    transcript = edited.open()
    name = segments_of(transcript)[2].anchor
    assert name is not None
    shutil.copy(edited.run / "anchors" / str(segments_of(transcript)[1].anchor), edited.run / "anchors" / name)
    assert "cannot be measured" in checked(edited)["movement"].reason


def test_one_digest_at_two_steps_fails_and_copied_losses_are_said(edited: Ended) -> None:
    def copy_losses(events: list[dict[str, Any]]) -> None:
        steps = [e for e in events if e["type"] == "step"]
        for number in range(8):
            steps[20 + number]["loss"] = steps[5 + number]["loss"]

    def copy_digest(events: list[dict[str, Any]]) -> None:
        with_state = [e for e in events if e["type"] == "step" and "state" in e]
        with_state[3]["state"] = with_state[1]["state"]

    def judged() -> LightChecks:
        transcript: Transcript = edited.open()
        return check_traces(transcript, segments_of(transcript))

    assert judged().findings[0].outcome is Outcome.PASS
    rewrite(edited.run, copy_losses)
    made = judged()
    assert made.findings[0].outcome is Outcome.INCONCLUSIVE and set(made.suspicion) == {0, 18}
    rewrite(edited.run, copy_digest)
    assert judged().findings[0].outcome is Outcome.FAIL


def test_a_converged_run_repeats_its_losses_and_is_not_doubted() -> None:
    """Weights that move by last digits only: few losses are left, in every order, rows of them come again."""
    random = np.random.default_rng(4)
    told = [(float(loss).hex(),) for loss in np.geomspace(3, 0.5, 200)]
    told += [((0.25 + 2.0**-24 * int(digit)).hex(),) for digit in random.integers(0, 4, 600)]
    told += [
        ((0.25 + 2.0**-24 * (step % 7)).hex(),) for step in range(50)
    ]  # round a cycle, which the weights go as well
    assert repeated_row([*told, *told[:3]]) is None
    copied_from = told[40:52]
    assert repeated_row([*told, *copied_from]) == (40, 850)
    assert repeated_row([*told, *copied_from, ("0x1.9p+1",), *copied_from]) is not None


def test_declared_flop_is_held_against_the_count(eager: Ended) -> None:
    transcript = eager.open()
    with (
        without_sandbox(eager.project.world),
        replay(transcript, legs=[Leg(0, 1)], digests=[0], count_flop=True) as outcome,
    ):
        # Two matrices of 64 by 64 over sixteen rows: forward and gradients of both, six FLOP an element.
        assert outcome.flop_per_step == 6 * 2 * 64 * 64 * 16
        for declared, result in ((1e6, Outcome.PASS), (4e5, Outcome.INCONCLUSIVE), (4e6, Outcome.INCONCLUSIVE)):
            said = dataclasses.replace(transcript, commitment=_Declares(declared))  # type: ignore[arg-type]
            (finding,) = [
                f
                for f in check_declared_flop(said, outcome, counted=outcome.flop_per_step)
                if f.check == "transcript.declared-flop"
            ]
            assert finding.outcome is result, finding
        said = dataclasses.replace(transcript, commitment=_Declares(1e12))  # type: ignore[arg-type]
        assert "at most" in check_declared_flop(said, outcome, counted=outcome.flop_per_step)[0].reason
    assert math.isfinite(outcome.flop_per_step)


def test_declared_flop_are_held_against_chip_hours(eager: Ended) -> None:
    transcript = eager.open()
    seconds, steps = recorded_seconds(transcript), transcript.steps_taken
    assert 0.01 < seconds < 600 and steps == 30

    def held(peak: float, *, declared: float | None, counted: float | None) -> Finding:
        return check_chip_time(transcript, Chips(count=2, peak=peak), declared=declared, counted=counted)

    peak = 1e6 * steps / seconds  # two chips could have done twice the FLOP of the run
    found = held(peak, declared=1e6, counted=None)
    assert found.outcome is Outcome.PASS and found.figure == pytest.approx(0.5)
    assert found.hidden_flop == pytest.approx(1e6 * steps)
    assert held(peak, declared=1e6, counted=5e5).figure == pytest.approx(0.25)
    assert held(peak, declared=5e5, counted=1e6).figure == pytest.approx(0.25)
    assert held(peak, declared=None, counted=5e5).figure == pytest.approx(0.25)
    inflated = held(peak, declared=2.1e6, counted=1e6)
    assert inflated.outcome is Outcome.INCONCLUSIVE and inflated.figure == pytest.approx(1.05)
    assert inflated.hidden_flop is None and "nobody can" in inflated.reason
    assert held(peak, declared=None, counted=None).outcome is Outcome.INCONCLUSIVE


def test_the_command_holds_them_when_chips_are_named(eager: Ended) -> None:
    def verify(*options: str) -> Any:
        with without_sandbox(eager.project.world):
            command = ["transcript", "verify", str(eager.run), "--segments", "1", "--sweep", "0", *options]
            return CliRunner().invoke(build(), [*command, "--json"])

    findings = json.loads(verify("--chips", "1", "--chip-flops", "1e12").stdout)["findings"]
    (found,) = [f for f in findings if f["check"] == "transcript.chip-hours"]
    assert found["outcome"] == "pass" and 0 < found["figure"] < 1 and found["hidden_flop"] > 0
    both = ["--chips", "1", "--chip-flops", "1e12"]
    wrong = [["--chips", "0", "--chip-flops", "1e12"], [*both, "--sealed", "--seed", "00" * 32]]
    for options in (["--chips", "1"], ["--chip-flops", "1e12"], *wrong):
        assert isinstance(verify(*options).exception, InputError)


def test_a_share_leaves_out_cheap_checks_that_it_cannot_pay(eager: Ended) -> None:
    transcript = eager.open()
    every, account = segments_of(transcript), Account.of(transcript)
    assert reading_cost(transcript, every) > 0 == reading_cost(transcript, every[:1])
    # Twelve rows of each of five stretches, at both of its ends, where a forward pass is a third of a step.
    least = 2 / 3 * 12 * len(every) / 16 * account.step_cpu_s
    assert sweep_cost(transcript, every, account, share=0.0) == pytest.approx(least)
    whole = sweep_cost(transcript, every, account, share=1.0)
    assert whole == pytest.approx(2 / 3 * account.run_cpu_s)

    def checks(budget: Budget) -> dict[str, str]:
        with without_sandbox(eager.project.world):
            made = verify_run(eager.run, Request(seed=bytes(32), budget=budget))
        return {f.check: f.reason for f in made.findings}

    poor = checks(Budget(share=0.01))
    assert "left out" in poor["transcript.movement"] and "left out" in poor["transcript.sweep"]
    assert not any("left out: it would" in reason for reason in checks(Budget(steps=1)).values())


class _Declares:
    """Stands in for a commitment that declares so many FLOP a step."""

    id = "ab" * 32

    def __init__(self, flop: float) -> None:
        self.payload = {"declared": {"flop_per_step": flop}}
