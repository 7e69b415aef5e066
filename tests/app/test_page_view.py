"""What the report's page makes of a body: accounts, time lines, groups and words."""

from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest

from weighbridge.app import page_text
from weighbridge.app.page_drawing import LEFT, WIDTH, Scale, stack, timeline
from weighbridge.app.page_view import groups, known_limits, operator_view, verdicts_by_level

from .reports import BEGAN, CHEATING, WINDOW, WORKING, coverage, finding, operator, record


def test_the_account_adds_up(both: dict[str, Any]) -> None:
    honest = operator_view(both["operators"][0], 1, both["window"])
    assert {part.kind: part.flop for part in honest.parts} == {"declared": 8e11, "exposure": 6e11, "around": 6e11}
    assert honest.levels[0].total == pytest.approx(sum(part.flop for part in honest.parts))
    assert not honest.levels[0].beyond
    assert honest.levels[1].beyond
    drawn = honest.levels[0].bars
    for before, after in pairwise(drawn):
        assert before.x + before.width == pytest.approx(after.x, abs=0.2)
    assert drawn[-1].x + drawn[-1].width < honest.threshold_x


def test_the_account_counts_as_the_rule_does(both: dict[str, Any]) -> None:
    both["operators"][0]["rulings"]["A"]["hidden_flop"] *= 2
    honest = operator_view(both["operators"][0], 1, both["window"])
    assert honest.weight == 2
    assert sum(part.flop for part in honest.parts) == pytest.approx(honest.levels[0].total)


def test_memory_is_of_all_writable_bytes(both: dict[str, Any]) -> None:
    memory = operator_view(both["operators"][0], 1, both["window"]).memory
    assert memory is not None
    assert memory.writable == 41 * 1000
    assert {c.name: c.total for c in memory.classes} == {
        "weights": 4100, "optimizer": 8200, "data": 2050, "zero": 2050, "unexplained": 20500, "not read": 4100,
    }  # fmt: skip
    assert memory.most_beyond == 50
    assert operator_view(both["operators"][1], 2, both["window"]).memory is None


def test_boots_and_marks_lie_where_the_log_says(both: dict[str, Any]) -> None:
    row = timeline(both["operators"][0], both["window"]).rows[0]
    assert [(boot.x, boot.kind) for boot in row.boots] == [(LEFT + WIDTH * 20 / 200, "declared")]
    assert [bar.kind for bar in row.bars] == ["off"]
    assert row.counts == {"outside": 0, "matched": 41, "answered": 1, "unmatched": 0}
    assert len(row.runs) == 1


def test_time_without_evidence_is_drawn(both: dict[str, Any]) -> None:
    cheat = both["operators"][1]
    cheat["records"] = [*cheat["records"][:-2], record(CHEATING, 50, 150.0, "boot", boot=2)]
    cheat["account"]["coverages"].append(coverage(CHEATING, "silent", 50.0, 50.0, []))
    row = timeline(cheat, both["window"]).rows[0]
    silent = [(bar.x, bar.x + bar.width) for bar in row.bars if bar.kind == "silent"]
    at = Scale(WINDOW).x
    assert silent == [(at(150), at(200)), (at(102), at(150)), (at(150), at(200))]


def test_a_chip_that_never_spoke_has_a_row(both: dict[str, Any]) -> None:
    quiet = both["operators"][0]
    quiet["chips"].append("9" * 64)
    quiet["account"]["coverages"].append(coverage("9" * 64, "silent", WINDOW, WINDOW, []))
    row = timeline(quiet, both["window"]).rows[1]
    assert row.bars[1].width == WIDTH
    assert not row.boots


def test_many_chips_and_marks_stay_readable(both: dict[str, Any]) -> None:
    busy = both["operators"][0]
    busy["chips"] += [f"{n:064x}" for n in range(100)]
    busy["records"] += [record(WORKING, 100 + n, 100.0, "matched") for n in range(500)]
    drawn = timeline(busy, both["window"])
    assert drawn.chips_left_out == 41
    assert drawn.marks_left_out >= 499


@pytest.mark.parametrize(
    ("seconds", "unit", "last"),
    [(0.5, "seconds", "0.5"), (200.0, "seconds", "200"), (7200.0, "minutes", "120"), (90_000.0, "hours", "25"),
     (30 * 86_400.0, "days", "30"), (0.0, "seconds", "0")],
)  # fmt: skip
def test_the_time_axis_has_round_ticks(seconds: float, unit: str, last: str) -> None:
    bare = operator("Bare", honest=True) | {"records": [], "chips": []}
    drawn = timeline(bare, {"began": BEGAN, "seconds": seconds})
    assert drawn.unit == unit
    assert drawn.ticks[-1][1] == last
    assert len(drawn.ticks) <= 11


def test_a_stack_drops_what_is_zero_and_shows_what_is_tiny() -> None:
    bars = stack([("a", 0.0, "a", "a"), ("b", 1e-9, "b", "b"), ("c", 5.0, "c", "c")], Scale(10.0))
    assert [bar.kind for bar in bars] == ["b", "c"]
    assert bars[0].width > 0.5


def test_findings_group_by_what_they_say() -> None:
    def matches(n: int, figure: float) -> dict[str, Any]:
        return finding(
            "m", "fail", f"{n}", f"only {figure:.0%} of run {'ab' * 8} matched", figure=figure, hidden_flop=figure
        )

    found = groups(
        [
            finding("p", "pass", "1", "held"),
            matches(1, 0.5),
            finding("m", "fail", "2", "something else"),
            finding("i", "inconclusive", "1", "unread"),
            matches(3, 0.25),
        ]
    )
    assert [(group.outcome, group.check, len(group.findings)) for group in found] == [
        ("fail", "m", 2), ("fail", "m", 1), ("inconclusive", "i", 1), ("pass", "p", 1),
    ]  # fmt: skip
    assert found[0].figures == (0.25, 0.5)
    assert found[0].hidden_flop == 0.5
    assert found[1].figures is None


def test_limits_merge_and_the_unbounded_come_first(both: dict[str, Any]) -> None:
    found = known_limits(both["operators"])
    assert [(limit.limit, limit.figures) for limit in found] == [
        ("compute switched off", (("unbounded", []),)),
        ("adversarial code", ((8e11, ["Spruce"]), (0.0, ["Willow"]))),
    ]


def test_verdicts_by_level(both: dict[str, Any]) -> None:
    assert verdicts_by_level(both)["B"] == [("compliant", []), ("violation", ["Willow"]), ("inconclusive", ["Spruce"])]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (page_text.flop(9.808e12), "9.808 × 10¹² FLOP"),
        (page_text.flop(1e25), "10²⁵ FLOP"),
        (page_text.flop(0.0), "0 FLOP"),
        (page_text.flop("unbounded"), "unbounded"),
        (page_text.flop(None), "–"),
        (page_text.number(2.5e-7, "s"), "2.5 × 10⁻⁷ s"),
        (page_text.percent(0.30000000000000004), "30 %"),
        (page_text.percent(0.9999), "> 99.9 %"),
        (page_text.percent(0.00001), "< 0.1 %"),
        (page_text.percent(10.45), "1,045 %"),
        (page_text.percent(0.0), "0 %"),
        (page_text.duration(182.0), "3 min 2 s"),
        (page_text.duration(7199.9), "120 min"),
        (page_text.duration(30 * 86_400.0), "30 days"),
        (page_text.duration(0.254), "0.254 s"),
        (page_text.measure(16 << 20, "byte"), "16 MiB"),
        (page_text.measure(0.5, "share"), "50 %"),
        (page_text.measure(2.08, "ratio"), "2.08 (ratio)"),
        (page_text.measure(None, None), "–"),
        (page_text.times(1.9e12, 3.8e12), "0.5 times"),
        (page_text.times(1.0, 0.0), "–"),
        (page_text.moment(0.0), "1 January 1970, 00:00:00 UTC"),
        (page_text.moment(1e30), "10³⁰ s"),
        (page_text.short("a" * 64 + "#7"), "aaaaaaaa…#7"),
        (page_text.short("short"), "short"),
    ],
)
def test_figures_read_as_a_person_writes_them(shown: str, expected: str) -> None:
    assert shown.replace("\xa0", " ") == expected


def test_cleaning_leaves_figures_and_the_body_alone(both: dict[str, Any]) -> None:
    before = deepcopy(both)
    assert page_text.clean(both) == before
    assert both == before
    assert page_text.clean({"a\u202e": [1, None, True, "b\n"]}) == {"a‹U+202E›": [1, None, True, "b‹U+000A›"]}
