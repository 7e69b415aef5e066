"""Whether clocks, ticks, CPU time, receipts and brackets tell one story."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weighbridge.mechanisms.chip.docket import Docket
from weighbridge.mechanisms.chip.record import ChipRecord

__all__ = ["TimeCheck", "TimeLimits"]


@dataclass(frozen=True, kw_only=True)
class TimeLimits:
    """How far honest clocks may disagree.

    Attributes:
        receipt_s: seconds by which a receipt may come after its record, and the two clocks disagree.
        drift: relative rate difference between the host's clock and the log's.
        cpu_s: seconds of CPU time beyond cores times active time, for what is counted late.
        cpu_share: the same as a share of active time.
    """

    receipt_s: float = 5.0
    drift: float = 1e-3
    cpu_s: float = 0.1
    cpu_share: float = 0.02


@dataclass
class TimeCheck:
    """Walks the records in order.

    Attributes:
        docket: takes what is found.
        limits: what honest clocks may do.
        receipts: time of each record's receipt, Unix seconds, by statement id.
        brackets: time at which each bracket value came to be, by its SHA-256.
    """

    docket: Docket
    limits: TimeLimits
    receipts: Mapping[str, float]
    brackets: Mapping[str, float]
    _last: ChipRecord | None = None
    _first_receipt: tuple[ChipRecord, float] | None = None
    _last_by_host: dict[str, int] = field(default_factory=dict)

    def take(self, record: ChipRecord, identifier: str, *, gap_before: bool, unclean: bool) -> None:
        """Checks one record against those before it.

        Args:
            record: the next record in order.
            identifier: its statement id.
            gap_before: whether records between the last one and this are missing.
            unclean: whether this is a boot record after a boot without shutdown.
        """
        before = self._last
        earlier = self._last_by_host.get(record.host)
        if earlier is not None and record.monotonic_ns < earlier:
            self.docket.fail(
                "chip.ticks",
                record.name,
                f"its host clock went back by {(earlier - record.monotonic_ns) / 1e9:.3f} s without the host booting",
            )
        self._last_by_host[record.host] = max(earlier or 0, record.monotonic_ns)
        if before is not None:
            self._check_active(before, record, gap_before=gap_before, unclean=unclean)
        if record.reason == "boot":
            self._first_receipt = None
        if record.accounting != "none":
            self._check_brackets(record, identifier)
        self._last = record

    def finish(self) -> None:
        """Says what could not be checked."""
        if not self.receipts:
            self.docket.undone("chip.brackets", "no receipts at hand")

    def _check_active(self, before: ChipRecord, record: ChipRecord, *, gap_before: bool, unclean: bool) -> None:
        ran = record.active_ns - before.active_ns
        if ran < 0:
            self.docket.fail("chip.ticks", record.name, f"chip-active time went back by {-ran / 1e9:.3f} s")
            return
        # A challenge answered while no agent runs has no accounting, and no ticks of a boot.
        alone = record.accounting == "none" or before.accounting == "none"
        if alone or record.reason == "boot" or before.reason == "shutdown" or record.boot != before.boot:
            # Between boots nothing runs; after an unclean end the boot record adds what nobody saw.
            if ran and not unclean and not gap_before:
                self.docket.fail(
                    "chip.ticks", record.name, f"{ran / 1e9:.3f} s of chip-active time passed outside any boot"
                )
            return
        if record.host != before.host:
            self.docket.fail("chip.ticks", record.name, "the host booted in the middle of a boot")
            return
        passed = record.monotonic_ns - before.monotonic_ns - before.freeze_ns
        if ran != passed and not gap_before:
            self.docket.fail(
                "chip.ticks",
                record.name,
                f"{passed / 1e9:.6f} s passed outside stops since the record before, {ran / 1e9:.6f} s count as active",
                figure=(passed - ran) / 1e9,
                unit="s",
            )
        spent = record.cpu_ns - before.cpu_ns
        if spent < 0:
            self.docket.fail("chip.cpu", record.name, f"CPU time went back by {-spent / 1e9:.3f} s")
        allowed = ran / 1e9 * record.cores * (1 + self.limits.cpu_share) + self.limits.cpu_s
        if record.cores and spent / 1e9 > allowed:
            self.docket.fail(
                "chip.cpu",
                record.name,
                f"{spent / 1e9:.3f} s of CPU time in {ran / 1e9:.3f} s on {record.cores} processors",
                figure=spent / 1e9,
                unit="s",
            )

    def _check_brackets(self, record: ChipRecord, identifier: str) -> None:
        receipt = self.receipts.get(identifier)
        seen = self.brackets.get(record.not_before) if record.not_before else None
        if receipt is None:
            if self.receipts:
                self.docket.doubt("chip.brackets", record.name, "has no receipt: its time is the operator's word")
            return
        if seen is not None and seen > receipt + self.limits.receipt_s:
            self.docket.fail(
                "chip.brackets", record.name, f"names a value that came to be {seen - receipt:.3f} s after its receipt"
            )
        if self._first_receipt is None:
            self._first_receipt = (record, receipt)
            return
        first, first_receipt = self._first_receipt
        ticks = (record.monotonic_ns - first.monotonic_ns) / 1e9
        allowed = self.limits.receipt_s + self.limits.drift * ticks
        apart = receipt - first_receipt
        if abs(ticks - apart) > allowed:
            self.docket.fail(
                "chip.brackets",
                record.name,
                f"{ticks:.3f} s of ticks since record {first.sequence}, {apart:.3f} s between their receipts",
                figure=ticks - apart,
                unit="s",
            )
        if seen is not None and seen - first_receipt - allowed > ticks:
            self.docket.fail(
                "chip.brackets",
                record.name,
                f"{ticks:.3f} s of ticks since record {first.sequence}, yet it names a value that came to be "
                f"{seen - first_receipt:.3f} s after that record's receipt",
            )
