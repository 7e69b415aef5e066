"""A maker, its chips on paper and on disk: each attack is one line against an honest chip."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weighbridge.evidence.certificates import Role, issue, issue_root
from weighbridge.evidence.keys import FileSigner, Signer
from weighbridge.evidence.statement import Statement, sign_statement, verify_statement
from weighbridge.evidence.trust import LogKey, TrustRoots
from weighbridge.mechanisms.chip.leaves import LeafTable, Mapping, Process, Run, page_digest
from weighbridge.mechanisms.chip.record import KIND, NO_PREVIOUS, ChipRecord, encode_record
from weighbridge.mechanisms.chip.schedule import HashChain, ScheduleTerms, chain_seed, gap_ns
from weighbridge.mechanisms.chip.setup import NewChip, init_chip

SECOND = 1_000_000_000


class World:
    """A maker and what a verifier trusts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.maker = FileSigner.create(folder / "maker.key")
        self.root = issue_root(self.maker, name="Maker", role=Role.MAKER)
        log = FileSigner.create(folder / "log.key")
        self.roots = TrustRoots(roots=(self.root,), log_key=LogKey("test.example/log", log.public_key))

    def chip(self, name: str = "chip", *, rate_hz: float = 5.0, length: int = 4096) -> NewChip:
        """Makes a chip on disk."""
        return init_chip(self.folder / name, maker=self.maker, maker_chain=(self.root,), rate_hz=rate_hz, length=length)

    def signer(self, name: str, terms: ScheduleTerms | None = None) -> FileSigner:
        """Makes a chip's key and certificate only."""
        signer = FileSigner.create(self.folder / f"{name}.key")
        claims = {} if terms is None else terms.claims()
        der = issue(self.maker, self.root, public_key=signer.public_key, name=name, role=Role.CHIP, claims=claims)
        return signer.with_chain((der, self.root))

    def verified(self, raw: bytes) -> Statement:
        """Verifies a record's statement."""
        return verify_statement(raw, self.roots, kind=KIND, role="chip")


class SeededSigner:
    """A key that is the same in every test run, so that schedules are too."""

    protection = "file"

    def __init__(self, seed: bytes, chain: tuple[bytes, ...] = ()) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.chain = chain
        self.public_key = self._key.public_key().public_bytes_raw()
        self.key_id = hashlib.sha256(self.public_key).hexdigest()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


class PaperChip:
    """An honest chip without processes; its records lie in a list and can be changed before they are judged."""

    def __init__(self, world: World, name: str = "paper", *, rate_hz: float = 1.0, length: int = 64) -> None:
        self.world = world
        self.seed = hashlib.sha256(name.encode()).digest()
        key = SeededSigner(self.seed)
        self.length, self.rate = length, rate_hz
        self.issued_at = int(time.time())  # fixed, so that signing again gives the same bytes
        self._chains: dict[int, HashChain] = {}
        commitment = self.chain(0, key.key_id).commitment
        terms = ScheduleTerms(commitment=commitment, length=length, rate_hz=rate_hz)
        der = issue(
            world.maker,
            world.root,
            public_key=key.public_key,
            name=name,
            role=Role.CHIP,
            claims=terms.claims(),
        )
        self.signer: Signer = SeededSigner(self.seed, (der, world.root))
        self.chip = key.key_id
        self.records: list[ChipRecord] = []
        self.honest: list[ChipRecord] = []
        self.tables: dict[int, LeafTable] = {}
        self.salts: dict[int, bytes] = {}
        self.boot_number = 0
        self.active = 0
        self.clock = 1000 * SECOND
        self.cpu = 0
        self.interval = 1
        self.due = self.gap(1)

    def chain(self, epoch: int, chip: str | None = None) -> HashChain:
        if epoch not in self._chains:
            seed = chain_seed(self.seed, chip=chip or self.chip, epoch=epoch)
            self._chains[epoch] = HashChain(seed, length=self.length)
        return self._chains[epoch]

    def link(self, interval: int) -> bytes:
        epoch, position = divmod(interval - 1, self.length)
        return self.chain(epoch).link(position + 1)

    def gap(self, interval: int) -> int:
        return gap_ns(self.link(interval), chip=self.chip, rate_hz=self.rate)

    def add(self, reason: str, **changes: Any) -> ChipRecord:
        values: dict[str, Any] = {
            "chip": self.chip,
            "sequence": len(self.records),
            "previous": NO_PREVIOUS,
            "boot": self.boot_number,
            "reason": reason,
            "interval": self.interval,
            "rate_hz": self.rate,
            "active_ns": self.active,
            "monotonic_ns": self.clock,
            "cpu_ns": self.cpu,
            "cores": 1,
            "accounting": "cgroup2",
            "firmware": "ab" * 32,
            "host": "cd" * 32,
            "uid_separated": True,
        }
        record = ChipRecord(**values | changes)
        self.records.append(record)
        return record

    def boot(self) -> "PaperChip":
        self.boot_number += 1
        self.clock += 5 * SECOND
        self.cpu = 0
        self.add("boot")
        return self

    def run(self, nanoseconds: int) -> None:
        self.active += nanoseconds
        self.clock += nanoseconds
        self.cpu += nanoseconds

    def end_interval(self) -> dict[str, Any]:
        ended = self.interval
        self.interval += 1
        self.due += self.gap(self.interval)
        last = ended % self.length == 0
        commitment = self.chain(ended // self.length).commitment.hex() if last else ""
        return {"interval": ended, "link": self.link(ended).hex(), "next_commitment": commitment}

    def sample(self, count: int = 1, *, late_ns: int = 1_000_000, **changes: Any) -> "PaperChip":
        for _ in range(count):
            self.run(max(0, self.due + late_ns - self.active))
            sequence, due = len(self.records), self.due
            table = paper_table(sequence)
            salt = hashlib.sha256(b"salt%d" % sequence).digest()
            self.tables[sequence], self.salts[sequence] = table, salt
            values = {
                "due_active_ns": due,
                "late_ns": self.active - due,
                "freeze_ns": 100_000_000,
                "leaf_size": table.leaf_size,
                "leaf_count": len(table),
                "mapping_count": len(table.mapping_table),
                "writable_bytes": table.read_bytes,
                "resident_bytes": table.read_bytes,
                "root": table.root(salt).hex(),
                "salt_commitment": hashlib.sha256(salt).hexdigest(),
            }
            self.add("sample", **values | self.end_interval() | changes)
            self.clock += 100_000_000
        return self

    def shutdown(self) -> "PaperChip":
        self.run(max(0, min(self.due - self.active - 1, 50_000_000)))
        self.add("shutdown")
        return self

    def crash_boot(self, extra_ns: int = 200_000_000) -> "PaperChip":
        """A boot after a boot without shutdown; what fell due within ``extra_ns`` is owned up to."""
        self.boot_number += 1
        self.clock += 5 * SECOND
        self.active += extra_ns
        self.cpu = 0
        lost, ending = 0, {}
        while self.due <= self.active:
            lost += 1
            ending = self.end_interval()
        self.add("boot", **{"lost": lost} | ending)
        return self

    def edit(self, sequence: int, /, **changes: Any) -> None:
        """Changes a record before it is signed: what a chip with dishonest firmware would sign."""
        self.records[sequence] = replace(self.records[sequence], **changes)

    def raws(self) -> list[bytes]:
        """Signs and chains the records as they now stand."""
        previous, raws = NO_PREVIOUS, []
        for record in self.records:
            raw = self.sign(replace(record, previous=previous))
            raws.append(raw)
            previous = hashlib.sha256(raw).hexdigest()
        return raws

    def sign(self, record: ChipRecord) -> bytes:
        return sign_statement(
            self.signer,
            kind=KIND,
            subject=self.chip,
            payload=encode_record(record),
            encoding="cbor",
            issued_at=self.issued_at,
        )

    def statements(self) -> list[Statement]:
        return [self.world.verified(raw) for raw in self.raws()]


def paper_table(number: int) -> LeafTable:
    """A small leaf table."""
    mapping = Mapping(
        process=0,
        kind="map",
        start=1 << 20,
        end=(1 << 20) + 4 * 4096,
        permissions="rw-p",
        offset=0,
        device="00:00",
        inode=0,
        path="",
    )
    return LeafTable.build(
        leaf_size=4096,
        processes=[Process(pid=100, inner_pid=100)],
        mappings=[mapping],
        runs=[Run(0, 1 << 20, 3 * 4096)],
        digests=b"".join(page_digest(b"%d/%d" % (number, n)) for n in range(3)),
    )
