"""The figures that docs/planning.md prints, run again."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weighbridge.app.plan_commands import app

PAGE = Path(__file__).parents[2] / "docs" / "planning.md"


def printed() -> list[tuple[str, str, str]]:
    table = PAGE.read_text().partition("\n## Figures\n")[2]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip(" `") for cell in line.strip("|").split("|")) for line in lines]  # type: ignore[misc]


def test_there_are_figures() -> None:
    assert len(printed()) >= 18


@pytest.mark.parametrize(("command", "key", "value"), printed())
def test_printed_figures(command: str, key: str, value: str) -> None:
    result = CliRunner().invoke(app, [*shlex.split(command), "--json"])
    found: Any = json.loads(result.stdout)
    for part in key.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    if isinstance(found, str):
        assert found == value
        return
    digits = len(value.lower().partition("e")[0].replace(".", "").lstrip("0"))
    assert found == pytest.approx(float(value), rel=0.6 * 10 ** (1 - digits) if "." in value else 1e-12)


def test_every_command_has_its_place() -> None:
    import typer

    group = typer.main.get_command(app)
    text = PAGE.read_text()
    for name in group.commands:  # type: ignore[attr-defined]
        assert f"`{name}`" in text, name
