"""``weighbridge case``: a run that was published, accounted for from its published figures."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.case_page import BEST, case_page, undefined_rules
from weighbridge.app.case_panels import case_panels
from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.pictures import draw
from weighbridge.errors import InputError
from weighbridge.ledger.case import CASE_FILE, MARKS, Case, case_text, read_case
from weighbridge.ledger.case_account import ANSWERS, Evidence, apply_rules, computed, headline, hidden
from weighbridge.ledger.case_evidence import pieces, visits
from weighbridge.ledger.case_report import plain_evidence
from weighbridge.ledger.verdict import LEVELS, Ruling
from weighbridge.rules import RuleBook, load_rules
from weighbridge.units import format_flop, format_quantity

__all__ = ["mount"]

_SAME = "every chip-hour counts at capacity: no evidence exists"


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(case)


def case(
    name: Annotated[
        str, typer.Argument(help="Which case: llama-3.1-405b, or a file of your own.", metavar="NAME|CASE.json")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the case into a new folder, to edit and to assess.", metavar="FOLDER"),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Also write the case as a page of Markdown; not over a file.", metavar="FILE")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw what evidence does to X: a new .svg, .html or .png.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Account for a published run: what its figures show, and what each piece of evidence would add.

    With --out the case becomes an input to ``weighbridge assess``: change a figure, mark it, say what evidence is held.

    Example: weighbridge case llama-3.1-405b --out llama; then: weighbridge assess llama
    """
    text, where = case_text(name)
    chosen, book = read_case(text, where=where), load_rules()
    if page is not None and page.exists():
        raise InputError("exists", where=page, field="--page", mend="choose another name or remove it")
    rulings = apply_rules(chosen, book)  # refuses figures that contradict each other before anything is written
    draw(picture, case_panels, chosen)
    if out is not None:
        _write_input(out, text)
    if page is not None:
        _write(page, case_page(chosen, book))
    if as_json:
        print_json(_as_dict(chosen, book))
        return
    _print(chosen, book, rulings)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=path, field="--page") from error


def _write_input(folder: Path, text: str) -> None:
    try:
        folder.mkdir(parents=True)
        (folder / CASE_FILE).write_text(text, encoding="utf-8", newline="\n")
    except FileExistsError as error:
        raise InputError("exists", where=folder, field="--out", mend="choose another name") from error
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=folder, field="--out") from error
    typer.echo(f"weighbridge: wrote {folder / CASE_FILE}; next: weighbridge assess {folder}", err=True)


def _print(chosen: Case, book: RuleBook, rulings: Mapping[str, Mapping[str, Ruling]]) -> None:
    print_table(
        chosen.title,
        columns=["figure", "value", "mark", "source"],
        rows=[
            [name, format_quantity(figure.value, unit=figure.unit, digits=5), figure.mark, figure.source]
            for name, figure in chosen.figures.items()
        ],
    )
    print_table(
        "Computed from them",
        columns=["what", "value", "mark", "from"],
        rows=[
            [d.what, format_quantity(d.value, unit=d.unit, digits=5), d.mark, d.formula]
            for d in computed(chosen).values()
        ],
    )
    levels = hidden(chosen)
    print_pairs(
        "X from publications alone",
        pairs=[(f"level {level}: {text}", format_flop(levels[level])) for level, text in LEVELS.items()],
        notes=(
            _SAME,
            "on these chips and in the shortest window that holds the chip-hours; chips elsewhere: unbounded",
        ),
    )
    for group, members in groupby(pieces(chosen), key=lambda piece: piece.group):
        print_table(
            f"X in FLOP. {group}",
            columns=["evidence", "at A", "at B", "at C", "stops", "repeated"],
            rows=[
                [
                    piece.what,
                    *(format_quantity(piece.hidden_flop[level], digits=3) for level in LEVELS),
                    f"{piece.stops:,}",
                    f"{piece.replayed_share:.3g}",
                ]
                for piece in members
            ],
        )
    print_table(
        "Rules",
        columns=["rule", "threshold", "declared", "X", "at A, B, C"],
        rows=[
            [
                rule,
                f"{book.rule(rule).comparator} {book.rule(rule).limit:g}",
                format_quantity(found["A"].declared_flop),
                format_quantity(found["A"].hidden_flop),
                ", ".join(ANSWERS[ruling.verdict] for ruling in found.values()),
            ]
            for rule, found in rulings.items()
        ],
    )
    typer.echo("- above: the declared run alone passes the threshold, so duties apply; within; open: X decides")
    for text in chosen.missing:
        typer.echo(f"- not published: {text}")


def _as_dict(chosen: Case, book: RuleBook) -> dict[str, Any]:
    return {
        "case": chosen.id,
        "title": chosen.title,
        "about": chosen.about,
        "marks": dict(MARKS),
        "sources": chosen.sources,
        "figures": {name: figure.model_dump(exclude_none=True) for name, figure in chosen.figures.items()},
        "computed": {name: asdict(derived) for name, derived in computed(chosen).items()},
        "levels": dict(LEVELS),
        "hidden_flop": hidden(chosen),
        "evidence": [{**asdict(piece), "evidence": plain_evidence(piece.evidence)} for piece in pieces(chosen)],
        "visits": [asdict(visit) for visit in visits(chosen)],
        "rules": {
            "published": _rulings(chosen, book, Evidence()),
            "with_all": _rulings(chosen, book, BEST),
            "undefined": list(undefined_rules(book)),
        },
        "missing": list(chosen.missing),
    }


def _rulings(chosen: Case, book: RuleBook, evidence: Evidence) -> dict[str, Any]:
    return {
        rule: {
            level: {
                "answer": ANSWERS[ruling.verdict],
                "threshold": ruling.threshold,
                "declared_flop": ruling.declared_flop,
                "hidden_flop": ruling.hidden_flop,
                "sentence": headline(chosen, ruling, evidence),
            }
            for level, ruling in found.items()
        }
        for rule, found in apply_rules(chosen, book, evidence).items()
    }
