"""Real programs of two ranks: the same to the bit when recorded, merged, and replayed together to the bit."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from transcript.ranks import Ranks, losses
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.group_record import GroupRecord
from weighbridge.mechanisms.transcript.group_replay import replay_group
from weighbridge.mechanisms.transcript.group_verification import compare_group
from weighbridge.mechanisms.transcript.logical_digest import LogicalSum
from weighbridge.mechanisms.transcript.merging import Joined, folders_of, group_of, join
from weighbridge.mechanisms.transcript.replay import Replay
from weighbridge.mechanisms.transcript.state import TrainingState

pytestmark = pytest.mark.real

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def ddp(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    bench = Ranks(tmp_path_factory.mktemp("ddp") / "work")
    bench.folder.mkdir()
    recorded = bench.recorded("replicated", "accumulate")
    assert recorded.returncode == 0, recorded.stderr
    assert "NOT RECORDED" not in recorded.stderr
    (bench.folder / "said").write_text(recorded.stdout)
    return bench


@pytest.fixture(scope="module")
def fsdp(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    bench = Ranks(tmp_path_factory.mktemp("fsdp") / "work")
    bench.folder.mkdir()
    recorded = bench.recorded("sharded")
    assert recorded.returncode == 0, recorded.stderr
    assert "NOT RECORDED" not in recorded.stderr
    (bench.folder / "said").write_text(recorded.stdout)
    return bench


def _replayed(bench: Ranks) -> Iterator[tuple[Ranks, list[Replay], int]]:
    ranks = [bench.open(0), bench.open(1)]
    until = ranks[0].reached
    with replay_group(ranks, until=until) as outcomes:
        yield bench, outcomes, until


@pytest.fixture(scope="module")
def ddp_replayed(ddp: Ranks) -> Iterator[tuple[Ranks, list[Replay], int]]:
    yield from _replayed(ddp)


@pytest.fixture(scope="module")
def fsdp_replayed(fsdp: Ranks) -> Iterator[tuple[Ranks, list[Replay], int]]:
    yield from _replayed(fsdp)


def judged(replayed: tuple[Ranks, list[Replay], int]) -> tuple[Joined, list[Finding]]:
    """Merges the ranks as they now are, and compares them with the replay."""
    bench, outcomes, until = replayed
    joined = join(folders_of([bench.folder / "runs"]), None, beside=bench.folder)
    return joined, compare_group(joined, outcomes, until)


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_losses_are_the_same_to_the_bit(name: str, request: pytest.FixtureRequest) -> None:
    bench: Ranks = request.getfixturevalue(name)
    plain = bench.plain(*{"ddp": ("replicated", "accumulate"), "fsdp": ("sharded",)}[name])
    assert plain.returncode == 0, plain.stderr
    assert losses((bench.folder / "said").read_text()) == losses(plain.stdout)
    assert plain.stdout.count("\n") == 24


def test_ddp_is_merged_verified_shown_and_listed(ddp: Ranks) -> None:
    found = ddp.merged()
    assert {outcome for outcome, _ in found.values()} == {"pass"}, found
    assert "at 3 common steps (ddp)" in found["group-weights"][1]
    status, said, verified = ddp.invoke("verify", ddp.folder / "merged")
    outcomes = {(f["check"], f["outcome"]) for f in verified["findings"]}
    assert status == 3, said  # bound to no log, with seeds of its own
    assert not [check for check, outcome in outcomes if outcome == "fail"]
    for check in ("replay", "group-replay", "group-members", "replay-time"):
        assert {o for c, o in outcomes if c == f"transcript.{check}"} == {"pass"}, check
    _, _, shown = ddp.invoke("show", ddp.folder / "merged")
    assert [member["run"][:16] for member in shown["members"]] == [ddp.rank(0).name, ddp.rank(1).name]
    _, _, listed = ddp.invoke("list", ddp.folder / "runs")
    assert {run["rank"] for run in listed["runs"]} == {"rank 0 of 2", "rank 1 of 2"}
    _, _, listed = ddp.invoke("list", ddp.folder)
    assert [entry["folder"] for entry in listed["others"] if entry["kind"] == "merged"] == ["merged"]


def test_one_rank_alone_is_told_to_be_merged_and_not_failed(ddp: Ranks) -> None:
    _, _, found = ddp.invoke("verify", ddp.rank(1))
    outcomes = {f["check"]: (f["outcome"], f["reason"]) for f in found["findings"]}
    assert outcomes["transcript.replay"][0] == "inconclusive"
    assert "rank 1 of 2" in outcomes["transcript.replay"][1] and "merge" in outcomes["transcript.replay"][1]


def _assembled(bench: Ranks, which: Callable[[list[Path]], Path]) -> tuple[dict[str, torch.Tensor], int]:
    """Returns weights and optimizer state put together from both ranks' anchors by hand, and their step."""
    states = [read_anchor(which(sorted((bench.rank(number) / "anchors").iterdir()))) for number in (0, 1)]
    whole = {}
    for name, tensor in states[0].tensors.items():
        if name.startswith(("model/parameter/", "optimizer/")):
            parts = [state.tensors[name] for state in states]
            whole[name] = torch.cat(parts) if name in states[0].plain["pieces"] else tensor
    return whole, states[0].plain["step"]


def test_logical_digests_of_shards_are_those_of_a_copy_that_is_whole(fsdp: Ranks) -> None:
    found = fsdp.merged()
    assert {outcome for outcome, _ in found.values()} == {"pass"}, found
    record = GroupRecord.read(fsdp.folder / "merged")
    group = group_of(fsdp.open(0))
    assert group is not None and record.wrapped == "fsdp2"
    for which in (min, max):
        whole, step = _assembled(fsdp, which)
        salt = group.salt(f"logical/{step}")
        for kind, prefix in (("weights", "model/"), ("optimizer", "optimizer/")):
            tensors = {name: tensor for name, tensor in whole.items() if name.startswith(prefix)}
            assert LogicalSum.of(tensors, salt=salt).digest == record.logical[step][kind]
    shapes = {name: tuple(tensor.shape) for name, tensor in whole.items() if name.startswith("model/")}
    assert shapes["model/parameter/0.weight"] == (13, 6)  # 7 rows and 6


@pytest.mark.parametrize("name", ["ddp_replayed", "fsdp_replayed"])
def test_all_ranks_replay_to_the_bit(name: str, request: pytest.FixtureRequest) -> None:
    joined, findings = judged(request.getfixturevalue(name))
    assert {f.outcome for f in findings} == {Outcome.PASS}, findings
    assert sum(f.check == "transcript.replay" for f in findings) == joined.record.world == 2


def _other_data(lines: Lines) -> None:
    lines[3]["batch"] = "ab" * 32
    lines[3]["group"]["batch"] = "cd" * 32


def _other_data_for_the_group(lines: Lines) -> None:
    lines[3]["group"]["batch"] = "cd" * 32


def _other_rate(lines: Lines) -> None:
    lines[1]["hyperparameters"]["optimizer"][0]["lr"] = 0.02


def _other_loss(lines: Lines) -> None:
    lines[2]["loss"][0] = (0.25).hex()


def _other_state(lines: Lines) -> None:
    next(line for line in lines[1:] if "state" in line)["state"] = "ab" * 32


@pytest.mark.parametrize("lie", [_other_data, _other_data_for_the_group, _other_rate, _other_loss, _other_state])
@pytest.mark.parametrize("name", ["ddp_replayed", "fsdp_replayed"])
def test_a_rank_that_tells_of_another_training_does_not_replay(
    name: str, lie: Callable[[Lines], None], request: pytest.FixtureRequest
) -> None:
    replayed = request.getfixturevalue(name)
    with replayed[0].kept():
        replayed[0].edit(1, lie)
        _, findings = judged(replayed)
    assert Outcome.FAIL in {f.outcome for f in findings}


def test_weights_swapped_in_one_shard_do_not_replay(fsdp_replayed: tuple[Ranks, list[Replay], int]) -> None:
    """The operator recomputes everything that a rank says of its last state, from a shard of other weights."""
    from weighbridge.mechanisms.transcript.anchors import write_anchor
    from weighbridge.mechanisms.transcript.group_notes import state_note

    bench, _, until = fsdp_replayed
    transcript = bench.open(1)
    group = group_of(transcript)
    assert group is not None
    with bench.kept():
        (path,) = (bench.rank(1) / "anchors").glob("*-end.safetensors")
        state = read_anchor(path)
        tensors = dict(state.tensors)
        name = "model/parameter/0.weight"
        tensors[name] = tensors[name].flip(0).contiguous()
        swapped = TrainingState(tensors, state.plain)
        write_anchor(path, swapped)

        def lie(lines: Lines) -> None:
            for line in lines:
                if (
                    "state" in line
                    and line["type"] in ("step", "end")
                    and line["step"] + (line["type"] == "step") == until
                ):
                    line["state"] = swapped.digest(transcript.salt(until)).hex()
                    line["group"] |= state_note(group, swapped, wrapped="fsdp2")

        bench.edit(1, lie)
        joined, findings = judged(fsdp_replayed)
        assert {f.outcome for f in joined.findings} == {Outcome.PASS}  # the shards fit together: only replay can tell
    failing = {f.check for f in findings if f.outcome is Outcome.FAIL}
    assert failing == {"transcript.replay", "transcript.group-replay"}


def test_a_journal_changed_after_merging_is_no_member(ddp: Ranks) -> None:
    ddp.merged()
    with ddp.kept():
        ddp.edit(0, _other_loss)
        _, _, found = ddp.invoke("verify", ddp.folder / "merged", "--segments", "0")
    outcomes = {f["check"]: (f["outcome"], f["reason"]) for f in found["findings"]}
    assert outcomes["transcript.group-members"] == ("fail", "the journal of rank 0 is not the one that was merged")


def test_ranks_in_another_place_are_found_beside_the_record(ddp: Ranks, tmp_path: Path) -> None:
    ddp.merged()
    shutil.copytree(ddp.folder / "merged", tmp_path / "handed" / "record")
    for number in (0, 1):
        shutil.copytree(ddp.rank(number), tmp_path / "handed" / ddp.rank(number).name)
    status, said, found = ddp.invoke("verify", tmp_path / "handed" / "record", "--segments", "0")
    assert status == 3 and json.dumps(found).count("journals that were merged") == 1, said
    shutil.rmtree(tmp_path / "handed" / ddp.rank(1).name)
    (tmp_path / "alone").mkdir()
    shutil.move(tmp_path / "handed" / "record", tmp_path / "alone" / "record")
    assert "is not there" in ddp.invoke("verify", tmp_path / "alone" / "record")[1]
