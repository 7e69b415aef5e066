"""Online reinforcement learning: rollouts that replay generates again, rollouts that it is given, and chosen ones."""

from typing import Any

import pytest

from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.verify import compare_replay

from .judging import worst
from .world import Ended, World, copied, rewrite, without_sandbox

pytestmark = pytest.mark.real


def trained(world: World, *, steps: int = 12, **config: Any) -> Ended:
    ended = world.project(programs=("policy.py",), steps=steps, batch_size=8, **config).train("policy.py", spool=True)
    assert ended.status == 0, ended.errors
    return ended


def judged(ended: Ended, legs: list[Leg] | None = None) -> dict[str, Outcome]:
    transcript = ended.open()
    walked = legs or [Leg(0, transcript.reached)]
    digests = {s for leg in walked for s in range(leg.start, leg.until + 1)} & set(transcript.digests)
    with without_sandbox(ended.project.world), replay(transcript, legs=walked, digests=digests) as outcome:
        return {name: found.outcome for name, found in worst(compare_replay(transcript, outcome)).items()}


@pytest.mark.parametrize("config", [{}, {"stale": True}])
def test_rollouts_of_a_policy_that_learns_are_generated_again(world: World, config: dict[str, Any]) -> None:
    ended = trained(world, steps=40, **config)
    rewards = ended.said["rewards"]
    assert sum(rewards[-10:]) > sum(rewards[:10])  # it is a policy gradient, and it learns
    found = judged(ended)
    assert (found["replay"], found["rollouts"]) == (Outcome.PASS, Outcome.PASS)
    told = [event.data["rollouts"] for event in ended.open().events if event.type == "step"]
    assert all(len(rollouts) == 1 and not rollouts[0]["kept"] for rollouts in told)
    generators = [rollouts[0]["generator"] for rollouts in told]
    assert len(set(generators)) == len(generators)  # salted: that a stale generator stayed the same does not show


def test_rollouts_are_generated_again_from_an_anchor(world: World) -> None:
    """The generators of random numbers are those of the anchor."""
    project = world.project(programs=("policy.py",), steps=12, batch_size=8)
    ended = project.train("policy.py", spool=True, faults={"freezes": [[6, "fetching"]]})
    anchor = next(str(e.data["anchor"]) for e in ended.open().events if e.type == "freeze")
    assert judged(ended, [Leg(6, 12, anchor)]) == {
        "replay": Outcome.PASS,
        "rollouts": Outcome.PASS,
        "replay-time": Outcome.PASS,
    }


def test_chosen_rollouts_are_caught_when_they_are_generated_again(world: World) -> None:
    found = judged(trained(world, chosen=True))
    assert found["replay"] is Outcome.FAIL


def test_kept_rollouts_are_replayed_as_data_and_may_have_been_chosen(world: World) -> None:
    """Bit for bit, the generators' states after them included; but nothing shows who made them."""
    for chosen in (False, True):
        found = judged(trained(world, keep=True, chosen=chosen))
        assert (found["replay"], found["rollouts"]) == (Outcome.PASS, Outcome.INCONCLUSIVE)


def test_a_kept_rollout_that_was_exchanged_is_caught(world: World) -> None:
    ended = trained(world, keep=True)
    with copied(ended.run) as run:
        kept = sorted((run / "rollouts").iterdir())
        kept[3].write_bytes(kept[4].read_bytes())
        assert judged(Ended(0, "", "", ended.project, run))["replay"] is Outcome.FAIL


def test_a_generator_that_was_not_the_one_named_is_caught(world: World) -> None:
    ended = trained(world)

    def rename(events: list[dict[str, Any]]) -> None:
        steps = [event for event in events if event["type"] == "step"]
        steps[4]["rollouts"][0]["generator"] = "0" * 64

    with copied(ended.run) as run:
        rewrite(run, rename, signer=world.operator)
        assert judged(Ended(0, "", "", ended.project, run))["replay"] is Outcome.FAIL


def test_a_rollout_outside_the_loop_is_refused(world: World) -> None:
    project = world.project(programs=("policy.py",), steps=4, batch_size=8)
    source = (project.folder / "policy.py").read_text()
    outside = "    run.rollout(lambda: torch.zeros(1), generator=Policy())\n    for batch in run:"
    (project.folder / "policy.py").write_text(source.replace("    for batch in run:", outside))
    ended = project.train("policy.py")
    assert ended.status == 2 and "inside the loop" in ended.errors
