"""Any sequence of records whatever: what a visit may conclude from it, against a second way of counting."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.evidence.certificates import Role, issue_root
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import Statement, sign_statement, verify_statement
from weighbridge.mechanisms.inspection.judge import Judgement, judge
from weighbridge.mechanisms.inspection.plan import Opening, VisitPlan
from weighbridge.mechanisms.inspection.record import VisitRecord
from weighbridge.mechanisms.inspection.visit import Visit

NOW = 1_790_000_000
DRAWN, RESERVES, REASONS = ("a", "b", "c"), ("r", "s"), ("under repair", "destroyed")
EVERYTHING = (*DRAWN, *RESERVES, "never drawn")
CHIP_CHECKS = {"challenge": "inspection.challenge", "readout": "inspection.readout"}


@dataclass(frozen=True)
class Told:
    """One record as drawn by hypothesis: what, of which item, and how it turns out."""

    what: str
    item: str
    good: bool
    other: str


TOLD = st.builds(
    Told,
    st.sampled_from(
        ["serial", "seal", "challenge", "readout", "tamper", "refusal", "silence", "replacement", "note", "dispute"]
    ),
    st.sampled_from(EVERYTHING),
    st.booleans(),
    st.sampled_from(EVERYTHING),
)
CHECKS = st.sets(st.sampled_from(["serial", "seal", "challenge", "readout"]), min_size=1)


@pytest.fixture(scope="module")
def statement(tmp_path_factory: pytest.TempPathFactory) -> Statement:
    key = FileSigner.create(tmp_path_factory.mktemp("key") / "key.pem")
    root = issue_root(key, name="Body", role=Role.INSPECTORATE, not_before=time.time() - 60)
    raw = sign_statement(key.with_chain([root]), kind="visit-record", subject="x", payload={})
    return replace(verify_statement(raw, [root]), issued_at=NOW)


def details(told: Told) -> dict[str, object]:
    good = told.good
    forms: dict[str, dict[str, object]] = {
        "serial": {"physical": f"SN-{told.item}", "digital": f"SN-{told.item}" if good else "SN77", "photo": None},
        "seal": {"seal": "A7", "found": "A7" if good else None, "intact": True, "photo": None},
        "challenge": {"answer": "ab" * 32},
        "readout": {"digest": "ab" * 32, "records": 3},
        "tamper": {"sign": "scratches", "photo": None},
        "refusal": {"of": "entry", "by": "host", "reason": None},
        "silence": {"asked": "who has the key", "asked_at": NOW - 60},
        "replacement": {"by": told.other, "reason": REASONS[0] if good else "it is awkward"},
        "note": {"text": "nothing"},
        "dispute": {"text": "nothing"},
    }
    return forms[told.what]


def visit_of(told: Sequence[Told], checks: Sequence[str], statement: Statement) -> tuple[Visit, list[Finding]]:
    plan = VisitPlan(
        draw="ab" * 32,
        site="s",
        notified_at=NOW - 600,
        team={statement.identity.key_id: "ines"},
        checks=tuple(checks),
        items=tuple({"id": item, "serial": f"SN-{item}"} for item in DRAWN),
        reserves=tuple({"id": item, "serial": f"SN-{item}"} for item in RESERVES),
        reasons=REASONS,
    )
    opening = Opening(visit=statement.id, at=NOW, access_at=NOW, place="p", fresh="ab" * 32)
    opened = replace(statement, id=hashlib.sha256(b"opening").hexdigest())
    records: list[tuple[VisitRecord, Statement]] = []
    for number, one in enumerate(told):
        record = VisitRecord(
            visit=statement.id,
            sequence=number,
            previous=records[-1][1].id if records else opened.id,
            at=NOW,
            item=None if one.what == "dispute" else one.item,
            what=one.what,
            details=details(one),
        )
        records.append((record, replace(statement, id=hashlib.sha256(b"%d" % number).hexdigest())))
    chips = [
        Finding(
            check=CHIP_CHECKS[one.what],
            subject=one.item,
            outcome=Outcome.PASS if one.good else Outcome.FAIL,
            reason="as told",
        )
        for one in told
        if one.what in CHIP_CHECKS
    ]
    visit = Visit(
        plan_statement=statement,
        plan=plan,
        opening_statement=opened,
        opening=opening,
        records=records,
        drawn={"drawn": list(DRAWN), "reserves": list(RESERVES)},
        draw="ab" * 32,
        population=50,
    )
    return visit, chips


def judged(told: Sequence[Told], checks: Sequence[str], statement: Statement) -> Judgement:
    visit, chips = visit_of(told, checks, statement)
    return judge(visit, chip_findings=chips, now=NOW + 10)


def is_verified(item: str, told: Sequence[Told], checks: Sequence[str]) -> bool:
    """A second way of counting: all that was required was seen, and nothing ever spoke against the item."""
    own = [one for one in told if one.item == item]
    seen = {one.what for one in own if one.good}
    against = [
        one for one in own if one.what == "tamper" or (not one.good and one.what in ("serial", "seal", *CHIP_CHECKS))
    ]
    return set(checks) <= seen and not against


@settings(max_examples=400, deadline=None)
@given(st.lists(TOLD, max_size=25), CHECKS)
def test_only_what_was_seen_whole_is_verified(statement: Statement, told: list[Told], checks: set[str]) -> None:
    found = judged(told, sorted(checks), statement)
    outcomes = {f.subject: f.outcome for f in found.findings if f.check == "visit.item"}
    assert {item for item, outcome in outcomes.items() if outcome is Outcome.PASS} == {
        item for item in outcomes if is_verified(item, told, sorted(checks))
    }
    assert all(f.hidden_flop is None for f in found.findings)


@settings(max_examples=400, deadline=None)
@given(st.lists(TOLD, max_size=25), CHECKS)
def test_what_was_drawn_stays_drawn(statement: Statement, told: list[Told], checks: set[str]) -> None:
    """No replacement, refusal or silence removes a drawn item from the counts, or a reserve puts one in."""
    found = judged(told, sorted(checks), statement)
    drawn = [item for item in found.items if item.drawn]
    assert tuple(item.item for item in drawn) == DRAWN
    summary = found.summary()
    verified = sum(is_verified(item, told, sorted(checks)) for item in DRAWN)
    assert summary["drawn"] == len(DRAWN) == summary["verified"] + summary["failed"] + summary["not_verified"]
    assert summary["verified"] == verified
    (sample,) = (f for f in found.findings if f.check == "visit.sample")
    assert (sample.outcome is Outcome.PASS) is (verified == len(DRAWN))
    assert sample.figure is not None and sample.figure >= len(DRAWN) - verified


@settings(max_examples=300, deadline=None)
@given(st.lists(TOLD, max_size=15), TOLD, CHECKS)
def test_nothing_that_speaks_against_an_item_is_ever_unsaid(
    statement: Statement, told: list[Told], more: Told, checks: set[str]
) -> None:
    """A record more lifts no failure, and one that shows nothing lifts nothing at all."""
    before, after = (judged(records, sorted(checks), statement) for records in (told, [*told, more]))
    failed = {item.item for item in before.items if item.outcome == "failed"}
    assert failed <= {item.item for item in after.items if item.outcome == "failed"}
    if more.what in ("refusal", "silence", "replacement", "note", "dispute", "tamper") or not more.good:
        assert after.summary()["verified"] <= before.summary()["verified"]
    said = [(f.check, f.subject, f.reason) for f in before.findings if f.check in ("visit.refusal", "visit.silence")]
    assert (
        said
        == [(f.check, f.subject, f.reason) for f in after.findings if f.check in ("visit.refusal", "visit.silence")][
            : len(said)
        ]
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(TOLD, max_size=25))
def test_reserves_stand_in_one_by_one_in_their_order(statement: Statement, told: list[Told]) -> None:
    taken: dict[str, str] = {}
    for one in told:
        if one.what != "replacement" or not one.good or len(taken) == len(RESERVES):
            continue
        if one.other == RESERVES[len(taken)] and one.item in {*DRAWN, *taken.values()} - set(taken):
            taken[one.item] = one.other
    found = judged(told, ["serial"], statement)
    assert {item.item: item.replaced_by for item in found.items if item.replaced_by} == taken
    assert {item.item for item in found.items if not item.drawn} == set(taken.values())


def test_the_second_way_of_counting_can_tell() -> None:
    seen = [Told("serial", "a", good=True, other="a")]
    assert is_verified("a", seen, ["serial"]) and not is_verified("a", seen, ["serial", "seal"])
    assert not is_verified("a", [*seen, Told("tamper", "a", good=True, other="a")], ["serial"])


def test_nothing_here_needs_a_file(statement: Statement, tmp_path: Path) -> None:
    judged([Told("note", "a", good=True, other="a")], ["serial"], statement)
    assert not list(tmp_path.iterdir())
