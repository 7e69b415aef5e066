"""Anchors written while training goes on: what was, not what is; never more than two copies; faults come back."""

import threading
import time
from pathlib import Path

import pytest
import torch

from weighbridge.mechanisms.transcript import anchor_writer
from weighbridge.mechanisms.transcript.anchor_writer import AnchorWriter
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.state import TrainingState


def state(step: int, weights: torch.Tensor) -> TrainingState:
    return TrainingState({"w": weights}, {"step": step})


class Slow:
    """A disk that writes only when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.fails = False

    def __call__(self, path: Path, written: TrainingState) -> int:
        self.go.acquire()
        if self.fails:
            raise OSError(28, "No space left on device")
        return write_anchor(path, written)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    disk = Slow()
    monkeypatch.setattr(anchor_writer, "write_anchor", disk)
    return disk


def test_what_is_written_is_the_state_as_it_was(tmp_path: Path, slow: Slow) -> None:
    writer, weights = AnchorWriter(), torch.zeros(1000)
    writer.write(tmp_path / "a.safetensors", state(1, weights), in_place=False)
    weights += 1
    slow.go.release(1)
    writer.close()
    assert read_anchor(tmp_path / "a.safetensors").tensors["w"].sum() == 0
    assert writer.files == 1 and writer.written_bytes == (tmp_path / "a.safetensors").stat().st_size


def test_before_a_third_copy_the_training_waits(tmp_path: Path, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[TrainingState] = []
    copy = TrainingState.copy

    def copying(self: TrainingState) -> TrainingState:
        copies.append(copy(self))
        return copies[-1]

    monkeypatch.setattr(TrainingState, "copy", copying)
    writer = AnchorWriter()

    def train() -> None:
        for step in range(4):
            writer.write(tmp_path / f"{step}.safetensors", state(step, torch.zeros(10)), in_place=False)

    thread = threading.Thread(target=train)
    thread.start()
    for done in range(3):
        time.sleep(0.2)
        assert len(copies) == min(4, 2 + done) and thread.is_alive() == (done < 2)
        slow.go.release()
    slow.go.release(4)
    thread.join()
    writer.close()
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]
    assert writer.waited_s > 0.3


def test_in_place_there_is_no_copy_and_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingState, "copy", None)
    before = threading.active_count()
    writer = AnchorWriter()
    writer.write(tmp_path / "a.safetensors", state(1, torch.zeros(10)), in_place=True)
    monkeypatch.setattr(anchor_writer, "_available_bytes", lambda: 100)  # and where memory is short
    writer.write(tmp_path / "b.safetensors", state(2, torch.zeros(10)), in_place=False)
    assert threading.active_count() == before and writer.files == 2
    assert read_anchor(tmp_path / "b.safetensors").plain == {"step": 2}


def test_a_fault_meanwhile_comes_back_once(tmp_path: Path, slow: Slow) -> None:
    slow.fails = True
    writer = AnchorWriter()
    writer.write(tmp_path / "a.safetensors", state(1, torch.zeros(10)), in_place=False)
    writer.check()
    slow.go.release(9)
    with pytest.raises(OSError, match="No space"):
        writer.close()
    writer.check()
    assert not list(tmp_path.iterdir())
