"""``weighbridge doctor``: what this machine has of what each part needs, and how to mend the rest."""

from typing import Annotated

import typer

from weighbridge.app.console import plain_text, print_json
from weighbridge.app.doctor_check import PURPOSES, State, made
from weighbridge.errors import InputError

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)


def doctor(
    wanted: Annotated[
        list[str] | None,
        typer.Option("--for", help=f"What the machine is to do: {', '.join(PURPOSES)}; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Looks at this machine: a line a check, ok, warn or missing, and how to mend it.

    What can be tried is tried (a sandboxed process, a control group, another's memory) and undone. Exits with 0,
    unless --for named something and what it needs is missing: then with 1.

    Example: weighbridge doctor --for recording
    """
    from weighbridge.app import doctor_machine, doctor_packages, doctor_settings

    asked = list(dict.fromkeys(wanted or ()))
    for purpose in asked:
        if purpose not in PURPOSES:
            raise InputError(f"{purpose[:40]!r} is none", where="--for", mend=f"choose from {', '.join(PURPOSES)}")
    found = made((*doctor_packages.CHECKS, *doctor_machine.CHECKS, *doctor_settings.CHECKS), asked)
    missing = [check for check in found if check.state is State.MISSING]
    if as_json:
        print_json(
            {
                "for": asked,
                "ready": {
                    purpose: not any(purpose in check.purposes for check in missing) for purpose in asked or PURPOSES
                },
                "checks": [
                    {"name": c.name, "state": c.state, "says": c.says, "mend": c.mend, "for": list(c.purposes)}
                    for c in found
                ],
            }
        )
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            line = f"{check.state:<8} {check.name:<{width}}  {check.says}" + (f"; {check.mend}" if check.mend else "")
            typer.echo(plain_text(line))
        for purpose in asked or PURPOSES:
            lacking = [check.name for check in missing if purpose in check.purposes]
            typer.echo(f"{purpose}: " + (f"not ready, see {', '.join(lacking)}" if lacking else "ready"))
    raise typer.Exit(1 if asked and missing else 0)
