"""The reproduction in docs/reproduction: run again, compared with what is committed, and with the library."""

import csv
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from weighbridge.errors import InputError
from weighbridge.planning import plan_chips
from weighbridge.planning.chip_forms import spread_detection, stretched_detection
from weighbridge.planning.chip_run import ChipRun

FOLDER = Path(__file__).parent.parent / "docs" / "reproduction"
WRITTEN = ("*.csv", "*.svg", "README.md")


def names(folder: Path) -> set[str]:
    return {path.name for pattern in WRITTEN for path in folder.glob(pattern)}


def table(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduction")
    subprocess.run([sys.executable, FOLDER / "reproduce.py", folder], check=True, capture_output=True, timeout=60)
    return folder


def test_the_same_files_are_written(again: Path) -> None:
    assert names(again) == names(FOLDER)


@pytest.mark.parametrize("name", sorted(names(FOLDER)))
def test_what_is_committed_is_what_is_computed(name: str, again: Path) -> None:
    assert (again / name).read_text(encoding="utf-8") == (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.svg")))
def test_figures_are_well_formed_and_load_nothing(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert ET.fromstring(text).tag.endswith("svg")
    assert "href" not in text and "<script" not in text and "<style" not in text


@pytest.mark.parametrize("row", table("table-1.csv"), ids=lambda row: f"{row['model']}-{row['chips']}")
def test_table_1_agrees_with_the_paper_and_with_the_library(row: dict[str, str]) -> None:
    assert row["linear_as_printed"] == row["printed"]

    def samples(form: str) -> float:
        return plan_chips(
            int(row["chips"]),
            flop=float(row["flop"]),
            chip_flops=1e15,
            days=30,
            period=30,
            rate=0.1,
            confidence=0.9,
            form="exact" if form == "exact" else "paper",
        ).samples_per_year

    if row["run"] == "impossible run":
        assert row["eq_1"] == ""
        with pytest.raises(InputError, match="impossible"):
            samples("exact")
    else:
        assert samples("exact") == pytest.approx(float(row["eq_1"]), rel=5e-6)
        assert samples("paper") == pytest.approx(float(row["linear"]), rel=5e-6)


def test_the_impossible_cell_is_the_only_one_that_prints_a_number() -> None:
    impossible = {(row["model"], row["chips"], row["printed"]) for row in table("table-1.csv") if row["eq_1"] == ""}
    assert {cell for cell in impossible if cell[2] != "-"} == {("Chinchilla-280B", "1000", "7")}
    assert len(impossible) == 4


def test_chips_columns() -> None:
    for row in table("table-1-chips.csv"):
        assert (row["as_printed"], row["one_year_as_printed"]) == (row["printed"], row["one_year_printed"])


def test_footnote_5() -> None:
    exact = [float(row["eq_1"]) for row in table("footnote-5.csv")]
    assert exact == pytest.approx([231_559, 229_243], abs=0.5)


# Ratios of the paper's C.1: p, b, then k = 2, 10, 100 and without end.
RATIOS = [
    (0.9, 0.01, 0.9994, 0.9988, 0.9987, 0.9987),
    (0.9, 0.1, 0.9931, 0.9876, 0.9863, 0.9862),
    (0.9, 0.2, 0.9848, 0.9729, 0.9703, 0.9700),
    (0.9, 0.4, 0.9625, 0.9347, 0.9287, 0.9280),
    (0.9, 0.6, 0.9261, 0.8764, 0.8662, 0.8651),
    (0.9, 0.8, 0.8535, 0.7741, 0.7590, 0.7574),
    (0.9, 0.9, 0.7750, 0.6784, 0.6612, 0.6594),
    (0.5, 0.2, 0.9607, 0.9322, 0.9261, 0.9255),
    (0.99, 0.2, 0.9970, 0.9945, 0.9939, 0.9938),
]


def test_appendix_c1() -> None:
    found = {(float(row["p"]), float(row["b"])): row for row in table("appendix-c1.csv")}
    for wanted, b, *ratios in RATIOS:
        row = found[wanted, b]
        assert [float(row[k]) for k in ("k_2", "k_10", "k_100", "k_infinite")] == pytest.approx(ratios, abs=5.1e-5)


def test_appendix_c2() -> None:
    found = [(float(row["chips_of_the_run"]), float(row["detection"])) for row in table("appendix-c2.csv")]
    expected = [(222.2, 0.879224), (444.4, 0.968530), (952.4, 0.991819), (6666.7, 0.998278)]
    for (chips, detection), (right_chips, right) in zip(found, expected, strict=True):
        assert chips == pytest.approx(right_chips, abs=0.05)
        assert detection == pytest.approx(right, abs=5.1e-7)


def test_appendix_c_agrees_with_the_library() -> None:
    run = ChipRun(chips=10**5, flop=5.76e23, chip_flops=1e15, days=30, period=30, rate=0.1)
    for row in table("appendix-c2.csv"):
        found = spread_detection(run, samples=1000, days=float(row["days"]))
        assert found == pytest.approx(float(row["detection"]), rel=5e-6)
    # f large, so that every chip of the run has a snapshot: the case of C.1.
    for row in table("appendix-c1.csv"):
        b, wanted = float(row["b"]), float(row["p"])
        sure = ChipRun(chips=10**6, flop=b * 1e6 * 30 * 86_400 * 1e15, chip_flops=1e15, days=30, period=30, rate=100)
        samples = math.log1p(-wanted) / math.log1p(-b)
        for column, times in (("k_2", 2.0), ("k_10", 10.0), ("k_100", 100.0), ("k_infinite", math.inf)):
            found = stretched_detection(sure, samples=samples, stretch=times)
            assert found / wanted == pytest.approx(float(row[column]), rel=5e-6)


def test_slips() -> None:
    found = table("slips.csv")
    assert [row["number"] for row in found] == [str(number) for number in range(1, 9)]
    assert "0.188024" in found[7]["witness"] and "0.201995" in found[7]["witness"]
    formula, quotient = (float(word.strip(",")) for word in found[3]["witness"].split() if word.startswith("0.1"))
    assert formula == quotient


def test_agreement() -> None:
    for row in table("agreement-timing.csv"):
        assert row["as_printed_1e22"] == row["printed_1e22"]
        assert row["as_printed_1e24"] == row["printed_1e24"]
    assert all(float(row["margin_days"]) > 0 for row in table("agreement-tiers.csv"))


def test_clocks() -> None:
    found = {row["article"]: row for row in table("agreement-clocks.csv")}
    assert float(found["X(3)"]["h100e_for_1e22"]) == pytest.approx(116.91, abs=5e-3)
    for row in found.values():
        assert float(row["h100e_for_1e24"]) == pytest.approx(100 * float(row["h100e_for_1e22"]), rel=1e-5)
