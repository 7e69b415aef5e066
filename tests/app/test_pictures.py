"""Pictures of plans: the curves against the library, the files, and refusals that leave nothing behind."""

import builtins
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from weighbridge.app.charts import Calendar, Chart, svg
from weighbridge.app.main import build
from weighbridge.app.pictures import draw, write_picture
from weighbridge.app.plan_panels import Panels, chip_panels, item_panels, snapshot_panels
from weighbridge.errors import InputError, MissingToolError
from weighbridge.planning import plan_items, plan_snapshots
from weighbridge.planning.chip_forms import AnyForm, every_form, in_form
from weighbridge.planning.chip_run import ChipRun
from weighbridge.statistics import hypergeometric_miss

CHIPS = [
    "chips", "--chips", "1e5", "--flop", "5.76e23", "--chip-flops", "1e15", "--days", "30", "--period", "30",
    "--rate", "0.1", "--confidence", "0.9",
]  # fmt: skip
ITEMS = ["items", "--population", "3e6", "--missing", "1000", "--confidence", "0.9"]
SNAPSHOTS = ["snapshots", "--chips", "4000", "--chip-flops", "1e15", "--days", "30", "--limit", "1e24"]


RUN = ChipRun(chips=10**5, flop=5.76e23, chip_flops=1e15, days=30, period=30, rate=0.1)
NINE_TENTHS = Fraction(9, 10)


def chart(panels: Panels, index: int) -> Chart:
    found = panels[1][index]
    assert isinstance(found, Chart)
    return found


@pytest.mark.parametrize("form", [form for form in get_args(AnyForm) if form != "colluding"])
def test_chips_curves(form: AnyForm) -> None:
    plan = in_form(form, RUN, confidence=NINE_TENTHS)
    panels = chip_panels(plan, run=RUN, confidence=NINE_TENTHS)
    for drawn, wanted in chart(panels, 0).series[0].points[1:]:
        assert in_form(form, RUN, confidence=Fraction(repr(wanted))).samples_per_period == drawn
    # The largest run that escapes a sample is the run for which that sample is planned.
    for drawn, flop in chart(panels, 1).series[0].points:
        assert in_form(form, replace(RUN, flop=flop), confidence=NINE_TENTHS).samples_per_period == drawn
    (mark,) = chart(panels, 2).marks
    assert (mark.x, mark.y) == pytest.approx((0.9, plan.samples_per_year / 1000))
    calendar = panels[1][3]
    assert isinstance(calendar, Calendar)
    assert len(calendar.rows[0][1]) == 12


def test_a_curve_ends_where_no_sample_is_enough() -> None:
    # Every chip read each period catches this run with 0.62 at most.
    run = replace(RUN, chips=1000, flop=2.592e21, rate=0.0325)
    panels = chip_panels(in_form("without-replacement", run, confidence=0.6), run=run, confidence=Fraction(3, 5))
    assert 0.6 <= max(wanted for _, wanted in chart(panels, 0).series[0].points) < 0.65


def test_snapshots_of_a_share_read_are_drawn_by_the_concentrated_form() -> None:
    plan = plan_snapshots(4000, chip_flops=1e15, days=30, limit=1e24, share_read=0.1)
    panels = snapshot_panels(plan, chips=4000, days=30)
    assert panels[0] == "Snapshots to audit: 33 in 30 days"
    # 33 audited are a little more than the rate asks for: the confidence is met, and one snapshot fewer misses it.
    assert 0.95 <= chart(panels, 0).marks[0].y < 0.96
    assert chart(panels, 1).marks[0].y == pytest.approx(1e24, rel=0.03)
    assert chart(panels, 1).marks[0].y <= 1e24
    assert dict(chart(panels, 2).series[0].points)[0.95] == 33


@pytest.mark.parametrize("sure", ["0.9", "0.93", "0.95", "0.97", "0.99", "0.999"])
def test_no_label_lies_on_the_curve_of_what_certainty_costs(sure: str) -> None:
    wanted = Fraction(sure)
    items = plan_items(3_000_000, missing=1000, confidence=wanted)
    snapshots = plan_snapshots(4000, chip_flops=1e15, days=30, limit=1e24, confidence=wanted)
    for panels in (
        chip_panels(in_form("stretched", RUN, confidence=wanted), run=RUN, confidence=wanted),
        item_panels(items, population=3_000_000, missing=1000, confidence=wanted),
        snapshot_panels(snapshots, chips=4000, days=30),
    ):
        drawn = svg([chart(panels, 2)], title="costs")
        (label,) = re.findall(r'<text [^>]*paint-order[^>]*? x="([0-9.]+)" y="([0-9.]+)"([^>]*)>([^<]*)<', drawn)
        x, y, width = float(label[0]), float(label[1]), 6.2 * len(label[3])
        left = x - width if "end" in label[2] else x
        path = max(re.findall(r'<path d="M([0-9. ]+)" fill="none"', drawn), key=len).split()
        points = list(zip(map(float, path[::2]), map(float, path[1::2]), strict=True))
        for (x1, y1), (x2, y2) in pairwise(points):
            for part in range(51):
                px, py = x1 + (x2 - x1) * part / 50, y1 + (y2 - y1) * part / 50
                assert not (left < px < left + width and y - 9 < py < y), (sure, panels[0])


@pytest.mark.parametrize("form", [None, "without-replacement", "spread"])
def test_no_curve_goes_beyond_all_chips_or_all_snapshots(form: AnyForm | None) -> None:
    run, wanted = replace(RUN, chips=100, flop=8.64e21), Fraction(19, 20)
    plan = every_form(run, confidence=wanted).worst if form is None else in_form(form, run, confidence=wanted)
    panels = chip_panels(plan, run=run, confidence=wanted)
    for drawn, chance in chart(panels, 0).series[0].points:
        assert drawn <= 100 and chance <= -math.expm1(-10)
    for drawn, flop in chart(panels, 1).series[0].points:
        assert drawn <= 100 and -math.expm1(-flop / 8.64e20) >= 0.95 - 1e-9


def test_eq_1_by_hand() -> None:
    panels = chip_panels(in_form("exact", RUN, confidence=NINE_TENTHS), run=RUN, confidence=NINE_TENTHS)
    for drawn, detection in chart(panels, 0).series[0].points:
        assert detection == pytest.approx(1 - (1 - RUN.share * RUN.seen) ** drawn)


def test_items_curves() -> None:
    plan = plan_items(3_000_000, missing=1000, confidence=0.9)
    panels = item_panels(plan, population=3_000_000, missing=1000, confidence=NINE_TENTHS)
    for drawn, detection in chart(panels, 0).series[0].points:
        assert detection == pytest.approx(1 - hypergeometric_miss(3_000_000, 1000, round(drawn)))
    assert chart(panels, 1).marks[0].y == pytest.approx(1000, rel=1e-3)
    for sure, drawn in chart(panels, 2).series[0].points:
        assert plan_items(3_000_000, missing=1000, confidence=Fraction(repr(sure))).sample == drawn


def test_snapshots_curves() -> None:
    plan = plan_snapshots(4000, chip_flops=1e15, days=30, limit=1e24, unexplained=1)
    panels = snapshot_panels(plan, chips=4000, days=30)
    bound = chart(panels, 1)
    for drawn, hidden in bound.series[0].points:
        assert (hidden <= 1e24) == (drawn >= plan.snapshots)
    (mark,) = chart(panels, 2).marks
    assert mark.y == plan.snapshots
    costs = chart(snapshot_panels(plan, chips=4000, days=30, lost_hours=60.0), 2)
    assert costs.marks[0].y == pytest.approx(60) and "chip-hours" in costs.y.label
    alone = plan_snapshots(4000, chip_flops=1e15, days=30, limit=1e24)
    first = chart(snapshot_panels(alone, chips=4000, days=30), 0)
    assert first.marks[0].y == pytest.approx(1 - (1 - alone.share) ** 30)


@pytest.mark.parametrize(("population", "missing"), [(1, 1), (2, 1), (100, 100), (10**7, 2), (10**12, 10**9)])
def test_items_at_the_edges(population: int, missing: int) -> None:
    plan = plan_items(population, missing=missing, confidence=0.9)
    panels = item_panels(plan, population=population, missing=missing, confidence=NINE_TENTHS)
    assert len(panels[1]) == 4


def test_an_imperfect_test_reaches_no_certainty() -> None:
    plan = plan_items(20, missing=2, confidence=0.9, seen=0.75)
    panels = item_panels(plan, population=20, missing=2, confidence=NINE_TENTHS)
    assert max(sure for sure, _ in chart(panels, 2).series[0].points) < 1 - 0.25**2
    assert chart(panels, 0).series[0].points[-1] == pytest.approx((20, 1 - 0.25**2))


def test_a_whole_fleet_that_must_stay_below_can_be_drawn() -> None:
    plan = plan_snapshots(1, chip_flops=1, days=1, limit=86_400, strictly_below=True)
    assert plan.share == 1 and plan.snapshots > 0
    assert math.isfinite(chart(snapshot_panels(plan, chips=1, days=1), 0).marks[0].y)


@pytest.mark.parametrize("command", [CHIPS, ITEMS, SNAPSHOTS], ids=lambda command: command[0])
@pytest.mark.parametrize("suffix", ["svg", "html", "PNG"])
def test_commands_write_pictures(command: list[str], suffix: str, tmp_path: Path) -> None:
    if suffix == "PNG":
        pytest.importorskip("matplotlib")
    file = tmp_path / f"plan.{suffix}"
    plain = CliRunner().invoke(build(), ["plan", *command, "--json"])
    result = CliRunner().invoke(build(), ["plan", *command, "--picture", str(file), "--json"])
    assert result.exit_code == 0, result.output
    assert result.stdout == plain.stdout
    content = file.read_bytes()
    if suffix == "PNG":
        assert content.startswith(b"\x89PNG")
    elif suffix == "svg":
        assert len(ET.fromstring(content).findall("{http://www.w3.org/2000/svg}g")) == 4
    else:
        text = content.decode()
        assert "default-src 'none'" in text and "<script" not in text and "href" not in text
        assert text.count("<details>") == 4


@pytest.mark.parametrize("suffix", ["svg", "html", "png"])
def test_the_same_plan_gives_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    if suffix == "png":
        pytest.importorskip("matplotlib")
    title, panels = chip_panels(in_form("exact", RUN, confidence=NINE_TENTHS), run=RUN, confidence=NINE_TENTHS)
    files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for file in files:
        write_picture(file, panels, title=title)
    assert files[0].read_bytes() == files[1].read_bytes()


def refused(tmp_path: Path, name: str, command: list[str] = CHIPS) -> str:
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = CliRunner().invoke(build(), ["plan", *command, "--picture", str(tmp_path / name), "--json"])
    assert isinstance(result.exception, InputError)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert result.stdout == ""
    return str(result.exception)


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "there.svg").write_text("mine")
    assert "exists" in refused(tmp_path, "there.svg")
    assert ".svg, .html or .png" in refused(tmp_path, "plan.pdf")
    assert ".svg, .html or .png" in refused(tmp_path, "plan")
    assert "cannot be written" in refused(tmp_path, "no/folder.svg")
    assert "leave out --drawn" in refused(tmp_path, "plan.svg", [*ITEMS[:-2], "--drawn", "575"])
    nothing = [*SNAPSHOTS[:-1], "1e30"]
    assert "no snapshot is needed" in refused(tmp_path, "plan.svg", nothing)


def test_png_without_matplotlib_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    title, panels = chip_panels(in_form("exact", RUN, confidence=NINE_TENTHS), run=RUN, confidence=NINE_TENTHS)
    with pytest.raises(MissingToolError, match=r"weighbridge\[plots\]"):
        write_picture(tmp_path / "plan.png", panels, title=title)
    write_picture(tmp_path / "plan.svg", panels, title=title)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.svg"]


def test_no_picture_asks_for_nothing() -> None:
    def panels() -> Panels:
        raise AssertionError("nothing was asked for")

    draw(None, panels)
