"""How a chip finds its place again: clean ends, kills, power cuts, chains that run out meanwhile."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chip.chip_world import SECOND, World
from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import replace_durably
from weighbridge.evidence.statement import sign_statement, statement_id
from weighbridge.mechanisms.chip.clock import ActiveClock
from weighbridge.mechanisms.chip.heartbeat import Beat, Heartbeat
from weighbridge.mechanisms.chip.launch import Account, masks_for, needed_paths
from weighbridge.mechanisms.chip.position import ChipSchedule, Resumption, read_head, resume
from weighbridge.mechanisms.chip.record import KIND, NO_PREVIOUS, ChipRecord, encode_record
from weighbridge.mechanisms.chip.store import State, Store, record_path

HOST = b"h" * 32


class Disk:
    """A chip's directory whose records are written by the test."""

    def __init__(self, world: World, *, length: int = 4096, rate_hz: float = 1.0) -> None:
        self.made = world.chip("disk", rate_hz=rate_hz, length=length)
        self.store = Store.open(self.made.directory)
        self.schedule = ChipSchedule(self.store.seed, chip=self.store.chip, terms=self.store.terms)
        self.heartbeat = Heartbeat(self.made.directory / "heartbeat", host=HOST)
        self.previous, self.count = NO_PREVIOUS, 0

    def close(self) -> None:
        self.heartbeat.close()
        self.store.close()

    def due(self, interval: int) -> int:
        return sum(self.schedule.gap_ns(i) for i in range(1, interval + 1))

    def write(self, reason: str, *, interval: int, active: int, boot: int = 1, reveal: bool = False) -> None:
        sample: dict[str, Any] = {}
        if reason == "sample":
            sample = {
                "due_active_ns": active,
                "leaf_size": 4096,
                "root": "11" * 32,
                "salt_commitment": "22" * 32,
            }
        record = ChipRecord(
            chip=self.store.chip,
            sequence=self.count,
            previous=self.previous,
            boot=boot,
            reason=reason,
            interval=interval,
            link=self.schedule.link(interval).hex() if reason == "sample" or reveal else None,
            rate_hz=self.store.terms.rate_hz,
            active_ns=active,
            monotonic_ns=active,
            accounting="cgroup2",
            firmware="33" * 32,
            host="44" * 32,
            uid_separated=True,
            **sample,
        )
        raw = sign_statement(
            self.store.signer,
            kind=KIND,
            subject=self.store.chip,
            payload=encode_record(record),
            encoding="cbor",
        )
        replace_durably(record_path(self.store.directory, self.count), raw)
        self.previous = statement_id(raw)
        self.count += 1

    def save(self, *, interval: int, active: int, records: int | None = None) -> None:
        self.store.save(
            State(
                interval=interval,
                due_ns=self.due(interval),
                active_ns=active,
                records=self.count if records is None else records,
                cgroup="",
                notice="",
            )
        )

    def resume(self, *, host: bytes = HOST) -> Resumption:
        heartbeat = Heartbeat(self.store.directory / "heartbeat", host=host)
        try:
            head = read_head(self.store)
            return resume(self.store, self.schedule, heartbeat, head, now_ns=time.monotonic_ns())
        finally:
            heartbeat.close()


@pytest.fixture
def disk(world: World) -> Iterator[Disk]:
    made = Disk(world)
    yield made
    made.close()


def test_first_boot(disk: Disk) -> None:
    start = disk.resume()
    assert (start.boot, start.active_ns, start.interval, start.lost) == (1, 0, 1, 0)
    assert start.due_ns == disk.due(1) and start.ended is None


def test_after_a_shutdown_everything_goes_on(disk: Disk) -> None:
    first = disk.due(1)
    disk.write("boot", interval=1, active=0)
    disk.write("sample", interval=1, active=first)
    disk.write("shutdown", interval=2, active=first + 5)
    disk.save(interval=2, active=first + 5)
    disk.heartbeat.write(Beat(first + 5, 0, 0))
    start = disk.resume()
    assert (start.boot, start.active_ns, start.interval, start.due_ns) == (2, first + 5, 2, disk.due(2))
    assert start.ended is None and start.lost == 0


def test_after_a_kill_time_takes_its_longest_reading(world: World) -> None:
    disk = Disk(world, rate_hz=1e-5)
    early = disk.due(1) - 300_000_000
    disk.write("boot", interval=1, active=0)
    disk.save(interval=1, active=0)
    disk.heartbeat.write(Beat(early, 7, time.monotonic_ns()))
    start = disk.resume()
    assert start.active_ns == early + 200_000_000 and start.lost == 0 and start.interval == 1
    disk.heartbeat.write(Beat(disk.due(1) - 100_000_000, 7, time.monotonic_ns()))
    late = disk.resume()
    assert (late.ended, late.lost, late.interval) == (1, 1, 2) and late.due_ns == disk.due(2)
    disk.close()


def test_after_a_power_cut_the_horizon_counts(disk: Disk) -> None:
    disk.write("boot", interval=1, active=0)
    disk.save(interval=1, active=0)
    disk.heartbeat.write(Beat(1, 0, 0))
    start = disk.resume(host=b"i" * 32)
    assert start.active_ns == 1 + 31 * SECOND
    assert start.lost == sum(disk.due(i) <= start.active_ns for i in range(1, 200))
    assert start.due_ns == disk.due(start.interval) > start.active_ns


def test_a_stop_begun_and_never_recorded_is_lost(disk: Disk) -> None:
    """Killed after the next interval was made durable and before the sample's record was."""
    disk.write("boot", interval=1, active=0)
    disk.write("sample", interval=1, active=disk.due(1))
    disk.save(interval=3, active=disk.due(2) + 1)
    disk.heartbeat.write(Beat(disk.due(2) + 1, 0, time.monotonic_ns()))
    start = disk.resume()
    assert start.ended is not None and start.ended >= 2 and start.lost == start.ended - 1
    assert start.due_ns == disk.due(start.interval)


def test_one_record_ends_at_most_one_chain(world: World) -> None:
    disk = Disk(world, length=4)
    disk.write("boot", interval=1, active=0)
    disk.save(interval=7, active=disk.due(6) + 1)
    disk.heartbeat.write(Beat(disk.due(9), 0, time.monotonic_ns()))
    start = disk.resume()
    assert (start.ended, start.interval, start.lost) == (4, 5, 4) and start.due_ns == disk.due(5)
    disk.close()


def test_no_heartbeat_at_all_counts_the_horizon(disk: Disk) -> None:
    disk.write("boot", interval=1, active=5)
    disk.save(interval=1, active=9)
    (disk.store.directory / "heartbeat").unlink()
    assert disk.resume().active_ns == 9 + 31 * SECOND


def test_contradictions_are_refused(disk: Disk) -> None:
    disk.write("boot", interval=1, active=0)
    disk.write("shutdown", interval=1, active=5)
    disk.save(interval=2, active=5)
    with pytest.raises(EvidenceError, match="open interval is 2"):
        disk.resume()
    disk.save(interval=1, active=5, records=3)
    with pytest.raises(EvidenceError, match=r"#2 on are missing"):
        disk.resume()


def test_a_seed_of_another_chip_is_refused(disk: Disk) -> None:
    terms = replace(disk.store.terms, commitment=bytes(32))
    with pytest.raises(EvidenceError, match="commitment"):
        ChipSchedule(disk.store.seed, chip=disk.store.chip, terms=terms)


@given(st.lists(st.tuples(*[st.integers(0, 1 << 63)] * 3), min_size=1, max_size=6), st.data())
def test_a_torn_heartbeat_leaves_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, beats: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("beat") / "heartbeat"
    heartbeat = Heartbeat(path, host=HOST)
    for values in beats:
        heartbeat.write(Beat(*values))
    heartbeat.sync()
    heartbeat.close()
    again = Heartbeat(path, host=HOST)
    assert again.newest() == (Beat(*beats[-1]), True)
    again.close()
    raw = bytearray(path.read_bytes())
    slot = len(raw) // 2
    at = len(beats) % 2 * slot + data.draw(st.integers(8, slot - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    torn = Heartbeat(path, host=HOST)
    expected = None if len(beats) == 1 else (Beat(*beats[-2]), True)
    assert torn.newest() == expected
    torn.close()


def test_the_clock_leaves_stops_out() -> None:
    clock = ActiveClock(100)
    assert clock.read(5) == 100
    clock.start(10)
    assert clock.read(15) == 105
    clock.stop(20)
    assert clock.read(99) == 110
    clock.start(50)
    clock.stop(51)
    assert clock.read() == 111
    with pytest.raises(ValueError, match="running"):
        _start_twice(clock)


def _start_twice(clock: ActiveClock) -> None:
    clock.start(60)
    clock.start(61)


def test_masks_show_only_what_is_needed() -> None:
    """A closed home: its owner's interpreter and one working directory appear, nothing else of it."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        home = place / "home"
        tool, work = home / "pyenv" / "bin" / "python", home / "work"
        tool.parent.mkdir(parents=True)
        work.mkdir()
        tool.write_text("#!/bin/sh\n")
        script, link = place / "script", place / "link"
        script.write_text(f"#!{tool}\n")
        link.symlink_to(tool)
        home.chmod(0o700)
        stranger = Account(54321, 54321)
        for program in (tool, script, link):
            readable = [path for path in needed_paths(program) if place in path.parents]
            assert masks_for(stranger, readable=readable, writable=[work]) == [
                {"hide": str(home), "show": [[str(home / "pyenv"), False], [str(work), True]]}
            ]
        home.chmod(0o711)
        assert masks_for(stranger, readable=[home / "pyenv"], writable=[work]) == []
