"""The command ``weighbridge``: mounts each room's commands and turns errors into one sentence."""

import sys

import typer

from weighbridge.app.console import plain_text
from weighbridge.errors import WeighbridgeError

__all__ = ["build", "main"]


def build() -> typer.Typer:
    """Returns the whole command line."""
    from weighbridge.app import (
        assess_commands,
        case_commands,
        chip_commands,
        demo_commands,
        doctor_commands,
        inspect_commands,
        log_commands,
        plan_commands,
        practice_commands,
        record_commands,
        redteam_commands,
        registry_commands,
        sealed_commands,
        transcript_commands,
    )

    app = typer.Typer(
        name="weighbridge",
        help="Could these chips have trained something against the rules? A number, and a proof.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.add_typer(chip_commands.app, name="chip", help="Chips: run a command under watch, verify its records.")
    app.add_typer(
        transcript_commands.app,
        name="transcript",
        help="Transcripts of training runs: list, show, query, diff, export, verify.",
    )
    app.add_typer(sealed_commands.app, name="sealed", help="The sealed room: by two parties, and asked in bits.")
    app.add_typer(log_commands.app, name="log", help="The transparency log: show, verify, prove, export, keep.")
    app.add_typer(registry_commands.app, name="registry", help="The directory of chips and its findings.")
    app.add_typer(plan_commands.app, name="plan", help="How much to look at, where and when, and what it would catch.")
    app.add_typer(inspect_commands.app, name="inspect", help="Draws that nobody could steer; visits as signed bundles.")
    assess_commands.mount(app)
    demo_commands.mount(app)
    practice_commands.mount(app)
    record_commands.mount(app)
    redteam_commands.mount(app)
    case_commands.mount(app)
    doctor_commands.mount(app)
    return app


def main() -> None:
    """Runs the command line; an error is one sentence on standard error and exit status 2."""
    try:
        build()()
    except WeighbridgeError as error:
        # The sentence may quote what somebody else wrote: a folder's name, a field of a journal.
        print(f"weighbridge: {plain_text(str(error))}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(141)
