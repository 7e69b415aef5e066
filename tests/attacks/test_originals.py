"""Each published attack succeeds against the proof of learning that it was made for, and a weak copy does not."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from weighbridge.attacks import pol_claims, pol_forging, pol_paths, pol_points, pol_start
from weighbridge.attacks.original import GENTLE, STEEP, Reproduction, honest_run, one_thread
from weighbridge.attacks.proof_of_learning import (
    PUBLISHED_PARAMETERS,
    Checkpoint,
    Recipe,
    Thresholds,
    distances,
    fresh,
    start_p_values,
    train,
    vector,
    verify,
)

pytestmark = pytest.mark.real

SUCCEEDING: list[Callable[[int], Reproduction]] = [
    pol_claims.changed_pixel,
    pol_claims.idle,
    pol_claims.other_data,
    pol_claims.other_labels,
    pol_claims.other_order,
    pol_claims.smuggled_rate,
    pol_claims.spoilt_buffers,
    pol_forging.forged_batches,
    pol_paths.evading_top,
    pol_paths.infinitesimal,
    pol_paths.straight_momentum,
    pol_start.claimed_start,
]


@pytest.mark.parametrize("attack", SUCCEEDING, ids=lambda attack: attack.__name__)
def test_succeeds_against_its_original_target(attack: Callable[[int], Reproduction]) -> None:
    with one_thread():
        seen = attack(0)
    assert seen.succeeded, seen.words
    assert seen.cost >= 0 and seen.words


@pytest.mark.parametrize("attack", [pol_points.directed_points, pol_points.quiet_points], ids=["directed", "quiet"])
def test_optimised_points_succeed_in_some_segments(attack: Callable[..., Reproduction]) -> None:
    with one_thread():
        seen = attack(0, segments=2)
    assert seen.succeeded, seen.words
    assert seen.cost > 1, "cheaper than training: the published attack is dearer"


# --- copies that were made weak: each is told from the real one


def test_points_that_are_not_optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pol_points, "_ROUNDS", 0)
    monkeypatch.setattr(pol_points, "_TURNS", 1)
    with one_thread():
        assert not pol_points.quiet_points(0, segments=2).succeeded


def test_a_path_of_too_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pol_paths, "_WITHIN", 3.0)
    with one_thread():
        assert not pol_paths.infinitesimal(0).succeeded


def test_momentum_that_is_not_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pol_paths, "_reach", lambda recipe: 1e9)
    with one_thread():
        assert not pol_paths.straight_momentum(0).succeeded


def test_honest_segments_that_are_not_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pol_paths, "_WITHIN", 100.0)
    with one_thread():
        assert not pol_paths.evading_top(0).succeeded


# --- the target itself


def test_an_honest_proof_holds_bit_for_bit() -> None:
    with one_thread():
        honest = honest_run(GENTLE, 0)
        verdict = verify(honest.proof, honest.images)
    assert verdict.accepted and verdict.furthest == 0
    assert honest.accuracy_of(honest.last) > 0.8


def test_a_jump_to_other_weights_is_rejected() -> None:
    with one_thread():
        honest = honest_run(STEEP, 0)
        other = Checkpoint({n: t + 0.3 for n, t in honest.last.network.items()}, honest.last.optimizer)
        forged = replace(honest.proof, checkpoints={**honest.proof.checkpoints, STEEP.steps: other})
        assert not verify(forged, honest.images).accepted


def test_top_looks_at_the_largest_changes_only() -> None:
    with one_thread():
        honest = honest_run(STEEP, 0)
        drawn = verify(honest.proof, honest.images, top=1)
    assert 2 <= len(drawn.replayed) < len(honest.proof.segments)
    moved = {s: distances(*(vector(honest.proof.checkpoints[x].network) for x in s))[1] for s in honest.proof.segments}
    assert max(moved, key=lambda segment: moved[segment]) in drawn.replayed


def test_the_cosine_that_is_none() -> None:
    """Twice the vector is "further" than itself by −1: the published distance divides by one length only."""
    one = torch.tensor([3.0, 4.0])
    assert distances(one, 2 * one) == pytest.approx((7.0, 5.0, 4.0, -1.0))


def test_resnet_20_has_its_published_size_and_thresholds() -> None:
    network, _ = fresh(Recipe(blocks=3, width=16), 0)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == PUBLISHED_PARAMETERS == 269_722  # He et al. 2016, table 6: 0.27 million
    assert len(start_p_values(network.state_dict())) == 21
    assert Thresholds.published(count) == Thresholds(l1=1000.0, l2=10.0, largest=0.1, cosine=0.001)


def test_training_is_repeatable() -> None:
    short = replace(GENTLE, steps=10)
    with one_thread():
        images = honest_run(GENTLE, 0).images
        ends = [vector(train(short, images, seed=3)[1].state_dict()) for _ in range(2)]
    assert torch.equal(*ends)
