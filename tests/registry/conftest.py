"""A small world: a maker, a distributor, two operators, a registrar, an inspector, and strangers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from weighbridge.evidence.certificates import Role, issue, issue_root
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.trust import LogKey, TrustRoots
from weighbridge.mechanisms.registry.directory import sign_custody_event
from weighbridge.mechanisms.registry.epcis import Step

T0 = 1_760_000_000.0
DAY = 86_400.0


@dataclass(frozen=True)
class World:
    folder: Path
    roots: TrustRoots
    signers: dict[str, FileSigner]

    def sign(
        self,
        step: Step,
        chip: str | list[str],
        day: float,
        party: str,
        other: str | None = None,
        *,
        by: str | None = None,
        serial: str | None = None,
        location: str | None = None,
        signed: float | None = None,
    ) -> bytes:
        return sign_custody_event(
            self.signers[by or party],
            step=step,
            chips=[chip] if isinstance(chip, str) else chip,
            time=T0 + day * DAY,
            party=party,
            other=other,
            serial=serial,
            location=location,
            issued_at=T0 + (day if signed is None else signed) * DAY,
        )

    def made(self, chip: str, day: float = 0, *, serial: str | None = None, by: str = "fab") -> bytes:
        return self.sign(Step.MADE, chip, day, by, serial=serial)

    def shipped(self, chip: str, day: float, party: str, to: str, **more: str) -> bytes:
        return self.sign(Step.SHIPPED, chip, day, party, to, **more)  # type: ignore[arg-type]

    def received(self, chip: str, day: float, party: str, sender: str, **more: str) -> bytes:
        return self.sign(Step.RECEIVED, chip, day, party, sender, **more)  # type: ignore[arg-type]

    def handed(self, chip: str, day: float, sender: str, receiver: str) -> list[bytes]:
        return [self.shipped(chip, day, sender, receiver), self.received(chip, day + 1, receiver, sender)]

    def delivered(self, chip: str, to: str = "alice", *, serial: str | None = None) -> list[bytes]:
        """Made on day 0, to the distributor on days 1 and 2, to the operator on days 3 and 4."""
        return [
            self.made(chip, serial=serial),
            *self.handed(chip, 1, "fab", "trader"),
            *self.handed(chip, 3, "trader", to),
        ]


PEOPLE = {
    "trader": Role.DISTRIBUTOR,
    "alice": Role.OPERATOR,
    "bob": Role.OPERATOR,
    "registrar": Role.REGISTRAR,
    "ines": Role.INSPECTOR,
}


def build(folder: Path) -> World:
    made: Callable[[str], FileSigner] = lambda name: FileSigner.create(folder / f"{name}.pem")  # noqa: E731
    start = T0 - 30 * DAY
    signers: dict[str, FileSigner] = {}
    roots = []
    for name, role in (("fab", Role.MAKER), ("foundry", Role.MAKER), ("body", Role.INSPECTORATE)):
        key = made(name)
        certificate = issue_root(key, name=name, role=role, not_before=start)
        roots.append(certificate)
        signers[name] = key.with_chain([certificate])
    for name, role in PEOPLE.items():
        key = made(name)
        certificate = issue(
            signers["body"], roots[2], public_key=key.public_key, name=name, role=role, not_before=start
        )
        signers[name] = key.with_chain([certificate])
    # A stranger under a root that nobody trusts, and a chip, which signs no custody events.
    key = made("stranger-root")
    own_root = issue_root(key, name="stranger-root", role=Role.MAKER, not_before=start)
    signers["stranger"] = key.with_chain([own_root])
    key = made("chip")
    certificate = issue(
        signers["fab"], roots[0], public_key=key.public_key, name=key.key_id, role=Role.CHIP, not_before=start
    )
    signers["chip"] = key.with_chain([certificate])
    trusted = TrustRoots(roots=tuple(roots), log_key=LogKey("test/log", signers["body"].public_key))
    trusted.save(folder / "roots")
    return World(folder, trusted, signers)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("world"))
