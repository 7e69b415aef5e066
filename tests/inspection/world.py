"""A small site: eight chips that answer, a draw by two parties, and an inspector with a laptop and no network."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from weighbridge.app.main import build
from weighbridge.evidence.certificates import Role, issue, issue_root
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import sign_statement
from weighbridge.evidence.trust import LogKey, TrustRoots
from weighbridge.mechanisms.chip.challenge import answer_challenge
from weighbridge.mechanisms.chip.setup import init_chip
from weighbridge.mechanisms.inspection.bundle import Bundle
from weighbridge.mechanisms.inspection.record import RECORD, VisitRecord

CHIPS, DRAWN, RESERVES = 8, 3, 2


def run(*arguments: object) -> Any:
    """Runs ``weighbridge inspect … --json``: an error as an exception, a status of 1 as what was printed."""
    result = CliRunner().invoke(build(), ["inspect", *map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code != 2, result.output
    return json.loads(result.stdout)


@dataclass(frozen=True)
class Site:
    """Everything on disk; visits are made in copies of it."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def key(self, who: str) -> Path:
        return self.folder / f"{who}.pem"

    @property
    def roots(self) -> TrustRoots:
        return TrustRoots.load(self.folder / "roots")

    @property
    def bundle(self) -> Bundle:
        return Bundle(self.folder / "visit")

    @property
    def drawn(self) -> list[str]:
        return [row["id"] for row in self.bundle.visit(self.roots).plan.items]

    @property
    def reserves(self) -> list[str]:
        return [row["id"] for row in self.bundle.visit(self.roots).plan.reserves]

    def copy(self, target: Path) -> "Site":
        shutil.copytree(self.folder, target)
        return Site(target)

    def serial(self, item: str) -> str:
        return str(self.bundle.visit(self.roots).plan.fact(item, "serial"))

    def record(self, what: str, item: str | None = None, *options: object, who: str = "ines") -> Any:
        about = () if item is None else ("--item", item)
        return run(
            "record", self.path("visit"), what, *about, *options, "--key", self.key(who), "--roots", self.path("roots")
        )

    def see(self, item: str, **changes: str) -> None:
        numbers = {"physical": self.serial(item), "digital": self.serial(item)} | changes
        self.record("serial", item, *(part for name, text in numbers.items() for part in ("--set", f"{name}={text}")))

    def challenge(self, item: str, *, nonce: str | None = None, by: str | None = None) -> None:
        answer = answer_challenge(self.path(f"chips/{by or item}"), nonce or self.nonces[item])
        self.record("challenge", item, "--file", f"answer={answer}")

    def read_out(self, item: str) -> None:
        self.record("readout", item, "--file", f"chip={self.path(f'chips/{item}')}")

    def verify(self, item: str) -> None:
        self.see(item)
        self.challenge(item)
        self.read_out(item)

    @property
    def nonces(self) -> dict[str, str]:
        found = json.loads(self.path("nonces.json").read_text())
        assert isinstance(found, dict)
        return found

    def close(self, who: str = "ines") -> Any:
        return run("close", self.path("visit"), "--key", self.key(who), "--roots", self.path("roots"))

    def check(self) -> Any:
        return run("check", self.path("visit"), "--roots", self.path("roots"))

    def inject(self, who: str = "ines", *, signed: float | None = None, **changes: Any) -> None:
        """Signs a record past the command's own checks, as a dishonest inspector would."""
        visit = self.bundle.visit(self.roots)
        assert visit.opening is not None and visit.opening_statement is not None
        values: dict[str, Any] = {
            "visit": visit.id,
            "sequence": len(visit.records),
            "previous": visit.records[-1][1].id if visit.records else visit.opening_statement.id,
            "at": visit.opening.at,
            "item": None,
            "what": "note",
            "details": {"text": "nothing"},
        }
        record = VisitRecord(**values | changes)
        raw = sign_statement(
            FileSigner.load(self.key(who)),
            kind=RECORD,
            subject=visit.id,
            payload=record.as_payload(),
            issued_at=record.at if signed is None else signed,
        )
        (self.path("visit/records") / f"{record.sequence:04}.cose").write_bytes(raw)


def outcomes(printed: Mapping[str, Any], check: str) -> list[tuple[str, str]]:
    """Returns outcome and reason of every finding of a check."""
    return [(f["outcome"], f["reason"]) for f in printed["findings"] if f["check"] == check]


def failing(printed: Mapping[str, Any]) -> dict[str, str]:
    """Returns the reason of the first failing finding of each check."""
    found: dict[str, str] = {}
    for finding in printed["findings"]:
        if finding["outcome"] == "fail":
            found.setdefault(finding["check"], finding["reason"])
    return found


def sign(site: Site, name: str, kind: str, change: Callable[[dict[str, Any]], object], *, at: float = 0) -> None:
    """Signs a statement of the visit again, changed, as the inspector who made it."""
    visit = site.bundle.visit(site.roots)
    old = {
        "plan.cose": visit.plan_statement,
        "opening.cose": visit.opening_statement,
        "close.cose": visit.close_statement,
    }
    statement = old[name]
    assert statement is not None
    payload = json.loads(statement.payload_bytes)
    change(payload)
    issued = statement.issued_at + at
    key = FileSigner.load(site.key("ines"))
    raw = sign_statement(key, kind=kind, subject=statement.subject, payload=payload, issued_at=issued)
    site.path(f"visit/{name}").write_bytes(raw)


def build_site(folder: Path) -> Site:
    """Makes keys, chips, a list of them, a draw by commit-reveal and an open visit."""
    folder.mkdir()
    body, maker = FileSigner.create(folder / "body.pem"), FileSigner.create(folder / "maker.pem")
    since = time.time() - 86_400
    root = issue_root(body, name="Body", role=Role.INSPECTORATE, not_before=since)
    maker_root = issue_root(maker, name="Maker", role=Role.MAKER)
    for name, role in (("ines", Role.INSPECTOR), ("ivan", Role.INSPECTOR), ("alder", Role.OPERATOR)):
        key = FileSigner.create(folder / f"{name}.pem")
        leaf = issue(body, root, public_key=key.public_key, name=name, role=role, not_before=since)
        key.with_chain([leaf, root])
    TrustRoots(roots=(root, maker_root), log_key=LogKey("test/log", body.public_key)).save(folder / "roots")
    (folder / "chips").mkdir()
    rows = ["chip,rack,serial"]
    for number in range(CHIPS):
        made = init_chip(folder / "chips" / "new", maker=maker, maker_chain=(maker_root,), rate_hz=1.0, length=16)
        made.directory.rename(folder / "chips" / made.chip)
        rows.append(f"{made.chip},R{number % 2},SN{number:04}")
    (folder / "chips.csv").write_text("\n".join(rows) + "\n")
    site = Site(folder)
    agreed = ("--purpose", "visit", "--period", "2026-11")
    for who in ("ines", "alder"):
        secret = ("--secret", folder / f"{who}.share")
        run("commit", folder / "draw", "--key", site.key(who), *agreed, *secret)
    by_ines = ("--key", site.key("ines"), "--roots", folder / "roots")
    counts = ("--count", DRAWN, "--reserves", RESERVES, "--source", "commit-reveal")
    run("frame", folder / "draw", "--list", folder / "chips.csv", *counts, *agreed, *by_ines)
    for who in ("ines", "alder"):
        secret = ("--secret", folder / f"{who}.share")
        run("reveal", folder / "draw", "--key", site.key(who), "--roots", folder / "roots", *secret)
    run("draw", folder / "draw", *by_ines)
    required = [part for name in ("serial", "challenge", "readout") for part in ("--require", name)]
    when = ("--notified", _now() - 3600)
    run("plan", folder / "visit", "--draw", folder / "draw", "--site", "Hall 4", *when, *required, *by_ines)
    opened = run("open", folder / "visit", "--place", "gate B", "--access", _now() - 60, *by_ines)
    (folder / "nonces.json").write_text(json.dumps(opened["nonces"]))
    return site


def _now() -> int:
    return int(time.time())
