"""Draws in memory, of the year of a real beacon's round: each attack is one line against an honest draw."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from weighbridge.evidence.beacon import QUICKNET
from weighbridge.evidence.certificates import Role, issue, issue_root
from weighbridge.evidence.draw_check import check_draw
from weighbridge.evidence.draw_evidence import DrawEvidence
from weighbridge.evidence.draw_form import COMMITMENT, DRAW, FRAME, SHARE, Frame, share_commitment, vrf_input
from weighbridge.evidence.draw_value import Parties, draw_payload, given_by_shares, opened_share
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.population import Population
from weighbridge.evidence.statement import Statement, sign_statement, verify_statement
from weighbridge.evidence.trust import LogKey, TrustRoots
from weighbridge.evidence.vrf import vrf_prove, vrf_public_key

ROUND = 1000
SIGNATURE = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"
ROUND_TIME = float(QUICKNET.time_of(ROUND))
BEFORE = ROUND_TIME - 600
VRF_SECRET = hashlib.sha256(b"a key for draws").digest()
ROWS = [{"id": f"chip-{n:03}", "rack": f"R{n % 4}", "serial": f"SN{n:05}"} for n in range(40)]


def population(rows: list[dict[str, str]] = ROWS) -> Population:
    return Population.of(rows, salt=bytes(range(32)))


class People:
    """An inspectorate, its inspectors, and operators; certified since before the round."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        start = BEFORE - 86_400
        body = FileSigner.create(folder / "body.pem")
        root = issue_root(body, name="Body", role=Role.INSPECTORATE, not_before=start)
        self.body, self.signers = body, {}
        for name, role in (("ines", "inspector"), ("ivan", "inspector"), ("alder", "operator"), ("birch", "operator")):
            key = FileSigner.create(folder / f"{name}.pem")
            leaf = issue(body, root, public_key=key.public_key, name=name, role=role, not_before=start, days=1825)
            self.signers[name] = key.with_chain([leaf, root])
        self.roots = TrustRoots(roots=(root,), log_key=LogKey("test/log", body.public_key))

    def say(self, who: str, kind: str, payload: Mapping[str, Any], *, at: float = BEFORE) -> Statement:
        raw = sign_statement(self.signers[who], kind=kind, subject="draw", payload=payload, issued_at=at)
        return verify_statement(raw, self.roots)

    def id(self, who: str) -> str:
        return self.signers[who].key_id


@dataclass
class World:
    """One draw under way."""

    people: People
    items: Population = field(default_factory=population)
    commitments: list[Statement] = field(default_factory=list)
    shares: list[Statement] = field(default_factory=list)
    frame: Statement | None = None
    draws: list[Statement] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    log: list[Statement] | None = None

    def freeze(self, source: Mapping[str, Any], *, at: float = BEFORE, who: str = "ines", **changes: Any) -> Statement:
        values: dict[str, Any] = {
            "purpose": "visit",
            "period": "2023-08",
            "population": self.items.commitment,
            "size": len(self.items.items),
            "count": 6,
            "reserves": 3,
            "source": source,
            "reveal_by": None if source["kind"] == "drand" else int(BEFORE) + 86_400,
        }
        self.frame = self.people.say(who, FRAME, Frame(**values | changes).as_payload(), at=at)
        self.times[self.frame.id] = at
        return self.frame

    def commit(self, who: str, share: bytes, **changes: str) -> Statement:
        commitment = share_commitment(share, key_id=self.people.id(who))
        payload = {"purpose": "visit", "period": "2023-08", "commitment": commitment} | changes
        self.commitments.append(self.people.say(who, COMMITMENT, payload))
        return self.commitments[-1]

    def open(self, who: str, share: bytes, *, at: float = BEFORE + 60, frame: str | None = None) -> Statement:
        assert self.frame is not None
        payload = {"frame": frame or self.frame.id, "share": share.hex()}
        self.shares.append(self.people.say(who, SHARE, payload, at=at))
        return self.shares[-1]

    def given(self) -> dict[str, Any]:
        assert self.frame is not None
        frame = Frame.from_statement(self.frame)
        if frame.source["kind"] == "drand":
            return {"round": ROUND, "signature": SIGNATURE}
        if frame.source["kind"] == "commit-reveal":
            return given_by_shares(frame, self.frame.id, self.parties)
        share = self.parties.share_of(frame.source["challenger"], self.frame.id)
        proof = vrf_prove(VRF_SECRET, vrf_input(self.frame.id, opened_share(share)))
        return {"proof": proof.hex(), "share": share.id}

    def draw(self, **changes: Any) -> Statement:
        assert self.frame is not None
        frame = Frame.from_statement(self.frame)
        payload = draw_payload(self.frame, frame, self.items, self.given(), self.parties)
        self.draws.append(self.people.say("ines", DRAW, payload | changes, at=ROUND_TIME + 10))
        return self.draws[-1]

    @property
    def parties(self) -> Parties:
        return Parties(self.commitments, self.shares)

    def check(self, *, now: float = BEFORE + 3600, **changes: Any) -> dict[str, Finding]:
        """Returns the worst finding of each check."""
        assert self.frame is not None
        values: dict[str, Any] = {
            "frame": self.frame,
            "population": self.items,
            "parties": self.parties,
            "draws": self.draws,
            "logged_at": self.times,
            "log": self.log,
        }
        order = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL]
        findings = check_draw(DrawEvidence(**values | changes), now=now)
        return {f.check.removeprefix("draw."): f for f in sorted(findings, key=lambda f: order.index(f.outcome))}


def by_beacon(people: People) -> World:
    world = World(people)
    world.freeze({"kind": "drand", "chain": QUICKNET.hash, "round": ROUND})
    world.draw()
    assert world.frame is not None
    world.log = [world.frame, *world.draws]
    return world


def by_vrf(people: People) -> World:
    world = World(people)
    source = {"kind": "ecvrf", "key": vrf_public_key(VRF_SECRET).hex(), "challenger": people.id("alder")}
    world.freeze(source)
    world.open("alder", b"a" * 32)
    world.draw()
    assert world.frame is not None
    world.log = [world.frame, *world.draws]
    return world


def by_reveal(people: People) -> World:
    """Air-gapped: no log at all."""
    world = World(people)
    named = [world.commit("ines", b"i" * 32).id, world.commit("alder", b"a" * 32).id]
    world.freeze({"kind": "commit-reveal", "commitments": named})
    world.times.clear()
    world.open("ines", b"i" * 32)
    world.open("alder", b"a" * 32)
    world.draw()
    return world


Builder = Callable[[People], World]
ALL = pytest.mark.parametrize("build", [by_beacon, by_vrf, by_reveal])


def failed(world: World, check: str, words: str, *, now: float = BEFORE + 3600) -> None:
    finding = world.check(now=now)[check]
    assert finding.outcome is Outcome.FAIL, finding
    assert words in finding.reason, finding.reason
