"""Programs that train tensors of no module: recorded where that can be done, and said aloud where it cannot."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from transcript.bench import FOREIGN, Bench
from transcript.world import World
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.beside import CarriedGraph, LeafWatch
from weighbridge.mechanisms.transcript.free_tensors import FreeTensors, graph_of, leaves_of, roots_of
from weighbridge.mechanisms.transcript.transcript import Transcript

real = pytest.mark.real


@pytest.fixture
def bench(tmp_path: Path, world: World) -> Bench:
    return Bench(tmp_path, world.zygote)


@real
@pytest.mark.parametrize("way", ["in-place", "optimizer", "functional", "turns"])
def test_what_no_module_holds_is_recorded_and_replayed_to_the_bit(bench: Bench, way: str) -> None:
    script = bench.place("bare")
    plain = bench.python(script, way)
    recorded = bench.record("--stride", "5", "--anchor-every", "5", "--", "python", script, way)
    assert (plain.returncode, recorded.returncode) == (0, 0), plain.stderr + recorded.stderr
    assert recorded.stdout == plain.stdout and plain.stdout.count("0x") >= 25
    assert "NOT RECORDED" not in recorded.stderr
    found = bench.verify()
    steps = plain.stdout.count("0x")
    assert found["transcript.replay"][0] == "pass" and f"{steps} steps replayed" in found["transcript.replay"][1]
    assert "transcript.complete" not in found
    transcript = Transcript.open(bench.run, None)
    first, last = (read_anchor(bench.run / "anchors" / transcript.events[at].data["anchor"]).tensors for at in (0, -1))
    root = "model1" if way == "functional" else "model"
    held = [name for name in last if name.startswith(f"{root}/parameter/")]
    assert len(held) == {"functional": 4, "turns": 6}.get(way, 3)
    assert not any(torch.equal(first[name], last[name]) for name in held if name in first)
    # The last loss's own step is in it: the program's result, not what was there before it.
    assert transcript.steps[steps - 1]["loss"] == [plain.stdout.split()[-1]]


@real
def test_what_is_made_anew_in_each_step_is_followed_and_its_last_is_said_to_be_missing(bench: Bench) -> None:
    script = bench.place("bare")
    recorded = bench.record("--", "python", script, "anew")
    assert recorded.returncode == 0 and recorded.stdout == bench.python(script, "anew").stdout
    assert recorded.stderr.count("PART OF THE TRAINING IS NOT RECORDED") == 1
    found = bench.verify()
    assert found["transcript.replay"][0] == "pass" and found["transcript.complete"][0] == "inconclusive"
    digests = Transcript.open(bench.run, None).digests
    assert len(set(digests.values())) == len(digests) >= 3


@real
@pytest.mark.parametrize("way", ["in-place", "data", "anew", "late"])
def test_what_is_trained_by_hand_beside_a_module_is_said_aloud(bench: Bench, way: str) -> None:
    script = bench.place("beside")
    recorded = bench.record("--", "python", script, way)
    assert recorded.returncode == 0 and recorded.stdout == bench.python(script, way).stdout
    assert "PART OF THE TRAINING IS NOT RECORDED" in recorded.stderr
    outcome, reason = bench.verify()["transcript.complete"]
    assert outcome == "inconclusive" and f"leaves {2 if way == 'late' else 1} optimizers or tensors out" in reason


@real
def test_a_journal_that_keeps_silent_about_it_is_told_by_its_replay(bench: Bench) -> None:
    assert bench.record("--", "python", bench.place("beside"), "in-place").returncode == 0

    def silent(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            line.pop("unwatched", None)

    bench.rewrite(silent)
    found = bench.verify()
    assert found["transcript.complete"][0] == "inconclusive" and "when replayed" in found["transcript.complete"][1]
    assert found["transcript.replay"][0] == "pass"


@real
@pytest.mark.parametrize("way", ["attacked", "penalty", "meta"])
def test_leaves_that_are_not_trained_are_passed_over(bench: Bench, way: str) -> None:
    recorded = bench.record("--", "python", bench.place("beside"), way)
    assert recorded.returncode == 0 and "NOT RECORDED" not in recorded.stderr, recorded.stderr


@real
def test_strict_ends_the_program_where_it_trains_what_is_not_recorded(bench: Bench, tmp_path: Path) -> None:
    itself = Bench(tmp_path)
    ended = itself.record("--strict", "--", "python", itself.place("beside"), "in-place")
    assert ended.returncode == 3 and "strict was chosen" in ended.stderr and "Traceback" not in ended.stderr
    assert ended.stdout.count("0x") < 25


@real
def test_gradients_of_torch_func_are_not_claimed_to_be_recorded(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "transforms.py"
    script.write_text(
        "import torch\nw = torch.ones(3)\nslope = torch.func.grad(lambda w: (w - 2).pow(2).sum())\n"
        "for _ in range(9):\n    w = w - 0.1 * slope(w)\nprint(w.tolist())\n"
    )
    ended = Bench(tmp_path).record("--strict", "--bind", "--", "python", script)
    assert ended.returncode == 3 and "NOTHING WAS RECORDED" in ended.stderr and "torch.func" in ended.stderr
    listed = Bench(tmp_path).python("-m", "weighbridge", "transcript", "list", "runs")
    assert "EMPTY: was committed, and has no journal: nothing was recorded" in listed.stdout


def test_leaves_come_in_an_order_that_repeats_and_once_each() -> None:
    a, b, c = (torch.randn(3, requires_grad=True) for _ in range(3))
    constant = torch.randn(3)
    root = (a * b + constant).sum() + (b * c).sum() + a.sum()
    assert [id(leaf) for leaf in leaves_of([root])] == [id(leaf) for leaf in (a, b, c)]
    assert leaves_of([constant.sum()]) == []
    torch.utils.checkpoint.checkpoint(lambda v: v * 2, a, use_reentrant=True)  # a graph of Python's own nodes
    assert leaves_of([torch.utils.checkpoint.checkpoint(lambda v: v * 2, a, use_reentrant=True).sum()]) == [a]


def test_a_call_is_read_whichever_way_it_is_made() -> None:
    root = torch.ones(1, requires_grad=True).sum()
    for arguments, keywords in (
        ((root,), {}),
        (((root,),), {}),
        ((iter([root]),), {}),
        ((), {"outputs": root}),
        ((), {"tensors": iter([root])}),
    ):
        roots, arguments, keywords = roots_of(arguments, keywords)
        assert roots == (root,)
        given: Any = arguments[0] if arguments else next(iter(keywords.values()))
        assert given is root or list(given) == [root]  # still there to be handed on
    assert roots_of((), {})[0] == ()


def test_a_tensor_that_somebody_still_holds_keeps_its_place() -> None:
    kept, dropped = torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)
    held = FreeTensors([kept, dropped])
    del dropped
    anew = torch.full((2,), 3.0, requires_grad=True)
    assert held.follow([anew]) == 0 and held.moved
    assert [v.tolist() for v in held.parameters()] == [[0.0, 0.0], [3.0, 3.0]] and next(held.parameters()) is kept
    other = torch.full((5,), 4.0, requires_grad=True)
    assert held.follow([kept, other]) == 0  # met for the first time
    for _ in range(20):
        held.follow([kept, other])
    assert held.follow([kept, torch.zeros(7, requires_grad=True)]) == 1 and len(list(held.parameters())) == 3


def test_the_watch_looks_at_the_first_passes_and_then_at_one_of_ten_by_chance() -> None:
    """Which ones, no program can know before. A binomial with chance 26/256: six deviations to either side."""
    watch = LeafWatch()
    looked = [watch.due for _ in range(6012)]
    assert all(looked[:12]) and 470 < sum(looked[12:]) < 750
    assert [LeafWatch().due for _ in range(3)] == [True] * 3
    always = LeafWatch(always=True)
    assert all(always.due for _ in range(50))


@real
def test_what_is_trained_where_recording_did_not_look_is_told_by_the_replay(bench: Bench) -> None:
    script = bench.folder / "hiding.py"
    text = (FOREIGN / "beside.py").read_text()
    assert text.count('if way == "in-place":') == 1
    script.write_text(text.replace('if way == "in-place":', 'if way == "in-place" and step > 20:'))
    recorded = bench.record("--", "python", script, "in-place")

    def silent(lines: list[dict[str, Any]]) -> None:
        for line in lines:  # as if chance had passed over these
            line.pop("unwatched", None)

    assert recorded.returncode == 0
    bench.rewrite(silent)
    assert "when replayed" in bench.verify()["transcript.complete"][1]


def test_the_watch_tells_of_each_tensor_once() -> None:
    watch, w, still = LeafWatch(), torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)

    def look() -> int:
        return watch.look([w, still], recorded={}, inputs=())

    assert look() == 0
    w.data += 1
    assert (look(), look(), watch.found) == (1, 0, 1)
    w.data += 1
    assert look() == 0
    model = nn.Linear(4, 1)
    model.weight.data += 1
    assert watch.look(model.parameters(), recorded={id(p): p for p in model.parameters()}, inputs=()) == 0


def test_a_graph_grows_only_where_what_is_trained_keeps_it() -> None:
    def passes(carry: bool, losses: int = 1) -> list[bool]:
        watch, w = CarriedGraph(), torch.ones(3, requires_grad=True)
        part = (w * 3).exp()  # computed once, and gone back through by every pass
        told: list[bool] = []
        for step in range(8):
            shared = (w * part).tanh()
            roots = [(shared * number).sum() + shared.sum() for number in range(losses)]
            told += [watch.grows(graph_of([root])[1], step=step) for root in roots]
            w = w - 0.1 if carry else (w - 0.1).detach().requires_grad_()
        return told

    assert sum(passes(True)) == 1 and sum(passes(True, 3)) == 1
    assert not any(passes(False)) and not any(passes(False, 3))


def test_another_thread_s_passes_are_its_own(bench: Bench, tmp_path: Path) -> None:
    """The helper thread takes gradients first; the training is recorded all the same."""
    script = tmp_path / "threads.py"
    script.write_text(
        "import threading, torch\n"
        "def helper():\n    v = torch.ones(2, requires_grad=True)\n    (v * v).sum().backward()\n"
        "thread = threading.Thread(target=helper)\nthread.start()\nthread.join()\n"
        "torch.manual_seed(0)\nmodel = torch.nn.Linear(3, 1)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for _ in range(10):\n    optimizer.zero_grad()\n    loss = model(torch.ones(2, 3)).pow(2).mean()\n"
        "    loss.backward()\n    optimizer.step()\n"
    )
    assert threading.current_thread() is threading.main_thread()
    ended = bench.record("--", "python", script)
    assert ended.returncode == 0 and "10 steps recorded" in ended.stderr and "NOT RECORDED" not in ended.stderr
