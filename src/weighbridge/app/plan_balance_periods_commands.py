"""``weighbridge plan balance periods``: losses too small for any one period add up in a cumulative sum."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_balance_panels import period_panels
from weighbridge.app.plan_inputs import check_once, parse_signed
from weighbridge.app.tables import read_table
from weighbridge.errors import InputError
from weighbridge.planning.balance import measured_balance
from weighbridge.planning.cusum import Errors, alarm_level, alarm_power, run_cusum
from weighbridge.units import format_quantity, parse_count, parse_fraction, parse_quantity

__all__ = ["mount"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Alpha = Annotated[str, typer.Option(help="Chance of a false alarm.", metavar="P")]


def mount(group: typer.Typer) -> None:
    """Adds the command."""
    group.command("periods")(periods_command)


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
    correlation: Annotated[
        str, typer.Option(help="Correlation of the errors of two periods in a row, -1 to 1.", metavar="NUMBER")
    ] = "0",
    lasting: Annotated[
        str,
        typer.Option(help="Share of sigma that is one error for all periods, such as a meter's.", metavar="SHARE"),
    ] = "0",
    histories: Annotated[str, typer.Option(help="Honest histories to simulate.", metavar="COUNT")] = "100000",
    seed: Annotated[str, typer.Option(help="Seed of the simulation.", metavar="COUNT")] = "0",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""Cumulative sums over many periods: small losses that add up; exit status 1 if they raise the alarm.

    Example: weighbridge plan balance periods months.csv --periods 24
             weighbridge plan balance periods --periods 24 --shift 0.5 --lasting 0.3
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
    errors = Errors(
        correlation=parse_signed(correlation, name="--correlation"),
        lasting=parse_quantity(lasting, name="--lasting", positive=False),
    )
    level = alarm_level(
        horizon,
        false_alarm=parse_fraction(alpha, name="--alpha"),
        k=reference,
        errors=errors,
        histories=number,
        seed=start,
    )
    power = alarm_power(
        horizon,
        shift=parse_quantity(shift, name="--shift", positive=False),
        level=level.level,
        k=reference,
        errors=errors,
        histories=number,
        seed=start + 1,
    )
    path = run_cusum([score for _, score in rows], level=level.level, k=reference) if rows else None
    alarm = None if path is None or path.alarm is None else rows[path.alarm - 1][0]
    draw(picture, period_panels, level, power=power, errors=errors, observed=path)
    if as_json:
        sums = (
            None
            if path is None
            else [
                {"period": name, "score": score, "sum": total}
                for (name, score), total in zip(rows, path.sums, strict=True)
            ]
        )
        print_json(
            {
                "alarm_level": asdict(level),
                "power": asdict(power),
                "errors": asdict(errors),
                "sums": sums,
                "alarm": alarm,
            }
        )
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
            notes=(
                f"{level.histories:,} simulated histories of {horizon} periods, seed {level.seed}",
                f"honest errors are normal, correlated {errors.correlation:g} from period to period, and "
                f"{errors.lasting:g} of sigma lasts",
            ),
        )  # fmt: skip
    raise typer.Exit(0 if alarm is None else 1)


def _scores(path: Path) -> list[tuple[str, float]]:
    scores = []
    for line, row in read_table(path, columns=("period", "evidence", "declared", "sigma")):
        place = f"{path}: line {line}"
        evidence, declared = (
            parse_quantity(row[name], name=f"{place}: {name}", positive=False) for name in ("evidence", "declared")
        )
        sigma = parse_quantity(row["sigma"], name=f"{place}: sigma")
        scores.append((row["period"], measured_balance(evidence, declared=declared, sigma=sigma).z))
    if not scores:
        raise InputError("has no periods", where=path)
    check_once((name for name, _ in scores), where=path, what="period")
    return scores
