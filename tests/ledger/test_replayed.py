"""What a replay lends a run: steps that cover time, and seconds that they need, never by the program's word alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from weighbridge.ledger.replayed import lower_envelope, spans, step_cpu
from weighbridge.mechanisms.transcript.plans import AuditPlan
from weighbridge.mechanisms.transcript.replay import Replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Freeze, Transcript


@dataclass(frozen=True)
class Event:
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Segment:
    events: tuple[Event, ...]


def freeze(step: int, *, chip: str = "c1", boot: int = 1) -> Freeze:
    return Freeze(
        chip=chip,
        boot=boot,
        first=step,
        last=step,
        step=step,
        updating=False,
        anchor="a",
        state="",
        layout=(),
        data=(),
    )


class Journal:
    """What the functions ask of a transcript: segments of steps, and freezes between them."""

    run, commitment, folder = "aa" * 32, None, Path("run")

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.freezes: list[Freeze] = []

    def segment(self, *steps: int, freezes: Sequence[Freeze]) -> "Journal":
        events = [Event("step", {"step": step}) for step in steps]
        events += [Event("freeze", {"step": one.step}) for one in freezes]
        self.segments.append(Segment(tuple(events)))
        self.freezes += freezes
        return self

    def spans(self, *legs: tuple[int, int]) -> list[tuple[int, int]]:
        """Segments with the steps that cover time in them, of a replay of these stretches."""
        plan = AuditPlan(tuple(Leg(*leg) for leg in legs), frozenset(), frozenset())
        return [(span["segment"], span["steps"]) for span in spans(cast(Transcript, self), plan)]


def test_steps_between_the_first_and_the_last_freeze_cover_time() -> None:
    run = Journal().segment(*range(30), freezes=[freeze(5), freeze(11), freeze(25)])
    assert run.spans((0, 30)) == [(0, 20)]


@pytest.mark.parametrize("freezes", [[], [freeze(5)]])
def test_less_than_two_freezes_cover_nothing(freezes: list[Freeze]) -> None:
    assert not any(steps for _, steps in Journal().segment(*range(30), freezes=freezes).spans((0, 30)))


def test_steps_that_were_not_replayed_stay_a_claim() -> None:
    run = Journal().segment(*range(30), freezes=[freeze(5), freeze(25)])
    assert run.spans((0, 4), (10, 14), (24, 28)) == [(0, 5)]


def test_a_step_that_the_journal_does_not_have_covers_nothing() -> None:
    run = Journal().segment(*range(10), *range(20, 30), freezes=[freeze(5), freeze(25)])
    assert run.spans((0, 30)) == [(0, 10)]


def test_a_step_trained_again_after_a_resumption_covers_time_once() -> None:
    """What a kill undid is nowhere shown, though it may have cost time."""
    run = Journal().segment(*range(20), freezes=[freeze(2), freeze(18)])
    run.segment(*range(10, 30), freezes=[freeze(12), freeze(28)])
    assert run.spans((0, 30)) == [(0, 8), (1, 16)]


@pytest.mark.parametrize("other", [freeze(25, chip="c2"), freeze(25, boot=2)])
def test_one_process_that_claims_two_chips_or_boots_covers_nothing(other: Freeze) -> None:
    """The same steps would cover time twice."""
    assert Journal().segment(*range(30), freezes=[freeze(5), freeze(15), other]).spans((0, 30)) == []


def test_freezes_told_backwards_cover_nothing() -> None:
    assert Journal().segment(*range(30), freezes=[freeze(25), freeze(5)]).spans((0, 30)) == [(0, 0)]


# --- CPU seconds a step


def test_the_cheapest_block_of_ten_is_the_price_of_a_step() -> None:
    """The spread is the honest slack, and it is charged."""
    assert lower_envelope([0.3] * 10 + [0.1] * 10 + [0.2] * 10) == pytest.approx(0.1)
    assert lower_envelope(([0.0] + [0.1] * 9) * 3) == pytest.approx(0.09), "a lucky step is not the price of all"
    assert lower_envelope([0.2] * 10 + [0.0] * 3) == pytest.approx(0.2), "nor is a rest of three"
    assert lower_envelope([0.2, 0.4]) == pytest.approx(0.3)
    assert lower_envelope([]) == 0.0


@dataclass(frozen=True)
class Result:
    cpu_seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a replayed program says of its own time, beside what was seen from outside."""

    step_cpu_s: list[float]
    result: Result
    startup_cpu_s: float = 1.0
    overstated_s: float = 0.0


def priced(steps: list[float], seen: float, **changes: float) -> tuple[float, int]:
    price, doubts = step_cpu(cast(Transcript, Journal()), cast(Replay, Outcome(steps, Result(seen), **changes)))
    return price, len(doubts)


def test_an_honest_program_s_count_is_its_price() -> None:
    price, doubts = priced([0.1] * 50, seen=6.2)
    assert price == pytest.approx(0.1)
    assert doubts == 0


def test_a_program_that_tells_more_time_than_was_seen_from_outside_tampers_with_its_clock() -> None:
    price, doubts = priced([0.5] * 50, seen=6.0)
    assert doubts == 1
    assert price == pytest.approx(5.0 / 50), "and it is believed no more than the outside"


def test_a_start_up_told_too_long_makes_steps_cheaper_never_dearer() -> None:
    assert priced([0.1] * 50, seen=6.0, startup_cpu_s=4.0)[0] <= 0.1
    assert priced([0.1] * 50, seen=6.0, startup_cpu_s=1e6) == (0.0, 1)
