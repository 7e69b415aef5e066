"""Charts as SVG: places computed by hand, ticks, refusals, and that the same chart gives the same bytes."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.app.charts import Axis, Calendar, Chart, Mark, Series, number, scale, svg, ticks
from weighbridge.errors import InputError


def chart(*points: tuple[float, float], log: bool = False, **more: object) -> Chart:
    return Chart(
        title="A finding & <more>",
        x=Axis(label="x"),
        y=Axis(label="y", log=log),
        series=(Series(name="curve", points=points),),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "log", "place"),
    [(5, 0, 10, False, 0.5), (100, 1, 10_000, True, 0.5), (1, 1, 10, True, 0), (10, 0, 10, False, 1)],
)
def test_scale(value: float, low: float, high: float, log: bool, place: float) -> None:
    assert scale(value, low, high, log=log) == pytest.approx(place)


def test_ticks() -> None:
    assert ticks(0, 10, log=False) == (0, 2, 4, 6, 8, 10)
    assert ticks(1, 1e4, log=True) == pytest.approx((1, 10, 100, 1000, 10_000))
    assert ticks(2e24, 7e24, log=True) == pytest.approx((2e24, 3e24, 5e24))
    assert ticks(16, 1_000, log=True) == pytest.approx((20, 50, 100, 200, 500, 1_000))


@settings(deadline=None)
@given(low=st.floats(1e-6, 1e30), times=st.floats(1.01, 1e12), log=st.booleans())
def test_ticks_lie_inside_and_are_few(low: float, times: float, log: bool) -> None:
    found = ticks(low, low * times, log=log)
    assert len(found) <= 10
    hair = 1e-6 * low * times
    assert all(low - hair <= tick <= low * times + hair for tick in found)
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1000, "1,000"), (99_000, "99,000"), (0.05, "0.05"), (1e24, "1e24"), (2.5e5, "2.5e5"), (1e-5, "1e-5")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_a_curve_runs_from_corner_to_corner() -> None:
    text = svg([chart((0, 0), (10, 5))], title="t")
    path = re.search(r'<path d="M([\d. L]+)" fill="none" stroke="#0b5c8f"', text)
    assert path and path[1] == "78.0 346.0 616.0 64.0"


def test_svg_is_well_formed_escaped_and_repeatable() -> None:
    panels = [chart((0, 1), (2, 3), marks=(Mark(x=1, y=2, label="<here>"),)), chart((1, 1), (2, 100), log=True)]
    text = svg(panels, title="A & B", columns=2)
    root = ET.fromstring(text)
    assert root.attrib["width"] == "1280"
    assert "A finding &amp; &lt;more&gt;" in text and "&lt;here&gt;" in text
    assert text == svg(panels, title="A & B", columns=2)


def test_series_differ_without_colour() -> None:
    one, two = Series(name="a", points=((0, 1), (1, 2))), Series(name="b", points=((0, 2), (1, 3)))
    text = svg([Chart(title="t", x=Axis(label="x"), y=Axis(label="y"), series=(one, two))], title="t")
    assert text.count("stroke-dasharray") == 2  # the second curve and its line in the legend


def test_dots_of_two_kinds_are_told_apart_without_colour() -> None:
    one, two = (Series(name=name, points=((0, 1), (1, 2)), dots=True) for name in "ab")
    text = svg([Chart(title="t", x=Axis(label="x"), y=Axis(label="y"), series=(one, two))], title="t")
    assert text.count('r="4"') == 3  # two dots and the legend's
    assert text.count('r="6" fill="none"') == 3


def test_labels_of_high_marks_stay_out_of_the_legend() -> None:
    def label(y: float) -> float:
        text = svg([chart((0, 0), (10, 10), marks=(Mark(x=5, y=y, label="here"),))], title="t")
        found = re.search(r'y="([\d.]+)" text-anchor="start">here', text)
        assert found
        return float(found[1])

    assert label(10) == 64 + 18
    assert label(9) == pytest.approx(64 + 28.2 - 8, abs=0.1)


def test_calendar() -> None:
    text = svg([Calendar(title="plan", days=100.0, rows=(("draw", (0.0, 50.0, 100.0)),))], title="t")
    assert [float(x) for x in re.findall(r'M([\d.]+) 64v12"', text)] == [16.0, 316.0, 616.0]


def test_one_point_still_has_an_axis() -> None:
    root = ET.fromstring(svg([chart((3, 3)), chart((3, 3), log=True)], title="t"))
    for panel in (chart((3, 3)), chart((3, 3), log=True)):
        assert all(low < high and low <= 3 <= high for low, high in panel.span())
    assert "3" in {element.text for element in root.iter()}


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.0, -1.0), (1.0, float("nan")), (float("inf"), 1.0)])
def test_what_an_axis_cannot_show_is_refused(point: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="cannot show"):
        chart(point, log=True)


def test_an_empty_chart_is_refused() -> None:
    with pytest.raises(InputError, match="no points"):
        chart()
