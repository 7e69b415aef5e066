"""Rounds that drand's quicknet really signed, verified without a network."""

import sys

import pytest

from weighbridge.errors import EvidenceError, InputError, MissingToolError
from weighbridge.evidence.beacon import QUICKNET, verify_round

# Round, signature, randomness, as the beacon's relays give them.
ROUNDS = [
    (
        123,
        "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92",
        "fb8f7bc29bf24db51871ec8c79f3a1e4bd0557bc0dfcee9ed1d924e69d1c60dc",
    ),
    (
        1000,
        "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
        "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd",
    ),
    (
        657_413,
        "b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be41076862b98fad56e91a6b85b89cd97b",
        "fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587",
    ),
]
SIGNATURE = ROUNDS[1][1]


@pytest.mark.parametrize(("number", "signature", "randomness"), ROUNDS)
def test_real_rounds_verify(number: int, signature: str, randomness: str) -> None:
    assert verify_round(number, signature).hex() == randomness


@pytest.mark.parametrize(
    ("number", "signature"),
    [
        (1001, SIGNATURE),
        (1000, ROUNDS[0][1]),
        (1000, SIGNATURE[:-1] + "8"),
        (1000, SIGNATURE.upper()),
        (1000, SIGNATURE[:-2]),
        (1000, "zz" * 48),
        (1000, "c0" + "00" * 47),
        (1000, ""),
    ],
    ids=["next round", "another round's", "a bit", "upper case", "short", "not hex", "neutral element", "empty"],
)
def test_anything_else_is_refused(number: int, signature: str) -> None:
    with pytest.raises(EvidenceError, match="signature"):
        verify_round(number, signature)


def test_a_rounds_time_follows_from_its_number() -> None:
    assert QUICKNET.time_of(1) == 1_692_803_367
    assert QUICKNET.time_of(1000) == 1_692_806_364
    for time in (QUICKNET.time_of(1000) - 0.5, QUICKNET.time_of(1000) - 3):
        assert QUICKNET.first_after(time) == 1000
    assert QUICKNET.first_after(QUICKNET.time_of(1000)) == 1001
    assert QUICKNET.first_after(0) == 1
    for number in (0, -1, True):
        with pytest.raises(InputError):
            QUICKNET.time_of(number)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "drand_verify", None)
    with pytest.raises(MissingToolError, match=r"weighbridge\[draws\]"):
        verify_round(1000, SIGNATURE)
