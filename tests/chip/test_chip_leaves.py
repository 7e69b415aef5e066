"""Leaf tables: cutting, roots, the file's strict reader against arbitrary and mutated bytes."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError
from weighbridge.evidence import merkle
from weighbridge.mechanisms.chip.leaves import (
    LeafTable,
    Mapping,
    Process,
    Run,
    page_digest,
    read_leaf_table,
    zero_digest,
)

LEAF = 4096


def mapping(start: int, end: int, *, process: int = 0, path: str = "") -> Mapping:
    return Mapping(
        process=process,
        kind="map",
        start=start,
        end=end,
        permissions="rw-p",
        offset=0,
        device="00:00",
        inode=0,
        path=path,
    )


def cut(run: Run, leaf_size: int) -> list[tuple[int, int]]:
    """The plain definition, one leaf at a time."""
    found, at, end = [], run.address, run.address + run.length
    while at < end:
        stop = min(end, (at // leaf_size + 1) * leaf_size)
        found.append((at, stop - at))
        at = stop
    return found


@st.composite
def tables(draw: st.DrawFn) -> LeafTable:
    leaf_size = draw(st.sampled_from([4096, 16384]))
    mappings, runs, base = [], [], draw(st.integers(0, 1 << 46)) * 4096
    for number in range(draw(st.integers(0, 4))):
        start = base + draw(st.integers(0, 8)) * 4096
        at = start
        for _ in range(draw(st.integers(0, 3))):
            at += draw(st.integers(0, 5)) * 4096
            length = draw(st.integers(1, 9)) * 4096
            runs.append(Run(number, at, length))
            at += length
        mappings.append(mapping(start, at + 4096, path=draw(st.text(max_size=8))))
        base = at + 4096
    count = sum(len(cut(run, leaf_size)) for run in runs)
    return LeafTable.build(
        leaf_size=leaf_size,
        processes=[Process(pid=7, inner_pid=7)],
        mappings=mappings,
        runs=runs,
        digests=b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(count)),
    )


@given(tables())
def test_cut_and_round_trip(table: LeafTable) -> None:
    again = LeafTable.from_bytes(table.to_bytes())
    assert again.to_bytes() == table.to_bytes()
    runs = [Run(int(r["mapping"]), int(r["address"]), int(r["length"])) for r in table.runs]
    expected = [(run.mapping, *leaf) for run in runs for leaf in cut(run, table.leaf_size)]
    found = zip(again.mappings, again.addresses, again.lengths, strict=True)
    assert [(int(m), int(a), int(n)) for m, a, n in found] == expected
    assert len(again) == len(expected) == len(again.processes)
    assert again.read_bytes == sum(run.length for run in runs)


@given(tables(), st.binary(min_size=32, max_size=32))
def test_root_is_the_plain_tree(table: LeafTable, salt: bytes) -> None:
    top = (0xFFFFFFFF).to_bytes(4, "big")
    head = top + top + bytes(8) + len(table.table_bytes).to_bytes(4, "big") + page_digest(table.table_bytes)
    hashes = [merkle.leaf_hash(salt + head)]
    for process, number, address, length, digest in zip(
        table.processes, table.mappings, table.addresses, table.lengths, table.digests, strict=True
    ):
        fields = [(int(process), 4), (int(number), 4), (int(address), 8), (int(length), 4)]
        body = b"".join(value.to_bytes(width, "big") for value, width in fields) + digest.tobytes()
        hashes.append(merkle.leaf_hash(salt + body))
    assert table.root(salt) == merkle.root(hashes)


def test_root_over_many_chunks() -> None:
    table = LeafTable.build(
        leaf_size=LEAF,
        processes=[Process(pid=1, inner_pid=1)],
        mappings=[mapping(0, 5000 * LEAF)],
        runs=[Run(0, 0, 5000 * LEAF)],
        digests=bytes(5000 * 32),
    )
    calls: list[None] = []
    salt = bytes(32)
    whole = table.root(salt, between=lambda: calls.append(None))
    rows = [
        merkle.leaf_hash(
            salt
            + (0xFFFFFFFF).to_bytes(4, "big") * 2
            + bytes(8)
            + len(table.table_bytes).to_bytes(4, "big")
            + page_digest(table.table_bytes)
        )
    ]
    rows += [
        merkle.leaf_hash(salt + bytes(8) + (n * LEAF).to_bytes(8, "big") + LEAF.to_bytes(4, "big") + bytes(32))
        for n in range(5000)
    ]
    assert whole == merkle.root(rows) and len(calls) == 5


def test_any_change_changes_the_root() -> None:
    def build(**changes: object) -> bytes:
        values = {"path": "a", "address": 0, "digest": b"d" * 32, "pid": 1} | changes
        table = LeafTable.build(
            leaf_size=LEAF,
            processes=[Process(pid=int(str(values["pid"])), inner_pid=1)],
            mappings=[mapping(0, 8 * LEAF, path=str(values["path"]))],
            runs=[Run(0, int(str(values["address"])), LEAF)],
            digests=bytes(values["digest"]),  # type: ignore[call-overload]
        )
        return table.root(bytes(32))

    roots = [
        build(),
        build(path="b"),
        build(address=LEAF),
        build(digest=b"e" * 32),
        build(pid=2),
    ]
    assert len(set(roots)) == len(roots)


def test_zero_leaves_are_known() -> None:
    digests = page_digest(bytes(LEAF)) + page_digest(b"\1" + bytes(LEAF - 1)) + page_digest(bytes(100))
    table = LeafTable.build(
        leaf_size=LEAF,
        processes=[Process(pid=1, inner_pid=1)],
        mappings=[mapping(0, 3 * LEAF)],
        runs=[Run(0, 0, 2 * LEAF + 100)],
        digests=digests,
    )
    assert table.zero.tolist() == [True, False, True]
    assert zero_digest(LEAF) == digests[:32]


def test_an_empty_stop_has_a_root() -> None:
    table = LeafTable.build(leaf_size=LEAF, processes=[], mappings=[], runs=[], digests=b"")
    assert len(table) == 0 and table.read_bytes == 0 and len(table.root(bytes(32))) == 32
    assert LeafTable.from_bytes(table.to_bytes()).addresses.shape == (0,)
    assert table.zero.shape == table.processes.shape == (0,)


@given(tables(), st.data())
def test_a_changed_file_is_refused_or_changes_the_root(table: LeafTable, data: st.DataObject) -> None:
    raw = bytearray(table.to_bytes())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = LeafTable.from_bytes(bytes(raw))
    except EvidenceError:
        return
    assert changed.root(bytes(32)) != table.root(bytes(32)) or changed.leaf_size != table.leaf_size


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        LeafTable.from_bytes(data)
    with pytest.raises(EvidenceError):
        LeafTable.from_bytes(b"WBLEAVES\1\0\0\0" + data)


@settings(max_examples=30)
@given(tables(), st.integers(1, 64))
def test_truncated_and_extended_files_are_refused(table: LeafTable, count: int) -> None:
    raw = table.to_bytes()
    for spoiled in (raw[:-count], raw + bytes(count)):
        with pytest.raises(EvidenceError):
            LeafTable.from_bytes(spoiled)


def test_hostile_runs_are_refused() -> None:
    good = LeafTable.build(
        leaf_size=LEAF,
        processes=[Process(pid=1, inner_pid=1)],
        mappings=[mapping(LEAF, 9 * LEAF)],
        runs=[Run(0, LEAF, LEAF), Run(0, 4 * LEAF, LEAF)],
        digests=bytes(64),
    )
    for address, length, number in (
        (0, LEAF, 0),  # before its mapping
        (LEAF, 9 * LEAF, 0),  # past its end
        (LEAF, 0, 0),  # empty
        (LEAF, (1 << 64) - LEAF, 0),  # wraps around
        (LEAF, 4 * LEAF, 0),  # overlaps the next
        (LEAF, LEAF, 3),  # no such mapping
    ):
        runs = good.runs.copy()
        runs[0] = (number, address, length)
        spoiled = LeafTable(
            leaf_size=LEAF,
            table_bytes=good.table_bytes,
            process_table=good.process_table,
            mapping_table=good.mapping_table,
            runs=runs,
            digests=good.digests,
        )
        with pytest.raises(EvidenceError, match="runs"):
            LeafTable.from_bytes(spoiled.to_bytes())


def test_reading_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"7\.leaves"):
        read_leaf_table(tmp_path / "7.leaves")
    (tmp_path / "7.leaves").write_bytes(b"nonsense")
    with pytest.raises(EvidenceError, match=r"7\.leaves"):
        read_leaf_table(tmp_path / "7.leaves")
