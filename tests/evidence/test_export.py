"""An exported log: read by another implementation, and refused whenever one file is not what was signed for."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.export import tile_path
from weighbridge.evidence.log import ExportedLog, Log
from weighbridge.evidence.merkle import leaf_hash
from weighbridge.evidence.statement import verify_statement
from weighbridge.evidence.trust import LogKey

from .conftest import ORIGIN, World, copy_log


@pytest.fixture
def exported(world: World, log: Log, tmp_path: Path) -> Path:
    log.append(world.states(3))
    log.append(world.states(7))
    return log.export(tmp_path / "export")


def test_an_export_holds_what_the_log_holds(world: World, log: Log, exported: Path) -> None:
    found = ExportedLog.open(exported, world.roots.log_key)
    assert (found.size, found.root) == (10, log.root)
    assert found.checkpoint.raw == log.checkpoint()
    assert list(found.entries()) == list(log.entries())
    assert list(found.entries(8)) == list(log.entries(8))
    for entry, raw in found.entries():
        verify_statement(raw, world.roots)
        assert found.entry_of(entry.statement_id) == entry == found.entry(entry.index)
        assert found.statement(entry.index) == raw
    assert found.entry_of("00" * 32) is None
    assert found.root_at(3) == log.root_at(3)
    for call in (
        lambda: found.entry(10),
        lambda: found.statement(-1),
        lambda: found.root_at(11),
        lambda: found.entry_of("x"),
    ):
        with pytest.raises(InputError):
            call()


def test_an_empty_log_is_exported_and_read(world: World, log: Log, tmp_path: Path) -> None:
    log.export(tmp_path / "export")
    found = ExportedLog.open(tmp_path / "export", world.roots.log_key)
    assert found.size == 0
    assert list(found.entries()) == []
    assert sorted(p.name for p in (tmp_path / "export").iterdir()) == [
        "checkpoint",
        "receipts.cborseq",
        "statements.cborseq",
    ]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 513, 1024])
def test_tlog_scales_reads_our_tiles_and_proves_from_them(world: World, log: Log, tmp_path: Path, size: int) -> None:
    statements = [b"%d" % number for number in range(size)]
    log.append(statements)
    log.export(tmp_path / "export")
    reader = TilesReader(LocalBackend(tmp_path / "export"))
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(Vkey.from_string(world.roots.log_key.vkey()))
    assert checkpoint.size == size
    assert reader.calculate_root_hash() == checkpoint.root_hash == log.root
    for index in sorted({0, size // 3, size - 1}):
        digest = hashlib.sha256(statements[index]).digest()
        assert reader.get_entry(index) == digest
        proof = reader.get_inclusion_proof(index, size)
        assert proof.node_hashes == log.prove_inclusion(index, size)
        proof.check(leaf_hash(digest), checkpoint.root_hash)
        consistency = reader.get_consistency_proof(index + 1, size)
        assert consistency.node_hashes == log.prove_consistency(index + 1, size)
    assert ExportedLog.open(tmp_path / "export", world.roots.log_key).size == size


def test_tiles_lie_where_c2sp_has_them() -> None:
    """The example of the tlog-tiles specification, and its rule for partial tiles."""
    assert tile_path(0, 1_234_067, 256) == "tile/0/x001/x234/067"
    assert tile_path("entries", 0, 256) == "tile/entries/000"
    assert tile_path(1, 273, 112) == "tile/1/273.p/112"


def test_what_is_there_is_not_overwritten(world: World, log: Log, exported: Path, tmp_path: Path) -> None:
    before = (exported / "checkpoint").read_bytes()
    log.append(world.states(1))
    with pytest.raises(InputError, match="not empty"):
        log.export(exported)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        log.export(tmp_path / "file")
    assert (exported / "checkpoint").read_bytes() == before
    (tmp_path / "empty").mkdir()
    log.export(tmp_path / "empty")
    assert ExportedLog.open(tmp_path / "empty", world.roots.log_key).size == 11


def test_an_unfinished_export_is_made_anew(log: Log, world: World, tmp_path: Path) -> None:
    draft = tmp_path / ".export.new"
    draft.mkdir()
    (draft / "junk").write_text("x")
    log.append(world.states(2))
    log.export(tmp_path / "export")
    assert ExportedLog.open(tmp_path / "export", world.roots.log_key).size == 2
    assert not draft.exists()


def test_another_log_or_key_is_refused(world: World, exported: Path) -> None:
    for key in (LogKey(ORIGIN, world.chip.public_key), LogKey("x.org", world.log_signer.public_key)):
        with pytest.raises(EvidenceError):
            ExportedLog.open(exported, key)
    with pytest.raises(InputError, match="no such"):
        ExportedLog.open(exported / "absent", world.roots.log_key)


def items(data: bytes) -> list[bytes]:
    found = []
    while data:
        found.append(cbor2.loads(data))
        data = data[len(cbor2.dumps(found[-1])) :]
    return found


def flipped(item: bytes) -> bytes:
    """Returns the item with one bit of its last byte turned, so that it differs whatever that byte was."""
    return item[:-1] + bytes([item[-1] ^ 1])


def edit_items(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_bytes(b"".join(cbor2.dumps(item) for item in change(items(path.read_bytes()))))

    return edit


def write(name: str, data: bytes) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return edit


def append_to(name: str, data: bytes) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        write(name, (folder / name).read_bytes() + data)(folder)

    return edit


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def replace_by_link(folder: Path) -> None:
    target = folder.parent / "elsewhere"
    (folder / "checkpoint").rename(target)
    (folder / "checkpoint").symlink_to(target)


def replace_by_fifo(folder: Path) -> None:
    (folder / "statements.cborseq").unlink()
    os.mkfifo(folder / "statements.cborseq")


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a statement dropped": (edit_items("statements.cborseq", lambda i: i[:4] + i[5:]), "item 9"),
    "the last statement dropped": (edit_items("statements.cborseq", lambda i: i[:-1]), "item 9"),
    "a statement more": (edit_items("statements.cborseq", lambda i: [*i, b"x"]), "more than the log"),
    "a statement changed": (
        edit_items("statements.cborseq", lambda i: [*i[:4], flipped(i[4]), *i[5:]]),
        "have root",
    ),
    "statements swapped": (
        edit_items("statements.cborseq", lambda i: [i[1], i[0], *i[2:]]),
        "have root",
    ),
    "a statement twice": (edit_items("statements.cborseq", lambda i: [i[0], *i[:9]]), "twice"),
    "a receipt dropped": (edit_items("receipts.cborseq", lambda i: i[:4] + i[5:]), "receipts"),
    "receipts swapped": (edit_items("receipts.cborseq", lambda i: [i[1], i[0], *i[2:]]), "receipt"),
    "a receipt's signature changed": (
        edit_items("receipts.cborseq", lambda i: [*i[:4], flipped(i[4]), *i[5:]]),
        "not signed by the log",
    ),
    "a receipt more": (edit_items("receipts.cborseq", lambda i: [*i, i[0]]), "more than the log"),
    "a huge item": (
        write("statements.cborseq", b"\x5b" + b"\xff" * 8),
        "larger than",
    ),
    "a length in a longer form": (
        write("statements.cborseq", b"\x58\x01a"),
        "malformed length",
    ),
    "another kind of item": (
        write("statements.cborseq", b"\x61a"),
        "no byte string",
    ),
    "a tile changed": (
        write("tile/0/000.p/10", bytes(320)),
        "not what the statements give",
    ),
    "a tile longer": (append_to("tile/0/000.p/10", b"x"), "larger than"),
    "a tile missing": (remove("tile/0/000.p/10"), "cannot be read"),
    "an entry bundle changed": (
        write("tile/entries/000.p/10", bytes(340)),
        "not what the statements give",
    ),
    "a file more": (write("more", b"x"), "does not belong"),
    "a tile more": (
        write("tile/0/000.p/11", b""),
        "does not belong",
    ),
    "no checkpoint": (remove("checkpoint"), "cannot be read"),
    "a checkpoint by link": (replace_by_link, "cannot be read"),
    "a pipe": (replace_by_fifo, "regular file"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_changed_export_is_refused_with_its_file_named(world: World, exported: Path, attack: str) -> None:
    change, match = ATTACKS[attack]
    ExportedLog.open(exported, world.roots.log_key)
    change(exported)
    with pytest.raises(EvidenceError, match=match) as caught:
        ExportedLog.open(exported, world.roots.log_key)
    assert str(exported) in str(caught.value)


def test_every_byte_of_every_file_counts(world: World, log: Log, tmp_path: Path) -> None:
    log.append([b"statement %d" % n for n in range(3)])
    folder = log.export(tmp_path / "export")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) == 5
    for path in files:
        good = path.read_bytes()
        for position in range(0, len(good), 1 + len(good) // 60):
            path.write_bytes(good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1 :])
            with pytest.raises(EvidenceError):
                ExportedLog.open(folder, world.roots.log_key)
        path.write_bytes(good[:-1])
        with pytest.raises(EvidenceError):
            ExportedLog.open(folder, world.roots.log_key)
        path.write_bytes(good)
    assert ExportedLog.open(folder, world.roots.log_key).size == 3


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hostile_sequences_are_refused_and_never_another_error(
    world: World, exported: Path, data: st.DataObject
) -> None:
    path = exported / data.draw(st.sampled_from(["statements.cborseq", "receipts.cborseq"]))
    good = path.read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, len(good)))
    changed = good[:start] + data.draw(st.binary(max_size=30)) + good[end:]
    path.write_bytes(changed)
    try:
        if changed != good:
            with pytest.raises(EvidenceError):
                ExportedLog.open(exported, world.roots.log_key)
    finally:
        path.write_bytes(good)


def test_a_longer_export_extends_a_checkpoint_kept_and_a_shorter_or_forked_one_does_not(
    world: World, log: Log, exported: Path, tmp_path: Path
) -> None:
    old = (exported / "checkpoint").read_bytes()
    log.append(world.states(4))
    newer = ExportedLog.open(log.export(tmp_path / "newer"), world.roots.log_key)
    assert newer.consistent_with(old).size == 10
    older = ExportedLog.open(exported, world.roots.log_key)
    assert older.consistent_with(old).size == 10
    with pytest.raises(EvidenceError, match="fewer than") as caught:
        older.consistent_with(log.checkpoint())
    assert "checkpoint kept" in str(caught.value)
    log.close()
    with world.log(tmp_path / "fork.db") as fork:
        fork.append(world.states(20))
        forked = ExportedLog.open(fork.export(tmp_path / "forked"), world.roots.log_key)
    with pytest.raises(EvidenceError, match="another history"):
        forked.consistent_with(old)
    with pytest.raises(EvidenceError):
        forked.consistent_with(b"junk")


def test_a_file_swapped_after_it_was_verified_is_not_handed_out(world: World, exported: Path) -> None:
    found = ExportedLog.open(exported, world.roots.log_key)
    for name in ("statements.cborseq", "receipts.cborseq"):
        good = (exported / name).read_bytes()
        (exported / name).write_bytes(flipped(good[:51]) + good[51:])
        with pytest.raises(EvidenceError):
            list(found.entries())
        (exported / name).write_bytes(good)
    assert len(list(found.entries())) == 10


def test_a_damaged_database_is_not_exported(world: World, log: Log, tmp_path: Path) -> None:
    log.append(world.states(5))
    log.close()
    copy_log(log.path, tmp_path / "copy.db")
    with Log.open(tmp_path / "copy.db", world.log_signer) as copy:
        copy._store._db.execute("UPDATE entry SET statement = zeroblob(5) WHERE position = 2")
        with pytest.raises(EvidenceError, match="entry 2"):
            copy.export(tmp_path / "export")
    assert not (tmp_path / "export").exists()
