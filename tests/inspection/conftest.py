"""Fixtures of the visits: one site, built once, copied for each test."""

from pathlib import Path

import pytest

from inspection.world import Site, build_site


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build_site(tmp_path_factory.mktemp("built") / "site")


@pytest.fixture(scope="session")
def built_whole(built: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Every drawn chip verified, the visit closed."""
    site = built.copy(tmp_path_factory.mktemp("whole") / "site")
    for item in site.drawn:
        site.verify(item)
    site.close()
    return site


@pytest.fixture
def site(built: Site, tmp_path: Path) -> Site:
    return built.copy(tmp_path / "site")


@pytest.fixture
def whole(built_whole: Site, tmp_path: Path) -> Site:
    return built_whole.copy(tmp_path / "whole")
