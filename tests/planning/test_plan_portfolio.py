import itertools
import json
import math
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site
from weighbridge.planning.interval import Interval, parse_interval
from weighbridge.planning.mechanisms import Catalogue, load_mechanisms
from weighbridge.planning.portfolio import Case, Cover, assess_cover
from weighbridge.planning.snapshots import plan_snapshots
from weighbridge.planning.treaty_years import treaty_years

KNOWN = load_mechanisms()
FLEET = [Site(name="a", chips=3000, chip_flops=1e15), Site(name="b", chips=1000, chip_flops=1e15)]
CASE = Case(flop=1e24, days=30.0)
CAPACITY = 4000 * 1e15 * 86_400 * 30
NEVER = ("visits", "cameras", "code-access", "interviews", "tips", "transcripts", "signatures")


def under(regime: str, *given_: str, case: Case = CASE, fleet: list[Site] = FLEET) -> Cover:
    known = KNOWN
    for assignment in given_:
        known = known.with_input(assignment)
    return assess_cover(fleet, regimes={site.name: regime for site in fleet}, catalogue=known, case=case)


def test_the_ten_mechanisms_are_carried_with_sources() -> None:
    assert set(KNOWN.mechanisms) == {*NEVER, "snapshots", "pods", "guarantees"}
    for mechanism in KNOWN.mechanisms.values():
        assert "arXiv" in mechanism.source
        for given_ in mechanism.inputs.values():
            assert given_.source
            # What is assumed is never a figure without width, except where it stands for nothing yet.
            assert given_.mark != "A" or given_.range[0] < given_.range[1] or given_.range == (0, 0)
    assert KNOWN.mechanisms["tips"].inputs["chance"].range == (0, 1)


def test_people_labels_and_signatures_never_lower_x() -> None:
    for number in range(len(NEVER) + 1):
        for some in itertools.combinations(NEVER, number):
            found = under("+".join(some) or "nothing", "tips.chance=1", "interviews.chance=1", "signatures.chance=1")
            assert found.hidden == Interval(CAPACITY, CAPACITY)
            assert found.reaches == "no"
            assert found.confidence == Interval(0, 0)


def test_snapshots_agree_with_their_plan() -> None:
    needed = plan_snapshots(4000, chip_flops=1e15, days=30.0, limit=1e24).snapshots
    found = under("audited", f"snapshots.audits={needed}")
    assert found.audits_needed == needed == 30
    assert (found.reaches, found.reaches_c) == ("yes", "no")
    assert found.hidden.high == pytest.approx((1 - 0.05 ** (1 / 30)) * CAPACITY)
    assert found.hidden_c == Interval(CAPACITY, CAPACITY)
    share = 1e24 / CAPACITY
    assert found.confidence.low == pytest.approx(1 - (1 - share) ** 30, abs=1e-9)
    assert under("audited", f"snapshots.audits={needed - 1}").reaches == "no"
    assert under("audited", "snapshots.audits=0:30").reaches == "depends on the inputs"


def test_what_a_mechanism_needs_must_be_there() -> None:
    for regime in ("snapshots", "visits+snapshots", "snapshots+transcripts", "guarantees"):
        assert under(regime, "snapshots.audits=3000").hidden == Interval(CAPACITY, CAPACITY)
    only = under("visits+snapshots", "snapshots.audits=3000")
    assert only.groups[0].idle == ("snapshots",)
    assert only.groups[0].by is None
    assert only.rests_on == ()
    full = under("audited", "snapshots.audits=3000")
    assert set(full.rests_on) == {"visits", "snapshots", "transcripts"}


def test_hidden_time_is_taken_on_the_fastest_chips() -> None:
    mixed = [replace(FLEET[0], chip_flops=1e14), FLEET[1]]
    found = under("audited", "snapshots.audits=30", fleet=mixed)
    # 9.5 % of 4,000 chips' time fits on the 1,000 fast ones.
    assert found.hidden.high == pytest.approx((1 - 0.05 ** (1 / 30)) * 4000 * 1e15 * 86_400 * 30)


def test_pods_by_hand() -> None:
    one_run = replace(CASE, adds=False)
    found = under("watched-pods", "pods.slowdown=10:100", "pods.pod_chips=128", case=one_run)
    pod = 128 * 1e15 * 86_400 * 30
    assert found.hidden.low == pytest.approx(max(pod, CAPACITY / 100))
    assert found.hidden.high == pytest.approx(max(pod, CAPACITY / 10))
    assert found.hidden_c == found.hidden  # what inspectors hold
    assert under("watched-pods", "pods.slowdown=100:100").hidden.high == CAPACITY  # lineages add
    assert under("visits+pods", "pods.slowdown=100:100", case=one_run).hidden.high == CAPACITY  # media unwatched


def test_the_carried_slowdown_is_that_of_the_source() -> None:
    """Scher and Thiergart's pod: slowdown = b_g F / (6 B L H C), at least 1; two bytes, 5.12e16 FLOP/s, 125 kB/s."""

    def slowdown(batch: float, interval: float, compression: float) -> float:
        return max(1.0, 2 * 5.12e16 / (6 * batch * 125e3 * interval * compression))

    low, high = KNOWN.mechanisms["pods"].inputs["slowdown"].range
    assert high == pytest.approx(slowdown(131_072, 100, 100), rel=0.01)
    assert low == slowdown(4_194_304, 500, 73) == 1.0


def test_sites_that_train_together_by_hand() -> None:
    chip = 1e15 * 86_400 * 30
    for joined, chips in ((0.5, 3000), (0.75, 3000), (0.9, 3600), (1.0, 4000)):
        case = replace(CASE, adds=False, joined=Interval(joined, joined))
        assert under("nothing", case=case).hidden.high == pytest.approx(chips * chip)
        assert under("nothing", case=replace(case, adds=True)).hidden.high == CAPACITY


def test_guarantees_by_hand() -> None:
    """10,000 H100 for a year at 1 % residual speed: 3.119e24 FLOP, so a share of 3.2e-5 for 1e22."""
    fleet = [Site(name="a", chips=10_000, chip_flops=989e12)]
    year = Case(flop=1e22, days=365.0)
    found = under("licensed", "guarantees.residual=0.01", fleet=fleet, case=year)
    assert found.hidden.high == pytest.approx(3.11891e24, rel=1e-5)
    assert under("licensed", "guarantees.residual=3.2e-5", fleet=fleet, case=year).reaches == "yes"
    assert under("licensed", "guarantees.residual=3.3e-5", fleet=fleet, case=year).reaches == "no"


def test_a_piecewise_cover_adds_and_splits_alpha() -> None:
    known = KNOWN.with_input("snapshots.audits=100").with_input("guarantees.residual=0.001:0.01")
    other = "visits+snapshots+transcripts+cameras"
    cover = assess_cover(FLEET, regimes={"a": "audited", "b": other}, catalogue=known, case=CASE)
    share = 1 - 0.025 ** (1 / 100)
    assert cover.hidden.high == pytest.approx(share * CAPACITY)
    assert sum(group.hidden.high for group in cover.groups) == pytest.approx(cover.hidden.high)
    assert cover.weakest_group == "audited"
    mixed = assess_cover(FLEET, regimes={"a": "licensed", "b": "nothing"}, catalogue=known, case=CASE)
    assert mixed.hidden.low == pytest.approx(CAPACITY / 4 + 0.001 * CAPACITY * 3 / 4)
    assert (mixed.weakest_group, mixed.reaches) == ("nothing", "no")


def test_chances_are_combined_without_independence_and_kept_apart() -> None:
    found = under("people", "tips.chance=0.1:0.4", "interviews.chance=0.2:0.5")
    assert found.noticed == Interval(0.2, 0.9)
    assert found.hidden.low == CAPACITY
    both = assess_cover(
        FLEET, regimes={"a": "people", "b": "nothing"}, catalogue=KNOWN.with_input("tips.chance=1"), case=CASE
    )
    assert both.noticed == Interval(0, 0)  # the adversary runs where nobody looks


@given(st.sets(st.sampled_from(sorted(KNOWN.mechanisms))), st.sampled_from(sorted(KNOWN.mechanisms)), st.booleans())
def test_a_mechanism_more_never_raises_x(some: set[str], more: str, adds: bool) -> None:
    case = replace(CASE, adds=adds)
    less = under("+".join(sorted(some)) or "nothing", "snapshots.audits=10:100", case=case)
    much = under("+".join(sorted(some | {more})), "snapshots.audits=10:100", case=case)
    assert much.hidden.low <= less.hidden.low
    assert much.hidden.high <= less.hidden.high
    assert much.hidden.high <= much.hidden_c.high
    assert less.noticed.low <= much.noticed.low
    assert much.confidence.low >= less.confidence.low


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), st.floats(1e20, 1e26))
def test_wider_inputs_never_give_narrower_answers(ends: list[int], flop: float) -> None:
    low, middle, high = (end / 1e6 for end in sorted(ends))
    case = replace(CASE, flop=flop)
    wide = under("licensed", f"guarantees.residual={low:.6f}:{high:.6f}", case=case)
    inside = under("licensed", f"guarantees.residual={middle:.6f}", case=case)
    assert wide.hidden.low <= inside.hidden.low <= inside.hidden.high <= wide.hidden.high
    assert wide.reaches in (inside.reaches, "depends on the inputs")
    assert wide.confidence.low <= inside.confidence.low <= inside.confidence.high <= wide.confidence.high


def test_the_years_by_hand() -> None:
    """1e24 with a factor of 2 to 4 a year: after three years 1.5625e22 to 1.25e23."""
    lines = treaty_years(
        FLEET,
        regimes={"a": "licensed", "b": "licensed"},
        catalogue=KNOWN.with_input("guarantees.residual=0.001"),
        case=replace(CASE, joined=Interval(0.5, 0.8)),
        years=6,
        progress=Interval(2.0, 4.0),
        together=10,
    )
    third = lines[3]
    assert (third.flop.low, third.flop.high) == pytest.approx((1e24 / 64, 1e24 / 8))
    chip = 1e15 * 86_400 * 30
    assert third.chips.high == pytest.approx(1.25e23 / chip)
    assert third.chips_joined.low == pytest.approx(1e24 / 64 / chip / (0.8 * 10))
    assert third.chips_joined.high == pytest.approx(1.25e23 / chip / (0.5 * 10))
    assert [line.ready for line in lines[:6]] == ["no", "no", *["depends on the inputs"] * 3, "yes"]
    # X is 1.0368e22: within the threshold of year 3 for certain, in year 6 certainly not below 2.4e20.
    assert [line.reaches for line in lines] == ["yes"] * 4 + ["depends on the inputs"] * 3
    for earlier, later in itertools.pairwise(lines):
        assert later.flop.low < earlier.flop.low
        assert later.chips.high < earlier.chips.high


def test_declared_work_does_not_shrink_with_the_threshold() -> None:
    regimes = dict.fromkeys(("a", "b"), "licensed")
    known = KNOWN.with_input("guarantees.residual=0.001")
    case = replace(CASE, flop=6e23, declared=4e23)
    lines = treaty_years(FLEET, regimes=regimes, catalogue=known, case=case, years=2, progress=Interval(2, 2))
    assert [line.flop.high for line in lines] == pytest.approx([1e24, 5e23, 2.5e23])
    assert [line.reaches for line in lines] == ["yes", "yes", "no"]


def test_no_progress_moves_nothing() -> None:
    regimes = dict.fromkeys(("a", "b"), "nothing")
    lines = treaty_years(
        FLEET, regimes=regimes, catalogue=KNOWN, case=CASE, years=2, progress=Interval(1, 1), together=1
    )
    assert len({(line.flop, line.chips, line.chips_joined) for line in lines}) == 1


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("tips.chance", "sets no input"),
        ("tips=1", "sets no input"),
        ("nobody.chance=1", "sets no input"),
        ("tips.chance=2", "is not between 0 and 1"),
        ("tips.chance=0.5:0.1", "lower end first"),
        ("tips.chance=0.1:0.2:0.3", "is no range"),
        ("tips.chance=nan", "not a number"),
        ("tips.chance=-1", "negative"),
        ("pods.slowdown=0.5:2", "is not at least 1"),
        ("guarantees.residual=0:1.5", "is not between 0 and 1"),
        ("visits.readiness=1000", "is not between 0 and 100"),
    ],
)
def test_meaningless_inputs_are_refused(assignment: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        KNOWN.with_input(assignment)


def test_every_input_says_whether_it_is_published_and_an_assumed_one_why() -> None:
    for mechanism in KNOWN.mechanisms.values():
        for name, given_ in mechanism.inputs.items():
            assert given_.mark in ("P", "S", "D", "A"), (mechanism.id, name)
            assert len(given_.source.split()) >= (3 if given_.mark == "A" else 2), (mechanism.id, name)


def edited(change: Any) -> str:
    data = json.loads(resources.files("weighbridge.planning").joinpath("mechanisms.json").read_text())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(schema="x"), "no catalogue"),
        (lambda d: d.update(mechanisms=[]), "missing or empty"),
        (lambda d: d["mechanisms"].append(d["mechanisms"][0]), "given twice"),
        (lambda d: d["mechanisms"][0].update(bounds="everything"), "bounds"),
        (lambda d: d["mechanisms"][0].update(extra=1), "extra"),
        (lambda d: d["mechanisms"][0]["inputs"].pop("readiness"), "readiness"),
        (lambda d: d["mechanisms"][7]["inputs"].pop("slowdown"), "slowdown"),
        (lambda d: d["mechanisms"][0].update(needs=["magic"]), "no mechanism"),
        (lambda d: d["regimes"][0].update(mechanisms=["magic"]), "no mechanism"),
        (lambda d: d["regimes"][0].update(id="pods"), "a mechanism and a regime"),
        (lambda d: d["mechanisms"][0]["inputs"]["readiness"].update(range=[2, 1]), "lower end first"),
        (lambda d: d["mechanisms"][0]["inputs"]["readiness"].update(range=["1", 2]), "number"),
    ],
)
def test_a_broken_catalogue_is_refused(change: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_mechanisms(edited(change))


def test_other_refusals() -> None:
    for text in ("", "[]", '{"schema": "mechanisms/1", "mechanisms": NaN}', "[" * 100_000):
        with pytest.raises(InputError):
            load_mechanisms(text)
    with pytest.raises(InputError, match="no regime"):
        under("magic")
    with pytest.raises(InputError, match="has no regime"):
        assess_cover(FLEET, regimes={"a": "nothing"}, catalogue=KNOWN, case=CASE)
    for case in (replace(CASE, flop=0.0), replace(CASE, days=math.inf), replace(CASE, joined=Interval(0, 2))):
        with pytest.raises(InputError):
            under("nothing", case=case)
    regimes = dict.fromkeys(("a", "b"), "nothing")
    for years, progress in ((-1, Interval(1, 1)), (51, Interval(1, 1)), (1, Interval(0.5, 1))):
        with pytest.raises(InputError):
            treaty_years(FLEET, regimes=regimes, catalogue=KNOWN, case=CASE, years=years, progress=progress)
    assert parse_interval("0.1:0.4", name="x") == Interval(0.1, 0.4)
    assert isinstance(KNOWN, Catalogue)
