"""Pictures of balances and of copied ids: each curve against an independent figure, each file as it is written."""

import math
import xml.etree.ElementTree as ET
from fractions import Fraction
from pathlib import Path
from statistics import NormalDist

import pytest
from typer.testing import CliRunner

from weighbridge.app.charts import Chart
from weighbridge.app.main import build
from weighbridge.app.plan_balance_panels import loss_panels, measured_panels, pair_panels, period_panels, record_panels
from weighbridge.app.plan_more_panels import clone_panels
from weighbridge.app.plan_panels import Panels
from weighbridge.planning.balance import measured_balance, paired_statistic
from weighbridge.planning.cusum import Errors, alarm_level, alarm_power, run_cusum
from weighbridge.planning.losses import loss_alarm

MONTHS = "period,evidence,declared,sigma\na,1.01e26,1e26,1e24\nb,1.02e26,1e26,1e24\n"
PAIRS = "item,operator,inspector\na,10,9\nb,11,11\nc,12,10\n"
COMMANDS = {
    "balance flop": ["--evidence", "1.01e26", "--declared", "1e26", "--sigma", "2e24"],
    "balance periods": ["FILE", "--periods", "12", "--histories", "2000"],
    "balance pairs": ["FILE", "--population", "300", "--item-sigma", "5"],
    "balance records": ["--chip-days", "1000", "--rate", "0.1", "--seen", "100"],
    "balance losses": ["--chips", "1000", "--lost", "90"],
    "balance yields": ["--units", "4e6", "--sigma", "0.02"],
    "clones": ["--clones", "1000", "--inspected", "0.03"],
}


def chart(panels: Panels, index: int) -> Chart:
    found = panels[1][index]
    assert isinstance(found, Chart)
    return found


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("suffix", ["svg", "html", "png"])
def test_each_balance_is_drawn_once(command: str, suffix: str, tmp_path: Path) -> None:
    if suffix == "png":
        pytest.importorskip("matplotlib")
    table = tmp_path / "table.csv"
    table.write_text(MONTHS if command.endswith("periods") else PAIRS)
    words = [str(table) if word == "FILE" else word for word in COMMANDS[command]]
    picture = tmp_path / f"plan.{suffix}"
    arguments = ["plan", *command.split(), *words, "--picture", str(picture), "--json"]
    done = CliRunner().invoke(build(), arguments)
    assert done.exit_code == 0, done.output
    content = picture.read_bytes()
    if suffix == "svg":
        assert ET.fromstring(content.decode()).tag.endswith("svg") and b"nan" not in content
    again = CliRunner().invoke(build(), arguments)
    assert again.exit_code != 0 and picture.read_bytes() == content


def test_chance_of_the_alarm_is_the_normal_distribution() -> None:
    found = measured_balance(1.05e26, declared=1e26, sigma=2e24)
    panels = measured_panels(found, unit="FLOP", alpha=Fraction(1, 20), power=Fraction(19, 20))
    for hidden, chance in chart(panels, 0).series[0].points:
        assert chance == pytest.approx(1 - NormalDist(hidden, 2e24).cdf(1.6448536 * 2e24), abs=1e-6)
    (mark,) = chart(panels, 1).marks
    assert [mark.x, mark.y] == pytest.approx([2e24, 5e24])
    alarm, seen = (dict(one.points) for one in chart(panels, 1).series)
    assert [list(line.values())[-1] / list(line)[-1] for line in (alarm, seen)] == pytest.approx(
        [1.645, 3.29], rel=1e-3
    )
    below = measured_balance(1e26, declared=1.5e26, sigma=2e24)
    assert chart(measured_panels(below, unit="FLOP", alpha=Fraction(1, 20), power=Fraction(1, 2)), 1).marks[0].y < 0


def test_sums_are_drawn_against_the_level() -> None:
    errors = Errors(lasting=0.3)
    level = alarm_level(12, errors=errors, histories=5_000)
    power = alarm_power(12, shift=1.0, level=level.level, errors=errors, histories=5_000)
    path = run_cusum([1.0, 2.0], level=level.level)
    panels = period_panels(level, power=power, errors=errors, observed=path)
    line, honest, lossy, file = chart(panels, 0).series
    assert {y for _, y in line.points} == {level.level}
    assert file.points == ((1.0, 0.5), (2.0, 2.0)) and file.dots
    assert all(y < level.level for _, y in honest.points) and lossy.points[-1][1] > level.level
    curve = dict(chart(panels, 1).series[0].points)
    assert curve[0.0] == pytest.approx(0.05, abs=0.02)
    assert curve[1.0] == pytest.approx(power.detection, abs=0.02)
    assert len(chart(period_panels(level, power=power, errors=errors, observed=None), 0).series) == 3


def test_pairs_records_and_losses() -> None:
    pairs = [(10.0, 9.0), (11.0, 11.0), (12.0, 10.0)]
    found = paired_statistic([o for o, _ in pairs], inspector=[i for _, i in pairs], population=300)
    items, mean, limit = chart(pair_panels(found, pairs=pairs, population=300), 0).series
    assert [y for _, y in items.points] == [1, 0, 2]
    assert (mean.points[0][1], limit.points[0][1]) == pytest.approx((1.0, 1.645 / math.sqrt(3)), rel=1e-3)
    few, many = chart(record_panels(100.0, few=80, many=121, seen=None), 0).series
    assert dict(few.points)[1.0] + dict(many.points)[1.0] < 0.05
    assert len(chart(record_panels(1.0, few=None, many=5, seen=3), 0).series) == 1
    losses = loss_panels(loss_alarm(1_000, yearly=0.0908), chips=1_000, lost=0)
    assert chart(losses, 0).marks[0].y >= 0.95
    assert dict(chart(losses, 1).series[0].points)[1_000.0] == 123
    assert chart(losses, 1).marks == ()


def test_copied_ids_by_the_published_vectors() -> None:
    panels = clone_panels(0.0952, clones=1_000, inspected=0.01, copies=2)
    by_kind = {one.name[0]: dict(one.points) for one in chart(panels, 0).series}
    assert by_kind["2"][0.01] == pytest.approx(0.0952, abs=5e-5)
    one = clone_panels(0.0280, clones=1, inspected=0.1, copies=3)
    kinds = {series.name[0]: dict(series.points)[0.1] for series in chart(one, 0).series}
    assert [kinds[kind] for kind in "235"] == pytest.approx([0.01, 0.028, 0.0815], abs=5e-5)
    assert chart(clone_panels(0.0, clones=5, inspected=0.0, copies=2), 0).marks == ()
    assert chart(clone_panels(1.0, clones=5, inspected=1.0, copies=2), 0).marks[0].y == 1
