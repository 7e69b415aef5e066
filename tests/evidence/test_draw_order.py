"""From a seed to the items, by arithmetic that anybody can repeat."""

import hashlib
import json
from collections import Counter

from evidence.draw_world import (
    ALL,
    ROWS,
    Builder,
    People,
    by_beacon,
    by_vrf,
)
from weighbridge.evidence.draws import draw, draw_order, frame_seed
from weighbridge.evidence.vrf import vrf_verify


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
