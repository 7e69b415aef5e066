"""``plan balance``: JSON for programs, tables for people, exit status 1 for an alarm, refusals in one sentence."""

from pathlib import Path

import pytest

from planning.plan_runner import figures, refused


def test_balance_of_chips(tmp_path: Path) -> None:
    words = ("balance", "chips", "--beginning", "1000", "--received", "200", "--shipped", "50")
    assert figures(*words, "--counted", "1150")["unaccounted"] == 0
    found = figures(*words, "--counted", "1149", "--taken-on", "2027-06-01", status=1)
    assert (found["unaccounted"], found["report_due"], found["change_report_due"]) == (1, "2027-07-01", None)
    changed = figures(*words, "--counted", "1150", "--changed-on", "2027-01-05")
    assert changed["change_report_due"] == "2027-03-02"  # thirty days from the end of January
    path = tmp_path / "consignments.csv"
    path.write_text("consignment,shipped,received\nA-1,100,99\nA-2,100,101\n")
    netted = figures(*words, "--counted", "1150", "--consignments", str(path), status=1)
    assert [one["difference"] for one in netted["differences"]] == [1, -1]
    for option in ("--taken-on", "--changed-on"):
        for day in ("yesterday", "2027-02-30", ""):
            assert f"{option}: {day!r} is not a day" in refused(*words, "--counted", "1150", option, day)


def test_balance_of_flop() -> None:
    words = ("balance", "flop", "--declared", "1e26", "--sigma", "2e24", "--hidden", "1e25")
    assert figures(*words, "--evidence", "1e26")["sigma_needed"] == pytest.approx(3.04e24, rel=1e-3)
    assert figures(*words, "--evidence", "1.05e26", status=1)["alarm"] is True
    assert "--sigma" in refused("balance", "flop", "--declared", "1", "--evidence", "1", "--sigma", "0")


def test_balance_over_periods(tmp_path: Path) -> None:
    words = ("balance", "periods")
    quick = ("--histories", "2000")
    empty = figures(*words, "--periods", "12", *quick)
    assert (empty["sums"], empty["alarm"]) == (None, None)
    path = tmp_path / "months.csv"
    rows = [f"2027-{month:02},{1.015e26 if month > 6 else 1e26},1e26,1e24" for month in range(1, 13)]
    path.write_text("period,evidence,declared,sigma\n" + "\n".join(rows) + "\n")
    found = figures(*words, str(path), "--periods", "24", *quick, status=1)
    assert found["alarm"] == "2027-11"  # five months at 1.5 sigma, one above k each
    assert [one["sum"] for one in found["sums"]][5:8] == pytest.approx([0, 1, 2])
    assert "--periods" in refused(*words)
    assert "in the file already" in refused(*words, str(path), "--periods", "3")
    assert "too few" in refused(*words, "--periods", "12", "--histories", "1000", "--alpha", "0.0001")


def test_balance_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("item,operator,inspector\na,10,9\nb,11,11\nc,12,10\n")
    found = figures("balance", "pairs", str(path), "--population", "300", status=1)
    assert found["difference"] == pytest.approx(300)
    assert figures("balance", "pairs", str(path), "--population", "300", "--item-sigma", "5")["alarm"] is False
    assert "population" in refused("balance", "pairs", str(path), "--population", "2")


def test_balance_over_periods_with_errors_that_hang_together() -> None:
    words = ("balance", "periods", "--periods", "12", "--histories", "5000")
    free = figures(*words)["alarm_level"]["level"]
    lasting = figures(*words, "--lasting", "0.5")
    assert lasting["errors"] == {"correlation": 0.0, "lasting": 0.5}
    assert lasting["alarm_level"]["level"] > 1.3 * free
    assert figures(*words, "--correlation", "-0.5")["alarm_level"]["level"] < free
    for option, value in (("--correlation", "1"), ("--correlation", "-1.5"), ("--correlation", "x"),
                          ("--lasting", "1.1"), ("--lasting", "-0.1"), ("--correlation", "--0.1")):  # fmt: skip
        assert option.strip("-") in refused(*words, option, value)


def test_balance_of_records() -> None:
    words = ("balance", "records", "--chip-days", "1000", "--rate", "0.1")
    few = figures(*words, "--seen", "75", status=1)
    assert (few["alarm"], few["so_few"]) == ("too few", pytest.approx(0.0055, abs=5e-5))
    many = figures(*words, "--seen", "130", status=1)
    assert (many["alarm"], many["so_many"]) == ("too many", pytest.approx(0.0023, abs=5e-5))
    assert figures(*words, "--seen", "100")["alarm"] == "no"
    limits = figures(*words)
    assert (limits["alarm"], limits["seen"]) == (None, None)
    for seen, status in ((limits["too_few"], 1), (limits["too_few"] + 1, 0), (limits["too_many"], 1)):
        figures(*words, "--seen", str(seen), status=status)
    short = figures("balance", "records", "--chip-days", "10", "--rate", "0.1", "--seen", "0")
    assert (short["too_few"], short["alarm"]) == (None, "no")
    for option, value in (("--chip-days", "0"), ("--rate", "nan"), ("--seen", "1.5"), ("--alpha", "1")):
        assert option in refused(*words, "--seen", "5", option, value)


def test_balance_of_losses() -> None:
    words = ("balance", "losses", "--chips", "1000")
    found = figures(*words)
    assert (found["alarm"], found["alarmed"]) == (123, None)
    assert found["expected"] == pytest.approx(90.8, abs=0.05)
    assert figures(*words, "--lost", "122")["alarmed"] is False
    assert figures(*words, "--lost", "123", status=1)["so_many"] < 1e-3
    month = figures(*words, "--days", "30.416666666666668")
    assert month["alarm"] == 18
    assert "1001 of 1,000" in refused(*words, "--lost", "1001").replace("1,001", "1001")
    for option, value in (("--yearly", "0"), ("--yearly", "9"), ("--days", "inf"), ("--alpha", "0"), ("--lost", "-1")):
        assert option.strip("-") in refused(*words, option, value)


def test_balance_of_yields() -> None:
    words = ("balance", "yields", "--sigma", "0.02")
    found = figures(*words, "--units", "4e6")
    assert (found["detectable"], found["alarm"]) == (pytest.approx(263_200, rel=2e-4), None)
    wafers = (*words, "--wafers", "1000", "--die-area", "814", "--good", "0.85")
    made = figures(*wafers, "--declared", "50000", status=1)
    assert made["gross_dies"] == pytest.approx(63.48, abs=0.005)
    assert (made["units"], made["unaccounted"]) == (pytest.approx(53_550), pytest.approx(3_550))
    assert figures(*wafers, "--declared", "52000")["alarm"] is False
    assert figures(*wafers, "--dies", "2")["units"] == pytest.approx(53_550 / 2)
    assert "exactly one" in refused(*words)
    assert "exactly one" in refused(*wafers, "--units", "5")
    assert "exactly one is needed with --wafers" in refused(*words, "--wafers", "5")
    assert "exactly one is needed with --wafers" in refused(*wafers, "--per-wafer", "29")
    assert "it goes with --wafers" in refused(*words, "--units", "5", "--die-area", "814")
    line = figures(*words, "--wafers", "140000", "--per-wafer", "29", "--declared", "3.64e6", status=1)
    assert (line["units"], line["gross_dies"]) == (pytest.approx(4.06e6), None)
    for option, value in (("--die-area", "1e6"), ("--good", "1.5"), ("--dies", "0"), ("--declared", "-1")):
        assert option.strip("-") in refused(*wafers, option, value).replace("yield:", "good:")


@pytest.mark.parametrize(
    ("words", "header", "row"),
    [
        (("chips", "--beginning", "5", "--counted", "5", "--consignments"), "consignment,shipped,received", "a,1,1"),
        (("periods",), "period,evidence,declared,sigma", "a,1e26,1e26,1e24"),
        (("pairs", "--population", "9", "--item-sigma", "1"), "item,operator,inspector", "a,1,1"),
    ],
)
def test_tables_that_count_nothing_or_twice_are_refused(
    tmp_path: Path, words: tuple[str, ...], header: str, row: str
) -> None:
    path = tmp_path / "table.csv"
    for content, sentence in (
        ("", "is empty; begin with the line"), (f"{header}\n", ": has no "),
        (f"{header}\n{row}\n{row}\n", "'a' is there twice"),
        (f"{header}\na\n", "line 2: 1 cells under"), (f"{header},{header}\n", "is given twice"),
    ):  # fmt: skip
        path.write_text(content)
        refusal = refused("balance", *words, str(path))
        assert refusal.startswith(str(path)) and sentence in refusal
