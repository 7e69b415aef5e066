"""What each further piece of evidence about a public case would do to X, and what it would cost."""

import math
from dataclasses import dataclass

from weighbridge.ledger.case import Case
from weighbridge.ledger.case_account import Evidence, computed, hidden
from weighbridge.planning.items import exact_sample
from weighbridge.planning.snapshots import replay_share
from weighbridge.units import SECONDS_PER_DAY

__all__ = ["Piece", "Visit", "pieces", "visits"]

_ALL = math.inf
_RATES = (1e-4, 1e-3, 1e-2, 1e-1)
_SEGMENTS = (59, 300, 1000, _ALL)
_READINGS = (10, 21, 30, 100, 365)
_OUT_OF_REGISTER = (1e24, 1e25, 1e26)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One set of evidence, X with it, and its cost.

    Attributes:
        group: heading under which it stands.
        what: the evidence, in words.
        evidence: the same, for the arithmetic.
        hidden_flop: X by level.
        stops: freezes or readings that are expected.
        stall_hours: chip-hours lost, if each stop of one chip stalls all.
        anchor_bytes: states that must be kept to explain the stops.
        replayed_share: share of the run that the verifier repeats.
    """

    group: str
    what: str
    evidence: Evidence
    hidden_flop: dict[str, float]
    stops: int
    stall_hours: float
    anchor_bytes: float
    replayed_share: float


@dataclass(frozen=True, kw_only=True)
class Visit:
    """How many chips of the cluster a visit must see to meet one that is not what the register says.

    Attributes:
        flop: operations that must not be done elsewhere in the window.
        chips: fewest chips, at capacity, that could do them.
        sample: chips to see, drawn from the whole cluster, without replacement.
    """

    flop: float
    chips: int
    sample: int


def pieces(case: Case) -> tuple[Piece, ...]:
    """Returns the evidence that nobody published, piece by piece, each with X at the three levels."""
    windows = round(computed(case)["windows"].value)
    stops = f"each of {windows:,} stretches between restarts claimed for itself"
    alone = "One without the other"
    freezes = f"Freezes at rate f, all explained, and every segment replayed; {stops}"
    declared = "The same, if the span of the run was fixed in the log before"
    some = f"Segments drawn, at f = 0.01 a chip and day; {stops}"
    idle = "Counters that show the spare time idle"
    own = "Inspectors' own unannounced readings, and every segment replayed"
    table = [
        (alone, "published figures only", Evidence()),
        (alone, "every segment replayed, no freeze", Evidence(segments=_ALL)),
        (alone, "freezes at 0.01 a chip and day, no transcript", Evidence(rate=0.01)),
        *((freezes, f"f = {rate:g} a chip and day", _sampled(rate, windows=windows)) for rate in _RATES),
        *((declared, f"f = {rate:g} a chip and day", _sampled(rate)) for rate in _RATES),
        *((some, _segments(count), _sampled(0.01, windows=windows, segments=count)) for count in _SEGMENTS),
        (idle, f"f = 0.01, {windows:,} stretches", _sampled(0.01, windows=windows, idle_shown=True)),
        (idle, f"f = 0.1, {windows:,} stretches", _sampled(0.1, windows=windows, idle_shown=True)),
        (idle, "f = 0.01, one span", _sampled(0.01, idle_shown=True)),
        *((own, f"{count} readings", Evidence(readings=count, segments=_ALL)) for count in _READINGS),
    ]
    return tuple(_piece(case, group, what, evidence) for group, what, evidence in table)


def visits(case: Case) -> tuple[Visit, ...]:
    """Returns, for some amounts of compute, the chips that a visit must see so that they could not be done elsewhere.

    A chip that the register calls present and that is gone, or is another, is met with probability 1 - alpha
    (exact, hypergeometric).
    """
    window_s = computed(case)["window"].value * SECONDS_PER_DAY
    cluster = round(case["cluster_chips"])
    found = []
    for flop in _OUT_OF_REGISTER:
        chips = math.ceil(flop / (case["capacity"] * window_s))
        if chips <= cluster:
            sample = exact_sample(cluster, missing=chips, confidence=1 - case["alpha"])
            found.append(Visit(flop=flop, chips=chips, sample=sample))
    return tuple(found)


def _sampled(rate: float, *, windows: int = 1, segments: float = _ALL, idle_shown: bool = False) -> Evidence:
    return Evidence(rate=rate, windows=windows, segments=segments, idle_shown=idle_shown)


def _segments(count: float) -> str:
    return "all segments" if math.isinf(count) else f"{count:,.0f} segments"


def _piece(case: Case, group: str, what: str, evidence: Evidence) -> Piece:
    facts = {name: derived.value for name, derived in computed(case).items()}
    due = math.floor(evidence.rate * case["chip_hours"] / 24) + evidence.readings
    explained = due if evidence.segments else 0
    all_segments = facts["steps"] / case["segment_steps"]
    replayed = min(evidence.segments / all_segments, 1.0)
    if explained and replayed < 1:
        # A stop is explained by the steps to the next digest, and the run commits one each step.
        replayed += replay_share(explained, stride=1, step_seconds=facts["step_time"], days=facts["window"])
    return Piece(
        group=group,
        what=what,
        evidence=evidence,
        hidden_flop=hidden(case, evidence),
        stops=due,
        stall_hours=due * facts["freeze"] * case["chips"] / 3600,
        anchor_bytes=explained * facts["anchor"],
        replayed_share=min(replayed, 1.0),
    )
