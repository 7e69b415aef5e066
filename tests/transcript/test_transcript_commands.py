"""The commands of the transcript, over real runs: what an inspector does, and what it is told."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from weighbridge.app.main import build
from weighbridge.errors import InputError, WeighbridgeError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.plans import plan_freezes, plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.verify import compare_replay

from .world import Ended, World, copied, without_sandbox

pytestmark = pytest.mark.real


def command(*arguments: object) -> Result:
    return CliRunner().invoke(build(), ["transcript", *map(str, arguments)])


def verified(*arguments: object) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Runs ``transcript verify --json``; returns the status, what was printed, and the worst outcome of each check."""
    result = command("verify", "--json", *arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    printed: dict[str, Any] = json.loads(result.stdout)
    worst: dict[str, str] = {}
    for finding in printed["findings"]:
        order = ["pass", "inconclusive", "fail"]
        known = worst.get(finding["check"], "pass")
        worst[finding["check"].removeprefix("transcript.")] = max(known, finding["outcome"], key=order.index)
    return result.exit_code, printed, worst


@pytest.fixture(scope="session")
def exported(rich: Ended) -> Path:
    folder = rich.project.world.folder / "exported"
    rich.project.world.log.export(folder)
    return folder


def test_an_honest_run_holds_in_the_sandbox(rich: Ended, exported: Path) -> None:
    roots = rich.project.world.roots_folder
    status, printed, found = verified(rich.run, "--roots", roots, "--log", exported)
    assert status == 0, printed
    assert set(found.values()) == {"pass"}
    assert set(found) == {
        "journal",
        "steps",
        "environment",
        "receipts",
        "log",
        "initial-state",
        "second-seed",
        "replay",
        "replay-time",
        "movement",
        "losses",
        "given-rows",
    }
    assert printed["run"] == rich.open().run
    assert printed["drawn"] == [[0, 3], [3, 7], [7, 12], [12, 16], [16, 20]] and printed["steps"] == 20
    replayed = next(f for f in printed["findings"] if f["check"] == "transcript.replay")
    assert replayed["reason"].startswith("20 steps replayed bit for bit: 9 full states")
    assert all(f["redo"] for f in printed["findings"])


def test_a_draw_is_made_again_by_its_seed_and_replays_from_anchors(rich: Ended) -> None:
    roots = rich.project.world.roots_folder
    arguments = (rich.run, "--roots", roots, "--segments", 2, "--seed", "05" * 32)
    with without_sandbox(rich.project.world):
        status, printed, found = verified(*arguments)
        again = verified(*arguments)[1]
    assert status == 3
    assert (printed["drawn"], printed["seed"]) == (again["drawn"], "05" * 32)
    assert len(printed["drawn"]) == 2
    assert found["replay"] == "pass" and found["replay-share"] == "inconclusive"
    share = next(f for f in printed["findings"] if f["check"] == "transcript.replay-share")
    assert share["figure"] == 0.4 and "missed with chance 60.0%, wherever it lies" in share["reason"]
    assert printed["draw"]["inclusion"] == 0.4 and printed["seed_chosen_by"] == "whoever gave --seed"
    chances = {power["forgery"]: power["chance"] for power in printed["power"]}
    assert chances["one forged step"] == 0.4 and chances["2 forged segments of 5"] == pytest.approx(0.7)


def test_a_budget_bounds_the_steps(rich: Ended) -> None:
    with without_sandbox(rich.project.world):
        status, printed, found = verified(rich.run, "--roots", rich.project.world.roots_folder, "--budget", 6)
    assert status == 3
    assert 0 < printed["steps"] <= 6
    assert found["replay"] == "pass"
    assert printed["seed_chosen_by"] == "the system, after the run was handed over"


def test_a_share_too_small_for_anything_says_what_would_do(rich: Ended) -> None:
    """Starting the program alone costs more than this short run: nothing is replayed, and nothing is claimed."""
    status, printed, found = verified(rich.run, "--roots", rich.project.world.roots_folder, "--budget", "1%")
    assert status == 3 and printed["steps"] == 0 and "replay" not in found
    share = next(f for f in printed["findings"] if f["check"] == "transcript.replay-share")
    assert share["figure"] == 0 and "the smallest useful budget is" in share["reason"]
    assert printed["draw"]["smallest_budget"] > 20  # steps: more than it has
    assert printed["spent"]["cpu_s"]["initial state"] == 0 and found["initial-state"] == "inconclusive"
    chances = {power["forgery"]: power["chance"] for power in printed["power"]}
    assert chances["stolen weights, or a splice, at the first boundary"] == chances["one forged step"] == 0


def test_a_draw_of_a_part_prints_its_power_and_its_price(rich: Ended) -> None:
    with without_sandbox(rich.project.world):
        result = command("verify", rich.run, "--roots", rich.project.world.roots_folder, "--segments", 2)
    for words in ("chance to meet it", "at its worst", "CPU time spent", "fresh from the system"):
        assert words in result.stdout


def test_anchors_that_stayed_with_the_operator_start_no_segment(rich: Ended) -> None:
    with copied(rich.run) as folder:
        for name in ("freeze-0000-000011.safetensors", "freeze-0000-000013.safetensors"):
            (folder / "anchors" / name).unlink()
        transcript = Ended(0, "", "", rich.project, folder).open()
        assert [(leg.start, leg.until) for leg in segments_of(transcript)] == [(0, 3), (3, 16), (16, 20)]
        # Without the anchor before it, the third is reached by walking on from what is replayed anyway.
        assert plan_freezes(transcript, transcript.freezes[-2:]).legs == (Leg(0, 20),)
        plan = plan_segments(transcript, segments_of(transcript)[1:])
        assert plan.legs == (Leg(3, 20, "freeze-0000-000010.safetensors"),)
        with without_sandbox(rich.project.world), replay(transcript, legs=plan.legs, digests=plan.digests) as outcome:
            assert compare_replay(transcript, outcome)[0].outcome is Outcome.PASS


def test_audits_of_freezes_replay_little(rich: Ended) -> None:
    transcript = rich.open()
    plan = plan_freezes(transcript, transcript.freezes)
    # Each from its anchor to the second digest after it; the one inside an update from the anchor before.
    assert plan.legs == (Leg(0, 20),)
    assert plan.captures == {0, 3, 7, 11, 12, 16}
    one = plan_freezes(transcript, transcript.freezes[3:])
    assert one.legs == (Leg(0, 10), Leg(16, 20, "freeze-0000-000014.safetensors"))
    assert plan_freezes(transcript, []).legs == (Leg(0, 10),)


def test_a_failed_check_is_status_1(rich: Ended) -> None:
    with copied(rich.run) as folder:
        (folder / "code" / "train.py").write_text("pass\n")
        status, printed, found = verified(folder, "--roots", rich.project.world.roots_folder)
    assert (status, found) == (1, {"open": "fail"})
    assert "is not the code tree that was committed" in printed["findings"][0]["reason"]


def test_an_unbound_run_is_status_3(world: World) -> None:
    ended = world.project(steps=4).train()
    with without_sandbox(world):
        status, _, found = verified(ended.run)
    assert status == 3
    assert (found["binding"], found["journal"], found["replay"]) == ("inconclusive", "inconclusive", "pass")


def test_a_log_from_before_the_run_knows_too_little(world: World, tmp_path: Path) -> None:
    world.log.export(tmp_path / "early")
    ended = world.project(steps=2).train(spool=True)
    with without_sandbox(world):
        status, _, found = verified(ended.run, "--roots", world.roots_folder, "--log", tmp_path / "early")
    assert (status, found["log"], found["journal"]) == (3, "inconclusive", "pass")


@pytest.mark.parametrize("name", ["statements.cborseq", "receipts.cborseq", "checkpoint"])
def test_a_truncated_log_is_refused_and_not_the_transcript_s_fault(
    rich: Ended, exported: Path, tmp_path: Path, name: str
) -> None:
    log = shutil.copytree(exported, tmp_path / "log")
    (log / name).write_bytes((log / name).read_bytes()[:-40])
    with pytest.raises(WeighbridgeError) as refusal:
        verified(rich.run, "--roots", rich.project.world.roots_folder, "--log", log)
    assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--segments", -1], "--segments: must not be negative"),
        (["--budget", -1], "--budget: must not be negative"),
        (["--from-the-beginning", "--budget", 6], "--from-the-beginning: trains all steps up to the last one drawn"),
        (["--seed", "xyz"], "--seed: is not hexadecimal"),
        (["--log", "/nowhere"], "--log: needs trust roots"),
        (["--roots", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_followed_is_status_2(rich: Ended, options: list[Any], words: str) -> None:
    with pytest.raises(WeighbridgeError, match=words):
        verified(rich.run, *options)


def test_a_path_at_which_nothing_was_recorded_is_a_slip_and_no_verdict(rich: Ended, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, words in (("none", "is not there"), ("file", "is no folder"), ("empty", "holds no transcript")):
        with pytest.raises(InputError, match=f"{name}: {words}.*name a run's folder"):
            verified(tmp_path / name)
    with copied(rich.run) as folder:  # a transcript of which something is withheld has failed
        (folder / "opening.json").unlink()
        status, printed, _ = verified(folder)
    assert status == 1 and "cannot be opened" in printed["findings"][0]["reason"]


def test_a_draw_of_nothing_says_so_without_a_budget(rich: Ended) -> None:
    with without_sandbox(rich.project.world):
        _, printed, _ = verified(rich.run, "--segments", 0, "--sweep", 0)
    share = next(f for f in printed["findings"] if f["check"] == "transcript.replay-share")
    assert "None" not in share["reason"] and "missed with chance 100.0%" in share["reason"]


def test_show(rich: Ended) -> None:
    shown = json.loads(command("show", rich.run, "--roots", rich.project.world.roots_folder, "--json").stdout)
    assert (shown["run"], shown["segments"], shown["steps"], shown["finished"]) == (rich.open().run, 1, 20, True)
    assert [shown["losses"][str(step)] for step in range(20)] == [[loss] for loss in rich.said["losses"]]
    assert [(f["first"], f["step"], f["updating"]) for f in shown["freezes"]][2] == (12, 12, True)
    result = command("show", rich.run)
    assert result.exit_code == 0 and "transcript" in result.stdout
