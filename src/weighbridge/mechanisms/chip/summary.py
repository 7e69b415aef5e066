"""What a chip's records say about its time: per boot, what was due, what was taken, what nobody saw."""

from dataclasses import dataclass

from weighbridge.mechanisms.chip.record import ChipRecord

__all__ = ["BootSummary", "BootTally", "ChipSummary", "SampleSummary"]


@dataclass(frozen=True, kw_only=True)
class SampleSummary:
    """One stop. Times are nanoseconds of chip-active time unless said otherwise.

    Attributes:
        sequence: its record.
        interval: the schedule interval that it ended.
        due_ns: when it was due.
        active_ns: when it was taken.
        late_ns: the difference.
        freeze_ns: length of the stop, wall clock.
        cpu_ns: CPU time since the boot.
        read_bytes: bytes read.
    """

    sequence: int
    interval: int
    due_ns: int
    active_ns: int
    late_ns: int
    freeze_ns: int
    cpu_ns: int
    read_bytes: int


@dataclass(frozen=True, kw_only=True)
class BootSummary:
    """One boot, from its boot record to its last record.

    Attributes:
        boot: its number.
        first: sequence of its boot record.
        last: sequence of its last record.
        clean: whether it ended with a shutdown record.
        started_ns: chip-active time at the boot record.
        ended_ns: chip-active time at the last record.
        active_ns: the difference: chip-active time that the records show.
        longest_ns: the longest reading of that time, receipts included where there are any.
        unwatched_ns: chip-active time that the next boot added after an unclean end; None if it ended cleanly
            or nothing followed.
        dark_ns: wall clock from the last record to the next boot after an unclean end, by the host's clock; None
            if it ended cleanly, nothing followed, or the host was booted. The agent counts ``unwatched_ns`` of it
            as chip-active; nothing proves that the rest was off.
        cpu_ns: CPU time of the enclosed processes at the last record.
        cores: processors of the command.
        frozen_ns: total length of the stops.
        samples: the stops taken.
        missed: due times of stops that fell due and were never taken.
        uid_separated: whether the command had a user id of its own.
        accounting: how processes were held and counted.
    """

    boot: int
    first: int
    last: int
    clean: bool
    started_ns: int
    ended_ns: int
    active_ns: int
    longest_ns: int
    unwatched_ns: int | None
    dark_ns: int | None
    cpu_ns: int
    cores: int
    frozen_ns: int
    samples: tuple[SampleSummary, ...]
    missed: tuple[int, ...]
    uid_separated: bool
    accounting: str


@dataclass(frozen=True, kw_only=True)
class ChipSummary:
    """One chip over all its boots.

    Attributes:
        chip: its id.
        rate_hz: f, stops per second of chip-active time.
        records: records read.
        active_ns: chip-active time, the last record's reading.
        samples_due: schedule intervals that have come due, as the revealed links show.
        samples_taken: stops taken.
        unexplained_due: the difference: samples that count as unexplained whatever else holds.
        closed: whether the last boot ended with a shutdown record.
        boots: the boots.
    """

    chip: str
    rate_hz: float
    records: int
    active_ns: int
    samples_due: int
    samples_taken: int
    unexplained_due: int
    closed: bool
    boots: tuple[BootSummary, ...]


class BootTally:
    """One boot while its records are walked."""

    def __init__(self, first: ChipRecord) -> None:
        self.first = self.last = first
        self.samples: list[SampleSummary] = []
        self.missed: list[int] = []
        self.frozen = 0
        self.unwatched: int | None = None
        self.dark: int | None = None
        self.receipts: list[float] = []

    def add(self, record: ChipRecord, receipt: float | None) -> None:
        """Counts a record of this boot, and the time of its receipt."""
        self.last = record
        self.frozen += record.freeze_ns
        if receipt is not None:
            self.receipts.append(receipt)
        if record.reason == "sample":
            self.samples.append(
                SampleSummary(
                    sequence=record.sequence,
                    interval=record.interval,
                    due_ns=record.due_active_ns or 0,
                    active_ns=record.active_ns,
                    late_ns=record.late_ns,
                    freeze_ns=record.freeze_ns,
                    cpu_ns=record.cpu_ns,
                    read_bytes=record.resident_bytes,
                )
            )

    def ended_uncleanly(self, boot: ChipRecord) -> None:
        """Notes the boot record that follows this boot, which left no shutdown record."""
        self.unwatched = boot.active_ns - self.last.active_ns
        if boot.host == self.last.host:
            self.dark = boot.monotonic_ns - self.last.monotonic_ns

    def summary(self) -> BootSummary:
        """Returns what was counted."""
        active = self.last.active_ns - self.first.active_ns
        spread = int((max(self.receipts) - min(self.receipts)) * 1e9) - self.frozen if self.receipts else 0
        return BootSummary(
            boot=self.first.boot,
            first=self.first.sequence,
            last=self.last.sequence,
            clean=self.last.reason == "shutdown",
            started_ns=self.first.active_ns,
            ended_ns=self.last.active_ns,
            active_ns=active,
            longest_ns=max(active, spread),
            unwatched_ns=self.unwatched,
            dark_ns=self.dark,
            cpu_ns=self.last.cpu_ns,
            cores=self.first.cores,
            frozen_ns=self.frozen,
            samples=tuple(self.samples),
            missed=tuple(self.missed),
            uid_separated=self.first.uid_separated,
            accounting=self.first.accounting,
        )
