"""Programs that cheat: each attack once."""

from pathlib import Path

import pytest

from weighbridge.attacks.adversarial import ATTACKS

from .trying import always, as_expected

pytestmark = pytest.mark.real

ALWAYS = always(ATTACKS)


@pytest.mark.parametrize("name", ALWAYS)
def test_caught_by_what_it_names_or_by_nothing(name: str, tmp_path: Path) -> None:
    as_expected(ALWAYS[name], tmp_path)
