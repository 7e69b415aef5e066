"""Draws by a beacon, by ECVRF and by commit-reveal: the honest one holds, each attack on it is found."""

import pytest

from evidence.draw_world import (
    ALL,
    ROUND_TIME,
    ROWS,
    Builder,
    People,
    by_beacon,
    by_reveal,
    by_vrf,
    failed,
    population,
)
from weighbridge.errors import EvidenceError
from weighbridge.evidence.draw_form import DRAW, FRAME, Frame
from weighbridge.evidence.draws import draw_order
from weighbridge.evidence.findings import Outcome


@ALL
def test_an_honest_draw_holds(people: People, build: Builder) -> None:
    found = build(people).check()
    assert {finding.outcome for finding in found.values()} == {Outcome.PASS}
    assert set(found) >= {"population", "order", "source", "seed", "selection", "single"}


@ALL
def test_a_late_change_of_the_population_is_found(people: People, build: Builder) -> None:
    world = build(people)
    moved = [{**ROWS[0], "rack": "R9"}, *ROWS[1:]]
    world.items = population(moved)
    failed(world, "population", "changed after it was frozen")
    world.items = population(ROWS[1:])
    failed(world, "population", "39 items, 40 were frozen")


@ALL
@pytest.mark.parametrize(
    "rows",
    [
        [*ROWS, {"id": "chip-900", "rack": "R0", "serial": "SN90000"}],
        [*ROWS[:-1], {**ROWS[-1], "id": "chip-900"}],
        [{**ROWS[0], "id": ROWS[1]["id"]}, {**ROWS[1], "id": ROWS[0]["id"]}, *ROWS[2:]],
        [{**row, "rack": "R0"} for row in ROWS],
        [{name: value for name, value in row.items() if name != "serial"} for row in ROWS],
    ],
    ids=["one more", "renamed", "names exchanged", "racks", "serial numbers dropped"],
)
def test_no_later_list_passes_for_the_frozen_one(people: People, build: Builder, rows: list[dict[str, str]]) -> None:
    world = build(people)
    world.items = population(rows)
    found = world.check()
    assert found["population"].outcome is Outcome.FAIL
    assert found["source"].outcome is Outcome.FAIL


def test_the_order_of_a_list_moves_nobody(people: People) -> None:
    assert population(ROWS[::-1]) == population(ROWS)


@ALL
def test_a_frame_changed_after_the_chance_draws_anew(people: People, build: Builder) -> None:
    """A frame signed again, with a chip left out, is another frame: no share, receipt or round is for it."""
    world = build(people)
    assert world.frame is not None
    first = world.frame
    world.items = population(ROWS[1:])
    world.freeze(first.payload["source"], at=ROUND_TIME + 5)
    world.log = [first, world.frame] if world.log is not None else None
    found = world.check(now=ROUND_TIME + 10)
    if build is by_beacon:
        assert "after round 1000 was known" in found["order"].reason
    else:
        assert "has not opened its share" in found["reveal"].reason
    assert found["source"].outcome is not Outcome.PASS
    if world.log is not None:
        assert found["single"].outcome is Outcome.FAIL


def test_a_second_draw_is_found(people: People) -> None:
    for build in (by_beacon, by_vrf):
        world = build(people)
        assert world.frame is not None and world.log is not None
        again = people.say("ivan", FRAME, {**world.frame.payload, "count": 7})
        world.log.append(again)
        failed(world, "single", "2 frames were signed for visit in 2023-08")
        world.log.remove(again)
        world.log.append(people.say("ines", DRAW, {**world.draws[0].payload, "drawn": []}))
        failed(world, "single", "2 draws were signed for one frame")


def test_a_frame_that_never_reached_the_log_is_found(people: People) -> None:
    world = by_beacon(people)
    world.log = []
    found = world.check()["single"]
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "the frame is not in it" in found.reason


def test_a_word_in_the_log_undoes_no_draw_that_was_made_without_one(people: People) -> None:
    """Operators may log commitments: one of them would else make every air-gapped draw count for nothing."""
    world = by_reveal(people)
    junk = world.commit("birch", b"junk", period="2030-01")
    world.commitments.remove(junk)
    world.log = [junk]
    assert world.check()["single"].outcome is Outcome.PASS


def test_another_frame_in_the_log_for_a_draw_made_without_one_is_found(people: People) -> None:
    world = by_reveal(people)
    assert world.frame is not None
    world.log = [people.say("ivan", FRAME, {**world.frame.payload, "count": 7})]
    failed(world, "single", "2 frames were signed for visit in 2023-08, by ines and ivan")


def test_abandoned_frames_are_counted(people: People) -> None:
    world = by_beacon(people)
    assert world.frame is not None and world.log is not None
    world.log.append(people.say("ines", FRAME, {**world.frame.payload, "period": "2023-09"}))
    found = world.check()["single"]
    assert found.figure == 1.0
    # 6 of 40 are drawn: one item stays undrawn with chance 0.85, with a choice of two draws 1 - 0.15^2 = 0.9775.
    assert "has chance 0.85, with a choice of 2 draws 0.978" in found.reason


def test_abandoned_commitments_are_counted(people: People) -> None:
    world = by_reveal(people)
    assert world.frame is not None
    world.log = [*world.commitments, world.frame, *world.shares, *world.draws]
    assert "abandoned" not in world.check()["single"].reason
    spare = world.commit("alder", b"another share, in case the first is bad")
    world.commitments.remove(spare)
    world.log.append(spare)
    assert "1 commitments to it were abandoned" in world.check()["single"].reason


def test_an_inspector_who_spoils_a_draw_is_named(people: People) -> None:
    world = by_beacon(people)
    assert world.frame is not None and world.log is not None
    world.log.append(people.say("ivan", FRAME, {**world.frame.payload, "count": 7}))
    failed(world, "single", "by ines and ivan")


def test_a_beacon_draw_that_nobody_makes_is_aborted(people: People) -> None:
    """Whoever froze the list knows the round like everybody else: silence after it is a choice."""
    world = by_beacon(people)
    world.draws = []
    assert world.check(now=ROUND_TIME + 3600)["source"].outcome is Outcome.INCONCLUSIVE
    failed(world, "source", "ines has not drawn: the draw was aborted", now=ROUND_TIME + 2 * 86_400)


def test_without_a_log_a_second_draw_cannot_be_excluded(people: People) -> None:
    for build, outcome in (
        (by_beacon, Outcome.INCONCLUSIVE),
        (by_vrf, Outcome.INCONCLUSIVE),
        (by_reveal, Outcome.PASS),
    ):
        world = build(people)
        world.log = None
        assert world.check()["single"].outcome is outcome


@ALL
def test_a_chosen_seed_is_found(people: People, build: Builder) -> None:
    world = build(people)
    honest = world.draws.pop().payload
    chosen = next(
        seed.hex()
        for seed in (bytes([n]) * 32 for n in range(256))
        if "chip-000" not in draw_order(world.items.ids, 9, seed=seed)
    )
    items = draw_order(world.items.ids, 9, seed=bytes.fromhex(chosen))
    world.draw(seed=chosen, drawn=items[:6], reserves=items[6:])
    failed(world, "seed", "does not follow")
    failed(world, "selection", "drawn and reserves are not")
    world.draws = []
    world.draw(drawn=[*honest["drawn"][1:], honest["reserves"][0]])
    failed(world, "selection", "drawn are not")
    world.draws = []
    world.draw(reserves=honest["reserves"][::-1])
    failed(world, "selection", "reserves are not")


def test_a_purpose_has_one_spelling(people: People) -> None:
    world = by_beacon(people)
    assert world.frame is not None and world.log is not None
    world.log.append(people.say("ines", FRAME, {**world.frame.payload, "purpose": "Visit"}))
    failed(world, "single", "2 frames were signed")
    with pytest.raises(EvidenceError, match="single spaces"):
        Frame.from_statement(people.say("ines", FRAME, {**world.frame.payload, "purpose": "visit "}))


def test_frames_are_read_strictly(people: People) -> None:
    frame = by_beacon(people).frame
    assert frame is not None
    for change, words in (
        ({"count": 41}, "more than the 40"),
        ({"count": True}, "whole number"),
        ({"reveal_by": 5}, "opened by a time"),
        ({"source": {"kind": "dice"}}, "is none of"),
        ({"source": {"kind": "drand", "chain": "x", "round": 1}}, "no round"),
        ({"population": "xyz"}, "not a digest"),
        ({"purpose": ""}, "purpose"),
        ({"more": 1}, "absent or unknown"),
    ):
        with pytest.raises(EvidenceError, match=words):
            Frame.from_statement(people.say("ines", FRAME, {**frame.payload, **change}))
