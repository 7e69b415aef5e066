"""``weighbridge plan balance``: what is unaccounted for, of what is counted and of what is measured."""

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app import plan_balance_counts_commands, plan_balance_periods_commands
from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_balance_panels import measured_panels, pair_panels
from weighbridge.app.plan_inputs import check_once
from weighbridge.app.tables import read_table
from weighbridge.errors import InputError
from weighbridge.planning.balance import (
    Consignment,
    chip_balance,
    inventory_report_due,
    listing_due,
    measured_balance,
    paired_statistic,
    sigma_needed,
)
from weighbridge.units import (
    format_flop,
    format_quantity,
    parse_count,
    parse_fraction,
    parse_quantity,
)

__all__ = ["mount"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Alpha = Annotated[str, typer.Option(help="Chance of a false alarm.", metavar="P")]


def mount(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(no_args_is_help=True)
    group.command("chips")(chips_command)
    group.command("flop")(flop_command)
    group.command("pairs")(pairs_command)
    plan_balance_periods_commands.mount(group)
    plan_balance_counts_commands.mount(group)
    app.add_typer(
        group, name="balance", help="What is unaccounted for: chips, FLOP, records, losses; and over many periods."
    )


def chips_command(
    *,
    beginning: Annotated[str, typer.Option(help="Chips at the last stock-taking.", metavar="COUNT")],
    counted: Annotated[str, typer.Option(help="Chips found at this one.", metavar="COUNT")],
    received: Annotated[str, typer.Option(help="Chips received since.", metavar="COUNT")] = "0",
    shipped: Annotated[str, typer.Option(help="Chips shipped since.", metavar="COUNT")] = "0",
    retired: Annotated[str, typer.Option(help="Chips destroyed under certificate since.", metavar="COUNT")] = "0",
    consignments: Annotated[
        Path | None, typer.Option(help="CSV file: consignment,shipped,received.", metavar="FILE")
    ] = None,
    taken_on: Annotated[
        str | None, typer.Option(help="Day of the stock-taking; prints when reports are due.", metavar="DATE")
    ] = None,
    changed_on: Annotated[
        str | None, typer.Option(help="Day on which chips came or went; prints when that is reported.", metavar="DATE")
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Chips that the books have and the floor has not; exit status 1 if any, or if a consignment differs.

    Example: weighbridge plan balance chips --beginning 1000 --received 200 --shipped 50 --counted 1149
    """
    found = chip_balance(
        parse_count(beginning, name="--beginning"),
        received=parse_count(received, name="--received"),
        shipped=parse_count(shipped, name="--shipped"),
        retired=parse_count(retired, name="--retired"),
        counted=parse_count(counted, name="--counted"),
        consignments=[] if consignments is None else _consignments(consignments),
    )
    due = None if taken_on is None else listing_due(_day(taken_on, name="--taken-on"))
    change_due = None if changed_on is None else inventory_report_due(_day(changed_on, name="--changed-on"))
    if as_json:
        listed = [asdict(one) | {"difference": one.difference} for one in found.differences]
        dates = {
            "report_due": None if due is None else due.isoformat(),
            "change_report_due": None if change_due is None else change_due.isoformat(),
        }
        print_json(asdict(found) | {"differences": listed} | dates)
    else:
        pairs = [
            ("book", f"{found.book:,}"),
            ("counted", f"{found.counted:,}"),
            ("unaccounted for", f"{found.unaccounted:,}"),
            *((f"consignment {one.name}", f"{one.difference:,} fewer received") for one in found.differences),
        ]
        if due is not None:
            pairs.append(("listing and balance report due", due.isoformat()))
        if change_due is not None:
            pairs.append(("report of the change due", change_due.isoformat()))
        print_pairs("Chips", pairs=pairs, notes=("chips are counted: anything but 0 is to be explained",))
    raise typer.Exit(0 if found.balanced else 1)


def flop_command(
    *,
    evidence: Annotated[str, typer.Option(help="FLOP that the hardware's evidence shows.", metavar="FLOP")],
    declared: Annotated[str, typer.Option(help="FLOP declared.", metavar="FLOP")],
    sigma: Annotated[str, typer.Option(help="Standard deviation of the difference, FLOP.", metavar="FLOP")],
    hidden: Annotated[str | None, typer.Option(help="FLOP that must be seen.", metavar="FLOP")] = None,
    alpha: Alpha = "0.05",
    power: Annotated[str, typer.Option(help="Chance of the alarm at what is detectable.", metavar="P")] = "0.95",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""FLOP that the hardware shows beyond what was declared; exit status 1 if that raises the alarm.

    Example: weighbridge plan balance flop --evidence 1.05e26 --declared 1e26 --sigma 2e24 --hidden 1e25
    """
    risks = parse_fraction(alpha, name="--alpha"), parse_fraction(power, name="--power")
    found = measured_balance(
        parse_quantity(evidence, name="--evidence", positive=False),
        declared=parse_quantity(declared, name="--declared", positive=False),
        sigma=parse_quantity(sigma, name="--sigma"),
        alpha=risks[0],
        power=risks[1],
    )
    draw(picture, measured_panels, found, unit="FLOP", alpha=risks[0], power=risks[1])
    needed = None
    if hidden is not None:
        needed = sigma_needed(parse_quantity(hidden, name="--hidden"), alpha=risks[0], power=risks[1])
    if as_json:
        print_json(asdict(found) | {"sigma_needed": needed})
    else:
        pairs = [
            ("unaccounted for", format_quantity(found.unaccounted, unit="FLOP")),
            ("in standard deviations", format_quantity(found.z)),
            ("alarm above", format_flop(found.alarm_at)),
            ("alarm", "yes" if found.alarm else "no"),
            (f"seen with {float(risks[1]):g}", format_flop(found.detectable)),
        ]
        if needed is not None:
            pairs.append((f"standard deviation that would show {hidden}", format_flop(needed)))
        print_pairs("FLOP", pairs=pairs)
    raise typer.Exit(1 if found.alarm else 0)


def pairs_command(
    file: Annotated[Path, typer.Argument(help="CSV file: item,operator,inspector.")],
    *,
    population: Annotated[str, typer.Option(help="Items of the balance.", metavar="COUNT")],
    item_sigma: Annotated[
        str | None, typer.Option(help="Standard deviation of one honest difference, if known.", metavar="NUMBER")
    ] = None,
    alpha: Alpha = "0.05",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""The operator's figures against the inspector's of the same items; exit status 1 if that raises the alarm.

    Example: weighbridge plan balance pairs pairs.csv --population 300
    """
    table = list(read_table(file, columns=("item", "operator", "inspector")))
    check_once((row["item"] for _, row in table), where=file, what="item")
    rows = [(_number(row["operator"], file, line), _number(row["inspector"], file, line)) for line, row in table]
    if not rows:
        raise InputError("has no pairs", where=file)
    items = parse_count(population, name="--population", least=1)
    found = paired_statistic(
        [operator for operator, _ in rows],
        inspector=[inspector for _, inspector in rows],
        population=items,
        item_sigma=None if item_sigma is None else parse_quantity(item_sigma, name="--item-sigma"),
        alpha=parse_fraction(alpha, name="--alpha"),
    )
    draw(picture, pair_panels, found, pairs=rows, population=items)
    if as_json:
        print_json(asdict(found))
    else:
        print_pairs(
            "Operator against inspector",
            pairs=[
                ("items measured by both", f"{found.items:,}"),
                ("difference over all items (D)", format_quantity(found.difference)),
                ("its standard deviation", format_quantity(found.sigma)),
                ("in standard deviations", format_quantity(found.z)),
                ("alarm above", format_quantity(found.alarm_at)),
                ("alarm", "yes" if found.alarm else "no"),
            ],
        )
    raise typer.Exit(1 if found.alarm else 0)


def _consignments(path: Path) -> list[Consignment]:
    found = [
        Consignment(
            name=row["consignment"],
            shipped=parse_count(row["shipped"], name=f"{path}: line {line}: shipped"),
            received=parse_count(row["received"], name=f"{path}: line {line}: received"),
        )
        for line, row in read_table(path, columns=("consignment", "shipped", "received"))
    ]
    if not found:
        raise InputError("has no consignments", where=path)
    check_once((one.name for one in found), where=path, what="consignment")
    return found


def _number(text: str, path: Path, line: int) -> float:
    return parse_quantity(text, name=f"{path}: line {line}", positive=False)


def _day(text: str, *, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is not a day", field=name, mend="such as 2027-06-01") from error
