"""Draws by a beacon, by ECVRF and by commit-reveal: the honest one holds, each attack on it is found."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evidence.draw_world import (
    BEFORE,
    ROUND,
    ROUND_TIME,
    ROWS,
    VRF_SECRET,
    People,
    World,
    by_beacon,
    by_reveal,
    by_vrf,
    population,
)
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.beacon import QUICKNET
from weighbridge.evidence.draw_check import BEACON_LEAD, check_draw
from weighbridge.evidence.draw_folder import load_draw, save_receipt, save_statement
from weighbridge.evidence.draw_form import DRAW, FRAME, Frame
from weighbridge.evidence.draws import draw, draw_order, frame_seed
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.jsontext import dump_json
from weighbridge.evidence.log import Log
from weighbridge.evidence.vrf import vrf_public_key, vrf_verify

Builder = Callable[[People], World]
ALL = pytest.mark.parametrize("build", [by_beacon, by_vrf, by_reveal])


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


def failed(world: World, check: str, words: str, *, now: float = BEFORE + 3600) -> None:
    finding = world.check(now=now)[check]
    assert finding.outcome is Outcome.FAIL, finding
    assert words in finding.reason, finding.reason


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
        failed(world, "single", "2 frames were logged for visit in 2023-08")
        world.log.remove(again)
        world.log.append(people.say("ines", DRAW, {**world.draws[0].payload, "drawn": []}))
        failed(world, "single", "2 draws were signed for one frame")


def test_a_frame_that_never_reached_the_log_is_found(people: People) -> None:
    world = by_beacon(people)
    world.log = []
    failed(world, "single", "not in the log")


def test_abandoned_frames_are_counted(people: People) -> None:
    world = by_beacon(people)
    assert world.frame is not None and world.log is not None
    world.log.append(people.say("ines", FRAME, {**world.frame.payload, "period": "2023-09"}))
    assert world.check()["single"].figure == 1.0


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


@pytest.mark.parametrize("ahead", [-60.0, 0.0, BEACON_LEAD - 1])
def test_a_round_known_when_the_frame_was_committed_is_found(people: People, ahead: float) -> None:
    world = by_beacon(people)
    assert world.frame is not None
    world.times[world.frame.id] = ROUND_TIME - ahead
    failed(world, "order", "was known")
    world.times.clear()
    assert world.check()["order"].outcome is Outcome.INCONCLUSIVE


def test_another_round_than_announced_is_found(people: People) -> None:
    world = by_beacon(people)
    world.draws = []
    other = "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92"
    world.draw(source={"round": 123, "signature": other})
    failed(world, "source", f"announces round {ROUND}, drawn with round 123")
    world.draws = []
    world.draw(source={"round": ROUND, "signature": other})
    failed(world, "source", "is not the beacon's")


def test_a_draw_from_another_frame_is_found(people: People) -> None:
    world, other = by_beacon(people), by_beacon(people)
    other.freeze({"kind": "drand", "chain": QUICKNET.hash, "round": ROUND}, period="2023-09")
    other.draws = []
    world.draws = [other.draw()]
    failed(world, "source", "from another frame")


def test_another_beacon_is_found(people: People) -> None:
    world = by_beacon(people)
    own = replace(QUICKNET, hash="ab" * 32)
    world.freeze({"kind": "drand", "chain": own.hash, "round": ROUND})
    world.draws = [people.say("ines", DRAW, {**world.draws[0].payload, "frame": world.frame.id})]  # type: ignore[union-attr]
    failed(world, "source", "another beacon")


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
    failed(world, "source", "ines has not drawn: the draw was aborted", now=BEFORE + 2 * 86_400)


def test_a_purpose_has_one_spelling(people: People) -> None:
    world = by_beacon(people)
    assert world.frame is not None and world.log is not None
    world.log.append(people.say("ines", FRAME, {**world.frame.payload, "purpose": "Visit"}))
    failed(world, "single", "2 frames were logged")
    with pytest.raises(EvidenceError, match="single spaces"):
        Frame.from_statement(people.say("ines", FRAME, {**world.frame.payload, "purpose": "visit "}))


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


def test_reserves_follow_the_sample_in_the_order_drawn() -> None:
    ids = [f"c{n}" for n in range(30)]
    order = draw_order(ids, 10, seed=b"s")
    assert [draw_order(ids, n, seed=b"s") for n in range(11)] == [order[:n] for n in range(11)]
    assert draw(ids, 4, seed=b"s") == sorted(order[:4])
    assert draw_order(ids[::-1], 10, seed=b"s") == order


def test_every_item_is_drawn_as_often() -> None:
    seeds = (
        frame_seed(n.to_bytes(32, "big"), source="drand", value=b"v", purpose="p", period="q") for n in range(6000)
    )
    first = Counter(draw_order(["a", "b", "c"], 1, seed=seed)[0] for seed in seeds)
    # Chi-square with two degrees of freedom: 13.8 is exceeded with chance 1e-3, and the seeds are fixed.
    assert sum((count - 2000) ** 2 / 2000 for count in first.values()) < 13.8


def test_fields_of_a_seed_do_not_run_together() -> None:
    one = frame_seed(b"f" * 32, source="drand", value=b"v", purpose="ab", period="c")
    assert one != frame_seed(b"f" * 32, source="drand", value=b"v", purpose="a", period="bc")
    assert len(one) == 32


@pytest.mark.parametrize(("logged", "order"), [(BEFORE, Outcome.PASS), (ROUND_TIME + 5, Outcome.FAIL)])
def test_a_round_of_the_beacon_from_a_folder_with_its_receipt(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: float, order: Outcome
) -> None:
    """The whole of it, offline: a real round, a frame that a log took when its clock said so, a folder."""
    world = by_beacon(people)
    assert world.frame is not None
    monkeypatch.setattr("weighbridge.evidence.log.time.time_ns", lambda: int(logged * 1e9))
    with Log.create(tmp_path / "log.db", people.body, origin="test/log") as log:
        (entry,) = log.append([world.frame.raw])
        log.append([world.draws[0].raw])
    monkeypatch.undo()
    folder = tmp_path / "draw"
    save_receipt(save_statement(folder, world.frame.raw, kind=FRAME), entry.receipt)
    save_statement(folder, world.draws[0].raw, kind=DRAW)
    (folder / "population.json").write_bytes(world.items.as_json())
    found = {f.check: f.outcome for f in check_draw(load_draw(folder, people.roots), now=ROUND_TIME + 60)}
    assert found["draw.order"] is order
    assert found["draw.source"] is found["draw.selection"] is Outcome.PASS
    next(folder.glob("draw-frame-*.receipt")).write_bytes(entry.receipt[:-1] + b"x")
    with pytest.raises(EvidenceError):
        load_draw(folder, people.roots)


def test_folders_of_draws_take_only_what_belongs_there(people: People, tmp_path: Path) -> None:
    world = by_reveal(people)
    assert world.frame is not None
    for statement in (*world.commitments, world.frame, *world.shares, *world.draws):
        save_statement(tmp_path / "draw", statement.raw, kind=statement.kind)
    (tmp_path / "draw" / "population.json").write_bytes(world.items.as_json())
    loaded = load_draw(tmp_path / "draw", people.roots)
    assert loaded.population == world.items
    assert loaded.draws[0].id == world.draws[0].id
    by_operator = people.say("alder", DRAW, world.draws[0].payload)
    path = save_statement(tmp_path / "draw", by_operator.raw, kind=DRAW)
    with pytest.raises(EvidenceError, match="is a draw by alder, operator"):
        load_draw(tmp_path / "draw", people.roots)
    path.unlink()
    (tmp_path / "draw" / "population.json").write_bytes(world.items.as_json().replace(b"R0", b"R 0", 1))
    assert load_draw(tmp_path / "draw", people.roots).population != world.items
    turned = {"items": [item.as_dict() for item in reversed(world.items.items)], "salt": world.items.salt.hex()}
    (tmp_path / "draw" / "population.json").write_bytes(dump_json(turned))
    with pytest.raises(EvidenceError, match="one order"):
        load_draw(tmp_path / "draw", people.roots)
    (tmp_path / "draw" / "population.json").write_bytes(b'{"items":[],"salt":""}')
    with pytest.raises(EvidenceError, match="not a population"):
        load_draw(tmp_path / "draw", people.roots)
    with pytest.raises(InputError, match="no such folder"):
        load_draw(tmp_path / "absent", people.roots)


@ALL
def test_a_stranger_recomputes_the_draw_from_the_documented_steps(people: People, build: Builder) -> None:
    """docs/statements.md, written out again with nothing but hashes: whoever changes a step changes the format."""
    world = build(people)
    assert world.frame is not None
    payload, source = world.frame.payload, world.draws[0].payload["source"]
    frame_id, sha256 = bytes.fromhex(world.frame.id), hashlib.sha256
    shares = {s.identity.key_id: bytes.fromhex(s.payload["share"]) for s in world.shares}
    if build is by_beacon:
        value = sha256(bytes.fromhex(source["signature"])).digest()
    elif build is by_vrf:
        alpha = b"weighbridge/draw-vrf/1\0" + frame_id + shares[payload["source"]["challenger"]]
        value = vrf_verify(bytes.fromhex(payload["source"]["key"]), bytes.fromhex(source["proof"]), alpha)
    else:
        value = sha256(
            b"weighbridge/draw-shares/1\0" + b"".join(bytes.fromhex(key) + shares[key] for key in sorted(shares))
        ).digest()
    words = [payload["source"]["kind"].encode(), value, payload["purpose"].encode(), payload["period"].encode()]
    fields = b"".join(len(field).to_bytes(4, "big") + field for field in (frame_id, *words))
    seed = sha256(b"weighbridge/frame-draw/1\0" + fields).digest()
    items = sorted(row["id"] for row in ROWS)
    numbers = (int.from_bytes(hashlib.shake_256(seed + j.to_bytes(8, "big")).digest(16), "big") for j in range(99))
    for place in range(9):
        left = len(items) - place
        number = next(n for n in numbers if n < 2**128 - 2**128 % left)
        items[place], items[place + number % left] = items[place + number % left], items[place]
    assert (world.draws[0].payload["drawn"], world.draws[0].payload["reserves"]) == (items[:6], items[6:9])

    nodes = [
        sha256(b"\0" + json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).digest()
        for row in sorted(ROWS, key=lambda row: row["id"])
    ]
    while len(nodes) > 1:
        paired = [sha256(b"\1" + nodes[n] + nodes[n + 1]).digest() for n in range(0, len(nodes) - 1, 2)]
        nodes = paired + nodes[len(nodes) & ~1 :]
    assert payload["population"] == sha256(b"weighbridge/population/1\0" + world.items.salt + nodes[0]).hexdigest()
    for commitment in world.commitments:
        key = commitment.identity.key_id
        made = sha256(b"weighbridge/draw-share/1\0" + bytes.fromhex(key) + shares[key]).hexdigest()
        assert commitment.payload["commitment"] == made
