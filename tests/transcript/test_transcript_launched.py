"""What starts the ranks: launchers by their own parsers, the program itself, and a launcher that starts them again."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from transcript.ranks import Ranks, losses
from transcript.world import World
from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.launchers import read_launcher
from weighbridge.mechanisms.transcript.ranks import Group
from weighbridge.mechanisms.transcript.transcript import Transcript

pytestmark = pytest.mark.real

ACCELERATE = ("launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--dynamo_backend", "no")


@pytest.fixture
def bench(tmp_path: Path) -> Ranks:
    found = Ranks(tmp_path / "work")
    found.folder.mkdir()
    return found


@pytest.mark.parametrize(
    ("words", "launcher", "options", "program"),
    [
        (
            "torchrun --nproc-per-node 2 a.py --lr 1",
            "torch.distributed.run",
            "--nproc-per-node 2 -m",
            "a.py --lr 1",
        ),
        ("torchrun --nproc_per_node=2 --standalone a.py -- x", "torch.distributed.run", None, "a.py x"),
        ("torchrun --nnodes 1 -- a.py x -- y", "torch.distributed.run", "--nnodes 1 -m", "a.py x -- y"),
        (
            "-m torch.distributed.run --nnodes 1 -m pack.age -m",
            "torch.distributed.run",
            "--nnodes 1 -m",
            "-m pack.age -m",
        ),
        ("torchrun a.py --nproc-per-node 3", "torch.distributed.run", "-m", "a.py --nproc-per-node 3"),
        ("accelerate launch --cpu a.py --cpu", "accelerate.commands.launch", "--cpu -m", "a.py --cpu"),
        ("accelerate-launch --num_processes 2 -m a.b", "accelerate.commands.launch", "--num_processes 2 -m", "-m a.b"),
    ],
)
def test_a_script_begins_where_the_launcher_says(words: str, launcher: str, options: str | None, program: str) -> None:
    found = read_launcher(words.split())
    assert found is not None and found.launcher == launcher
    assert options is None or found.options == tuple(options.split())
    assert found.program == tuple(program.split())


def test_other_programs_are_no_launchers() -> None:
    for words in ("a.py --nproc-per-node 2", "-m pack.age", "accelerate config", "-m torch.distributed.rpc"):
        assert read_launcher(words.split()) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("torchrun --nproc-per-node", "refuses its options: "),
        ("torchrun --nproc-per-node 2", "refuses its options: "),
        ("torchrun --no-python ls", "starts no Python program"),
        ("accelerate launch", "refuses its options: "),
    ],
)
def test_what_a_launcher_refuses_is_refused_before_it_runs(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_launcher(words.split())


def test_ranks_without_a_common_secret_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="share no secret"):
        Group.here(None)
    group = Group.here("ab" * 32)
    assert group is not None and (group.rank, group.world) == (1, 2)
    assert group.secret not in group.id and Group.of({"group": group.describe()}, where="") == group
    assert len({group.salt("a"), group.salt("b")}) == 2
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(InputError, match="no rank of a group"):
        Group.here("ab" * 32)
    monkeypatch.delenv("WORLD_SIZE")
    assert Group.here(None) is None


def held(bench: Ranks, plain: "subprocess.CompletedProcess[str]", recorded: "subprocess.CompletedProcess[str]") -> None:
    """The same losses; ranks that merge; a merged run that replays."""
    assert (plain.returncode, recorded.returncode) == (0, 0), recorded.stderr
    assert losses(recorded.stdout) == losses(plain.stdout) and plain.stdout.count("\n") >= 16
    found = bench.merged()
    assert {outcome for outcome, _ in found.values()} == {"pass"}, found
    _, _, verified = bench.invoke("verify", bench.folder / "merged")
    outcomes = [(f["check"], f["outcome"], f["reason"]) for f in verified["findings"]]
    assert not [one for one in outcomes if one[1] == "fail"], outcomes
    assert [outcome for check, outcome, _ in outcomes if check == "transcript.replay"] == ["pass"] * 2


def test_accelerate_launch(bench: Ranks) -> None:
    script = bench.place("accelerated_ranks")
    plain = bench.python("-m", "accelerate.commands.accelerate_cli", *ACCELERATE, script, OMP_NUM_THREADS="1")
    recorded = bench.recorded("accelerated_ranks", launcher=("accelerate", *ACCELERATE))
    held(bench, plain, recorded)


def test_ranks_that_the_program_starts_itself(bench: Ranks) -> None:
    plain = bench.python(bench.place("spawning"), OMP_NUM_THREADS="1")
    recorded = bench.recorded("spawning", launcher=("python",))
    assert "the 2 processes that it started were watched" in recorded.stderr
    assert "NOTHING WAS RECORDED" not in recorded.stderr
    held(bench, plain, recorded)


def test_a_rank_that_is_killed_leaves_readable_files(bench: Ranks) -> None:
    """No restart here: over gloo, torchrun's own fails now and then, with no recording at all."""
    launcher = ("torchrun", "--max-restarts", "0", "--nproc-per-node", "2")
    assert bench.recorded("replicated", "killed", launcher=launcher).returncode != 0
    folders = [bench.rank(0, 0), bench.rank(1, 0)]
    assert len(list((bench.folder / "runs").iterdir())) == 2
    for folder in folders:
        transcript = Transcript.open(folder, None)
        assert 6 <= transcript.reached <= 8  # killed in the eighth step; the other was told to end, and may say so
        last = transcript.segments[-1].events[-1].data
        assert last["type"] != "end" or (folder == folders[0] and not last["finished"])
    status, _, joined = bench.invoke("merge", *folders, "--out", bench.folder / "first")
    assert status == 3 and joined["attempt"] == 0
    _, _, verified = bench.invoke("verify", bench.folder / "first")
    replays = [f["outcome"] for f in verified["findings"] if f["check"] == "transcript.replay"]
    assert replays == ["pass", "pass"], verified


def test_ranks_bound_to_a_log_and_a_signed_merge(bench: Ranks, world: World) -> None:
    recorded = bench.recorded("sharded", launcher=(), **world.environment())
    assert recorded.returncode == 0, recorded.stderr
    key, out = world.folder / "keys" / "Operator.pem", bench.folder / "merged"
    words = ("--roots", world.roots_folder)
    status, said, _ = bench.invoke("merge", bench.folder / "runs", "--out", out, "--key", key, *words)
    assert status == 0, said
    outcomes = _signed(bench, *words)
    assert (
        outcomes["group-signed"] == outcomes["group-members"] == outcomes["journal"] == outcomes["receipts"] == "pass"
    )
    assert "fail" not in outcomes.values() and "binding" not in outcomes
    # Another operator's signature over the same record, and a record that was changed after it was signed.
    rival = world.folder / "keys" / "Rival.pem"
    bench.invoke("merge", bench.folder / "runs", "--out", bench.folder / "stolen", "--key", rival, *words)
    shutil.copy(bench.folder / "stolen" / "group.cose", out / "group.cose")
    assert _signed(bench, *words)["group-signed"] == "fail"
    (out / "group.cose").unlink()
    assert _signed(bench, *words)["group-signed"] == "inconclusive"
    # What a rank opened is what it committed to: its number cannot be changed afterwards.
    opening = bench.rank(1) / "opening.json"
    told = json.loads(opening.read_text())
    told["contents"]["config"]["group"]["rank"] = 0
    opening.write_text(json.dumps(told))
    assert "is not the one committed to" in bench.invoke("merge", bench.folder / "runs", "--out", out, *words)[1]


def _signed(bench: Ranks, *words: str | Path) -> dict[str, str]:
    _, _, found = bench.invoke("verify", bench.folder / "merged", "--segments", "0", *words)
    return {f["check"].removeprefix("transcript."): f["outcome"] for f in found["findings"]}
