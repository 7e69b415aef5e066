"""A real keeper, killed by SIGKILL well over a hundred times while clients submit: nothing acknowledged is lost."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from weighbridge.evidence.checkpoint import Checkpoint, verify_checkpoint
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.log import Log, verify_receipt
from weighbridge.evidence.merkle import verify_consistency
from weighbridge.evidence.spool import Keeper, SpoolClient
from weighbridge.evidence.statement import verify_statement

from .conftest import World

KILLS = 120
COLD_KILLS = 5
SECONDS_BEFORE_A_KILL = 0.05
PROGRAM = Path(__file__).with_name("keeper_program.py")

pytestmark = pytest.mark.real


@dataclass
class Witness:
    """What somebody outside has seen of a log, and must find again."""

    world: World
    folder: Path
    statements: dict[str, bytes] = field(default_factory=dict)
    receipts: dict[str, bytes] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)

    def note(self, size: int, root: bytes) -> None:
        assert self.roots.setdefault(size, root) == root, f"two roots were signed for {size} entries"

    def see(self, raw: bytes) -> None:
        checkpoint = verify_checkpoint(raw, self.world.roots.log_key)
        self.note(checkpoint.size, checkpoint.root)
        self.checkpoints.append(checkpoint)

    def collect(self) -> list[str]:
        """Takes every receipt that is out, newly or again; one that was out must not change."""
        fresh = []
        for path in (self.folder / "spool" / "out").glob("*.receipt"):
            identifier = path.stem
            raw = path.read_bytes()
            known = self.receipts.setdefault(identifier, raw)
            assert raw == known, "a receipt that was out has changed"
            if raw is known and identifier in self.statements:
                found = verify_receipt(self.statements[identifier], raw, self.world.roots.log_key)
                self.note(found.tree_size, found.root)
            fresh.append(identifier)
        return fresh

    def check(self, log: Log, identifiers: list[str]) -> None:
        """Finds receipts again in a log, at their index, and every checkpoint seen extended."""
        for identifier in identifiers:
            entry = log.entry_of(identifier)
            assert entry is not None, "a statement with a receipt is not in the log"
            assert entry.receipt == self.receipts[identifier]
        newest = verify_checkpoint(log.checkpoint(), self.world.roots.log_key)
        for old in self.checkpoints[-3:]:
            path = log.prove_consistency(old.size, newest.size)
            verify_consistency(old.size, newest.size, old.root, newest.root, path)
        self.see(log.checkpoint())


@pytest.fixture
def witness(world: World, tmp_path: Path) -> Witness:
    world.roots.save(tmp_path / "roots")
    with world.log(tmp_path / "log.db") as log:
        Keeper(log, tmp_path / "spool", roots=world.roots).close()
    return Witness(world, tmp_path)


@dataclass
class Client:
    """Submits without a pause, a commitment to be answered now and then."""

    submitted: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def stop(self) -> None:
        self.stopped.set()
        if self.thread is not None:
            self.thread.join(20)


@pytest.fixture
def client(witness: Witness) -> Iterator[Client]:
    pool = [witness.world.state(kind="run-commitment" if number % 5 == 0 else "step") for number in range(4_000)]
    for raw in pool:
        witness.statements[hashlib.sha256(raw).hexdigest()] = raw
    made = Client()

    def submit() -> None:
        spool = SpoolClient(witness.folder / "spool")
        for number, raw in enumerate(pool):
            made.submitted.append(spool.submit(raw))
            # At most a handful wait, so that a keeper is mostly in the middle of a small batch.
            while spool.receipt(made.submitted[max(0, number - 6)]) is None:
                if made.stopped.wait(0.002):
                    return
            if made.stopped.is_set():
                return

    made.thread = threading.Thread(target=submit)
    made.thread.start()
    yield made
    made.stop()


def after_a_kill(witness: Witness, chance: random.Random) -> int:
    """Looks at what a dead keeper left; returns the size of the log."""
    head = witness.folder / "log.db.HEAD"
    witness.see(head.read_bytes())
    out = witness.collect()
    with Log.open(witness.folder / "log.db") as log:
        # All receipts are checked at the end, here the newest and some of the others.
        acknowledged = [name for name in out if name in witness.statements]
        witness.check(log, chance.sample(acknowledged, min(20, len(acknowledged))))
        assert log.size >= len(acknowledged)
        return log.size


def at_the_end(witness: Witness, submitted: list[str]) -> None:
    deadline = time.monotonic() + 20
    spool = SpoolClient(witness.folder / "spool")
    while any(spool.receipt(name) is None for name in submitted) and time.monotonic() < deadline:
        time.sleep(0.01)
    witness.collect()
    with Log.open(witness.folder / "log.db") as log:
        witness.check(log, list(witness.receipts))
        for old in witness.checkpoints:
            log.consistent_with(old.raw)
        for size, root in witness.roots.items():
            assert log.root_at(size) == root
        findings = log.verify(roots=witness.world.roots)
        assert [f for f in findings if f.outcome is Outcome.FAIL] == []
        nonces: dict[str, int] = {}
        commitments = set()
        for entry, raw in log.entries():
            statement = verify_statement(raw, witness.world.roots)
            if statement.kind == "nonce":
                nonces[statement.subject] = nonces.get(statement.subject, 0) + 1
            elif statement.kind == "run-commitment":
                commitments.add(entry.statement_id)
        assert set(submitted) <= {entry.statement_id for entry, _ in log.entries()}
    assert commitments
    assert nonces == dict.fromkeys(commitments, 1), "each commitment has one nonce, never two to choose from"


def test_killed_over_a_hundred_times_nothing_acknowledged_is_lost(witness: Witness, client: Client) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    command = [sys.executable, str(PROGRAM), str(witness.folder), str(witness.world.folder)]
    sizes = [0]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        head = witness.folder / "log.db.HEAD"
        for number in range(KILLS):
            before = head.read_bytes()
            starter.stdin.write("start\n")
            starter.stdin.flush()
            keeper = int(starter.stdout.readline())
            # Every second one is let come to work, however busy the machine; the others may die while they open.
            deadline = time.monotonic() + 5
            while number % 2 and head.read_bytes() == before and time.monotonic() < deadline:
                time.sleep(0.0005)
            time.sleep(chance.random() * SECONDS_BEFORE_A_KILL)
            os.kill(keeper, signal.SIGKILL)
            wait_until_gone(keeper)
            sizes.append(after_a_kill(witness, chance))
        assert sizes == sorted(sizes)
        assert len(set(sizes)) > KILLS // 3, "most keepers should have been killed at work"
        starter.stdin.write("start\n")
        starter.stdin.flush()
        keeper = int(starter.stdout.readline())
        client.stop()
        try:
            at_the_end(witness, client.submitted)
            files = (*witness.folder.iterdir(), *(witness.folder / "spool" / "out").iterdir())
            assert [path.name for path in files if path.name.endswith(".tmp")] == []
        finally:
            os.kill(keeper, signal.SIGKILL)
            starter.stdin.close()


def test_a_keeper_started_cold_survives_kills_too(witness: Witness, client: Client) -> None:
    chance = random.Random(7)
    command = [sys.executable, str(PROGRAM), str(witness.folder), str(witness.world.folder), "cold"]
    for _ in range(COLD_KILLS):
        before = len(witness.collect())
        with subprocess.Popen(command) as keeper:
            deadline = time.monotonic() + 30
            while len(witness.collect()) == before and time.monotonic() < deadline:
                time.sleep(0.005)
            assert keeper.poll() is None
            keeper.kill()
        assert keeper.returncode == -signal.SIGKILL
        assert after_a_kill(witness, chance) > before


def wait_until_gone(process: int) -> None:
    """Waits until a process that is another's child holds nothing any more."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.0005)
    raise AssertionError("a killed keeper is still there")
