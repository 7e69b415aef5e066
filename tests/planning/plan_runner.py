"""Runs a plan command as one types it, and reads its JSON or its refusal."""

import json
from typing import Any

from typer.testing import CliRunner

from weighbridge.app.plan_commands import app
from weighbridge.errors import InputError


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def figures(*words: str, status: int = 0) -> dict[str, Any]:
    """Returns the JSON object of a command that also prints something for people, with the same exit status."""
    result = run(*words, "--json")
    assert result.exit_code == status, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    shown = run(*words)
    assert shown.exit_code == status
    assert shown.stdout
    return found


def refused(*words: str) -> str:
    """Returns the sentence with which a command refuses; it prints nothing else."""
    result = run(*words, "--json")
    assert result.exit_code != 0
    assert result.stdout == ""
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)
