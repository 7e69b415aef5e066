import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge import units
from weighbridge.errors import InputError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1e5", 100_000),
        ("2500000.0", 2_500_000),
        ("2.5M", 2_500_000),
        ("3e6", 3_000_000),
        (" 7 ", 7),
        ("0", 0),
        ("1e23", 10**23),  # not the double's 99999999999999991611392
        ("9007199254740993", 2**53 + 1),
        ("1k", 1000),
        ("150e-1", 15),
    ],
)
def test_counts_are_exact(text: str, count: int) -> None:
    assert units.parse_count(text) == count


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "nan", "inf", "-inf", "Infinity", "1.5", "-1", "1e-1", "1_000", "1,000", "0x10", "1e", "e5",
        "--1", "1e999999999", "1e-999999999", "1e9999999999999", "9" * 65, "٣", "1.2.3", "½", "1 2",
        "1e5 chips", "1Ki", "None", "1\n2", "\x00", "1e61",
    ],
)  # fmt: skip
def test_what_is_no_count_is_refused_in_words(text: str) -> None:
    with pytest.raises(InputError) as refused:
        units.parse_count(text, name="--chips")
    assert "--chips" in str(refused.value)
    assert len(str(refused.value)) < 200


def test_least_count() -> None:
    with pytest.raises(InputError, match="below 1"):
        units.parse_count("0", least=1)


@pytest.mark.parametrize(
    ("text", "flop"),
    [
        ("5.76e23", 5.76e23),
        ("1e15", 1e15),
        ("989 TFLOP", 989e12),
        ("1 EFLOP", 1e18),
        ("1E", 1e18),
        ("1e1E", 1e19),
    ],
)
def test_flop(text: str, flop: float) -> None:
    assert units.parse_flop(text) == flop


def test_flop_rate() -> None:
    assert units.parse_flop_rate("989 TFLOP/s") == 989e12
    assert units.parse_flop_rate("1e15") == 1e15
    with pytest.raises(InputError, match="unit"):
        units.parse_flop_rate("1 TFLOP")  # an amount is not a rate
    with pytest.raises(InputError, match="unit"):
        units.parse_flop("1 TFLOP/s")
    with pytest.raises(InputError, match="0 is meaningless"):
        units.parse_flop_rate("0")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64Ki", 65536), ("64 KiB", 65536), ("64kB", 64000), ("64K", 64000), ("1.5 GB", 1_500_000_000),
        ("1.5Gi", 1_610_612_736), ("0", 0), ("1e3", 1000), ("80 GB", 80_000_000_000), ("2Pi", 2 * 2**50),
    ],
)  # fmt: skip
def test_bytes(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size


def test_bytes_are_whole() -> None:
    with pytest.raises(InputError, match="whole number of bytes"):
        units.parse_bytes("1.0001 KiB")


def test_times() -> None:
    assert units.parse_seconds("1.5h") == 5400.0
    assert units.parse_seconds("90") == 90.0
    assert units.parse_seconds("2 d") == 172_800.0
    assert units.parse_days("30") == 30.0
    with pytest.raises(InputError, match="meaningless"):
        units.parse_days("0")
    assert units.parse_seconds("0", positive=False) == 0.0


def test_fraction_is_the_decimal_that_was_typed() -> None:
    assert 1 - units.parse_fraction("0.9") == Fraction(1, 10)
    assert 1 - units.check_fraction(0.95, name="confidence") == Fraction(1, 20)
    assert units.check_fraction(Fraction(1, 3), name="confidence") == Fraction(1, 3)


@pytest.mark.parametrize("text", ["0", "1", "1.0", "-0.5", "90", "90%", "nan", "1e-70"])
def test_fraction_outside_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        units.parse_fraction(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0, True, "3"])
def test_check_quantity_refuses(value: float) -> None:
    with pytest.raises(InputError, match="rate"):
        units.check_quantity(value, name="rate")


@pytest.mark.parametrize("value", [1.0, True, "3", None])
def test_check_count_refuses(value: int) -> None:
    with pytest.raises(InputError, match="n"):
        units.check_count(value, name="n")


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        (units.format_flop(5.76e23), "5.76e23 FLOP"),
        (units.format_flop(math.inf), "unbounded"),
        (units.format_flop(0.0), "0 FLOP"),
        (units.format_flop_rate(1.55e11), "1.55e11 FLOP/s"),
        (units.format_quantity(231_559.0, digits=6), "231,559"),
        (units.format_quantity(0.121142, digits=6), "0.121142"),
        (units.format_quantity(1200.0, unit="chips"), "1,200 chips"),
        (units.format_quantity(1e-7), "1e-7"),
        (units.format_bytes(0), "0 B"),
        (units.format_bytes(1000), "1000 B"),
        (units.format_bytes(1023), "1023 B"),
        (units.format_bytes(65536), "64 KiB"),
        (units.format_bytes(2**60), "1024 PiB"),
        (units.format_seconds(0.35), "0.35 s"),
        (units.format_seconds(750), "12.5 min"),
        (units.format_seconds(86_400 * 30), "30 days"),
        (units.format_seconds(0), "0 s"),
    ],
)
def test_printing(printed: str, text: str) -> None:
    assert printed == text


@given(st.text(max_size=80))
def test_any_text_is_a_number_or_one_clear_error(text: str) -> None:
    for parse in (
        units.parse_count,
        units.parse_quantity,
        units.parse_flop,
        units.parse_bytes,
        units.parse_seconds,
    ):
        try:
            value = parse(text)
        except InputError:
            continue
        assert value >= 0
        assert math.isfinite(value)


@given(st.integers(min_value=0, max_value=10**40))
def test_whole_numbers_survive(count: int) -> None:
    assert units.parse_count(str(count)) == count


@given(st.floats(min_value=1e-50, max_value=1e50))
def test_doubles_survive(value: float) -> None:
    assert units.parse_quantity(repr(value)) == value
