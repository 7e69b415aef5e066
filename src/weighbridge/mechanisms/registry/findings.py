"""What does not add up in the directory, as findings. A contradiction fails; somebody's mere word is inconclusive.

A finding never says fraud: each of these has benign causes (a ledger that lags, a partial delivery, a repair).
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.registry.custody import History, Status
from weighbridge.mechanisms.registry.fold import CLOCK_SKEW
from weighbridge.units import SECONDS_PER_DAY

__all__ = ["TRANSIT_LIMIT", "judge", "judge_serials"]

TRANSIT_LIMIT: Final = 14.0 * SECONDS_PER_DAY
"""Seconds that a shipment may be under way before it is missing, unless the caller knows its route."""


def judge(
    history: History,
    *,
    now: float,
    at: float | None = None,
    transit_limit: float = TRANSIT_LIMIT,
    passes: bool = False,
) -> Iterator[Finding]:
    """Yields the findings on one chip.

    Args:
        history: the chip's history.
        now: the reader's clock, Unix seconds: nothing can have been signed or have happened later.
        at: the time at which a shipment may be overdue; ``now`` unless given.
        transit_limit: seconds that a shipment may be under way.
        passes: also say so when nothing is wrong.
    """
    problems = 0
    for mark in history.marks:
        problems += 1
        outcome = Outcome.INCONCLUSIVE if mark.word_only else Outcome.FAIL
        yield _finding(mark.check, history.chip, outcome, mark.reason, evidence=mark.evidence)
    for event in history.events:
        latest = max(event.body.time, float(event.issued_at))
        if event.body.time > event.issued_at + CLOCK_SKEW or latest > now + CLOCK_SKEW:
            problems += 1
            claimed = f"{event.body.step} by {event.body.party} at {_date(event.body.time)}"
            reason = f"{claimed}, signed at {_date(event.issued_at)}, read at {_date(now)}: a clock is wrong"
            yield _finding("clock", history.chip, Outcome.FAIL, reason, evidence=(event.statement,))
    asked = now if at is None else at
    state = history.at(asked)
    if state is not None and state.status is Status.IN_TRANSIT and asked - state.since > transit_limit:
        problems += 1
        days = (asked - state.since) / SECONDS_PER_DAY
        yield _finding(
            "never-received",
            history.chip,
            Outcome.FAIL,
            f"{state.holder} shipped it to {state.addressee} {days:.1f} days ago; nobody signed for it",
            evidence=state.evidence,
            figure=days,
        )
    if passes and not problems:
        reason = "custody is unbroken: " + (f"{state.status} by {state.holder}" if state else "no event yet")
        evidence = tuple(event.statement for event in history.events)
        yield _finding("custody", history.chip, Outcome.PASS, reason, evidence=evidence)


def judge_serials(histories: Iterable[History]) -> Iterator[Finding]:
    """Yields a finding for each chip whose serial number another chip carries as well.

    Two makers may use the same number; one maker, or a registrar's list of older stock, may not.

    Args:
        histories: all chips among which a serial number must be unique.
    """
    carriers: dict[str, list[History]] = {}
    for history in histories:
        if history.serial is not None:
            carriers.setdefault(history.serial, []).append(history)
    for serial, group in carriers.items():
        for history in group:
            others = [other for other in group if other is not history and _same_maker(history, other)]
            if others:
                names = ", ".join(f"{other.chip} ({_holder(other)})" for other in others[:5])
                yield _finding(
                    "double-sold",
                    history.chip,
                    Outcome.FAIL,
                    f"its serial {serial} is also that of {names}; itself: {_holder(history)}",
                    evidence=tuple(event.statement for one in (history, *others[:5]) for event in one.events[:1]),
                )


def unknown(chip: str) -> Finding:
    """Returns the finding that a chip is not in the directory at all."""
    return _finding("origin", chip, Outcome.FAIL, "is not in the directory", evidence=())


def _same_maker(one: History, other: History) -> bool:
    return one.pre_registry or other.pre_registry or bool(set(one.makers) & set(other.makers))


def _holder(history: History) -> str:
    return f"held by {history.states[-1].holder}" if history.states else "holder unknown"


def _finding(
    check: str,
    chip: str,
    outcome: Outcome,
    reason: str,
    *,
    evidence: tuple[str, ...],
    figure: float | None = None,
) -> Finding:
    return Finding(
        check=f"registry.{check}",
        subject=chip,
        outcome=outcome,
        reason=reason,
        figure=figure,
        unit=None if figure is None else "days",
        evidence=evidence,
        redo=f"weighbridge registry findings --chip {chip}",
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
