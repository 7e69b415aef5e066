"""Where a chip stands when its agent starts: what is on disk, what was lost, which interval is open."""

from dataclasses import dataclass
from pathlib import Path

from weighbridge.errors import EvidenceError
from weighbridge.evidence.cbor import read, read_sign1
from weighbridge.evidence.keys import signature_holds
from weighbridge.evidence.statement import signed_bytes, statement_id
from weighbridge.mechanisms.chip.cgroup import end_leftovers
from weighbridge.mechanisms.chip.heartbeat import Beat, Heartbeat
from weighbridge.mechanisms.chip.record import NO_PREVIOUS, ChipRecord, decode_payload
from weighbridge.mechanisms.chip.schedule import HashChain, ScheduleTerms, chain_seed, gap_ns
from weighbridge.mechanisms.chip.store import Store, record_path, sequences

__all__ = ["ChipSchedule", "Head", "Resumption", "read_head", "resume"]

_STALE_NS = 200_000_000  # a beat is at most this old while the agent lives: four times the beat's period
_MARGIN_AFTER_REBOOT_NS = int((Heartbeat.HORIZON_SECONDS + 1) * 1e9)


class ChipSchedule:
    """The schedule as the chip itself sees it, with its secret.

    Args:
        seed: the chip's secret.
        chip: the chip's id.
        terms: what its certificate fixes.
    """

    def __init__(self, seed: bytes, *, chip: str, terms: ScheduleTerms) -> None:
        self._seed, self._chip, self._terms = seed, chip, terms
        self._epoch, self._chain = 0, self._make(0)
        if self._chain.commitment != terms.commitment:
            raise EvidenceError("the seed does not give the certified commitment", where=chip, field="seed")

    def _make(self, epoch: int) -> HashChain:
        return HashChain(chain_seed(self._seed, chip=self._chip, epoch=epoch), length=self._terms.length)

    def link(self, interval: int) -> bytes:
        """Returns the link of an interval."""
        epoch, position = self._terms.epoch_of(interval)
        if epoch != self._epoch:
            self._epoch, self._chain = epoch, self._make(epoch)
        return self._chain.link(position)

    def gap_ns(self, interval: int) -> int:
        """Returns the length of an interval in nanoseconds of chip-active time."""
        return gap_ns(self.link(interval), chip=self._chip, rate_hz=self._terms.rate_hz)

    def next_commitment(self, interval: int) -> str:
        """Returns the end of the next chain if ``interval`` uses up this one, else the empty string."""
        if not self._terms.is_last(interval):
            return ""
        return self._make(self._terms.epoch_of(interval)[0] + 1).commitment.hex()


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the records on disk say.

    Attributes:
        count: records present; they are numbered from 0 without a gap.
        previous: statement id of the newest, or 64 zeros.
        newest: the newest record, or None.
        event: the newest boot, sample or shutdown record, or None: a challenge changes nothing.
        revealed: the newest interval whose link a record has revealed; 0 if none.
    """

    count: int
    previous: str
    newest: ChipRecord | None
    event: ChipRecord | None
    revealed: int

    @property
    def clean(self) -> bool:
        """Whether the last boot, if any, ended with a shutdown record."""
        return self.event is None or self.event.reason == "shutdown"


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """How a boot begins.

    Attributes:
        boot: its number.
        active_ns: chip-active time, the longest reading.
        interval: the open interval.
        due_ns: when it is due.
        ended: the interval that the boot record must end because its stop was missed, or None.
        lost: how many stops fell due and were never taken.
        survivors: processes of the boot before that were found alive.
        late_cpu_ns: CPU time of the boot before at its end, if known.
    """

    boot: int
    active_ns: int
    interval: int
    due_ns: int
    ended: int | None
    lost: int
    survivors: int
    late_cpu_ns: int | None


def read_head(store: Store) -> Head:
    """Reads the end of the chip's own records.

    Raises:
        EvidenceError: a record is missing or is not this chip's.
    """
    present = sequences(store.directory)
    if present != list(range(len(present))):
        missing = next(number for number, sequence in enumerate(present) if number != sequence)
        raise EvidenceError(
            f"record {store.chip}#{missing} is missing",
            where=store.directory,
            mend="restore it from the log",
        )
    newest = event = None
    previous, revealed = NO_PREVIOUS, 0
    for sequence in reversed(present):
        raw = record_path(store.directory, sequence).read_bytes()
        record = _own_record(raw, store, sequence)
        if newest is None:
            newest, previous = record, statement_id(raw)
        if event is None and record.reason != "challenge":
            event = record
        if record.link is not None:
            revealed = record.interval
            break
    return Head(count=len(present), previous=previous, newest=newest, event=event, revealed=revealed)


def resume(store: Store, schedule: ChipSchedule, heartbeat: Heartbeat, head: Head, *, now_ns: int) -> Resumption:
    """Finds out how the last boot ended and what this one starts with.

    After a clean end everything goes on as it stood. After an unclean one, chip-active time takes its
    longest reading: the newest heartbeat and as much as may have passed after it. Stops due by then were
    missed: they are never redrawn.

    Raises:
        EvidenceError: the store was rolled back or its files contradict each other.
    """
    state = store.state()
    if head.count < state.records:
        raise EvidenceError(
            f"records from {store.chip}#{head.count} on are missing; {state.records} were written",
            where=store.directory,
            mend="restore them from the log",
        )
    survivors, late_cpu = end_leftovers(Path(state.cgroup)) if state.cgroup else (0, None)
    boot = (head.newest.boot if head.newest else 0) + 1
    interval, due, active = state.interval, state.due_ns, head.event.active_ns if head.event else 0
    if head.clean:
        if interval != head.revealed + 1:
            raise EvidenceError(
                f"the open interval is {interval}, the records end with {head.revealed}",
                where=store.directory / "state.json",
                mend="restore the directory as one",
            )
        return Resumption(
            boot=boot,
            active_ns=active,
            interval=interval,
            due_ns=due,
            ended=None,
            lost=0,
            survivors=survivors,
            late_cpu_ns=None,
        )
    active = max(active, state.active_ns)
    found = heartbeat.newest()
    if found is None:
        active += _MARGIN_AFTER_REBOOT_NS
    else:
        beat, same_host = found
        active = max(active, beat.active_ns) + _unwatched(
            beat, same_host=same_host, survivors=survivors, late_cpu_ns=late_cpu, now_ns=now_ns
        )
    for begun in range(interval, head.revealed + 1, -1):
        due -= schedule.gap_ns(begun)
    # Stops that fell due or were begun are over. One record reveals one link, and a chain's last link comes
    # with the next commitment: past that, what is due is taken late instead.
    ended, begun = None, interval
    interval = head.revealed + 1
    while (interval < begun or due <= active) and not (ended and store.terms.is_last(ended)):
        ended = interval
        interval += 1
        due += schedule.gap_ns(interval)
    return Resumption(
        boot=boot,
        active_ns=active,
        interval=interval,
        due_ns=due,
        ended=ended,
        lost=interval - 1 - head.revealed,
        survivors=survivors,
        late_cpu_ns=late_cpu,
    )


def _unwatched(beat: Beat, *, same_host: bool, survivors: int, late_cpu_ns: int | None, now_ns: int) -> int:
    """Returns how much chip-active time may have passed after a beat, in nanoseconds: the longest reading."""
    if not same_host:
        return _MARGIN_AFTER_REBOOT_NS
    margin = _STALE_NS
    if survivors:
        margin = max(margin, now_ns - beat.monotonic_ns)
    if late_cpu_ns is not None:
        margin = max(margin, late_cpu_ns - beat.cpu_ns)
    return margin


def _own_record(raw: bytes, store: Store, sequence: int) -> ChipRecord:
    where = f"{store.chip}#{sequence}"
    headers, _, content, signature = read_sign1(raw, where=where)
    key = store.signer.public_key
    if content is None or not signature_holds(key, signature, signed_bytes(headers, content)):
        raise EvidenceError("is not signed by this chip", where=where, mend="restore it from the log")
    record = decode_payload(read(content, where=where), chip=store.chip, where=where)
    if record.sequence != sequence:
        raise EvidenceError(f"says that it is number {record.sequence}", where=where)
    return record
