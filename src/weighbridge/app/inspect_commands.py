"""``weighbridge inspect``: draws that nobody can steer, and visits as signed bundles."""

import typer

from weighbridge.app import (
    inspect_close_commands,
    inspect_draw_commands,
    inspect_record_commands,
    inspect_visit_commands,
)

__all__ = ["app"]

app = typer.Typer(
    help="Draw what is inspected so that nobody could steer it, and keep a visit as a signed bundle.",
    no_args_is_help=True,
)
inspect_draw_commands.mount(app)
inspect_visit_commands.mount(app)
inspect_record_commands.mount(app)
inspect_close_commands.mount(app)
