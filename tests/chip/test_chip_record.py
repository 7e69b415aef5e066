"""A record's claims: round trip, and every departure from the one form refused."""

import itertools
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chip.chip_world import PaperChip, World
from weighbridge.errors import EvidenceError
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.chip.record import (
    KIND,
    PROFILE,
    ChipRecord,
    decode_payload,
    decode_record,
    encode_record,
)

CHIP = "5a" * 32
names = itertools.count()
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
counts = st.integers(0, (1 << 64) - 1)


@st.composite
def records(draw: st.DrawFn) -> ChipRecord:
    reason = draw(st.sampled_from(["boot", "sample", "shutdown", "challenge"]))
    sample = reason == "sample"
    link = draw(digests) if sample or (reason == "boot" and draw(st.booleans())) else None
    return ChipRecord(
        chip=CHIP,
        sequence=draw(counts),
        previous=draw(digests),
        boot=draw(st.integers(1, 1 << 32)),
        reason=reason,
        interval=draw(st.integers(1, 1 << 40)),
        link=link,
        next_commitment=draw(digests) if link and draw(st.booleans()) else "",
        rate_hz=draw(st.floats(1e-9, 999.0)),
        active_ns=draw(counts),
        monotonic_ns=draw(counts),
        due_active_ns=draw(counts) if sample else None,
        late_ns=draw(counts) if sample else 0,
        freeze_ns=draw(counts) if sample else 0,
        cpu_ns=draw(counts),
        cores=draw(st.integers(0, 512)),
        accounting=draw(st.sampled_from(["cgroup2", "process-tree", *["none"] * (reason == "challenge")])),
        not_before=draw(digests | st.just("")),
        firmware=draw(digests),
        host=draw(digests),
        uid_separated=draw(st.booleans()),
        leaf_size=16384 if sample else 0,
        leaf_count=draw(counts) if sample else 0,
        resident_bytes=draw(counts) if sample else 0,
        root=draw(digests) if sample else "",
        salt_commitment=draw(digests) if sample else "",
        affinity_ok=draw(st.booleans()),
        nonce=draw(st.binary(min_size=8, max_size=64)).hex() if reason == "challenge" else "",
        lost=draw(st.integers(0, 99)) if reason == "boot" else 0,
        survivors=draw(st.integers(0, 99)) if reason == "boot" else 0,
        late_cpu_ns=draw(st.none() | counts),
    )


@given(records())
def test_round_trip(record: ChipRecord) -> None:
    assert decode_payload(encode_record(record), chip=CHIP, where="test") == record


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(record=records())
def test_round_trip_through_a_statement(world: World, record: ChipRecord) -> None:
    signer = world.signer(f"chip-{next(names)}")
    own = replace(record, chip=signer.key_id)
    raw = sign_statement(signer, kind=KIND, subject=signer.key_id, payload=encode_record(own), encoding="cbor")
    assert decode_record(world.verified(raw)) == own


def test_the_profile_and_eat_numbers_are_fixed(paper: PaperChip) -> None:
    paper.boot().sample()
    claims = encode_record(paper.records[1])["eat"]
    assert claims[265] == PROFILE and claims[256] == b"\x01" + bytes.fromhex(paper.chip)
    assert claims[267] == 1 and 10 not in claims
    private = sorted(label for label in claims if label < 0)
    assert private == list(range(-65632, -65599))
    assert len(private) + 3 == len(fields(ChipRecord))  # chip, boot and nonce have EAT's own numbers


def _spoil(claims: dict[int, Any], label: int, value: Any) -> dict[str, Any]:
    return {"eat": {**claims, label: value}}


@given(
    label=st.sampled_from([*range(-65632, -65599), 10, 256, 265, 267]),
    value=st.none() | st.booleans() | st.integers(-5, 1 << 65) | st.binary(max_size=40) | st.text(max_size=5),
)
def test_a_claim_of_another_type_is_refused_or_means_the_same(label: int, value: Any) -> None:
    record = ChipRecord(
        chip=CHIP,
        sequence=3,
        previous="11" * 32,
        boot=1,
        reason="sample",
        interval=1,
        link="22" * 32,
        rate_hz=1.0,
        active_ns=5,
        monotonic_ns=6,
        due_active_ns=4,
        late_ns=1,
        cores=1,
        accounting="cgroup2",
        firmware="33" * 32,
        host="44" * 32,
        uid_separated=True,
        leaf_size=16384,
        root="55" * 32,
        salt_commitment="66" * 32,
    )
    payload = _spoil(encode_record(record)["eat"], label, value)
    try:
        decoded = decode_payload(payload, chip=CHIP, where="test")
    except EvidenceError:
        return
    assert encode_record(decoded) == payload


def test_missing_and_unknown_claims_are_refused(paper: PaperChip) -> None:
    paper.boot().sample()
    claims = encode_record(paper.records[1])["eat"]
    for payload in (
        {"eat": {k: v for k, v in claims.items() if k != -65607}},
        {"eat": {**claims, -70000: 1}},
        {"eat": claims, "more": 1},
        {"other": claims},
        {"eat": [1]},
    ):
        with pytest.raises(EvidenceError):
            decode_payload(payload, chip=paper.chip, where="test")


@pytest.mark.parametrize(
    ("sequence", "changes", "field"),
    [
        (1, {"due_active_ns": None}, "due_active_ns"),
        (1, {"root": ""}, "root"),
        (1, {"leaf_size": 5000}, "leaf_size"),
        (1, {"lost": 1}, "lost"),
        (1, {"nonce": "00" * 8}, "nonce"),
        (0, {"due_active_ns": 3}, "due_active_ns"),
        (0, {"root": "11" * 32}, "root"),
        (0, {"boot": 0}, "boot"),
        (0, {"interval": 0}, "interval"),
        (0, {"next_commitment": "11" * 32}, "next_commitment"),
    ],
)
def test_claims_that_make_no_sense_together_are_refused(
    paper: PaperChip, sequence: int, changes: dict[str, Any], field: str
) -> None:
    paper.boot().sample()
    paper.edit(sequence, **changes)
    with pytest.raises(EvidenceError, match=rf"#{sequence}: {field}"):
        decode_payload(encode_record(paper.records[sequence]), chip=paper.chip, where="test")


def test_a_record_speaks_only_for_its_signer(world: World, paper: PaperChip) -> None:
    paper.boot()
    other = world.signer("other")
    raw = sign_statement(other, kind=KIND, subject=paper.chip, payload=encode_record(paper.records[0]), encoding="cbor")
    with pytest.raises(EvidenceError, match="signed by"):
        decode_record(world.verified(raw))
    raw = sign_statement(
        other, kind=KIND, subject=other.key_id, payload=encode_record(paper.records[0]), encoding="cbor"
    )
    with pytest.raises(EvidenceError, match="not the id of chip"):
        decode_record(world.verified(raw))
