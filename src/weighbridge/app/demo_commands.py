"""``weighbridge demo``: six operators, one honest, on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_table

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def demo(
        out: Annotated[Path, typer.Option(help="Folder for the report and its evidence; must not exist.")] = Path(
            "demo-out"
        ),
        seed: Annotated[int | None, typer.Option(help="Draws names, roles, sizes and times; default fresh.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Trains real models under watch and says what could have been hidden.

        Six operators train small GPTs on this machine; one is honest, five cheat. The inspector sees only evidence.
        Exits with 0 when the demo ran, whatever the verdicts.

        Example: weighbridge demo --out demo-out --seed 7
        """
        from weighbridge.app.demo.run import run_demo

        result = run_demo(out, seed=seed)
        if as_json:
            print_json(result)
            return
        rows = [
            (
                o["name"],
                o["truth"],
                o["verdict"],
                f"{o['declared_flop']:.2e}",
                " / ".join(f"{o['hidden_flop_by_level'][level]:.1e}" for level in "ABC"),
                f"{o['audited']} of {o['due']}",
                next((f["reason"] for f in o["findings"] if f["outcome"] == "fail"), "–"),
            )
            for o in result["operators"]
        ]
        print_table(
            f"Rule: declared + hidden at most {result['threshold_flop']:.2e} FLOP. Verdicts at level A;"
            " at B and C see the report",
            columns=["operator", "truth", "verdict", "declared", "X at A / B / C", "n", "why"],
            rows=rows,
        )
        print(
            f"\nReport: {out / 'report.html'}    Check it: weighbridge check {out / 'report.json'} --roots {out}.roots"
        )
