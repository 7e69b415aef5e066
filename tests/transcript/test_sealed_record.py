"""The record that leaves the room: one size, one spelling, and few enough bits."""

import json
from typing import Any

import pytest

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.sealed.record import CHECKS, RECORD_BYTES, SealedRecord, most_bits


def finding(check: str, outcome: Outcome = Outcome.PASS, **more: Any) -> Finding:
    return Finding(check=f"transcript.{check}", subject="s" * 64, outcome=outcome, reason="the secret is 42", **more)


HONEST = [finding(name) for name in ("journal", "steps", "initial-state", "replay")]


def test_a_record_has_one_size_whatever_it_says() -> None:
    every = [SealedRecord.nothing(), SealedRecord.of(HONEST, share=1)]
    every += [SealedRecord.of([*HONEST, finding(name, outcome)], share=1) for name in CHECKS for outcome in Outcome]
    assert {len(record.encode()) for record in every} == {RECORD_BYTES}
    assert all(SealedRecord.decode(record.encode()) == record for record in every)
    assert not any(b"42" in record.encode() for record in every)


def test_verdicts() -> None:
    assert SealedRecord.of(HONEST, share=1).verdict is Outcome.PASS
    assert SealedRecord.of(HONEST[:-1], share=1).verdict is Outcome.INCONCLUSIVE  # nothing was replayed
    assert (
        SealedRecord.of([*HONEST, finding("environment", Outcome.INCONCLUSIVE)], share=1).verdict
        is Outcome.INCONCLUSIVE
    )
    assert SealedRecord.of([*HONEST, finding("steps", Outcome.FAIL)], share=1).verdict is Outcome.FAIL
    assert SealedRecord.of([*HONEST, finding("a-check-made-tomorrow", Outcome.FAIL)], share=1).verdict is Outcome.FAIL
    assert SealedRecord.nothing().verdict is Outcome.INCONCLUSIVE


def test_the_worst_of_several_findings_counts() -> None:
    found = SealedRecord.of([finding("replay", Outcome.FAIL), *HONEST], share=1)
    assert dict(zip(CHECKS, found.outcomes, strict=True))["replay"] == "fail"


def test_the_share_of_steps_leaves_in_fifteenths_whatever_a_figure_says() -> None:
    found = [*HONEST, finding("replay-share", figure=0.0)]  # the chance to meet one forged step, which is another
    assert {SealedRecord.of(found, share=n / 1000).replayed for n in range(1001)} == set(range(16))
    assert SealedRecord.of(found, share=0.5).replayed == 7
    assert SealedRecord.of(HONEST[:-1], share=0.5).replayed == 0  # drawn, and not replayed


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d | {"note": "a secret"},
        lambda d: d | {"replayed_fifteenths": 16},
        lambda d: d | {"replayed_fifteenths": True},
        lambda d: d | {"verdict": "fail"},
        lambda d: d | {"checks": [*d["checks"][:-1], ["other", "sort of"]]},
        lambda d: d | {"checks": d["checks"][::-1]},
        lambda d: d | {"checks": [*d["checks"], ["more", "pass"]]},
    ],
)
def test_what_is_not_a_record_is_refused(edit: Any) -> None:
    data = edit(SealedRecord.of(HONEST, share=1).as_dict())
    text = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(EvidenceError):
        SealedRecord.decode(text.ljust(RECORD_BYTES - 1) + b"\n")


def test_a_record_has_one_spelling() -> None:
    raw = SealedRecord.of(HONEST, share=1).encode()
    for other in (raw[:-1], raw + b" ", raw.replace(b":", b": ", 1)[:RECORD_BYTES], b" " + raw[:-2] + b"\n"):
        with pytest.raises(EvidenceError):
            SealedRecord.decode(other)


def test_its_bits_are_counted() -> None:
    assert most_bits() == 36
