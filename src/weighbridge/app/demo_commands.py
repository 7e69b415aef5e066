"""``weighbridge demo``: six operators, one honest, on this machine."""

from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.console import print_json

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)


def demo(
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report and its evidence; default the first free demo-out.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draws names, roles, sizes and times; default fresh.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Trains real models under watch and says what could have been hidden.

    Six operators train small GPTs on this machine; one is honest, five cheat. The inspector sees only evidence.
    Exits with 0 when the demo ran, whatever the verdicts.

    Example: weighbridge demo --out demo-out --seed 7
    """
    from weighbridge.app.demo.run import run_demo

    folder = out if out is not None else _first_free()
    result = run_demo(folder, seed=seed)
    if as_json:
        print_json(result)
    else:
        _print(result, folder)


def _first_free() -> Path:
    for number in count(1):
        folder = Path("demo-out" if number == 1 else f"demo-out-{number}")
        if not folder.exists() and not folder.with_name(folder.name + ".roots").exists():
            return folder
    raise AssertionError("count is endless")


def _print(result: dict[str, Any], folder: Path) -> None:
    """Prints a paragraph an operator: plain lines, which need no wide terminal."""
    print(f"\nThe rule: declared + X at most {result['threshold_flop']:.2e} FLOP a lineage.")
    print("X: what could have been hidden; n: audited freezes; f: freezes a running chip-second.\n")
    for operator in result["operators"]:
        print(f"{operator['name']}: {operator['verdict'].upper()} at level A. In truth: {operator['truth']}.")
        print(
            f"  declared {operator['declared_flop']:.2e} FLOP; n = {operator['audited']} of {operator['due']},"
            f" f = {result['rate_hz']:g}"
        )
        for level in "ABC":
            hidden = operator["hidden_flop_by_level"][level]
            print(f"  {level}: {operator['verdict_by_level'][level]}, X = {hidden:.2e} FLOP")
            print(f"     {operator['reason_by_level'][level]}")
        print()
    print(
        "Level A believes the chips' firmware, B only their keys, C no chip record. With software agents level A only"
        "\ndemonstrates the protocol; at B and C all that the chips can do could be hidden, and nobody is cleared."
    )
    report, roots = folder / "report.json", folder.with_name(folder.name + ".roots")
    print(f"\nReport:   {folder / 'report.html'}\nCheck it: weighbridge check {report} --roots {roots}")
