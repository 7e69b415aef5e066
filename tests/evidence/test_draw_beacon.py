"""Draws by a beacon: rounds that were really published, and every other round."""

from dataclasses import replace
from pathlib import Path

import drand_verify
import pytest
from typer.testing import CliRunner

from evidence.draw_world import (
    BEFORE,
    ROUND,
    ROUND_TIME,
    People,
    by_beacon,
    failed,
)
from weighbridge.app.main import build
from weighbridge.errors import EvidenceError
from weighbridge.evidence.beacon import QUICKNET
from weighbridge.evidence.draw_check import BEACON_LEAD, check_draw
from weighbridge.evidence.draw_folder import load_draw, save_receipt, save_statement
from weighbridge.evidence.draw_form import DRAW, FRAME
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.log import Log

# drand's default chain, pedersen-bls-chained: round, signature before it, signature.
CHAINED_ROUND = (
    72_785,
    "a609e19a03c2fcc559e8dae14900aaefe517cb55c840f6e69bc8e4f66c8d18e8a609685d9917efbfb0c37f058c2de88f"
    "13d297c7e19e0ab24813079efe57a182554ff054c7638153f9b26a60e7111f71a0ff63d9571704905d3ca6df0b031747",
    "82f5d3d2de4db19d40a6980e8aa37842a0e55d1df06bd68bddc8d60002e8e959eb9cfa368b3c1b77d18f02a54fe047b8"
    "0f0989315f83b12a74fd8679c4f12aae86eaf6ab5690b34f1fddd50ee3cc6f6cdf59e95526d5a5d82aaa84fa6f181e42",
)
# fastnet, bls-unchained-on-g1, quicknet's forerunner: its third round.
FASTNET_SIGNATURE = "8176555f90d71aa49ceb37739683749491c2bab15a46094b255289ed25cf8f01cdfb1fe8bd9cd5a19eb09448a3e53186"
FASTNET_KEY = (
    "a0b862a7527fee3a731bcb59280ab6abd62d5c0b6ea03dc4ddf6612fdfc9d01f01c31542541771903475eb1ec6615f8d"
    "0df0b8b6dce385811d6dcf8cbefb8759e5e616a3dfd054c928940766d9a5b9db91e3b697e5d70a975181e007f87fca5e"
)


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
    people.roots.save(tmp_path / "roots")
    printed = CliRunner().invoke(
        build(),
        ["inspect", "check-draw", str(folder), "--roots", str(tmp_path / "roots"), "--log", str(tmp_path / "log.db")],
    )
    assert printed.exit_code == (0 if order is Outcome.PASS else 1), printed.output
    next(folder.glob("draw-frame-*.receipt")).write_bytes(entry.receipt[:-1] + b"x")
    with pytest.raises(EvidenceError):
        load_draw(folder, people.roots)


DEFAULT_CHAIN = "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce"
FASTNET = "dbd506d6ef76e5f386f41c651dcb808c5bcbd75471cc4eafa3f4df7ad4e4c493"


def test_rounds_of_other_chains_are_what_they_say() -> None:
    """Else the next test would show nothing: both really were published, by the same people as quicknet's."""
    assert drand_verify.verify_mainnet(*CHAINED_ROUND) == (
        "8b676484b5fb1f37f9ec5c413d7d29883504e5b669f604a1ce68b3388e9ae3d9"
    )
    assert drand_verify.verify_bls_unchained_on_g1(3, FASTNET_SIGNATURE, FASTNET_KEY) == (
        "a4eb0ed6c4132da066843c3bfdce732ce5013eda86e74c136ab8ccc387b798dd"
    )


@pytest.mark.parametrize(
    ("chain", "number", "signature"), [(DEFAULT_CHAIN, 72_785, CHAINED_ROUND[2]), (FASTNET, 3, FASTNET_SIGNATURE)]
)
def test_a_real_round_of_another_chain_is_refused(people: People, chain: str, number: int, signature: str) -> None:
    """Announced openly, or slipped in for quicknet's round of the same number: old rounds can be chosen from."""
    world = by_beacon(people)
    honest = world.draws[0].payload
    world.freeze({"kind": "drand", "chain": chain, "round": number})
    assert world.frame is not None
    forged = {**honest, "frame": world.frame.id, "source": {"round": number, "signature": signature}}
    world.draws = [people.say("ines", DRAW, forged)]
    failed(world, "source", "another beacon")
    world.freeze({"kind": "drand", "chain": QUICKNET.hash, "round": number})
    world.draws = [people.say("ines", DRAW, {**forged, "frame": world.frame.id})]
    assert world.check()["source"].outcome is Outcome.FAIL


def test_an_old_round_of_the_right_chain_shows_that_the_frame_came_after_it(people: People) -> None:
    """The list is chosen to fit a round that everybody knows: signature and seed are right, the order is not."""
    world = by_beacon(people)
    assert world.frame is not None
    world.times[world.frame.id] = ROUND_TIME + 86_400
    found = world.check()
    assert found["source"].outcome is found["selection"].outcome is Outcome.PASS
    failed(world, "order", "86400 s after round 1000 was known")
