"""Draws by commit-reveal and ECVRF: what each party may do, and what is found if it does otherwise."""

import pytest

from evidence.draw_world import (
    BEFORE,
    VRF_SECRET,
    Builder,
    People,
    World,
    by_reveal,
    by_vrf,
    failed,
)
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.vrf import vrf_public_key


def test_an_aborted_reveal_is_the_fault_of_whoever_did_not_open(people: People) -> None:
    world = by_reveal(people)
    world.draws, world.shares = [], world.shares[:1]
    assert world.check()["reveal"].outcome is Outcome.INCONCLUSIVE
    late = world.check(now=BEFORE + 2 * 86_400)["reveal"]
    assert (late.outcome, late.figure) == (Outcome.FAIL, 86_400.0)
    assert "aborted by alder" in late.reason
    with pytest.raises(EvidenceError, match="has opened no share"):
        world.draw()


def test_a_draw_without_the_other_partys_share_is_found(people: People) -> None:
    world = by_reveal(people)
    world.shares = world.shares[:1]
    failed(world, "source", "has opened no share")


def test_an_inspector_that_does_not_draw_when_challenged_has_aborted(people: People) -> None:
    world = by_vrf(people)
    world.draws, world.log = [], None
    assert world.check()["source"].outcome is Outcome.INCONCLUSIVE
    failed(world, "source", "ines has not drawn: the draw was aborted", now=BEFORE + 2 * 86_400 + 60)


def test_shares_that_are_all_open_are_drawn_from(people: People) -> None:
    world = by_reveal(people)
    world.draws = []
    assert world.check(now=BEFORE + 86_400)["source"].outcome is Outcome.INCONCLUSIVE
    failed(world, "source", "ines has not drawn: the draw was aborted", now=BEFORE + 3 * 86_400)


def test_a_share_opened_late_is_found(people: People) -> None:
    world = by_reveal(people)
    world.shares.pop()
    world.open("alder", b"a" * 32, at=BEFORE + 90_000)
    failed(world, "reveal", "may have seen the others'")


def test_another_share_than_committed_to_is_found(people: People) -> None:
    world = by_reveal(people)
    world.shares.pop()
    world.open("alder", b"b" * 32)
    failed(world, "source", "alder opened another share than it committed to")


@pytest.mark.parametrize("build", [by_reveal, by_vrf])
def test_two_shares_for_one_frame_are_found(people: People, build: Builder) -> None:
    world = build(people)
    world.open("alder", b"z" * 32)
    failed(world, "reveal", "two different shares")
    failed(world, "source", "two different shares")


def test_a_share_for_another_frame_does_not_serve(people: People) -> None:
    world = by_reveal(people)
    world.shares.pop()
    world.open("alder", b"a" * 32, frame="ab" * 32)
    failed(world, "source", "has opened no share")


def test_parties_are_two_and_commit_for_themselves(people: People) -> None:
    world = World(people)
    one, two = world.commit("ines", b"i" * 32), world.commit("ines", b"j" * 32)
    world.freeze({"kind": "commit-reveal", "commitments": [one.id, two.id]})
    failed(world, "reveal", "one party made two")
    copied = one.payload["commitment"]
    world = World(people)
    named = [world.commit("ines", b"i" * 32).id, world.commit("alder", b"?" * 32, commitment=copied).id]
    world.freeze({"kind": "commit-reveal", "commitments": named})
    world.open("ines", b"i" * 32)
    world.open("alder", b"i" * 32)
    with pytest.raises(EvidenceError, match="alder opened another share"):
        world.draw()
    with pytest.raises(InputError, match="two parties"):
        World(people).freeze({"kind": "commit-reveal", "commitments": [one.id]})


def test_a_commitment_to_another_draw_does_not_serve(people: People) -> None:
    world = World(people)
    named = [world.commit("ines", b"i" * 32).id, world.commit("alder", b"a" * 32, period="2023-07").id]
    world.freeze({"kind": "commit-reveal", "commitments": named})
    failed(world, "reveal", "committed to another draw")


def test_a_proof_by_another_key_or_for_another_share_is_found(people: People) -> None:
    world = by_vrf(people)
    given = world.draws.pop().payload["source"]
    world.draw(source={**given, "proof": "00" * 80})
    failed(world, "source", "no proper point")
    world.draws = []
    world.draw(source={**given, "share": "ab" * 32})
    failed(world, "source", "another share")
    world.draws = []
    world.draw(source={**given, "proof": "00"})
    failed(world, "source", "not a proof")


def test_nobody_challenges_itself(people: People) -> None:
    world = World(people)
    world.freeze({"kind": "ecvrf", "key": vrf_public_key(VRF_SECRET).hex(), "challenger": people.id("ines")})
    world.open("ines", b"i" * 32)
    with pytest.raises(EvidenceError, match="its own signer is the challenger"):
        world.draw()


def test_parties_without_an_inspector_are_refused(people: People) -> None:
    """Two operators who swap the inspector's commitment for one of their own would agree on the seed."""
    world = World(people)
    named = [world.commit("alder", b"a" * 32).id, world.commit("birch", b"b" * 32).id]
    world.freeze({"kind": "commit-reveal", "commitments": named})
    failed(world, "reveal", "no inspector is a party")
    world.open("alder", b"a" * 32)
    world.open("birch", b"b" * 32)
    with pytest.raises(EvidenceError, match="no inspector is a party"):
        world.draw()


@pytest.mark.parametrize("build", [by_reveal, by_vrf])
def test_a_draw_says_who_together_could_have_steered_it(people: People, build: Builder) -> None:
    reason = build(people).check()["source"].reason
    assert "only alder (operator) and ines (inspector) together could have steered it" in reason


@pytest.mark.parametrize("build", [by_reveal, by_vrf])
def test_a_share_that_reaches_the_log_late_undoes_no_draw(people: People, build: Builder) -> None:
    """The operator dislikes what was found, and brings its own old share to the log after the deadline."""
    world = build(people)
    share = next(s for s in world.shares if s.issuer == "alder")
    world.times[share.id] = BEFORE + 10 * 86_400
    assert world.check()["reveal"].outcome is Outcome.PASS


def test_a_share_dated_back_is_not_shown_to_be_in_time(people: People) -> None:
    """It says that it was opened in time; the draw by the other party, and the log, first saw it two days later."""
    world = by_reveal(people)
    (draw,) = world.draws
    world.draws = [people.say("ines", draw.kind, draw.payload, at=BEFORE + 2 * 86_400)]
    found = world.check(now=BEFORE + 3 * 86_400)["reveal"]
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "others saw it 86400 s late" in found.reason
    share = next(s for s in world.shares if s.issuer == "alder")
    world.times[share.id] = BEFORE + 600
    assert world.check(now=BEFORE + 3 * 86_400)["reveal"].outcome is Outcome.PASS
