"""Recomputing the schedule from revealed links: when each stop was due, and that none was known before."""

from dataclasses import dataclass, field

from weighbridge.mechanisms.chip.docket import Docket
from weighbridge.mechanisms.chip.record import ChipRecord
from weighbridge.mechanisms.chip.schedule import ScheduleTerms, gap_ns, next_link

__all__ = ["ScheduleCheck"]


@dataclass
class ScheduleCheck:
    """Walks the records in order and keeps the schedule's position.

    Attributes:
        docket: takes what is found.
        terms: what the chip's certificate fixes.
        late_limit_ns: greatest lateness allowed.
        revealed: the newest interval whose link is known; its due time has passed.
        due: due time of each interval known so far, from interval 1 on.
    """

    docket: Docket
    terms: ScheduleTerms
    late_limit_ns: int
    revealed: int = 0
    due: list[int] = field(default_factory=list)
    _known: bytes = b""
    _commitments: dict[int, bytes] = field(default_factory=dict)
    _lost: bool = False
    _since: list[ChipRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._commitments[0] = self.terms.commitment

    def take(self, record: ChipRecord, *, gap_before: bool, unclean: bool) -> list[int]:
        """Checks one record.

        Args:
            record: the next record in order.
            gap_before: whether records between the last one and this are missing.
            unclean: whether this is a boot record after a boot without shutdown.

        Returns:
            Due times of intervals that this record ends without a stop.
        """
        if record.rate_hz != self.terms.rate_hz:
            self.docket.fail(
                "chip.schedule",
                record.name,
                f"samples at {record.rate_hz:g} a second, its certificate says {self.terms.rate_hz:g}",
            )
        may_reveal = record.reason == "sample" or (record.reason == "boot" and unclean)
        if record.link is None:
            self._check_open(record, gap_before)
            self._since.append(record)
            return []
        if not may_reveal:
            self.docket.fail(
                "chip.schedule",
                record.name,
                f"reveals the link of interval {record.interval} though it does not end it: a stop known early",
            )
        missed = self._reveal(record, gap_before)
        self._since = []
        return missed

    def _check_open(self, record: ChipRecord, gap_before: bool) -> None:
        if record.lost:
            self.docket.fail("chip.schedule", record.name, f"owns up to {record.lost} lost stops but reveals no link")
        if record.interval != self.revealed + 1 and not gap_before:
            self.docket.fail(
                "chip.schedule",
                record.name,
                f"says that interval {record.interval} is open; it is {self.revealed + 1}",
            )

    def _reveal(self, record: ChipRecord, gap_before: bool) -> list[int]:
        first = self.revealed + 1
        if record.interval < first:
            self.docket.fail("chip.schedule", record.name, f"ends interval {record.interval} a second time")
            return []
        dues = self._derive(record)
        if dues is None:
            return []
        self.due += dues
        self.revealed = record.interval
        self._check_next(record)
        self._check_since(dues, first)
        if record.reason == "sample":
            self._check_sample(record, dues[-1])
            missed = dues[:-1]
            if missed and not gap_before:
                self.docket.fail(
                    "chip.missed",
                    record.name,
                    f"{len(missed)} intervals before interval {record.interval} came due without a stop",
                    figure=float(len(missed)),
                    unit="stops",
                )
            return missed
        if dues[-1] > record.active_ns:
            self.docket.fail(
                "chip.schedule",
                record.name,
                f"reveals interval {record.interval} before it was due: a stop known early",
            )
        if record.lost != len(dues) and not gap_before:
            self.docket.fail(
                "chip.schedule", record.name, f"owns up to {record.lost} lost stops, the links show {len(dues)}"
            )
        return dues

    def _derive(self, record: ChipRecord) -> list[int] | None:
        """Returns the due times of all intervals up to the revealed one; None if the link is not the chain's."""
        epoch, position = self.terms.epoch_of(record.interval)
        known_epoch, known_position = self.terms.epoch_of(self.revealed) if self.revealed else (0, 0)
        if epoch != known_epoch:
            crossed = epoch == known_epoch + 1 and known_position == self.terms.length
            if not crossed or epoch not in self._commitments:
                if not self._lost:
                    self.docket.fail(
                        "chip.schedule",
                        record.name,
                        f"belongs to chain {epoch}, which no record here has committed: not recomputable from here on",
                    )
                self._lost = True
                return None
            self._known, known_position = self._commitments[epoch], 0
        elif not self.revealed:
            self._known = self.terms.commitment
        link = bytes.fromhex(record.link or "")
        links = [link]
        while len(links) < position - known_position:
            links.append(next_link(links[-1]))
        if next_link(links[-1]) != self._known:
            self.docket.fail(
                "chip.schedule",
                record.name,
                f"its link does not hash to the {'commitment' if known_position == 0 else 'link before'}",
            )
            return None
        self._known = link
        due, dues = self.due[-1] if self.due else 0, []
        for earlier in reversed(links):
            due += gap_ns(earlier, chip=record.chip, rate_hz=self.terms.rate_hz)
            dues.append(due)
        return dues

    def _check_next(self, record: ChipRecord) -> None:
        last = self.terms.is_last(record.interval)
        if last and record.next_commitment:
            epoch = self.terms.epoch_of(record.interval)[0] + 1
            self._commitments[epoch] = bytes.fromhex(record.next_commitment)
        elif last:
            self.docket.fail("chip.schedule", record.name, "uses up its chain without committing the next")
        elif record.next_commitment:
            self.docket.fail("chip.schedule", record.name, "commits a new chain before the old one is used up")

    def _check_since(self, dues: list[int], first: int) -> None:
        """A due time is known only now: did the chip run on past it without a stop?"""
        for record in self._since:
            over = record.active_ns - dues[0]
            if over > self.late_limit_ns:
                self.docket.fail(
                    "chip.missed",
                    record.name,
                    f"the chip had run {over / 1e9:.3f} s past the due time of interval {first} without a stop",
                    figure=over / 1e9,
                    unit="s",
                )
                return

    def _check_sample(self, record: ChipRecord, due: int) -> None:
        if record.due_active_ns != due:
            self.docket.fail(
                "chip.schedule",
                record.name,
                f"says that it was due at {(record.due_active_ns or 0) / 1e9:.6f} s; the schedule: {due / 1e9:.6f} s",
            )
        late = record.active_ns - due
        if late < 0:
            self.docket.fail(
                "chip.schedule",
                record.name,
                f"stopped {-late / 1e9:.6f} s before it was due: not triggered by the schedule",
            )
        elif late != record.late_ns:
            self.docket.fail(
                "chip.schedule", record.name, f"says that it was {record.late_ns} ns late, its ticks say {late} ns"
            )
        if late > self.late_limit_ns:
            self.docket.fail(
                "chip.lateness",
                record.name,
                f"stopped {late / 1e9:.3f} s late, the limit is {self.late_limit_ns / 1e9:g} s",
                figure=late / 1e9,
                unit="s",
            )
