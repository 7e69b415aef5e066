"""What one chip's records say about its time, joined with what audits found in them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.account import BootUse
from weighbridge.ledger.boots import beyond_ticks, boot_use, gap_after, silent
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.records import readable
from weighbridge.ledger.windows import Claims, Window
from weighbridge.ledger.workspace import Logged
from weighbridge.mechanisms.chip.record import ChipRecord

__all__ = ["ChipTime", "RecordStatus", "chip_time"]

_MOST_MISSING = 1_000_000
"""Missing records counted at most: a number in a record may be absurd, and one is as damning as a million."""


@dataclass(frozen=True)
class RecordStatus:
    """One record and what became of it.

    ``matched``, ``unmatched``, ``claimed`` (in a window, not drawn for audit), ``outside`` of all windows (its time is
    charged), ``answered`` for a challenge, or the record's own reason.
    """

    record: ChipRecord
    statement_id: str
    time: float
    status: str
    run: str | None = None
    share: float | None = None
    explained: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data for the report."""
        record = self.record
        return {
            "chip": record.chip,
            "sequence": record.sequence,
            "boot": record.boot,
            "reason": record.reason,
            "statement": self.statement_id,
            "time": self.time,
            "active_s": record.active_ns / 1e9,
            "cpu_s": record.cpu_ns / 1e9,
            "freeze_s": record.freeze_ns / 1e9,
            "late_s": record.late_ns / 1e9,
            "read_bytes": record.resident_bytes,
            "writable_bytes": record.writable_bytes,
            "status": self.status,
            "run": self.run,
            "share": self.share,
            "explained": dict(self.explained),
        }


@dataclass(frozen=True)
class ChipTime:
    """One chip's records, boots and samples, ready for the account.

    Attributes:
        chip: chip id.
        records: every record that can be read, and what became of it.
        boots: what each boot was used for.
        findings: what does not fit.
        due: samples due in declared windows, lost and missing ones included.
        audited: those that an audit matched.
        unexplained: those that nothing explains.
        windows: declared windows.
        rate_hz: f, the lowest that a record names; 0 without records.
        cores: processors that the chip's commands could use at most.
    """

    chip: str
    records: tuple[RecordStatus, ...]
    boots: tuple[BootUse, ...]
    findings: tuple[Finding, ...]
    due: int
    audited: int
    unexplained: int
    windows: int
    rate_hz: float
    cores: int

    def off_s(self, window_s: float) -> float:
        """Returns processor-seconds of the window in which nothing says that the chip ran: neither ticks nor the log.

        Stops are no such time: a stopped command computes nothing.
        """
        ran = sum(use.active_s + use.tail_s for use in self.boots)
        stopped = sum(status.record.freeze_ns for status in self.records) / 1e9 * self.cores
        return max(0.0, window_s * self.cores - ran - stopped)


def chip_time(
    chip: str,
    logged: Sequence[Logged],
    audits: Sequence[Mapping[str, Any]],
    *,
    policy: Policy,
    began: float,
    closed: float,
    challenges: Mapping[str, float],
    drawn: Callable[[str, int], bool] = lambda chip, sequence: True,
) -> ChipTime:
    """Joins one chip's records with the audits of the runs that claim them.

    Samples outside the declared windows are not counted, because all chip-time outside is charged in full; inside,
    every sample counts, and one that is missing, lost, claimed twice or not matched though drawn is unexplained. That
    an operator chooses windows on seeing its samples is allowed for in :mod:`weighbridge.ledger.account`.

    Args:
        chip: chip id.
        logged: its record statements, in the order of the log.
        audits: payloads of the run audits.
        policy: the logged plan.
        began: when the plan was logged, by the log's clock.
        closed: when the inspection closed, by the log's clock.
        challenges: nonces that the inspector gave this chip, with the log's time of each.
        drawn: which records were to be audited.
    """
    pairs = readable(logged)
    claims = Claims(chip, audits)
    judge = _Judge(claims, policy, drawn)
    boots: list[BootUse] = []
    findings: list[Finding] = []
    starts = [(r, item) for r, item in pairs if r.reason == "boot"]
    for number in sorted({record.boot for record, _ in pairs if record.reason != "challenge"}):
        members = [(r, item) for r, item in pairs if r.boot == number and r.reason != "challenge"]
        windows = judge.boot(members, [record.sequence for record, _ in pairs])
        tail = gap_after(members, [(r, item) for r, item in starts if r.boot > number], closed)
        use, more = boot_use(chip, members, windows, tail_s=tail + beyond_ticks(members), policy=policy)
        boots.append(use)
        findings += more
    judge.lost(sum(record.lost for record, _ in starts))
    answered = [(r, item) for r, item in pairs if r.reason == "challenge"]
    judge.statuses += [RecordStatus(r, item.statement.id, item.time, "answered") for r, item in answered]
    open_nonces = set(challenges) - {record.nonce for record, _ in answered}
    findings += _closing(chip, challenges, open_nonces)
    cores = max((use.cores for use in boots), default=1)
    asked = max(challenges.values()) if challenges and not open_nonces else None
    unseen = _unseen(boots, pairs, began=began, closed=closed, asked=asked)
    boots.append(silent(chip, unseen * cores, "nothing shows what the chip did in this time, up to the close"))
    return ChipTime(
        chip=chip,
        records=tuple(sorted(judge.statuses, key=lambda status: status.record.sequence)),
        boots=tuple(boots),
        findings=(*judge.findings, *findings),
        due=judge.due,
        audited=judge.audited,
        unexplained=judge.unexplained,
        windows=judge.windows,
        rate_hz=min((record.rate_hz for record, _ in pairs), default=0.0),
        cores=cores,
    )


def _unseen(
    boots: Sequence[BootUse],
    pairs: Sequence[tuple[ChipRecord, Logged]],
    *,
    began: float,
    closed: float,
    asked: float | None,
) -> float:
    """Returns seconds of the window of which nothing shows what the chip did.

    A chip that answered every challenge owes the time since the newest was ``asked``: its answer was made no earlier,
    and when it was logged says nothing of how long it had been ready, nor of what was done meanwhile and withheld. Of
    another, more records may exist; when one was logged says little of when it was made, so all counts beyond the
    ticks that it admits to.
    """
    if asked is not None:
        return max(0.0, closed - max(began, asked))
    rest = max(0.0, closed - max([began, *(item.time for _, item in pairs)]))
    shown = sum((use.active_s + use.tail_s) / use.cores for use in boots)
    frozen = sum(record.freeze_ns for record, _ in pairs) / 1e9
    return max(rest, closed - began - shown - frozen)


class _Judge:
    """Gives every sample of a chip its status, boot by boot, and counts."""

    def __init__(self, claims: Claims, policy: Policy, drawn: Callable[[str, int], bool]) -> None:
        self._claims, self._policy, self._drawn = claims, policy, drawn
        self.statuses: list[RecordStatus] = []
        self.findings: list[Finding] = []
        self.due = self.audited = self.unexplained = self.windows = 0

    def boot(self, members: Sequence[tuple[ChipRecord, Logged]], known: Sequence[int]) -> list[Window]:
        """Judges one boot's records and returns its windows; ``known`` has every number that a record carries."""
        samples = [record for record, _ in members if record.reason == "sample"]
        windows = list(self._claims.windows(samples))
        self.windows += len(windows)
        for window in windows:
            first, last = window.first.sequence, window.last.sequence
            present = sum(1 for sequence in known if first <= sequence <= last)
            self.lost(min(last - first + 1 - present, _MOST_MISSING))
        for record, item in members:
            if record.reason != "sample":
                self._note(record, item, record.reason)
            elif any(window.holds(record) for window in windows):
                self._inside(record, item)
            else:
                self._note(record, item, "outside" if windows else "unmatched")
                if not windows:
                    self._unmatched(
                        record,
                        item,
                        "memory that no accepted transcript explains: nothing declared ran on this chip in this boot",
                    )
        return windows

    def lost(self, count: int) -> None:
        """Counts samples that fell due and of which there is no record."""
        self.due += count
        self.unexplained += count

    def _inside(self, record: ChipRecord, item: Logged) -> None:
        self.due += 1
        owners = sorted(self._claims.owners(record))
        run = owners[0][0] if len(owners) == 1 else None
        detail = self._claims.found(run, record) if run is not None else None
        if run is not None and detail is None and not self._drawn(record.chip, record.sequence):
            self._note(record, item, "claimed", run)
            return
        reason = _why_unexplained(owners, detail)
        beyond = self._beyond(record, item, run, detail) if run is not None and detail and not reason else None
        if reason is None and beyond is None:
            self.audited += 1
            self._note(record, item, "matched", run, detail)
            return
        self.unexplained += 1
        self._note(record, item, "unmatched", run, detail)
        if beyond is not None:
            self.findings.append(beyond)
        else:
            blind = detail is not None and detail["weight_leaves"] == 0
            outcome = Outcome.INCONCLUSIVE if blind else Outcome.FAIL
            self._unmatched(record, item, reason or "", share=detail["share"] if detail else None, outcome=outcome)

    def _note(
        self,
        record: ChipRecord,
        item: Logged,
        status: str,
        run: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        share = detail["share"] if detail else None
        explained = _bytes(detail) if detail else {}
        self.statuses.append(RecordStatus(record, item.statement.id, item.time, status, run, share, explained))

    def _unmatched(
        self,
        record: ChipRecord,
        item: Logged,
        reason: str,
        *,
        share: float | None = None,
        outcome: Outcome = Outcome.FAIL,
    ) -> None:
        self.findings.append(
            Finding(
                check="match.record",
                subject=record.name,
                outcome=outcome,
                reason=reason,
                figure=share,
                unit=None if share is None else "share",
                evidence=(item.statement.id,),
                redo="weighbridge assess .",
            )
        )

    def _beyond(self, record: ChipRecord, item: Logged, run: str, detail: Mapping[str, Any]) -> Finding | None:
        """Returns what is wrong with a record's unexplained bytes: too many, or no yardstick to compare with."""
        baseline = self._claims.runs[run]["baseline_bytes"]
        excess = detail["unexplained_bytes"] - baseline
        if baseline and excess <= self._policy.unexplained_limit_bytes:
            return None
        parameters = excess / 16
        return Finding(
            check="match.unexplained-bytes",
            subject=record.name,
            outcome=Outcome.FAIL if baseline else Outcome.INCONCLUSIVE,
            reason=f"{excess / 1e6:.0f} MB of non-zero memory beyond what the declared program holds when replayed:"
            f" room to train a model of {parameters:.2g} parameters beside the declared one"
            if baseline
            else "the replay was too short to measure what the declared program holds, so what lay beside the declared"
            " weights cannot be judged: the record counts as unexplained",
            figure=float(excess) if baseline else None,
            unit="byte" if baseline else None,
            hidden_flop=120.0 * parameters**2 if baseline else None,
            evidence=(item.statement.id,),
        )


def _why_unexplained(owners: Sequence[tuple[str, int]], detail: Mapping[str, Any] | None) -> str | None:
    if len(owners) > 1:
        names = " and ".join(f"{run[:16]} (segment {segment})" for run, segment in owners[:2])
        return f"claimed by run {names}: one record explains one process, so it explains neither"
    if not owners:
        return "a freeze inside the declared span that no transcript explains"
    if detail is None:
        return f"claimed by run {owners[0][0][:16]}, but its leaf table or salt is missing or not the signed one"
    if detail["weight_leaves"] == 0:
        return (
            "the declared weights fill no whole leaf, so whether they were resident cannot be seen: use smaller leaves"
        )
    if not detail["matched"]:
        return f"only {detail['share']:.0%} of the declared weights were resident at this freeze"
    return None


def _bytes(detail: Mapping[str, Any]) -> dict[str, int]:
    return {
        **detail["explained_bytes"],
        "zero": detail["zero_bytes"],
        "unexplained": detail["unexplained_bytes"],
        "read": detail["read_bytes"],
    }


def _closing(chip: str, challenges: Collection[str], open_nonces: Collection[str]) -> list[Finding]:
    if not challenges:
        outcome = Outcome.INCONCLUSIVE
        reason = "the chip was not challenged when the inspection closed: later records could be missing"
    elif open_nonces:
        outcome, reason = Outcome.FAIL, "the chip did not answer the inspector's closing challenge"
    else:
        outcome = Outcome.PASS
        reason = "the chip answered the closing challenge with its next counter, so no record is missing at the end"
    return [Finding(check="inspection.challenge", subject=chip, outcome=outcome, reason=reason)]
