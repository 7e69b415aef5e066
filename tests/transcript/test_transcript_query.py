"""A journal as rows: what passes the filter, in which form, and that damaged journals give nothing by halves."""

import csv
import importlib.util
import json
import math
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from weighbridge.app.main import build
from weighbridge.errors import EvidenceError, InputError, MissingToolError
from weighbridge.mechanisms.transcript.conditions import Filter, parse_filter
from weighbridge.mechanisms.transcript.rows import STEP_COLUMNS, Rows, parse_span

from .written import beginning, end, freeze, lines, snapshot, step, whole, written


def command(*arguments: object) -> Result:
    result = CliRunner().invoke(build(), ["transcript", "query", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows(*arguments: object) -> list[dict[str, Any]]:
    printed = json.loads(command(*arguments, "--json").stdout)
    assert printed["count"] == len(printed["rows"])
    found: list[dict[str, Any]] = printed["rows"]
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two segments: the second trains steps 2 and 3 again, at another rate; one loss is NaN, one step had two."""
    first = [beginning(), step(0, 3.5), step(1, 2.5, updates=0), step(2, 2.0), step(3, math.nan, state="33" * 32)]
    again = {"optimizer": [{"lr": 0.25}, {"lr": "nan"}]}
    second = [
        beginning(segment=1, step=2),
        step(2, 2.0, hyperparameters=again),
        step(3, 1.5, 9.0, state="33" * 32),
        freeze(4, 5, 6, chip="=cmd\x1b[2J"),
        end(4, finished=False),
    ]
    return written(tmp_path / "run", first, second)


TAKEN = {
    "loss<2.5": [(0, 2), (1, 2), (1, 3)],
    "loss<=2.5 and updates=0": [(0, 1)],
    "loss=nan": [(0, 3)],
    "loss!=nan and loss>3": [(0, 0), (1, 3)],
    "loss<2.5 and segment=0 or step=0": [(0, 0), (0, 2)],
    "step=0 or loss<2.5 and segment=0": [(0, 0), (0, 2)],
    "lr=0.25": [(1, 2), (1, 3)],
    "lr=nan": [(1, 2), (1, 3)],
    "lr>0.25": [(0, 0), (0, 1), (0, 2), (0, 3)],
    f"state={'33' * 32}": [(0, 3), (1, 3)],
    "state!=x": [(0, 3), (1, 3)],
    "loss>=0x1.cp+1": [(0, 0), (1, 3)],
    "cpu_ns>1e1": [(0, 2), (0, 3), (1, 2), (1, 3)],
    "seen=yielded": [],
}


@pytest.mark.parametrize("condition", TAKEN)
def test_conditions_take_what_they_say(run: Path, condition: str) -> None:
    assert [(row["segment"], row["step"]) for row in rows(run, "--where", condition)] == TAKEN[condition]


def test_spans_columns_and_limits(run: Path) -> None:
    assert [row["step"] for row in rows(run, "--steps", "1:3")] == [1, 2, 2]
    assert [row["step"] for row in rows(run, "--steps", "3")] == [3, 3]
    assert rows(run, "--steps", "3:", "--columns", "loss,step", "--limit", 1) == [{"loss": ["nan"], "step": 3}]
    assert [list(row) for row in rows(run, "--columns", "all", "--limit", 1)] == [list(STEP_COLUMNS)]
    assert rows(run, "--columns", "state", "--limit", 1) == [{"state": None}]
    assert "6 of 6 rows shown, 6 steps read" in command(run).stdout
    shown = command(run, "--limit", 2).stdout
    assert "2 of 6 rows shown, 6 steps read" in shown and "larger --limit" in shown


def test_freezes_are_rows_too(run: Path) -> None:
    (row,) = rows(run, "--freezes", "--where", "first=5", "--columns", "segment,step,boot,first,last,phase")
    assert row == {"segment": 1, "step": 4, "boot": 1, "first": 5, "last": 6, "phase": "still"}
    assert "\x1b" not in command(run, "--freezes").stdout


def test_csv_is_exact_and_no_formula(run: Path, tmp_path: Path) -> None:
    before = snapshot(run)
    said = json.loads(command(run, "--csv", tmp_path / "a.csv", "--columns", "step,loss,lr", "--json").stdout)
    assert said["rows"] == 6
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file))[-1] == ["3", "1.5 9.0", "0.25 nan"]
    command(run, "--freezes", "--csv", tmp_path / "b.csv", "--columns", "chip")
    assert (tmp_path / "b.csv").read_text().splitlines() == ["chip", "'=cmd\ufffd[2J"]
    with pytest.raises(InputError, match="is there already"):
        command(run, "--csv", tmp_path / "a.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "run"]
    assert snapshot(run) == before


def test_parquet_without_pyarrow_is_a_clear_refusal(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingToolError, match="pip install pyarrow"):
        command(run, "--parquet", tmp_path / "a.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed: pip install pyarrow")
def test_parquet_holds_the_same_rows(run: Path, tmp_path: Path) -> None:
    command(run, "--parquet", tmp_path / "a.parquet", "--columns", "all")
    table = importlib.import_module("pyarrow.parquet").read_table(tmp_path / "a.parquet").to_pylist()
    assert [(row["segment"], row["step"]) for row in table] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    assert table[-1]["loss"] == [1.5, 9.0] and table[0]["state"] is None and table[0]["batch"] == "0" * 64


REFUSED = {
    "loss<": "no comparison",
    "": "--where: is empty; write it like",
    "loss<2 and": "--where: ends after 'and', where a comparison has to follow; write it like",
    "loss<2 or ": "--where: ends after 'or', where a comparison has to follow; write it like",
    "loss<2 xor step=1": "only 'and' or 'or' can follow",
    "loss<2 andstep=1": "only 'and' or 'or' can follow; write it like",
    "__import__('os')": "no comparison",
    "loss<__import__": "is none",
    "name=1": "is no column",
    "batch<3": "text, which has no order",
    "loss<" + "1" * 2_000: "longer than",
    "loss < 1; step": "only 'and' or 'or' can follow",
}


@pytest.mark.parametrize("condition", REFUSED)
def test_what_is_no_condition_is_refused(run: Path, condition: str) -> None:
    with pytest.raises(InputError, match=REFUSED[condition]):
        command(run, "--where", condition)


@pytest.mark.parametrize("span", ["x", "3:2", "2:2", "-1:", "1:2:3", "1.5", "9" * 30, "٣"])
def test_what_is_no_span_is_refused(run: Path, span: str) -> None:
    with pytest.raises(InputError, match="--steps"):
        command(run, "--steps", span)


@given(st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_no_text_does_more_than_parse_or_be_refused(text: str) -> None:
    try:
        parsed = parse_filter(text, columns=STEP_COLUMNS)
    except InputError:
        return
    assert parsed.alternatives
    parsed.takes({"loss": (1.0, math.nan), "step": (3,)})


_NUMBERS = st.one_of(st.integers(-(10**12), 10**12), st.floats())
_SIGNS = st.sampled_from(["<", "<=", ">", ">=", "=", "==", "!="])
_COMPARISONS = st.tuples(st.sampled_from(["loss", "step", "lr"]), _SIGNS, _NUMBERS)


@given(
    st.lists(st.lists(_COMPARISONS, min_size=1, max_size=3), min_size=1, max_size=3),
    st.fixed_dictionaries({name: st.lists(_NUMBERS, max_size=3) for name in ("loss", "step", "lr")}),
)
@settings(max_examples=300, deadline=None)
def test_a_filter_means_what_python_would_mean(groups: list[Any], row: dict[str, Any]) -> None:
    text = " or ".join(" and ".join(f"{c} {s} {v!r}" for c, s, v in group) for group in groups)

    def same(a: float, b: float) -> bool:
        return a == b or (a != a and b != b)

    plain: dict[str, Callable[[float, float], bool]] = {
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
        "=": same,
        "==": same,
        "!=": lambda a, b: not same(a, b),
    }
    expected = any(all(any(plain[s](found, v) for found in row[c]) for c, s, v in group) for group in groups)
    assert parse_filter(text, columns=STEP_COLUMNS).takes({n: tuple(v) for n, v in row.items()}) is expected


def test_no_filter_takes_all() -> None:
    assert Filter().takes({})


def test_spans_hold_their_ends() -> None:
    assert [n for n in range(6) if n in parse_span("2:4")] == [2, 3]
    assert [n for n in range(6) if n in parse_span(":2")] == [0, 1]
    assert [n for n in range(6) if n in parse_span("4:")] == [4, 5]
    assert [n for n in range(6) if n in parse_span("4")] == [4]


@given(
    place=st.integers(0, 5_000),
    change=st.one_of(st.binary(min_size=1, max_size=4), st.just(b"\n"), st.just(b"\x1b[2J"), st.none()),
)
@settings(max_examples=150, deadline=None)
def test_a_damaged_journal_is_refused_or_gives_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes | None
) -> None:
    honest = lines(whole(*(float(n) for n in range(12))))
    place %= len(honest)
    damaged = honest[:place] if change is None else honest[:place] + change + honest[place + len(change) :]
    folder = written(tmp_path_factory.mktemp("damaged") / "run")
    (folder / "journal-0000.jsonl").write_bytes(damaged)
    try:
        found = list(Rows(folder))
    except EvidenceError as error:
        assert "journal-0000.jsonl" in str(error)
        return
    assert len(found) <= 12 and all(
        isinstance(row["step"][0], int) and len(str(row["batch"][0])) == 64 for row in found
    )


def test_nothing_is_printed_of_a_journal_damaged_at_its_end(run: Path, tmp_path: Path) -> None:
    with (run / "journal-0001.jsonl").open("ab") as file:
        file.write(b"{}\n")
    for form in (["--json"], ["--csv", str(tmp_path / "out.csv")], []):
        result = CliRunner().invoke(build(), ["transcript", "query", str(run), *form])
        assert isinstance(result.exception, EvidenceError) and result.stdout == ""
    assert not (tmp_path / "out.csv").exists()


def test_a_long_journal_is_streamed(tmp_path: Path) -> None:
    count = 20_000
    run = written(tmp_path / "run", [beginning(steps=count), *(step(n, 1.0) for n in range(count))])
    size = (run / "journal-0000.jsonl").stat().st_size
    tracemalloc.start()
    assert sum(1 for _ in Rows(run)) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 10, (peak, size)
