"""The commands, and replay in the real sandbox with the real interpreter: the whole of what an inspector does."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from weighbridge.app.main import build
from weighbridge.app.transcript_commands import draw_segments
from weighbridge.errors import WeighbridgeError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.plans import plan_freezes, plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replaying import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import check_environment, check_initial_state, compare_replay
from weighbridge.mechanisms.transcript.witness import most_overstated

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
        "replay",
        "replay-time",
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
    assert share["figure"] == 0.4 and "missed with chance 60.0%" in share["reason"]


def test_a_budget_bounds_the_steps(rich: Ended) -> None:
    with without_sandbox(rich.project.world):
        status, printed, found = verified(rich.run, "--roots", rich.project.world.roots_folder, "--budget", 6)
    assert status == 3
    assert 0 < printed["steps"] <= 6
    assert found["replay"] == "pass"


def test_the_draw_is_uniform_and_long_segments_cannot_hide() -> None:
    legs = [Leg(0, 100), *(Leg(100 + n, 101 + n) for n in range(9))]
    firsts = [draw_segments(legs, 1, None, n.to_bytes(4, "big"))[0].start for n in range(2_000)]
    counts = [firsts.count(leg.start) for leg in legs]
    assert all(150 < count < 250 for count in counts)
    assert draw_segments(legs, None, None, b"") == legs
    assert draw_segments(legs, 0, None, b"") == [] == draw_segments(legs, None, 0, b"")
    # A long one that is drawn is cut at a committed digest, not passed over.
    drawn = [draw_segments(legs, None, 10, n.to_bytes(4, "big"), digests=range(0, 110, 5)) for n in range(200)]
    assert all(sum(leg.until - leg.start for leg in chosen) <= 10 for chosen in drawn)
    assert any(leg.start == 0 and leg.until in (5, 10) for chosen in drawn for leg in chosen)
    assert not any(leg.until == 100 for chosen in drawn for leg in chosen)


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
        (["--seed", "xyz"], "--seed: is not hexadecimal"),
        (["--log", "/nowhere"], "--log: needs trust roots"),
        (["--roots", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_followed_is_status_2(rich: Ended, options: list[Any], words: str) -> None:
    with pytest.raises(WeighbridgeError, match=words):
        verified(rich.run, *options)


def test_a_folder_that_is_no_transcript_fails_in_words(tmp_path: Path) -> None:
    status, printed, _ = verified(tmp_path / "none")
    assert status == 1 and "is not a transcript's folder" in printed["findings"][0]["reason"]


def test_show(rich: Ended) -> None:
    shown = json.loads(command("show", rich.run, "--roots", rich.project.world.roots_folder, "--json").stdout)
    assert (shown["run"], shown["segments"], shown["steps"], shown["finished"]) == (rich.open().run, 1, 20, True)
    assert [shown["losses"][str(step)] for step in range(20)] == [[loss] for loss in rich.said["losses"]]
    assert [(f["first"], f["step"], f["updating"]) for f in shown["freezes"]][2] == (12, 12, True)
    result = command("show", rich.run)
    assert result.exit_code == 0 and "transcript" in result.stdout


def test_the_options_are_those_that_were_decided() -> None:
    from typer.main import get_command

    group: Any = get_command(build())
    found = {
        name: sorted(o for p in c.params for o in p.opts if o.startswith("--"))
        for name, c in group.commands["transcript"].commands.items()
    }
    assert found == {
        "show": ["--json", "--roots"],
        "verify": ["--budget", "--core", "--data", "--json", "--log", "--roots", "--seed", "--segments"],
    }


# --- threads


@pytest.fixture(scope="session")
def wide(world: World) -> Iterator[Ended]:
    """A run with two threads whose sums are long enough to be split between them."""
    ended = world.project(threads=2, width=1024, batch_size=32, steps=4, stride=1).train()
    assert ended.status == 0, ended.errors
    yield ended


def test_the_verifier_restores_the_count_of_threads(wide: Ended) -> None:
    transcript = wide.open()
    assert transcript.contents["environment"]["threads"] == 2
    with replay(transcript, legs=[Leg(0, 4)], digests=range(5)) as outcome:
        assert outcome.threads == 2
        findings = compare_replay(transcript, outcome)
    assert {f.check: f.outcome for f in findings} == {
        "transcript.replay": Outcome.PASS,
        "transcript.replay-time": Outcome.PASS,
    }


def test_another_count_of_threads_is_reported(wide: Ended) -> None:
    """Told otherwise, and with a program that lets it: the difference is said, and no pass is silent."""
    with copied(wide.run) as folder:
        path = folder / "opening.json"
        opening = json.loads(path.read_text())
        opening["contents"]["config"]["threads"] = 1
        path.write_text(json.dumps(opening))
        (wide.project.folder / "config.json").write_text(json.dumps(opening["contents"]["config"]))
        transcript = Ended(0, "", "", wide.project, folder).open()
        with (
            without_sandbox(wide.project.world),
            replay(transcript, legs=[Leg(0, 4)], digests=range(5), threads=1) as outcome,
        ):
            findings = {f.check: f for f in compare_replay(transcript, outcome)}
    threads = findings["transcript.replay-threads"]
    assert threads.outcome is Outcome.INCONCLUSIVE
    assert "replayed with 1 threads, recorded with 2" in threads.reason


def test_another_environment_is_said(rich: Ended) -> None:
    assert check_environment(rich.open()).outcome is Outcome.PASS
    with copied(rich.run) as folder:
        path = folder / "opening.json"
        opening = json.loads(path.read_text())
        opening["contents"]["environment"]["packages"]["torch"][0] = "1.0"
        path.write_text(json.dumps(opening))
        finding = check_environment(Transcript.open(folder, None))
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "packages: recorded" in finding.reason


# --- CPU time


def test_overstated_stretches() -> None:
    honest = [(0.0, 1.0), (1.0, 1.1), (2.0, 2.1), (3.0, 3.1)]
    assert most_overstated([0.9, 1.05, 2.05, 3.05], honest) == 0.0
    assert most_overstated([0.9, 1.05, 2.05, 4.05], honest) == pytest.approx(4.05 - 1.02 * 3.1 - 0.1, abs=0.1)
    # Time moved from the start into the steps is seen too, although the sum is true.
    assert most_overstated([0.0, 0.1, 1.6, 3.05], [(1.8, 2.0), (2.0, 2.1), (2.5, 2.6), (3.0, 3.1)]) > 1.5
    assert most_overstated([], []) == 0.0


# --- what sits around a run


def test_data_and_working_folder_inside_the_code(world: World) -> None:
    """As in most projects: the data lies beside the script, and the script is started there."""
    project = world.project(steps=2)
    (project.folder / "notes.txt").write_text("no code")
    (project.folder / "results").mkdir()
    ended = project.train()
    transcript = ended.open()
    assert check_initial_state(transcript).outcome is Outcome.PASS
    with replay(transcript, legs=[Leg(0, 2)], digests=[0]) as outcome:
        assert compare_replay(transcript, outcome)[0].outcome is Outcome.PASS


def test_a_replay_dies_with_its_verifier(world: World, tmp_path: Path) -> None:
    """Nothing of an operator's goes on running when the verifier is killed."""
    project = world.project(programs=("train.py", "hostile.py"), steps=2, attack="loop")
    ended = project.train("hostile.py")
    script = (
        "import sys\nfrom pathlib import Path\nfrom weighbridge.mechanisms.transcript.transcript import Transcript\n"
        "from weighbridge.mechanisms.transcript.verify import check_initial_state\n"
        "check_initial_state(Transcript.open(Path(sys.argv[1]), None), scratch=Path(sys.argv[2]))\n"
    )
    verifier = subprocess.Popen([sys.executable, "-c", script, str(ended.run), str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (inner := running(str(project.folder / "hostile.py"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert inner
    verifier.kill()
    verifier.wait()
    while running(str(project.folder / "hostile.py")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(str(project.folder / "hostile.py"))
    shutil.rmtree(tmp_path, ignore_errors=True)


def running(script: str) -> list[int]:
    """Returns processes that run a script."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if script.encode() in words:
                found.append(int(entry.name))
    return found
