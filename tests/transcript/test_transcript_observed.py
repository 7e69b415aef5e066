"""Programs that know nothing of us: recorded without a changed line, the same to the bit, and replayed to the bit."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules import module
from torch.optim import optimizer
from typer.testing import CliRunner

from transcript.bench import Bench
from transcript.world import World
from weighbridge.app.main import build
from weighbridge.errors import EvidenceError, InputError
from weighbridge.ledger.audit import audit_run
from weighbridge.mechanisms.transcript.data_files import DataFiles
from weighbridge.mechanisms.transcript.observing import Observer
from weighbridge.mechanisms.transcript.transcript import Transcript

pytestmark = pytest.mark.real

STEPS = {"ordinary": 48, "lbfgs": 12, "by_hand": 25, "accumulating": 24, "two_players": 40, "muon": 48}
SANDBOXED = ("ordinary", "lbfgs", "muon")
"""Replayed in a sandbox here; the others are in test_transcript_bound.py."""


@pytest.fixture
def bench(tmp_path: Path, world: World) -> Bench:
    """Forks: for tests of what is written and compared."""
    return Bench(tmp_path, world.zygote)


@pytest.fixture
def itself(tmp_path: Path) -> Bench:
    """The same folder, where programs are processes of their own, and replays run in a sandbox."""
    return Bench(tmp_path)


@pytest.mark.parametrize("name", STEPS)
def test_the_same_with_and_without_recording_and_again_in_replay(bench: Bench, itself: Bench, name: str) -> None:
    """One of them with as many threads as PyTorch likes."""
    script = bench.place(name)
    threads = {"OMP_NUM_THREADS": "2"} if name == "ordinary" else {}
    plain = (itself if threads else bench).python(script, **threads)
    recorded = itself.record("--", "python", script, **threads)
    assert (plain.returncode, recorded.returncode) == (0, 0), recorded.stderr
    assert recorded.stdout == plain.stdout and plain.stdout.count("\n") >= 12
    findings = (itself if name in SANDBOXED else bench).verify()
    assert findings["transcript.replay"][0] == "pass", findings
    assert f"{STEPS[name]} steps replayed bit for bit" in findings["transcript.replay"][1]
    # Seeds of its own, and no log: nothing says that others were not tried.
    assert findings["transcript.initial-state"][0] == findings["transcript.binding"][0] == "inconclusive"
    assert not [check for check, (outcome, _) in findings.items() if outcome == "fail"]
    transcript = Transcript.open(bench.run, None)
    assert transcript.reached == STEPS[name]
    # A program's first batch is bound as the others are. (A second optimizer's step is given nothing.)
    assert transcript.steps[0]["seen"] == ("yielded" if name == "by_hand" else "forward")  # that one is seen late


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, world: World) -> Bench:
    """A run recorded once, for tests that change a copy of it."""
    bench = Bench(tmp_path_factory.mktemp("once"), world.zygote)
    (bench.folder / "rows.txt").write_text("\n".join(f"{i % 7} {i % 5} {i % 3} 1" for i in range(40)))
    assert bench.record("--data", "rows.txt", "--", "python", bench.place("reading"), "rows.txt").returncode == 0
    return bench


@pytest.fixture
def reading(once: Bench) -> Iterator[Bench]:
    """The same run, in its place; put back afterwards."""
    kept = {path: path.read_bytes() for path in once.folder.rglob("*") if path.is_file()}
    yield once
    for path, content in kept.items():
        path.write_bytes(content)


def test_data_in_files_is_committed_and_shown_to_the_replay(reading: Bench) -> None:
    assert Bench(reading.folder).verify()["transcript.replay"][0] == "pass"
    rows = reading.folder / "rows.txt"
    rows.write_text(rows.read_text().replace("6", "7", 1))
    found = reading.verify()
    assert (
        found["transcript.replay"][0] == "fail" and "not the file that was committed" in found["transcript.replay"][1]
    )


def test_a_file_that_was_not_named_is_not_there_in_replay(bench: Bench) -> None:
    (bench.folder / "rows.txt").write_text("1 2 3 4\n" * 9)
    assert bench.record("--", "python", bench.place("reading"), "rows.txt").returncode == 0
    outcome, reason = Bench(bench.folder).verify()["transcript.replay"]
    assert outcome == "inconclusive" and str(bench.folder / "rows.txt") in reason and "--data" in reason


def test_a_variable_counts_once_it_is_named(bench: Bench) -> None:
    (bench.folder / "rows.txt").write_text("1 2 3 4\n" * 9)
    script = bench.place("reading")
    words = ("--data", "rows.txt", "--", "python", script, "rows.txt")
    assert bench.record(*words, LEARNING_RATE="0.3").returncode == 0
    hidden = bench.verify()["transcript.replay"]
    assert hidden[0] == "fail" and "hyperparameters" in hidden[1]
    shutil.rmtree(bench.folder / "runs")
    assert bench.record("--variable", "LEARNING_RATE", *words, LEARNING_RATE="0.3").returncode == 0
    assert bench.verify()["transcript.replay"][0] == "pass"


def _another_loss(lines: list[dict[str, Any]]) -> None:
    lines[5]["loss"] = [(0.5).hex()]


def _another_state(lines: list[dict[str, Any]]) -> None:
    next(line for line in lines[1:] if "state" in line)["state"] = "ab" * 32


def _another_rate(lines: list[dict[str, Any]]) -> None:
    lines[1]["hyperparameters"]["optimizer"][0]["lr"] = 0.2


@pytest.mark.parametrize("lie", [_another_loss, _another_state, _another_rate])
def test_a_journal_that_tells_of_another_training_does_not_replay(reading: Bench, lie: Any) -> None:
    reading.rewrite(lie)
    assert reading.verify()["transcript.replay"][0] == "fail"


def test_steps_that_were_never_trained_do_not_replay(reading: Bench) -> None:
    def longer(lines: list[dict[str, Any]]) -> None:
        end = lines.pop()
        for step in range(30, 40):
            lines.append({**lines[-1], "step": step, "type": "step"})
            lines[-1].pop("state", None)
            if (step + 1) % 10 == 0:
                lines[-1]["state"] = "cd" * 32
        lines.append({**end, "step": 40})

    reading.rewrite(longer)
    found = reading.verify()
    assert "fail" in {found["transcript.replay"][0], found["transcript.steps"][0]}


def test_a_killed_program_leaves_what_it_had_trained(bench: Bench) -> None:
    (bench.folder / "rows.txt").write_text("1 2 3 4\n" * 9)
    script = bench.place("reading")
    command = [sys.executable, "-m", "weighbridge", "record", "--out", "runs", "--data", "rows.txt", "--", "python"]
    process = subprocess.Popen([*command, str(script), "rows.txt", "slow"], cwd=bench.folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(15):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    reached = Transcript.open(bench.run, None).reached
    assert reached >= 14
    found = bench.verify()
    assert found["transcript.complete"][0] == "inconclusive"
    assert found["transcript.replay"][0] == "pass" and f"{reached} steps" in found["transcript.replay"][1]


def test_a_program_that_fails_fails_as_ever(bench: Bench) -> None:
    (bench.folder / "rows.txt").write_text("1 2 3 4\n" * 9)
    ended = bench.record("--data", "rows.txt", "--", "python", bench.place("reading"), "rows.txt", "raise")
    assert ended.returncode == 1 and "RuntimeError: out of luck" in ended.stderr
    transcript = Transcript.open(bench.run, None)
    assert transcript.reached == 13 and not transcript.events[-1].data["finished"]
    found = bench.verify()
    assert found["transcript.replay"][0] == "pass"
    # As of one that was killed: what it would have trained is not there.
    assert found["transcript.complete"][0] == "inconclusive" and "its own end" in found["transcript.complete"][1]


def test_what_was_built_too_late_is_said_and_keeps_the_transcript_from_complete(bench: Bench) -> None:
    (bench.folder / "rows.txt").write_text("1 2 3 4\n" * 9)
    ended = bench.record("--data", "rows.txt", "--", "python", bench.place("reading"), "rows.txt", "second")
    assert ended.returncode == 0 and "PART OF THE TRAINING IS NOT RECORDED" in ended.stderr
    outcome, reason = bench.verify()["transcript.complete"]
    assert outcome == "inconclusive" and "1 optimizers" in reason


@pytest.mark.parametrize(
    ("text", "words"),
    [("print(1)\n", "never imported PyTorch"), ("import torch\nprint(1)\n", "no gradient was taken")],
)
def test_a_recording_that_caught_nothing_says_so(itself: Bench, text: str, words: str) -> None:
    script = itself.folder / "program.py"
    script.write_text(text)
    ended = itself.record("--", "python", script)
    assert (ended.returncode, ended.stdout) == (0, "1\n")
    assert "NOTHING WAS RECORDED" in ended.stderr and words in ended.stderr
    assert itself.record("--strict", "--", "python", script).returncode == 3
    assert not (itself.folder / "runs").exists()


def test_a_module_is_run_as_python_runs_it(itself: Bench) -> None:
    itself.place("lbfgs")
    plain = itself.python("-m", "program.lbfgs")
    recorded = itself.record("--", "python", "-m", "program.lbfgs")
    assert (recorded.returncode, recorded.stdout) == (0, plain.stdout), recorded.stderr
    assert itself.verify()["transcript.replay"][0] == "pass"


def test_a_log_binds_what_was_said_and_not_the_seed(bench: Bench, world: World) -> None:
    (bench.folder / "rows.txt").write_text("1 2 3 4\n" * 9)
    words = ("--data", "rows.txt", "--", "python", bench.place("reading"), "rows.txt")
    recorded = bench.record(*words, **world.environment())
    assert recorded.returncode == 0 and "30 steps recorded" in recorded.stderr, recorded.stderr
    found = bench.verify(roots=world.roots_folder)
    assert found["transcript.journal"][0] == found["transcript.receipts"][0] == found["transcript.replay"][0] == "pass"
    assert "transcript.binding" not in found
    assert found["transcript.initial-state"][0] == "inconclusive"


def test_a_freeze_is_claimed_where_it_found_the_program(bench: Bench) -> None:
    (bench.folder / "rows.txt").write_text("1 2 3 4\n" * 9)
    words = ("--data", "rows.txt", "--", "python", bench.place("reading"), "rows.txt", "freeze")
    notice = bench.folder / "notice"
    assert bench.record(*words, WEIGHBRIDGE_CHIP="c0" * 32, WEIGHBRIDGE_CHIP_NOTICE=str(notice)).returncode == 0
    (freeze,) = Transcript.open(bench.run, None).freezes
    # Between two steps: after the 13th update, before the next.
    assert (freeze.first, freeze.step, freeze.updating) == (4, 13, False)


def test_listing_querying_and_comparing_it(once: Bench) -> None:
    listed = CliRunner().invoke(build(), ["transcript", "list", str(once.folder / "runs"), "--json"])
    (entry,) = json.loads(listed.stdout)["runs"]
    assert (entry["steps"], entry["planned"]) == (30, None)
    rows = CliRunner().invoke(build(), ["transcript", "query", str(once.run), "--where", "step<3", "--json"])
    assert [row["step"] for row in json.loads(rows.stdout)["rows"]] == [0, 1, 2]
    assert CliRunner().invoke(build(), ["transcript", "diff", str(once.run), str(once.run)]).exit_code == 0
    assert CliRunner().invoke(build(), ["transcript", "show", str(once.run)]).exit_code == 0


def test_the_ledger_covers_nothing_with_it(once: Bench) -> None:
    audit = audit_run(Transcript.open(once.run, None), {})
    assert not audit.accepted and audit.replayed_steps == 0
    assert [(f.check, f.outcome.value) for f in audit.findings] == [("transcript.audit", "inconclusive")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--", "python"), "names no program"),
        (("--", "python", "-c", "print(1)"), "in no file"),
        (("--", "python", "nowhere.py"), "is not there"),
        (("--", "/bin/true"), "no Python program"),
        (("--data", "nowhere", "--", "python", "program.py"), "is not there"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_it_runs(itself: Bench, words: tuple[str, ...], message: str) -> None:
    (itself.folder / "program.py").write_text("print(1)\n")
    ended = itself.record(*words)
    assert (ended.returncode, ended.stdout) == (2, "") and message in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("program", "arguments"), ["/etc/passwd"]),
        (("program", "variables"), {"LD_PRELOAD": "x.so"}),
        (("program", "variables"), {"WEIGHBRIDGE_REPLAY": "x"}),
        (("data", "files"), {"/proc/self/mem": ["ab" * 32, 1]}),
        (("data", "files"), {"rows.txt": ["ab" * 32, 1]}),
        (("data", "files"), {"/a": "x"}),
        (("loop", "steps"), 5),
        (("loop", "mode"), "other"),
    ],
)
def test_an_opening_that_asks_for_more_is_refused(reading: Bench, field: tuple[str, str], value: Any) -> None:
    path = reading.run / "opening.json"
    opening = json.loads(path.read_text())
    opening["contents"][field[0]][field[1]] = value
    path.write_text(json.dumps(opening))
    found = Bench(reading.folder).verify()
    assert "fail" in {outcome for outcome, _ in found.values()}
    assert found.get("transcript.replay", ("fail", ""))[0] == "fail"


def test_files_of_data(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.bin").write_bytes(b"b" * 10)
    (tmp_path / "a.bin").write_bytes(b"a")
    both = DataFiles.read([tmp_path])
    assert [size for _, size in both.files.values()] == [1, 10]
    assert both.root == DataFiles.read([tmp_path / "more", tmp_path / "a.bin"]).root
    assert {str(bind.place) for bind in DataFiles.binds(both.describe())} == set(both.files)
    (tmp_path / "a.bin").write_bytes(b"c")
    with pytest.raises(EvidenceError, match="not the file"):
        DataFiles.binds(both.describe())
    (tmp_path / "a.bin").unlink()
    with pytest.raises(InputError, match="not there"):
        DataFiles.binds(both.describe())


def test_the_hooks_come_off() -> None:
    class Nobody:
        """An engine that is never told of anything."""

    before = torch.autograd.backward
    observer = Observer(Nobody(), failed=print)  # type: ignore[arg-type]
    assert module._global_forward_pre_hooks and optimizer._global_optimizer_pre_hooks
    assert torch.autograd.backward is not before
    observer.close()
    assert not module._global_forward_pre_hooks and not optimizer._global_optimizer_pre_hooks
    assert torch.autograd.backward is before


def test_a_scaler_s_infinities_are_no_losses_without_a_number(bench: Bench) -> None:
    script = bench.folder / "scaled.py"
    script.write_text(
        "import torch\ntorch.manual_seed(0)\nmodel = torch.nn.Linear(3, 1)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "scaler = torch.amp.GradScaler('cpu', init_scale=2.0**127, growth_interval=4)\n"
        "for _ in range(20):\n    optimizer.zero_grad()\n    loss = (model(torch.ones(2, 3)) - 9).pow(2).mean()\n"
        "    scaler.scale(loss).backward()\n    scaler.step(optimizer)\n    scaler.update()\n"
    )
    assert bench.record("--stride", "2", "--", "python", script).returncode == 0
    steps = Transcript.open(bench.run, None).steps
    assert any("inf" in step["loss"] for step in steps.values())
    outcome, reason = bench.verify()["transcript.losses"]
    assert outcome == "pass" and "as scaled" in reason
    bench.rewrite(lambda lines: lines[0].pop("scaled"))
    assert bench.verify()["transcript.losses"][0] == "inconclusive"
