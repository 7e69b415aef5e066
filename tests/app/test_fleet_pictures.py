"""Pictures of best plans and portfolios: every site and regime named, every range one mark, nothing on the frame."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weighbridge.app.charts import Axis, Bars, svg
from weighbridge.app.plan_commands import app
from weighbridge.errors import InputError

FLEET = "name,chips,chip_flops,visit_days\nnorth,4000,1e15,10\nsouth,1000,1e15,3\neast,500,1e15,2\n"


def picture(tmp_path: Path, *arguments: str, suffix: str = "svg") -> bytes:
    (tmp_path / "fleet.csv").write_text(FLEET)
    out = tmp_path / f"plan.{suffix}"
    fleet = ("--fleet", str(tmp_path / "fleet.csv"), "--days", "30", "--limit", "1e24", "--picture", str(out))
    result = CliRunner().invoke(app, [*arguments, *fleet])
    assert result.exit_code == 0, result.output or result.exception
    return out.read_bytes()


def bars(text: str) -> list[tuple[float, float]]:
    found = re.findall(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)" height="12"', text)
    return [(float(x), float(x) + float(width)) for x, width in found]


def test_sites_are_named_and_bars_are_as_long_as_their_figures(tmp_path: Path) -> None:
    text = picture(tmp_path, "best", "--inspector-days", "6").decode()
    assert all(f"{name}: 0.4" in text for name in ("north", "south", "east"))
    drawn = bars(text)
    assert len(drawn) == 3 + 5
    # The axis ends at 1, 24 units before the panel's right edge, and begins 24 units from its left.
    assert all((end - start) / (640 - 48) == pytest.approx(0.4, abs=1e-3) for start, end in drawn[:3])
    assert all(end < 640 - 24 for _, end in drawn)


def test_a_range_is_one_mark_inside_the_frame(tmp_path: Path) -> None:
    text = picture(tmp_path, "portfolio", "--set", "snapshots.audits=40:80", "--cover", "1000=audited").decode()
    drawn = bars(text)
    names = re.findall(r'<text x="24.0"[^>]*>([^<]+)</text>', text)
    assert len(names) == len(drawn)
    assert {"nothing", "audited", "as assigned"} <= set(names)
    assert all(24 < start < end < 640 - 24 for start, end in drawn)
    assert drawn[names.index("audited")][1] - drawn[names.index("audited")][0] > 10
    assert 'width="640"' in text  # one panel, one column


@pytest.mark.parametrize("command", [("best", "--visits", "1"), ("portfolio",)])
def test_both_are_drawn_as_png_and_as_a_page(tmp_path: Path, command: tuple[str, ...]) -> None:
    pytest.importorskip("matplotlib")
    assert picture(tmp_path, *command, suffix="png").startswith(b"\x89PNG")
    assert b"Numbers:" in picture(tmp_path, *command, suffix="html")


def test_what_no_axis_shows_is_refused() -> None:
    with pytest.raises(InputError, match="cannot show"):
        svg([Bars(title="t", axis=Axis(label="x", log=True), rows=(("a", 0.0, 1.0),))], title="t")
