"""What every command does the same way: one JSON object, or tables whose cells are text and never markup."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["plain_text", "print_json", "print_pairs", "print_table"]

_FOREIGN = re.compile(r"[^\n -~]")


def print_json(data: Mapping[str, Any]) -> None:
    """Prints one object and nothing else; NaN and infinities are a programming error.

    What is not printable is escaped: it stands in strings only, may be half a character, and could steer a terminal.
    """
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
    typer.echo(_FOREIGN.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text))


def print_table(title: str, *, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; long cells fold, characters that would steer a terminal are replaced."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    Console().print(table)


def print_pairs(title: str, *, pairs: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> None:
    """Prints named figures, then notes."""
    print_table(title, columns=["what", "value"], rows=pairs)
    for note in notes:
        typer.echo(f"- {note}")


def plain_text(text: str) -> str:
    """Returns text on one line in which nothing can steer a terminal: characters that would are replaced."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _plain(cell: str) -> str:
    return escape(plain_text(cell))
