"""What a program that imports weighbridge gets: a few names, and no torch until it asks."""

import subprocess
import sys
from pathlib import Path

import pytest

import weighbridge


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_public_names_are_these() -> None:
    assert weighbridge.__all__ == ["AccelerateTracker", "HuggingFaceCallback", "LightningCallback", "record", "start"]
    assert callable(weighbridge.start) and callable(weighbridge.record)
    with pytest.raises(AttributeError, match="no attribute 'stop'"):
        _ = weighbridge.stop


def test_importing_it_brings_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "sqlalchemy", "typer", "cryptography", "pydantic"]
    assert run(f"import sys, weighbridge; print([m for m in {heavy} if m in sys.modules])") == "[]"


@pytest.mark.parametrize(
    "command",
    [["plan", "--help"], ["log", "--help"], ["check", "--help"], ["registry", "--help"], ["inspect", "--help"]],
)
def test_commands_that_need_no_torch_bring_none(command: list[str]) -> None:
    program = f"""
import sys
from weighbridge.app.main import build
try:
    build()({command!r})
except SystemExit:
    pass
print("torch" in sys.modules)
"""
    assert run(program).splitlines()[-1] == "False"


def test_it_is_typed_and_says_its_version() -> None:
    assert (Path(weighbridge.__file__).parent / "py.typed").exists()
    assert weighbridge.__version__ == "0.1.0"
