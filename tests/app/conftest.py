"""A real browser for pages that compute: Debian's Chromium, headless, offline; and a report drawn and read back."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from weighbridge.app.page import write_page

from .reports import Page, operator, report

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,1600",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[webdriver.Chrome, Path]]:
    """A browser with a profile of its own, and the folder into which it saves what it downloads."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no browser is installed (Debian: apt-get install chromium chromium-driver)")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "saved").mkdir()
    options = Options()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "saved")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser, folder / "saved"
    browser.quit()


@pytest.fixture
def draw(tmp_path: Path) -> Callable[[dict[str, Any]], Page]:
    def drawn(body: dict[str, Any]) -> Page:
        write_page(tmp_path / "report.html", body)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return drawn


@pytest.fixture
def both() -> dict[str, Any]:
    return report(operator("Spruce", honest=True), operator("Willow", honest=False))
