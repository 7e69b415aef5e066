import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.jsontext import dump_json, load_json
from weighbridge.mechanisms.registry.epcis import MOST_CHIPS, Step, corrected, event_payload, parse_time, read_event

CHIP = "ab" * 32
T = 1_760_000_000.0
PARTIES: dict[Step, str | None] = {
    Step.MADE: None, Step.SHIPPED: "bob", Step.RECEIVED: "bob", Step.INSTALLED: None, Step.DESTROYED: None
}  # fmt: skip


def payload(step: Step = Step.SHIPPED, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"chips": [CHIP], "time": T, "party": "alice", "other": PARTIES[step]}
    return event_payload(step, **(usual | more))


@pytest.mark.parametrize("step", list(Step))
def test_every_step_reads_back(step: Step) -> None:
    body = read_event(load_json(dump_json(payload(step, location="hall 7/ü")), where="x"), where="x")
    assert (body.step, body.chips, body.time) == (step, (CHIP,), T)
    assert (body.party, body.other, body.location) == ("alice", PARTIES[step], "hall 7/ü")
    assert body.error is None


def test_it_is_epcis() -> None:
    found = payload()
    assert found["@context"][0] == "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
    assert (found["type"], found["bizStep"], found["action"]) == ("ObjectEvent", "shipping", "OBSERVE")
    assert found["eventTime"] == "2025-10-09T08:53:20.000Z"
    assert found["eventID"].startswith("urn:uuid:")
    assert found["sourceList"] == [{"type": "possessing_party", "source": "urn:weighbridge:party:alice"}]
    made = payload(Step.MADE, serial="SN 1")
    assert (made["action"], made["ilmd"]) == ("ADD", {"weighbridge:serial": "SN 1"})
    assert payload(Step.DESTROYED)["action"] == "DELETE"


def test_the_same_facts_are_the_same_event() -> None:
    assert payload() == payload()
    others: list[dict[str, Any]] = [{"time": T + 1}, {"party": "carl"}, {"other": "carl"}, {"chips": ["x"]}]
    assert len({payload(**change)["eventID"] for change in [{}, *others]}) == 5


def test_names_have_one_spelling() -> None:
    found = payload()
    found["sourceList"][0]["source"] = "urn:weighbridge:party:%61lice"
    with pytest.raises(EvidenceError, match="sourceList"):
        read_event(found, where="x")


def test_a_correction_repeats_the_event() -> None:
    found = corrected(payload(), reason="did_not_occur", time=T + 5, corrective=["urn:uuid:1"])
    assert read_event(found, where="x").error == "did_not_occur"
    assert read_event(found, where="x").digest == read_event(payload(), where="x").digest
    assert read_event(found, where="x").event_id == payload()["eventID"]
    recorded = payload() | {"recordTime": "2026-01-01T00:00:00Z"}
    assert read_event(recorded, where="x").digest == read_event(payload(), where="x").digest


def test_what_others_may_add() -> None:
    found = payload() | {
        "readPoint": {"id": "urn:epc:id:sgln:0614141.07346.1234"},
        "bizTransactionList": [{"type": "po", "bizTransaction": "urn:x:1"}],
        "example:seal": {"number": 7},
    }
    assert read_event(found, where="x").party == "alice"


CHANGES: list[tuple[str, Any]] = [
    ("type", "AggregationEvent"), ("bizStep", "retail_selling"), ("bizStep", "urn:epcglobal:cbv:bizstep:shipping"),
    ("bizStep", 7), ("action", "ADD"), ("disposition", "destroyed"), ("epcList", []), ("epcList", "x"),
    ("epcList", ["urn:epc:id:sgtin:1"]), ("epcList", [f"urn:weighbridge:chip:{CHIP}"] * 2),
    ("epcList", [f"urn:weighbridge:chip:{CHIP.upper()}"]), ("epcList", ["urn:weighbridge:chip:../x"]),
    ("epcList", [f"urn:weighbridge:chip:{i}" for i in range(MOST_CHIPS + 1)]),
    ("eventTime", "yesterday"), ("eventTime", "2026-01-01T00:00:00"), ("eventTime", "1970-01-01T00:00:00Z"),
    ("eventTime", "2026-13-01T00:00:00Z"), ("eventTime", 5), ("eventTimeZoneOffset", "+99:00"),
    ("eventTimeZoneOffset", None), ("sourceList", []), ("sourceList", None), ("destinationList", None),
    ("sourceList", [{"type": "owning_party", "source": "urn:weighbridge:party:alice"}]),
    ("sourceList", [{"type": "possessing_party", "source": "urn:weighbridge:party:"}]),
    ("sourceList", [{"type": "possessing_party", "source": "urn:weighbridge:party:a%00b"}]),
    ("sourceList", [{"type": "possessing_party", "source": "urn:weighbridge:party:a"}] * 2),
    ("weighbridge:party", "urn:weighbridge:party:alice"), ("eventID", ""), ("eventID", None), ("surprise", 1),
    ("quantityList", []), ("ilmd", {"weighbridge:serial": "1"}), ("errorDeclaration", {"reason": "did_not_occur"}),
    ("errorDeclaration", {"declarationTime": "x", "reason": "did_not_occur"}),
    ("errorDeclaration", {"declarationTime": "2026-01-01T00:00:00Z", "reason": "because"}),
    ("bizLocation", {"id": "urn:weighbridge:site:"}), ("bizLocation", "hall"), ("@context", ...),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_anything_else_is_refused(field: str, value: Any) -> None:
    found = payload()
    if value is None or value is ...:
        del found[field]
    else:
        found[field] = value
    with pytest.raises(EvidenceError, match="is no custody event") as refused:
        read_event(found, where="statement 0123")
    assert "statement 0123" in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_made_chip_names_its_party() -> None:
    found = payload(Step.MADE)
    del found["weighbridge:party"]
    with pytest.raises(EvidenceError, match="weighbridge:party"):
        read_event(found, where="x")
    for change in ({"ilmd": {"weighbridge:serial": 7}}, {"ilmd": {"weighbridge:serial": "\n"}}):
        with pytest.raises(EvidenceError):
            read_event(payload(Step.MADE) | change, where="x")


@pytest.mark.parametrize(
    "arguments",
    [
        {"chips": []}, {"chips": ["a", "a"]}, {"chips": ["a b"]}, {"chips": ["é"]}, {"chips": ["AB" * 32]},
        {"party": ""}, {"party": " alice"}, {"party": "a\nb"}, {"party": "x" * 65}, {"other": None},
        {"party": "\ud800"}, {"time": -1.0}, {"time": float("nan")}, {"time": 1e18}, {"serial": "1"},
        {"location": "\x1b[31m"},
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        payload(**arguments)
    with pytest.raises(InputError, match="no counterpart"):
        payload(Step.INSTALLED, other="bob")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-21", 1_795_219_200.0),
        ("2026-11-21T10:00:00Z", 1_795_255_200.0),
        ("2026-11-21T10:00Z", 1_795_255_200.0),
        ("2026-11-21T12:00:00.5+02:00", 1_795_255_200.5),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@given(st.text(max_size=60))
def test_any_text_is_a_time_or_one_clear_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert 946_684_800 <= parse_time(text) < 4_102_444_800


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*payload(), "ilmd", "errorDeclaration", "x"]), JSON)
def test_any_value_in_any_field_is_read_or_one_clear_error(field: str, value: Any) -> None:
    found = json.loads(json.dumps(payload())) | {field: value}
    try:
        body = read_event(found, where="x")
    except EvidenceError:
        return
    assert body.chips == (CHIP,)
