"""Training in other threads and processes, at a program's exit, by the clock: recorded or said, never failed for it."""

from pathlib import Path
from typing import Any

import pytest

from transcript.bench import Bench
from transcript.world import World
from weighbridge.mechanisms.transcript.elsewhere import Elsewhere
from weighbridge.mechanisms.transcript.transcript import Transcript

real = pytest.mark.real


@pytest.fixture
def bench(tmp_path: Path, world: World) -> Bench:
    return Bench(tmp_path, world.zygote)


@pytest.fixture
def itself(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@real
@pytest.mark.parametrize("way", ["thread", "fork", "pool", "spawn"])
def test_what_trains_where_nothing_watches_is_said(itself: Bench, bench: Bench, way: str) -> None:
    script = itself.place("odd")
    plain = itself.python(script, way)
    recorded = itself.record("--", "python", script, way)
    assert recorded.returncode == 0 and sorted(recorded.stdout.split("\n")) == sorted(plain.stdout.split("\n"))
    assert "PART OF THE TRAINING IS NOT RECORDED" in recorded.stderr and "24 steps recorded" in recorded.stderr
    found = bench.verify()
    assert found["transcript.complete"][0] == "inconclusive" and found["transcript.replay"][0] == "pass"


@real
def test_strict_ends_with_3_where_a_process_trained_unwatched(itself: Bench) -> None:
    ended = itself.record("--strict", "--", "python", itself.place("odd"), "fork")
    assert ended.returncode == 3 and "Traceback" not in ended.stderr


@real
def test_processes_that_are_watched_for_themselves_are_not_missed(itself: Bench) -> None:
    script = itself.folder / "started.py"
    script.write_text(
        "import multiprocessing, torch\n"
        "def train():\n"
        "    torch.manual_seed(0)\n    model = torch.nn.Linear(3, 1)\n"
        "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    for _ in range(6):\n        optimizer.zero_grad()\n        model(torch.ones(2, 3)).sum().backward()\n"
        "        optimizer.step()\n"
        "if __name__ == '__main__':\n    train()\n"
        "    child = multiprocessing.get_context('fork').Process(target=train)\n    child.start()\n    child.join()\n"
    )
    recorded = itself.record("--", "python", script)
    assert recorded.returncode == 0 and recorded.stderr.count("6 steps recorded") == 2
    assert "NOT RECORDED" not in recorded.stderr


@real
def test_training_at_the_programs_exit_is_a_part_of_it(itself: Bench, bench: Bench) -> None:
    script = itself.place("odd")
    plain = itself.python(script, "exit")
    recorded = itself.record("--", "python", script, "exit")
    assert recorded.stdout == plain.stdout and plain.stdout.count("0x") == 17
    # A model built after the first step is in no state: it is said, and not passed over.
    assert "PART OF THE TRAINING IS NOT RECORDED" in recorded.stderr
    assert bench.verify()["transcript.complete"][0] == "inconclusive"


@real
def test_a_graph_that_is_carried_on_holds_what_no_state_does(bench: Bench) -> None:
    recorded = bench.record("--", "python", bench.place("odd"), "carried")
    assert recorded.returncode == 0 and "keeps the graph that it was made in" in recorded.stderr
    assert bench.verify()["transcript.complete"][0] == "inconclusive"

    def silent(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            line.pop("unwatched", None)

    bench.rewrite(silent)
    assert "when replayed" in bench.verify()["transcript.complete"][1]


@real
def test_sparse_gradients_are_recorded_and_replayed(bench: Bench) -> None:
    script = bench.place("odd")
    recorded = bench.record("--bind", "--stride", "3", "--anchor-every", "3", "--", "python", script, "sparse")
    assert recorded.returncode == 0 and "RECORDING STOPPED" not in recorded.stderr
    found = bench.verify()
    assert found["transcript.replay"][0] == "pass" and "transcript.complete" not in found


@real
def test_a_program_that_the_clock_stopped_is_met_but_for_what_it_drew_next(bench: Bench) -> None:
    recorded = bench.record("--stride", "4", "--", "python", bench.place("odd"), "clock")
    assert recorded.returncode == 0
    outcome, reason = bench.verify()["transcript.replay"]
    assert outcome == "pass" and "all but the generators" in reason
    state = Transcript.open(bench.run, None)
    bench.rewrite(lambda lines: lines[-1].update(state="ab" * 32))
    assert bench.verify()["transcript.replay"][0] == "fail" and state.reached > 3


@real
@pytest.mark.parametrize("bind", [(), ("--bind",)])
def test_seeds_by_the_clock_are_no_forgery(bench: Bench, bind: tuple[str, ...]) -> None:
    assert bench.record(*bind, "--", "python", bench.place("odd"), "seeds").returncode == 0
    found = bench.verify()
    assert found["transcript.replay"][0] == found["transcript.initial-state"][0] == "inconclusive"
    assert "clock" in found["transcript.replay"][1]


@real
def test_a_program_that_asks_for_the_same_seeds_and_begins_otherwise_still_fails(bench: Bench) -> None:
    assert bench.record("--bind", "--", "python", bench.place("odd"), "plain").returncode == 0
    script = bench.run / "code" / "odd.py"
    assert script.exists()
    bench.rewrite(lambda lines: lines[0].update(state="ab" * 32))
    found = bench.verify()
    assert found["transcript.replay"][0] == found["transcript.initial-state"][0] == "fail"


def test_one_backward_pass_is_no_training_and_a_second_is() -> None:
    told: list[int] = []
    elsewhere = Elsewhere(lambda: told.append(1))
    elsewhere.passed()
    assert not told
    elsewhere.passed()
    elsewhere.stepped()
    assert told == [1]
