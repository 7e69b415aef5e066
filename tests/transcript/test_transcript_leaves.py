"""Leaves: which tensor differs at a committed digest, told from what lies beside the journal."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.leaves import LeafFile, leaves_at, read_leaves
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.state import TrainingState

from .world import Ended, without_sandbox

pytestmark = pytest.mark.real


def test_the_leaves_of_every_committed_digest_are_those_of_the_replayed_state(plain: Ended) -> None:
    transcript = plain.open()
    steps = sorted(transcript.digests)
    assert steps == [0, 5, 6, 10, 12]
    with (
        without_sandbox(plain.project.world),
        replay(transcript, legs=[Leg(0, 12)], captures=steps) as outcome,
    ):
        for step in steps:
            kept = leaves_at(transcript, step)
            assert kept == outcome.captured(step).leaves()
            assert "model/parameter/embed.weight" in kept and "generator/numpy" in kept


def test_one_changed_tensor_is_one_changed_leaf(plain: Ended) -> None:
    state = plain.open().state(str(plain.open().freezes[0].anchor))
    changed = {n: t.clone() for n, t in state.tensors.items()}
    changed["model/parameter/hidden.bias"].view(-1)[0] += 1
    other = TrainingState(changed, {**state.plain, "step": 99}).leaves()
    assert {n for n, leaf in state.leaves().items() if other[n] != leaf} == {"model/parameter/hidden.bias", "step"}
    with pytest.raises(EvidenceError, match="both a tensor and a plain value"):
        TrainingState(state.tensors, {**state.plain, "generator/torch": 1}).leaves()


def test_leaves_that_do_not_give_the_digest_are_not_believed(copy: Ended) -> None:
    path = copy.run / "leaves-0000.bin"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1  # the end's
    path.write_bytes(whole)
    assert leaves_at(copy.open(), 10)
    with pytest.raises(EvidenceError, match="no leaves that give the digest committed at step 12"):
        leaves_at(copy.open(), 12)
    with pytest.raises(EvidenceError, match="commits to no state at step 7"):
        leaves_at(copy.open(), 7)
    path.unlink()
    with pytest.raises(EvidenceError, match="ask the operator for the leaves"):
        leaves_at(copy.open(), 10)
    path.symlink_to("/dev/zero")
    with pytest.raises(EvidenceError, match="cannot be read"):
        leaves_at(copy.open(), 10)


def _written(path: Path) -> bytes:
    file = LeafFile(path)
    file.append(0, {"a": bytes(32), "b": b"1" * 32})
    file.append(5, {"a": b"2" * 32, "b": b"3" * 32})
    file.append(10, {"a": b"2" * 32, "c": b"4" * 32})
    file.close()
    assert path.stat().st_size == file.written_bytes and path.stat().st_mode & 0o077 == 0
    return path.read_bytes()


def test_cut_anywhere_the_whole_records_are_left(tmp_path: Path) -> None:
    path = tmp_path / "leaves-0000.bin"
    whole = _written(path)
    full = list(read_leaves(path))
    assert [step for step, _ in full] == [0, 5, 10] and full[2][1] == {"a": b"2" * 32, "c": b"4" * 32}
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found = list(read_leaves(path))
        assert found == full[: len(found)] and len(found) < 3


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_hostile_records_are_refused_in_words_or_read_as_something_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / f"hostile-{os.getpid()}.bin"
    path.unlink(missing_ok=True)
    whole = bytearray(_written(path))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=12))
    path.write_bytes(whole)
    try:
        for step, leaves in read_leaves(path):
            assert 0 <= step < 1 << 64 and all(len(leaf) == 32 for leaf in leaves.values())
    except EvidenceError as error:
        assert str(path) in str(error)
