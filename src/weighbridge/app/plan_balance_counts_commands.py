"""``weighbridge plan balance records | losses | yields``: counts that chance explains only so far."""

import math
from dataclasses import asdict
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_balance_panels import loss_panels, measured_panels, record_panels
from weighbridge.app.plan_inputs import check_idle
from weighbridge.errors import InputError
from weighbridge.planning.balance import measured_balance
from weighbridge.planning.losses import LLAMA_3, loss_alarm
from weighbridge.planning.production import gross_dies, units_by_yield
from weighbridge.planning.snapshot_cost import count_limits, count_test
from weighbridge.units import format_quantity, parse_count, parse_days, parse_fraction, parse_quantity

__all__ = ["mount"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Alpha = Annotated[str, typer.Option(help="Chance of a false alarm.", metavar="P")]
Power = Annotated[str, typer.Option(help="Chance of the alarm at what is detectable.", metavar="P")]
_BASELINE = LLAMA_3.yearly(LLAMA_3.chip + LLAMA_3.memory)


def mount(group: typer.Typer) -> None:
    """Adds the commands."""
    group.command("records")(records_command)
    group.command("losses")(losses_command)
    group.command("yields")(yields_command)


def records_command(
    *,
    chip_days: Annotated[str, typer.Option(help="Chip-days that were declared.", metavar="DAYS")],
    rate: Annotated[str, typer.Option(help="Snapshots per chip and day, such as 0.1.", metavar="RATE")],
    seen: Annotated[
        str | None, typer.Option(help="Records that the logs hold; left out, only the limits.", metavar="COUNT")
    ] = None,
    alpha: Alpha = "0.05",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""Whether chip-time that was declared has the records it must have; exit status 1 if too few or too many.

    Example: weighbridge plan balance records --chip-days 1000 --rate 0.1 --seen 75
    """
    risk = parse_fraction(alpha, name="--alpha")
    expected = parse_quantity(chip_days, name="--chip-days") * parse_quantity(rate, name="--rate")
    few, many = count_limits(expected, alpha=risk)
    found = None if seen is None else parse_count(seen, name="--seen")
    tails = None if found is None else count_test(expected, seen=found)
    alarm = None
    if found is not None:
        alarm = "too few" if few is not None and found <= few else "too many" if found >= many else "no"
    draw(picture, record_panels, expected, few=few, many=many, seen=found)
    if as_json:
        chances = {} if tails is None else {"so_few": tails[0], "so_many": tails[1]}
        print_json({"expected": expected, "too_few": few, "too_many": many, "seen": found, "alarm": alarm} | chances)
    else:
        pairs = [
            ("records expected", format_quantity(expected)),
            ("too few", "never: none at all is not rare" if few is None else f"{few:,} or fewer"),
            ("too many", f"{many:,} or more"),
        ]
        if tails is not None and alarm is not None:
            pairs += [
                ("records in the logs", f"{found:,}"),
                ("so few or fewer come with", format_quantity(tails[0])),
                ("so many or more come with", format_quantity(tails[1])),
                ("alarm", alarm),
            ]
        print_pairs(
            "Records",
            pairs=pairs,
            notes=(
                "far fewer: snapshots were kept back, or chip-time was invented; far more: chips ran that nobody "
                "declared",
                "chips that one trigger stops together are one record",
            ),
        )
    raise typer.Exit(1 if alarm in ("too few", "too many") else 0)


def losses_command(
    *,
    chips: Annotated[str, typer.Option(help="Chips of the site.", metavar="COUNT")],
    days: Annotated[str, typer.Option(help="Length of the time in days.", metavar="DAYS")] = "365",
    yearly: Annotated[
        str | None,
        typer.Option(
            help="Share of its chips that an honest site loses in a year; Llama 3's faults of chip and memory, "
            f"{_BASELINE:.4f}, if not given.",
            metavar="SHARE",
        ),
    ] = None,
    lost: Annotated[
        str | None, typer.Option(help="Chips said to be lost, broken or retired in that time.", metavar="COUNT")
    ] = None,
    alpha: Alpha = "0.001",
    power: Power = "0.95",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""How many losses are more than machines have by themselves; exit status 1 if there are as many.

    Example: weighbridge plan balance losses --chips 1000 --lost 130
    """
    share = _BASELINE if yearly is None else parse_quantity(yearly, name="--yearly")
    fleet = parse_count(chips, name="--chips", least=1)
    found = loss_alarm(
        fleet,
        yearly=share,
        days=parse_days(days, name="--days"),
        chance=parse_fraction(alpha, name="--alpha"),
        power=parse_fraction(power, name="--power"),
    )
    gone = None if lost is None else parse_count(lost, name="--lost")
    if gone is not None and gone > fleet:
        raise InputError(f"{gone:,} of {fleet:,} chips is impossible", field="--lost")
    alarm = None if gone is None else gone >= found.alarm
    draw(picture, loss_panels, found, chips=fleet, lost=gone)
    if as_json:
        so_many = None if gone is None else count_test(found.expected, seen=gone)[1]
        print_json(asdict(found) | {"lost": gone, "so_many": so_many, "alarmed": alarm})
    else:
        pairs = [
            ("losses expected", format_quantity(found.expected)),
            ("alarm from", f"{found.alarm:,}"),
            ("an honest site reaches that with", format_quantity(found.false_alarm)),
            (f"chips diverted as losses, seen with {found.power:g}", f"{found.detectable:,}"),
            ("an honest site loses more than twice as expected with", format_quantity(found.twice)),
        ]
        if gone is not None:
            pairs += [
                ("lost", f"{gone:,}"),
                ("so many or more come with", format_quantity(count_test(found.expected, seen=gone)[1])),
                ("alarm", "yes" if alarm else "no"),
            ]
        print_pairs(
            "Losses",
            pairs=pairs,
            notes=(
                "faults are taken to come one by one; a hot room or a bad batch brings many at once",
                "interruptions of a run are more than chips that are retired",
            ),
        )
    raise typer.Exit(1 if alarm else 0)


def yields_command(
    *,
    sigma: Annotated[
        str, typer.Option(help="Standard deviation of the yield, as a share of the packages.", metavar="SHARE")
    ],
    units: Annotated[
        str | None, typer.Option(help="Packages that the yield lets expect; or give --wafers.", metavar="COUNT")
    ] = None,
    wafers: Annotated[str | None, typer.Option(help="Wafers of 300 mm that were started.", metavar="COUNT")] = None,
    die_area: Annotated[str | None, typer.Option(help="One die in mm2; with --wafers.", metavar="MM2")] = None,
    per_wafer: Annotated[
        str | None,
        typer.Option(
            help="Pieces of one wafer if known, such as 29 on a packaging line; or --die-area.", metavar="COUNT"
        ),
    ] = None,
    good: Annotated[
        str, typer.Option(help="Share of the pieces that become good packages; with --wafers.", metavar="SHARE")
    ] = "1",
    dies: Annotated[str, typer.Option(help="Pieces in a package; with --wafers.", metavar="COUNT")] = "1",
    declared: Annotated[str | None, typer.Option(help="Packages that were declared.", metavar="COUNT")] = None,
    alpha: Alpha = "0.05",
    power: Power = "0.95",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""Packages that accounting by yield would not miss; exit status 1 if the declared ones are too few.

    Example: weighbridge plan balance yields --units 4e6 --sigma 0.02
             weighbridge plan balance yields --wafers 140000 --per-wafer 29 --sigma 0.02 --declared 3.64e6
             weighbridge plan balance yields --wafers 1000 --die-area 814 --good 0.85 --sigma 0.02 --declared 50000
    """
    if (units is None) == (wafers is None):
        raise InputError("exactly one is needed", field="--units or --wafers")
    gross = None
    if wafers is None:
        typed = {"--die-area": die_area is not None, "--per-wafer": per_wafer is not None}
        check_idle(typed | {"--good": good != "1", "--dies": dies != "1"}, needs="--wafers")
        expected = parse_quantity(str(units), name="--units")
    else:
        if (die_area is None) == (per_wafer is None):
            raise InputError("exactly one is needed with --wafers", field="--die-area or --per-wafer")
        gross = None if die_area is None else gross_dies(parse_quantity(die_area, name="--die-area"))
        expected = units_by_yield(
            parse_quantity(wafers, name="--wafers"),
            per_wafer=parse_count(str(per_wafer), name="--per-wafer", least=1) if gross is None else math.floor(gross),
            yield_share=parse_quantity(good, name="--good"),
            dies=parse_count(dies, name="--dies", least=1),
        )
    risks = parse_fraction(alpha, name="--alpha"), parse_fraction(power, name="--power")
    spread = expected * parse_quantity(sigma, name="--sigma")
    made = None if declared is None else parse_quantity(declared, name="--declared", positive=False)
    found = measured_balance(
        expected, declared=expected if made is None else made, sigma=spread, alpha=risks[0], power=risks[1]
    )
    draw(
        picture,
        measured_panels,
        found,
        unit="packages",
        alpha=risks[0],
        power=risks[1],
        declared=made is not None,
    )
    alarm = None if made is None else found.alarm
    if as_json:
        figures = {"gross_dies": gross, "units": expected, "declared": made, "sigma": spread}
        balance = {"unaccounted": None if made is None else found.unaccounted, "alarm_at": found.alarm_at}
        print_json(figures | balance | {"alarm": alarm, "detectable": found.detectable})
    else:
        pairs = [("packages expected", format_quantity(expected))]
        if gross is not None:
            pairs.insert(0, ("dies that fit on a wafer, on average", format_quantity(gross)))
        pairs += [
            ("standard deviation", format_quantity(spread)),
            ("alarm above", f"{format_quantity(found.alarm_at)} missing"),
            (f"kept back, seen with {float(risks[1]):g}", format_quantity(found.detectable)),
        ]
        if made is not None:
            pairs += [
                ("declared", format_quantity(made)),
                ("missing", format_quantity(found.unaccounted)),
                ("alarm", "yes" if alarm else "no"),
            ]
        print_pairs("Packages by yield", pairs=pairs, notes=("serial numbers from the final test on miss none",))
    raise typer.Exit(1 if alarm else 0)
