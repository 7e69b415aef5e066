"""An inspection on paper: real keys and statements in a log without files, so that each attack is one line."""

import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from weighbridge.app.institutions import Institutions
from weighbridge.evidence.certificates import Role, issue
from weighbridge.evidence.export import ExportedLog
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import sign_statement, verify_statement
from weighbridge.evidence.trust import LogKey
from weighbridge.ledger.account import Capacity
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.workspace import Logged, Workspace
from weighbridge.mechanisms.chip.record import KIND, NO_PREVIOUS, ChipRecord, encode_record
from weighbridge.mechanisms.registry.directory import sign_custody_event
from weighbridge.mechanisms.registry.epcis import Step
from weighbridge.rules import Rule

SECOND = 1_000_000_000
START = float(int(time.time()))
"""The log's clock when a paper inspection begins, Unix seconds: now, because certificates are made now."""

NONCE_KEY = bytes(range(32))

RULE = Rule(
    id="paper.rule",
    name="A rule on paper",
    jurisdiction="paper",
    status="in force on paper",
    kind="training_run",
    metric="cumulative_training_flop",
    comparator=">",
    threshold=1e13,
    unit="FLOP",
    scope="every lineage",
    obligations=(),
    source="here",
    confidence="D",
    counting="us_ops_dense",
)


def policy(**changes: Any) -> Policy:
    """A plan: one processor does 1e11 FLOP/s."""
    values: dict[str, Any] = {
        "rule": RULE,
        "operators": ("Alder", "Birch"),
        "alpha": 0.05,
        "capacity": Capacity(1e11, "fp32"),
        "nonce_commitment": hashlib.sha256(NONCE_KEY).hexdigest(),
        "late_limit_s": 1.0,
        "cpu_ratio_limit": 1.5,
        "unexplained_limit_bytes": 1 << 20,
        "audits": None,
    }
    return Policy(**values | changes)


class PaperLog:
    """What an assessment asks of an exported log, besides its statements."""

    def __init__(self, key: LogKey) -> None:
        self.log_key, self.size, self.root = key, 0, bytes(32)

    def root_at(self, size: int) -> bytes:
        return hashlib.sha256(size.to_bytes(8, "big")).digest()


@dataclass
class Paper:
    """Institutions, operators, and a log that takes what it is told at the time it is told."""

    folder: Path
    people: Institutions
    operators: dict[str, FileSigner]
    clock: float = START
    logged: list[Logged] = field(default_factory=list)
    counter: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    def make(cls, folder: Path, *names: str) -> "Paper":
        people = Institutions.make(folder / "keys", origin="paper/log")
        return cls(folder, people, {name: people.operator(folder / f"{name}.pem", name) for name in names})

    def fresh(self) -> "Paper":
        """The same people, an empty log."""
        return Paper(self.folder, self.people, self.operators, counter=self.counter)

    def log(self, raw: bytes, *, at: float | None = None) -> Logged:
        """Takes a statement; the clock moves on by a tenth of a second, or to ``at`` seconds after the start."""
        self.clock = START + at if at is not None else self.clock + 0.1
        item = Logged(verify_statement(raw, self.people.roots), len(self.logged), self.clock)
        self.logged.append(item)
        return item

    def say(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        by: FileSigner | None = None,
        at: float | None = None,
        subject: str = "inspection",
        encoding: Literal["json", "cbor"] = "json",
    ) -> Logged:
        """Signs and logs a statement, by the inspector unless said otherwise."""
        signer = by or self.people.inspector
        return self.log(sign_statement(signer, kind=kind, subject=subject, payload=payload, encoding=encoding), at=at)

    def custody(
        self,
        step: Step,
        chip: str,
        party: str,
        other: str | None = None,
        *,
        by: str | None = None,
        serial: str | None = None,
        happened: float | None = None,
        at: float | None = None,
    ) -> Logged:
        """Logs a custody event, said to have happened when it is logged."""
        self.clock = START + at if at is not None else self.clock + 0.1
        when = self.clock if happened is None else START + happened
        signer = self.signer(by or party)
        raw = sign_custody_event(
            signer, step=step, chips=[chip], time=when, party=party, other=other, serial=serial, issued_at=int(when)
        )
        return self.log(raw, at=self.clock - START)

    def signer(self, name: str) -> FileSigner:
        others = {
            "Chip Works": self.people.maker,
            "Distributor": self.people.distributor,
            "Registrar": self.people.registrar,
            "Inspector": self.people.inspector,
        }
        return {**others, **self.operators}[name]

    def deliver(self, chip: str, operator: str, *, serial: str = "S1") -> None:
        """A chip's whole honest way to an operator."""
        self.custody(Step.MADE, chip, "Chip Works", serial=serial)
        self.custody(Step.SHIPPED, chip, "Chip Works", "Distributor")
        self.custody(Step.RECEIVED, chip, "Distributor", "Chip Works")
        self.custody(Step.SHIPPED, chip, "Distributor", operator)
        self.custody(Step.RECEIVED, chip, operator, "Distributor")

    def chip(self, **values: Any) -> "PaperChip":
        """Has the maker certify a chip."""
        signer = FileSigner.create(self.folder / f"chip-{next(self.counter)}.pem")
        der = issue(
            self.people.maker, self.people.maker.chain[0], public_key=signer.public_key, name="chip", role=Role.CHIP
        )
        return PaperChip(self, signer.with_chain((der, *self.people.maker.chain)), values)

    def plan(self, chosen: Policy | None = None) -> Logged:
        return self.say("inspection-plan", (chosen or policy()).as_payload())

    def close(self, *, at: float | None = None, key: bytes = NONCE_KEY) -> Logged:
        return self.say("inspection-close", {"nonce_key": key.hex()}, at=at)

    def workspace(self) -> Workspace:
        log = PaperLog(self.people.roots.log_key)
        log.size = len(self.logged)
        return Workspace.sort(self.folder, self.people.roots, cast(ExportedLog, log), self.logged)


@dataclass
class PaperChip:
    """A chip whose records are written by hand: what a chip with dishonest firmware, or with a past, would sign."""

    paper: Paper
    signer: FileSigner
    values: Mapping[str, Any]
    records: list[ChipRecord] = field(default_factory=list)
    logged: list[Logged] = field(default_factory=list)
    number: int = 0
    active: float = 0.0
    cpu: float = 0.0

    @property
    def id(self) -> str:
        return self.signer.key_id

    def add(self, reason: str, *, after: float = 0.0, cpu: float | None = None, **changes: Any) -> "PaperChip":
        """Adds a record ``after`` so many active seconds, in which ``cpu`` (default: as many) CPU seconds were used."""
        self.active += after
        self.cpu += after if cpu is None else cpu
        sample = reason == "sample"
        values: dict[str, Any] = {
            "chip": self.id,
            "sequence": self.records[-1].sequence + 1 if self.records else 0,
            "previous": NO_PREVIOUS,
            "boot": self.number,
            "reason": reason,
            "interval": 1,
            "rate_hz": 1.0,
            "active_ns": int(self.active * SECOND),
            "monotonic_ns": int(self.active * SECOND),
            "cpu_ns": int(self.cpu * SECOND),
            "cores": 1,
            "accounting": "cgroup2",
            "firmware": "ab" * 32,
            "host": "cd" * 32,
            "uid_separated": True,
        }
        if sample:
            digest = hashlib.sha256(b"sample%d" % len(self.records)).hexdigest()
            values |= {"link": digest, "due_active_ns": int(self.active * SECOND), "leaf_size": 4096}
            values |= {"root": digest, "salt_commitment": digest, "leaf_count": 10, "resident_bytes": 40960}
        if reason == "challenge":
            values |= {"accounting": "none", "cores": 0}
        record = ChipRecord(**values | dict(self.values) | changes)
        self.records.append(record)
        at = self.paper.clock - START + max(after, 0.001)
        self.logged.append(
            self.paper.say(KIND, encode_record(record), by=self.signer, at=at, subject=self.id, encoding="cbor")
        )
        return self

    def boot(self, **changes: Any) -> "PaperChip":
        self.number += 1
        self.cpu = 0.0
        return self.add("boot", **changes)

    def samples(self, count: int, *, every: float = 1.0, **changes: Any) -> "PaperChip":
        for _ in range(count):
            self.add("sample", after=every, **changes)
        return self

    def shutdown(self, *, after: float = 1.0, **changes: Any) -> "PaperChip":
        return self.add("shutdown", after=after, **changes)

    def answer(self, nonce: str = "ab" * 16) -> "PaperChip":
        return self.add("challenge", nonce=nonce)

    def numbers(self, reason: str = "sample", boot: int | None = None) -> list[int]:
        return [r.sequence for r in self.records if r.reason == reason and boot in (None, r.boot)]


def audit(
    run: str,
    chip: PaperChip | str,
    claimed: Sequence[int] = (),
    *,
    boot: int = 1,
    segment: int = 0,
    steps: int = 100,
    step_cpu_s: float = 0.1,
    wrong: Sequence[int] = (),
    unseen: Sequence[int] = (),
    unexplained: int = 0,
    **changes: Any,
) -> dict[str, Any]:
    """An accepted audit that claims samples one by one and matched all but the wrong and the unseen."""
    name = chip if isinstance(chip, str) else chip.id
    claims = [
        {"segment": segment, "chip": name, "boot": boot, "first": n, "last": n, "step": i}
        for i, n in enumerate(claimed)
    ]
    records = [
        {
            "chip": name,
            "sequence": n,
            "steps": [0],
            "matched": n not in wrong,
            "share": 0.5 if n in wrong else 1.0,
            "weight_leaves": 10,
            "weight_matches": 5 if n in wrong else 10,
            "explained_bytes": {"weights": 40960},
            "zero_bytes": 0,
            "unexplained_bytes": unexplained,
            "read_bytes": 40960 + unexplained,
        }
        for n in claimed
        if n not in unseen
    ]
    values: dict[str, Any] = {
        "run": run,
        "chips": [name],
        "accepted": True,
        "findings": [],
        "records": records,
        "claims": claims,
        "spans": [{"segment": segment, "chip": name, "boot": boot, "steps": steps}] if claimed else [],
        "steps": steps,
        "replayed_steps": steps,
        "step_cpu_s": step_cpu_s,
        "flop_per_step": 1e9,
        "declared_flop_per_step": 1e9,
        "startup_cpu_s": 1.0,
        "baseline_bytes": 1000,
        "parent": None,
        "format": "fp32",
        "begins_as": [],
    }
    return values | changes
