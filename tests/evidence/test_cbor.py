import math
import struct
import time
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError
from weighbridge.evidence.cbor import read, read_sign1, split_sign1
from weighbridge.evidence.limits import LIMITS

keys = st.one_of(st.integers(-(2**64), 2**64 - 1), st.text(), st.binary())
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**64), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
        st.binary(),
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


def plain(value: Any) -> Any:
    """Turns cbor2's tuples and frozen maps into ours."""
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "items"):
        return {key: plain(inner) for key, inner in value.items()}
    return value


@settings(max_examples=200, deadline=None)
@given(values, st.booleans())
def test_what_cbor2_writes_is_read_as_it_was(value: Any, canonical: bool) -> None:
    assert read(cbor2.dumps(value, canonical=canonical), where="t") == value


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_like_cbor2_reads_them_or_refused(data: bytes) -> None:
    try:
        found = read(data, where="t")
    except EvidenceError:
        return
    assert repr(found) == repr(plain(cbor2.loads(data)))


@settings(max_examples=300, deadline=None)
@given(values, st.data())
def test_every_truncation_and_every_trailing_byte_is_refused(value: Any, data: st.DataObject) -> None:
    good = cbor2.dumps(value)
    with pytest.raises(EvidenceError):
        read(good[: data.draw(st.integers(0, len(good) - 1))], where="t")
    with pytest.raises(EvidenceError, match="follow"):
        read(good + data.draw(st.binary(min_size=1, max_size=4)), where="t")


# RFC 8949 appendix A: what it lists as equivalent or special, and we refuse.
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("nothing", ""),
        ("integer in a longer form", "1817"),
        ("integer in a longer form", "1900ff"),
        ("integer in a longer form", "1a0000ffff"),
        ("integer in a longer form", "1b00000000ffffffff"),
        ("negative in a longer form", "3817"),
        ("length in a longer form", "5801aa"),
        ("text length in a longer form", "780161"),
        ("open-ended bytes", "5f42010243030405ff"),
        ("open-ended text", "7f657374726561646d696e67ff"),
        ("open-ended array", "9fff"),
        ("open-ended map", "bf61610161629f0203ffff"),
        ("reserved form", "1c"),
        ("reserved form", "5c"),
        ("break alone", "ff"),
        ("bignum", "c249010000000000000000"),
        ("negative bignum", "c349010000000000000000"),
        ("date", "c074323031332d30332d32315432303a30343a30305a"),
        ("epoch date", "c11a514b67b0"),
        ("decimal fraction", "c48221196ab3"),
        ("bigfloat", "c5822003"),
        ("pattern", "d82363612b61"),
        ("shared value", "d81c80"),
        ("shared reference", "d81d00"),
        ("uuid", "d8255000000000000000000000000000000000"),
        ("set", "d9010281" + "01"),
        ("self-described", "d9d9f700"),
        ("nested COSE", "d28443a10127a0f640"),
        ("undefined", "f7"),
        ("simple 16", "f0"),
        ("simple 255", "f8ff"),
        ("false in two bytes", "f814"),
        ("infinity", "f97c00"),
        ("NaN", "f97e00"),
        ("infinity, single", "fa7f800000"),
        ("NaN, double", "fb7ff8000000000000"),
        ("repeated key", "a201020103"),
        ("repeated text key", "a2616101616102"),
        ("boolean key", "a1f500"),
        ("null key", "a1f600"),
        ("float key", "a1f93c0000"),
        ("array key", "a18000"),
        ("map key", "a1a000"),
        ("text that is not UTF-8", "61ff"),
        ("text of a lone surrogate", "63eda080"),
        ("bytes that are not there", "5bffffffffffffffff"),
        ("text that is not there", "7b7fffffffffffffff00"),
        ("an array larger than the message", "9b7fffffffffffffff00"),
        ("a map larger than the message", "bbffffffffffffffff00"),
        ("a map without its last value", "a101"),
    ],
)
def test_other_forms_are_refused_at_once(name: str, data: str) -> None:
    start = time.process_time()
    with pytest.raises(EvidenceError) as caught:
        read(bytes.fromhex(data), where="the test")
    assert str(caught.value).startswith("the test: "), name
    assert time.process_time() - start < 0.5


def test_keys_that_python_holds_equal_stay_apart() -> None:
    assert read(bytes.fromhex("a200f501f4"), where="t") == {0: True, 1: False}
    assert type(read(b"\xf5", where="t")) is bool
    assert type(read(b"\x01", where="t")) is int


def test_depth_is_bounded() -> None:
    deep = LIMITS.cbor_depth
    assert read(b"\x81" * deep + b"\x00", where="t") is not None
    for bomb in (b"\x81" * (deep + 1) + b"\x00", b"\x81" * 500_000, b"\xa1\x00" * 100_000, b"\xd2" * 100_000):
        with pytest.raises(EvidenceError):
            read(bomb, where="t")


def test_items_are_bounded_in_count_and_time() -> None:
    start = time.process_time()
    with pytest.raises(EvidenceError, match="more than"):
        read(cbor2.dumps([0] * (LIMITS.cbor_items + 1)), where="t")
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize("number", [0.0, -0.0, 1.5, 65504.0, 3.4028234663852886e38, 1e300, 5e-324])
def test_floats_of_every_width_are_read(number: float) -> None:
    for canonical in (False, True):
        found = read(cbor2.dumps(number, canonical=canonical), where="t")
        assert struct.pack(">d", found) == struct.pack(">d", number)
        assert math.isfinite(found)


GOOD = cbor2.dumps(cbor2.CBORTag(18, [b"\xa0", {}, b"p", bytes(64)]))


def test_a_sign1_is_taken_apart() -> None:
    assert read_sign1(GOOD, where="t") == (b"\xa0", {}, b"p", bytes(64))


@pytest.mark.parametrize(
    "data",
    [
        GOOD[1:],
        b"",
        b"\xd2",
        GOOD + b"\x00",
        b"\xd8\x12" + GOOD[1:],
        b"\xd1" + GOOD[1:],
        cbor2.dumps(cbor2.CBORTag(18, [b"", {}, b"p"])),
        cbor2.dumps(cbor2.CBORTag(18, [b"", {}, b"p", bytes(64), 0])),
        cbor2.dumps(cbor2.CBORTag(18, {0: 1})),
        cbor2.dumps(cbor2.CBORTag(18, [{}, {}, b"p", bytes(64)])),
        cbor2.dumps(cbor2.CBORTag(18, [b"", [], b"p", bytes(64)])),
        cbor2.dumps(cbor2.CBORTag(18, [b"", {}, "p", bytes(64)])),
        cbor2.dumps(cbor2.CBORTag(18, [b"", {}, b"p", bytes(63)])),
        cbor2.dumps(cbor2.CBORTag(18, [b"", {}, b"p", 64])),
    ],
)
def test_what_is_no_sign1_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        read_sign1(data, where="t")
    with pytest.raises(EvidenceError):
        read_sign1(bytearray(GOOD), where="t")  # type: ignore[arg-type]


def test_a_sequence_is_split_into_what_was_written() -> None:
    other = cbor2.dumps(cbor2.CBORTag(18, [b"\xa0", {}, b"q" * 300, bytes(64)]))
    assert split_sign1(b"", where="t") == []
    assert split_sign1(GOOD + other + GOOD, where="t") == [GOOD, other, GOOD]
    for data in (GOOD + b"\x00", GOOD + other[:-1], b"\x00" + GOOD):
        with pytest.raises(EvidenceError):
            split_sign1(data, where="t")
