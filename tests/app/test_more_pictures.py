"""Pictures of further plans: each curve against the planner at places of its own, each file as it is written."""

import xml.etree.ElementTree as ET
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weighbridge.app.charts import Chart, Series
from weighbridge.app.main import build
from weighbridge.app.plan_more_panels import segment_panels, sequential_panels
from weighbridge.app.plan_panels import Panels
from weighbridge.app.plan_site_panels import equal_site_panels, site_panels, timeliness_panels
from weighbridge.planning.effort import person_days
from weighbridge.planning.fleet import Site
from weighbridge.planning.segments import plan_segments
from weighbridge.planning.sequential import fixed_plan, group_sequential, wald
from weighbridge.planning.sites import SitePlan, plan_sites, two_stage_detection
from weighbridge.planning.timeliness import plan_timeliness

FLEET = "name,chips,chip_flops,visit_days\nAlpha,20000,1e15,5\nBeta,5000,1e15,3\nDelta,800,1e15,2\n"
COMMANDS = {
    "segments": ["--segments", "1000", "--forged", "10", "--confidence", "0.95", "--tries", "100"],
    "sites": ["--sites", "560", "--visits", "40", "--site-size", "2000", "--missing", "163", "--drawn", "60"],
    "timeliness": ["--flop", "1e24", "--sizes", "16,100,1000", "--period", "30"],
    "sequential wald": ["--honest", "0.01", "--hidden", "0.05"],
    "sequential groups": ["--honest", "0.02", "--hidden", "0.08", "--looks", "4"],
    "best": ["--days", "30", "--limit", "1e24", "--visits", "2"],
    "portfolio": ["--days", "30", "--limit", "1e24", "--years", "3", "--progress", "2:4"],
}


def chart(panels: Panels, index: int) -> Chart:
    found = panels[1][index]
    assert isinstance(found, Chart)
    return found


def at(series: Series, place: float) -> float:
    return dict(series.points)[place]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("suffix", ["svg", "html"])
def test_each_plan_is_drawn_once(command: str, suffix: str, tmp_path: Path) -> None:
    arguments = ["plan", *command.split(), *COMMANDS[command]]
    if command in ("best", "portfolio"):
        (tmp_path / "fleet.csv").write_text(FLEET)
        arguments += ["--fleet", str(tmp_path / "fleet.csv")]
    picture = tmp_path / f"plan.{suffix}"
    done = CliRunner().invoke(build(), [*arguments, "--picture", str(picture), "--json"])
    assert done.exit_code == 0, done.output
    text = picture.read_text()
    root = ET.fromstring(text) if suffix == "svg" else None
    assert root is None or root.tag.endswith("svg")
    assert "nan" not in text.lower() and "<svg" in text
    again = CliRunner().invoke(build(), [*arguments, "--picture", str(picture)])
    assert again.exception is not None and picture.read_text() == text


def test_segments_by_the_published_vectors() -> None:
    panels = segment_panels(plan_segments(1000, forged=10, drawn=259))
    drawn, tries = chart(panels, 0), chart(panels, 1)
    assert drawn.marks[0].y == pytest.approx(0.95088, abs=1e-5)
    assert at(drawn.series[0], 0.0) == 0.0 and at(drawn.series[0], 1000.0) == 1.0
    assert at(tries.series[0], 1.0) == pytest.approx(0.95088, abs=1e-5)
    assert [y for _, y in tries.series[0].points] == sorted((y for _, y in tries.series[0].points), reverse=True)
    ground = chart(segment_panels(plan_segments(1000, forged=10, confidence=0.95, tries=100)), 2)
    (mark,) = ground.marks
    assert at(ground.series[0], mark.x) == mark.y == 0.529 and mark.x == pytest.approx(0.95, abs=5e-4)
    small = segment_panels(plan_segments(100, forged=5, drawn=5))
    assert chart(small, 0).marks[0].y == pytest.approx(0.23041, abs=1e-5)


def test_equal_sites_by_the_published_vectors() -> None:
    found = two_stage_detection(560, visited=40, site_size=2000, missing=163, drawn=60)
    panels = equal_site_panels(found, sites=560, visited=40, site_size=2000, missing=163, drawn=60, seen=Fraction(1))
    assert at(chart(panels, 0).series[0], 560.0) == pytest.approx(0.99438, abs=1e-5)
    assert at(chart(panels, 1).series[0], 60.0) == pytest.approx(0.07103, abs=1e-5)
    assert at(chart(panels, 2).series[0], person_days(40)) == pytest.approx(0.07103, abs=1e-5)


def test_a_fleets_sites_are_shown_with_their_chances() -> None:
    sites = [Site(name=f"s{n}", chips=100 * n, chip_flops=990e12) for n in range(1, 20)]

    def planned(visits: int) -> SitePlan:
        return plan_sites(sites, census_above=1000, visits=visits, missing=80, within=0.99)

    plan = planned(12)
    panels = site_panels(plan, visits=12, again=planned)
    visited = chart(panels, 0).series[0]
    assert len(visited.points) == 19 and visited.dots
    assert at(visited, 1500.0) == 1.0 and 0 < at(visited, 200.0) < 1
    bought = chart(panels, 1)
    assert at(bought.series[0], person_days(12)) == bought.marks[0].y == min(plan.worst, plan.split)
    chances = [y for _, y in bought.series[0].points]
    assert chances == sorted(chances) and bought.series[0].points[-1][0] == person_days(19)


def test_times_by_the_published_table() -> None:
    found = [(str(size), plan_timeliness(size, flop=1e24, chip_flops=990e12)) for size in (16, 100, 1000)]
    series = chart(timeliness_panels(found, flop=1e24, chip_flops=990e12, period=30), 0).series
    assert [round(y, 1) for _, y in series[1].points] == [730.7, 116.9, 11.7]
    assert {y for _, y in series[2].points} == {30.0}


def test_stop_rules_keep_their_errors() -> None:
    fixed = fixed_plan(0.01, hidden=0.05)
    for plan in (wald(0.01, hidden=0.05), group_sequential(0.01, hidden=0.05, looks=4)):
        decides, takes = chart(sequential_panels(plan, fixed=fixed), 1), chart(sequential_panels(plan, fixed=fixed), 2)
        honest, hidden = (at(decides.series[0], share) for share in (plan.honest, plan.hidden))
        assert honest <= 0.05 + 1e-9 and hidden >= 0.95 - 1e-9
        assert max(y for _, y in takes.series[0].points) <= plan.most_draws
