"""A field that several tests share."""

from collections.abc import Iterator

import pytest

from weighbridge.attacks.field import Field
from weighbridge.attacks.zygote import shared_zygote


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("field")
    folder.chmod(0o755)
    with Field(folder / "field", shared_zygote()) as opened:
        yield opened
