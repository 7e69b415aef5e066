"""One chip's history: the story told, every rule broken, and the order of arrival without effect."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.evidence.certificates import Role
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.registry.custody import CustodyEvent, History, Status
from weighbridge.mechanisms.registry.epcis import Step, corrected, event_payload, read_event
from weighbridge.mechanisms.registry.findings import TRANSIT_LIMIT, judge, judge_serials
from weighbridge.mechanisms.registry.fold import fold

T0, DAY = 1_760_000_000.0, 86_400.0
ROLE = {
    "fab": Role.MAKER, "foundry": Role.MAKER, "trader": Role.DISTRIBUTOR, "alice": Role.OPERATOR,
    "bob": Role.OPERATOR, "registrar": Role.REGISTRAR, "ines": Role.INSPECTOR, "body": Role.INSPECTORATE,
}  # fmt: skip


def event(
    step: Step, day: float, party: str, other: str | None = None, *, by: str | None = None, retract: bool = False,
    signed: float | None = None, **more: Any,
) -> CustodyEvent:  # fmt: skip
    payload = event_payload(step, chips=["c"], time=T0 + day * DAY, party=party, other=other, **more)
    if retract:
        payload = corrected(payload, reason="did_not_occur", time=T0 + 99 * DAY)
    issuer = by or party
    issued = T0 + (day if signed is None else signed) * DAY
    name = f"{issuer}{issued}{payload}"
    return CustodyEvent(
        statement=hashlib.sha256(name.encode()).hexdigest(),
        body=read_event(payload, where=name),
        issuer=issuer,
        role=ROLE[issuer],
        issued_at=issued,
    )


def made(day: float = 0, by: str = "fab", **more: Any) -> CustodyEvent:
    return event(Step.MADE, day, by, **more)


def ships(day: float, party: str, to: str, **more: Any) -> CustodyEvent:
    return event(Step.SHIPPED, day, party, to, **more)


def gets(day: float, party: str, sender: str, **more: Any) -> CustodyEvent:
    return event(Step.RECEIVED, day, party, sender, **more)


def installs(day: float, party: str, **more: Any) -> CustodyEvent:
    return event(Step.INSTALLED, day, party, **more)


def destroys(day: float, party: str, **more: Any) -> CustodyEvent:
    return event(Step.DESTROYED, day, party, **more)


TO_ALICE = [made(), ships(1, "fab", "trader"), gets(2, "trader", "fab"), ships(3, "trader", "alice")]
DELIVERED = [*TO_ALICE, gets(4, "alice", "trader")]


def checks(events: list[CustodyEvent], *, day: float = 10) -> dict[str, Outcome]:
    found = judge(fold("c", events), now=T0 + day * DAY)
    return {finding.check.removeprefix("registry."): finding.outcome for finding in found}


def holder(history: History, day: float) -> tuple[str, Status] | None:
    state = history.at(T0 + day * DAY)
    return None if state is None else (state.holder, state.status)


def test_who_held_it_when() -> None:
    history = fold("c", [*DELIVERED, installs(5, "alice", location="hall 1"), ships(8, "alice", "bob")])
    assert holder(history, -1) is None
    assert holder(history, 0) == ("fab", Status.HELD)
    assert holder(history, 1.5) == ("fab", Status.IN_TRANSIT)
    assert holder(history, 2) == ("trader", Status.HELD)
    assert holder(history, 4) == ("alice", Status.HELD)
    assert holder(history, 6) == ("alice", Status.INSTALLED)
    state = history.at(T0 + 9 * DAY)
    assert state is not None
    assert (state.holder, state.addressee, state.location) == ("alice", "bob", "hall 1")
    assert history.marks == ()
    assert history.makers == ("fab",)


def test_unbroken_custody_passes() -> None:
    found = list(judge(fold("c", DELIVERED), now=T0 + 10 * DAY, passes=True))
    assert [(f.check, f.outcome) for f in found] == [("registry.custody", Outcome.PASS)]
    assert len(found[0].evidence) == 5
    assert found[0].hidden_flop is None


def test_double_sold_by_the_seller() -> None:
    for second in (ships(5, "trader", "bob"), ships(3.5, "trader", "bob")):
        assert checks([*DELIVERED, second]) == {"double-sold": Outcome.FAIL}
    history = fold("c", [*DELIVERED, ships(5, "trader", "bob"), gets(6, "bob", "trader")])
    assert [mark.check for mark in history.marks] == ["double-sold", "double-sold"]
    assert "alice and to bob" in history.marks[0].reason
    assert holder(history, 10) == ("alice", Status.HELD)  # the first sale stands until somebody decides


def test_double_sold_by_two_receivers() -> None:
    assert checks([*DELIVERED, gets(5, "bob", "trader")]) == {"double-sold": Outcome.FAIL}


def test_from_nowhere() -> None:
    history = fold("c", [ships(3, "trader", "alice"), gets(4, "alice", "trader")])
    assert [mark.check for mark in history.marks] == ["origin"]
    assert holder(history, 5) == ("alice", Status.HELD)  # the best that is known
    assert history.makers == ()
    assert checks([installs(1, "bob")]) == {"origin": Outcome.FAIL}
    assert checks([destroys(1, "bob")]) == {"origin": Outcome.FAIL, "destruction": Outcome.INCONCLUSIVE}


def test_an_operator_is_no_maker() -> None:
    history = fold("c", [made(by="alice")])
    assert {mark.check for mark in history.marks} == {"origin"}
    assert history.states == ()
    assert not any(mark.word_only for mark in history.marks)


def test_used_before_it_was_made() -> None:
    assert checks([made(5), ships(3, "trader", "alice"), gets(4, "alice", "trader")]) == {"origin": Outcome.FAIL}


def test_older_stock_is_the_registrars_word() -> None:
    history = fold("c", [event(Step.MADE, 0, "alice", by="registrar")])
    assert holder(history, 1) == ("alice", Status.HELD)
    assert history.pre_registry
    assert checks([event(Step.MADE, 0, "alice", by="registrar")]) == {"origin": Outcome.INCONCLUSIVE}


def test_made_twice() -> None:
    assert checks([made(), made(1, by="foundry")]) == {"made-twice": Outcome.FAIL}
    assert checks([made(), made(1)]) == {"made-twice": Outcome.FAIL}
    assert checks([made(), made(0, signed=3)]) == {}  # signed again, said once
    copied = event(Step.MADE, 0, "fab", by="registrar")
    assert checks([made(), copied]) == {}
    late = event(Step.MADE, 3, "alice", by="registrar")
    assert checks([made(), late]) == {"made-twice": Outcome.FAIL}


def test_a_destroyed_chip_appears_again() -> None:
    gone = [*DELIVERED, destroys(5, "alice"), destroys(6, "alice", by="ines")]
    history = fold("c", gone)
    assert history.destroyed_at == T0 + 5 * DAY
    assert holder(history, 7) == ("alice", Status.DESTROYED)
    assert checks(gone) == {}
    for later in (ships(8, "alice", "bob"), installs(8, "alice"), gets(8, "bob", "alice")):
        assert checks([*gone, later])["destroyed"] is Outcome.FAIL
    assert fold("c", [*gone, ships(8, "alice", "bob")]).destroyed_at == T0 + 5 * DAY


def test_a_destruction_counts_once_an_inspector_signs() -> None:
    claimed = fold("c", [*DELIVERED, destroys(5, "alice")])
    assert not claimed.states[-1].certified
    assert checks([*DELIVERED, destroys(5, "alice")]) == {"destruction": Outcome.INCONCLUSIVE}
    assert fold("c", [*DELIVERED, destroys(5, "alice", by="ines")]).states[-1].certified
    by_paper = checks([*DELIVERED, destroys(5, "alice", by="registrar")])
    assert by_paper == {"destruction": Outcome.INCONCLUSIVE, "unsigned": Outcome.INCONCLUSIVE}


def test_shipped_but_never_received() -> None:
    limit_days = TRANSIT_LIMIT / DAY
    assert checks(TO_ALICE, day=3 + limit_days - 0.1) == {}
    assert checks(TO_ALICE, day=3 + limit_days + 0.1) == {"never-received": Outcome.FAIL}
    found = list(judge(fold("c", TO_ALICE), now=T0 + 5 * DAY, transit_limit=DAY))
    assert [(f.check, f.figure, f.unit) for f in found] == [("registry.never-received", 2.0, "days")]
    # Nobody can write off or use what is under way, the sender included.
    for excuse in (destroys(4, "trader"), installs(4, "trader"), destroys(4, "trader", by="ines")):
        assert checks([*TO_ALICE, excuse], day=30) == {
            "not-holder": Outcome.FAIL,
            "never-received": Outcome.FAIL,
        }


def test_it_came_back_is_the_senders_word() -> None:
    assert checks([*TO_ALICE, gets(5, "trader", "alice")], day=40) == {"returned": Outcome.INCONCLUSIVE}
    back = [*DELIVERED, ships(5, "alice", "trader"), gets(6, "trader", "alice"), ships(7, "trader", "bob")]
    assert checks(back) == {}


def test_receiver_differs_from_addressee() -> None:
    history = fold("c", [*TO_ALICE, gets(4, "bob", "trader")])
    assert [mark.check for mark in history.marks] == ["addressee"]
    assert holder(history, 5) == ("bob", Status.HELD)  # its own signature says so
    assert checks([*TO_ALICE, gets(4, "alice", "fab")]) == {"sender": Outcome.FAIL}


def test_received_without_shipment() -> None:
    assert checks([made(), gets(2, "trader", "fab")]) == {"unshipped": Outcome.FAIL}
    assert holder(fold("c", [made(), gets(2, "trader", "fab")]), 3) == ("fab", Status.HELD)


def test_signed_by_somebody_who_did_not_hold_it() -> None:
    for foreign in (ships(5, "bob", "alice"), installs(5, "bob"), destroys(5, "bob")):
        history = fold("c", [*DELIVERED, foreign])
        assert [mark.check for mark in history.marks] == ["not-holder"]
        assert holder(history, 9) == ("alice", Status.HELD)
    # Alice cannot sign for bob, nor an inspector ship for alice.
    assert checks([*DELIVERED, ships(5, "alice", "bob", by="bob")]) == {"not-holder": Outcome.FAIL}
    assert checks([*DELIVERED, ships(5, "alice", "bob", by="ines")]) == {"not-holder": Outcome.FAIL}


def test_clock_in_the_future() -> None:
    assert checks([*DELIVERED, installs(9, "alice", signed=5)]) == {"clock": Outcome.FAIL}
    assert checks([*DELIVERED, installs(20, "alice")], day=10) == {"clock": Outcome.FAIL}
    assert checks([*DELIVERED, installs(5, "alice", signed=20)], day=10) == {"clock": Outcome.FAIL}
    assert checks([*DELIVERED, installs(5 + 1 / 48, "alice", signed=5)]) == {}  # half an hour is clocks


def test_clocks_of_two_parties_may_differ_by_an_hour() -> None:
    early = [made(), gets(1, "trader", "fab"), ships(1 + 0.9 / 24, "fab", "trader")]
    assert checks(early) == {}
    assert holder(fold("c", early), 2) == ("trader", Status.HELD)
    assert "unshipped" in checks([made(), gets(1, "trader", "fab"), ships(1 + 1.1 / 24, "fab", "trader")])


def test_dates_without_hours() -> None:
    same_day = [
        made(), ships(0, "fab", "trader"), gets(0, "trader", "fab"), ships(0, "trader", "alice"),
        gets(0, "alice", "trader"), installs(0, "alice"),
    ]  # fmt: skip
    assert checks(same_day) == {}
    assert holder(fold("c", same_day), 0) == ("alice", Status.INSTALLED)


def test_the_registrars_word_is_replaced_by_the_partys() -> None:
    paper = gets(4, "alice", "trader", by="registrar")
    assert checks([*TO_ALICE, paper]) == {"unsigned": Outcome.INCONCLUSIVE}
    assert checks([*TO_ALICE, paper, gets(4.5, "alice", "trader")]) == {}
    assert checks([*DELIVERED, paper]) == {}
    assert checks([*DELIVERED, ships(6, "trader", "alice", by="registrar")]) == {}  # a late copy


def test_corrections() -> None:
    wrong = ships(5, "alice", "bob")
    retracted = ships(5, "alice", "bob", retract=True)
    history = fold("c", [*DELIVERED, wrong, retracted])
    assert holder(history, 9) == ("alice", Status.HELD)
    assert history.marks == ()
    assert {e.statement for e in history.voided} == {wrong.statement, retracted.statement}
    assert wrong not in history.events
    # Another operator's correction has no effect, and is seen.
    history = fold("c", [*DELIVERED, wrong, ships(5, "alice", "bob", retract=True, by="bob")])
    assert holder(history, 9) == ("alice", Status.IN_TRANSIT)
    assert [(mark.check, mark.word_only) for mark in history.marks] == [("correction", False)]
    # The registrar's has, and is seen.
    history = fold("c", [*DELIVERED, wrong, ships(5, "alice", "bob", retract=True, by="registrar")])
    assert holder(history, 9) == ("alice", Status.HELD)
    assert [(mark.check, mark.word_only) for mark in history.marks] == [("correction", True)]


def test_a_receipt_taken_back_leaves_the_shipment_open() -> None:
    events = [*DELIVERED, gets(4, "alice", "trader", retract=True)]
    assert checks(events, day=40) == {"never-received": Outcome.FAIL}


def test_a_chip_whose_origin_was_retracted_comes_from_nowhere() -> None:
    assert checks([made(), made(retract=True)]) == {"origin": Outcome.FAIL}


def serials(*histories: History) -> list[Finding]:
    return list(judge_serials(histories))


def test_one_serial_on_two_chips() -> None:
    def chip(name: str, by: str = "fab", **more: Any) -> History:
        return fold(name, [made(by=by, serial="SN1", **more)])

    found = serials(chip("one"), chip("two"))
    assert [(f.check, f.subject, f.outcome) for f in found] == [
        ("registry.double-sold", "one", Outcome.FAIL),
        ("registry.double-sold", "two", Outcome.FAIL),
    ]
    assert serials(chip("one"), chip("two", by="foundry")) == []  # two makers may count alike
    older = fold("two", [event(Step.MADE, 0, "bob", by="registrar", serial="SN1")])
    assert len(serials(chip("one"), older)) == 2


def test_a_flood_of_events_for_one_chip_is_bounded() -> None:
    flood = [gets(5 + i / 1e6, "bob", "trader") for i in range(3000)]
    history = fold("c", [*DELIVERED, *flood])
    assert holder(history, 9) == ("alice", Status.HELD)
    assert len(history.marks) == 3000


EVERYTHING = [
    *DELIVERED, installs(5, "alice"), made(1, by="foundry"), ships(5, "trader", "bob"), gets(6, "bob", "trader"),
    ships(6, "alice", "bob"), gets(7, "bob", "alice"), destroys(8, "bob"), destroys(8, "bob", by="ines"),
    ships(9, "bob", "alice"), gets(2, "alice", "fab"), ships(5, "trader", "bob", retract=True),
    gets(6, "bob", "trader", retract=True, by="registrar"), made(0, signed=5), installs(5, "bob"),
    gets(4, "alice", "trader", by="registrar"), ships(6, "alice", "trader"), made(0, by="alice"),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_order_of_arrival_and_repeats_do_not_matter(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(EVERYTHING), max_size=12, unique_by=lambda e: e.statement))
    repeats = data.draw(st.lists(st.sampled_from(chosen), max_size=4)) if chosen else []
    shuffled = data.draw(st.permutations([*chosen, *repeats]))
    history = fold("c", chosen)
    assert fold("c", shuffled) == history
    assert set(history.events) <= set(chosen)
    since = [state.since for state in history.states]
    assert since == sorted(since)
    for finding in judge(history, now=T0 + 10 * DAY, passes=True):
        assert finding.reason
        assert set(finding.evidence) <= {e.statement for e in chosen}


@pytest.mark.parametrize("lost", range(1, len(DELIVERED)))
def test_every_lost_event_is_noticed(lost: int) -> None:
    rest = DELIVERED[:lost] + DELIVERED[lost + 1 :]
    assert checks(rest, day=60) != {}
