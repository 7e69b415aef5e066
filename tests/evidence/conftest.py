"""A small world behind the real interfaces: a maker, an inspectorate, a log, and somebody in each role."""

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from evidence.draw_world import People
from weighbridge.evidence.certificates import issue, issue_root
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.statement import sign_statement
from weighbridge.evidence.trust import LogKey, TrustRoots

ORIGIN = "example.org/log"


@dataclass
class World:
    folder: Path
    maker: FileSigner
    body: FileSigner
    chip: FileSigner
    inspector: FileSigner
    operator: FileSigner
    log_signer: FileSigner
    roots: TrustRoots
    counter: Iterator[int] = field(default_factory=itertools.count)

    @property
    def maker_root(self) -> bytes:
        return self.roots.roots[0]

    @property
    def body_root(self) -> bytes:
        return self.roots.roots[1]

    def key(self) -> FileSigner:
        return FileSigner.create(self.folder / f"key-{next(self.counter)}")

    def state(
        self,
        signer: FileSigner | None = None,
        *,
        kind: str = "step",
        subject: str = "run-1",
        payload: Mapping[str, Any] | None = None,
        encoding: Literal["json", "cbor"] = "json",
    ) -> bytes:
        content = {"n": next(self.counter)} if payload is None else payload
        return sign_statement(signer or self.operator, kind=kind, subject=subject, payload=content, encoding=encoding)

    def states(self, count: int) -> list[bytes]:
        return [self.state() for _ in range(count)]

    def log(self, path: Path) -> Log:
        return Log.create(path, self.log_signer, origin=ORIGIN)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    maker = FileSigner.create(folder / "maker.key")
    maker_root = issue_root(maker, name="Maker One", role="maker")
    body = FileSigner.create(folder / "body.key")
    body_root = issue_root(body, name="Inspectorate", role="inspectorate")
    chip = FileSigner.create(folder / "chip.key")
    claims = {"schedule_commitment": "ab" * 32, "schedule_length": "4096"}
    chip = chip.with_chain(
        [
            issue(maker, maker_root, public_key=chip.public_key, name="chip-7", role="chip", claims=claims),
            maker_root,
        ]
    )
    people = {}
    for role in ("inspector", "operator"):
        key = FileSigner.create(folder / f"{role}.key")
        people[role] = key.with_chain([issue(body, body_root, public_key=key.public_key, name=f"{role} A", role=role)])
    log_signer = FileSigner.create(folder / "log.key")
    roots = TrustRoots(roots=(maker_root, body_root), log_key=LogKey(ORIGIN, log_signer.public_key))
    return World(
        folder=folder,
        maker=maker.with_chain([maker_root]),
        body=body.with_chain([body_root]),
        chip=chip,
        inspector=people["inspector"],
        operator=people["operator"],
        log_signer=log_signer,
        roots=roots,
    )


@pytest.fixture
def log(world: World, tmp_path: Path) -> Iterator[Log]:
    with world.log(tmp_path / "log.db") as opened:
        yield opened


def copy_log(source: Path, target: Path) -> None:
    """Copies a closed log with its HEAD."""
    for end in ("", "-wal", ".HEAD"):
        file = source.with_name(source.name + end)
        if file.exists():
            target.with_name(target.name + end).write_bytes(file.read_bytes())


def as_root() -> bool:
    return os.geteuid() == 0


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """An inspectorate and operators who draw."""
    return People(tmp_path_factory.mktemp("people"))
