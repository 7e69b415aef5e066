import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.conftest import DAY, T0, World
from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.statement import sign_statement, verify_statement
from weighbridge.mechanisms.registry.custody import Status
from weighbridge.mechanisms.registry.directory import Directory, sign_correction
from weighbridge.mechanisms.registry.epcis import KIND, Step, event_payload


def directory(world: World, *statements: bytes) -> Directory:
    return Directory.in_memory(statements, roots=world.roots)


def outcomes(found: Directory, day: float = 10) -> list[tuple[str, str, str]]:
    return [(f.subject, f.check, f.outcome.value) for f in found.findings(now=T0 + day * DAY)]


def test_who_held_what_when(world: World) -> None:
    found = directory(world, *world.delivered("one"), *world.delivered("two", "bob"), world.made("three", 1))
    assert found.chips() == ["one", "three", "two"]
    assert found.chips_of("fab", T0 + 1.5 * DAY) == ["one", "three", "two"]  # in transit: the sender answers
    assert found.chips_of("alice", T0 + 3.5 * DAY) == []
    assert found.chips_of("alice", T0 + 5 * DAY) == ["one"]
    assert found.chips_of("nobody", T0 + 5 * DAY) == []
    custody = found.holder_at("two", T0 + 3.5 * DAY)
    assert custody is not None
    assert (custody.holder, custody.status, custody.addressee) == ("trader", Status.IN_TRANSIT, "bob")
    assert found.holder_at("one", T0 - DAY) is None
    assert found.holder_at("unheard", T0) is None
    assert found.known("one")
    assert not found.known("unheard")
    assert outcomes(found) == []
    assert found.verify() == 11


def test_passes_are_given_when_asked_for(world: World) -> None:
    found = directory(world, *world.delivered("one"))
    given_ = found.findings(now=T0 + 10 * DAY, chips=["one", "ghost"], passes=True)
    assert [(f.subject, f.check, f.outcome) for f in given_] == [
        ("ghost", "registry.origin", Outcome.FAIL),
        ("one", "registry.custody", Outcome.PASS),
    ]
    assert given_[0].reason == "is not in the directory"


def test_a_chip_that_was_only_shipped_is_not_known(world: World) -> None:
    found = directory(world, *world.handed("one", 1, "trader", "alice"))
    assert not found.known("one")
    assert outcomes(found) == [("one", "registry.origin", "fail")]


def test_terminal_time(world: World) -> None:
    found = directory(world, *world.delivered("one"), world.sign(Step.DESTROYED, "one", 5, "alice"))
    assert found.terminal_time("one") == T0 + 5 * DAY
    assert found.chips_of("alice", T0 + 6 * DAY) == ["one"]  # counts as working until certified
    found.add([world.sign(Step.DESTROYED, "one", 7, "alice", by="ines")])
    assert found.chips_of("alice", T0 + 6 * DAY) == ["one"]
    assert found.chips_of("alice", T0 + 8 * DAY) == []
    assert found.terminal_time("one") == T0 + 5 * DAY
    assert directory(world, world.made("two")).terminal_time("two") is None


def test_a_replay_changes_nothing(world: World) -> None:
    statements = world.delivered("one")
    found = directory(world, *statements)
    assert found.add(statements) == ()
    assert found.add([*statements, *statements, world.made("two")]) != ()
    assert found.verify() == 6
    # The same words signed again are another statement, but no other event.
    again = world.sign(Step.MADE, "one", 0, "fab", signed=9)
    assert len(found.add([again])) == 1
    assert outcomes(found) == []


def test_one_bad_statement_stores_none(world: World) -> None:
    found = directory(world, world.made("one"))
    good = world.made("two")
    bad = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(EvidenceError, match="signature"):
        found.add([good, bad])
    assert found.chips() == ["one"]
    assert found.verify() == 1


def refusals(world: World) -> list[tuple[str, Callable[[], bytes]]]:
    body = event_payload(Step.MADE, chips=["x"], time=T0, party="fab")

    def signed(by: str, kind: str = KIND, subject: str = body["eventID"], **change: object) -> bytes:
        return sign_statement(world.signers[by], kind=kind, subject=subject, payload=body | change, issued_at=T0)

    return [
        ("leads to none", lambda: signed("stranger")),
        ("not ", lambda: signed("chip")),
        ("expected a custody-event", lambda: signed("fab", kind="chip-record")),
        ("subject is not the eventID", lambda: signed("fab", subject="x")),
        ("is no custody event", lambda: signed("fab", bizStep="stealing")),
        ("is no custody event", lambda: signed("fab", epcList=[])),
        ("statement", lambda: b""),
        ("statement", lambda: b"\xd2\x84" + b"\x00" * 50),
        ("statement", lambda: signed("fab") + b"\x00"),
        ("statement", lambda: signed("fab")[:-9]),
    ]


@pytest.mark.parametrize("number", range(10))
def test_what_is_no_custody_event_is_refused(world: World, number: int) -> None:
    words, make = refusals(world)[number]
    found = directory(world, world.made("one"))
    with pytest.raises(EvidenceError, match=words):
        found.add([make()])
    assert found.verify() == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_order_of_arrival_does_not_matter(world: World, data: st.DataObject) -> None:
    statements = [
        *world.delivered("one", serial="S"), *world.delivered("two", "bob", serial="S"),
        world.shipped("one", 6, "trader", "bob"), world.sign(Step.DESTROYED, "two", 6, "bob"),
    ]  # fmt: skip
    shuffled = data.draw(st.permutations(statements))
    cut = data.draw(st.integers(0, len(shuffled)))
    parts = directory(world, *shuffled[:cut])
    parts.add(shuffled[cut:])
    whole = directory(world, *statements)
    assert parts.findings(now=T0 + 10 * DAY) == whole.findings(now=T0 + 10 * DAY)
    assert list(parts.histories()) == list(whole.histories())


def test_double_sold_serial(world: World) -> None:
    found = directory(world, *world.delivered("one", serial="S1"), *world.delivered("two", "bob", serial="S1"))
    assert outcomes(found) == [("one", "registry.double-sold", "fail"), ("two", "registry.double-sold", "fail")]
    only = found.findings(now=T0 + 10 * DAY, chips=["two"])  # the other carrier is found although not asked for
    assert [(f.subject, f.check) for f in only] == [("two", "registry.double-sold")]
    assert "one (held by alice)" in only[0].reason


def test_many_chips_in_one_shipment(world: World) -> None:
    chips = [f"chip-{number:04}" for number in range(1200)]
    lorry = [
        world.sign(Step.MADE, chips, 0, "fab"),
        world.sign(Step.SHIPPED, chips, 1, "fab", "trader"),
        world.sign(Step.RECEIVED, chips[:-1], 2, "trader", "fab"),  # one is missing
    ]
    found = directory(world, *lorry)
    assert len(found.chips_of("trader", T0 + 3 * DAY)) == 1199
    assert outcomes(found, 30) == [("chip-1199", "registry.never-received", "fail")]


def test_corrections(world: World) -> None:
    wrong = world.shipped("one", 6, "alice", "bob")
    found = directory(world, *world.delivered("one"), wrong)
    statement = verify_statement(wrong, world.roots)
    correction = sign_correction(
        world.signers["alice"], of=statement, reason="did_not_occur", time=T0 + 7 * DAY, issued_at=T0 + 7 * DAY
    )
    found.add([correction])
    custody = found.holder_at("one", T0 + 8 * DAY)
    assert custody is not None
    assert custody.status is Status.HELD
    assert found.verify() == 7  # nothing was deleted


def test_it_lasts(world: World, tmp_path: Path) -> None:
    with Directory(tmp_path / "chips.db", roots=world.roots, create=True) as found:
        found.add(world.delivered("one"))
    with Directory(f"sqlite:///{tmp_path / 'chips.db'}", roots=world.roots) as found:
        assert found.chips() == ["one"]
        assert found.verify() == 5
    with Directory(tmp_path / "chips.db", roots=world.roots, create=True) as found:
        assert found.chips() == ["one"]


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("UPDATE custody_statements SET raw = zeroblob(9)", "stored bytes are not this statement's"),
        ("DELETE FROM custody_mentions WHERE name = 'one'", "the index hides a mention of chip one"),
        ("UPDATE custody_mentions SET name = 'two' WHERE name = 'one'", "the index (hides|invents)"),
        ("UPDATE custody_statements SET id = replace(id, 'a', 'b')", "not this statement's"),
    ],
)
def test_an_edited_database_is_noticed(world: World, tmp_path: Path, attack: str, words: str) -> None:
    with Directory(tmp_path / "chips.db", roots=world.roots, create=True) as found:
        found.add(world.delivered("one"))
    with sqlite3.connect(tmp_path / "chips.db") as database:
        database.execute(attack)
    database.close()
    with Directory(tmp_path / "chips.db", roots=world.roots) as found, pytest.raises(EvidenceError, match=words):
        found.verify()


def test_a_statement_of_untrusted_roots_is_noticed_on_reading(world: World, tmp_path: Path) -> None:
    with Directory(tmp_path / "chips.db", roots=world.roots, create=True) as found:
        found.add([world.made("one")])
    other = world.roots.roots[1:]
    with Directory(tmp_path / "chips.db", roots=other) as found, pytest.raises(EvidenceError, match="leads to none"):
        found.known("one")


def test_what_is_no_directory_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database " * 100)
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE directory_about (name, value)")
        database.execute("INSERT INTO directory_about VALUES ('schema', 'directory/9')")
    database.close()
    addresses: list[str | Path] = [
        tmp_path / "absent.db", tmp_path / "text.db", tmp_path / "other.db", tmp_path, "/nowhere/chips.db",
        "mysql://user:secret@host/x", "nonsense://x", "://", "sqlite:////nowhere/x.db",
    ]  # fmt: skip
    for address in addresses:
        for create in (False, True):
            if create and address == tmp_path / "absent.db":
                continue
            with pytest.raises(InputError) as refused:
                Directory(address, roots=world.roots, create=create)
            assert "secret" not in str(refused.value)
    assert not (tmp_path / "absent.db").exists()
    assert (tmp_path / "text.db").read_text().startswith("not a database")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_statement_is_refused_or_the_same(world: World, data: st.DataObject) -> None:
    raw = bytearray(world.made("one"))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    found = directory(world)
    with pytest.raises(WeighbridgeError):
        found.add([bytes(raw)])
    assert found.verify() == 0
