"""Fixtures of the ledger's tests."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.paper import Paper
from ledger.real import Bundle, make_bundle


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Paper:
    return Paper.make(tmp_path_factory.mktemp("paper"), "Alder", "Birch", "Cedar")


@pytest.fixture
def paper(people: Paper) -> Paper:
    return people.fresh()


@pytest.fixture(scope="session")
def honest() -> Iterator[Bundle]:
    """The sealed report on one honest operator; never change it, copy it."""
    # Not below pytest's own folder, which other users may not enter: the operator's programs run as one.
    scratch = Path(tempfile.mkdtemp(prefix="weighbridge-ledger-"))
    try:
        yield make_bundle(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture
def bundle(honest: Bundle, tmp_path: Path) -> Bundle:
    """A copy to spoil."""
    return honest.copy(tmp_path)
