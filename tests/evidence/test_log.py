"""The log: what an append promises, and how a damaged, rolled-back or rewritten database is refused."""

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence import log as log_module
from weighbridge.evidence.checkpoint import verify_checkpoint
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.log import Log, verify_receipt
from weighbridge.evidence.merkle import leaf_hash, root, verify_consistency, verify_inclusion
from weighbridge.evidence.store import Store
from weighbridge.evidence.trust import LogKey, TrustRoots

from .conftest import ORIGIN, World, copy_log


def outcomes(log: Log, roots: TrustRoots | None = None) -> dict[str, str]:
    return {finding.check: finding.outcome.value for finding in log.verify(roots=roots)}


def test_an_append_gives_receipts_that_prove_it(world: World, log: Log) -> None:
    before = time.time()
    statements = world.states(300)
    entries = [*log.append(statements[:1]), *log.append(statements[1:7]), *log.append(statements[7:])]
    assert [entry.index for entry in entries] == list(range(300))
    assert log.size == 300
    assert log.root == root(leaf_hash(hashlib.sha256(raw).digest()) for raw in statements)
    for raw, entry in zip(statements, entries, strict=True):
        receipt = verify_receipt(raw, entry.receipt, world.roots.log_key)
        assert (receipt.index, receipt.integrated_at) == (entry.index, entry.integrated_at)
        assert receipt.root == log.root_at(receipt.tree_size)
        assert before - 1e-3 <= entry.integrated_at <= time.time()
        assert log.entry(entry.index) == entry
        assert log.statement(entry.index) == raw
        assert log.entry_of(entry.statement_id) == entry
    assert [pair[0] for pair in log.entries()] == entries
    assert [pair[1] for pair in log.entries(290)] == statements[290:]
    assert log.append([]) == []


def test_the_same_statement_keeps_its_first_entry(world: World, log: Log) -> None:
    one, two, three = world.states(3)
    first = log.append([one, two, one])
    assert [entry.index for entry in first] == [0, 1, 0]
    again = log.append([three, two])
    assert [entry.index for entry in again] == [2, 1]
    assert again[1] == first[1]
    before = log.checkpoint()
    assert log.append([one])[0] == first[0]
    assert log.checkpoint() == before
    assert log.size == 3


def test_every_checkpoint_and_proof_holds(world: World, log: Log) -> None:
    notes = [log.checkpoint()]
    for count in (1, 1, 2, 5, 30, 1, 60):
        log.append(world.states(count))
        notes.append(log.checkpoint())
    heads = [verify_checkpoint(note, world.roots.log_key) for note in notes]
    assert [head.size for head in heads] == [0, 1, 2, 4, 9, 39, 40, 100]
    for old in heads:
        assert log.consistent_with(old.raw) == old
        for new in heads:
            if old.size <= new.size:
                path = log.prove_consistency(old.size, new.size)
                verify_consistency(old.size, new.size, old.root, new.root, path)
    for index in range(0, 100, 7):
        for size in range(index + 1, 101, 9):
            leaf = leaf_hash(bytes.fromhex(log.entry(index).statement_id))
            verify_inclusion(leaf, index, size, log.prove_inclusion(index, size), log.root_at(size))
    for call in (
        lambda: log.prove_inclusion(100, 100),
        lambda: log.prove_inclusion(0, 101),
        lambda: log.prove_consistency(5, 101),
        lambda: log.prove_consistency(6, 5),
        lambda: log.entry(100),
        lambda: log.entry(-1),
        lambda: log.statement(100),
        lambda: log.root_at(101),
        lambda: log.entry_of("xyz"),
    ):
        with pytest.raises(InputError):
            call()
    assert log.entry_of("00" * 32) is None


def test_what_is_no_statement_is_not_appended(world: World, log: Log) -> None:
    good = world.state()
    for bad in ([good, b""], [good, b"x" * (LIMITS.statement_bytes + 1)], [good, "text"], [bytearray(b"x")]):
        with pytest.raises(InputError):
            log.append(bad)  # type: ignore[arg-type]
    assert log.size == 0


def test_reopened_it_is_the_same_log(world: World, tmp_path: Path) -> None:
    with world.log(tmp_path / "log.db") as log:
        entries = log.append(world.states(37))
        note = log.checkpoint()
    with Log.open(tmp_path / "log.db", world.log_signer) as log:
        assert log.checkpoint() == note
        assert [pair[0] for pair in log.entries()] == entries
        more = log.append(world.states(5))
        assert [entry.index for entry in more] == [37, 38, 39, 40, 41]
        assert log.consistent_with(note).size == 37
        assert set(outcomes(log, world.roots).values()) == {"pass", "inconclusive"}


def test_one_process_holds_the_key_and_any_number_read(world: World, log: Log) -> None:
    with pytest.raises(InputError, match="another process holds"):
        Log.open(log.path, world.log_signer)
    script = (
        "import sys\n"
        "from weighbridge.evidence.keys import FileSigner\n"
        "from weighbridge.evidence.log import Log\n"
        "from weighbridge.errors import InputError\n"
        "print(Log.open(sys.argv[1]).size)\n"
        "try: Log.open(sys.argv[1], FileSigner.load(sys.argv[2]))\n"
        "except InputError as error: print(error.what)\n"
    )
    log.append(world.states(3))
    command = [sys.executable, "-c", script, str(log.path), str(world.log_signer.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines() == ["3", "another process holds this log's key"], done.stderr
    with Log.open(log.path) as reader:
        assert reader.size == 3
        log.append(world.states(1))
        assert reader.size == 4
        assert reader.entry(3) == log.entry(3)
        assert outcomes(reader, world.roots)["log.entries"] == "pass"
        with pytest.raises(InputError, match="reading only"):
            reader.append(world.states(1))


def test_a_reader_never_sees_a_false_alarm_while_a_keeper_appends(log: Log) -> None:
    stop = threading.Event()

    def append() -> None:
        number = 0
        while not stop.is_set():
            log.append([b"statement %d" % number])
            number += 1

    writer = threading.Thread(target=append)
    writer.start()
    sizes = []
    try:
        for _ in range(12):
            with Log.open(log.path) as reader:
                assert "fail" not in outcomes(reader).values()
                assert reader.consistent_with(reader.checkpoint())
                assert reader.consistent_with(log.path.with_name("log.db.HEAD").read_bytes())
                sizes.append(reader.size)
    finally:
        stop.set()
        writer.join()
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_another_key_or_log_is_refused(world: World, log: Log) -> None:
    log.close()
    with pytest.raises(EvidenceError, match="not the log's"):
        Log.open(log.path, world.chip)
    other = LogKey("example.org/other", world.log_signer.public_key)
    with pytest.raises(EvidenceError, match="not the one expected"):
        Log.open(log.path, log_key=other)
    Log.open(log.path, world.log_signer, log_key=world.roots.log_key).close()


def test_nothing_is_overwritten_and_nothing_invented(world: World, log: Log, tmp_path: Path) -> None:
    log.append(world.states(2))
    log.close()
    before = log.path.read_bytes()
    with pytest.raises(InputError, match="there already"):
        Log.create(log.path, world.log_signer, origin=ORIGIN)
    assert log.path.read_bytes() == before
    log.path.unlink()
    with pytest.raises(InputError, match="no such log"):
        Log.open(log.path, world.log_signer)
    # The database is gone, but its HEAD says that two entries were signed for.
    with pytest.raises(InputError, match="there already"):
        Log.create(log.path, world.log_signer, origin=ORIGIN)
    for origin in ("", "a b", "a+b"):
        with pytest.raises(InputError, match="origin"):
            Log.create(tmp_path / "new.db", world.log_signer, origin=origin)
    with pytest.raises(InputError, match="cannot be locked"):
        Log.create(tmp_path / "absent" / "log.db", world.log_signer, origin=ORIGIN)


# --- an older or another database ------------------------------------------------------------------------


def test_an_older_copy_put_back_is_refused(world: World, log: Log, tmp_path: Path) -> None:
    log.append(world.states(5))
    log.close()
    copy_log(log.path, tmp_path / "old.db")
    with Log.open(log.path, world.log_signer) as again:
        again.append(world.states(3))
    log.path.write_bytes((tmp_path / "old.db").read_bytes())
    for signer in (world.log_signer, None):
        with pytest.raises(EvidenceError, match="holds 5 entries, but 8 were signed"):
            Log.open(log.path, signer)


def test_a_fork_is_refused(world: World, log: Log, tmp_path: Path) -> None:
    """The copy goes on with other entries; then it is put in the place of the one that was signed for."""
    log.append(world.states(5))
    log.close()
    copy_log(log.path, tmp_path / "fork.db")
    with Log.open(log.path, world.log_signer) as kept:
        kept.append(world.states(2))
        note = kept.checkpoint()
    with Log.open(tmp_path / "fork.db", world.log_signer) as fork:
        fork.append(world.states(6))
        with pytest.raises(EvidenceError, match="another history") as caught:
            fork.consistent_with(note)
        assert "checkpoint kept" in str(caught.value)
        assert "checkpoint here" in str(caught.value)
    log.path.write_bytes((tmp_path / "fork.db").read_bytes())
    with pytest.raises(EvidenceError, match="another history than the 7 entries"):
        Log.open(log.path, world.log_signer)


def test_a_rollback_with_its_head_shows_against_a_checkpoint_kept_outside(
    world: World, log: Log, tmp_path: Path
) -> None:
    log.append(world.states(5))
    log.close()
    copy_log(log.path, tmp_path / "old.db")
    with Log.open(log.path, world.log_signer) as again:
        again.append(world.states(3))
        kept = again.checkpoint()
    roots = TrustRoots(roots=world.roots.roots, log_key=world.roots.log_key, checkpoint=kept)
    with Log.open(tmp_path / "old.db") as old:
        with pytest.raises(EvidenceError, match="fewer than the 8"):
            old.consistent_with(kept)
        assert outcomes(old, roots)["log.kept"] == "fail"
    with Log.open(log.path) as newest:
        assert outcomes(newest, roots)["log.kept"] == "pass"
        assert set(outcomes(newest, roots).values()) == {"pass"}


@pytest.mark.parametrize("fault", ["missing", "empty", "another key's", "garbled"])
def test_without_its_head_a_log_is_not_opened(world: World, log: Log, fault: str) -> None:
    log.append(world.states(2))
    head = log.path.with_name("log.db.HEAD")
    assert head.read_bytes() == log.checkpoint()
    log.close()
    if fault == "missing":
        head.unlink()
    else:
        head.write_bytes({"empty": b"", "garbled": head.read_bytes().replace(b"2", b"3", 1)}.get(fault, b"x\n"))
    with pytest.raises(EvidenceError, match=r"HEAD|checkpoint"):
        Log.open(log.path, world.log_signer)


# --- a changed database ----------------------------------------------------------------------------------

EDITS: dict[str, tuple[str, str]] = {
    "a statement's byte": ("UPDATE entry SET statement = zeroblob(9) WHERE position = 7", "log.entries"),
    "an entry's id": ("UPDATE entry SET id = zeroblob(32) WHERE position = 7", "log.entries"),
    "an entry dropped": ("DELETE FROM entry WHERE position = 7", "log.entries"),
    "the last entry dropped": ("DELETE FROM entry WHERE position = 39", "log.entries"),
    "an entry added": (
        "INSERT INTO entry VALUES (40, zeroblob(32), zeroblob(9))",
        "log.entries",
    ),
    "entries swapped": (
        "UPDATE entry SET position = -1 WHERE position = 3;"
        "UPDATE entry SET position = 3 WHERE position = 4;"
        "UPDATE entry SET position = 4 WHERE position = -1",
        "log.tree",
    ),
    "a leaf's hash": ("UPDATE node SET hash = zeroblob(32) WHERE position = 0", "log.tree"),
    "an inner node": ("UPDATE node SET hash = zeroblob(32) WHERE position = 6", "log.tree"),
    "a node dropped": ("DELETE FROM node WHERE position = 6", "log.tree"),
    "a node too many": ("INSERT INTO node VALUES (9999, zeroblob(32))", "log.tree"),
    "a batch's root": ("UPDATE batch SET root = zeroblob(32) WHERE size = 10", "log.batches"),
    "a batch's time": ("UPDATE batch SET time_us = time_us - 1000000 WHERE size = 20", "log.batches"),
    "a microsecond": ("UPDATE batch SET time_us = time_us + 1 WHERE size = 20", "log.batches"),
    "a batch dropped": ("DELETE FROM batch WHERE size = 20", "log.batches"),
    "a receipt's signature": ("UPDATE batch SET signature = zeroblob(64) WHERE size = 20", "log.batches"),
    "a signature taken away": ("UPDATE batch SET signature = NULL WHERE size = 20", "log.batches"),
    "both signatures taken away": (
        "UPDATE batch SET signature = NULL, checkpoint = NULL WHERE size = 20",
        "log.batches",
    ),
    "another batch's checkpoint": (
        "UPDATE batch SET checkpoint = (SELECT checkpoint FROM batch WHERE size = 10) WHERE size = 20",
        "log.batches",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_changed_database_is_found_by_the_check_that_is_meant(world: World, tmp_path: Path, edit: str) -> None:
    statement, check = EDITS[edit]
    with world.log(tmp_path / "log.db") as log:
        for _ in range(4):
            log.append(world.states(10))
        assert outcomes(log, world.roots)[check] == "pass"
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.executescript(statement)
    db.close()
    with Log.open(tmp_path / "log.db") as log:
        findings = {finding.check: finding for finding in log.verify(roots=world.roots)}
        assert findings[check].outcome is Outcome.FAIL, findings
        assert findings["log.file"].outcome is Outcome.PASS


def test_a_changed_entry_is_never_handed_out(world: World, tmp_path: Path) -> None:
    with world.log(tmp_path / "log.db") as log:
        log.append(world.states(10))
    for edit in (
        "UPDATE entry SET statement = zeroblob(9) WHERE position = 4",
        "UPDATE node SET hash = zeroblob(32) WHERE position = 8",
        "UPDATE batch SET root = zeroblob(32) WHERE size = 10",
    ):
        copy_log(tmp_path / "log.db", tmp_path / "edited.db")
        with sqlite3.connect(tmp_path / "edited.db") as db:
            db.execute(edit)
        db.close()
        with pytest.raises(EvidenceError), Log.open(tmp_path / "edited.db") as log:
            log.statement(4)
            log.entry(4)
        with pytest.raises(EvidenceError), Log.open(tmp_path / "edited.db") as log:
            list(log.entries())


@pytest.mark.parametrize(
    "fault", ["empty", "noise", "another database", "truncated", "a text for a hash", "a torn page"]
)
def test_a_damaged_file_is_refused_in_words(world: World, tmp_path: Path, fault: str) -> None:
    path = tmp_path / "log.db"
    with world.log(path) as log:
        log.append(world.states(200))
    whole = path.read_bytes()
    if fault == "another database":
        path.unlink()
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE a (b)")
        db.close()
    elif fault == "a text for a hash":
        db = sqlite3.connect(path)
        db.executescript("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '');")
        db.close()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "noise": os.urandom(8192),
                "truncated": whole[: len(whole) // 2],
                "a torn page": whole[:8192] + bytes(len(whole) - 8192),
            }[fault]
        )
    with pytest.raises((EvidenceError, InputError)) as caught, Log.open(path) as log:
        list(log.entries())
        if any(f.outcome is Outcome.FAIL for f in log.verify()):
            raise EvidenceError("verify found it", where=path)
    assert str(path) in str(caught.value)


def test_statements_that_no_root_certified_fail_the_logs_check(world: World, log: Log) -> None:
    log.append([*world.states(2), world.state(world.key()), world.state()])
    found = outcomes(log, world.roots)
    assert found["log.statements"] == "fail"
    assert found["log.entries"] == "pass"


def test_checks_that_cannot_be_done_are_inconclusive(world: World, log: Log) -> None:
    log.append(world.states(2))
    found = outcomes(log)
    assert {name for name, outcome in found.items() if outcome == "inconclusive"} == {
        "log.key",
        "log.kept",
        "log.statements",
    }
    other = TrustRoots(roots=world.roots.roots, log_key=LogKey(ORIGIN, world.chip.public_key))
    assert outcomes(log, other)["log.key"] == "fail"


# --- clocks, crashes --------------------------------------------------------------------------------------


def test_a_clock_set_back_does_not_reorder_the_log(world: World, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    first = log.append(world.states(1))[0]
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    second = log.append(world.states(1))[0]
    assert second.integrated_at == first.integrated_at
    assert outcomes(log)["log.batches"] == "pass"


def test_signatures_lost_in_a_power_cut_after_head_was_written_accuse_nobody(world: World, log: Log) -> None:
    log.append(world.states(2))
    log.append(world.states(2))
    note, entry = log.checkpoint(), log.entry(3)
    log.close()
    with sqlite3.connect(log.path) as db:
        db.execute("UPDATE batch SET signature = NULL, checkpoint = NULL WHERE size = 4")
    db.close()
    with Log.open(log.path) as reader:
        assert reader.size == 2
        assert reader.consistent_with(note).size == 4
        assert "fail" not in outcomes(reader, world.roots).values()
    with Log.open(log.path, world.log_signer) as again:
        assert again.checkpoint() == note
        assert again.entry(3) == entry


class Crash(BaseException):
    """Stands for a kill in the middle of an append."""


CRASHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the transaction": lambda m: m.setattr(Store, "append_batch", stop),
    "after the transaction, before signing": lambda m: m.setattr(log_module, "_sign_batch", stop),
    "after signing, before the signatures are stored": lambda m: m.setattr(Store, "seal", stop),
    "after the signatures are stored, before HEAD": lambda m: m.setattr(log_module, "replace_durably", stop),
}


def stop(*_: object, **__: object) -> None:
    raise Crash


@pytest.mark.parametrize("moment", CRASHES)
def test_stopped_between_any_two_steps_no_size_has_two_roots(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "log.db"
    log = world.log(path)
    entries = log.append(world.states(5))
    signed: dict[int, set[bytes]] = {}
    honest = log_module._sign_batch

    def watch(signer: object, key: object, batch: object) -> object:
        signed.setdefault(batch.size, set()).add(batch.root)  # type: ignore[attr-defined]
        return honest(signer, key, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(log_module, "_sign_batch", watch)
    with monkeypatch.context() as crash:
        CRASHES[moment](crash)
        with pytest.raises(Crash):
            log.append(world.states(2))
    os.close(log._lock or -1)  # as a kill would: the lock falls, the connection is simply gone
    head = verify_checkpoint((tmp_path / "log.db.HEAD").read_bytes(), world.roots.log_key)
    with Log.open(path) as reader:
        assert reader.size in (5, 7)
        assert reader.consistent_with(head.raw) == head
    with Log.open(path, world.log_signer) as again:
        assert again.size == (5 if moment == "before the transaction" else 7)
        assert again.consistent_with(head.raw) == head
        assert (tmp_path / "log.db.HEAD").read_bytes() == again.checkpoint()
        assert [again.entry(i) for i in range(5)] == entries
        again.append(world.states(2))
        assert again.entry(5).index == 5
        assert "fail" not in outcomes(again, world.roots).values()
    assert all(len(roots) == 1 for roots in signed.values()), "two roots were signed for one size"


def test_a_log_half_made_can_be_made(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("replace_durably", "sync_directory"):
        path = tmp_path / f"{name}.db"
        with monkeypatch.context() as crash:
            crash.setattr(log_module, name, stop)
            with pytest.raises(Crash):
                world.log(path)
        opened = Log.open(path, world.log_signer) if path.exists() else world.log(path)
        with opened as log:
            assert log.append(world.states(1))[0].index == 0


def test_a_full_disk_loses_nothing(world: World, log: Log) -> None:
    log.append(world.states(3))
    log._store._db.execute(f"PRAGMA max_page_count={log._store._db.execute('PRAGMA page_count').fetchone()[0]}")
    big = [world.state(payload={"fill": "x" * 200_000, "n": n}) for n in range(20)]
    with pytest.raises(InputError, match="cannot be used now"):
        log.append(big)
    assert log.size == 3
    log._store._db.execute("PRAGMA max_page_count=1000000")
    assert [entry.index for entry in log.append(big)] == list(range(3, 23))
    assert "fail" not in outcomes(log, world.roots).values()


def test_a_database_changed_under_its_keeper_is_not_signed(world: World, log: Log) -> None:
    log.append(world.states(2))
    with sqlite3.connect(log.path) as db:
        db.execute("DELETE FROM batch WHERE size = 2")
    db.close()
    with pytest.raises(EvidenceError, match="changed under"):
        log.append(world.states(1))


# --- answers ----------------------------------------------------------------------------------------------


def test_an_entry_is_answered_once_and_the_answer_is_durable_with_the_note(world: World, log: Log) -> None:
    first = log.append(world.states(3))
    assert log.answers(0) is None
    given = world.states(2)
    answers = log.append_answers({0: given, 2: []})
    assert [entry.index for entry in answers[0]] == [3, 4]
    assert answers[2] == []
    assert log.answers(0) == [3, 4]
    assert log.answers(2) == []
    assert log.answers(1) is None
    before = log.checkpoint()
    refused: list[dict[int, list[bytes]]] = [
        {0: world.states(1)},
        {2: world.states(1)},
        {1: [], 0: []},
        {99: []},
        {-1: []},
    ]
    for again in refused:
        with pytest.raises(InputError, match="answered already"):
            log.append_answers(again)
    assert log.checkpoint() == before
    assert log.append_answers({1: [given[0]]})[1][0].index == 3
    assert log.entry(0) == first[0]
    assert "fail" not in outcomes(log, world.roots).values()


# --- speed ------------------------------------------------------------------------------------------------


def test_batches_are_appended_at_over_ten_thousand_a_second_of_cpu(world: World, log: Log) -> None:
    payloads = [os.urandom(600) for _ in range(8_000)]
    best = 0.0
    for start in range(0, 8_000, 2_000):
        begun = time.process_time()
        log.append(payloads[start : start + 2_000])
        best = max(best, 2_000 / (time.process_time() - begun))
    assert best > 10_000


def test_a_receipt_costs_few_nodes_however_long_the_log(world: World, log: Log) -> None:
    log.append([b"%d" % number for number in range(10_000)])
    asked = 0
    honest = log._store.node

    def count(level: int, index: int) -> bytes:
        nonlocal asked
        asked += 1
        return honest(level, index)

    log._store.node = count  # type: ignore[method-assign]
    log.entry(4_321)
    assert 0 < asked <= 28
