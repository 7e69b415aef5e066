"""``weighbridge plan balance``: material balances of chips and of FLOP, over one period and over many."""

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.tables import read_table
from weighbridge.errors import InputError
from weighbridge.planning.balance import (
    Consignment,
    chip_balance,
    flop_balance,
    listing_due,
    paired_statistic,
    sigma_needed,
)
from weighbridge.planning.cusum import alarm_level, alarm_power, run_cusum
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
    group.command("periods")(periods_command)
    group.command("pairs")(pairs_command)
    app.add_typer(group, name="balance", help="What is unaccounted for: chips, FLOP, and over many periods.")


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
    due = None if taken_on is None else listing_due(_day(taken_on))
    if as_json:
        listed = [asdict(one) | {"difference": one.difference} for one in found.differences]
        print_json(asdict(found) | {"differences": listed, "report_due": None if due is None else due.isoformat()})
    else:
        pairs = [
            ("book", f"{found.book:,}"),
            ("counted", f"{found.counted:,}"),
            ("unaccounted for", f"{found.unaccounted:,}"),
            *((f"consignment {one.name}", f"{one.difference:,} fewer received") for one in found.differences),
        ]
        if due is not None:
            pairs.append(("listing and balance report due", due.isoformat()))
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
    as_json: Json = False,
) -> None:
    r"""FLOP that the hardware shows beyond what was declared; exit status 1 if that raises the alarm.

    Example: weighbridge plan balance flop --evidence 1.05e26 --declared 1e26 --sigma 2e24 --hidden 1e25
    """
    risks = parse_fraction(alpha, name="--alpha"), parse_fraction(power, name="--power")
    found = flop_balance(
        parse_quantity(evidence, name="--evidence", positive=False),
        declared=parse_quantity(declared, name="--declared", positive=False),
        sigma=parse_quantity(sigma, name="--sigma"),
        alpha=risks[0],
        power=risks[1],
    )
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


def periods_command(
    file: Annotated[
        Path | None, typer.Argument(help="CSV file: period,evidence,declared,sigma (FLOP), oldest first.")
    ] = None,
    *,
    periods: Annotated[
        str | None, typer.Option(help="Periods that the alarm must last; those of the file otherwise.", metavar="COUNT")
    ] = None,
    alpha: Alpha = "0.05",
    k: Annotated[str, typer.Option("--k", help="Reference value, in standard deviations.", metavar="NUMBER")] = "0.5",
    shift: Annotated[
        str, typer.Option(help="Steady loss whose detection is printed, in standard deviations.", metavar="NUMBER")
    ] = "1",
    histories: Annotated[str, typer.Option(help="Honest histories to simulate.", metavar="COUNT")] = "100000",
    seed: Annotated[str, typer.Option(help="Seed of the simulation.", metavar="COUNT")] = "0",
    as_json: Json = False,
) -> None:
    r"""Cumulative sums over many periods: small losses that add up; exit status 1 if they raise the alarm.

    Example: weighbridge plan balance periods months.csv --periods 24
             weighbridge plan balance periods --periods 24 --shift 0.5
    """
    rows = [] if file is None else _scores(file)
    if periods is None and not rows:
        raise InputError("is needed without a file", field="--periods", mend="such as 24 months")
    horizon = len(rows) if periods is None else parse_count(periods, name="--periods", least=1)
    if horizon < len(rows):
        raise InputError(f"{len(rows)} periods are in the file already", field="--periods")
    reference = parse_quantity(k, name="--k", positive=False)
    number = parse_count(histories, name="--histories", least=1)
    start = parse_count(seed, name="--seed")
    level = alarm_level(
        horizon, false_alarm=parse_fraction(alpha, name="--alpha"), k=reference, histories=number, seed=start
    )
    power = alarm_power(
        horizon,
        shift=parse_quantity(shift, name="--shift", positive=False),
        level=level.level,
        k=reference,
        histories=number,
        seed=start + 1,
    )
    path = run_cusum([score for _, score in rows], level=level.level, k=reference) if rows else None
    alarm = None if path is None or path.alarm is None else rows[path.alarm - 1][0]
    if as_json:
        sums = (
            None
            if path is None
            else [
                {"period": name, "score": score, "sum": total}
                for (name, score), total in zip(rows, path.sums, strict=True)
            ]
        )
        print_json({"alarm_level": asdict(level), "power": asdict(power), "sums": sums, "alarm": alarm})
    else:
        if path is not None:
            print_table(
                "Cumulative sums",
                columns=["period", "MUF / sigma", "sum"],
                rows=[
                    [name, format_quantity(score), format_quantity(total)]
                    for (name, score), total in zip(rows, path.sums, strict=True)
                ],
            )
        print_pairs(
            "Alarm",
            pairs=[
                ("level (h)", f"{level.level:.4g}, by simulation between {level.low:.4g} and {level.high:.4g}"),
                ("chance of a false alarm", f"{level.false_alarm:g}, standard error {level.error:.2g}"),
                (f"a loss of {power.shift:g} sigma a period is found with",
                 f"{power.detection:.4g}, standard error {power.error:.2g}"),
                ("after, on average", "never" if power.mean_periods is None else f"{power.mean_periods:.4g} periods"),
                *([] if path is None else [("alarm in the file", alarm or "none")]),
            ],
            notes=(f"{level.histories:,} simulated histories of {horizon} periods, seed {level.seed}",),
        )  # fmt: skip
    raise typer.Exit(0 if alarm is None else 1)


def pairs_command(
    file: Annotated[Path, typer.Argument(help="CSV file: item,operator,inspector.")],
    *,
    population: Annotated[str, typer.Option(help="Items of the balance.", metavar="COUNT")],
    item_sigma: Annotated[
        str | None, typer.Option(help="Standard deviation of one honest difference, if known.", metavar="NUMBER")
    ] = None,
    alpha: Alpha = "0.05",
    as_json: Json = False,
) -> None:
    r"""The operator's figures against the inspector's of the same items; exit status 1 if that raises the alarm.

    Example: weighbridge plan balance pairs pairs.csv --population 300
    """
    rows = [
        (_number(row["operator"], file, line), _number(row["inspector"], file, line))
        for line, row in read_table(file, columns=("item", "operator", "inspector"))
    ]
    found = paired_statistic(
        [operator for operator, _ in rows],
        inspector=[inspector for _, inspector in rows],
        population=parse_count(population, name="--population", least=1),
        item_sigma=None if item_sigma is None else parse_quantity(item_sigma, name="--item-sigma"),
        alpha=parse_fraction(alpha, name="--alpha"),
    )
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
                ("alarm", "yes" if found.alarm else "no"),
            ],
        )
    raise typer.Exit(1 if found.alarm else 0)


def _consignments(path: Path) -> list[Consignment]:
    return [
        Consignment(
            name=row["consignment"],
            shipped=parse_count(row["shipped"], name=f"{path}: line {line}: shipped"),
            received=parse_count(row["received"], name=f"{path}: line {line}: received"),
        )
        for line, row in read_table(path, columns=("consignment", "shipped", "received"))
    ]


def _scores(path: Path) -> list[tuple[str, float]]:
    scores = []
    for line, row in read_table(path, columns=("period", "evidence", "declared", "sigma")):
        place = f"{path}: line {line}"
        evidence, declared = (
            parse_quantity(row[name], name=f"{place}: {name}", positive=False) for name in ("evidence", "declared")
        )
        sigma = parse_quantity(row["sigma"], name=f"{place}: sigma")
        scores.append((row["period"], flop_balance(evidence, declared=declared, sigma=sigma).z))
    if not scores:
        raise InputError("has no periods", where=path)
    return scores


def _number(text: str, path: Path, line: int) -> float:
    return parse_quantity(text, name=f"{path}: line {line}", positive=False)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is not a day", field="--taken-on", mend="such as 2027-06-01") from error
