"""``weighbridge transcript query``: a journal's rows, filtered, as a table, JSON, CSV or parquet."""

import csv
import importlib
import io
import json
import math
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.console import plain_text, print_table
from weighbridge.errors import InputError, MissingToolError
from weighbridge.mechanisms.transcript.conditions import Filter, Value, parse_filter
from weighbridge.mechanisms.transcript.rows import (
    FREEZE_COLUMNS,
    LISTED,
    STEP_COLUMNS,
    Row,
    Rows,
    Span,
    parse_span,
)

__all__ = ["mount"]

_TABLE_ROWS = 50
_MEMORY_BYTES = 8 << 20
_BATCH_ROWS = 10_000
_SHOWN_DIGITS = 16
_DEFAULT = {False: "segment,step,loss,lr,updates,batch", True: "segment,step,chip,boot,first,last,phase,anchor"}


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(query)


def query(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    where: Annotated[
        str | None, typer.Option(help="Rows to take: comparisons joined by and, or; like 'loss<2.5 and updates=0'.")
    ] = None,
    steps: Annotated[
        str | None, typer.Option(help="Steps to take, the last not included: 100:200, 100:, :200.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns, with commas; 'all' for all of them.")] = None,
    freezes: Annotated[bool, typer.Option("--freezes", help="Claims about freezes instead of steps.")] = False,
    limit: Annotated[
        int | None, typer.Option(help="Rows to give at most; a table shows 50 unless told otherwise.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the rows to this new CSV file.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write them to this new parquet file (needs pyarrow).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Gives the steps of a transcript as rows, as its journal tells them. Whether they hold, transcript verify says.

    Columns of steps: segment, step, loss, lr, updates, batch, seen, state, cpu_ns, monotonic_ns. Of freezes: segment,
    step, chip, boot, first, last, phase, anchor, state, time. Loss has a value for each backward pass, lr one for each
    group of each optimizer: a comparison holds if one of them does.

    Example: weighbridge transcript query runs/3f2a90b1c4d5e6f7 --where 'loss<2.5' --steps 100:200
    """
    kinds = FREEZE_COLUMNS if freezes else STEP_COLUMNS
    chosen = _chosen(columns or _DEFAULT[freezes], kinds)
    if limit is not None and limit < 0:
        raise InputError("must not be negative", where="--limit")
    if csv_file is not None and parquet is not None:
        raise InputError("and --csv cannot both be given", where="--parquet")
    condition = parse_filter(where, columns=kinds) if where is not None else Filter()
    rows = Rows(run, freezes, parse_span(steps) if steps is not None else Span(), condition)
    wanted = _first(rows, limit)
    if csv_file is not None or parquet is not None:
        target = csv_file or parquet
        assert target is not None
        count = _to_file(target, lambda part: (_csv if csv_file else _parquet)(wanted, chosen, kinds, part))
        _report(rows, {"run": str(run), "file": str(target), "rows": count}, as_json=as_json)
    elif as_json:
        _json(rows, wanted, chosen)
    else:
        _table(rows, chosen, limit)


def _first(rows: Iterable[Row], limit: int | None) -> Iterator[Row]:
    """Yields the first rows, and reads all of them: a journal damaged further on gives none in the end."""
    for number, row in enumerate(rows):
        if limit is None or number < limit:
            yield row


def _chosen(text: str, kinds: Mapping[str, type]) -> list[str]:
    if text == "all":
        return list(kinds)
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in kinds:
            raise InputError(f"{name[:40]!r} is no column", where="--columns", mend=f"choose from {', '.join(kinds)}")
    if len(set(chosen)) < len(chosen):
        raise InputError("names a column twice", where="--columns")
    return chosen


def _plain(value: Value) -> Value:
    """Returns a value that JSON can hold: NaN and infinities as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _object(row: Row, chosen: Sequence[str]) -> dict[str, Any]:
    return {
        name: [_plain(v) for v in row.get(name, ())]
        if name in LISTED
        else _plain(row[name][0])
        if name in row
        else None
        for name in chosen
    }


def _json(rows: Rows, wanted: Iterable[Row], chosen: Sequence[str]) -> None:
    """Prints one object; nothing is printed before the journal was read to its end, and little is held in memory."""
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES, mode="w+", encoding="utf-8") as text:
        text.write('{"columns": ' + json.dumps(list(chosen)) + ', "rows": [')
        count = 0
        for count, row in enumerate(wanted, 1):
            text.write((",\n " if count > 1 else "\n ") + json.dumps(_object(row, chosen), allow_nan=False))
        text.write(f'\n], "count": {count}, "read": {rows.read}, "torn": {json.dumps(rows.torn)}}}\n')
        text.seek(0)
        shutil.copyfileobj(text, sys.stdout)


def _table(rows: Rows, chosen: Sequence[str], limit: int | None) -> None:
    most = _TABLE_ROWS if limit is None else limit
    wanted = iter(rows)
    shown = [[_shown(row.get(name, ())) for name in chosen] for row in islice(wanted, most)]
    more = sum(1 for _ in wanted)
    what = "claims" if rows.freezes else "steps"
    print_table(f"{what} of {rows.folder}", columns=chosen, rows=shown)
    typer.echo(f"- {len(shown)} of {len(shown) + more} rows shown, {rows.read} {what} read")
    if more:
        typer.echo("- for all of them: --csv FILE, --json, or a larger --limit")
    if rows.torn:
        typer.echo(f"- the last line of {', '.join(rows.torn)} was torn by a crash and is left out")


def _shown(values: Sequence[Value]) -> str:
    """Returns a cell of a table: digests shortened, floats to six digits."""
    return " ".join(
        f"{value:.6g}" if isinstance(value, float) else (text[:_SHOWN_DIGITS] + "…" if len(text) == 64 else text)
        for value in values
        for text in (str(value),)
    )


def _report(rows: Rows, said: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**said, "read": rows.read, "torn": rows.torn}, indent=2))
    else:
        typer.echo(f"{said['rows']} rows written to {said['file']}")


def _to_file(path: Path, write: Callable[[Path], int]) -> int:
    """Has a file written beside ``path`` and gives it that name once it is whole; an old file is never replaced."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    if os.path.lexists(path):
        raise InputError("is there already", where=path, mend="name a new file")
    try:
        count = write(part)
        os.link(part, path)
    except FileExistsError as error:
        raise InputError("is there already", where=path, mend="name a new file") from error
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=path) from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _csv(rows: Iterable[Row], chosen: Sequence[str], kinds: Mapping[str, type], path: Path) -> int:
    count = 0
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(chosen)
        for row in rows:
            writer.writerow([_cell(row.get(name, ()), text=kinds[name] is str) for name in chosen])
            count += 1
    return count


def _cell(values: Sequence[Value], *, text: bool) -> str:
    """Returns a cell of CSV: floats exactly; text as such, where a spreadsheet would take it for a formula too."""
    if not text:
        return " ".join(repr(value) for value in values)
    words = plain_text(" ".join(map(str, values)))
    return f"'{words}" if words[:1] in tuple("=+-@") and words else words


def _parquet(rows: Iterable[Row], chosen: Sequence[str], kinds: Mapping[str, type], path: Path) -> int:
    try:
        arrow: Any = importlib.import_module("pyarrow")
        files: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingToolError(
            "parquet needs the package pyarrow, which is not installed", mend="pip install pyarrow, or use --csv"
        ) from error
    # Counters are whole numbers of 63 bits, which a float cannot hold; losses, rates and times are floats.
    whole = {n for n, kind in kinds.items() if kind is float} - {*LISTED, "time"}
    types = {
        name: arrow.int64() if name in whole else arrow.string() if kinds[name] is str else arrow.float64()
        for name in chosen
    }
    schema = arrow.schema([(n, arrow.list_(t) if n in LISTED else t) for n, t in types.items()])
    count = 0
    source = iter(rows)
    with io.FileIO(path, "x") as file, files.ParquetWriter(file, schema) as writer:
        while batch := list(islice(source, _BATCH_ROWS)):
            data = [_cells(batch, name) for name in chosen]
            writer.write_table(arrow.table(data, schema=schema))
            count += len(batch)
    return count


def _cells(batch: Sequence[Row], name: str) -> list[Any]:
    found = [row.get(name, ()) for row in batch]
    return [[float(v) for v in values] for values in found] if name in LISTED else [next(iter(v), None) for v in found]
