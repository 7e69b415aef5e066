"""The agreement's clocks, gaps in footage, and what a sample with holes still bounds: arithmetic without files."""

from dataclasses import replace
from itertools import pairwise
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.mechanisms.inspection.clocks import ACCESS, ACKNOWLEDGEMENT, CLARIFICATION, REACH, clocks
from weighbridge.mechanisms.inspection.footage import gaps, overlaps, shown_twice
from weighbridge.mechanisms.inspection.plan import MOST_VISITS, Opening, VisitPlan
from weighbridge.mechanisms.inspection.record import VisitRecord
from weighbridge.mechanisms.inspection.sample import most_defective

HOUR, T0 = 3_600, 1_790_000_000
PLAN = VisitPlan(
    draw="ab" * 32, site="s", notified_at=T0, team={"cd" * 32: "ines"}, checks=("serial",), items=({"id": "a"},)
)


def opened(access: int | None, *, arrived: int | None = None, at: int = T0) -> Opening:
    return Opening(visit="ab" * 32, at=at, access_at=access, arrived_at=arrived, place="p", fresh="ab" * 32)


def record(sequence: int, what: str, hours: float, **details: object) -> VisitRecord:
    return VisitRecord(
        visit="ab" * 32,
        sequence=sequence,
        previous="cd" * 32,
        at=T0 + int(hours * HOUR),
        item=None,
        what=what,
        details=details,
    )


def test_the_agreements_timings() -> None:
    assert (ACCESS, ACKNOWLEDGEMENT, CLARIFICATION) == (24 * HOUR, 36 * HOUR, 5 * 24 * HOUR)
    assert (REACH, MOST_VISITS) == (12 * HOUR, 20)


@pytest.mark.parametrize(
    ("access", "now", "state"),
    [
        (None, 11.9, "running"), (None, 12, "alarm"), (None, 20, "alarm"), (None, 24, "alarm"), (None, 24.1, "broken"),
        (23.9, 90, "kept"), (24, 90, "kept"), (24.1, 90, "late"),
    ],
)  # fmt: skip
def test_access_within_a_day(access: float | None, now: float, state: str) -> None:
    opening = opened(None if access is None else T0 + int(access * HOUR))
    at = T0 + now * HOUR
    clock = clocks(PLAN, opening, [], now=at)[0]
    assert clock.state(at) == state
    assert [alarm - T0 for alarm in clock.alarms] == [12 * HOUR, 20 * HOUR]
    later = [] if access is None else [record(0, "access", access)]
    assert clocks(PLAN, opened(None), later, now=at)[0].state(at) == state


def test_a_dispute_is_acknowledged_in_36_hours_and_clarified_in_5_days() -> None:
    told = [
        record(0, "dispute", 1, text="no access to rack 3"),
        record(1, "refusal", 2, of="rack 4", by="host", reason=None),
        record(2, "acknowledgement", 37, about=0),
        record(3, "acknowledgement", 38.5, about=1),
        record(4, "clarification", 121, about=0, text="it was locked"),
    ]
    now = T0 + 123 * HOUR
    found = {clock.name: clock.state(now) for clock in clocks(PLAN, opened(T0), told, now=now)}
    assert found == {
        "access to the site": "kept",
        "acknowledgement of record 0 (dispute)": "kept",
        "clarification of record 0 (dispute)": "kept",
        "acknowledgement of record 1 (refusal)": "late",
        "clarification of record 1 (refusal)": "broken",
    }


@pytest.mark.parametrize(("hours", "state"), [(11.9, "kept"), (12.1, "late")])
def test_a_site_lies_within_half_a_day_of_an_airport(hours: float, state: str) -> None:
    opening = opened(T0, arrived=T0 - int(hours * HOUR))
    found = {clock.name: clock for clock in clocks(PLAN, opening, [], now=T0)}
    assert found["the site, from the airport"].state(T0) == state


def test_a_delay_of_access_is_a_dispute_from_when_it_was_due() -> None:
    def states(now: float, *told: VisitRecord) -> dict[str, str]:
        at = T0 + now * HOUR
        return {clock.name: clock.state(at) for clock in clocks(PLAN, opened(None), told, now=at)}

    assert set(states(23)) == {"access to the site"}
    assert states(25) == {
        "access to the site": "broken",
        "acknowledgement of the delay of access": "running",
        "clarification of the delay of access": "running",
    }
    assert states(24 + 28)["acknowledgement of the delay of access"] == "alarm"
    assert states(24 + 37)["acknowledgement of the delay of access"] == "broken"
    assert states(24 + 121)["clarification of the delay of access"] == "broken"
    late = (record(0, "access", 30), record(1, "dispute", 31, text="late"), record(2, "acknowledgement", 40, about=1))
    assert states(41, *late)["access to the site"] == "late"
    assert states(41, *late)["acknowledgement of the delay of access"] == "kept"
    # Who refused in words was already answered for; its clocks run from then, and are not doubled.
    refused = record(0, "refusal", 2, of="entry", by="guard", reason=None)
    assert {name for name in states(25, refused) if "delay" in name} == set()
    # A word about one item is no word about the site.
    one = replace(refused, item="a")
    assert "acknowledgement of the delay of access" in states(25, one)


def test_what_was_said_before_a_dispute_does_not_answer_it() -> None:
    told = [record(0, "acknowledgement", 1, about=1), record(1, "dispute", 2, text="x")]
    found = {clock.name: clock.met_at for clock in clocks(PLAN, opened(T0), told, now=T0 + 3 * HOUR)}
    assert found["acknowledgement of record 1 (dispute)"] is None
    dated_back = [record(0, "dispute", 2, text="x"), record(1, "acknowledgement", 1, about=0)]
    found = {clock.name: clock.met_at for clock in clocks(PLAN, opened(T0), dated_back, now=T0 + 3 * HOUR)}
    assert found["acknowledgement of record 0 (dispute)"] is None


def part(start: int, end: int) -> dict[str, object]:
    return {"from": start, "to": end, "sha256": "ab" * 32}


def test_gaps_and_overlaps() -> None:
    footage = [part(40, 90), part(0, 30), part(80, 100)]
    assert gaps(footage, start=0, end=120) == [(30, 40), (100, 120)]
    assert gaps(footage, start=35, end=36) == [(35, 36)]
    assert gaps([], start=0, end=5) == [(0, 5)]
    assert overlaps(footage) == [(80, 90)]
    assert overlaps([part(0, 5), part(5, 9)]) == []
    assert shown_twice([("hall", part(0, 5)), ("hall", part(0, 5))]) == set()
    assert shown_twice([("hall", part(0, 5)), ("yard", part(0, 5))]) == {"ab" * 32}


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=8))
def test_gaps_are_what_no_second_of_footage_covers(spans: list[tuple[int, int]]) -> None:
    footage = [part(start, start + length) for start, length in spans]
    covered = {second for start, length in spans for second in range(start, start + length)}
    missing = {second for a, b in gaps(footage, start=10, end=50) for second in range(a, b)}
    assert missing == set(range(10, 50)) - covered
    assert all(one[1] < two[0] for one, two in pairwise(gaps(footage, start=10, end=50)))


@pytest.mark.parametrize(("population", "drawn"), [(8, 3), (30, 10), (41, 41), (12, 1)])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_most_defective_against_exact_enumeration(population: int, drawn: int, alpha: float) -> None:
    for found in range(min(drawn, 5) + 1):
        chances = {
            faulty: sum(comb(faulty, i) * comb(population - faulty, drawn - i) for i in range(found + 1))
            / comb(population, drawn)
            for faulty in range(found, population - (drawn - found) + 1)
        }
        expected = max(faulty for faulty, chance in chances.items() if chance > alpha or faulty == found)
        assert most_defective(population, drawn=drawn, found=found, alpha=alpha) == expected


def test_impossible_counts_are_refused() -> None:
    for population, drawn, found, alpha in ((8, 9, 0, 0.05), (8, 3, 4, 0.05), (0, 0, 0, 0.05), (8, 3, 0, 1.0)):
        with pytest.raises(InputError):
            most_defective(population, drawn=drawn, found=found, alpha=alpha)


def test_a_plan_says_how_much_it_holds() -> None:
    items = tuple({"id": f"c{n}"} for n in range(5_001))
    with pytest.raises(
        InputError, match="has 5001 items and reserves, and a plan holds 5000; draw for each site apart"
    ):
        replace(PLAN, items=items)
