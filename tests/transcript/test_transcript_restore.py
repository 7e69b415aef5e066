"""Replay from the seed and from anchors, for every kind of thing that a program may be made of.

The program runs in a fork, not in a sandbox: the sandbox has tests of its own.
"""

from typing import Any

import pytest
import torch

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.replay import _apart, replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.restoring import restore
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState, capture
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import compare_replay

from .world import RICH, Ended, World, without_sandbox

FREEZES = [[4, "fetching"], [7, "after"]]


def replayed(ended: Ended, legs: list[Leg], **options: Any) -> list[Finding]:
    transcript = ended.open()
    covered = {step for leg in legs for step in range(leg.start, leg.until + 1)}
    with (
        without_sandbox(ended.project.world),
        replay(transcript, legs=legs, digests=covered & set(transcript.digests), **options) as outcome,
    ):
        return compare_replay(transcript, outcome)


def check(findings: list[Finding], name: str) -> Finding:
    return next(f for f in findings if f.check == f"transcript.{name}")


def later_segments(transcript: Transcript) -> list[Leg]:
    return [leg for leg in segments_of(transcript) if leg.anchor is not None]


KINDS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.3},
    "batch norm": {"norm": True},
    "tied weights": {"tied": True},
    "momentum": {"optimizers": ["momentum"]},
    "no optimizer state": {"optimizers": ["sgd"]},
    "no optimizer": {"optimizers": [], "norm": True},
    "two optimizers": {"optimizers": ["adamw", "momentum"]},
    "micro-batches": {"micro": 2, "dropout": 0.1},
    "accumulation over steps": {"every": 3, "dropout": 0.1},
    "lambda": {"schedule": "lambda"},
    "one cycle": {"schedule": "onecycle"},
    "sequential": {"schedule": "sequential"},
    "chained": {"schedule": "chained"},
    "evaluation draws": {"evaluate": True, "dropout": 0.1},
    "everything": RICH | {"steps": 12, "every": 2, "tied": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_replay_reaches_the_same_states(world: World, kind: str) -> None:
    ended = world.project(**KINDS[kind]).train(faults={"freezes": FREEZES})
    assert ended.status == 0, ended.errors
    legs = later_segments(ended.open())
    assert legs and legs[0].start >= 4
    for walked in ([Leg(0, 2), *legs], legs[-1:]):
        finding = check(replayed(ended, walked), "replay")
        assert finding.outcome is Outcome.PASS, (walked, finding.reason)


def test_a_schedule_that_follows_the_losses_replays_from_the_seed_only(world: World) -> None:
    ended = world.project(schedule="plateau", rate=1.0).train(faults={"freezes": FREEZES})
    assert ended.status == 0, ended.errors
    assert "can be replayed from its seed only" in ended.errors
    assert check(replayed(ended, [Leg(0, 12)]), "replay").outcome is Outcome.PASS
    with pytest.raises(EvidenceError, match="cannot be brought to an anchor's step"):
        replayed(ended, later_segments(ended.open())[1:])


def test_flop_are_counted_by_one_more_step(world: World) -> None:
    ended = world.project().train()
    transcript = ended.open()
    with without_sandbox(world), replay(transcript, legs=[Leg(0, 2)], count_flop=True) as outcome:
        # Two layers, forward and twice that backward, two operations a weight and row.
        assert outcome.flop_per_step == 3 * 2 * 4 * (16 * 16 + 16 * 64)


def test_a_program_that_leaves_its_loop_can_be_replayed_as_far_as_it_went(world: World) -> None:
    ended = world.project(stop=7).train()
    transcript = ended.open()
    assert transcript.reached == 7
    with without_sandbox(world), replay(transcript, legs=[Leg(0, 7)], digests=[5], count_flop=True) as outcome:
        findings = compare_replay(transcript, outcome)
    assert check(findings, "replay").outcome is Outcome.PASS


def test_no_stretch_sees_the_anchor_of_another() -> None:
    """What is to come could be looked up there: each stretch has a sandbox of its own, but those that meet."""
    legs = [Leg(0, 5), Leg(5, 9, "a"), Leg(12, 15, "b"), Leg(20, 30, "c"), Leg(30, 40, "d")]
    assert _apart(legs) == [
        (Leg(0, 5), Leg(5, 9)),
        (Leg(12, 15, "b"),),
        (Leg(20, 30, "c"), Leg(30, 40)),
    ]


def test_a_sparse_gradient_is_put_back_and_what_makes_none_is_refused() -> None:
    def built() -> Subjects:
        torch.manual_seed(0)
        return Subjects({"model": torch.nn.EmbeddingBag(6, 2, sparse=True, mode="sum")}, {})

    subjects = built()
    (model,) = subjects.modules.values()
    model(torch.tensor([[1, 4]])).sum().backward()
    state = capture(subjects, step=3, gradients=subjects.carried(()))
    name = "model/gradient/weight/sparse"
    other = built()
    restore(other, state)
    back: Any = next(other.modules["model"].parameters()).grad
    gone: Any = next(model.parameters()).grad
    assert back.is_sparse and torch.equal(back.to_dense(), gone.to_dense())
    again = capture(other, step=3, gradients=other.carried(()))
    assert again.digest(bytes(32)) == state.digest(bytes(32))
    for broken in (
        {f"{name}/indices": torch.tensor([[1, 9]])},
        {f"{name}/indices": torch.tensor([1, 4])},
        {f"{name}/values": torch.ones(1, 2)},
    ):
        with pytest.raises(EvidenceError, match="no sparse tensor"):
            restore(built(), TrainingState({**state.tensors, **broken}, state.plain))
    for shape in ("6", [6, -2], None, [1 << 70, 2]):
        with pytest.raises(EvidenceError, match="no sparse tensor"):
            restore(built(), TrainingState(state.tensors, {**state.plain, f"{name}/shape": shape}))
    fewer = {key: tensor for key, tensor in state.tensors.items() if key != f"{name}/values"}
    with pytest.raises(EvidenceError, match="no sparse tensor"):
        restore(built(), TrainingState(fewer, state.plain))
