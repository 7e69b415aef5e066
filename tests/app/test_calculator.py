"""The calculator: the library's figures against the literature, and the page's against the library's, in a browser."""

import itertools
import json
import math
import random
import re
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weighbridge.app.calculator_page import ROWS, write_calculator
from weighbridge.app.main import build
from weighbridge.errors import InputError
from weighbridge.planning.calculator import SLIDERS, Outcome, Settings, calculate
from weighbridge.planning.chips import plan_chips
from weighbridge.planning.snapshots import plan_snapshots

CHINCHILLA = {"chips": 1e5, "chip_flops": 1e15, "threshold": 5.76e23, "rate": 0.1, "confidence": 0.9}


def test_the_papers_vectors_come_out() -> None:
    found = calculate(Settings(**CHINCHILLA))
    assert found.needed_per_year == pytest.approx(13_253.2, abs=0.05)
    assert found.needed_per_year_worst == pytest.approx(13_267.2, abs=0.05)
    assert found.snapshot_probability == pytest.approx(0.950213, abs=1e-6)
    thousand = calculate(Settings(**CHINCHILLA, inspectors=365 / 30, chips_per_inspector=1000))
    assert thousand.detection == pytest.approx(0.879224, abs=1e-6)
    # Shavit 2023, footnote 5: about 232,000 samples a year, 232 inspectors.
    footnote = calculate(Settings(chips=1e7, chip_flops=3e15, threshold=9.9e24, confidence=0.9))
    assert footnote.needed_per_year == pytest.approx(231_559, abs=0.5)
    assert footnote.inspectors_needed == 232


def test_bounds_are_the_published_ones() -> None:
    found = calculate(Settings(chip_flops=989e12, rate=0.1, confidence=0.95))
    assert found.hidden_all == pytest.approx(2.560e21, rel=1e-3)
    read = calculate(
        Settings(chips=1e5, chip_flops=989e12, confidence=0.95, inspectors=365 / 30, chips_per_inspector=1000)
    )
    assert read.hidden_read == pytest.approx(8.04e23, rel=1e-3)
    needed = calculate(Settings(chips=4000, threshold=1e24, confidence=0.95))
    assert needed.snapshots_needed == 30
    assert calculate(Settings(chips=4000, threshold=1e23, confidence=0.95)).snapshots_needed == 310


def grid() -> Iterator[Settings]:
    """Settings all over the sliders' room, corners included; the seed is fixed."""
    source = random.Random(20261122)
    for values in itertools.product(*[("least", "most")] * 4):
        names = ("chips", "threshold", "rate", "confidence")
        chosen = {s.name: getattr(s, v) for v, s in zip(values, (slider(n) for n in names), strict=True)}
        yield Settings(**chosen)
    for _ in range(300):
        yield Settings(**{s.name: _somewhere(s, source) for s in SLIDERS})


def slider(name: str) -> Any:
    return next(s for s in SLIDERS if s.name == name)


def _somewhere(chosen: Any, source: random.Random) -> float:
    if chosen.logarithmic:
        return float(math.exp(source.uniform(math.log(chosen.least), math.log(chosen.most))))
    return source.uniform(chosen.least, chosen.most)


def test_it_agrees_with_the_planners() -> None:
    compared = 0
    for settings in grid():
        found = calculate(settings)
        arguments: dict[str, Any] = {
            "flop": found.threshold_then,
            "chip_flops": settings.chip_flops * settings.utilisation,
            "days": settings.run_days,
            "period": settings.period_days,
            "rate": settings.rate,
            "confidence": settings.confidence,
        }
        if found.share > 1:
            assert found.needed_per_year is None and found.detection_worst is None
            with pytest.raises(InputError, match="impossible"):
                plan_chips(max(1, int(settings.chips)), **arguments)
            continue
        chips = round(settings.chips)
        whole = calculate(Settings(**{f.name: getattr(settings, f.name) for f in fields(settings)} | {"chips": chips}))
        if whole.share * whole.snapshot_probability >= 1:
            continue
        for form, figure in (("exact", whole.needed_per_year), ("paper", whole.needed_per_year_worst)):
            plan = plan_chips(chips, form=form, **arguments)  # type: ignore[arg-type]
            assert figure == pytest.approx(plan.samples_per_year, rel=1e-6)
            compared += 1
        if settings.threshold < 1e28 and whole.snapshots_needed < 1e12:
            snapshots = plan_snapshots(
                chips,
                chip_flops=arguments["chip_flops"],
                days=settings.period_days,
                limit=found.threshold_then,
                confidence=settings.confidence,
            )
            assert whole.snapshots_needed == pytest.approx(snapshots.snapshots, abs=1, rel=1e-9)
    assert compared > 100


def test_more_of_what_helps_never_hurts() -> None:
    for settings in itertools.islice(grid(), 16, 120):
        base = calculate(settings)
        values = {f.name: getattr(settings, f.name) for f in fields(settings)}
        more = calculate(Settings(**values | {"rate": min(100.0, settings.rate * 2)}))
        assert more.hidden_all <= base.hidden_all
        assert more.hidden_read <= base.hidden_read * (1 + 1e-12)
        if base.detection is not None and more.detection is not None:
            assert more.detection >= base.detection - 1e-12
            assert base.detection_worst is not None and base.detection_worst <= base.detection + 1e-12


@pytest.mark.parametrize(("name", "value"), [("chips", 0.0), ("confidence", 1.0), ("rate", -1.0), ("years", math.nan)])
def test_what_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match="does not lie between"):
        Settings(**{name: value})


def test_the_command_writes_one_file_that_loads_nothing(tmp_path: Path) -> None:
    out = tmp_path / "plan.html"
    assert CliRunner().invoke(build(), ["plan", "page", "--out", str(out)]).exit_code == 0
    text = out.read_text()
    assert not re.search(r"<\w[^>]*\b(?:src|href)\s*=|https?://(?!www\.w3\.org/2000/svg)|@import|url\((?!#)", text)
    assert "default-src 'none'" in text
    write_calculator(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == text
    wrong = CliRunner().invoke(build(), ["plan", "page", "--out", str(tmp_path / "plan.txt")])
    assert isinstance(wrong.exception, InputError)


def test_every_figure_is_shown() -> None:
    assert [name for name, _, _ in ROWS] == [f.name for f in fields(Outcome)]
    assert [s.name for s in SLIDERS] == [f.name for f in fields(Settings)]
    assert {s.name: s.default for s in SLIDERS} == {f.name: f.default for f in fields(Settings)}


# --- in a browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calculator")
    write_calculator(folder / "plan.html")
    return folder


@pytest.fixture(scope="module")
def browser(chromium: tuple[Any, Path], folder: Path) -> Any:
    found, _ = chromium
    found.get((folder / "plan.html").as_uri())
    return found


def shown(browser: Any) -> dict[str, float | None]:
    """The figures on the page, before they are rounded for people."""
    script = (
        "return Object.fromEntries(DATA.rows.map(r => [r.name, document.getElementById('out-'+r.name).dataset.value]))"
    )
    return {name: float(text) if text else None for name, text in browser.execute_script(script).items()}


def assert_same(found: dict[str, float | None], expected: Outcome) -> None:
    wanted = expected.as_dict()
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        if value is None:
            assert found[name] is None, name
        elif name in ("inspectors_needed", "snapshots_needed", "cost_needed"):
            # Rounded up: the last digit of a division may fall on either side of a whole number.
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1.000001 if name != "cost_needed" else 1.1e7), name
        else:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-300), name


def test_the_page_computes_what_the_library_computes_on_a_grid(browser: Any) -> None:
    every = list(grid())
    plain = [{f.name: getattr(s, f.name) for f in fields(s)} for s in every]
    found = browser.execute_script("return arguments[0].map(calculate)", plain)
    for settings, figures in zip(every, found, strict=True):
        assert_same(figures, calculate(settings))


def test_moved_sliders_give_the_librarys_numbers(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get((folder / "plan.html").as_uri())
    assert_same(shown(browser), calculate(Settings()))
    for name, keys in (("rate", [Keys.HOME]), ("chips", [Keys.ARROW_RIGHT] * 3), ("confidence", [Keys.END])):
        browser.find_element(By.ID, name).send_keys(*keys)
    settings = browser.execute_script("return settings")
    assert settings["rate"] == 1e-4 and settings["confidence"] == 0.999 and settings["chips"] > 1e5
    assert_same(shown(browser), calculate(Settings(**settings)))
    words = browser.find_element(By.ID, "rate").get_attribute("aria-valuetext")
    assert words == "1.00e-4 a day"


def test_settings_live_in_the_address(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.by import By

    page = (folder / "plan.html").as_uri()
    browser.get("about:blank")
    browser.get(page + "#threshold=5.76e23&inspectors=12")
    assert_same(shown(browser), calculate(Settings(threshold=5.76e23, inspectors=12)))
    browser.execute_script(
        "const e = document.getElementById('years'); e.value = 500; e.dispatchEvent(new Event('input'))"
    )
    address = browser.current_url
    assert "threshold=5.76e23" in address and "years=5" in address
    before = shown(browser)
    browser.get("about:blank")
    browser.get(address)
    assert shown(browser) == before
    browser.find_element(By.ID, "reset").click()
    assert "#" not in browser.current_url
    assert_same(shown(browser), calculate(Settings()))


@pytest.mark.parametrize(
    "address",
    ["#chips=<script>alert(1)</script>", "#rate=NaN&years=Infinity", "#chips=1e999", "#chips=", "#%%%", "#unknown=1"],
)
def test_a_hostile_address_gives_sound_settings(browser: Any, folder: Path, address: str) -> None:
    browser.get("about:blank")
    browser.get((folder / "plan.html").as_uri() + address)
    settings = browser.execute_script("return settings")
    assert_same(shown(browser), calculate(Settings(**settings)))


def test_what_an_address_does_not_get_is_said(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.by import By

    browser.get("about:blank")
    browser.get((folder / "plan.html").as_uri() + "#chips=1e+07&threshold=-5&years=soon&colour=red&period_days=7")
    assert_same(shown(browser), calculate(Settings(chips=1e7, threshold=1e20, period_days=7)))
    note = browser.find_element(By.ID, "replaced")
    assert note.text == (
        "Of the address: colour is not known; threshold=-5 became 1.00e20 FLOP; years=soon became 0 years."
    )
    browser.find_element(By.ID, "reset").click()
    assert not note.is_displayed()


def test_the_smallest_and_largest_settings_are_the_librarys(browser: Any) -> None:
    for end in ("least", "most"):
        settings = {slider.name: getattr(slider, end) for slider in SLIDERS}
        assert_same(browser.execute_script("return calculate(arguments[0])", settings), calculate(Settings(**settings)))


def test_an_impossible_run_says_so(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.by import By

    browser.get("about:blank")
    browser.get((folder / "plan.html").as_uri() + "#chips=1000&threshold=1e27")
    assert "impossible" in browser.find_element(By.ID, "impossible").text
    assert browser.find_element(By.ID, "out-detection").text == "impossible"


@pytest.mark.parametrize(
    ("button", "name", "start"),
    [
        ("save-json", "weighbridge-plan.json", b"{"),
        ("save-csv", "weighbridge-plan.csv", b"name,value,unit\nchips,"),
        ("save-svg", "weighbridge-plan.svg", b"<svg "),
        ("save-png", "weighbridge-plan.png", b"\x89PNG"),
    ],
)
def test_picture_and_numbers_are_saved(
    browser: Any, chromium: tuple[Any, Path], folder: Path, button: str, name: str, start: bytes
) -> None:
    from selenium.webdriver.common.by import By

    browser.get("about:blank")
    browser.get((folder / "plan.html").as_uri() + "#rate=1")
    browser.find_element(By.ID, button).click()
    path = chromium[1] / name
    deadline = time.monotonic() + 10
    while not (path.exists() and path.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    data = path.read_bytes()
    assert data.startswith(start) and len(data) > 200
    if button == "save-json":
        assert json.loads(data)["figures"]["hidden_all"] == pytest.approx(calculate(Settings(rate=1.0)).hidden_all)


def test_nothing_was_complained_of(browser: Any) -> None:
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
