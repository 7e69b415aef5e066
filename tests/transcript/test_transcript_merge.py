"""What does not belong together is refused, and what ranks contradict each other in is found, from journals alone."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from transcript.ranks import Ranks
from weighbridge.mechanisms.transcript.encoding import canonical

pytestmark = pytest.mark.real

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    bench = Ranks(tmp_path_factory.mktemp("once") / "work")
    bench.folder.mkdir()
    recorded = bench.recorded("sharded")
    assert recorded.returncode == 0, recorded.stderr
    assert "NOT RECORDED" not in recorded.stderr
    return bench


@pytest.fixture
def ranks(once: Ranks) -> Iterator[Ranks]:
    with once.kept() as bench:
        yield bench


def reopen(bench: Ranks, number: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Edits what a rank opened; nothing is signed here."""
    path = bench.rank(number) / "opening.json"
    opening = json.loads(path.read_text())
    change(opening["contents"])
    path.write_text(json.dumps(opening))


def another(bench: Ranks, number: int, change: Callable[[dict[str, Any]], None]) -> Path:
    """Adds a copy of a rank as another run."""
    copy = bench.folder / "runs" / ("0" * 16)
    shutil.copytree(bench.rank(number), copy)
    opening = json.loads((copy / "opening.json").read_text())
    change(opening["contents"])
    (copy / "opening.json").write_text(json.dumps(opening))
    return copy


def test_a_missing_rank_is_refused(ranks: Ranks) -> None:
    shutil.rmtree(ranks.rank(1))
    assert "1 of 2 are missing: rank 1" in ranks.refused()


def test_a_rank_named_twice_is_refused(ranks: Ranks) -> None:
    assert "is named twice" in ranks.refused(ranks.rank(0), ranks.rank(1), ranks.rank(0))


def test_two_runs_that_are_the_same_rank_are_refused(ranks: Ranks) -> None:
    another(ranks, 1, lambda contents: None)
    assert "is rank 1, and so is" in ranks.refused()


def test_a_rank_too_many_is_refused(ranks: Ranks) -> None:
    def extra(contents: dict[str, Any]) -> None:
        contents["config"]["group"] |= {"rank": 2, "world": 3}

    another(ranks, 1, extra)
    assert "groups of 2 and of 3 ranks" in ranks.refused()


def test_a_rank_of_another_run_is_refused(ranks: Ranks) -> None:
    def other(contents: dict[str, Any]) -> None:
        secret = "ab" * 32
        identifier = hashlib.sha256(b"weighbridge/group/1" + bytes.fromhex(secret)).hexdigest()
        contents["config"]["group"] |= {"secret": secret, "id": identifier}

    reopen(ranks, 1, other)
    assert "are of different runs" in ranks.refused()


def test_a_run_on_its_own_is_refused(ranks: Ranks) -> None:
    reopen(ranks, 1, lambda contents: contents["config"].pop("group"))
    # Read from the folder, since the rank can no longer be found by its opening.
    assert "is a run on its own" in ranks.refused()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda contents: contents["program"].update(arguments=["/x.py"]), "another program than rank 0 (arguments"),
        (lambda contents: contents["loop"].update(stride=4), "another loop than rank 0 (stride"),
        (lambda contents: contents["data"].update(root="ab" * 32), "another data than rank 0 (root"),
    ],
)
def test_a_rank_of_another_program_is_refused(ranks: Ranks, change: Any, words: str) -> None:
    reopen(ranks, 1, change)
    assert words in ranks.refused()


def test_a_rank_of_other_code_is_refused(ranks: Ranks) -> None:
    (ranks.rank(1) / "code" / "sharded.py").write_text("print(1)\n")
    assert "is not the code tree that was committed" in ranks.refused()


@pytest.mark.parametrize(
    "group",
    [
        {"rank": 2},
        {"rank": -1},
        {"world": 0},
        {"secret": "x"},
        {"id": "ab" * 32},
        {"variables": {"LD_PRELOAD": "x.so"}},
        {"variables": {"LOCAL_RANK": 1}},
        {"attempt": True},
        None,
    ],
)
def test_a_malformed_group_is_refused(ranks: Ranks, group: dict[str, Any] | None) -> None:
    def change(contents: dict[str, Any]) -> None:
        contents["config"]["group"] = group and contents["config"]["group"] | group

    folders = ranks.rank(0), ranks.rank(1)
    reopen(ranks, 1, change)
    said = ranks.refused(*folders)
    assert "config.group" in said if group else "on its own" in said


def test_another_environment_is_said(ranks: Ranks) -> None:
    reopen(ranks, 1, lambda contents: contents["environment"].update(threads=2))
    assert ranks.merged()["group-environment"][0] == "inconclusive"


def test_a_rank_with_fewer_steps_is_inconclusive(ranks: Ranks) -> None:
    def shorter(lines: Lines) -> None:
        del lines[8:]

    ranks.edit(1, shorter)
    outcome, reason = ranks.merged()["group-steps"]
    assert outcome == "inconclusive" and "rank 1 has 7 steps, others up to 12" in reason


def test_a_rank_that_did_not_end_is_inconclusive(ranks: Ranks) -> None:
    def unended(lines: Lines) -> None:
        lines.pop()

    ranks.edit(0, unended)
    ranks.edit(1, unended)
    outcome, reason = ranks.merged()["group-steps"]
    assert outcome == "inconclusive" and "rank 0 did not come to its own end" in reason


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ([[13, 6], 6, 13, 1, 2, 0, ""], "on no rank or on two"),
        ([[13, 6], 8, 13, 1, 2, 0, ""], "on no rank or on two"),
        ([[13, 6], 7, 12, 1, 2, 0, ""], "rows 12 to 13 on no rank"),
        ([[12, 6], 7, 12, 1, 2, 0, ""], "has shape [13, 6] on rank 0 and another elsewhere"),
        ([[13, 6], 7, 13, 1, 3, 0, ""], "pieces where [2, 3]"),
        ([[13, 6], 7, 13, 0, 2, 0, ""], "copies of piece 0"),
        (["x"], "lies in pieces on other ranks"),
    ],
)
def test_pieces_that_do_not_fit_together_fail(ranks: Ranks, piece: list[Any], words: str) -> None:
    def misfit(lines: Lines) -> None:
        lines[0]["group"]["pieces"]["model/parameter/0.weight"] = piece

    ranks.edit(1, misfit)
    outcome, reason = ranks.merged()["group-shards"]
    assert (outcome, words in reason) == ("fail", True), reason


def _strided(lines: Lines) -> dict[str, Any]:
    found: dict[str, Any] = next(line for line in lines if line["type"] == "step" and "state" in line)["group"]
    return found


def _other_whole(lines: Lines) -> None:
    _strided(lines)["sums"]["weights"]["whole"] = "ab" * 32


def _no_sum(lines: Lines) -> None:
    del _strided(lines)["sums"]["weights"]["sum"]


def _copy_of_the_first_piece(lines: Lines) -> None:
    _strided(lines)["part"] = [0, 2, 1]


def _no_number(lines: Lines) -> None:
    _strided(lines)["sums"]["weights"]["sum"] = "64:zz"


@pytest.mark.parametrize("lie", [_other_whole, _no_sum, _copy_of_the_first_piece, _no_number])
def test_ranks_that_do_not_make_one_model_fail(ranks: Ranks, lie: Callable[[Lines], None]) -> None:
    assert ranks.merged()["group-weights"][0] == "pass"
    ranks.edit(1, lie)
    assert ranks.merged()["group-weights"][0] == "fail"


def test_weights_that_nothing_keeps_alike_are_not_accused(ranks: Ranks) -> None:
    """Local SGD, say, is honest: its ranks differ between averages."""

    def unwrapped(lines: Lines) -> None:
        lines[0]["group"]["wrapped"] = "none"

    ranks.edit(0, unwrapped)
    ranks.edit(1, unwrapped)
    ranks.edit(1, _other_whole)
    outcome, reason = ranks.merged()["group-weights"]
    assert outcome == "inconclusive" and "may be honest" in reason


def test_tensors_without_a_logical_digest_are_said(ranks: Ranks) -> None:
    def faulty(lines: Lines) -> None:
        group = _strided(lines)
        group.clear()
        group |= {"fault": "model/parameter/0.weight: is cut as (Shard(dim=1),)"}

    ranks.edit(1, faulty)
    outcome, reason = ranks.merged()["group-weights"]
    assert outcome == "inconclusive" and "no logical digest" in reason


def test_the_same_batch_on_two_ranks_is_found(ranks: Ranks) -> None:
    journal = (ranks.rank(0) / "journal-0000.jsonl").read_text().splitlines()

    def copied(lines: Lines) -> None:
        lines[4]["group"]["batch"] = json.loads(journal[2])["group"]["batch"]

    ranks.edit(1, copied)
    outcome, reason = ranks.merged()["group-batches"]
    assert outcome == "inconclusive" and "1 of 24 batches" in reason


def test_a_record_is_never_replaced_and_is_read_strictly(ranks: Ranks) -> None:
    ranks.merged()
    assert "exists already" in ranks.invoke("merge", ranks.folder / "runs", "--out", ranks.folder / "merged")[1]
    path = ranks.folder / "merged" / "group.json"
    record = json.loads(path.read_text())
    for change in ({"world": 3}, {"extra": 1}, {"members": record["members"][::-1]}, {"group": "x"}, {"format": 2}):
        path.write_bytes(canonical(record | change))
        _, _, found = ranks.invoke("verify", ranks.folder / "merged", "--segments", "0")
        assert [(f["check"], f["outcome"]) for f in found["findings"]] == [("transcript.open", "fail")], change
    step = min(record["logical"])
    lied = record | {"logical": record["logical"] | {step: {"weights": "ab" * 32}}}
    path.write_bytes(canonical(lied))
    _, _, found = ranks.invoke("verify", ranks.folder / "merged", "--segments", "0")
    assert ("transcript.group-members", "fail") in [(f["check"], f["outcome"]) for f in found["findings"]]
